// Runs real clients against the built binary and prints a table of client × ability for each kind of sign-in. With
// --write they go into docs/clients.md; with --all the agents that take longer run, too, and every client with both.
// With --worker the SDKs run against the Worker in workerd instead, and the table is docs/worker-clients.md.
import { spawnSync } from "node:child_process";
import { appendFileSync, readFileSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { agents } from "./agents.mjs";
import { startMeasured, startProxy, startProxyByChatGPT, startWorker } from "./proxy.mjs";
import { record } from "./recorder.mjs";
import { sdks } from "./sdks.mjs";

const worker = process.argv.includes("--worker");
const abilities = process.argv.find((arg) => arg.startsWith("--abilities="))?.slice(12).split(",") ?? (worker ? ["chat", "stream", "tools", "images", "structured", "errors", "cancel", "websocket", "cache"] : ["chat", "stream", "tools", "images", "structured", "errors", "cancel", "websocket", "cache", "connect", "run"]);
const all = process.argv.includes("--all");
const only = process.argv.find((arg) => arg.startsWith("--only="))?.slice(7);
const patience = 90_000; // milliseconds for one ability

let failed = 0;

// within fails what takes too long.
async function within(milliseconds, work) {
  let timer;
  const tooLong = new Promise((_, reject) => { timer = setTimeout(() => reject(new Error("it takes too long")), milliseconds); });
  try {
    return await Promise.race([work, tooLong]);
  } finally {
    clearTimeout(timer);
  }
}

// mark runs a try and returns the mark for it.
async function mark(client, ability, attempt) {
  try {
    return await within(patience, attempt()) ?? "✓";
  } catch (error) {
    failed++;
    console.error(`✗ ${client}, ${ability}: ${error?.stack ?? error}`);
    return "✗";
  }
}

const sign = (client) => `cache:${client.replace(/\W+/g, "-")}:`; // in all that is said in a client's conversation

// shared is the mark for a conversation that a client had: how much of its prompts the backend had read before. Who
// changes the beginning of a prompt loses that; the table says when the client itself does.
async function shared(client, measured) {
  const c = await measured.conversation(sign(client));
  if (c.requests < 2) throw new Error(`${c.requests} requests of the conversation have arrived`);
  const share = `${Math.floor((100 * c.shared) / c.bytes)} %`;
  if (c.keys === 1 && c.broken === 0) return `✓ ${share}`;
  if (!measured.faithful(sign(client))) return `its own ${share}`;
  throw new Error(`the conversation is broken: ${JSON.stringify(c)}`);
}

// rowsOf runs the clients that wanted names against a proxy, and returns the rows of their table. The prompts of their
// conversations are looked at behind measured.
async function rowsOf(proxy, measured, wanted) {
  const clients = async (of) => ({ ...sdks(of), ...(worker ? {} : await agents(of, all)) });
  const table = await clients(proxy);
  const conversing = abilities.includes("cache") ? await clients(measured) : {};
  const rows = [];
  const add = (client, cells) => {
    rows.push([client, ...cells]);
    console.log(`${cells.join(" ")}  ${client}`);
  };
  for (const [client, row] of Object.entries(table)) {
    if (!wanted(client)) continue;
    const cells = [];
    for (const ability of abilities) {
      const attempt = ability !== "cache" ? row[ability]
        : row.cache && (async () => { await conversing[client].cache(sign(client)); return shared(client, measured); });
      cells.push(attempt ? await mark(client, ability, attempt) : "–");
    }
    add(client, cells);
  }
  if (wanted("go") && !worker) {
    // The Go clients are a program of their own, in gosdk/.
    const { stdout, stderr } = spawnSync("go", ["run", ".", proxy.root, measured.direct], { cwd: fileURLToPath(new URL("./gosdk", import.meta.url)), encoding: "utf8", env: { ...process.env, CGO_ENABLED: "0" } });
    if (stderr) console.error(stderr.trim());
    const results = JSON.parse(stdout || "{}");
    if (Object.keys(results).length === 0) failed++;
    for (const [client, row] of Object.entries(results)) {
      const cells = [];
      for (const ability of abilities) {
        cells.push(!(ability in row) ? "–" : await mark(client, ability, async () => {
          if (!row[ability]) throw new Error("see above");
          return ability === "cache" ? shared(client, measured) : undefined;
        }));
      }
      add(client, cells);
    }
  }
  return rows;
}

const chosen = (client) => !only || (only === "go" ? client === "go" : client.includes(only));
// Without --all, the second kind of sign-in is tried by the two clients whose tools are the hardest for it.
const hardest = ["Codex CLI", "@openai/agents"];
const tables = [];
for (const [title, start, wanted] of worker ? [["Codex sign-in", startWorker, chosen]] : [
  ["Codex sign-in", startProxy, chosen],
  ["Sign in with ChatGPT", startProxyByChatGPT, (client) => chosen(client) && (all || hardest.includes(client))],
]) {
  console.log(title);
  const proxy = await start();
  const measured = proxy.conversation ? proxy : await startMeasured();
  const recorder = await record(measured.root);
  tables.push({ title, rows: await rowsOf(proxy, { ...measured, ...recorder, direct: measured.root }, wanted) });
  recorder.stop();
  if (measured !== proxy) await measured.stop();
  await proxy.stop();
}

if (process.argv.includes("--write")) {
  const version = (dir, name) => JSON.parse(readFileSync(new URL(`./${dir}package.json`, import.meta.url))).dependencies[name];
  const pinned = (worker ? [""] : ["", "agents/"]).flatMap((dir) =>
    Object.keys(JSON.parse(readFileSync(new URL(`./${dir}package.json`, import.meta.url))).dependencies)
      .filter((name) => !name.startsWith("node-") && name !== "zod")
      .map((name) => `${name} ${version(dir, name)}`));
  const lines = [
    `<!-- Generated by make ${worker ? "test-worker-clients" : "test-clients"}; do not edit. -->`,
    `# Clients${worker ? " of the Worker" : ""}`,
    "",
    worker ? "Each SDK, unmodified, against the Worker as it is uploaded, in workerd on this machine, before the strict stand-in. – means that the client does not have the ability." : "Each client, unmodified, against the built binary and the strict stand-in, with each kind of sign-in. – means that the client does not have the ability, or that it was not tried. Images are those that a model looks at; making them takes a Codex sign-in.",
    "",
    "cache: a conversation with tools, ten turns of an SDK or ten requests of an agent. ✓ means that it kept its prompt_cache_key, and that each prompt began with the whole of the one before, byte for byte; the number is how much of the prompts after the first had been read before, as measured at the stand-in. \"its own\" is a client that changes the beginning of its prompts itself.",
    "",
    ...tables.flatMap(({ title, rows }) => [
      `## ${title}`,
      "",
      `| client | ${abilities.join(" | ")} |`,
      `| --- |${" :-: |".repeat(abilities.length)}`,
      ...rows.map((row) => `| ${row.join(" | ")} |`),
      "",
    ]),
    `From npm: ${pinned.join(", ")}.`,
    "",
  ];
  writeFileSync(fileURLToPath(new URL(`../../docs/${worker ? "worker-clients" : "clients"}.md`, import.meta.url)), lines.join("\n"));
}
if (process.env.COUNTS) {
  const marks = tables.flatMap(({ rows }) => rows.flat());
  appendFileSync(process.env.COUNTS, `${marks.filter((mark) => mark.startsWith("✓") || mark.startsWith("its own")).length} ${failed} 0\n`);
}
process.exit(failed ? 1 : 0);
