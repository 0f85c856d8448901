import { useEffect, useRef, useState } from 'preact/hooks';
import { get } from '../api.js';
import { ago, at, brief, capital, clock, clockWithSeconds, count, day, given, isToday, model, percent, plural, seconds } from '../format.js';
import { drawn, nearest, Plot, steps } from '../plot.jsx';
import { useMinute, useRequests } from '../state.js';
import { Card, Copy, Do, Empty, Facts, Page } from '../ui.jsx';
import { PendingSignIn } from './sign-in.jsx';

const stopping = {
  title: 'Stop the proxy?',
  text: 'Your tools get no answer until you start it: here, in the menu, or with “codex-proxy start”. Answers under way have a few seconds to end.',
  label: 'Stop',
};

export const headline = (s) => {
  if (s.running) return <>{s.lost ? 'Was running at' : 'Running at'} <span class="address">{s.root}/v1</span></>;
  return s.paused_until ? `Paused until ${clock(s.paused_until)}` : 'Stopped';
};

export const lead = (s) => {
  if (s.lost) return 'What is below is how it was.';
  if (!s.running) return <>Your tools get no answer until you start it: here, in the menu, or with <code>codex-proxy start</code>.</>;
  if (s.sign_in.status === 'signed-out' || (s.problem && !s.problem.mild)) return 'Your tools get an error at the moment.';
  return s.demo ? 'This is the demo: answers come from a built-in stand-in.' : 'Your tools can use your plan.';
};

export const Start = ({ snapshot: s }) => <Do action="start" main>{s.paused_until ? 'Go on now' : 'Start'}</Do>;

export function Overview({ snapshot: s }) {
  useMinute();
  const base = `${s.root}/v1`;
  return (
    <>
      <Problems snapshot={s} />
      <Page
        title={headline(s)}
        lead={lead(s)}
        actions={!s.lost &&
          <>
            {s.running && <Copy text={base} what="The address">Copy address</Copy>}
            {s.running ? <Do action="stop" confirm={stopping}>Stop</Do> : <Start snapshot={s} />}
          </>
        }
      />
      {s.pending && <PendingSignIn pending={s.pending} />}
      <div class="grid">
        {s.windows?.map((w) => <Window key={w.name} window={w} />)}
        <SignedIn signIn={s.sign_in} />
      </div>
      {s.history && <LastDay />}
      {s.history && <Now active={s.active ?? []} />}
    </>
  );
}

// Problems come first: the one to mend, pages that ask, and what is worth knowing.
export function Problems({ snapshot: s }) {
  const asking = (s.origins ?? []).filter((o) => o.state === 'asks');
  return (
    <>
      {s.problem && (
        <div class={`card alert ${s.problem.mild ? 'warn' : 'bad'}`} role="alert">
          <div><b>{s.problem.title}</b><p>{s.problem.detail}</p></div>
          {s.problem.action && <Do action={s.problem.action} args={s.problem.args} main busy={s.busy?.includes(s.problem.action)}>{s.problem.label}</Do>}
        </div>
      )}
      {asking.map(({ origin }) => (
        <div class="card alert ask" key={origin} role="alert">
          <div><b>A page at <span class="wrap">{origin}</span> wants to use your plan</b><p>It gets nothing until you allow it. You can change this later in Settings.</p></div>
          <div class="buttons">
            <Do action="deny-origin" args={{ origin }} aria-label={`Don’t allow ${origin}`}>Don’t allow</Do>
            <Do action="allow-origin" args={{ origin }} main aria-label={`Allow ${origin}`}>Allow</Do>
          </div>
        </div>
      ))}
      {(s.notes ?? []).map((text) => <div class="card alert warn" key={text} role="status"><p>{text}</p></div>)}
    </>
  );
}

function Window({ window: w }) {
  const level = w.used >= 100 ? 'bad' : w.short || w.used >= 80 ? 'warn' : '';
  return (
    <Card title={`${capital(w.name)} limit`}>
      <p class="big">{Math.round(w.used)}<small>%</small></p>
      <div class={`meter ${level}`} role="meter" aria-label={`${capital(w.name)} limit`} aria-valuemin={0} aria-valuemax={100} aria-valuenow={Math.round(w.used)} aria-valuetext={`${Math.round(w.used)}% used`}>
        <i style={{ width: `${Math.min(100, w.used)}%` }} />
      </div>
      <p class="dim">{w.outlook}</p>
    </Card>
  );
}

const renews = (s) => {
  switch (s.status) {
    case 'refreshing': return 'refreshing now';
    case 'starting': return 'looking for it';
    case 'failing': return <span class="warn">failing, next try {ago(s.next_attempt)}</span>;
    case 'sign-in-again': return <span class="bad">ended</span>;
    default: return s.last_refresh ? `by itself, last ${ago(s.last_refresh)}` : 'by itself';
  }
};

function SignedIn({ signIn: s }) {
  if (s.status === 'signed-out') {
    return <Card title="Sign-in"><p>Nobody is signed in.</p><p><a href="#sign-in">Sign in</a></p></Card>;
  }
  return (
    <Card title="Signed in" aside={<a href="#sign-in" class="more">Details</a>}>
      <Facts list={[
        ['Account', <>{s.email || 'no address'}{s.plan && <span class="dim"> ({s.plan})</span>}</>],
        ['By', s.way],
        ['Renews', renews(s)],
        ['Good until', s.expires_at && s.status !== 'sign-in-again' && at(s.expires_at)],
        ['Kept in', s.store],
      ]} />
    </Card>
  );
}

// useLive loads something now and again after requests, at most every few seconds.
export function useLive(load, dependencies) {
  const [value, setValue] = useState(null);
  const timer = useRef();
  const fresh = useRef(0);
  const go = () => {
    const mine = ++fresh.current;
    load().then((v) => mine === fresh.current && setValue(v), () => {});
  };
  useEffect(() => {
    go();
    return () => {
      clearTimeout(timer.current);
      timer.current = null;
      fresh.current++;
    };
  }, dependencies);
  useRequests((newest) => {
    if (newest === 0) go();
    else timer.current ??= setTimeout(() => {
      timer.current = null;
      go();
    }, 2000);
  });
  return value;
}

function LastDay() {
  const usage = useLive(() => get('usage', { by: 'hour', since: '24h' }), []);
  if (!usage) return <Card title="Last 24 hours" class="placeholder" />;
  const times = steps('hour', Date.now() - 24 * 3_600_000);
  const rows = drawn(usage.rows, times, 3_600_000);
  const column = (f) => {
    const values = new Array(times.length).fill(0);
    for (const r of rows) values[nearest(times, r.time)] += f(r);
    return values;
  };
  const all = usage.total;
  const today = usage.rows.filter((r) => isToday(r.time)).reduce((sum, r) => {
    for (const k of ['requests', 'errors', 'input_tokens', 'cached_tokens', 'output_tokens']) sum[k] += r[k];
    return sum;
  }, { requests: 0, errors: 0, input_tokens: 0, cached_tokens: 0, output_tokens: 0 });
  return (
    <Card title="Today" aside={<a href="#usage" class="more">Usage</a>}>
      <ul class="figures">
        <li><b>{count(today.requests)}</b> {today.requests === 1 ? 'request' : 'requests'}</li>
        <li><b>{brief(today.input_tokens)}</b> tokens in</li>
        <li><b>{percent(today.cached_tokens, today.input_tokens)}</b> of them cached</li>
        <li><b>{brief(today.output_tokens)}</b> tokens out</li>
        <li class={today.errors ? 'bad' : ''}><b>{count(today.errors)}</b> {today.errors === 1 ? 'error' : 'errors'}</li>
      </ul>
      {all.requests > 0 && (
        <>
          <h3>Tokens by hour, last 24 hours</h3>
          <Plot
            bars
            times={times}
            step={3_600_000}
            dates={false}
            height={150}
            value={brief}
            series={[
              { name: 'in, cached', values: column((r) => r.cached_tokens) },
              { name: 'in, new', values: column((r) => r.input_tokens - r.cached_tokens) },
              { name: 'out', values: column((r) => r.output_tokens) },
            ]}
            text={`Tokens by hour over the last 24 hours: ${plural(all.requests, 'request')}, ${brief(all.input_tokens)} in, ${percent(all.cached_tokens, all.input_tokens)} cached, ${brief(all.output_tokens)} out.`}
          />
        </>
      )}
    </Card>
  );
}

// when is the time of what is of today, and the day of what is not.
const when = (t) => (isToday(t) ? clockWithSeconds(t) : day(t).slice(4));

function Now({ active }) {
  const last = useLive(() => get('requests', { most: 5 }), []);
  const rows = last?.requests ?? [];
  return (
    <Card title="Now" aside={<a href="#activity" class="more">Activity</a>}>
      {active.length + rows.length === 0 ? (
        <Empty>{last ? 'No requests yet. Connect a tool, and they show up here.' : ' '}</Empty>
      ) : (
        <table class="now">
          <caption class="hidden">The newest requests</caption>
          <colgroup><col class="time" /><col class="tool" /><col class="model wide" /><col /><col class="tokens wide" /></colgroup>
          <thead class="hidden"><tr><th scope="col">Time</th><th scope="col">Tool</th><th scope="col" class="wide">Model</th><th scope="col">Result</th><th scope="col" class="wide">Tokens</th></tr></thead>
          <tbody>
            {active.slice(0, 4).map((r) => (
              <tr key={r.id}>
                <td>{when(r.since)}</td><td>{r.client}</td><td class="wide">{r.model}</td>
                <td class="live">answering</td>
                <td class="wide" />
              </tr>
            ))}
            {rows.map((r) => (
              <tr key={r.id}>
                <td>{when(r.time)}</td><td>{r.client || 'unknown'}</td><td class="wide">{model(r)}</td>
                <td class={r.status >= 400 || r.error_code ? 'bad clip' : 'clip'} title={r.error}>
                  {r.status >= 400 || r.error_code ? r.error || `${r.status} ${r.error_code ?? ''}` : given(r) || `first word ${seconds(r.first_token_ms)}`}
                </td>
                <td class="n wide">{r.input_tokens > 0 && `${brief(r.input_tokens)} in, ${brief(r.output_tokens)} out`}</td>
              </tr>
            ))}
          </tbody>
        </table>
      )}
    </Card>
  );
}
