// The few parts that the sections are made of.

import { useLayoutEffect, useRef, useState } from 'preact/hooks';
import { can, copy, run } from './state.js';

export const Page = ({ title, lead, actions, children }) => (
  <>
    <header class="head">
      <div>
        <h1 tabIndex={-1}>{title}</h1>
        {lead && <p class="dim">{lead}</p>}
      </div>
      {actions && <div class="actions">{actions}</div>}
    </header>
    {children}
  </>
);

export const Card = ({ title, aside, class: extra = '', children, ...rest }) => (
  <section class={`card ${extra}`} {...rest}>
    {title && (
      <div class="card-head">
        <h2>{title}</h2>
        {aside}
      </div>
    )}
    {children}
  </section>
);

// Do is a button for an action; there is none when the program can't do it. It rests while the action is under way.
export function Do({ action, args, then, confirm, main, danger, busy, children, ...rest }) {
  const [under, setUnder] = useState(false);
  const [asking, setAsking] = useState(false);
  const go = async () => {
    setAsking(false);
    setUnder(true);
    const result = await run(action, args);
    setUnder(false);
    if (result) then?.(result);
  };
  const waiting = under || busy;
  const button = useRef();
  const rested = useRef(false);
  useLayoutEffect(() => { // a button that rests loses the focus
    if (!waiting && rested.current && document.activeElement === document.body) button.current?.focus({ preventScroll: true });
    rested.current = waiting && (under || rested.current); // here, and not by the program
  }, [waiting]);
  if (!can(action)) return null;
  return (
    <>
      <button
        ref={button}
        type="button"
        class={main ? 'main' : danger ? 'danger' : ''}
        aria-busy={waiting || undefined}
        disabled={waiting}
        onClick={confirm ? () => setAsking(true) : go}
        {...rest}
      >
        {children}
      </button>
      {asking && (
        <Dialog title={confirm.title} onClose={() => setAsking(false)}>
          <p>{confirm.text}</p>
          <div class="buttons">
            <button type="button" onClick={() => setAsking(false)}>Cancel</button>
            <button type="button" class={danger ? 'danger filled' : 'main'} onClick={go}>{confirm.label}</button>
          </div>
        </Dialog>
      )}
    </>
  );
}

export const Copy = ({ text, what, children = 'Copy', ...rest }) => (
  <button type="button" onClick={() => copy(text, what)} {...rest}>{children}</button>
);

// Dialog is the browser's own: it keeps the focus, and Escape closes it.
export function Dialog({ title, wide, side, onClose, children }) {
  const ref = useRef();
  useLayoutEffect(() => { // before anybody can press Escape
    const before = document.activeElement;
    ref.current.showModal();
    return () => before?.isConnected && before.focus();
  }, []);
  const outside = (e) => e.target === ref.current && onClose();
  return (
    <dialog ref={ref} class={side ? 'side' : wide ? 'wide' : ''} aria-label={title} onClose={onClose} onMouseDown={outside}>
      <div class="dialog">
        <div class="dialog-head">
          <h2>{title}</h2>
          <button type="button" class="quiet" aria-label="Close" onClick={onClose}><Icon name="close" /></button>
        </div>
        {children}
      </div>
    </dialog>
  );
}

// Facts is a list of names and values; what has no value is left out.
export const Facts = ({ list }) => (
  <dl class="facts">
    {list.filter(([, value]) => value != null && value !== '' && value !== false).map(([name, value]) => (
      <div key={name}><dt>{name}</dt><dd>{value}</dd></div>
    ))}
  </dl>
);

// Choose is a row of choices of which one holds.
export const Choose = ({ label, value, choices, onChange }) => (
  <div class="choose" role="group" aria-label={label}>
    {choices.map(([id, text]) => (
      <button type="button" key={id} aria-pressed={value === id} onClick={() => onChange(id)}>{text}</button>
    ))}
  </div>
);

export const Select = ({ label, value, choices, onChange, ...rest }) => (
  <select aria-label={label} value={value} onChange={(e) => onChange(e.currentTarget.value)} {...rest}>
    {choices.map(([id, text]) => <option key={id} value={id}>{text}</option>)}
  </select>
);

// Export is a menu: what is chosen is saved, and nothing stays chosen.
export const Export = ({ save }) => (
  <select
    aria-label="Export"
    class="export"
    onChange={(e) => {
      save(e.currentTarget.value);
      e.currentTarget.value = '';
    }}
  >
    <option value="">Export…</option>
    <option value="csv">as CSV</option>
    <option value="json">as JSON</option>
  </select>
);

export const Empty = ({ children }) => <p class="empty">{children}</p>;

const paths = {
  overview: 'M3 11.5 10 4l7 7.5M5 10v6.5h10V10',
  activity: 'M3 10h3l2.5-6 4 12 2-6H17',
  usage: 'M4 16.5V11M8 16.5V5M12 16.5V9M16 16.5V3.5',
  tools: 'M7 3v4M13 3v4M5 7h10v3a5 5 0 0 1-10 0zM10 15v3',
  'sign-in': 'M10 10a3.2 3.2 0 1 0 0-6.4A3.2 3.2 0 0 0 10 10ZM3.8 17c.6-3 3-4.6 6.2-4.6s5.6 1.6 6.2 4.6',
  settings: 'M3 6h7M14 6h3M3 14h3M10 14h7M12 8a2 2 0 1 0 0-4 2 2 0 0 0 0 4ZM8 16a2 2 0 1 0 0-4 2 2 0 0 0 0 4Z',
  doctor: 'M10 3.5c3 0 6.5 1 6.5 1V10c0 4-3.5 6-6.5 7.5-3-1.5-6.5-3.5-6.5-7.5V4.5s3.5-1 6.5-1ZM10 7v6M7 10h6',
  close: 'M5 5l10 10M15 5 5 15',
  good: 'M4.5 10.5l4 4L15.5 6',
  bad: 'M10 5v6M10 14.5v.1',
  note: 'M10 5v6M10 14.5v.1',
  right: 'M8 5l5 5-5 5',
};

export const Icon = ({ name }) => (
  <svg class={`icon ${name}`} viewBox="0 0 20 20" width="18" height="18" aria-hidden="true"><path d={paths[name]} /></svg>
);
