// The Worker: every request goes to one Durable Object, which holds the one account and one instance of the Go program
// (main.go) for as long as it lives.
import { DurableObject } from "cloudflare:workers";
import "./build/wasm_exec.js";
import program from "./build/app.wasm";

const alarmEvery = 30 * 60 * 1000; // milliseconds: an idle Worker stays signed in
const bodyMost = 32 * 1024 * 1024; // bytes; the program holds a body in memory
const stored = "credentials"; // the key in KV and in the object's storage

export class Proxy extends DurableObject {
  constructor(state, env) {
    super(state, env);
    this.state = state;
    this.start();
  }

  // start runs the Go program, which fills in handle and tick before it first waits.
  start() {
    const { env, state } = this;
    const go = new globalThis.Go();
    this.bridge = globalThis.codexProxy = {
      env,
      pull: (body) => new Puller(body),
      // The object's storage is consistent, so it wins; KV is where the admin API of older versions wrote, and a copy.
      load: async () => (await state.storage.get(stored)) ?? (env.GEMINI_CLI_KV ? await env.GEMINI_CLI_KV.get(stored) : null),
      save: async (text) => {
        await state.storage.put(stored, text);
        await state.storage.sync();
        if (!env.GEMINI_CLI_KV) return;
        try {
          await env.GEMINI_CLI_KV.put(stored, text);
        } catch (error) {
          console.log(JSON.stringify({ level: "warning", msg: "the copy in KV is old: " + error.message }));
        }
      },
    };
    const instance = new WebAssembly.Instance(program, go.importObject);
    go.run(instance).finally(() => { this.bridge = null; }); // it never ends, unless it crashes
  }

  async fetch(request) {
    if (!this.bridge) this.start();
    this.alarmed ??= this.setAlarm(); // once a life: the alarm sets the next itself
    const length = Number(request.headers.get("content-length") ?? 0);
    if (length > bodyMost) return tooLarge();
    const body = request.body ? new Uint8Array(await request.arrayBuffer()) : null;
    if (body && body.length > bodyMost) return tooLarge();
    return this.bridge.handle(request.method, request.url, [...request.headers], body);
  }

  async setAlarm() {
    if ((await this.state.storage.getAlarm()) === null) await this.state.storage.setAlarm(Date.now() + alarmEvery);
  }

  async alarm() {
    if (!this.bridge) this.start();
    await this.bridge.tick();
    await this.state.storage.setAlarm(Date.now() + alarmEvery);
  }
}

// Puller reads a body for the Go program: each crossing between the two costs more than the bytes, so what comes within
// a millisecond goes together.
class Puller {
  constructor(body) {
    this.reader = body.getReader();
    this.waiting = null; // a read that was begun and not yet taken
  }

  // next resolves to bytes, or to null at the end.
  async next() {
    let result = await (this.waiting ?? this.reader.read());
    this.waiting = null;
    if (result.done) return null;
    const parts = [result.value];
    const enough = new Promise((resolve) => setTimeout(resolve, 1));
    while (parts.length < 64) {
      this.waiting = this.reader.read();
      this.waiting.catch(() => {}); // told by the next call
      result = await Promise.race([this.waiting, enough]);
      if (!result || result.done) break;
      this.waiting = null;
      parts.push(result.value);
    }
    if (parts.length === 1) return parts[0];
    const whole = new Uint8Array(parts.reduce((size, part) => size + part.length, 0));
    let at = 0;
    for (const part of parts) {
      whole.set(part, at);
      at += part.length;
    }
    return whole;
  }
}

function tooLarge() {
  return Response.json({ error: { message: "The request is larger than 32 MB. Send fewer or smaller images", type: "invalid_request_error", param: null, code: "request_too_large" } }, { status: 413 });
}

export default {
  fetch(request, env) {
    return env.PROXY.get(env.PROXY.idFromName("the one account")).fetch(request);
  },
};
