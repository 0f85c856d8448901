// The platform, as the Go program sees it. A Host is one life of the program: it holds every request and every call of
// that life by number, so that all of them end when the program does. Bytes go through one buffer, and only numbers and
// strings cross: what the program would hold on to, it would hold until its next garbage collection.
import "./build/wasm_exec.js";
import program from "./build/app.wasm";
import { refusal } from "./door.mjs";

const stored = "credentials"; // the key in KV and in the object's storage
const chunk = 64 * 1024; // bytes that cross at once
const kvMost = 5000; // milliseconds that KV may take
const unreadMost = 64; // pieces of an answer that may wait for their reader
const encoder = new TextEncoder();
const decoder = new TextDecoder();
const messagesMost = 4 * 1024 * 1024; // bytes of the messages of a WebSocket that wait for the program

export class Host {
  constructor(env, storage) {
    this.env = env;
    this.storage = storage;
    this.buffer = new Uint8Array(chunk);
    this.last = 0; // number that was given out
    this.exchanges = new Map(); // requests under way
    this.calls = new Map(); // AbortControllers of what was sent upstream
    this.bodies = new Map(); // Readers
    this.ticks = new Map();
    this.dead = false;

    const go = (this.go = new globalThis.Go());
    const resume = go._resume;
    const run = () => {
      try {
        if (!this.dead) resume.call(go);
      } catch (error) {
        this.die(error);
      }
    };
    // Go's runtime leaves the platform's timeout for a timer that was stopped when no other is left, and the object stays
    // awake until it comes. So that of an idle program comes at once: the runtime then asks for one that it needs, if any.
    go._resume = () => {
      run();
      if (this.idle()) queueMicrotask(() => { if (this.idle() && go._scheduledTimeouts.size > 0) run(); });
    };
    globalThis.codexProxy = this; // main.go takes it from there, and sets event, before it first waits
    this.instance = new WebAssembly.Instance(program, go.importObject);
    go.run(this.instance).then(() => this.die(new Error("it ended")), (error) => this.die(error));
  }

  idle() { return this.exchanges.size + this.calls.size + this.ticks.size === 0; }

  // die ends what is under way: the program will not.
  die(error) {
    if (this.dead) return;
    this.dead = true;
    console.log(JSON.stringify({ level: "error", msg: "the program ended, and starts again with the next request: " + error.message }));
    for (const timer of this.go._scheduledTimeouts.values()) clearTimeout(timer);
    this.go._scheduledTimeouts.clear();
    for (const call of this.calls.values()) call.abort();
    for (const body of this.bodies.values()) body.cancel();
    for (const exchange of this.exchanges.values()) {
      if (exchange.controller) fail(exchange.controller);
      else if (exchange.socket) exchange.socket.close(1012, "the Worker starts anew");
      else exchange.resolve(crashed(exchange.path));
    }
    for (const done of this.ticks.values()) done();
    for (const map of [this.exchanges, this.calls, this.bodies, this.ticks]) map.clear();
  }

  // tell has the program hear of something.
  tell(kind, id, ...more) {
    if (this.dead) return;
    try {
      this.event(kind, id, ...more);
    } catch (error) {
      this.die(error);
    }
  }

  // handle answers a request, whatever happens to the program.
  handle(request) {
    const path = new URL(request.url).pathname;
    if (this.dead) return crashed(path);
    const id = ++this.last;
    return new Promise((resolve) => {
      this.exchanges.set(id, { resolve, path, controller: null });
      request.signal.addEventListener("abort", () => this.leave(id));
      const body = request.body ? this.read(request.body) : 0;
      this.tell("request", id, request.method, request.url, join(request.headers), body, Number(request.headers.get("content-length") ?? -1));
    });
  }

  leave(id) {
    if (this.exchanges.delete(id)) this.tell("left", id);
  }

  // tick resolves when a token that is due has been refreshed.
  tick() {
    const id = ++this.last;
    return new Promise((resolve) => {
      this.ticks.set(id, resolve);
      this.tell("tick", id);
    });
  }

  read(stream) {
    const id = ++this.last;
    this.bodies.set(id, new Reader(stream, (outcome) => this.tell("data", id, outcome)));
    return id;
  }

  // What follows is called by the program. Nothing of it throws: that would end the program.

  // answer begins the answer of a request.
  answer(id, status, headers) {
    const exchange = this.exchanges.get(id);
    if (!exchange) return;
    try {
      const empty = status === 204 || status === 304;
      const body = new ReadableStream({
        start: (controller) => { exchange.controller = controller; },
        pull: () => {
          if (exchange.broken) fail(exchange.controller);
          else if (exchange.waited) this.tell("room", id);
        },
        cancel: () => this.leave(id),
      });
      exchange.resolve(new Response(empty ? null : body, { status, headers: split(headers) }));
    } catch (error) {
      console.log(JSON.stringify({ level: "error", msg: "an answer could not be sent: " + error.message }));
      exchange.resolve(crashed(exchange.path));
      this.leave(id);
    }
  }

  // send sends the first bytes of the buffer, and returns whether the program waits for room: nobody has read the pieces before.
  send(id, size) {
    const exchange = this.exchanges.get(id);
    if (!exchange?.controller) return false;
    try {
      exchange.controller.enqueue(this.buffer.slice(0, size));
      const unread = -exchange.controller.desiredSize;
      exchange.waited = unread >= unreadMost;
      return exchange.waited;
    } catch {
      this.leave(id);
      return false;
    }
  }

  // upgrade makes a WebSocket of a request's connection, and returns by which number its messages are read; 0 for a
  // caller who has gone. It is accepted without hibernation: what the program knows of a connection would not survive that.
  upgrade(id) {
    const exchange = this.exchanges.get(id);
    if (!exchange) return 0;
    const { 0: theirs, 1: ours } = new WebSocketPair();
    const body = ++this.last;
    exchange.socket = new Socket(ours, (outcome) => this.tell("data", body, outcome), () => this.leave(id));
    this.bodies.set(body, exchange.socket);
    exchange.resolve(new Response(null, { status: 101, webSocket: theirs }));
    return body;
  }

  // say sends what put has filled as a text, and returns whether there is a connection.
  say(id) {
    const text = decoder.decode(this.sent.bytes);
    this.sent = null;
    return this.exchanges.get(id)?.socket?.send(text) ?? false;
  }

  // part says goodbye on a WebSocket.
  part(id, status, reason) { this.exchanges.get(id)?.socket?.close(status, reason); }

  // end ends an answer. A broken one breaks when its reader has what was sent: an error throws away what is queued.
  end(id, broken) {
    const exchange = this.exchanges.get(id);
    this.exchanges.delete(id);
    if (!exchange) return;
    if (exchange.socket) exchange.socket.close(1011, "the Worker could not go on");
    else if (!exchange.controller) exchange.resolve(crashed(exchange.path));
    else if (!broken) close(exchange.controller);
    else if (exchange.controller.desiredSize > 0) fail(exchange.controller);
    else exchange.broken = true;
  }

  // body makes room for what call or say sends, and put fills it.
  body(id, size) { this.sent = { id, bytes: new Uint8Array(size), at: 0 }; }
  put(size) {
    this.sent.bytes.set(this.buffer.subarray(0, size), this.sent.at);
    this.sent.at += size;
  }

  // call sends a request upstream. Redirects are not followed, since a sign-in goes with each.
  call(id, method, url, headers) {
    const abort = new AbortController();
    const body = this.sent?.id === id ? this.sent.bytes : undefined;
    this.sent = null;
    this.calls.set(id, abort);
    (async () => {
      try {
        const answer = await fetch(url, { method, headers: split(headers), body, redirect: "manual", signal: abort.signal });
        this.tell("answered", id, answer.status, join(answer.headers), answer.body ? this.read(answer.body) : 0);
      } catch (error) {
        this.calls.delete(id);
        this.tell("failed", id, String(error.message));
      }
    })();
  }

  hangUp(id) {
    this.calls.get(id)?.abort();
    this.calls.delete(id);
  }

  // pull has the next piece of a body come: the program hears of data. take moves it into the buffer.
  pull(id) { this.bodies.get(id)?.pull(); }
  take(id, most) { return this.bodies.get(id)?.take(this.buffer, most) ?? 0; }
  drop(id) {
    this.bodies.get(id)?.cancel();
    this.bodies.delete(id);
  }

  ticked(id) {
    this.ticks.get(id)?.();
    this.ticks.delete(id);
  }

  // alarm wakes the object in so many milliseconds; below zero for never.
  async alarm(milliseconds) {
    try {
      if (milliseconds < 0) await this.storage.deleteAlarm();
      else await this.storage.setAlarm(Date.now() + milliseconds);
    } catch (error) {
      console.log(JSON.stringify({ level: "warning", msg: "the next refresh waits for a request: " + error.message }));
    }
  }

  // The object's storage is consistent, so it wins; KV is where the admin API of older versions wrote, and a copy.
  async load() {
    return (await this.storage.get(stored)) ?? (this.env.GEMINI_CLI_KV ? await soon(this.env.GEMINI_CLI_KV.get(stored)) : null);
  }

  // replace writes over what is stored, where it is. The object's storage is last, since what it holds says that it was done.
  async replace(text) {
    for (const place of [this.env.GEMINI_CLI_KV, this.storage]) if (place && await soon(place.get(stored))) await soon(place.put(stored, text));
  }

  // Hashes of the refresh tokens that were used up here.
  loadSpent() { return this.storage.get("spent"); }
  saveSpent(hashes) { return this.storage.put("spent", hashes); }

  async save(text) {
    await this.storage.put(stored, text);
    await this.storage.sync();
    if (!this.env.GEMINI_CLI_KV) return;
    try {
      await soon(this.env.GEMINI_CLI_KV.put(stored, text));
    } catch (error) {
      console.log(JSON.stringify({ level: "warning", msg: "the copy in KV is old: " + error.message }));
    }
  }
}

// Pieces holds what is to be taken into the program's buffer.
class Pieces {
  constructor() {
    this.parts = [];
    this.at = 0; // in the first part
  }

  take(buffer, most) {
    let taken = 0;
    most = Math.min(most, buffer.length);
    while (taken < most && this.parts.length > 0) {
      const part = this.parts[0].subarray(this.at, this.at + most - taken);
      buffer.set(part, taken);
      taken += part.length;
      this.at += part.length;
      if (this.at === this.parts[0].length) {
        this.parts.shift();
        this.at = 0;
      }
    }
    return taken;
  }
}

// Reader reads a body for the program. Each crossing costs more than the bytes, so what comes within a millisecond goes
// together.
class Reader extends Pieces {
  constructor(stream, tell) {
    super();
    this.reader = stream.getReader();
    this.tell = tell;
    this.waiting = null; // a read that was begun and not yet taken
  }

  // pull tells how many bytes there are, -1 for the end, -2 for a body that broke.
  async pull() {
    try {
      let result = await (this.waiting ?? this.reader.read());
      this.waiting = null;
      if (result.done) return this.tell(-1);
      this.parts = [result.value];
      this.at = 0;
      let size = result.value.length;
      const enough = new Promise((resolve) => setTimeout(resolve, 1));
      while (size < chunk) {
        this.waiting = this.reader.read();
        this.waiting.catch(() => {}); // told by the next pull
        result = await Promise.race([this.waiting.catch(() => null), enough]);
        if (!result || result.done) break;
        this.waiting = null;
        this.parts.push(result.value);
        size += result.value.length;
      }
      this.tell(size);
    } catch {
      this.tell(-2);
    }
  }

  cancel() { this.reader.cancel().catch(() => {}); }
}

// Socket is a WebSocket that the program reads as it does a body: each message is a piece.
class Socket extends Pieces {
  constructor(end, tell, gone) {
    super();
    this.end = end;
    this.tell = tell;
    this.gone = gone;
    this.messages = []; // that came and were not yet pulled: bytes, or null for one that is not text
    this.size = 0; // of these
    this.pulled = false;
    end.accept();
    end.addEventListener("message", ({ data }) => this.came(typeof data === "string" ? encoder.encode(data) : null));
    end.addEventListener("close", () => { this.close(1000, ""); gone(); });
    end.addEventListener("error", gone);
  }

  came(message) {
    this.size += message?.length ?? 0;
    if (this.size > messagesMost) {
      this.close(1009, "too large for a WebSocket. Send a POST");
      return this.gone(); // the other end may never answer that
    }
    this.messages.push(message);
    this.next();
  }

  // pull tells how many bytes the next message has, -3 for one that is not text.
  pull() {
    this.pulled = true;
    queueMicrotask(() => this.next());
  }

  next() {
    if (!this.pulled || this.messages.length === 0) return;
    this.pulled = false;
    const message = this.messages.shift();
    this.size -= message?.length ?? 0;
    this.parts = message?.length ? [message] : [];
    this.at = 0;
    this.tell(message ? message.length : -3);
  }

  send(text) {
    try {
      this.end.send(text);
      return true;
    } catch {
      return false;
    }
  }

  close(status, reason) {
    try { this.end.close(status, reason); } catch { /* it is closed */ }
  }

  cancel() { this.messages = []; }
}

// soon waits for KV, which may be slow: while a sign-in is loaded or saved, nobody is answered by it.
function soon(promise) {
  let timer;
  const late = new Promise((_, reject) => { timer = setTimeout(reject, kvMost, new Error("KV did not answer in time")); });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

// Headers cross as one string: names and values, a line each.
const join = (headers) => [...headers].flat().join("\n");

function split(text) {
  const headers = new Headers();
  const parts = text.split("\n");
  for (let i = 0; i + 1 < parts.length; i += 2) headers.append(parts[i], parts[i + 1]);
  return headers;
}

const crashed = (path) => refusal(path, 502, "server_error", "worker_restarts", "The Worker had to start anew. Send the request again");

function fail(controller) {
  try { controller.error(new Error("the answer broke off")); } catch { /* it has ended */ }
}

function close(controller) {
  try { controller.close(); } catch { /* it has ended */ }
}
