// The Worker with a window for the tests: the memory of the program, its timers, and an end that it did not choose.
import worker, { Proxy as Plain } from "./worker.mjs";

export default worker;

export class Proxy extends Plain {
  fetch(request) {
    const host = this.host();
    switch (request.headers.get("x-test")) {
      case "memory": return Response.json(host.instance.exports.mem.buffer.byteLength);
      case "timers": return Response.json(host.go._scheduledTimeouts.size);
      case "end": host.die(new Error("a test")); return Response.json(null);
    }
    return super.fetch(request);
  }
}
