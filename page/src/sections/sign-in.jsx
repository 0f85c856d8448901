import { useEffect, useState } from 'preact/hooks';
import { act } from '../api.js';
import { ago, at } from '../format.js';
import { can, useMinute } from '../state.js';
import { Card, Copy, Dialog, Do, Facts, Page, Select } from '../ui.jsx';
import { run } from '../state.js';

const words = {
  'signed-out': 'Nobody is signed in',
  starting: 'Looking for a sign-in',
  good: 'Signed in',
  refreshing: 'Signed in, refreshing',
  failing: 'Signed in, but the refresh fails',
  'sign-in-again': 'Sign in again',
};

export function SignIn({ snapshot: s }) {
  useMinute();
  const me = s.sign_in;
  const out = me.status === 'signed-out';
  const level = me.status === 'sign-in-again' ? 'bad' : me.status === 'failing' ? 'warn' : '';
  const busy = (action) => s.busy?.includes(action);
  return (
    <Page title="Sign-in" lead="One account, kept fresh by itself and stored on this machine only.">
      {s.pending && <PendingSignIn pending={s.pending} />}
      {!out && (
        <Card title={words[me.status]} class={level && `edge ${level}`}>
          {(me.status === 'failing' || me.status === 'sign-in-again') && s.problem && <p class={level}>{s.problem.detail}</p>}
          <Facts list={[
            ['Account', me.email || 'no address'],
            ['Plan', me.plan],
            ['By', me.way],
            ['Good until', me.expires_at && at(me.expires_at)],
            ['Last refresh', me.last_refresh && ago(me.last_refresh)],
            ['Next try', me.status === 'failing' && me.next_attempt && ago(me.next_attempt)],
            ['Kept in', me.store],
            ['Shared with', me.shared_with],
            ['Note', me.note],
          ]} />
          <div class="buttons">
            <Do action="refresh" busy={busy('refresh') || me.status === 'refreshing'}>Refresh now</Do>
            <Do action="sign-out" danger confirm={{ title: 'Sign out?', text: 'Tools get no answer until you sign in again. The sign-in is removed from this machine.', label: 'Sign out' }}>Sign out…</Do>
          </div>
        </Card>
      )}
      <Workspaces signIn={me} />
      {!s.pending && can('sign-in') && (
        <Card title={out ? 'Sign in' : 'Sign in anew'}><Ways snapshot={s} /></Card>
      )}
    </Page>
  );
}

function Workspaces({ signIn: me }) {
  const list = me.workspaces ?? [];
  const asks = can('workspaces');
  useEffect(() => {
    if (asks) act('workspaces').catch(() => {}); // then there is nothing to choose from
  }, [asks, me.email]);
  if (list.length < 2 || !can('select-workspace')) return null;
  const selected = list.find((w) => w.selected)?.id ?? '';
  return (
    <Card title="Workspace">
      <div class="setting">
        <div><b>Whose plan is used</b><p class="dim">The sign-in may use each of these.</p></div>
        <Select label="Workspace" value={selected} onChange={(id) => run('select-workspace', { id })} choices={list.map((w) => [w.id, w.plan ? `${w.name} (${w.plan})` : w.name])} />
      </div>
    </Card>
  );
}

// Ways are the ways to sign in, the first of them the one for most people; importing is one too.
export function Ways({ snapshot: s }) {
  const [asking, setAsking] = useState(null);
  const imports = can('import') && s.sign_in.can_import;
  return (
    <>
      <ul class="list">
        {imports && (
          <li>
            <div class="what"><b>Import {s.sign_in.can_import}</b><span class="dim">Uses the sign-in that is there already.</span></div>
            <div class="buttons"><Do action="import" main={s.sign_in.status === 'signed-out'} busy={s.busy?.includes('import')}>Import</Do></div>
          </li>
        )}
        {(s.ways ?? []).map((w, i) => (
          <li key={w.id}>
            <div class="what"><b>{w.name}</b><span class="dim">{w.detail}</span></div>
            <div class="buttons">
              {w.warning
                ? <button type="button" aria-haspopup="dialog" aria-label={`${w.name}: sign in`} onClick={() => setAsking(w)}>Sign in…</button>
                : <Do action="sign-in" args={{ way: w.id }} main={i === 0 && !imports && s.sign_in.status !== 'good'} aria-label={`${w.name}: sign in`}>Sign in…</Do>}
            </div>
          </li>
        ))}
      </ul>
      {asking && (
        <Dialog title={asking.name} onClose={() => setAsking(null)}>
          <p>{asking.warning}</p>
          <div class="buttons">
            <button type="button" onClick={() => setAsking(null)}>Cancel</button>
            <Do action="sign-in" args={{ way: asking.id, confirmed: true }} then={() => setAsking(null)} main>Sign in</Do>
          </div>
        </Dialog>
      )}
    </>
  );
}

// Only an address of the web is a link, whatever the program says.
const safe = (url) => (/^https?:\/\//.test(url ?? '') ? url : null);

export function PendingSignIn({ pending: p }) {
  const url = safe(p.url);
  return (
    <div class={`card pending ${p.failed ? 'edge bad' : ''}`} role="status">
      <h2>{p.failed ? 'The sign-in did not work' : p.code ? 'Type this code' : 'Sign in in your browser'}</h2>
      {p.failed && <p class="bad">{p.failed}</p>}
      {p.code && !p.failed && (
        <>
          <p class="device" aria-label={`Code ${p.code.split('').join(' ')}`}>{p.code}</p>
          <p>at {url ? <a href={url} target="_blank" rel="noreferrer">{url.replace(/^https:\/\//, '')}</a> : p.url}{p.expires_at && <span class="dim">, until {at(p.expires_at)}</span>}</p>
        </>
      )}
      {!p.code && !p.failed && url && <p>A page of OpenAI has been opened. If you don’t see it, <a href={url} target="_blank" rel="noreferrer">open it here</a>.</p>}
      <ol class="progress">{(p.steps ?? []).map((step, i) => <li key={i}>{step}</li>)}</ol>
      <div class="buttons">
        {p.code && !p.failed && <Copy text={p.code} what="The code" class="main">Copy code</Copy>}
        <Do action="cancel-sign-in">{p.failed ? 'Close' : 'Cancel'}</Do>
      </div>
    </div>
  );
}
