// The Worker as wrangler uploads it, in workerd on this machine, in front of the stand-in: for the tests and the benchmark.
import { spawn } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { Miniflare } from "miniflare";
import { unstable_getMiniflareWorkerOptions as optionsOf } from "wrangler";

export const here = dirname(fileURLToPath(import.meta.url));
export const folder = mkdtempSync(join(tmpdir(), "worker-"));
const quiet = { CI: "1", WRANGLER_SEND_METRICS: "false", WRANGLER_SEND_ERROR_REPORTS: "false", WRANGLER_HIDE_BANNER: "true", CLOUDFLARE_CF_FETCH_ENABLED: "false", NO_PROXY: "*" };
const running = new Set(); // what stop ends

// stopAll ends everything, and deletes what was stored.
export async function stopAll() {
  await Promise.all([...running].map((one) => one.stop()));
  rmSync(folder, { recursive: true, force: true });
}

// until waits, for so many seconds at most, until ok returns what is true.
export async function until(what, ok, seconds = 30) {
  for (let i = 0; i < 20 * seconds; i++) {
    try { if (await ok()) return; } catch { /* not yet */ }
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  throw new Error("this did not happen: " + what);
}

// freePort is a port of this machine that nobody listens on.
export function freePort() {
  return new Promise((resolve) => {
    const server = createServer().listen(0, "127.0.0.1", () => { const { port } = server.address(); server.close(() => resolve(port)); });
  });
}

// start runs a program: {log, pid, stop}.
export function start(program, args, options = {}) {
  const child = spawn(program, args, { detached: true, stdio: ["ignore", "pipe", "pipe"], cwd: here, ...options, env: { ...process.env, ...quiet, ...options.env } });
  const one = { log: "", pid: child.pid, ended: new Promise((resolve) => child.on("exit", resolve)) };
  one.stop = async () => {
    running.delete(one);
    try { process.kill(-child.pid, "SIGKILL"); } catch { /* it has ended */ }
    await one.ended;
  };
  running.add(one);
  for (const stream of [child.stdout, child.stderr]) stream.on("data", (chunk) => { one.log += chunk; });
  return one;
}

// startStandin runs the stand-in of OpenAI's hosts: {url, signIns, counts}.
export async function startStandin(...args) {
  const child = start(join(here, "../build/stand-in"), args);
  await until("the stand-in listens", () => child.log.split("\n").length > 4);
  const [url, ...signIns] = child.log.trim().split("\n");
  return { url, signIns, counts: async () => (await fetch(url + "/counts")).json() };
}

// startWorker runs the Worker with these variables and secrets, and what it stored last under this name:
// {root, log, kv, stop}. A script of one's own takes the place of the Worker's: {modules, durableObjects}.
export async function startWorker(name, vars, script = uploaded()) {
  const { workerOptions } = optionsOf(join(here, "wrangler.toml"));
  const one = { log: "" };
  const runtime = new Miniflare({
    ...workerOptions, bindings: { ...workerOptions.bindings, ...vars }, modulesRoot: "/", modulesRules: undefined, ...script,
    host: "127.0.0.1", port: 0, cf: false, kvPersist: join(folder, name, "kv"), durableObjectsPersist: join(folder, name, "objects"),
    handleRuntimeStdio: (out, err) => { for (const stream of [out, err]) stream.on("data", (chunk) => { one.log += chunk; }); },
  });
  one.stop = async () => {
    running.delete(one);
    await runtime.dispose();
  };
  running.add(one);
  one.root = (await runtime.ready).origin;
  one.kv = await runtime.getKVNamespace("GEMINI_CLI_KV");
  return one;
}

// uploaded is the bundle that `wrangler deploy --dry-run --outdir dist` made, with the window for the tests before it.
function uploaded() {
  const bundle = readFileSync(join(here, "dist/worker.js"), "utf8");
  const [, wasm] = /"\.\/([0-9a-f]+-app\.wasm)"/.exec(bundle);
  return {
    modules: [
      { type: "ESModule", path: "/entry.test.worker.mjs", contents: readFileSync(join(here, "entry.test.worker.mjs"), "utf8") },
      { type: "ESModule", path: "/worker.mjs", contents: bundle },
      { type: "CompiledWasm", path: "/" + wasm, contents: readFileSync(join(here, "dist", wasm)) },
    ],
  };
}
