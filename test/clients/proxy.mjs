// Starts the built binary in front of the built-in stand-in.
import { spawn } from "node:child_process";
import { fileURLToPath } from "node:url";

const binary = fileURLToPath(new URL("../../build/codex-proxy", import.meta.url));

// startProxy returns the root address and a function that ends the proxy.
export async function startProxy(...args) {
  const proxy = spawn(binary, ["--demo", "--port", "0", ...args], { stdio: ["ignore", "ignore", "pipe"] });
  let log = "";
  const port = await new Promise((resolve, reject) => {
    proxy.on("exit", (code) => reject(new Error(`the proxy ended with ${code}: ${log}`)));
    proxy.stderr.on("data", (chunk) => {
      log += chunk;
      const found = /localhost:(\d+)\/v1/.exec(log);
      if (found) resolve(found[1]);
    });
  });
  return { root: `http://localhost:${port}`, log: () => log, stop: () => proxy.kill() };
}
