// How long each node of a model takes: measured on request, and shown on the picture of the graph and as a list.

import { json } from './api.js';
import { byId, counted, element, percent, shape, time, write } from './format.js';
import * as graph from './graph.js';

const listed = 8; // steps in the list
const levels = 5; // of colour

let profile = null; // of the path below
let path = '';

/** measure asks the node to run the model for it. */
async function measure() {
  const button = byId('graph-measure');
  const mine = path;
  button.disabled = true;
  write(byId('graph-said'), 'Measuring…');
  try {
    const now = await json(`${mine}/profile`, { method: 'POST' });
    if (mine !== path || !byId('graph').open) return;
    profile = now;
    const inputs = profile.inputs.map((v) => `${v.name} [${v.shape.join(', ')}]`).join(', ');
    write(byId('graph-said'), `${text(profile.total_us)} a run on ${profile.engine}, the mean of ${counted(profile.runs, 'run', 'runs')} on made-up ${inputs}.${profile.note ? ` Mind that ${profile.note}.` : ''}`);
    show(graph.picture());
  } catch (error) {
    if (mine === path) write(byId('graph-said'), error.message);
  } finally {
    button.disabled = false;
  }
}

/** nodesOf reads numbers such as "0-3,7". */
function nodesOf(box) {
  return box.dataset.nodes.split(',').flatMap((span) => {
    const [first, last = first] = span.split('-').map(Number);
    return Array.from({ length: last - first + 1 }, (_, i) => first + i);
  });
}

/** show writes the times on the boxes: that of a step stands at its last node, and the others of it say so. */
function show(svg) {
  list();
  if (!svg || !profile) return;
  for (const old of svg.querySelectorAll('.g-took')) old.remove();
  const ends = new Map(profile.steps.filter((s) => s.nodes.length).map((s) => [s.nodes.at(-1), s]));
  const within = new Set(profile.steps.flatMap((s) => s.nodes.slice(0, -1)));
  for (const box of svg.querySelectorAll('.g-box[data-nodes]')) {
    const nodes = nodesOf(box);
    const steps = nodes.map((n) => ends.get(n)).filter(Boolean);
    const us = steps.reduce((sum, s) => sum + s.us, 0);
    delete box.dataset.heat;
    if (steps.length) box.dataset.heat = Math.min(levels, Math.ceil((us / profile.total_us) * 2 * levels));
    if (steps.length) mark(box, text(us));
    else if (nodes.some((n) => within.has(n))) mark(box, 'joined');
  }
}

const text = (us) => (us < 10 ? `${us.toFixed(us < 1 ? 2 : 1)} µs` : time(us));

/** mark writes on the upper edge of a box. */
function mark(box, words) {
  const rect = box.querySelector('.g-face, .g-frame');
  const [x, y, width] = ['x', 'y', 'width'].map((name) => Number(rect.getAttribute(name)));
  const long = words.length * 5.6 + 8;
  const left = x + width - long + 6;
  box.append(shape('g', { class: 'g-took' }, shape('rect', { x: left, y: y - 7, width: long, height: 14, rx: 7 }), shape('text', { x: left + long / 2, y: y + 3.5, 'font-size': 10, 'text-anchor': 'middle' }, words)));
}

/** list has the steps that take the most. */
function list() {
  const steps = profile ? profile.steps.toSorted((a, b) => b.us - a.us).slice(0, listed) : [];
  byId('graph-times').hidden = !steps.length;
  byId('graph-times').replaceChildren(...steps.map((s) => element('li', {},
    element('b', {}, s.op), ' ', element('span', { class: 'num' }, `${text(s.us)}, ${percent(s.us / profile.total_us)}`), ' ', element('span', { class: 'quiet' }, names(s)))));
}

const names = (s) => (s.names.length > 2 ? `${s.names.at(-1)} and ${s.names.length - 1} joined with it` : s.names.join(', '));

export function prepare() {
  byId('graph-measure').addEventListener('click', measure);
  graph.whenDrawn((shown, svg) => {
    if (shown !== path) profile = null;
    path = shown;
    show(svg);
  });
}
