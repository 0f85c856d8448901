// The Worker: a request that passes the door goes to one Durable Object, which holds the one account and one instance of
// the Go program (main.go) for as long as it lives.
import { DurableObject } from "cloudflare:workers";
import { door, refusal } from "./door.mjs";
import { Host } from "./host.mjs";

export class Proxy extends DurableObject {
  // host is the program, started anew after it has ended.
  host() {
    if (!this.running || this.running.dead) this.running = new Host(this.env, this.ctx.storage);
    return this.running;
  }

  fetch(request) { return this.host().handle(request); }

  // alarm comes when a token is due: the program has said when.
  alarm() { return this.host().tick(); }
}

export default {
  async fetch(request, env) {
    const answer = await door(request, env);
    if (answer) return answer;
    try {
      return await env.PROXY.get(env.PROXY.idFromName("the one account")).fetch(request);
    } catch (error) {
      console.log(JSON.stringify({ level: "error", msg: "the object did not answer: " + error.message }));
      return refusal(new URL(request.url).pathname, 502, "server_error", "worker_restarts", "The Worker had to start anew. Send the request again");
    }
  },
};
