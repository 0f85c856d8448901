// The SDKs, unmodified: each ability is a function that throws when it fails.
import assert from "node:assert/strict";
import Anthropic from "@anthropic-ai/sdk";
import { createAnthropic } from "@ai-sdk/anthropic";
import { createOpenAI } from "@ai-sdk/openai";
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { GoogleGenAI } from "@google/genai";
import { ChatOpenAI } from "@langchain/openai";
import { Agent, OpenAIProvider, Runner, tool as agentTool } from "@openai/agents";
import { generateText, Output, stepCountIs, streamText, tool } from "ai";
import { Ollama } from "ollama";
import OpenAI, { toFile } from "openai";
import { zodResponseFormat, zodTextFormat } from "openai/helpers/zod";
import { ResponsesWS } from "openai/resources/responses/ws";
import { z } from "zod";

const model = "gpt-5.5";
const pixel = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==";
const dataURL = "data:image/png;base64," + pixel;
const person = z.object({ name: z.string(), age: z.number().int() });
const sample = { name: "sample", age: 1 };
const parameters = { type: "object", properties: { city: { type: "string" } }, required: ["city"] };
const weather = { type: "function", function: { name: "get_weather", description: "Weather of a city", parameters } };
const ask = [{ role: "user", content: "Please call get_weather." }];

async function collect(stream, pick) {
  let text = "";
  for await (const part of stream) text += pick(part) ?? "";
  return text;
}

// failsWith checks that a call is refused at once, with the limit in words.
async function failsWith(pattern, call) {
  const start = Date.now();
  await assert.rejects(call, (e) => {
    assert.match(String(e.message) + JSON.stringify(e), pattern);
    return true;
  });
  assert.ok(Date.now() - start < 5000, "it was retried");
}

const limit = /usage limit reached/i;

// logs waits until the proxy has logged a word more often than before.
export async function logs(proxy, word, before) {
  for (let i = 0; i < 500; i++) {
    if (logged(proxy, word) > before) return;
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  throw new Error(`the proxy does not log ${word}`);
}

export const logged = (proxy, word) => proxy.log().split(word).length - 1;

// cancels starts an endless answer and leaves; the proxy must say that the caller is gone.
async function cancels(proxy, start) {
  const before = logged(proxy, "gone=true");
  await start();
  await logs(proxy, "gone=true", before);
}

// turns is how many a conversation has whose prompts are measured: each asks for a tool, and then hears what it answered.
const turns = 10;

// converse has a conversation that bears a mark. answer takes what the user says, and answers it to the end.
async function converse(mark, answer) {
  for (let i = 0; i < turns; i++) assert.match(await answer(`${mark} ${i}: call get_weather`), /18 degrees/);
}

// socketOf opens a WebSocket. ask sends a turn and returns the event that ended it, with all before; next waits for the
// end of any.
function socketOf(openai) {
  const ws = new ResponsesWS(openai);
  const ended = [], waiting = [];
  let events = [];
  ws.on("error", (error) => { if (!error.error) for (const w of waiting.splice(0)) w.reject(error); });
  ws.on("event", (event) => {
    events.push(event);
    if (!["response.completed", "response.incomplete", "response.failed", "error"].includes(event.type)) return;
    const end = { ...event, events };
    events = [];
    const first = waiting.shift();
    if (first) first.resolve(end);
    else ended.push(end);
  });
  const next = () => ended.length ? Promise.resolve(ended.shift()) : new Promise((resolve, reject) => waiting.push({ resolve, reject }));
  const send = (event) => ws.send({ type: "response.create", model, ...event });
  const ask = (event) => { send(event); return next(); };
  return { ask, send, next, on: (kind, f) => ws.on(kind, f), close: () => ws.close() };
}

// withSocket closes the WebSocket that use was given.
async function withSocket(openai, use) {
  const socket = socketOf(openai);
  try {
    return await use(socket);
  } finally {
    socket.close();
  }
}

const outputText = (response) => response.output.flatMap((item) => item.content ?? []).map((part) => part.text).join("");

export function sdks(proxy) {
  const baseURL = proxy.root + "/v1";
  const openai = new OpenAI({ baseURL, apiKey: "x" });
  const anthropic = new Anthropic({ baseURL: proxy.root, apiKey: "x" });
  const ollama = new Ollama({ host: proxy.root, headers: { authorization: "Bearer x" } });
  const google = new GoogleGenAI({ apiKey: "x", httpOptions: { baseUrl: proxy.root } });
  const vercel = createOpenAI({ baseURL, apiKey: "x" });
  const compatible = createOpenAICompatible({ name: "codex", baseURL, apiKey: "x", supportsStructuredOutputs: true });
  const claude = createAnthropic({ baseURL, apiKey: "x" });
  const langchain = (options) => new ChatOpenAI({ model, apiKey: "x", maxRetries: 6, configuration: { baseURL }, ...options });
  const runner = (options) => new Runner({ modelProvider: new OpenAIProvider({ apiKey: "x", baseURL, ...options }), tracingDisabled: true });
  const get_weather = agentTool({ name: "get_weather", description: "Weather", parameters: z.object({ city: z.string() }), execute: async () => "18 degrees" });
  const flat = [{ type: "function", name: "get_weather", parameters, strict: false }];
  const vercelTools = { get_weather: tool({ description: "Weather", inputSchema: z.object({ city: z.string() }), execute: async () => "18 degrees" }) };
  const vercelRow = (m) => ({
    cache: async (mark) => {
      const messages = [];
      await converse(mark, async (text) => {
        messages.push({ role: "user", content: text });
        const answer = await generateText({ model: m, messages, tools: vercelTools, stopWhen: stepCountIs(4) });
        messages.push(...answer.responseMessages);
        return answer.text;
      });
    },
    chat: async () => assert.match((await generateText({ model: m, prompt: "hello" })).text, /hello/),
    stream: async () => assert.match(await collect(streamText({ model: m, prompt: "hello" }).textStream, (t) => t), /hello/),
    tools: async () => assert.match((await generateText({ model: m, prompt: "call get_weather", tools: vercelTools, stopWhen: stepCountIs(4) })).text, /18 degrees/),
    images: async () => assert.match((await generateText({ model: m, messages: [{ role: "user", content: [{ type: "text", text: "see" }, { type: "image", image: pixel, mediaType: "image/png" }] }] })).text, /1 image/),
    structured: async () => assert.deepEqual((await generateText({ model: m, prompt: "fill", output: Output.object({ schema: person }) })).output, sample),
    errors: () => failsWith(limit, generateText({ model: m, prompt: "[[limit]]" })),
    cancel: () => cancels(proxy, async () => {
      const abort = new AbortController();
      const s = streamText({ model: m, prompt: "[[endless]]", abortSignal: abort.signal, onError() {}, onAbort() {} });
      try {
        for await (const _ of s.textStream) { abort.abort(); break; }
      } catch { /* aborted */ }
    }),
  });
  const agentsCache = async (by, mark) => {
    const agent = new Agent({ name: "a", model, instructions: "Be brief.", tools: [get_weather] });
    let history = [];
    await converse(mark, async (text) => {
      const result = await by.run(agent, [...history, { role: "user", content: text }]);
      history = result.history;
      return result.finalOutput;
    });
  };
  const agentsByWebSocket = {
    tools: async () => assert.match((await runner({ useResponsesWebSocket: true }).run(new Agent({ name: "a", model, tools: [get_weather] }), "call get_weather")).finalOutput, /18 degrees/),
    errors: () => failsWith(/unsuccessful terminal state/, runner({ useResponsesWebSocket: true }).run(new Agent({ name: "a", model }), "[[limit]]")),
    websocket: async () => {
      const before = logged(proxy, "transport=WebSocket");
      assert.match((await runner({ useResponsesWebSocket: true }).run(new Agent({ name: "a", model, tools: [get_weather] }), "call get_weather")).finalOutput, /18 degrees/);
      await logs(proxy, "transport=WebSocket", before + 1); // two turns
    },
    cache: (mark) => agentsCache(runner({ useResponsesWebSocket: true }), mark),
  };
  return {
    "openai (Chat)": {
      cache: async (mark) => {
        const messages = [{ role: "system", content: "Be brief." }];
        await converse(mark, async (text) => {
          messages.push({ role: "user", content: text });
          for (;;) {
            const { message } = (await openai.chat.completions.create({ model, messages, tools: [weather] })).choices[0];
            messages.push(message);
            if (!message.tool_calls) return message.content;
            for (const call of message.tool_calls) messages.push({ role: "tool", tool_call_id: call.id, content: "18 degrees" });
          }
        });
      },
      chat: async () => assert.match((await openai.chat.completions.create({ model, messages: [{ role: "user", content: "hello" }] })).choices[0].message.content, /hello/),
      stream: async () => assert.match(await collect(await openai.chat.completions.create({ model, stream: true, messages: [{ role: "user", content: "hello" }] }), (c) => c.choices[0].delta.content), /hello/),
      tools: async () => {
        const messages = [{ role: "system", content: "Be brief." }, ...ask];
        const first = await openai.chat.completions.stream({ model, messages, tools: [weather] }).finalChatCompletion();
        const call = first.choices[0].message.tool_calls[0];
        assert.deepEqual(JSON.parse(call.function.arguments), { city: "sample" });
        messages.push(first.choices[0].message, { role: "tool", tool_call_id: call.id, content: "18 degrees" });
        assert.match(await openai.chat.completions.stream({ model, messages, tools: [weather] }).finalContent(), /18 degrees/);
      },
      images: async () => assert.match((await openai.chat.completions.create({ model, messages: [{ role: "user", content: [{ type: "text", text: "see" }, { type: "image_url", image_url: { url: dataURL } }] }] })).choices[0].message.content, /1 image/),
      structured: async () => assert.deepEqual((await openai.chat.completions.parse({ model, messages: [{ role: "user", content: "fill" }], response_format: zodResponseFormat(person, "person") })).choices[0].message.parsed, sample),
      errors: async () => {
        await failsWith(limit, openai.chat.completions.create({ model, messages: [{ role: "user", content: "[[limit]]" }] }));
        for (const scenario of ["[[cut]]", "[[failed server_error late]]"]) {
          const stream = await openai.chat.completions.create({ model, stream: true, messages: [{ role: "user", content: scenario }] });
          await assert.rejects(collect(stream, () => ""));
        }
      },
      cancel: () => cancels(proxy, async () => {
        const stream = await openai.chat.completions.create({ model, stream: true, messages: [{ role: "user", content: "[[endless]]" }] });
        for await (const _ of stream) break;
      }),
    },
    "openai (Responses)": {
      cache: async (mark) => {
        const input = [];
        await converse(mark, async (text) => {
          input.push({ role: "user", content: text });
          for (;;) {
            const answer = await openai.responses.create({ model, input, tools: flat, store: false });
            input.push(...answer.output);
            const calls = answer.output.filter((item) => item.type === "function_call");
            if (calls.length === 0) return answer.output_text;
            for (const call of calls) input.push({ type: "function_call_output", call_id: call.call_id, output: "18 degrees" });
          }
        });
      },
      chat: async () => assert.match((await openai.responses.create({ model, input: "hello", temperature: 0.5 })).output_text, /hello/),
      stream: async () => assert.match((await openai.responses.stream({ model, input: "hello" }).finalResponse()).output_text, /hello/),
      tools: async () => {
        const tools = [{ type: "function", name: "get_weather", parameters, strict: false }];
        const first = await openai.responses.create({ model, input: ask, tools });
        const call = first.output.find((item) => item.type === "function_call");
        const second = await openai.responses.create({ model, previous_response_id: first.id, input: [{ type: "function_call_output", call_id: call.call_id, output: "18 degrees" }], tools });
        assert.match(second.output_text, /18 degrees/);
        assert.equal((await openai.responses.retrieve(second.id)).id, second.id);
        await openai.responses.delete(second.id);
      },
      images: async () => {
        assert.match((await openai.responses.create({ model, input: [{ role: "user", content: [{ type: "input_text", text: "see" }, { type: "input_image", image_url: dataURL, detail: "auto" }] }] })).output_text, /1 image/);
        if (!proxy.pictures) {
          await assert.rejects(openai.images.generate({ model: "gpt-image-1", prompt: "a cat" }), /not available with Sign in with ChatGPT/);
          return;
        }
        assert.equal((await openai.images.generate({ model: "gpt-image-1", prompt: "a cat", n: 2 })).data.length, 2);
        const source = await toFile(Buffer.from(pixel, "base64"), "cat.png", { type: "image/png" });
        assert.equal((await openai.images.edit({ model: "gpt-image-1", image: source, prompt: "blue" })).data[0].b64_json, pixel);
      },
      structured: async () => assert.deepEqual((await openai.responses.parse({ model, input: "fill", text: { format: zodTextFormat(person, "person") } })).output_parsed, sample),
      errors: () => failsWith(limit, openai.responses.create({ model, input: "[[limit]]" })),
      cancel: () => cancels(proxy, async () => {
        for await (const _ of await openai.responses.create({ model, stream: true, input: "[[endless]]" })) break;
      }),
    },
    "openai (WebSocket)": {
      chat: () => withSocket(openai, async ({ ask }) => assert.match(outputText((await ask({ input: "hello", temperature: 0.5 })).response), /hello/)),
      stream: () => withSocket(openai, async ({ ask }) => {
        const { events } = await ask({ input: "hello" });
        assert.match(events.filter((e) => e.type === "response.output_text.delta").map((e) => e.delta).join(""), /hello/);
      }),
      tools: () => withSocket(openai, async ({ ask }) => {
        const first = (await ask({ input: "Please call get_weather.", tools: flat })).response;
        const call = first.output.find((item) => item.type === "function_call");
        const second = (await ask({ previous_response_id: first.id, input: [{ type: "function_call_output", call_id: call.call_id, output: "18 degrees" }], tools: flat })).response;
        assert.match(outputText(second), /18 degrees/);
        assert.equal((await openai.responses.retrieve(second.id)).id, second.id);
      }),
      images: () => withSocket(openai, async ({ ask }) => assert.match(outputText((await ask({ input: [{ role: "user", content: [{ type: "input_text", text: "see" }, { type: "input_image", image_url: dataURL, detail: "auto" }] }] })).response), /1 image/)),
      structured: () => withSocket(openai, async ({ ask }) => assert.deepEqual(JSON.parse(outputText((await ask({ input: "fill", text: { format: zodTextFormat(person, "person") } })).response)), sample)),
      errors: () => withSocket(openai, async ({ ask }) => {
        assert.match((await ask({ input: "[[limit]]" })).error.message, limit);
        assert.equal((await ask({ input: "hello", previous_response_id: "resp_gone" })).error.code, "previous_response_not_found");
        for (const scenario of ["[[cut]]", "[[failed server_error late]]"]) assert.match((await ask({ input: scenario })).type, /^(error|response.failed)$/);
        assert.match(outputText((await ask({ input: "hello" })).response), /hello/); // the connection goes on
      }),
      cancel: () => cancels(proxy, () => withSocket(openai, (socket) => new Promise((resolve) => {
        socket.on("response.output_text.delta", resolve);
        socket.send({ input: "[[endless]]" });
      }))),
      websocket: () => withSocket(openai, async (socket) => {
        const begun = new Promise((resolve) => socket.on("response.output_text.delta", resolve));
        socket.send({ stream_id: "slow", input: "[[endless]]" });
        assert.equal((await begun).stream_id, "slow");
        const fast = await socket.ask({ stream_id: "fast", input: "hello" });
        assert.equal(fast.stream_id, "fast");
        const stopped = await socket.ask({ type: "response.cancel", stream_id: "slow" });
        assert.deepEqual([stopped.stream_id, stopped.type, stopped.response.incomplete_details.reason], ["slow", "response.incomplete", "cancelled"]);
        const warm = await socket.ask({ input: "hello", generate: false });
        assert.match(outputText((await socket.ask({ previous_response_id: warm.response.id, input: "and more" })).response), /and more/);
      }),
      cache: (mark) => withSocket(openai, async ({ ask }) => {
        let previous_response_id;
        await converse(mark, async (text) => {
          for (let input = text; ;) {
            const { response } = await ask({ previous_response_id, input, tools: flat, store: false });
            previous_response_id = response.id;
            const calls = response.output.filter((item) => item.type === "function_call");
            if (calls.length === 0) return outputText(response);
            input = calls.map((call) => ({ type: "function_call_output", call_id: call.call_id, output: "18 degrees" }));
          }
        });
      }),
    },
    "openai (Completions)": {
      chat: async () => assert.match((await openai.completions.create({ model, prompt: "hello" })).choices[0].text, /hello/),
      stream: async () => assert.match(await collect(await openai.completions.create({ model, prompt: "hello", stream: true }), (c) => c.choices[0].text), /hello/),
      errors: () => failsWith(limit, openai.completions.create({ model, prompt: "[[limit]]" })),
    },
    "@anthropic-ai/sdk": {
      cache: async (mark) => {
        const messages = [];
        const tools = [{ name: "get_weather", input_schema: parameters }];
        await converse(mark, async (text) => {
          for (let content = text; ;) {
            messages.push({ role: "user", content });
            const answer = await anthropic.messages.create({ model, max_tokens: 100, system: "Be brief.", tools, messages });
            messages.push({ role: "assistant", content: answer.content });
            const uses = answer.content.filter((block) => block.type === "tool_use");
            if (uses.length === 0) return answer.content.at(-1).text;
            content = uses.map((use) => ({ type: "tool_result", tool_use_id: use.id, content: "18 degrees" }));
          }
        });
      },
      chat: async () => assert.match((await anthropic.messages.create({ model, max_tokens: 100, messages: [{ role: "user", content: "hello" }] })).content[0].text, /hello/),
      stream: async () => assert.match(await anthropic.messages.stream({ model, max_tokens: 100, thinking: { type: "enabled", budget_tokens: 2000 }, messages: [{ role: "user", content: "hello" }] }).finalText(), /hello/),
      tools: async () => {
        const tools = [{ name: "get_weather", input_schema: parameters }];
        const first = await anthropic.messages.stream({ model, max_tokens: 100, tools, thinking: { type: "enabled", budget_tokens: 2000 }, messages: ask }).finalMessage();
        assert.equal(first.stop_reason, "tool_use");
        const use = first.content.find((block) => block.type === "tool_use");
        assert.deepEqual(use.input, { city: "sample" });
        const second = await anthropic.messages.create({ model, max_tokens: 100, tools, messages: [...ask, { role: "assistant", content: first.content }, { role: "user", content: [{ type: "tool_result", tool_use_id: use.id, content: "18 degrees" }] }] });
        assert.match(second.content[0].text, /18 degrees/);
      },
      images: async () => assert.match((await anthropic.messages.create({ model, max_tokens: 100, messages: [{ role: "user", content: [{ type: "text", text: "see" }, { type: "image", source: { type: "base64", media_type: "image/png", data: pixel } }] }] })).content[0].text, /1 image/),
      structured: async () => {
        const answer = await anthropic.messages.create({ model, max_tokens: 100, messages: [{ role: "user", content: "fill" }], output_config: { format: { type: "json_schema", schema: z.toJSONSchema(person) } } });
        assert.deepEqual(JSON.parse(answer.content[0].text), sample);
      },
      errors: async () => {
        await failsWith(limit, anthropic.messages.create({ model, max_tokens: 100, messages: [{ role: "user", content: "[[limit]]" }] }));
        await assert.rejects(anthropic.messages.stream({ model, max_tokens: 100, messages: [{ role: "user", content: "[[cut]]" }] }).finalMessage());
        assert.ok((await anthropic.messages.countTokens({ model, messages: [{ role: "user", content: "hello" }] })).input_tokens > 0);
      },
      cancel: () => cancels(proxy, async () => {
        for await (const _ of await anthropic.messages.create({ model, max_tokens: 100, stream: true, messages: [{ role: "user", content: "[[endless]]" }] })) break;
      }),
    },
    "@google/genai": {
      chat: async () => {
        assert.match((await google.models.generateContent({ model, contents: "hello", config: { systemInstruction: "Be brief.", temperature: 1 } })).text, /hello/);
        assert.ok((await google.models.countTokens({ model, contents: "hello" })).totalTokens > 0);
        assert.equal((await google.models.get({ model })).name, `models/${model}`);
        const names = [];
        for await (const m of await google.models.list({ config: { pageSize: 2 } })) names.push(m.name);
        assert.ok(names.includes(`models/${model}`));
      },
      stream: async () => {
        const chat = google.chats.create({ model });
        assert.match(await collect(await chat.sendMessageStream({ message: "hello" }), (c) => c.text), /hello/);
        assert.match((await chat.sendMessage({ message: "hello again" })).text, /hello again/);
      },
      tools: async () => {
        const tools = [{ functionDeclarations: [{ name: "get_weather", description: "Weather of a city", parametersJsonSchema: parameters }] }];
        const chat = google.chats.create({ model, config: { tools, thinkingConfig: { includeThoughts: true } } });
        const first = [];
        for await (const chunk of await chat.sendMessageStream({ message: "Please call get_weather." })) first.push(...(chunk.functionCalls ?? []));
        assert.deepEqual(first[0].args, { city: "sample" });
        const second = await chat.sendMessage({ message: [{ functionResponse: { id: first[0].id, name: "get_weather", response: { output: "18 degrees" } } }] });
        assert.match(second.text, /18 degrees/);
      },
      images: async () => assert.match((await google.models.generateContent({ model, contents: [{ text: "see" }, { inlineData: { mimeType: "image/png", data: pixel } }] })).text, /1 image/),
      structured: async () => assert.deepEqual(JSON.parse((await google.models.generateContent({ model, contents: "fill", config: { responseMimeType: "application/json", responseJsonSchema: z.toJSONSchema(person) } })).text), sample),
      errors: async () => {
        await failsWith(limit, google.models.generateContent({ model, contents: "[[limit]]" }));
        for (const scenario of ["[[cut]]", "[[failed server_error late]]"]) {
          await assert.rejects(async () => collect(await google.models.generateContentStream({ model, contents: scenario }), () => ""));
        }
      },
      cancel: () => cancels(proxy, async () => {
        const abort = new AbortController();
        try {
          for await (const _ of await google.models.generateContentStream({ model, contents: "[[endless]]", config: { abortSignal: abort.signal } })) abort.abort();
        } catch { /* aborted */ }
      }),
    },
    "ai (@ai-sdk/openai, Responses)": vercelRow(vercel(model)),
    "ai (@ai-sdk/openai, Chat)": vercelRow(vercel.chat(model)),
    "ai (openai-compatible)": vercelRow(compatible(model)),
    "ai (@ai-sdk/anthropic)": vercelRow(claude(model)),
    "@langchain/openai": {
      cache: async (mark) => {
        const bound = langchain().bindTools([weather]);
        const messages = [];
        await converse(mark, async (text) => {
          messages.push({ role: "user", content: text });
          for (;;) {
            const answer = await bound.invoke(messages);
            messages.push(answer);
            if (answer.tool_calls.length === 0) return answer.content;
            for (const call of answer.tool_calls) messages.push({ role: "tool", tool_call_id: call.id, content: "18 degrees" });
          }
        });
      },
      chat: async () => assert.match((await langchain().invoke("hello")).content, /hello/),
      stream: async () => assert.match(await collect(await langchain().stream("hello"), (c) => c.content), /hello/),
      tools: async () => {
        const bound = langchain().bindTools([weather]);
        const first = await bound.invoke("Please call get_weather.");
        assert.deepEqual(first.tool_calls[0].args, { city: "sample" });
        const second = await bound.invoke([...ask, first, { role: "tool", tool_call_id: first.tool_calls[0].id, content: "18 degrees" }]);
        assert.match(second.content, /18 degrees/);
      },
      images: async () => assert.match((await langchain().invoke([{ role: "user", content: [{ type: "text", text: "see" }, { type: "image_url", image_url: { url: dataURL } }] }])).content, /1 image/),
      structured: async () => assert.deepEqual(await langchain().withStructuredOutput(person, { method: "jsonSchema" }).invoke("fill"), sample),
      errors: () => failsWith(limit, langchain().invoke("[[limit]]")),
      cancel: () => cancels(proxy, async () => {
        const abort = new AbortController();
        try {
          for await (const _ of await langchain().stream("[[endless]]", { signal: abort.signal })) abort.abort();
        } catch { /* aborted */ }
      }),
    },
    "@openai/agents": {
      cache: (mark) => agentsCache(runner(), mark),
      chat: async () => assert.match((await runner().run(new Agent({ name: "a", model }), "hello")).finalOutput, /hello/),
      stream: async () => {
        const result = await runner().run(new Agent({ name: "a", model }), "hello", { stream: true });
        assert.match(await collect(result.toTextStream(), (t) => t), /hello/);
        await result.completed;
      },
      tools: async () => {
        const agent = new Agent({ name: "a", model, tools: [get_weather] });
        const first = await runner().run(agent, "call get_weather");
        assert.match(first.finalOutput, /18 degrees/);
        const second = await runner().run(new Agent({ name: "b", model }), "hello again", { previousResponseId: first.lastResponseId });
        assert.match(second.finalOutput, /hello again/);
      },
      structured: async () => assert.deepEqual((await runner().run(new Agent({ name: "a", model, outputType: person }), "fill")).finalOutput, sample),
      errors: () => failsWith(limit, runner().run(new Agent({ name: "a", model }), "[[limit]]")),
    },
    "@openai/agents (WebSocket)": agentsByWebSocket,
    "ollama": {
      cache: async (mark) => {
        const messages = [];
        await converse(mark, async (text) => {
          messages.push({ role: "user", content: text });
          for (;;) {
            const { message } = await ollama.chat({ model, messages, tools: [weather] });
            messages.push(message);
            if (!message.tool_calls) return message.content;
            messages.push({ role: "tool", tool_name: "get_weather", content: "18 degrees" });
          }
        });
      },
      chat: async () => assert.match((await ollama.chat({ model, messages: [{ role: "user", content: "hello" }] })).message.content, /hello/),
      stream: async () => assert.match(await collect(await ollama.chat({ model, stream: true, messages: [{ role: "user", content: "hello" }] }), (c) => c.message.content), /hello/),
      tools: async () => {
        const first = await ollama.chat({ model, messages: ask, tools: [weather] });
        assert.deepEqual(first.message.tool_calls[0].function.arguments, { city: "sample" });
        const second = await ollama.chat({ model, tools: [weather], messages: [...ask, first.message, { role: "tool", tool_name: "get_weather", content: "18 degrees" }] });
        assert.match(second.message.content, /18 degrees/);
      },
      images: async () => assert.match((await ollama.chat({ model, messages: [{ role: "user", content: "see", images: [pixel] }] })).message.content, /1 image/),
      structured: async () => assert.deepEqual(JSON.parse((await ollama.generate({ model, prompt: "fill", format: z.toJSONSchema(person) })).response), sample),
      errors: () => failsWith(limit, ollama.chat({ model, messages: [{ role: "user", content: "[[limit]]" }] })),
      cancel: () => cancels(proxy, async () => {
        const stream = await ollama.chat({ model, stream: true, messages: [{ role: "user", content: "[[endless]]" }] });
        for await (const _ of stream) { stream.abort(); break; }
      }),
    },
  };
}
