// A line of the newest numbers over time, for models that answer with one number.

import { byId, element, shape, write } from './format.js';
import { number } from './results.js';

const most = 240; // points
const width = 300;
const height = 110;
const margin = 8;

let points = []; // { when, value, id }, the oldest first
let parts = null;

export function clear() {
  points = [];
  byId('trend').hidden = true;
}

/** add takes points in any order; one with the id of another replaces it. */
export function add(fresh, unit) {
  if (!fresh.length) return;
  const ids = new Set(fresh.map(({ id }) => id));
  points = [...points.filter(({ id }) => !ids.has(id)), ...fresh].sort((a, b) => a.when - b.when).slice(-most);
  draw(unit);
}

function draw(unit) {
  const box = byId('trend');
  box.hidden = points.length < 2;
  if (box.hidden) return;
  if (!parts) {
    parts = { line: shape('path', { class: 'a' }), dot: shape('path', { class: 'dot' }), top: element('span', {}), low: element('span', {}), from: element('span', {}), to: element('span', {}) };
    box.append(
      element('div', { class: 'axis' }, parts.top),
      shape('svg', { viewBox: `0 0 ${width} ${height}`, preserveAspectRatio: 'none', 'aria-hidden': 'true' },
        ...[0.5, height / 2, height - 0.5].map((y) => shape('line', { x1: 0, x2: width, y1: y, y2: y })), parts.line, parts.dot),
      element('div', { class: 'axis' }, parts.low), element('div', { class: 'axis' }, parts.from, parts.to));
  }
  const values = points.map(({ value }) => value);
  const [low, top] = [Math.min(...values), Math.max(...values)];
  const [from, to] = [points[0].when, points.at(-1).when];
  const x = (p, i) => (to > from ? ((p.when - from) / (to - from)) * width : (i / (points.length - 1)) * width);
  const y = (v) => (top > low ? height - margin - ((v - low) / (top - low)) * (height - 2 * margin) : height / 2);
  const d = points.map((p, i) => `${i ? 'L' : 'M'}${x(p, i).toFixed(1)} ${y(p.value).toFixed(1)}`).join('');
  parts.line.setAttribute('d', d);
  parts.dot.setAttribute('d', `M${width} ${y(values.at(-1)).toFixed(1)}h.01`);
  const tail = unit ? ` ${unit}` : '';
  write(parts.top, `highest ${number(top)}${tail}`);
  write(parts.low, `lowest ${number(low)}${tail}`);
  write(parts.from, clock(from, to));
  write(parts.to, clock(to, from));
  byId('trend').setAttribute('aria-label', `The last ${points.length} numbers: from ${number(values[0])} to ${number(values.at(-1))}${tail}, lowest ${number(low)}, highest ${number(top)}`);
}

/** clock writes a time, with its day where the other is of another one. */
function clock(when, other) {
  const date = new Date(when);
  const time = date.toLocaleTimeString('en-GB');
  return date.toDateString() === new Date(other).toDateString() ? time : `${date.toLocaleDateString('en-GB', { day: 'numeric', month: 'short' })} ${time}`;
}
