// What the page knows, in one place, and the hooks by which its parts look at it.

import { useEffect, useState } from 'preact/hooks';
import { act, listen, unreachable } from './api.js';

let snapshot = null;
let connection = 'opening'; // "open", "lost" or "closed"
let leaving = false;
let notice = null; // what to tell the user: { text, bad }
const listeners = new Set();
const requestListeners = new Set();

const changed = () => listeners.forEach((f) => f());

export const reconnect = listen(
  (event, data) => {
    if (event === 'snapshot') {
      if (snapshot && snapshot.bundle !== data.bundle) { // the program was updated
        location.reload();
        return;
      }
      if (data.home && !leaving) { // the program is at its own address again
        leaving = true;
        location.assign(data.home + location.hash);
      }
      snapshot = data;
      changed();
    } else if (event === 'requests') {
      requestListeners.forEach((f) => f(data));
    }
  },
  (next) => {
    if (connection === next) return;
    if (connection === 'lost' && notice?.text === unreachable) tell(null);
    connection = next;
    changed();
  },
);

// useApp looks at everything, and draws again when it changes.
export function useApp() {
  const [, draw] = useState(0);
  useEffect(() => {
    const f = () => draw((n) => n + 1);
    listeners.add(f);
    f(); // something may have come since it was drawn
    return () => listeners.delete(f);
  }, []);
  return { snapshot, connection, notice };
}

// useRequests calls f with the newest ID when requests were answered, with none when the page comes back to the program,
// and with 0 when the history was deleted.
export function useRequests(f) {
  useEffect(() => {
    requestListeners.add(f);
    return () => requestListeners.delete(f);
  });
}

// useMinute draws again each minute, for words such as "3 min ago".
export function useMinute() {
  const [, draw] = useState(0);
  useEffect(() => {
    const timer = setInterval(() => document.hidden || draw((n) => n + 1), 60_000);
    return () => clearInterval(timer);
  }, []);
}

export const can = (action) => action === 'delete-history' || action === 'forget-browsers' || (snapshot?.can ?? []).includes(action);

let fade;
export function tell(text, bad = false) {
  clearTimeout(fade);
  notice = text ? { text, bad } : null;
  if (text && !bad) fade = setTimeout(() => tell(null), 6000);
  changed();
}

// run carries an action out and tells how it went. It returns the result, or null after an error.
export async function run(action, args) {
  try {
    const result = await act(action, args);
    if (result.open) location.assign(result.open);
    tell(result.message);
    return result;
  } catch (e) {
    tell(e.message, true);
    return null;
  }
}

export async function copy(text, what) {
  try {
    await navigator.clipboard.writeText(text);
    tell(`${what} is copied.`);
  } catch {
    tell('The browser does not let the page copy. Select the text instead.', true);
  }
}
