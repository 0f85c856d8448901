// Prints, in workerd: the time of a warm /health, and the CPU that a warm chat adds to that of a Worker which only passes
// the upstream's answer on, in the same run.
import { spawn } from "node:child_process";
import { mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const here = dirname(fileURLToPath(import.meta.url));
const folder = mkdtempSync(join(tmpdir(), "worker-"));
const children = [];
const start = (program, args, options) => {
  const child = spawn(program, args, { detached: true, stdio: ["ignore", "pipe", "pipe"], ...options });
  children.push(child);
  child.log = "";
  child.stdout.on("data", (chunk) => { child.log += chunk; });
  child.stderr.on("data", (chunk) => { child.log += chunk; });
  return child;
};
const until = async (ok) => {
  for (let i = 0; i < 600; i++) {
    try { if (await ok()) return; } catch { /* not yet */ }
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  throw new Error("it did not start: " + children.map((c) => c.log).join("\n"));
};
const standin = start(join(here, "../build/stand-in"), []);
await until(() => standin.log.split("\n").length > 4);
const [url, signIn] = standin.log.trim().split("\n");
const port = await new Promise((resolve) => { const s = createServer().listen(0, "127.0.0.1", () => { const p = s.address().port; s.close(() => resolve(p)); }); });
// A Worker that passes the upstream's answer on, and does nothing else: what the platform itself costs.
const plainPort = await new Promise((resolve) => { const s = createServer().listen(0, "127.0.0.1", () => { const p = s.address().port; s.close(() => resolve(p)); }); });
writeFileSync(join(folder, "plain.mjs"), `import { DurableObject } from "cloudflare:workers";
export class Plain extends DurableObject {
  fetch(request) { return fetch("${url}/backend-api/codex/responses", { method: "POST", headers: request.headers, body: request.body }); }
}
export default { fetch(request, env) { return env.PLAIN.get(env.PLAIN.idFromName("one")).fetch(request); } };`);
writeFileSync(join(folder, "wrangler.toml"), `name = "plain"
main = "plain.mjs"
compatibility_date = "2026-04-01"
[[durable_objects.bindings]]
name = "PLAIN"
class_name = "Plain"
[[migrations]]
tag = "v1"
new_sqlite_classes = ["Plain"]
`);
start(process.execPath, [join(here, "node_modules/wrangler/bin/wrangler.js"), "dev", "--local", "--ip", "127.0.0.1", "--port", String(plainPort), "--inspector-port", "0"],
  { cwd: folder, env: { ...process.env, CI: "1", WRANGLER_SEND_METRICS: "false", CLOUDFLARE_CF_FETCH_ENABLED: "false" } });
start(process.execPath, [join(here, "node_modules/wrangler/bin/wrangler.js"), "dev", "--local", "--ip", "127.0.0.1", "--port", String(port), "--inspector-port", "0", "--persist-to", folder,
  "--var", `UPSTREAM_BASE_URL:${url}/backend-api`, "--var", `AUTH_BASE_URL:${url}`, "--var", "ADMIN_API_KEY:admin", "--var", "PROXY_API_KEY:key"],
  { cwd: here, env: { ...process.env, CI: "1", WRANGLER_SEND_METRICS: "false", CLOUDFLARE_CF_FETCH_ENABLED: "false" } });
const root = `http://127.0.0.1:${port}`;
await until(async () => (await fetch(root + "/health")).status > 0);
const { access_token, refresh_token } = JSON.parse(signIn).tokens;
await fetch(root + "/admin/credentials", { method: "POST", headers: { authorization: "Bearer admin" }, body: JSON.stringify({ accessToken: access_token, refreshToken: refresh_token, expiresAt: Date.now() + 1e9 }) });
const chat = async () => {
  const answer = await fetch(root + "/v1/chat/completions", { method: "POST", headers: { authorization: "Bearer key" }, body: JSON.stringify({ model: "gpt-5.5", stream: true, messages: [{ role: "user", content: "[[text 20]]" }] }) });
  const text = await answer.text();
  if (!text.includes("[DONE]")) throw new Error(text);
};
const plain = async () => {
  const answer = await fetch(`http://127.0.0.1:${plainPort}/`, { method: "POST", headers: { authorization: "Bearer " + access_token, "chatgpt-account-id": "acct-demo", originator: "bench", "user-agent": "bench/1", version: "0.169.0", "content-type": "application/json", accept: "text/event-stream" },
    body: JSON.stringify({ model: "gpt-5.5", instructions: "x", store: false, stream: true, input: [{ type: "message", role: "user", content: [{ type: "input_text", text: "[[text 20]]" }] }] }) });
  const text = await answer.text();
  if (!text.includes("response.completed")) throw new Error(text);
};
await until(async () => { await plain(); return true; });
// cpu is the time that workerd has used, in milliseconds.
const cpu = () => {
  let ticks = 0;
  for (const pid of readdirSync("/proc").filter((name) => /^\d+$/.test(name))) {
    try {
      if (!readFileSync(`/proc/${pid}/cmdline`, "utf8").includes("workerd")) continue;
      const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
      const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
      ticks += Number(fields[11]) + Number(fields[12]);
    } catch { /* it has ended */ }
  }
  return ticks * 10;
};
const median = (list) => list.sort((a, b) => a - b)[list.length >> 1];
const health = async () => { await (await fetch(root + "/health")).arrayBuffer(); };
for (let i = 0; i < 200; i++) { await chat(); await health(); await plain(); }
const times = [];
for (let i = 0; i < 200; i++) { const begin = performance.now(); await health(); times.push(performance.now() - begin); }
const of = async (n, what) => { const before = cpu(); for (let i = 0; i < n; i++) await what(); return (cpu() - before) / n; };
const reference = await of(400, plain);
const whole = await of(400, chat);
const added = whole - reference;
console.log(`a chat of 20 words costs ${whole.toFixed(2)} ms of workerd's CPU, the same through a Worker that passes it on ${reference.toFixed(2)} ms`);
let failed = false;
const verdict = (what, value, most) => {
  console.log(`${what.padEnd(44)} ${value.toFixed(2).padStart(6)} ms   at most ${most} ms   ${value <= most ? "ok" : ((failed = true), "MISSED")}`);
};
verdict("warm /health, median of 200", median(times), 10);
verdict("CPU that a warm chat adds", added, 5);
for (const child of children) { try { process.kill(-child.pid, "SIGKILL"); } catch { /* it has ended */ } }
rmSync(folder, { recursive: true, force: true });
process.exit(failed ? 1 : 0);
