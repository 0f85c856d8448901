// The agents, unmodified, each in a home of its own: a prompt that names a script of the stand-in makes it call the
// agent's own tool, so that the whole loop runs.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { existsSync, rmSync } from "node:fs";
import { chmod, mkdir, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { logged, logs } from "./sdks.mjs";

process.setMaxListeners(0); // each agent's home is removed at the end
const here = dirname(fileURLToPath(import.meta.url));
const modules = join(here, "node_modules");
const more = join(here, "agents", "node_modules");
const node = process.execPath;
const binary = fileURLToPath(new URL("../../build/codex-proxy", import.meta.url));
const proof = "proof-4711";
const pixel = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==";

// agent returns the row of one agent. setup writes its files, and returns how to start it: [program, arguments, environment].
async function agent(proxy, { setup, toolPrompt, image, schema, id, program, once, webSocket, steps = 9, leaves = true, hello = ["say hello to the world", /hello to the world/] }) {
  const home = await mkdtemp(join(tmpdir(), "agent-"));
  const work = join(home, "work");
  await mkdir(work);
  await writeFile(join(work, "pixel.png"), Buffer.from(pixel, "base64"));
  process.on("exit", () => rmSync(home, { recursive: true, force: true, maxRetries: 10 }));
  const command = await setup(home);
  const run = (prompt, options = {}) =>
    new Promise((resolve, reject) => {
      const [program, args, env] = command(prompt, options);
      const child = spawn(program, args, {
        cwd: work,
        env: { PATH: `${dirname(node)}:${process.env.PATH}`, HOME: home, TERM: "dumb", ...env },
        stdio: ["ignore", "pipe", "pipe"],
        detached: true,
      });
      let out = "";
      const kill = () => { try { process.kill(-child.pid, "SIGKILL"); } catch { /* it has ended */ } };
      const timer = setTimeout(() => { kill(); reject(new Error(`no end: ${out.slice(-2000)}`)); }, 60_000);
      const take = (chunk) => { out += chunk; };
      child.stdout.on("data", take);
      child.stderr.on("data", take);
      child.on("error", reject);
      child.on("close", (code) => { clearTimeout(timer); kill(); resolve({ out, code }); });
      if (options.started) options.started(kill);
    });
  const requests = () => (proxy.log().match(/msg="?request/g) ?? []).length;
  const says = async (prompt, pattern, options) => {
    const { out } = await run(prompt, options);
    assert.match(out, pattern, out.slice(-3000));
  };
  // By our own commands, each in a home where the agent was never set up.
  const ours = async (use) => {
    const own = await mkdtemp(join(tmpdir(), "connected-"));
    const bin = join(own, "bin");
    await mkdir(bin);
    await writeFile(join(bin, program.name), `#!/bin/sh\nexec ${program.start.map((part) => `'${part}'`).join(" ")} "$@"\n`);
    await chmod(join(bin, program.name), 0o755);
    const env = { PATH: `${bin}:${dirname(node)}:${process.env.PATH}`, HOME: own, TERM: "dumb", XDG_RUNTIME_DIR: proxy.runtime, ...once.env };
    const call = (command, args) => new Promise((resolve, reject) => {
      const child = spawn(command, args, { cwd: work, env, stdio: ["ignore", "pipe", "pipe"], detached: true });
      let out = "";
      const timer = setTimeout(() => { try { process.kill(-child.pid, "SIGKILL"); } catch { /* it has ended */ } }, 60_000);
      child.stdout.on("data", (chunk) => { out += chunk; });
      child.stderr.on("data", (chunk) => { out += chunk; });
      child.on("error", reject);
      child.on("close", () => { clearTimeout(timer); resolve(out); });
    });
    try {
      await use(own, call, join(bin, program.name));
    } finally {
      await rm(own, { recursive: true, force: true });
    }
  };
  const toolRan = new RegExp(`The tool answered:[^]*${proof}`);
  const prompt = `Please: [[call ${toolPrompt}]]`;
  return {
    connect: id && proxy.runtime && once.connect !== false && (() => ours(async (own, call, started) => {
      const told = await call(binary, ["--demo", "connect", id, "--yes"]);
      assert.match(told, /is connected to/, told);
      const said = await call(started, once.args(prompt, own));
      assert.match(said, toolRan, `${told}\n${said.slice(-3000)}`);
      const undone = await call(binary, ["--demo", "connect", "--undo", id, "--yes"]);
      assert.match(undone, /as it was before|no longer connected/, undone);
      const before = requests();
      await call(started, once.args("hello", own));
      assert.equal(requests(), before, "it still reaches the proxy after the undo");
    })),
    run: id && proxy.runtime && once.run !== false && (() => ours(async (own, call) => {
      const said = await call(binary, ["--demo", "run", id, ...once.args(prompt)]);
      assert.match(said, toolRan, said.slice(-3000));
      const files = await readdir(own, { recursive: true });
      for (const file of files) {
        const text = await readFile(join(own, file), "utf8").catch(() => "");
        assert.ok(!/\.(toml|yaml|yml|jsonc?)$/.test(file) || !text.includes("codex-proxy") || !/config|settings|providers/.test(file), `${file} was written`);
      }
    })),
    chat: () => says(...hello),
    stream: () => says("Please: [[text 30 20]]", /word word/),
    tools: () => says(`Please: [[call ${toolPrompt}]]`, new RegExp(`The tool answered:[^]*${proof}`)),
    images: image && (() => says("what is in the picture", /1 image/, { image: join(work, "pixel.png") })),
    structured: schema && (async () => {
      const path = join(home, "schema.json");
      await writeFile(path, JSON.stringify({ type: "object", properties: { name: { type: "string" } }, required: ["name"], additionalProperties: false }));
      await says("fill it", /\{"name":"sample"\}/, { schema: path });
    }),
    // The calls differ: agents stop a model that repeats itself.
    cache: (mark) => says(`Please: [[calls ${steps} ${toolPrompt.replace(proof, `${proof} {n}`)}]] ${mark}`, toolRan),
    websocket: webSocket && (async () => {
      const before = logged(proxy, "transport=WebSocket");
      await says(...hello);
      await logs(proxy, "transport=WebSocket", before);
    }),
    errors: async () => {
      const before = requests();
      await says("Please: [[limit]]", /usage limit/i);
      assert.ok(requests() - before <= 4, `${requests() - before} requests for one limit`);
    },
    cancel: leaves && (async () => {
      const before = proxy.log().split("gone=true").length;
      let kill;
      const ended = run("Please: [[endless]]", { started: (f) => { kill = f; } }).catch(() => {});
      const open = async () => /codex_proxy_requests_open (\d+)/.exec(await (await fetch(proxy.root + "/metrics")).text())[1] > 0;
      for (let seen = 0; seen < 10; seen = (await open()) ? seen + 1 : 0) await new Promise((resolve) => setTimeout(resolve, 100)); // it is being answered, for a second
      kill();
      await ended;
      for (let i = 0; i < 100 && proxy.log().split("gone=true").length === before; i++) await new Promise((resolve) => setTimeout(resolve, 50));
      assert.ok(proxy.log().split("gone=true").length > before, "the answer goes on");
    }),
  };
}

function codex(webSockets) {
  return {
    id: webSockets && "codex",
    webSocket: webSockets,
    program: { name: "codex", start: [node, join(modules, "@openai/codex/bin/codex.js")] },
    once: { args: (prompt) => ["exec", "--skip-git-repo-check", "--dangerously-bypass-approvals-and-sandbox", prompt] },
    toolPrompt: `exec_command {"cmd":"echo ${proof}"}`,
    image: true,
    schema: true,
    setup: (root) => async (home) => {
      await mkdir(join(home, ".codex"));
      await writeFile(join(home, ".codex", "config.toml"), `model = "gpt-5.5"
model_provider = "local"
[model_providers.local]
name = "local"
base_url = "${root}/v1"
wire_api = "responses"
env_key = "OPENAI_API_KEY"
supports_websockets = ${webSockets}
`);
      return (prompt, { image, schema }) => [node, [join(modules, "@openai/codex/bin/codex.js"), "exec", "--skip-git-repo-check", "--dangerously-bypass-approvals-and-sandbox",
        ...(schema ? ["--output-schema", schema] : []), prompt, ...(image ? ["-i", image] : [])], { OPENAI_API_KEY: "x" }];
    },
  };
}

const table = {
  "Codex CLI": codex(false),
  "Codex CLI (WebSocket)": codex(true),
  "Claude Code": {
    id: "claude",
    program: { name: "claude", start: [join(modules, "@anthropic-ai/claude-code-linux-x64/claude")] },
    once: { args: (prompt) => ["-p", prompt, "--allowedTools", "Bash"], env: { CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC: "1" } },
    toolPrompt: `Bash {"command":"echo ${proof}"}`,
    schema: false,
    setup: (root) => async () => (prompt) => [
      join(modules, "@anthropic-ai/claude-code-linux-x64/claude"),
      ["-p", prompt, "--allowedTools", "Bash"],
      { ANTHROPIC_BASE_URL: root, ANTHROPIC_AUTH_TOKEN: "x", ANTHROPIC_MODEL: "gpt-5.5", ANTHROPIC_DEFAULT_HAIKU_MODEL: "gpt-5.5", CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC: "1" },
    ],
  },
};

// Cline would else start a program that outlives it, goes on with what was cancelled, and serves the next one.
const withoutHub = { CLINE_SESSION_BACKEND_MODE: "local" };

const slow = {
  opencode: {
    id: "opencode",
    program: { name: "opencode", start: [join(more, "opencode-linux-x64/bin/opencode")] },
    once: { args: (prompt) => ["run", prompt], env: { OPENCODE_DISABLE_MODELS_FETCH: "1", OPENCODE_PERMISSION: '{"bash":"allow"}' } },
    toolPrompt: `bash {"command":"echo ${proof}","description":"x"}`,
    setup: (root) => async (home) => {
      await mkdir(join(home, ".config/opencode"), { recursive: true });
      await writeFile(join(home, ".config/opencode/opencode.json"), JSON.stringify({
        autoupdate: false, share: "disabled", permission: { bash: "allow" },
        provider: { codex: { npm: "@ai-sdk/openai-compatible", name: "ChatGPT", options: { baseURL: root + "/v1", apiKey: "x" },
          models: { "gpt-5.5": { name: "GPT-5.5", reasoning: true, tool_call: true, attachment: true, limit: { context: 272000, output: 32000 } } } } },
      }));
      return (prompt) => [join(more, "opencode-linux-x64/bin/opencode"), ["run", "-m", "codex/gpt-5.5", prompt], { OPENCODE_DISABLE_MODELS_FETCH: "1" }];
    },
  },
  "Gemini CLI": {
    id: "gemini",
    leaves: false, // it takes the stand-in's endless answer for a loop, and ends it itself
    program: { name: "gemini", start: [node, join(more, "@google/gemini-cli/bundle/gemini.js")] },
    once: { connect: false, run: false, args: (prompt) => ["--skip-trust", "-y", "-p", prompt] },
    toolPrompt: `run_shell_command {"command":"echo ${proof}","description":"x"}`,
    setup: (root) => async (home) => {
      await mkdir(join(home, ".gemini"));
      await writeFile(join(home, ".gemini/settings.json"), JSON.stringify({ security: { auth: { selectedType: "gemini-api-key" } } }));
      return (prompt) => [node, [join(more, "@google/gemini-cli/bundle/gemini.js"), "--skip-trust", "-y", "-p", prompt],
        { GOOGLE_GEMINI_BASE_URL: root, GEMINI_API_KEY: "x", GEMINI_MODEL: "gpt-5.5" }];
    },
  },
  "Qwen Code": {
    id: "qwen",
    program: { name: "qwen", start: [node, join(more, ".bin/qwen")] },
    once: { args: (prompt) => ["-y", "-p", prompt] },
    hello: ["Please: [[text 5]]", /word word word/], // its own words around a prompt name a tool
    toolPrompt: `run_shell_command {"command":"echo ${proof}","description":"x","is_background":false}`,
    setup: (root) => async () => (prompt) => [node, [join(more, ".bin/qwen"), "--auth-type", "openai", "-y", "-p", prompt],
      { OPENAI_API_KEY: "x", OPENAI_BASE_URL: root + "/v1", OPENAI_MODEL: "gpt-5.5" }],
  },
  Continue: {
    id: "continue",
    program: { name: "cn", start: [node, join(more, ".bin/cn")] },
    once: { args: (prompt, own) => [...(own ? ["--config", join(own, ".continue/config.yaml")] : []), "--auto", "-p", prompt], env: { CONTINUE_TELEMETRY_ENABLED: "0" } },
    toolPrompt: `Bash {"command":"echo ${proof}"}`,
    setup: (root) => async (home) => {
      await mkdir(join(home, ".continue"));
      const config = join(home, ".continue/config.yaml");
      await writeFile(config, `name: local
version: 1.0.0
schema: v1
models:
  - name: gpt
    provider: openai
    model: gpt-5.5
    apiBase: ${root}/v1
    apiKey: x
    roles: [chat]
    capabilities: [tool_use, image_input]
`);
      return (prompt) => [node, [join(more, ".bin/cn"), "--config", config, "--auto", "-p", prompt], { CONTINUE_TELEMETRY_ENABLED: "0" }];
    },
  },
  pi: {
    id: "pi",
    program: { name: "pi", start: [node, join(more, ".bin/pi")] },
    once: { args: (prompt) => ["-p", prompt], env: { PI_OFFLINE: "1" } },
    toolPrompt: `bash {"command":"echo ${proof}"}`,
    setup: (root) => async (home) => {
      await mkdir(join(home, ".pi/agent"), { recursive: true });
      await writeFile(join(home, ".pi/agent/models.json"), JSON.stringify({ providers: { local: { baseUrl: root + "/v1", api: "openai-completions", apiKey: "x",
        models: [{ id: "gpt-5.5", name: "GPT-5.5", reasoning: true, input: ["text", "image"], contextWindow: 272000, maxTokens: 32000 }] } } }));
      return (prompt, { image }) => [node, [join(more, ".bin/pi"), "--provider", "local", "--model", "gpt-5.5", "-p", ...(image ? ["@" + image] : []), prompt], { PI_OFFLINE: "1" }];
    },
    image: true,
  },
  Cline: {
    id: "cline",
    program: { name: "cline", start: [join(more, "@cline/cli-linux-x64/bin/cline")] },
    once: { args: (prompt) => [prompt], env: withoutHub },
    toolPrompt: `run_commands {"commands":["echo ${proof}"]}`,
    setup: (root) => async (home) => {
      const cline = join(more, "@cline/cli-linux-x64/bin/cline");
      await new Promise((resolve) => spawn(cline, ["auth", "-p", "openai-compatible", "-k", "x", "-m", "gpt-5.5", "-b", root + "/v1"], { env: { PATH: process.env.PATH, HOME: home }, stdio: "ignore" }).on("close", resolve));
      return (prompt) => [cline, ["-P", "openai-compatible", "-m", "gpt-5.5", prompt], withoutHub];
    },
  },
};

// agents returns a row for each agent; those that take longer only with all.
export async function agents(proxy, all) {
  if (all && !existsSync(more)) throw new Error("run test/clients/run --all, which installs the agents");
  const rows = {};
  for (const [name, a] of Object.entries({ ...table, ...(all ? slow : {}) })) {
    rows[name] = await agent(proxy, { ...a, setup: a.setup(proxy.root.replace("localhost", "127.0.0.1")) });
  }
  return rows;
}
