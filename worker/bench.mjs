// Measures the Worker in workerd, beside a Worker that only passes the upstream's answer on: times as a client sees them,
// and the CPU time of the workerd processes that this script started. The two take turns, in the same run.
import { readFileSync, readdirSync } from "node:fs";
import { startStandin, startWorker, stopAll } from "./workerd.mjs";

const { url, signIns } = await startStandin();
const { access_token, refresh_token } = JSON.parse(signIns[0]).tokens;
const vars = { UPSTREAM_BASE_URL: url + "/backend-api", AUTH_BASE_URL: url, API_BASE_URL: url + "/v1", ADMIN_API_KEY: "admin", PROXY_API_KEY: "key" };
const passing = {
  modules: [{ type: "ESModule", path: "/plain.mjs", contents: `import { DurableObject } from "cloudflare:workers";
export class Proxy extends DurableObject {
  fetch(request) { return fetch("${url}/backend-api/codex/responses", { method: "POST", headers: request.headers, body: request.body }); }
}
export default { fetch(request, env) { return env.PROXY.get(env.PROXY.idFromName("one")).fetch(request); } };` }],
};

// began starts a Worker and finds its process among our children.
async function began(...args) {
  const before = new Set(workerds());
  const worker = await startWorker(...args);
  worker.pids = workerds().filter((pid) => !before.has(pid));
  if (worker.pids.length !== 1) throw new Error(`${worker.pids.length} processes of workerd were started, instead of one`);
  return worker;
}

function workerds() {
  return readdirSync("/proc").filter((pid) => {
    try {
      const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
      return stat.includes("(workerd)") && Number(stat.slice(stat.lastIndexOf(")") + 2).split(" ")[1]) === process.pid;
    } catch { return false; }
  });
}

// cpu is what a Worker's process has used, in milliseconds; the system counts in tens.
function cpu(worker) {
  const stat = readFileSync(`/proc/${worker.pids[0]}/stat`, "utf8");
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  return (Number(fields[11]) + Number(fields[12])) * 10;
}

// Each returns milliseconds: to the first token, where there is one, or to the end.
const bodyOf = { headers: { authorization: "Bearer key", "content-type": "application/json" } };
async function first(answer, begin, sign) {
  let at = 0, text = "";
  const decoder = new TextDecoder();
  for await (const piece of answer.body) {
    text += decoder.decode(piece, { stream: true });
    if (!at && text.includes(sign)) at = performance.now() - begin;
  }
  if (!at || !/\[DONE\]|response\.completed/.test(text)) throw new Error(`${answer.status} ${text.slice(0, 500)}`);
  return at;
}
async function chat(worker, text = "[[text 20]]", more = []) {
  const begin = performance.now();
  return first(await fetch(worker.root + "/v1/chat/completions", { method: "POST", ...bodyOf, body: JSON.stringify({ model: "gpt-5.5", stream: true, messages: [...more, { role: "user", content: text }] }) }), begin, '"content":"');
}
async function pass(worker, text = "[[text 20]]", more = []) {
  const begin = performance.now();
  const input = [...more, { type: "message", role: "user", content: [{ type: "input_text", text }] }];
  return first(await fetch(worker.root, { method: "POST", headers: { authorization: "Bearer " + access_token, "chatgpt-account-id": "acct-demo", originator: "bench", "user-agent": "bench/1", version: "0.169.0", "content-type": "application/json", accept: "text/event-stream" },
    body: JSON.stringify({ model: "gpt-5.5", instructions: "x", store: false, stream: true, input }) }), begin, "output_text.delta");
}
async function health(worker) {
  const begin = performance.now();
  await (await fetch(worker.root + "/health", bodyOf)).arrayBuffer();
  return performance.now() - begin;
}

const percentile = (list, p) => [...list].sort((a, b) => a - b)[Math.min(list.length - 1, Math.floor(list.length * p))];
const row = (what, list) => console.log(`${what.padEnd(52)} ${percentile(list, 0.5).toFixed(1).padStart(8)} ${percentile(list, 0.95).toFixed(1).padStart(8)}`);
const many = async (n, call) => Promise.all(Array.from({ length: n }, call));
let missed = 0;
const verdict = (what, value, most) => {
  console.log(`${value <= most ? "ok    " : (missed++, "MISSED")} ${what}: ${value.toFixed(1)} ms, at most ${most}`);
};

// The sign-in is stored once; whatever starts later finds it.
const filled = await startWorker("bench", vars);
const pushed = await fetch(filled.root + "/admin/credentials", { method: "POST", headers: { authorization: "Bearer admin" }, body: JSON.stringify({ accessToken: access_token, refreshToken: refresh_token, expiresAt: Date.now() + 1e9 }) });
if (!pushed.ok) throw new Error(await pushed.text());
await filled.stop();

console.log(`${"milliseconds".padEnd(52)} ${"p50".padStart(8)} ${"p95".padStart(8)}`);
const coldHealth = [], coldPass = [];
for (let i = 0; i < 7; i++) {
  const ours = await began("bench", vars), plain = await began("plain", {}, passing);
  coldPass.push(await pass(plain));
  coldHealth.push(await health(ours));
  await Promise.all([ours.stop(), plain.stop()]);
}
row("cold /health, the program started by it", coldHealth);
row("cold first token, passed on", coldPass);

for (const n of [1, 20, 200]) {
  const cold = [], coldPlain = [];
  for (let i = 0; i < (n === 1 ? 5 : 1); i++) {
    const ours = await began("bench", vars), plain = await began("plain", {}, passing);
    cold.push(...await many(n, () => chat(ours)));
    coldPlain.push(...await many(n, () => pass(plain)));
    await Promise.all([ours.stop(), plain.stop()]);
  }
  row(`first token, cold, ${n} at once`, cold);
  row(`first token, cold, ${n} at once, passed on`, coldPlain);
}

const ours = await began("bench", vars), plain = await began("plain", {}, passing);
for (let i = 0; i < 300; i++) { await chat(ours); await pass(plain); await health(ours); }
const warm = [];
for (let i = 0; i < 200; i++) warm.push(await health(ours));
row("warm /health", warm);
for (const n of [1, 20, 200]) {
  const times = [], passed = [];
  for (let i = 0; i < Math.max(2, 100 / n); i++) {
    times.push(...await many(n, () => chat(ours)));
    passed.push(...await many(n, () => pass(plain)));
  }
  row(`first token, warm, ${n} at once`, times);
  row(`first token, warm, ${n} at once, passed on`, passed);
}

// added compares the CPU of both for the same work, round by round. What is smaller than the rounds differ is no result.
async function added(what, rounds, each, ask, askPlain) {
  const differences = [], wholes = [];
  for (let i = 0; i < rounds; i++) {
    const [before, beforePlain] = [cpu(ours), cpu(plain)];
    for (let k = 0; k < each; k++) { await ask(); await askPlain(); }
    wholes.push((cpu(ours) - before) / each);
    differences.push((cpu(ours) - before - (cpu(plain) - beforePlain)) / each);
  }
  const mean = differences.reduce((a, b) => a + b) / rounds;
  const noise = 2 * Math.sqrt(differences.reduce((sum, d) => sum + (d - mean) ** 2, 0) / (rounds - 1) / rounds);
  const whole = wholes.reduce((a, b) => a + b) / rounds;
  console.log(`CPU of ${what}: ${whole.toFixed(2)} ms, of which the program adds ${mean > noise ? `${mean.toFixed(2)} ± ${noise.toFixed(2)} ms` : `what is within the noise of ${noise.toFixed(2)} ms`}`);
  return mean + noise;
}
const most = await added("a chat of 20 words", 20, 40, () => chat(ours), () => pass(plain));
const large = "x".repeat(10_000_000);
const largeTimes = [], largePassed = [];
await added("a chat with a body of 10 MB", 12, 2,
  async () => largeTimes.push(await chat(ours, "[[text 20]]", [{ role: "user", content: large }])),
  async () => largePassed.push(await pass(plain, "[[text 20]]", [{ type: "message", role: "user", content: [{ type: "input_text", text: large }] }])));
row("first token with a body of 10 MB", largeTimes);
row("first token with a body of 10 MB, passed on", largePassed);

verdict("cold /health, p50", percentile(coldHealth, 0.5), 250);
verdict("warm /health, p50", percentile(warm, 0.5), 10);
verdict("CPU that a warm chat adds, with its noise", most, 5);
await stopAll();
process.exit(missed ? 1 : 0);
