// The three steps of a first start, on one screen. Each is done when the program says so.

import { useState } from 'preact/hooks';
import { can, run } from '../state.js';
import { Do, Icon, Page } from '../ui.jsx';
import { headline, lead, Problems, Start } from './overview.jsx';
import { PendingSignIn, Ways } from './sign-in.jsx';
import { TestAnswer, ToolList } from './tools.jsx';

export function FirstStart({ snapshot: s }) {
  const [result, setResult] = useState(null);
  const signedIn = s.sign_in.status !== 'signed-out' && s.sign_in.status !== 'sign-in-again' && s.sign_in.status !== 'starting';
  const connected = (s.tools ?? []).filter((t) => t.connected);
  const found = (s.tools ?? []).filter((t) => t.found);
  const tested = s.tested || result?.ok;
  // A later step is open before the earlier ones are done only if the user wants it so.
  const step = !signedIn ? 1 : connected.length === 0 && !tested ? 2 : !tested ? 3 : 4;
  const problem = s.problem && s.problem.action !== 'sign-in';
  return (
    <>
      <Problems snapshot={problem ? s : { ...s, problem: null }} />
      {!s.running && !problem && (
        <div class="card alert warn" role="status">
          <div><b>{headline(s)}</b><p>{lead(s)}</p></div>
          <Start snapshot={s} />
        </div>
      )}
      <Page title="Three steps" lead="Then this page is only for looking." actions={step < 4 && <Do action="first-start-done">Skip</Do>} />
      <ol class="steps">
        <Step n={1} done={signedIn} open={step === 1}
          title={signedIn ? <>Signed in as {s.sign_in.email || 'your account'}{s.sign_in.plan && ` (${s.sign_in.plan})`}</> : 'Sign in'}
          text={signedIn ? s.sign_in.note : 'With the account whose ChatGPT plan your tools are to use.'}>
          {s.pending ? <PendingSignIn pending={s.pending} /> : <Ways snapshot={s} />}
        </Step>
        <Step n={2} done={connected.length > 0} open={step === 2}
          title={connected.length > 0 ? `${connected.map((t) => t.name).join(', ')} connected` : 'Choose a tool'}
          text={connected.length > 0 ? 'There is room for more, in Tools.' : found.length > 0 ? `Found on this machine: ${found.map((t) => t.name).join(', ')}.` : 'Copy the recipe of the tool that you use.'}>
          <ToolList tools={found.length > 0 ? found : (s.tools ?? []).slice(0, 6)} plain />
        </Step>
        <Step n={3} done={tested} open={step >= 2}
          title="Send a test request" text="Shows what your tool would see, and how long it took."
          action={<Do action="test" args={{ id: connected[0]?.id ?? '' }} then={setResult} main={step === 3} disabled={!signedIn || undefined}>{result ? 'Send again' : 'Send'}</Do>}>
          {result && <TestAnswer result={result} />}
        </Step>
      </ol>
      {step === 4 && (
        <div class="all-set">
          <p>All set. {connected.length > 0 && `Restart ${connected[0].name} if it was open.`}</p>
          {can('first-start-done') && <button type="button" class="main" onClick={() => run('first-start-done')}>Show the overview</button>}
        </div>
      )}
    </>
  );
}

const Step = ({ n, done, open, title, text, action, children }) => (
  <li class={`card step ${done ? 'done' : open ? 'open' : 'later'}`}>
    <span class="number" aria-hidden="true">{done ? <Icon name="good" /> : n}</span>
    <div class="what">
      <h2>{title}{done && <span class="hidden"> (done)</span>}</h2>
      {text && <p class="dim">{text}</p>}
    </div>
    {action && <div class="act">{action}</div>}
    {(open || (n === 3 && done)) && <div class="body">{children}</div>}
  </li>
);
