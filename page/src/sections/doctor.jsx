import { useEffect } from 'preact/hooks';
import { ago } from '../format.js';
import { can, run, useMinute } from '../state.js';
import { Card, Copy, Do, Empty, Icon, Page } from '../ui.jsx';

const said = { good: 'good', note: 'note', bad: 'wrong' };

export function Doctor({ snapshot: s }) {
  useMinute();
  const d = s.doctor;
  useEffect(() => {
    if (!d && can('doctor')) run('doctor');
  }, []);
  const advice = d?.advice ?? [];
  return (
    <Page
      title="Doctor"
      lead="Looks at everything that can be wrong. The report has no secrets in it, so it can go into an issue."
      actions={
        <>
          {d?.text && <Copy text={d.text} what="The report">Copy</Copy>}
          <Do action="doctor" main busy={d?.running}>Look again</Do>
        </>
      }
    >
      {!d ? <Empty>Looking…</Empty> : (
        <>
          {!d.running && (
            <Card class={advice.length > 0 ? 'edge bad' : ''} title={advice.length === 0 ? 'All is well' : 'What to do'} aside={d.at && <span class="dim">{ago(d.at)}</span>}>
              {advice.length > 0 ? <ol class="advice">{advice.map((a) => <li key={a}>{a}</li>)}</ol> : <p class="dim">There is nothing to do.</p>}
            </Card>
          )}
          <Card title={d.running ? 'Looking…' : 'What was found'}>
            <ul class="findings" aria-live="polite">
              {(d.lines ?? []).map((l, i) => (
                <li key={i} class={l.level}><Icon name={l.level} /><span class="hidden">{said[l.level]}: </span><b>{l.what}</b><span>{l.text}</span></li>
              ))}
            </ul>
          </Card>
        </>
      )}
    </Page>
  );
}
