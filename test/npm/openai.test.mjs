// The unmodified openai package: a streamed chat with a tool call, a structured output, an image, and Responses.
import { test, before, after } from "node:test";
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { fileURLToPath } from "node:url";
import OpenAI, { APIError } from "openai";

const binary = fileURLToPath(new URL("../../build/codex-proxy", import.meta.url));
const pixel = "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==";
const weather = {
  type: "function",
  function: { name: "get_weather", description: "Weather of a city", parameters: { type: "object", properties: { city: { type: "string" } }, required: ["city"] } },
};
let proxy, client;

before(async () => {
  proxy = spawn(binary, ["--demo", "--port", "0"], { stdio: ["ignore", "ignore", "pipe"] });
  const port = await new Promise((resolve, reject) => {
    let log = "";
    proxy.on("exit", (code) => reject(new Error(`the proxy ended with ${code}: ${log}`)));
    proxy.stderr.on("data", (chunk) => {
      log += chunk;
      const found = /localhost:(\d+)\/v1/.exec(log);
      if (found) resolve(found[1]);
    });
  });
  client = new OpenAI({ baseURL: `http://localhost:${port}/v1`, apiKey: "x", maxRetries: 0 });
});

after(() => proxy.kill());

test("lists models", async () => {
  const ids = [];
  for await (const model of client.models.list()) ids.push(model.id);
  assert.ok(ids.includes("gpt-5.5"), ids.join());
  assert.equal((await client.models.retrieve("gpt-5.5")).id, "gpt-5.5");
});

test("streams a chat with a tool call and its result", async () => {
  const messages = [{ role: "system", content: "Be brief." }, { role: "user", content: "Please call get_weather." }];
  const first = client.chat.completions.stream({ model: "gpt-5.5", messages, tools: [weather], stream_options: { include_usage: true } });
  let chunks = 0;
  for await (const _ of first) chunks++;
  const answer = await first.finalChatCompletion();
  assert.ok(chunks > 3);
  assert.equal(answer.choices[0].finish_reason, "tool_calls");
  assert.ok(answer.usage.total_tokens > 0);
  const call = answer.choices[0].message.tool_calls[0];
  assert.deepEqual(JSON.parse(call.function.arguments), { city: "sample" });
  messages.push(answer.choices[0].message, { role: "tool", tool_call_id: call.id, content: "18 degrees" });
  const second = client.chat.completions.stream({ model: "gpt-5.5", messages, tools: [weather] });
  const text = await second.finalContent();
  assert.match(text, /18 degrees/);
});

test("gives a structured output", async () => {
  const completion = await client.chat.completions.create({
    model: "gpt-5.5-low",
    messages: [{ role: "user", content: "Fill it." }],
    response_format: { type: "json_schema", json_schema: { name: "person", strict: true, schema: { type: "object", properties: { name: { type: "string" }, age: { type: "integer" } }, required: ["name", "age"], additionalProperties: false } } },
  });
  assert.deepEqual(JSON.parse(completion.choices[0].message.content), { name: "sample", age: 1 });
});

test("sees an image", async () => {
  const completion = await client.chat.completions.create({
    model: "gpt-5.5",
    messages: [{ role: "user", content: [{ type: "text", text: "What is it?" }, { type: "image_url", image_url: { url: pixel } }] }],
  });
  assert.match(completion.choices[0].message.content, /1 image/);
});

test("shows the plan limit as an error, at once", async () => {
  await assert.rejects(client.chat.completions.create({ model: "gpt-5.5", messages: [{ role: "user", content: "[[limit]]" }] }), (e) => {
    assert.ok(e instanceof APIError);
    assert.equal(e.status, 403);
    assert.match(e.message, /usage limit reached\. Resets at/);
    return true;
  });
});

test("throws when a stream breaks", async () => {
  for (const scenario of ["[[cut]]", "[[failed server_error late]]"]) {
    const stream = await client.chat.completions.create({ model: "gpt-5.5", stream: true, messages: [{ role: "user", content: scenario }] });
    await assert.rejects(async () => {
      for await (const _ of stream);
    });
  }
});

test("answers Responses, streamed and whole", async () => {
  const whole = await client.responses.create({ model: "gpt-5.5", input: "hello", temperature: 0.5 });
  assert.match(whole.output_text, /hello/);
  const stream = client.responses.stream({ model: "gpt-5.5", input: "hello again" });
  let delta = "";
  stream.on("response.output_text.delta", (event) => (delta += event.delta));
  const final = await stream.finalResponse();
  assert.equal(final.output_text, delta);
  assert.match(delta, /hello again/);
});
