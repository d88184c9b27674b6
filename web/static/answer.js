// The answer to what was asked last: a class with its scores as bars, a number, or outputs as they are; and the time that it took.

import { byId, count, element, percent, time, write } from './format.js';
import { labelsOf } from './kinds.js';
import { kindOf, number, ranked, valueOf } from './results.js';

const mostBars = 10;
const mostValues = 64; // of an output

let labels = []; // of the model, in its order
let rows = new Map(); // label -> its bar

/** prepare empties the card for a model: the bars of a few classes stand there at zero. */
export function prepare(model) {
  labels = labelsOf(model);
  byId('answer').dataset.state = 'empty';
  delete byId('answer').dataset.kind;
  big('?');
  write(byId('sure'), 'Nothing asked yet');
  times();
  byId('outputs').replaceChildren();
  bars(labels.length <= mostBars ? labels : []);
  write(byId('bars-note'), labels.length > mostBars ? `${count(labels.length)} classes` : '');
}

function bars(names) {
  rows = new Map(names.map((label) => {
    const fill = element('span', { class: 'fill' });
    const value = element('span', { class: 'value' }, '');
    const row = element('li', {}, element('span', { class: 'name', title: label }, label), element('span', { class: 'track', 'aria-hidden': 'true' }, fill), value);
    return [label, { row, fill, value }];
  }));
  byId('bars').classList.toggle('words', names.some((label) => label.length > 2));
  byId('bars').replaceChildren(...[...rows.values()].map((r) => r.row));
}

/** big writes the answer itself, in letters that suit its length. */
function big(text, unit = '') {
  const label = byId('label');
  write(label, text);
  write(byId('unit'), unit);
  const long = text.length + unit.length;
  label.parentElement.dataset.size = ['xs', 's', 'm'][[18, 4, 2].findIndex((n) => long > n)] ?? 'l';
}

function times(result, roundTrip) {
  write(byId('latency'), time(result?.latency_us));
  write(byId('roundtrip'), roundTrip == null ? '–' : time(roundTrip * 1000));
}

export function waiting() {
  byId('answer').dataset.state = 'wait';
}

const show = {
  classes(result) {
    const label = String(result.label);
    const all = ranked(result);
    const names = labels.length && labels.length <= mostBars && all.every(([name]) => labels.includes(name)) ? labels : all.slice(0, mostBars).map(([name]) => name);
    if (names.length !== rows.size || names.join('\n') !== [...rows.keys()].join('\n')) bars(names);
    const known = Math.max(labels.length, all.length);
    write(byId('bars-note'), known > names.length ? `The best ${names.length} of ${count(known)} classes` : '');
    const scores = new Map(all);
    for (const [name, { row, fill, value }] of rows) {
      const score = scores.get(name) ?? 0;
      row.classList.toggle('best', name === label);
      fill.style.transform = `scaleX(${Math.min(1, Math.max(score, 0.004))})`;
      write(value, percent(score));
    }
    big(label);
    const sure = result.score == null ? '' : `${percent(result.score)} sure`;
    write(byId('sure'), sure || 'The model gives no scores');
    return `The answer is ${label}${sure && `, ${sure}`}`;
  },
  number(result) {
    const { value, name, unit } = valueOf(result);
    bars([]);
    write(byId('bars-note'), '');
    big(number(value), unit);
    write(byId('sure'), name || 'The answer');
    return `The answer is ${number(value)}${unit && ` ${unit}`}${name && `, for ${name}`}`;
  },
  outputs(result) {
    const all = result.outputs ?? [];
    bars([]);
    write(byId('bars-note'), '');
    big('');
    write(byId('sure'), all.length === 1 ? 'One output' : `${count(all.length)} outputs`);
    byId('outputs').replaceChildren(...all.map(output));
    return `The answer has ${all.length === 1 ? 'one output' : `${all.length} outputs`}`;
  },
};

function output({ name, datatype, shape, data = [] }) {
  const list = element('ol', { class: 'values', 'aria-label': `Values of ${name}` }, ...data.slice(0, mostValues).map((v) => element('li', {}, number(v))));
  const more = data.length > mostValues ? element('p', { class: 'quiet' }, `and ${count(data.length - mostValues)} more`) : null;
  return element('div', { class: 'output' }, element('h3', {}, name, ' ', element('span', { class: 'quiet' }, `${datatype} [${(shape ?? []).join(', ')}]`)), list, more);
}

/** result writes a result; roundTrip is the time in ms from the put until the page had the event. */
export function result(given, roundTrip) {
  const kind = kindOf(given);
  Object.assign(byId('answer').dataset, { state: 'known', kind });
  if (kind !== 'outputs') byId('outputs').replaceChildren();
  const said = show[kind](given);
  const label = byId('label');
  label.classList.remove('fresh');
  void label.offsetWidth; // begins the animation again
  label.classList.add('fresh');
  times(given, roundTrip);
  write(byId('answer-text'), `${said}, after ${time(given.latency_us)}.`);
}

/** fail says why there is no answer, and later why it does not come yet. */
export function fail(message, state = 'fault') {
  byId('answer').dataset.state = state;
  big(state === 'fault' ? '!' : '?');
  write(byId('sure'), message);
  times();
  write(byId('answer-text'), message);
  byId('outputs').replaceChildren();
  for (const { row, fill, value } of rows.values()) {
    row.classList.remove('best');
    fill.style.transform = 'scaleX(0)';
    write(value, '');
  }
}
