// The Worker in workerd, in front of the stand-in.
import assert from "node:assert/strict";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import http from "node:http";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { after, before, test } from "node:test";
import OpenAI from "openai";
import { unstable_getMiniflareWorkerOptions as configOf } from "wrangler";
import { freePort, here, start, startStandin, startWorker as run, stopAll, until } from "./workerd.mjs";

let standin, signIns, counts;

before(async () => { ({ url: standin, signIns, counts } = await startStandin("-ended")); });
after(stopAll);

const startWorker = (name, vars) => run(name, { UPSTREAM_BASE_URL: standin + "/backend-api", AUTH_BASE_URL: standin, API_BASE_URL: standin + "/v1", ...vars });
const admin = (root, method, path, body, headers = { authorization: "Bearer admin" }) =>
  fetch(root + path, { method, headers: { "content-type": "application/json", ...headers }, body: body === undefined ? undefined : typeof body === "string" ? body : JSON.stringify(body) });
const push = (root, line) => {
  const { access_token, refresh_token, id_token, account_id } = JSON.parse(line).tokens;
  return admin(root, "POST", "/admin/credentials", { accessToken: access_token, refreshToken: refresh_token, idToken: id_token, userID: account_id, expiresAt: Date.now() + 3_600_000 });
};
const chat = (root, text, more = {}) =>
  fetch(root + "/v1/chat/completions", { method: "POST", headers: { authorization: "Bearer key-2", "content-type": "application/json" }, body: JSON.stringify({ model: "gpt-5.5", messages: [{ role: "user", content: text }], ...more }) });

// openSocket opens a WebSocket: ask begins a turn, turn also waits for its end and returns what came, event waits for one.
async function openSocket(root, key = "key-1") {
  const raw = new WebSocket(root.replace("http", "ws") + "/v1/responses", { headers: { authorization: "Bearer " + key } });
  const events = [];
  let wake = () => {};
  raw.addEventListener("message", ({ data }) => { events.push(data); wake(); });
  const closed = new Promise((resolve) => raw.addEventListener("close", (event) => { events.push(null); resolve(event); wake(); }));
  await new Promise((resolve, reject) => { raw.addEventListener("open", resolve); raw.addEventListener("error", () => reject(new Error("no WebSocket"))); });
  const socket = { raw, closed, send: (message) => raw.send(JSON.stringify(message)), end: () => raw.close() };
  socket.ask = (turn) => socket.send({ type: "response.create", model: "gpt-5.5", ...turn });
  socket.event = async (...types) => {
    for (socket.came = ""; ;) {
      while (events.length === 0) await new Promise((resolve) => { wake = resolve; });
      const text = events.shift();
      if (text === null) throw new Error("closed after " + socket.came);
      socket.came += text;
      socket.last = JSON.parse(text);
      if (types.includes(socket.last.type)) return socket.last;
      if (socket.last.type === "error") throw new Error(text);
    }
  };
  socket.turn = async (turn) => {
    socket.ask(turn);
    await socket.event("response.completed", "response.incomplete", "response.failed");
    return socket.came;
  };
  return socket;
}

test("by wrangler dev, and without secrets, it answers nobody, and says which command sets them", async () => {
  const port = await freePort();
  const root = `http://127.0.0.1:${port}`;
  const dev = start(process.execPath, [join(here, "node_modules/wrangler/bin/wrangler.js"), "dev", "--local", "--ip", "127.0.0.1", "--port", String(port), "--inspector-port", "0"]);
  await Promise.race([
    until("the Worker answers", async () => (await fetch(root + "/health")).status > 0, 90),
    dev.ended.then(() => { throw new Error("wrangler dev has ended: "); }),
  ]).catch((e) => { throw new Error(e.message + dev.log); });
  const api = await chat(root, "hello");
  assert.equal(api.status, 503);
  assert.match(await api.text(), /wrangler secret put PROXY_API_KEY/);
  const adm = await admin(root, "GET", "/admin/credentials/status");
  assert.equal(adm.status, 503);
  assert.match(await adm.text(), /wrangler secret put ADMIN_API_KEY/);
  const health = await fetch(root + "/health");
  assert.equal(health.status, 503);
  assert.deepEqual(Object.keys(await health.json()).sort(), ["status", "version"]);
  await dev.stop();
  const { root: bare, stop } = await startWorker("bare", {});
  const asked = await fetch(bare + "/v1/models", { headers: { "x-test": "memory" } });
  assert.equal(asked.status, 503, "the object was woken: " + (await asked.text()));
  await stop();
});

test("with secrets", { timeout: 240_000 }, async (t) => {
  const secrets = { ADMIN_API_KEY: "admin", PROXY_API_KEY: "key-1, key-2", CREDENTIALS_KEY: "a secret" };
  let worker = await startWorker("one", secrets);
  let { root } = worker;
  const restart = async (more) => {
    await worker.stop();
    worker = await startWorker("one", { ...secrets, ...more });
    root = worker.root;
  };

  await t.test("the admin API", async () => {
    for (const [method, path, body, headers, status, pattern] of [
      ["GET", "/admin/credentials/status", undefined, {}, 401, /admin API wants its key/],
      ["GET", "/admin/credentials/status", undefined, { authorization: "Bearer key-1" }, 401, /./],
      ["GET", "/admin/credentials/status", undefined, { "x-api-key": "admin" }, 200, /"hasCredentials":false/],
      ["POST", "/admin/credentials", "{", undefined, 400, /JSON object/],
      ["POST", "/admin/credentials", {}, undefined, 400, /accessToken is missing/],
      ["POST", "/admin/credentials", { accessToken: "a" }, undefined, 400, /refreshToken is missing/],
      ["POST", "/admin/credentials", { accessToken: "a", refreshToken: "r" }, undefined, 400, /expiresAt is missing/],
      ["POST", "/admin/credentials", { accessToken: "a", refreshToken: "r", expiresAt: 1_800_000_000 }, undefined, 400, /milliseconds/],
      ["POST", "/admin/credentials", { accessToken: 5, refreshToken: "r", expiresAt: 1 }, undefined, 400, /accessToken must be a string/],
      ["PUT", "/admin/credentials", {}, undefined, 404, /nothing at this address/],
    ]) {
      const answer = await admin(root, method, path, body, headers);
      const text = await answer.text();
      assert.equal(answer.status, status, `${method} ${path} ${JSON.stringify(body)}: ${text}`);
      assert.match(text, pattern);
    }
    const wrong = await fetch(root + "/v1/models", { headers: { authorization: "Bearer admin" } });
    assert.equal(wrong.status, 401);
  });

  await t.test("a hundred requests on a token that has ended make one refresh", async () => {
    const pushed = await push(root, signIns[0]);
    const text = await pushed.text();
    assert.equal(pushed.status, 200, text);
    assert.doesNotMatch(text, /rt_|eyJ/);
    const answers = await Promise.all(Array.from({ length: 100 }, (_, i) => chat(root, "hello " + i).then((r) => r.json())));
    for (const [i, a] of answers.entries()) assert.equal(a.choices?.[0].message.content, "You said: hello " + i, JSON.stringify(a));
    assert.equal((await counts()).Refreshes, 1);
    const status = await (await admin(root, "GET", "/admin/credentials/status")).json();
    assert.deepEqual(Object.keys(status), ["type", "hasCredentials", "userID", "expiresAt", "minutesUntilExpiry", "isExpired", "needsRefreshSoon"]);
    assert.equal(status.userID, "acct-demo");
    assert.equal(status.isExpired, false);
    assert.ok(status.minutesUntilExpiry > 1000);
  });

  await t.test("a token that is due is refreshed by an alarm, without a request", async () => {
    const before = (await counts()).Refreshes;
    assert.equal((await push(root, signIns[1])).status, 200);
    await until("it is refreshed", async () => (await counts()).Refreshes > before);
  });

  await t.test("streaming arrives in pieces", async () => {
    const before = (await counts()).Canceled;
    const answer = await chat(root, "[[endless]]", { stream: true });
    const reader = answer.body.getReader();
    for (let pieces = 0; pieces < 6; pieces++) assert.equal((await reader.read()).done, false);
    await reader.cancel();
    await until("the call ends", async () => (await counts()).Canceled > before);
  });

  await t.test("a client that leaves a stream ends the call upstream", async () => {
    const before = (await counts()).Canceled;
    const abort = new AbortController();
    const answer = await fetch(root + "/v1/chat/completions", { method: "POST", signal: abort.signal, headers: { authorization: "Bearer key-1" }, body: JSON.stringify({ model: "gpt-5.5", stream: true, messages: [{ role: "user", content: "[[endless]]" }] }) });
    const reader = answer.body.getReader();
    await reader.read();
    abort.abort();
    await until("upstream hears of it", async () => (await counts()).Canceled > before);
  });

  // workerd on this machine learns of a client that leaves a silent connection only when that is reset: an end alone
  // could be a client that has no more to say. Cloudflare's own front tells it of both.
  for (const stream of [true, false]) {
    await t.test(`a client that leaves ${stream ? "before the first byte of a stream" : "while it waits for a whole answer"} ends the call upstream`, { timeout: 60_000 }, async () => {
      const { Canceled: before, Responses: asked } = await counts();
      const request = http.request(root + "/v1/chat/completions", { method: "POST", agent: false, headers: { authorization: "Bearer key-1" } });
      request.on("error", () => {});
      request.end(JSON.stringify({ model: "gpt-5.5", stream, messages: [{ role: "user", content: stream ? "[[hangheaders]]" : "[[stall 20000]]" }] }));
      await until("the call is upstream", async () => (await counts()).Responses > asked);
      request.socket.resetAndDestroy();
      await until("upstream hears of it", async () => (await counts()).Canceled > before);
    });
  }

  await t.test("the openai package does a tool run", async () => {
    const client = new OpenAI({ baseURL: root + "/v1", apiKey: "key-1", maxRetries: 0 });
    const messages = [{ role: "user", content: "Please call get_weather." }];
    const tools = [{ type: "function", function: { name: "get_weather", parameters: { type: "object", properties: { city: { type: "string" } } } } }];
    const first = await client.chat.completions.stream({ model: "gpt-5.5", messages, tools }).finalChatCompletion();
    const call = first.choices[0].message.tool_calls[0];
    messages.push(first.choices[0].message, { role: "tool", tool_call_id: call.id, content: "18 degrees" });
    assert.match(await client.chat.completions.stream({ model: "gpt-5.5", messages, tools }).finalContent(), /18 degrees/);
  });

  await t.test("a WebSocket carries turns that go on from each other, and a turn that is cancelled", async () => {
    const socket = await openSocket(root);
    assert.match(await socket.turn({ input: "hello" }), /You said: hello/);
    const tools = [{ type: "function", name: "get_weather", parameters: { type: "object", properties: { city: { type: "string" } } } }];
    await socket.turn({ input: "Please call get_weather.", tools });
    const { id, output } = socket.last.response;
    const { call_id } = output.find((item) => item.type === "function_call");
    assert.match(await socket.turn({ input: [{ type: "function_call_output", call_id, output: "18 degrees" }], tools, previous_response_id: id }), /18 degrees/);
    await assert.rejects(socket.turn({ input: "hello", previous_response_id: "resp_unknown" }), /previous_response_not_found/);
    assert.match(await socket.turn({ input: "x".repeat(200_000) + "é€😀" }), /xxé€😀/);
    socket.ask({ input: "[[endless]]" });
    await socket.event("response.output_text.delta");
    const { Canceled: before } = await counts();
    socket.send({ type: "response.cancel" });
    assert.equal((await socket.event("response.incomplete")).response.incomplete_details.reason, "cancelled");
    await until("upstream hears of it", async () => (await counts()).Canceled > before);
    assert.match(await socket.turn({ input: "again" }), /You said: again/);
    socket.end();
  });

  await t.test("a WebSocket that is closed ends its calls upstream, also while they are silent", async () => {
    const socket = await openSocket(root);
    const { Canceled: before, Responses: asked } = await counts();
    socket.ask({ input: "[[stall 60000]]" });
    await until("the call is upstream", async () => (await counts()).Responses > asked);
    socket.end();
    await until("upstream hears of it", async () => (await counts()).Canceled > before);
  });

  await t.test("a WebSocket says why it is closed: what is no text, what is too large, too many turns", async () => {
    for (const [status, send] of [
      [1003, (socket) => socket.raw.send(new Uint8Array([1]))],
      [1009, (socket) => socket.raw.send("x".repeat(5 << 20))],
      [1008, (socket) => { for (let i = 0; i < 40; i++) socket.ask({ input: "[[stall 60000]]" }); }],
    ]) {
      const socket = await openSocket(root);
      send(socket);
      assert.equal((await socket.closed).code, status);
    }
    await assert.rejects(openSocket(root, "another"));
    await until("their calls have ended", async () => (await counts()).Open === 0);
  });

  await t.test("the other dialects work", async () => {
    const headers = { "x-api-key": "key-1", "content-type": "application/json" };
    const messages = [{ role: "user", content: "hello" }];
    for (const [path, body, pattern] of [
      ["/v1/responses", { model: "gpt-5.5", input: "hello" }, /You said: hello/],
      ["/v1/messages", { model: "claude-x", max_tokens: 10, messages }, /You said: hello/],
      ["/api/chat", { model: "gpt-5.5", stream: false, messages }, /You said: hello/],
      ["/v1/models", undefined, /gpt-5.5/],
      ["/v1beta/models/gpt-5.5:generateContent", { contents: [{ role: "user", parts: [{ text: "hello" }] }] }, /You said: hello/],
    ]) {
      const answer = await fetch(root + path, { method: body ? "POST" : "GET", headers, body: body && JSON.stringify(body) });
      assert.match(await answer.text(), pattern);
    }
    for (const [name, query, status] of [["authorization", "", 401], ["x-goog-api-key", "", 200], ["api-key", "", 200], ["x-none", "?key=key-1", 200], ["x-none", "", 401]]) {
      assert.equal((await fetch(root + "/v1beta/models" + query, { headers: { [name]: "key-1" } })).status, status, name + query);
    }
    const status = await (await admin(root, "GET", "/admin/status")).json();
    assert.equal(status.credentials.state, "signed_in");
    assert.equal(status.usage.windows.length, 2);
    assert.ok(status.requests.answered > 100);
    assert.match(status.versions.platform, /wasm/);
    assert.doesNotMatch(JSON.stringify(status), /rt_|eyJ/);
  });

  await t.test("a bot challenge and a broken stream are told", async () => {
    const blocked = await chat(root, "[[html403]]");
    assert.equal(blocked.status, 502);
    const { message } = (await blocked.json()).error;
    assert.match(message, /bot check.*UPSTREAM_BASE_URL/);
    assert.doesNotMatch(message, /VPN|browser|this machine/);
    for (const how of ["[[cut]]", "[[eof]]"]) {
      const cut = await chat(root, how, { stream: true });
      let said = "";
      try {
        for await (const piece of cut.body) said += Buffer.from(piece).toString();
      } catch { /* the connection is cut, too, where the platform does that */ }
      assert.match(said, /"Half".*"upstream_disconnected"/s);
      assert.doesNotMatch(said, /\[DONE\]/);
    }
  });

  await t.test("a restart loses nothing, and what is stored is encrypted", async () => {
    const before = (await counts()).Refreshes;
    await restart();
    assert.equal((await (await chat(root, "again")).json()).choices[0].message.content, "You said: again");
    assert.equal((await counts()).Refreshes, before);
    assert.equal((await admin(root, "POST", "/admin/credentials/refresh")).status, 200);
    const spent = await push(root, signIns[0]); // as a script does that runs each day
    assert.match(await spent.text(), /used here already/);
    assert.equal(spent.status, 409);
    assert.equal((await counts()).Reused, 0);
    const copy = await worker.kv.get("credentials");
    assert.match(copy, /"ciphertext"/);
    assert.doesNotMatch(copy, /rt_|eyJ/);
  });

  await t.test("what was encrypted with another CREDENTIALS_KEY is not used, and is deleted all the same", async () => {
    await restart({ CREDENTIALS_KEY: "another" });
    const answer = await chat(root, "x");
    assert.equal(answer.status, 401);
    assert.match((await answer.json()).error.message, /CREDENTIALS_KEY is not the one/);
    const deleted = await admin(root, "DELETE", "/admin/credentials");
    const status = await deleted.json();
    assert.equal(deleted.status, 200, JSON.stringify(status));
    assert.equal(status.hasCredentials, false);
    assert.match(status.warning, /could not be read/);
    assert.match((await (await chat(root, "x")).json()).error.message, /signed out/);
    await worker.stop();
  });
});

test("a redirect upstream is not followed, since a sign-in goes with it", { timeout: 60_000 }, async () => {
  let followed = 0;
  const own = await startStandin("-ended");
  const elsewhere = http.createServer((request, answer) => { followed++; answer.end("{}"); }).listen(0, "127.0.0.1");
  const upstream = http.createServer((request, answer) => {
    request.resume();
    answer.writeHead(307, { location: `http://127.0.0.1:${elsewhere.address().port}/` }).end();
  }).listen(0, "127.0.0.1");
  await Promise.all([once(elsewhere, "listening"), once(upstream, "listening")]);
  const { root, stop } = await startWorker("redirect", { ADMIN_API_KEY: "admin", PROXY_API_KEY: "key-2", AUTH_BASE_URL: own.url, UPSTREAM_BASE_URL: `http://127.0.0.1:${upstream.address().port}` });
  assert.equal((await push(root, own.signIns[0])).status, 200);
  const answer = await chat(root, "hello");
  const text = await answer.text();
  assert.ok(answer.status >= 300, `${answer.status} ${text}`);
  assert.equal(followed, 0);
  await stop();
  for (const server of [upstream, elsewhere]) server.closeAllConnections(), server.close();
});

test("a sign-in goes over plain http to this machine only, as on the desktop", { timeout: 60_000 }, async () => {
  const own = await startStandin();
  const secrets = { ADMIN_API_KEY: "admin", PROXY_API_KEY: "key-2", AUTH_BASE_URL: own.url };
  const { root, stop } = await startWorker("plain", { ...secrets, UPSTREAM_BASE_URL: own.url.replace("127.0.0.1", "0.0.0.0") + "/backend-api" });
  assert.equal((await push(root, own.signIns[0])).status, 200);
  const answer = await chat(root, "hello");
  const text = await answer.text();
  assert.equal(answer.status, 502, text);
  assert.match(text, /unencrypted.*https/);
  assert.equal((await own.counts()).Responses, 0);
  await stop();
  // Where a refresh would go so, its token is not taken for one that may be spent.
  const worker = await startWorker("plain-auth", { ...secrets, AUTH_BASE_URL: own.url.replace("127.0.0.1", "0.0.0.0"), UPSTREAM_BASE_URL: own.url + "/backend-api" });
  assert.equal((await push(worker.root, own.signIns[1])).status, 200);
  const refresh = async () => (await fetch(worker.root + "/admin/credentials/refresh", { method: "POST", headers: { authorization: "Bearer admin" } })).text();
  assert.match(await refresh(), /unencrypted.*https/);
  await until("it can be tried again", async () => /unencrypted.*https/.test(await refresh()));
  await worker.stop();
});

test("variables are taken as a person writes them, and what can't be meant is told", { timeout: 120_000 }, async () => {
  const own = await startStandin();
  const secrets = { ADMIN_API_KEY: "admin", PROXY_API_KEY: "key-2", AUTH_BASE_URL: own.url, UPSTREAM_BASE_URL: own.url + "/backend-api" };
  const plain = await startWorker("plain-words", { ...secrets, ADMIN_API_KEY: 123, PROXY_API_KEY: 456, UPSTREAM_BASE_URL: "127.0.0.1:1/backend-api", API_BASE_URL: "ftp://relay.example" });
  for (const [path, key] of [["/metrics", 456], ["/admin/credentials/status", 123]]) {
    assert.equal((await fetch(plain.root + path, { headers: { authorization: "Bearer " + key } })).status, 200, path);
  }
  const { access_token, refresh_token } = JSON.parse(own.signIns[1]).tokens;
  const pushed = await admin(plain.root, "POST", "/admin/credentials", { accessToken: access_token, refreshToken: refresh_token }, { authorization: "Bearer 123" });
  assert.equal(pushed.status, 200, await pushed.text());
  const unreached = await (await fetch(plain.root + "/v1/responses", { method: "POST", headers: { authorization: "Bearer 456" }, body: JSON.stringify({ model: "gpt-5.5", input: "hello" }) })).text();
  assert.match(unreached, /upstream_unreachable/);
  assert.match(unreached, /UPSTREAM_BASE_URL/);
  assert.doesNotMatch(unreached, /Invalid URL|proxy settings|API_BASE_URL/); // the last is of a sign-in that no Worker has
  await until("what is no address is told", () => plain.log.includes('API_BASE_URL is \\"ftp://relay.example\\"'));
  await plain.stop();
  for (const [STRICT, status] of [[1, 400], [true, 400], ["sure", 200]]) {
    const worker = await startWorker("strict" + typeof STRICT + STRICT, { ...secrets, STRICT, MODEL_ALIAS: "fast,=gpt-5.5,mini=gpt-5.6-luna", LOG_LEVEL: "loud" });
    assert.equal((await push(worker.root, own.signIns[0])).status, 200);
    const answer = await chat(worker.root, "hello", { temperature: 1 });
    assert.equal(answer.status, status, `${typeof STRICT} ${STRICT}: ${await answer.text()}`);
    if (STRICT === "sure") {
      for (const told of ['STRICT is \\"sure\\"', 'MODEL_ALIAS has \\"fast\\"', 'MODEL_ALIAS has \\"=gpt-5.5\\"', 'LOG_LEVEL is \\"loud\\"']) await until(told + " is told", () => worker.log.includes(told));
    }
    await worker.stop();
  }
});

test("at a public address", { timeout: 120_000 }, async (t) => {
  const worker = await startWorker("public", { ADMIN_API_KEY: "admin", PROXY_API_KEY: "key-2", DEFAULT_EFFORT: "high" });
  const { root } = worker;
  const look = async (what) => (await fetch(root + "/v1/models", { headers: { authorization: "Bearer key-2", "x-test": what } })).json();
  assert.equal((await push(root, signIns[2])).status, 200);

  await t.test("who has no key does not reach the object, whatever is sent", async () => {
    for (const path of ["/health", "/v1/chat/completions", "/admin/credentials", "/v1/nothing"]) {
      const request = http.request(root + path, { method: "POST", agent: false, headers: { "x-test": "end", "content-length": 30 << 20 } });
      request.on("error", () => {}); // the answer does not wait for the body, and the connection ends with it
      request.write("x".repeat(1 << 10));
      const [answer] = await once(request, "response");
      assert.equal(answer.statusCode, path === "/health" ? 200 : 401);
      request.destroy();
    }
    assert.doesNotMatch(worker.log, /the program ended/);
    for (const [path, pattern] of [["/v1/messages", /^{"type":"error"/], ["/api/chat", /^{"error":"/]]) {
      assert.match(await (await fetch(root + path, { method: "POST", body: "{}" })).text(), pattern);
    }
  });

  await t.test("a page may ask before it sends a key, may read why that is refused, and needs leave for its origin", async () => {
    const origin = "https://page.example";
    const before = await fetch(root + "/v1/chat/completions", { method: "OPTIONS", headers: { origin, "access-control-request-method": "POST", "access-control-request-headers": "authorization" } });
    assert.equal(before.status, 204);
    assert.equal(before.headers.get("access-control-allow-headers"), "authorization");
    for (const [key, status] of [["wrong", 401], ["key-2", 403]]) {
      const answer = await fetch(root + "/v1/models", { headers: { origin, authorization: "Bearer " + key } });
      assert.equal(answer.status, status);
      assert.equal(answer.headers.get("access-control-allow-origin"), status === 401 ? origin : null);
    }
  });

  await t.test("an effort that is set is the default, and what is no effort is not used and told", async () => {
    const effort = async (root) => (await (await fetch(root + "/v1/models", { headers: { authorization: "Bearer key-2" } })).json()).data.find(({ id }) => id === "gpt-5.5").reasoning.default_effort;
    assert.equal(await effort(root), "high");
    const other = await startWorker("loud", { ADMIN_API_KEY: "admin", PROXY_API_KEY: "key-2", DEFAULT_EFFORT: "loud" });
    assert.equal(await effort(other.root), "medium");
    await until("it is told", () => other.log.includes('DEFAULT_EFFORT is \\"loud\\"'));
    await other.stop();
  });

  await t.test("an address that can't be read is a 400", async () => {
    const answer = await fetch(root + "/%zz", { headers: { authorization: "Bearer key-2" } });
    assert.equal(answer.status, 400);
    assert.equal((await answer.json()).error.code, "invalid_url");
  });

  await t.test("a body that is too large is refused: by its length before it comes, and by what it unpacks to", async () => {
    const headers = { authorization: "Bearer key-2", "content-type": "application/json" };
    const request = http.request(root + "/v1/chat/completions", { method: "POST", agent: false, headers: { ...headers, "content-length": 21 << 20 } });
    request.on("error", () => {});
    request.flushHeaders();
    const [answer] = await once(request, "response");
    assert.equal(answer.statusCode, 413);
    request.destroy();
    const body = gzipSync(JSON.stringify({ model: "gpt-5.5", messages: [{ role: "user", content: "x".repeat(21 << 20) }] }));
    const unpacked = await fetch(root + "/v1/chat/completions", { method: "POST", headers: { ...headers, "content-encoding": "gzip" }, body });
    assert.equal(unpacked.status, 413, await unpacked.text());
    assert.ok((await look("memory")) <= 96 << 20);
  });

  await t.test("a field with a control character in its name is answered", async () => {
    const answer = await chat(root, "hello", { "a\nb\u0001": 1, "名": 1 });
    assert.equal((await answer.json()).choices[0].message.content, "You said: hello");
  });

  await t.test("what is no header value is refused by name", async () => {
    const { access_token, refresh_token } = JSON.parse(signIns[1]).tokens;
    const good = { accessToken: access_token, refreshToken: refresh_token, expiresAt: Date.now() + 3_600_000 };
    for (const [wrong, name] of [[{ userID: "a\nb" }, "userID"], [{ accessToken: "   " }, "accessToken"], [{ accessToken: "x".repeat(1 << 20) }, "accessToken"], [{ refreshToken: "a b" }, "refreshToken"],
      [{ expiresAt: Math.floor(Date.now() / 1000) }, "expiresAt"], [{ expiresAt: Date.now() * 1000 }, "expiresAt"]]) {
      const answer = await admin(root, "POST", "/admin/credentials", { ...good, ...wrong });
      assert.equal(answer.status, 400);
      assert.equal((await answer.json()).error.param, name);
    }
  });

  await t.test("when the program ends, what is under way is told so, and the next request starts it again", { timeout: 30_000 }, async () => {
    const { Responses: asked } = await counts();
    const silent = chat(root, "[[stall 20000]]");
    const socket = await openSocket(root, "key-2");
    await until("the call is upstream", async () => (await counts()).Responses > asked);
    await look("end");
    const answer = await silent;
    assert.equal(answer.status, 502);
    assert.equal((await answer.json()).error.code, "worker_restarts");
    assert.equal((await socket.closed).code, 1012);
    const health = await fetch(root + "/health", { headers: { authorization: "Bearer key-2" } });
    assert.equal(health.status, 200, await health.text());
    assert.equal((await (await chat(root, "again")).json()).choices[0].message.content, "You said: again");
  });

  await t.test("a WebSocket that is closed for a message that is too large is over, also for a client that never answers the close", async () => {
    const frame = (text) => { // of text, masked by zeros
      const head = Buffer.alloc(14);
      head.writeUInt16BE(0x81ff);
      head.writeBigUInt64BE(BigInt(text.length), 2);
      return Buffer.concat([head, Buffer.from(text)]);
    };
    const { Canceled: before, Responses: asked } = await counts();
    const request = http.get(root + "/v1/responses", { agent: false, headers: { authorization: "Bearer key-2", connection: "Upgrade", upgrade: "websocket", "sec-websocket-version": "13", "sec-websocket-key": Buffer.alloc(16).toString("base64") } });
    const [, connection] = await once(request, "upgrade");
    let came = Buffer.alloc(0);
    connection.on("data", (piece) => { came = Buffer.concat([came, piece]); });
    connection.write(frame(JSON.stringify({ type: "response.create", model: "gpt-5.5", input: "[[stall 60000]]" })));
    await until("the call is upstream", async () => (await counts()).Responses > asked);
    connection.write(frame("x".repeat(5 << 20)));
    await until("the connection is closed with 1009", () => came.includes(Buffer.from([1009 >> 8, 1009 & 255])));
    await until("upstream hears of it", async () => (await counts()).Canceled > before);
    await until("no timer is set", async () => (await look("timers")) === 0);
    connection.destroy();
  });

  await t.test("nothing keeps an idle object awake", async () => {
    const idle = (after) => until("no timer is set after " + after, async () => (await look("timers")) === 0, 10);
    assert.match(await (await chat(root, "hello")).text(), /You said/);
    await idle("a chat");
    assert.match(await (await chat(root, "[[stall 1000]]", { stream: true })).text(), /DONE/);
    await idle("a stream");
    const left = await chat(root, "[[endless]]", { stream: true });
    await left.body.cancel();
    await idle("a stream that its caller left");
    const socket = await openSocket(root, "key-2");
    assert.notEqual(await look("timers"), 0);
    socket.end();
    await idle("a WebSocket");
  });

  await t.test("three bodies of 16 MB at once beside 20 streams take at most 96 MB", async () => {
    const abort = new AbortController();
    const open = await Promise.all(Array.from({ length: 20 }, () => fetch(root + "/v1/chat/completions", { method: "POST", signal: abort.signal, headers: { authorization: "Bearer key-2" }, body: JSON.stringify({ model: "gpt-5.5", stream: true, messages: [{ role: "user", content: "[[text 2000 200]]" }] }) })));
    for (const one of open) (async () => { try { for await (const _ of one.body); } catch { /* it is left */ } })();
    await Promise.all(Array.from({ length: 3 }, async () => {
      const answer = await chat(root, "hello", { messages: [{ role: "system", content: "x".repeat(16_000_000) }, { role: "user", content: "hello" }] });
      const text = await answer.text();
      assert.ok(answer.status === 200, text.slice(0, 300));
    }));
    const memory = await look("memory");
    abort.abort();
    console.log(`memory of the program: ${memory >> 20} MB`);
    assert.ok(memory <= 96 << 20, `${memory >> 20} MB`);
  });
  await worker.stop();
});

test("a sign-in that can't be stored is in use, and that is what is said", { timeout: 60_000 }, async () => {
  const own = await startStandin();
  const { root, stop } = await startWorker("full", { ADMIN_API_KEY: "admin", PROXY_API_KEY: "key-2", AUTH_BASE_URL: own.url, UPSTREAM_BASE_URL: own.url + "/backend-api" });
  await fetch(root + "/v1/models", { headers: { authorization: "Bearer key-2", "x-test": "full" } });
  const pushed = await push(root, own.signIns[0]);
  const { error } = await pushed.json();
  assert.equal(pushed.status, 500);
  assert.equal(error.code, "not_stored");
  assert.match(error.message, /is in use but could not be stored.*it is full/);
  assert.equal((await (await chat(root, "hello")).json()).choices[0].message.content, "You said: hello");
  await stop();
});

test("a KV that does not answer holds up no sign-in", { timeout: 120_000 }, async () => {
  const own = await startStandin();
  const secrets = { ADMIN_API_KEY: "admin", PROXY_API_KEY: "key-2", AUTH_BASE_URL: own.url, UPSTREAM_BASE_URL: own.url + "/backend-api" };
  const silence = (worker) => fetch(worker.root + "/v1/models", { headers: { authorization: "Bearer key-2", "x-test": "silent KV" } });
  const worker = await startWorker("silent", secrets);
  await silence(worker);
  assert.equal((await push(worker.root, own.signIns[0])).status, 200);
  assert.equal((await (await chat(worker.root, "hello")).json()).choices[0].message.content, "You said: hello");
  assert.match(worker.log, /the copy in KV is old/);
  await worker.kv.put("credentials", '{"accessToken":"plain"}');
  await worker.stop();
  // With a CREDENTIALS_KEY that is set meanwhile, the copy in KV is encrypted by the first start at which KV answers.
  const keyed = await startWorker("silent", { ...secrets, CREDENTIALS_KEY: "a secret" });
  await silence(keyed);
  assert.equal((await (await chat(keyed.root, "keyed")).json()).choices[0].message.content, "You said: keyed");
  await keyed.stop();
  const later = await startWorker("silent", { ...secrets, CREDENTIALS_KEY: "a secret" });
  assert.equal((await (await chat(later.root, "later")).json()).choices[0].message.content, "You said: later");
  assert.doesNotMatch(await later.kv.get("credentials"), /plain/);
  await later.stop();
});

test("the button's wrangler.toml says what the Worker's own says", () => {
  const [own, button] = ["wrangler.toml", "../wrangler.toml"].map((file) => configOf(join(here, file)).workerOptions);
  assert.deepEqual(button, own);
});

test("what the Worker is deployed with can be installed on every system", () => {
  const { packages } = JSON.parse(readFileSync(join(here, "package-lock.json"), "utf8"));
  const only = Object.keys(packages).filter((name) => (packages[name].os || packages[name].cpu) && !packages[name].optional);
  assert.deepEqual(only, []);
});

test("plain values of the KV binding are read", async () => {
  const own = await startStandin("-ended");
  const { access_token, refresh_token } = JSON.parse(own.signIns[0]).tokens;
  const secrets = { ADMIN_API_KEY: "admin", PROXY_API_KEY: "key-2", UPSTREAM_BASE_URL: own.url + "/backend-api", AUTH_BASE_URL: own.url };
  const first = await startWorker("kv", secrets);
  await first.kv.put("credentials", JSON.stringify({ accessToken: access_token, refreshToken: refresh_token, expiresAt: Date.now() - 1000, userID: "acct-demo" }));
  await first.stop();
  const { root, stop } = await startWorker("kv", secrets);
  await until("the sign-in of KV is in use", async () => (await (await admin(root, "GET", "/admin/credentials/status")).json()).hasCredentials);
  assert.equal((await (await chat(root, "from KV")).json()).choices[0].message.content, "You said: from KV");
  await stop();
  // With a CREDENTIALS_KEY that is set later, they are encrypted at once, in both places.
  const later = await startWorker("kv", { ...secrets, CREDENTIALS_KEY: "a secret" });
  assert.equal((await (await chat(later.root, "later")).json()).choices[0].message.content, "You said: later");
  assert.doesNotMatch(await later.kv.get("credentials"), /rt_|eyJ/);
  await later.stop();
  const without = await startWorker("kv", secrets);
  assert.match(await (await chat(without.root, "x")).text(), /It is encrypted/);
  await without.stop();
});
