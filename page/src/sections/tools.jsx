import { useState } from 'preact/hooks';
import { ago, seconds } from '../format.js';
import { can, run } from '../state.js';
import { Card, Copy, Dialog, Do, Icon, Page } from '../ui.jsx';

export function Tools({ snapshot: s }) {
  const tools = s.tools ?? [];
  const here = tools.filter((t) => t.found || t.connected);
  const others = tools.filter((t) => !t.found && !t.connected);
  const base = `${s.root}/v1`;
  const [result, setResult] = useState(null);
  return (
    <Page title="Tools" lead={can('tool-connect') ? 'A connected tool is pointed at this proxy by its own settings file. Disconnecting puts the file back as it was.' : 'Copy a recipe into the tool’s settings to point it at this proxy.'}>
      <Card title="For any tool">
        <div class="any">
          <dl class="facts">
            <div><dt>Base URL</dt><dd><code>{base}</code></dd></div>
            <div><dt>API key</dt><dd>{keyNeeded(s) ? <>one of the keys in <a href="#settings">Settings</a></> : 'any text'}</dd></div>
          </dl>
          <div class="buttons">
            <Copy text={base} what="The address">Copy URL</Copy>
            <Do action="test" args={{ id: '' }} then={setResult}>Send a test request</Do>
          </div>
        </div>
        {result && <TestAnswer result={result} />}
      </Card>
      {here.length > 0 && <Card title="Found on this machine"><ToolList tools={here} /></Card>}
      {others.length > 0 && <Card title={here.length > 0 ? 'Others' : 'Tools'}><ToolList tools={others} /></Card>}
    </Page>
  );
}

const keyNeeded = (s) => (s.settings ?? []).some((x) => x.name === 'require-key' && x.value);

// ToolList has a row for each tool; plain leaves out all but the one button that gets it going.
export function ToolList({ tools, plain }) {
  return <ul class="list">{tools.map((t, i) => <Tool key={t.id} tool={t} plain={plain} main={plain && i === 0} />)}</ul>;
}

function Tool({ tool: t, plain, main }) {
  const [preview, setPreview] = useState(null);
  const [result, setResult] = useState(null);
  const [recipe, setRecipe] = useState(false);
  const connects = t.has_file && can('tool-connect') && can('tool-preview');
  const state = t.trouble ? <span class="warn">{t.trouble}</span>
    : t.connected ? <span class="good"><Icon name="good" />connected</span>
    : connects ? 'not connected' : t.has_file ? 'connect by its settings file' : 'set in its own window';
  return (
    <li>
      <div class="what">
        <b>{t.name}</b>
        <span class="dim">{state}{t.last_used && !plain && `, last asked ${ago(t.last_used)}`}</span>
      </div>
      <div class="buttons">
        {!plain && t.run && <Copy text={t.run} what="The command" title={t.run} aria-label={`Copy command for ${t.name}`}>Copy command</Copy>}
        {(t.recipe && (!connects || !plain)) && <button type="button" aria-haspopup="dialog" aria-label={`Recipe for ${t.name}`} onClick={() => setRecipe(true)}>Recipe</button>}
        {t.connected && !plain && <Do action="test" args={{ id: t.id }} then={setResult} aria-label={`Test ${t.name}`}>Test</Do>}
        {connects && !t.connected && <Do action="tool-preview" args={{ id: t.id }} then={setPreview} main={main} aria-label={`Connect ${t.name}`}>Connect…</Do>}
        {t.connected && <Do action="tool-disconnect" args={{ id: t.id }} aria-label={`Disconnect ${t.name}`}>Disconnect</Do>}
      </div>
      {result && <div class="below"><TestAnswer result={result} /></div>}
      {preview && <Connect tool={t} preview={preview} onClose={() => setPreview(null)} />}
      {recipe && (
        <Dialog title={t.name} wide onClose={() => setRecipe(false)}>
          {t.where && <p>{t.where}</p>}
          <pre class="code" tabIndex={0}>{t.recipe}</pre>
          <div class="buttons">
            <button type="button" onClick={() => setRecipe(false)}>Close</button>
            <Copy text={t.recipe} what="The recipe" class="main">Copy</Copy>
          </div>
        </Dialog>
      )}
    </li>
  );
}

const kind = (line) => (line.startsWith('@@') ? 'hunk' : line.startsWith('+') ? 'add' : line.startsWith('-') ? 'cut' : '');

function Connect({ tool, preview, onClose }) {
  return (
    <Dialog title={`Connect ${tool.name}`} wide onClose={onClose}>
      <p>{preview.files?.length === 1 ? 'This file is changed. ' : 'These files are changed. '}Disconnecting puts {preview.files?.length === 1 ? 'it' : 'them'} back.</p>
      {(preview.files ?? []).map((f) => (
        <figure key={f.path}>
          <figcaption><code>{f.path}</code></figcaption>
          <pre class="code diff" tabIndex={0} aria-label={`Change of ${f.path}`}>
            {f.diff.replace(/\n$/, '').split('\n').filter((l) => !/^(---|\+\+\+) /.test(l)).map((l, i) => <span key={i} class={kind(l)}>{l}{'\n'}</span>)}
          </pre>
        </figure>
      ))}
      {preview.note && <p class="dim">{preview.note}</p>}
      <div class="buttons">
        <button type="button" onClick={onClose}>Cancel</button>
        <Do action="tool-connect" args={{ id: tool.id }} then={onClose} main>Connect</Do>
      </div>
    </Dialog>
  );
}

export function TestAnswer({ result: r }) {
  return (
    <div class={`answer ${r.ok ? 'good' : 'bad'}`} role="status">
      <p class="verdict"><Icon name={r.ok ? 'good' : 'bad'} />
        <b>{r.ok ? `Answered in ${seconds(r.duration_ms)}` : r.status ? `Failed with ${r.status}` : 'No answer'}</b>
        {r.first_token_ms > 0 && <span class="dim">first word after {seconds(r.first_token_ms)}</span>}
      </p>
      <p class="dim"><code>{r.request}</code></p>
      <blockquote>{r.answer}</blockquote>
      {r.advice && <p>{r.advice}</p>}
      {r.action && <Do action={r.action} main>{r.action_label}</Do>}
    </div>
  );
}
