import { render } from 'preact';
import { useEffect, useState } from 'preact/hooks';
import { Icon } from './ui.jsx';
import { reconnect, tell, useApp } from './state.js';
import { FirstStart } from './sections/first-start.jsx';
import { Overview } from './sections/overview.jsx';
import { Activity } from './sections/activity.jsx';
import { Usage } from './sections/usage.jsx';
import { Tools } from './sections/tools.jsx';
import { SignIn } from './sections/sign-in.jsx';
import { Settings } from './sections/settings.jsx';
import { Doctor } from './sections/doctor.jsx';

// Until the first start is done, its steps stand in the overview's place.
const Home = ({ snapshot: s }) => s.first_start ? <FirstStart snapshot={s} /> : <Overview snapshot={s} />;

const sections = [
  ['overview', 'Overview', Home],
  ['activity', 'Activity', Activity],
  ['usage', 'Usage', Usage],
  ['tools', 'Tools', Tools],
  ['sign-in', 'Sign-in', SignIn],
  ['settings', 'Settings', Settings],
  ['doctor', 'Doctor', Doctor],
];

// shown leaves out the sections that have nothing to show.
function shown(s) {
  const has = {
    activity: s.history,
    usage: s.history,
    settings: s.settings?.length > 0 || s.origins?.length > 0,
    doctor: s.doctor || s.can.includes('doctor'),
  };
  return sections.filter(([id]) => !(id in has) || has[id]);
}

const current = () => location.hash.slice(1) || 'overview';

// light is the color of the dot beside the name.
function light(s, connection) {
  if (connection !== 'open') return 'off';
  if (s.problem && !s.problem.mild && !s.first_start) return 'bad';
  if (s.problem || s.notes?.length || s.origins?.some((o) => o.state === 'asks')) return 'warn';
  return s.running && s.sign_in.status !== 'signed-out' ? 'good' : 'off'; // as the icon
}

const Lost = () => (
  <p>It is stopped, or has ended. Start it in its menu, or with <code>codex-proxy start</code>; this page then comes back by itself.</p>
);

function App() {
  const { snapshot, connection, notice } = useApp();
  const [section, setSection] = useState(current());
  useEffect(() => {
    const f = () => {
      setSection(current());
      scrollTo(0, 0);
    };
    addEventListener('hashchange', f);
    return () => removeEventListener('hashchange', f);
  }, []);
  const list = snapshot ? shown(snapshot) : [];
  const [id, title, Section] = list.find(([name]) => name === section) ?? sections[0];
  useEffect(() => {
    document.title = `${title} – Codex Proxy`;
    document.querySelector('nav a[aria-current]')?.scrollIntoView({ inline: 'center', block: 'nearest' });
  }, [title, !snapshot]);

  if (connection === 'closed') {
    return (
      <main class="closed">
        <img src="/page/icon.svg" alt="" width="64" height="64" />
        <h1>Open this page again</h1>
        <p>This browser has been forgotten, or did not use the page for a while. Choose <b>Open Codex Proxy…</b> in its menu, or run this in a terminal:</p>
        <p><code>codex-proxy open</code></p>
      </main>
    );
  }
  const lost = connection === 'lost';
  if (!snapshot) {
    if (lost) return <main class="closed"><h1>Codex Proxy does not answer</h1><Lost /></main>;
    return <div class="app"><nav aria-label="Sections"><p class="brand"><span class="dot" />Codex Proxy</p></nav><main aria-busy="true" /></div>; // as the shell has it
  }
  return (
    <div class="app">
      <nav aria-label="Sections">
        <p class="brand"><span class={`dot ${light(snapshot, connection)}`} />Codex Proxy</p>
        <ul>
          {list.map(([name, text]) => (
            <li key={name}>
              <a href={`#${name}`} aria-current={name === id ? 'page' : undefined}><Icon name={name} />{text}</a>
            </li>
          ))}
        </ul>
        <p class="version">{snapshot.version}{snapshot.demo && ' · demo'}{snapshot.update && <><br />{snapshot.update}</>}</p>
      </nav>
      <main key={id}>
        {lost && (
          <div class="card alert warn" role="alert">
            <div><b>Codex Proxy does not answer</b><Lost /></div>
            <button type="button" onClick={reconnect}>Try now</button>
          </div>
        )}
        <Section snapshot={lost ? { ...snapshot, lost, active: [] } : snapshot} />
      </main>
      <div class={`notice ${notice?.bad ? 'bad' : ''} ${notice ? 'shown' : ''}`} role={notice?.bad ? 'alert' : 'status'}>
        {notice && <><span>{notice.text}</span><button type="button" class="quiet" aria-label="Close" onClick={() => tell(null)}><Icon name="close" /></button></>}
      </div>
    </div>
  );
}

render(<App />, document.getElementById('app'));
