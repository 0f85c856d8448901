import { useState } from 'preact/hooks';
import { download, get } from '../api.js';
import { brief, capital, count, percent, plural, seconds } from '../format.js';
import { colors, drawn, nearest, Plot, steps } from '../plot.jsx';
import { tell } from '../state.js';
import { Card, Choose, Do, Empty, Export, Page } from '../ui.jsx';
import { useLive } from './overview.jsx';

const spans = {
  hour: { since: '48h', step: 3_600_000, ms: 48 * 3_600_000, text: 'the last 48 hours' },
  day: { since: '30d', step: 86_400_000, ms: 30 * 86_400_000, text: 'the last 30 days' },
  week: { since: '26w', step: 604_800_000, ms: 182 * 86_400_000, text: 'the last 26 weeks' },
};

export function Usage({ snapshot: s }) {
  const [by, setBy] = useState('hour');
  const [split, setSplit] = useState('client');
  const span = spans[by];
  const data = useLive(async () => {
    const [parts, whole, windows] = await Promise.all([
      get('usage', { by, split, since: span.since }),
      get('usage', { by, since: span.since }),
      get('windows', { since: span.since }),
    ]);
    return { by, split, parts, whole, windows };
  }, [by, split]);
  const save = (format) => download({ what: 'usage', by, since: span.since, format }, `codex-proxy-usage.${format}`).catch((e) => tell(e.message, true));
  return (
    <Page
      title="Usage"
      lead={`What your tools used in ${span.text}.`}
      actions={
        <>
          <Choose label="Step" value={by} onChange={setBy} choices={[['hour', 'Hours'], ['day', 'Days'], ['week', 'Weeks']]} />
          <Choose label="Told by" value={split} onChange={setSplit} choices={[['client', 'By tool'], ['model', 'By model']]} />
          <Export save={save} />
        </>
      }
    >
      {!data ? <Card class="placeholder" /> : data.whole.total.requests === 0 ? <Empty>Nothing was used in {span.text}.</Empty> : <Plots data={data} windows={s.windows ?? []} />}
      <p class="delete">
        <Do action="delete-history" danger confirm={{ title: 'Delete the history?', text: 'All requests and sums are deleted for good. Your sign-in, settings and tools stay as they are.', label: 'Delete' }}>Delete the history…</Do>
      </p>
    </Page>
  );
}

// parts are the names that are told apart, the largest first; what is beyond them is one.
function names(list) {
  const top = list.slice(0, list.length > colors ? colors - 1 : colors).map((n) => n.name ?? '');
  return list.length > top.length ? [...top, null] : top;
}

const called = (name) => (name === null ? 'others' : name || 'unknown');

function Plots({ data: { by, split, parts, whole, windows: samples }, windows }) {
  const { step, text } = spans[by];
  // A young history doesn't need the whole span; a few steps are drawn all the same.
  const first = new Date(whole.rows[0].time).getTime();
  const from = Math.max(Date.now() - spans[by].ms, Math.min(first, Date.now() - 8 * step));
  const times = steps(by, from);
  const top = names(parts.names);
  const stack = (f) => top.map((name) => {
    const values = new Array(times.length).fill(0);
    for (const r of drawn(parts.rows, times, step)) {
      if (name === null ? !top.includes(r.name ?? '') : (r.name ?? '') === name) values[nearest(times, r.time)] += f(r);
    }
    return { name: called(name), values };
  });
  const line = (name, f) => {
    const values = new Array(times.length).fill(null);
    for (const r of drawn(whole.rows, times, step)) values[nearest(times, r.time)] = f(r);
    return { name, values };
  };
  const tokens = (r) => r.input_tokens + r.output_tokens;
  const kind = split === 'client' ? 'Tool' : 'Model';
  const table = (title, heads, cells) => (
    <Table
      title={title}
      heads={[kind, ...heads]}
      rows={parts.names.map((r) => [r.name || 'unknown', ...cells(r)])}
      total={['All', ...cells(whole.total)]}
    />
  );
  const all = whole.total;
  return (
    <>
      <Part title="Tokens" table={table('Tokens', ['In', 'Cached', 'Out'], (r) => [brief(r.input_tokens), percent(r.cached_tokens, r.input_tokens), brief(r.output_tokens)])}>
        <Plot bars times={times} step={step} value={brief} series={stack(tokens)} text={`Tokens by ${by} over ${text}: ${brief(all.input_tokens)} in, ${brief(all.output_tokens)} out. The table has the sums.`} />
      </Part>
      <Part title="Requests" table={table('Requests', ['Requests', 'Errors'], (r) => [count(r.requests), count(r.errors)])}>
        <Plot bars times={times} step={step} value={count} series={stack((r) => r.requests)} text={`Requests by ${by} over ${text}: ${plural(all.requests, 'request')}, ${plural(all.errors, 'error')}. The table has the sums.`} />
      </Part>
      <Part title="Cached share" table={table('Cached share', ['In', 'Cached'], (r) => [brief(r.input_tokens), percent(r.cached_tokens, r.input_tokens)])}>
        <Plot times={times} step={step} most={100} value={(v) => `${Math.round(v)}%`} series={[line('of the tokens in', (r) => (r.input_tokens > 0 ? (100 * r.cached_tokens) / r.input_tokens : null))]} text={`Share of the tokens in that came from the cache, by ${by}: ${percent(all.cached_tokens, all.input_tokens)} in all.`} />
      </Part>
      <Part title="Time to the first word" table={table('Time to the first word', ['Median', '95%'], (r) => [seconds(r.first_token_median_ms), seconds(r.first_token_p95_ms)])}>
        <Plot
          times={times}
          step={step}
          value={(v) => `${v.toFixed(1)} s`}
          series={[line('median', (r) => r.first_token_median_ms / 1000 || null), line('95% are faster than', (r) => r.first_token_p95_ms / 1000 || null)]}
          text={`Time to the first token by ${by}: median ${seconds(all.first_token_median_ms)}, 95th percentile ${seconds(all.first_token_p95_ms)}.`}
        />
      </Part>
      {samples.length > 0 && <Plan samples={samples} windows={windows} step={step} from={from} text={text} />}
    </>
  );
}

// Plan draws how full the plan's windows were: the fullest in each quarter of an hour, or in each few hours or each day
// over longer times.
function Plan({ samples, windows, step, from, text }) {
  const grain = step === 3_600_000 ? 900_000 : step === 86_400_000 ? 3_600_000 * 3 : 86_400_000;
  const kinds = [...new Set([...windows, ...samples].map((w) => w.name))].filter((name) => samples.some((w) => w.name === name));
  const begin = Math.floor(Math.max(from, new Date(samples[0].time).getTime()) / grain) * grain;
  const now = Date.now();
  const times = [];
  for (let t = begin; t < now; t += grain) times.push(t);
  times.push(now); // the newest sample is seen at once
  const series = kinds.map((name) => {
    const own = samples.filter((w) => w.name === name);
    let i = 0;
    let last = null; // the newest sample so far: it holds until its window resets
    const values = times.map((t) => {
      let fullest = last && (last.resets_at && new Date(last.resets_at) <= t - grain ? 0 : last.used);
      for (let began = false; i < own.length && new Date(own[i].time).getTime() <= t; i++) {
        fullest = began ? Math.max(fullest, own[i].used) : own[i].used;
        began = true;
        last = own[i];
      }
      return fullest;
    });
    return { name: `${name} limit`, values };
  });
  return (
    <Part title="Plan" table={
      <Table title="Plan" heads={['Limit', 'Used now']} rows={windows.map((w) => [capital(w.name), `${Math.round(w.used)}%`])} />
    }>
      <Plot times={times} step={grain} dates={step > 3_600_000} most={100} value={(v) => `${Math.round(v)}%`} series={series} text={`How full the plan's limits were over ${text}. Now: ${windows.map((w) => `${w.name} ${Math.round(w.used)}%`).join(', ')}.`} />
    </Part>
  );
}

const Part = ({ title, table, children }) => (
  <Card title={title} class="part">
    <div class="pair"><div>{children}</div>{table}</div>
  </Card>
);

const Table = ({ title, heads, rows, total }) => (
  <div class="sums" tabIndex={0} role="region" aria-label={`${title}: table`}>
    <table>
      <caption class="hidden">{title}</caption>
      <thead><tr>{heads.map((h, i) => <th scope="col" key={h} class={i ? 'n' : ''}>{h}</th>)}</tr></thead>
      <tbody>{rows.map((r) => <tr key={r[0]}>{r.map((c, i) => (i ? <td class="n" key={i}>{c}</td> : <th scope="row" key={i} title={c}>{c}</th>))}</tr>)}</tbody>
      {total && <tfoot><tr>{total.map((c, i) => (i ? <td class="n" key={i}>{c}</td> : <th scope="row" key={i}>{c}</th>))}</tr></tfoot>}
    </table>
  </div>
);
