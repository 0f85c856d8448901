import { useEffect, useLayoutEffect, useRef, useState } from 'preact/hooks';
import { download, get } from '../api.js';
import { clockWithSeconds, count, day, given, isToday, model, percent, plural, seconds, speed } from '../format.js';
import { tell, useRequests } from '../state.js';
import { Dialog, Empty, Export, Facts, Icon, Page, Select } from '../ui.jsx';
import { useLive } from './overview.jsx';

const rowHeight = 37; // pixels, as in the style
const margin = 12; // rows drawn beyond what is seen
const pageSize = 500;

const nothing = { text: '', client: '', model: '', failed: '', since: '' };

export function Activity({ snapshot: s }) {
  const [filter, setFilter] = useState(nothing);
  const names = useLive(() => get('names'), []);
  const [opened, setOpened] = useState(null);
  const { rows, more, load, error } = useRows(filter);
  const set = (name) => (value) => setFilter((f) => ({ ...f, [name]: value }));
  const filtered = Object.values(filter).some(Boolean);
  const save = (format) => download({ ...filter, format }, `codex-proxy-requests.${format}`).catch((e) => tell(e.message, true));
  const active = filtered ? [] : (s.active ?? []);
  return (
    <div class="fill">
      <Page title="Activity" lead="Every request, without its words." />
      <div class="filters" role="search" aria-label="Filter the requests">
        <input type="search" placeholder="Filter" aria-label="Text in the tool, model or error" value={filter.text} onInput={(e) => set('text')(e.currentTarget.value)} />
        <Select label="Tool" value={filter.client} onChange={set('client')} choices={[['', 'All tools'], ...(names?.clients ?? []).map((n) => [n, n])]} />
        <Select label="Model" value={filter.model} onChange={set('model')} choices={[['', 'All models'], ...(names?.models ?? []).map((n) => [n, n])]} />
        <Select label="Result" value={filter.failed} onChange={set('failed')} choices={[['', 'All results'], ['false', 'Answered'], ['true', 'Failed']]} />
        <Select label="Time" value={filter.since} onChange={set('since')} choices={[['', 'Any time'], ['1h', 'Last hour'], ['24h', 'Last 24 hours'], ['7d', 'Last 7 days']]} />
        <Export save={save} />
      </div>
      {error ? <Empty>{error}</Empty>
        : rows && rows.length + active.length === 0 ? <Empty>{filtered ? 'No request is like that.' : 'No requests yet. Connect a tool, and they show up here.'}</Empty>
        : <Rows rows={rows ?? []} active={active} more={more} load={load} open={setOpened} />}
      {opened && <Details request={opened} onClose={() => setOpened(null)} />}
    </div>
  );
}

// useRows holds what was loaded of the history, the newest first, and puts in front what comes.
function useRows(filter) {
  const [state, setState] = useState({ rows: null, more: false, error: '' });
  const latest = useRef(state);
  const fresh = useRef(0);
  const loading = useRef(false);
  const set = (next) => {
    latest.current = next;
    setState(next);
  };
  const restart = () => {
    const mine = ++fresh.current;
    loading.current = false;
    get('requests', { ...filter, most: pageSize }).then(
      (r) => mine === fresh.current && set({ rows: r.requests, more: r.more, error: '' }),
      (e) => mine === fresh.current && set({ rows: null, more: false, error: e.message }),
    );
  };
  useEffect(() => {
    const timer = setTimeout(restart, latest.current.rows ? 150 : 0); // while somebody types
    return () => clearTimeout(timer);
  }, [filter]);

  const load = () => {
    const { rows, more } = latest.current;
    if (!more || loading.current) return;
    loading.current = true;
    const mine = fresh.current;
    get('requests', { ...filter, before: rows.at(-1).id, most: pageSize }).then(
      (r) => mine === fresh.current && set({ ...latest.current, rows: latest.current.rows.concat(r.requests), more: r.more }),
      () => {},
    ).finally(() => {
      loading.current = false;
    });
  };

  const newer = useRef(null); // one question at a time
  useRequests((newest) => {
    if (newest === 0 || !latest.current.rows?.length) {
      restart();
      return;
    }
    const ask = async () => {
      const mine = fresh.current;
      const r = await get('requests', { ...filter, after: latest.current.rows[0]?.id, most: 1000 });
      if (mine !== fresh.current) return;
      if (r.more) restart(); // there are others between these and those that are here
      else if (r.requests.length > 0) set({ ...latest.current, rows: r.requests.concat(latest.current.rows) });
    };
    newer.current = (newer.current ?? Promise.resolve()).then(ask, ask).catch(() => {});
  });
  return { ...state, load };
}

// Rows draws only what is seen: the rest is the height of two empty rows.
function Rows({ rows, active, more, load, open }) {
  const box = useRef();
  const [top, setTop] = useState(0);
  const [height, setHeight] = useState(800);
  const before = useRef(rows.length && rows[0].id);
  useEffect(() => {
    const element = box.current;
    const size = new ResizeObserver(() => setHeight(element.clientHeight));
    size.observe(element);
    return () => size.disconnect();
  }, []);
  // Who has scrolled down keeps what is seen in its place when rows come in above.
  useLayoutEffect(() => {
    const added = rows.findIndex((r) => r.id === before.current);
    if (added > 0 && box.current.scrollTop > rowHeight) box.current.scrollTop += added * rowHeight;
    before.current = rows[0]?.id;
  }, [rows[0]?.id]);

  const all = active.length + rows.length;
  const first = Math.max(0, Math.floor(top / rowHeight) - margin);
  const last = Math.min(all, Math.ceil((top + height) / rowHeight) + margin);
  useEffect(() => {
    if (more && last > all - 100) load();
  }, [more, last, all]);

  const move = (e) => {
    const step = { ArrowDown: 1, ArrowUp: -1 }[e.key];
    const row = e.target.closest('tr');
    if (!step || !row) return;
    e.preventDefault();
    const next = step > 0 ? row.nextElementSibling : row.previousElementSibling;
    next?.querySelector('button')?.focus();
  };
  const drawn = [];
  for (let i = first; i < last; i++) {
    const r = i < active.length ? active[i] : rows[i - active.length];
    drawn.push(i < active.length ? <Answering key={`a${r.id}`} r={r} i={i} /> : <Row key={r.id} r={r} i={i} open={open} />);
  }
  return (
    <div class="card table" ref={box} tabIndex={0} role="region" aria-label="Requests" onScroll={(e) => setTop(e.currentTarget.scrollTop)} onKeyDown={move}>
      <table class="requests" aria-rowcount={more ? -1 : all + 1}>
        <thead>
          <tr>
            <th scope="col" class="time">Time</th><th scope="col" class="tool">Tool</th><th scope="col" class="route">Route</th><th scope="col" class="model wide">Model</th><th scope="col" class="result">Result</th>
            <th scope="col" class="n wide first">First word</th><th scope="col" class="n wider">Tokens/s</th><th scope="col" class="n">In</th><th scope="col" class="n wide">Cached</th><th scope="col" class="n wide">Out</th>
          </tr>
        </thead>
        <tbody>
          {first > 0 && <tr aria-hidden="true" class="space"><td colSpan={4} style={{ height: `${first * rowHeight}px` }} /></tr>}
          {drawn}
          {last < all && <tr aria-hidden="true" class="space"><td colSpan={4} style={{ height: `${(all - last) * rowHeight}px` }} /></tr>}
        </tbody>
      </table>
    </div>
  );
}

// time has no day of the week, for which there is no room.
const time = (t) => (isToday(t) ? clockWithSeconds(t) : `${day(t).slice(4)} ${clockWithSeconds(t).slice(0, 5)}`);

const Answering = ({ r, i }) => (
  <tr aria-rowindex={i + 2}>
    <td class="time">{time(r.since)}</td><td>{r.client}</td><td class="route">{r.route}</td><td class="wide">{r.model}</td><td class="live">answering</td>
    <td class="n wide" /><td class="n wider" /><td class="n" /><td class="n wide" /><td class="n wide" />
  </tr>
);

const failed = (r) => r.status >= 400 || r.error_code;

// said is what a row tells besides the status: why it failed, or what else is worth knowing.
function said(r) {
  if (failed(r)) return r.error || r.error_code?.replaceAll('_', ' ') || '';
  return [given(r), r.turns > 1 && `${r.turns} turns`, r.dropped?.length > 0 && `left out ${r.dropped.join(', ')}`].filter(Boolean).join(', ');
}

const Row = ({ r, i, open }) => (
  <tr aria-rowindex={i + 2} class="row" onClick={() => open(r)}>
    <td class="time"><button type="button" class="plain" aria-haspopup="dialog">{time(r.time)}</button></td>
    <td>{r.client || 'unknown'}</td>
    <td class="route">{r.route}</td>
    <td class="wide">{model(r)}</td>
    <td class={failed(r) ? 'bad' : ''} title={said(r)}>{failed(r) && <><Icon name="bad" /><span class="hidden">failed </span></>}{r.status || '–'} <span class={failed(r) ? 'more' : 'more dim'}>{said(r)}</span></td>
    <td class="n wide">{seconds(r.first_token_ms)}</td>
    <td class="n wider">{speed(r)}</td>
    <td class="n">{count(r.input_tokens)}</td>
    <td class="n wide">{percent(r.cached_tokens, r.input_tokens)}</td>
    <td class="n wide">{count(r.output_tokens)}</td>
  </tr>
);

const Details = ({ request: r, onClose }) => (
  <Dialog title={r.client || 'Request'} side onClose={onClose}>
    {failed(r) && <p class="bad sentence">{r.error || r.error_code}</p>}
    <Facts list={[
      ['Time', `${day(r.time)}, ${clockWithSeconds(r.time)}`],
      ['Tool', r.client || 'unknown'],
      ['Route', <code>{r.route}</code>],
      ['Speaks', r.dialect],
      ['Over', r.transport && (r.transport === 'WebSocket' ? `WebSocket, ${plural(r.turns || 1, 'turn')}` : 'HTTP')],
      ['Model', r.model],
      ['Effort', r.effort],
      ['Status', [r.status, given(r)].filter(Boolean).join(', ')],
      ['Error', r.error_code && <code>{r.error_code}</code>],
    ]} />
    <h3>Time</h3>
    <Facts list={[['First word', seconds(r.first_token_ms)], ['Whole answer', seconds(r.duration_ms)], ['Tokens a second', speed(r)]]} />
    <h3>Tokens</h3>
    <Facts list={[
      ['In', count(r.input_tokens)],
      ['of them cached', r.cached_tokens > 0 ? `${count(r.cached_tokens)} (${percent(r.cached_tokens, r.input_tokens)})` : '0'],
      ['Out', count(r.output_tokens)],
      ['of them reasoning', count(r.reasoning_tokens)],
    ]} />
    {r.dropped?.length > 0 && (
      <>
        <h3>Left out of the request</h3>
        <p><code>{r.dropped.join(', ')}</code></p>
        <p class="dim">The backend does not take these fields; the rest was answered.</p>
      </>
    )}
    <p class="dim foot"><Icon name="doctor" /> Prompts, answers and keys are never kept.</p>
  </Dialog>
);
