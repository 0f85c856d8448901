// Numbers and times as people read them. The page speaks English, with the clock as the menu has it.

const integer = new Intl.NumberFormat('en');

export const count = (n) => integer.format(n ?? 0);

// brief writes 3_120_000 as "3.1 M".
export function brief(n) {
  if (n >= 999_500_000) return `${(n / 1e9).toFixed(1)} G`;
  if (n >= 999_500) return `${(n / 1e6).toFixed(n < 9_950_000 ? 1 : 0)} M`;
  if (n >= 1000) return `${(n / 1e3).toFixed(n < 9950 ? 1 : 0)} k`;
  return String(Math.round(n ?? 0));
}

export const percent = (part, whole) => (whole > 0 ? `${Math.round((100 * part) / whole)}%` : '–');

export const seconds = (ms) => (ms > 0 ? `${(ms / 1000).toFixed(ms < 9950 ? 1 : 0)} s` : '–');

// speed is how many tokens came in a second, after the first.
export function speed(r) {
  const ms = r.duration_ms - (r.first_token_ms ?? 0);
  return r.output_tokens > 1 && r.first_token_ms > 0 && ms > 0 ? String(Math.round((1000 * r.output_tokens) / ms)) : '–';
}

const clockFormat = new Intl.DateTimeFormat('en-GB', { hour: '2-digit', minute: '2-digit' });
const fullFormat = new Intl.DateTimeFormat('en-GB', { hour: '2-digit', minute: '2-digit', second: '2-digit' });
const dayFormat = new Intl.DateTimeFormat('en-GB', { weekday: 'short', day: 'numeric', month: 'short' });

export const clock = (t) => clockFormat.format(new Date(t));
export const clockWithSeconds = (t) => fullFormat.format(new Date(t));
export const day = (t) => dayFormat.format(new Date(t)).replace(',', '');
export const isToday = (t) => new Date(t).toDateString() === new Date().toDateString();

// at is the clock today, and the day before it otherwise.
export const at = (t) => (isToday(t) ? clock(t) : `${day(t)}, ${clock(t)}`);

const known = (t) => t && !t.startsWith('0001-');

// ago is how long a time has passed, or is still to come.
export function ago(t) {
  if (!known(t)) return 'never';
  const minutes = Math.round((Date.now() - new Date(t)) / 60_000);
  if (Math.abs(minutes) < 1) return new Date(t) > Date.now() ? 'in a moment' : 'just now';
  const words = span(Math.abs(minutes) * 60_000);
  return minutes > 0 ? `${words} ago` : `in ${words}`;
}

export function span(ms) {
  const minutes = Math.round(ms / 60_000);
  const unit = (n, name) => `${n} ${name}${n === 1 ? '' : 's'}`;
  if (minutes >= 48 * 60) return unit(Math.round(minutes / 1440), 'day');
  if (minutes >= 120) return unit(Math.round(minutes / 60), 'hour');
  return `${Math.max(1, minutes)} min`;
}

export const plural = (n, word) => `${count(n)} ${word}${n === 1 ? '' : 's'}`;
export const capital = (s) => s.charAt(0).toUpperCase() + s.slice(1);

// given is how a tool gave its request up, if it did.
export const given = (r) => (!r.status ? 'left before it was answered' : r.gone && 'cancelled by the tool');

export const model = (r) => [r.model, r.effort].filter(Boolean).join(' ') || '–';
