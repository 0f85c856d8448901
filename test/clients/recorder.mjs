// Stands between a client and the proxy and keeps what the client sends, to tell whose fault it is when the prompts of
// a conversation do not begin alike.
import { createServer, request } from "node:http";
import { connect } from "node:net";

// record returns the address to give to clients, what tells whether a client's own prompts of a conversation each begin
// with the whole of the one before, and a function that ends it.
export async function record(root) {
  const to = new URL(root);
  const bodies = [];
  const server = createServer((incoming, answer) => {
    const chunks = [];
    const outgoing = request({ host: "127.0.0.1", port: to.port, path: incoming.url, method: incoming.method, headers: incoming.headers }, (got) => {
      answer.writeHead(got.statusCode, got.headers);
      got.pipe(answer);
    });
    outgoing.on("error", () => answer.destroy());
    answer.on("close", () => outgoing.destroy());
    incoming.on("data", (chunk) => chunks.push(chunk));
    incoming.on("end", () => bodies.push(Buffer.concat(chunks).toString()));
    incoming.pipe(outgoing);
  });
  server.on("upgrade", (incoming, socket, head) => {
    const through = connect(Number(to.port), "127.0.0.1", () => {
      through.write(`GET ${incoming.url} HTTP/1.1\r\n${incoming.rawHeaders.reduce((lines, part, i) => lines + part + (i % 2 ? "\r\n" : ": "), "")}\r\n`);
      through.write(head);
      socket.pipe(through).pipe(socket);
    });
    for (const end of [socket, through]) end.on("error", () => { socket.destroy(); through.destroy(); });
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    root: `http://localhost:${server.address().port}`,
    faithful: (mark) => faithful(bodies.filter((body) => body.includes(mark)).map(parsed).filter((body) => body?.tools?.length)),
    stop: () => { server.closeAllConnections(); server.close(); },
  };
}

function parsed(body) {
  try {
    return JSON.parse(body, (key, value) => (key === "cache_control" ? undefined : value)); // it moves on, and says nothing to the model
  } catch {
    return undefined;
  }
}

// faithful reports whether the parts of each request begin with those of the one before.
function faithful(requests) {
  const parts = requests.map((body) => [body.tools, body.system, body.instructions, ...(body.messages ?? body.input ?? [])].map((part) => JSON.stringify(part)));
  return parts.every((now, i) => i === 0 || parts[i - 1].every((part, j) => part === now[j]));
}
