// The path of the data through the chosen pipeline as a diagram, with live numbers.

import { byId, count, counted, element, rate, shape, time } from './format.js';

/** stations of a pipeline: what it is, its name, and up to two lines of numbers. */
function stations(p, stats, formats) {
  const cache = (name) => stats.caches.find((c) => c.name === name);
  const source = cache(p.from);
  const target = cache(p.to);
  const errors = cache(p.errors_to)?.entries ?? 0; // those that are there; stats count from the node's start
  const stands = p.state === 'paused' || p.state === 'blocked';
  return [
    { kind: 'you', title: 'PUT', lines: [`${rate(source?.put_rate ?? 0)} / s`, formats] },
    { kind: 'cache', title: p.from, lines: [counted(source?.entries ?? 0, 'entry', 'entries'), `${count(p.lag)} waiting`] },
    { kind: 'pipeline', title: p.name, lines: stands ? [p.state, ''] : [`${rate(p.in_rate)} / s`, `${rate(p.batch_mean || 0)} in a batch`], mill: true, wait: stands },
    { kind: 'model', title: p.model, lines: [p.version ? `version ${p.version}` : 'no run yet', p.latency_p50_us ? `p50 ${time(p.latency_p50_us)}` : ''], wait: p.state === 'blocked' },
    { kind: 'cache', title: p.to, lines: [counted(target?.entries ?? 0, 'entry', 'entries'), errors ? counted(errors, 'error', 'errors') : 'no errors'] },
    { kind: 'event', title: 'listeners', lines: [`${rate(p.out_rate)} / s`, 'this page listens'] },
  ];
}

let drawn = '';
let parts = [];

/** update draws the way of pipeline p; formats are what may be put. */
export function update(stats, p, formats) {
  const box = byId('diagram');
  if (!p) {
    if (drawn !== 'none') box.replaceChildren(element('p', { class: 'empty' }, 'No pipeline is configured. One is three words: the cache it reads, its model, the cache it writes.'));
    drawn = 'none';
    return;
  }
  const upright = box.clientWidth < 640;
  const key = `${upright}/${p.name}`;
  const line = stations(p, stats, formats);
  if (key !== drawn) {
    drawn = key;
    build(box, line, upright);
  }
  line.forEach((s, i) => refresh(parts[i], s));
  parts.forEach(({ water }, i) => {
    const flows = i < 2 ? p.in_rate > 0 || (p.lag > 0 && p.state === 'running') : p.out_rate > 0;
    water?.setAttribute('class', flows ? 'water runs' : 'water');
  });
  box.firstChild.setAttribute('aria-label', `Pipeline ${p.name} reads cache ${p.from}, runs model ${p.model} and writes cache ${p.to}. It is ${p.state}.`);
}

/** build draws the stations side by side, or below each other where the page is narrow. */
function build(box, line, upright) {
  const size = upright ? { w: 300, h: 66, gapX: 0, gapY: 30 } : { w: 150, h: 96, gapX: 44, gapY: 0 };
  const n = line.length;
  const total = upright ? { w: size.w, h: n * (size.h + size.gapY) - size.gapY } : { w: n * (size.w + size.gapX) - size.gapX, h: size.h };
  const svg = shape('svg', { viewBox: `-2 -2 ${total.w + 4} ${total.h + 4}`, role: 'img' });
  parts = line.map((station, j) => {
    const x = upright ? 0 : j * (size.w + size.gapX);
    const y = upright ? j * (size.h + size.gapY) : 0;
    let water = null;
    if (j + 1 < n) {
      const d = upright
        ? `M${x + size.w / 2} ${y + size.h + 3}v${size.gapY - 6}`
        : `M${x + size.w + 4} ${y + size.h / 2}c${size.gapX / 3} -7 ${size.gapX / 3} 7 ${size.gapX - 8} 0`;
      water = shape('path', { class: 'water', d });
      svg.append(shape('path', { class: 'flow', d }), water);
    }
    const middle = y + size.h / 2;
    const place = upright
      ? { kind: [x + 16, middle - 6], title: [x + 16, middle + 14], a: [x + size.w - 16, middle - 4, 'end'], b: [x + size.w - 16, middle + 14, 'end'] }
      : { kind: [x + 14, y + 22], title: [x + 14, y + 42], a: [x + 14, y + 64], b: [x + 14, y + 81] };
    const text = ([tx, ty, anchor], css) => shape('text', { x: tx, y: ty, class: css, 'text-anchor': anchor ?? 'start' });
    const part = { kind: text(place.kind, 'kind'), title: text(place.title, 'title'), a: text(place.a, 'value'), b: text(place.b, 'value kind') };
    const whole = shape('title');
    const group = shape('g', {}, whole, shape('rect', { class: 'box', x, y, width: size.w, height: size.h, rx: 12 }), part.kind, part.title, part.a, part.b);
    svg.append(group);
    return { ...part, group, whole, water, room: 16 };
  });
  box.replaceChildren(svg);
}

function refresh(part, s) {
  const title = s.title.length > part.room ? `${s.title.slice(0, part.room - 1)}…` : s.title;
  for (const [node, text] of [[part.whole, s.title], [part.kind, s.kind], [part.title, title], [part.a, s.lines[0]], [part.b, s.lines[1]]]) {
    if (node.textContent !== text) node.textContent = text;
  }
  part.group.setAttribute('class', `${s.mill ? 'mill' : ''} ${s.wait ? 'wait' : ''}`);
}
