// How the page talks to the program: calls, and the one stream that tells of changes.

const key = 'token';

// The token comes once, with the page that was opened by a code. Only this origin can read it afterwards.
const given = document.querySelector('meta[name="page-token"]');
const came = given?.content;
if (given) {
  stored((s) => s.setItem(key, came));
  given.remove();
  history.replaceState(null, '', location.pathname + location.hash);
}

// stored uses what the browser keeps for the page; one that is told to keep nothing throws.
function stored(use) {
  try {
    return use(localStorage);
  } catch {
    return null;
  }
}

const headers = () => ({ 'X-Page-Token': stored((s) => s.getItem(key)) ?? came ?? '' });

export const unreachable = 'The program does not answer. Is it running?';

// Closed means that this browser has not been let in, or no longer is.
export class Closed extends Error {}

async function answer(response) {
  if (response.ok) return response;
  let sentence = `The program answered with ${response.status}.`;
  try {
    sentence = (await response.json()).error;
  } catch {
    // not one of our answers
  }
  throw response.status === 401 ? new Closed(sentence) : new Error(sentence);
}

async function send(path, options) {
  let response;
  try {
    response = await fetch(path, { ...options, headers: { ...headers(), ...options?.headers } });
  } catch (e) {
    if (e.name === 'AbortError') throw e;
    throw new Error(unreachable);
  }
  return answer(response);
}

const query = (path, parameters) => {
  const set = Object.entries(parameters ?? {}).filter(([, value]) => value !== '' && value != null);
  return `/page/api/${path}?${new URLSearchParams(set)}`;
};

export const get = async (path, parameters, signal) => (await send(query(path, parameters), { signal })).json();

export const act = async (action, args = {}) =>
  (await send(`/page/api/do/${action}`, { method: 'POST', headers: { 'Content-Type': 'application/json' }, body: JSON.stringify(args) })).json();

// download saves what the program exports as a file.
export async function download(parameters, name) {
  const blob = await (await send(query('export', parameters))).blob();
  const link = document.createElement('a');
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}

// listen follows the stream for as long as the page is seen, and comes back when it was cut. hear gets (event, data);
// state gets "open", "lost" or "closed".
export function listen(hear, state) {
  let abort;
  let wait = 0;
  let timer;
  let streams = 0;

  async function follow() {
    let began = false;
    clearTimeout(timer);
    abort = new AbortController();
    const { signal } = abort;
    try {
      const response = await send('/page/api/events', { signal });
      const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
      let rest = '';
      for (;;) {
        const { value, done } = await reader.read();
        if (done) break;
        const events = (rest + value).split('\n\n');
        rest = events.pop();
        for (const text of events) {
          const [, event, data] = /^event: (\S+)\ndata: (.*)$/.exec(text) ?? [];
          if (!event) continue;
          wait = 0;
          state('open');
          hear(event, JSON.parse(data));
          if (!began && streams++ > 0) hear('requests'); // nobody told of those that came meanwhile
          began = true;
        }
      }
    } catch (e) {
      if (signal.aborted) return;
      if (e instanceof Closed) {
        state('closed');
        return;
      }
    }
    if (signal.aborted) return;
    // One quiet try before anything is said: a listener that starts anew is back at once.
    if (wait > 0) state('lost');
    wait = Math.min(4_000, wait ? wait * 2 : 500); // a program that starts again opens a page when none came for 8 s
    timer = setTimeout(follow, wait);
  }

  const seen = () => {
    abort?.abort();
    clearTimeout(timer);
    if (!document.hidden) follow();
  };
  document.addEventListener('visibilitychange', seen);
  seen();
  return () => {
    wait = 0;
    seen();
  };
}
