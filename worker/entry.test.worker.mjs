// The Worker with a window for the tests: the memory of the program, its timers, an end that it did not choose, a
// storage that takes nothing, and a KV that does not answer.
import worker, { Proxy as Plain } from "./worker.mjs";

export default worker;

export class Proxy extends Plain {
  fetch(request) {
    const host = this.host();
    const { storage } = this.ctx;
    switch (request.headers.get("x-test")) {
      case "memory": return Response.json(host.instance.exports.mem.buffer.byteLength);
      case "timers": return Response.json(host.go._scheduledTimeouts.size);
      case "full":
        host.storage = { get: (name) => storage.get(name), put: async () => { throw new Error("it is full"); }, setAlarm: (at) => storage.setAlarm(at), deleteAlarm: () => storage.deleteAlarm() };
        return Response.json(null);
      case "silent KV":
        host.env = { ...this.env, GEMINI_CLI_KV: { get: () => new Promise(() => {}), put: () => new Promise(() => {}) } };
        return Response.json(null);
      case "end": host.die(new Error("a test")); return Response.json(null);
    }
    return super.fetch(request);
  }
}
