// Plots over time: stacked bars or lines, drawn by uPlot, with a legend that tells the values under the pointer.

import { useEffect, useRef, useState } from 'preact/hooks';
import uPlot from 'uplot';
import { clock, day } from './format.js';

const dark = matchMedia('(prefers-color-scheme: dark)');
export const colors = 6; // series that are told apart; the rest is one

const color = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

// style.css has the colors for both themes as plain values, since a canvas can't read light-dark().
function palette() {
  const theme = dark.matches ? '-dark' : '-light';
  return {
    series: Array.from({ length: colors }, (_, i) => color(`--plot-${i + 1}${theme}`)),
    text: color(`--plot-text${theme}`),
    grid: color(`--plot-grid${theme}`),
  };
}

// stacked adds each series to those before it.
function stacked(series) {
  const below = new Array(series[0]?.values.length ?? 0).fill(0);
  return series.map((s) => s.values.map((v, i) => (below[i] += v ?? 0)));
}

// Plot draws series, each { name, values }, over times, which are the starts of steps in milliseconds. step is how long
// one is; text says it all for who can't see the plot.
export function Plot({ times, series, bars, step, text, value, most, height = 180, dates = step >= 86_400_000, legend = true }) {
  const box = useRef();
  const [hovered, setHovered] = useState(null);
  const [theme, setTheme] = useState(dark.matches);
  useEffect(() => {
    const f = () => setTheme(dark.matches);
    dark.addEventListener('change', f);
    return () => dark.removeEventListener('change', f);
  }, []);

  const shape = JSON.stringify([series.map((s) => s.name), bars, step, height, theme, most]);
  const plot = useRef();
  const latest = useRef();
  latest.current = { times, value, dates };
  const values = () => {
    const ys = bars ? stacked(series) : series.map((s) => s.values);
    // Bars are drawn from the tallest sum down, each over the one before.
    return [times.map((t) => t / 1000), ...(bars ? ys.reverse() : ys)];
  };

  useEffect(() => {
    const p = palette();
    const element = box.current;
    const tone = (i) => p.series[(bars ? series.length - 1 - i : i) % colors];
    const font = '12px system-ui, sans-serif';
    const u = new uPlot(
      {
        width: element.clientWidth,
        height,
        padding: [8, 34, 0, 0],
        legend: { show: false },
        cursor: { y: false, points: { show: !bars, size: 7 }, drag: { x: false, y: false } },
        hooks: { setCursor: [(u) => setHovered(u.cursor.idx ?? null)] },
        scales: {
          x: { range: (_, min, max) => (bars ? [min - step / 2000, max + step / 2000] : [min, max]) },
          y: { range: (_, min, max) => [0, most ?? (max > 0 ? max * 1.08 : 1)] },
        },
        axes: [
          {
            stroke: p.text,
            font,
            size: 28,
            gap: 6,
            space: 70,
            grid: { show: false },
            ticks: { show: false },
            values: (_, ticks) => ticks.map((t) => {
              const date = new Date(t * 1000);
              if (latest.current.dates || (date.getHours() === 0 && date.getMinutes() === 0)) return day(date);
              return clock(date);
            }).map((text, i, all) => (text === all[i - 1] ? null : text)), // said once, however close the ticks are
            incrs: step >= 86_400_000 ? [1, 2, 7, 14, 28, 56, 91, 182, 364].map((days) => days * 86_400) : undefined,
          },
          {
            stroke: p.text,
            font,
            size: 52,
            gap: 6,
            space: 36,
            grid: { stroke: p.grid, width: 1 },
            ticks: { show: false },
            values: (_, ticks) => ticks.map((t) => latest.current.value(t)),
          },
        ],
        series: [
          {},
          ...series.map((s, i) => ({
            label: s.name,
            stroke: tone(i),
            fill: bars ? tone(i) : undefined,
            width: bars ? 0 : 2,
            paths: bars ? uPlot.paths.bars({ size: [0.72, 40], radius: 0.12 }) : undefined,
            points: { show: !bars && times.length <= 60, size: 5, width: 0, fill: tone(i) },
          })),
        ],
      },
      values(),
      element,
    );
    plot.current = u;
    const size = new ResizeObserver(() => u.setSize({ width: element.clientWidth, height }));
    size.observe(element);
    return () => {
      size.disconnect();
      u.destroy();
    };
  }, [shape]);

  useEffect(() => {
    plot.current?.setData(values());
  }, [times, series]);

  const when = hovered != null && times[hovered] != null ? times[hovered] : null;
  return (
    <div class="plot">
      <div ref={box} role="img" aria-label={text} class={`canvas h${height}`} />
      {legend && (
        <ul class="legend" aria-hidden="true">
          {series.map((s, i) => (
            <li key={s.name}>
              <i class={`tone-${(i % colors) + 1}`} />
              {s.name}
              {when != null && <b>{s.values[hovered] == null ? '–' : value(s.values[hovered])}</b>}
            </li>
          ))}
          <li class="when">{when != null && (step >= 86_400_000 ? day(when) : `${day(when)}, ${clock(when)}`)}</li>
        </ul>
      )}
    </div>
  );
}

// steps are the starts of all hours, days or weeks from a time until now, by the clock on the wall.
export function steps(by, since) {
  const list = [];
  const t = new Date(since);
  t.setMinutes(0, 0, 0);
  if (by !== 'hour') t.setHours(0);
  if (by === 'week') t.setDate(t.getDate() - ((t.getDay() + 6) % 7));
  for (const now = Date.now(); t <= now; ) {
    list.push(t.getTime());
    if (by === 'hour') t.setTime(t.getTime() + 3_600_000);
    else {
      t.setDate(t.getDate() + (by === 'week' ? 7 : 1));
      t.setHours(0); // after a day without a midnight, too
    }
  }
  return list;
}

// drawn are the rows that belong to a plot's steps. A page of which nobody asks anything keeps older ones.
export const drawn = (rows, times, step) => rows.filter((r) => new Date(r.time) > times[0] - step);

// nearest is the place of the step that begins nearest to a time. The program's steps are not the page's when the
// browser has the time of another place.
export const nearest = (times, at) => {
  const t = new Date(at).getTime();
  return times.reduce((best, begin, i) => (Math.abs(begin - t) < Math.abs(times[best] - t) ? i : best), 0);
};
