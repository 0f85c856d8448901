// Starts the built binary: in front of the built-in stand-in, or signed in with ChatGPT in front of one that runs beside.
import { spawn } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const built = (name) => fileURLToPath(new URL(`../../build/${name}`, import.meta.url));

// started runs a program and returns it with the first match of pattern in what it prints.
function started(path, args, env, pattern) {
  const child = spawn(path, args, { stdio: ["ignore", "pipe", "pipe"], env: env ?? process.env });
  let log = "";
  const found = new Promise((resolve, reject) => {
    child.on("error", reject);
    child.on("exit", (code) => reject(new Error(`${path} ended with ${code}: ${log}`)));
    for (const stream of [child.stdout, child.stderr]) {
      stream.on("data", (chunk) => {
        log += chunk;
        const match = pattern.exec(log);
        if (match) resolve(match[1]);
      });
    }
  });
  return { child, found, log: () => log };
}

async function serve(args, env) {
  const { child, found, log } = started(built("codex-proxy"), ["--port", "0", ...args], env, /localhost:(\d+)\/v1/);
  const ended = new Promise((resolve) => child.on("exit", resolve));
  const root = `http://localhost:${await found}`;
  return { root, log, stop: () => { child.kill(); return ended; } };
}

// startProxy returns the root address of the demo, what it logs, and a function that ends it and waits for that.
// pictures says that it can make some.
export async function startProxy(...args) {
  const runtime = mkdtempSync(join(tmpdir(), "runtime-")); // where commands find it
  const proxy = await serve(["--demo", "--model", "gpt-5.5", ...args], { ...process.env, XDG_RUNTIME_DIR: runtime });
  const stop = () => {
    proxy.stop();
    rmSync(runtime, { recursive: true, force: true });
  };
  return { ...proxy, stop, runtime, pictures: true };
}

// beside starts the stand-in, and returns its address, the environment that points a proxy with a home of its own at
// it, and a function that ends it.
async function beside() {
  const home = mkdtempSync(join(tmpdir(), "beside-"));
  const standin = started(built("stand-in"), [], undefined, /(http:\S+)\n(?:{.*}\n){2}/);
  const address = await standin.found;
  const env = { PATH: process.env.PATH, HOME: home, XDG_RUNTIME_DIR: home, CODEX_PROXY_BACKEND_URL: address + "/backend-api", CODEX_PROXY_API_URL: address + "/v1", CODEX_PROXY_AUTH_URL: address };
  const stop = () => {
    standin.child.kill();
    rmSync(home, { recursive: true, force: true });
  };
  // conversation tells how the prompts that reached the stand-in with a mark followed on each other.
  const conversation = async (mark) => (await fetch(`${address}/conversation?mark=${encodeURIComponent(mark)}`)).json();
  return { home, standin, address, env, stop, conversation };
}

// startMeasured is a proxy with the Codex CLI's sign-in, whose conversations can be looked at.
export async function startMeasured() {
  const { home, standin, env, stop, conversation } = await beside();
  mkdirSync(join(home, ".codex"));
  writeFileSync(join(home, ".codex", "auth.json"), standin.log().split("\n").find((line) => line.startsWith("{")));
  const proxy = await serve(["--model", "gpt-5.5"], env);
  return { ...proxy, conversation, stop: async () => { await proxy.stop(); stop(); } };
}

// startProxyByChatGPT is the same as startProxy with a "Sign in with ChatGPT", to which the user has agreed in the
// browser.
export async function startProxyByChatGPT() {
  const { address, env, stop: end, conversation } = await beside();
  const login = started(built("codex-proxy"), ["login", "--chatgpt", "--yes", "--no-browser"], env, /(http:\S+authorize\?\S+)/);
  const page = new URL(await login.found);
  const done = new Promise((resolve) => login.child.on("exit", resolve));
  const agreed = await fetch(address + "/decide", { method: "POST", body: new URLSearchParams({ query: page.search.slice(1), path: page.pathname, answer: "allow" }) });
  if (!/You are signed in/.test(await agreed.text()) || (await done) !== 0) throw new Error(`not signed in: ${login.log()}`);
  const proxy = await serve([], env);
  const stop = async () => {
    await proxy.stop(); // it still writes
    end();
  };
  return { ...proxy, conversation, stop, pictures: false };
}

// startWorker is the Worker in workerd, with a sign-in of its own.
export async function startWorker() {
  const workerd = await import("../../worker/workerd.mjs"); // needs what is installed there
  const standin = await workerd.startStandin();
  const worker = await workerd.startWorker("clients", { ADMIN_API_KEY: "admin", PROXY_API_KEY: "x", MODEL: "gpt-5.5", LOG_LEVEL: "info", UPSTREAM_BASE_URL: standin.url + "/backend-api", AUTH_BASE_URL: standin.url, API_BASE_URL: standin.url + "/v1" });
  const { access_token, refresh_token } = JSON.parse(standin.signIns[0]).tokens;
  const filled = await fetch(worker.root + "/admin/credentials", { method: "POST", headers: { authorization: "Bearer admin" }, body: JSON.stringify({ accessToken: access_token, refreshToken: refresh_token, expiresAt: Date.now() + 3_600_000 }) });
  if (!filled.ok) throw new Error(await filled.text());
  const conversation = async (mark) => (await fetch(`${standin.url}/conversation?mark=${encodeURIComponent(mark)}`)).json();
  return { root: worker.root, log: () => worker.log.replaceAll('"gone":true', "gone=true").replaceAll('"transport":"WebSocket"', "transport=WebSocket"), conversation, stop: workerd.stopAll, pictures: true };
}
