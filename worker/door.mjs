// What is asked of a request before its body is read and before the object is woken: who has no key costs nothing more.
// The program asks again, and knows more.
import version from "./build/version.mjs";

export const bodyMost = 20 * 1024 * 1024; // bytes; BodyMost of main.go

// door returns the answer to a request that may not pass, or that needs nothing but this, and null for others.
export async function door(request, env) {
  const url = new URL(request.url);
  let path;
  try {
    path = normalise(decodeURIComponent(url.pathname));
  } catch {
    return refusal("/", 400, "invalid_request_error", "invalid_url", "The address has a % that encodes nothing. Write it as %25");
  }
  const no = (...why) => refusal(path, ...why, request.headers.get("origin"));
  if (request.method === "OPTIONS") return preflight(request);
  const admin = path === "/admin" || path.startsWith("/admin/");
  const keys = list(admin ? env.ADMIN_API_KEY : env.PROXY_API_KEY, admin);
  const known = await anyKnown(presentedKeys(request.headers, url), keys);
  if (path === "/health" && !known) return Response.json({ status: keys.length ? "ok" : "unavailable", version }, { status: keys.length ? 200 : 503, headers: { "cache-control": "no-store" } });
  if (!keys.length && admin) return no(503, "server_error", "admin_key_missing", "The admin API has no key yet. Set one: wrangler secret put ADMIN_API_KEY");
  if (!keys.length) return no(503, "server_error", "api_key_missing", "This Worker has no API key yet, so it answers nobody. Set one: wrangler secret put PROXY_API_KEY");
  if (!known && admin) return no(401, "authentication_error", "invalid_admin_key", "The admin API wants its key: Authorization: Bearer KEY, or X-API-Key: KEY");
  if (!known) return no(401, "authentication_error", "invalid_api_key", "This proxy wants its own API key. Set it as the API key in your tool: one of the Worker's PROXY_API_KEY, not OpenAI's");
  if (Number(request.headers.get("content-length") ?? 0) > bodyMost) return no(413, "invalid_request_error", "request_too_large", `The request is larger than ${bodyMost >> 20} MB. Send fewer or smaller images`);
  return null;
}

// refusal is an error in the dialect of the address.
export function refusal(path, status, type, code, message, origin) {
  path = normalise(path);
  let body = { error: { message, type, param: null, code } };
  if (path === "/messages" || path.startsWith("/messages/")) body = { type: "error", error: { type, message } };
  else if (path.startsWith("/api/") && !path.startsWith("/api/codex/")) body = { error: message };
  const headers = { "cache-control": "no-store" };
  if (origin) Object.assign(headers, { "access-control-allow-origin": origin, vary: "Origin" }); // so that a page can show why
  return Response.json(body, { status, headers });
}

// preflight lets a page send its request, which the program judges by its origin.
function preflight(request) {
  const methods = "GET, HEAD, POST, DELETE, OPTIONS";
  const headers = new Headers({ allow: methods });
  const origin = request.headers.get("origin");
  if (origin && request.headers.has("access-control-request-method")) {
    headers.set("access-control-allow-origin", origin);
    headers.set("access-control-allow-methods", methods);
    headers.set("access-control-allow-headers", request.headers.get("access-control-request-headers") ?? "");
    headers.set("access-control-max-age", "600");
    headers.set("vary", "Origin, Access-Control-Request-Headers");
  }
  return new Response(null, { status: 204, headers });
}

// normalise is routes.go's: /v1 any number of times or never, doubled slashes and one at the end don't matter.
function normalise(path) {
  path = path.replace(/\/+/g, "/").replace(/\/$/, "");
  while (/^\/v1(\/|$)/.test(path)) path = path.slice(3);
  return path || "/";
}

// presentedKeys are those of guard.go, and where Google's clients put theirs.
function presentedKeys(headers, url) {
  const [, bearer] = /^bearer +(.*)$/i.exec(headers.get("authorization") ?? "") ?? [];
  return [bearer?.trim(), headers.get("x-api-key"), headers.get("api-key"), headers.get("x-goog-api-key"), url.searchParams.get("key")].filter(Boolean);
}

// list is what a variable says; in wrangler.toml it may stand without quotes.
const list = (value, whole) => (whole ? [String(value ?? "")] : String(value ?? "").split(",")).map((key) => key.trim()).filter(Boolean);

// anyKnown takes as long for a key that is nearly right as for any other.
async function anyKnown(presented, keys) {
  const hash = (text) => crypto.subtle.digest("SHA-256", new TextEncoder().encode(text));
  let found = false;
  for (const key of keys) {
    for (const one of presented) found = crypto.subtle.timingSafeEqual(await hash(one), await hash(key)) || found;
  }
  return found;
}
