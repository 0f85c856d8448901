import { useEffect, useRef, useState } from 'preact/hooks';
import { ago } from '../format.js';
import { can, run } from '../state.js';
import { Card, Copy, Dialog, Do, Empty, Page, Select } from '../ui.jsx';

export function Settings({ snapshot: s }) {
  const groups = new Map();
  for (const setting of s.settings ?? []) groups.set(setting.group, [...(groups.get(setting.group) ?? []), setting]);
  const waiting = (s.settings ?? []).some((x) => x.waiting);
  const origins = (s.origins ?? []).filter((o) => o.state !== 'asks');
  return (
    <Page title="Settings" lead="Changes are kept, and take effect at once unless a restart is asked for.">
      {waiting && (
        <div class="card alert warn" role="status">
          <div><b>A change waits for a restart</b><p>Answers under way are finished first.</p></div>
          <Do action="restart" main>Restart now</Do>
        </div>
      )}
      {[...groups].map(([group, list]) => (
        <Card key={group} title={group}>
          {list.map((x) => <Setting key={x.name} setting={x} />)}
        </Card>
      ))}
      <Keys keys={s.keys ?? []} />
      {origins.length > 0 && (
        <Card title="Web pages that asked">
          <ul class="list">
            {origins.map((o) => (
              <li key={o.origin}>
                <div class="what"><b class="wrap">{o.origin}</b><span class="dim">{o.state}</span></div>
                <div class="buttons">
                  {o.state === 'denied'
                    ? <Do action="allow-origin" args={{ origin: o.origin }} aria-label={`Allow ${o.origin}`}>Allow</Do>
                    : <Do action="deny-origin" args={{ origin: o.origin }} aria-label={`Don’t allow ${o.origin}`}>Don’t allow</Do>}
                  <Do action="forget-origin" args={{ origin: o.origin }} aria-label={`Forget ${o.origin}`}>Forget</Do>
                </div>
              </li>
            ))}
          </ul>
        </Card>
      )}
      <Card title="Browsers" aside={<Do action="forget-browsers">Forget the others</Do>}>
        <p class="dim">A browser in which the program opened this page is let in again, also after a restart, until it was not used for 30 days.</p>
      </Card>
    </Page>
  );
}

function Keys({ keys }) {
  const [name, setName] = useState('');
  const [made, setMade] = useState(null);
  const create = async (e) => {
    e.preventDefault();
    const result = await run('key-create', { name });
    if (result) {
      setMade({ name, key: result.key });
      setName('');
    }
  };
  return (
    <Card title="Keys">
      <p class="dim">A key of its own tells a tool apart in Activity and Usage, and can be taken away. Tools on this machine work without one, unless you ask for keys above.</p>
      {keys.length > 0 ? (
        <ul class="list">
          {keys.map((k) => (
            <li key={k.id}>
              <div class="what"><b>{k.name}</b><span class="dim">{k.last_used ? `last used ${ago(k.last_used)}` : 'not used yet'}{k.routes && `, good for ${k.routes.join(', ')} only`}</span></div>
              <div class="buttons">
                <Do action="key-revoke" args={{ id: k.id }} danger aria-label={`Revoke ${k.name}`} confirm={{ title: `Revoke ${k.name}?`, text: 'Who uses it is refused at once, where keys are asked for.', label: 'Revoke' }}>Revoke</Do>
              </div>
            </li>
          ))}
        </ul>
      ) : <Empty>No keys yet.</Empty>}
      {can('key-create') && (
        <form class="inline" onSubmit={create}>
          <input type="text" required maxLength={60} placeholder="Name of the tool" aria-label="Name of the new key" value={name} onInput={(e) => setName(e.currentTarget.value)} />
          <button type="submit">Create a key</button>
        </form>
      )}
      {made && (
        <Dialog title={`Key for ${made.name}`} onClose={() => setMade(null)}>
          <p>It is shown only now: only its hash is stored.</p>
          <pre class="code" tabIndex={0}>{made.key}</pre>
          <div class="buttons">
            <button type="button" onClick={() => setMade(null)}>Close</button>
            <Copy text={made.key} what="The key" class="main">Copy</Copy>
          </div>
        </Dialog>
      )}
    </Card>
  );
}

const from = (x) => ({ flag: `set by ${x.flag || 'a flag'}`, environment: `set by ${x.env || 'the environment'}`, file: 'changed', default: '' })[x.source] ?? x.source;

// shown is a value as text.
const shown = (x, v) => (Array.isArray(v) ? v.join('\n') : v == null ? '' : String(v));

function Setting({ setting: x }) {
  const fixed = x.source === 'flag' || x.source === 'environment' || !can('set');
  const id = `set-${x.name}`;
  const help = `help-${x.name}`;
  const save = (value) => run('set', { name: x.name, value });
  const source = from(x);
  return (
    <div class={`setting ${x.kind === 'list' ? 'tall' : ''}`}>
      <div>
        <label for={id}><b>{x.label}</b></label>
        <p class="dim" id={help}>
          {x.help}{' '}
          {source && <span class="source">{source}{fixed && x.source !== 'file' && x.source !== 'default' ? ': change it there' : ''}</span>}
          {x.waiting && <span class="warn"> waits for a restart</span>}
          {!x.waiting && x.restart && !fixed && <span class="source"> needs a restart</span>}
        </p>
      </div>
      <div class="control">
        <Control setting={x} id={id} help={help} fixed={fixed} save={save} />
        {x.source === 'file' && can('reset') && <button type="button" class="quiet small" aria-label={`Use default for ${x.label}`} onClick={() => run('reset', { name: x.name })}>Use default</button>}
      </div>
    </div>
  );
}

function Control({ setting: x, id, help, fixed, save }) {
  const value = x.secret ? '' : shown(x, x.value); // what is typed replaces a secret, and is not shown again
  const [draft, setDraft] = useState(value);
  const typing = useRef(false);
  useEffect(() => {
    if (!typing.current) setDraft(value); // else it was changed elsewhere meanwhile
  }, [value]);
  const common = { id, disabled: fixed, 'aria-describedby': help };
  if (x.secret && fixed) return <span id={id} class="dim">{x.value ? 'set' : 'not set'}</span>;
  if (x.kind === 'switch') return <input {...common} type="checkbox" role="switch" checked={!!x.value} onChange={(e) => save(e.currentTarget.checked)} />;
  if (x.kind === 'choice') {
    const choices = (x.choices ?? []).includes(x.value) ? x.choices : [x.value, ...(x.choices ?? [])];
    return <Select {...common} label={x.label} value={x.value} onChange={save} choices={choices.map((c) => [c, c === '' ? 'default' : c])} />;
  }
  // Text is saved when it is left or Enter is pressed, and what was typed is given up with Escape.
  const keep = async () => {
    if (!typing.current) return; // what was refused is not sent again by itself
    typing.current = false;
    if (draft === value) return;
    if (x.kind === 'number' && !draft.trim()) return setDraft(value); // nothing is not zero
    const typed = x.kind === 'number' ? Number(draft) : x.kind === 'list' ? draft.split(x.secret ? ',' : '\n').map((l) => l.trim()).filter(Boolean) : draft.trim();
    const saved = await save(typed);
    if (x.secret ? saved : !saved) setDraft(value); // a secret that was refused is mended where it stands
  };
  const keys = (e) => {
    if (e.key === 'Escape') {
      typing.current = false;
      setDraft(value);
    } else if (e.key === 'Enter' && (x.kind !== 'list' || x.secret)) {
      typing.current = draft !== value; // Enter asks again, also for what was refused
      e.currentTarget.blur();
    }
  };
  const field = { ...common, value: draft, onInput: (e) => { typing.current = true; setDraft(e.currentTarget.value); }, onBlur: keep, onKeyDown: keys, placeholder: shown(x, x.default), spellcheck: false, autocomplete: 'off' };
  if (x.secret) return <input {...field} type="password" autocomplete="new-password" placeholder={x.value ? 'set: type another' : 'not set'} />;
  if (x.kind === 'list') return <textarea {...field} rows={Math.min(6, Math.max(2, draft.split('\n').length))} />;
  return <input {...field} type={x.kind === 'number' ? 'number' : 'text'} class={x.kind === 'number' ? 'short' : ''} />;
}
