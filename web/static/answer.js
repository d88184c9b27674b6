// The answer to what was asked last: the digit, its scores as bars and the time that it took.

import { byId, element, percent, time, write } from './format.js';

const digits = [...'0123456789'];
let rows = new Map();

/** prepare draws the bars of the labels, all at zero. */
export function prepare(labels = digits) {
  rows = new Map(labels.map((label) => {
    const fill = element('span', { class: 'fill' });
    const value = element('span', { class: 'value' }, '');
    const row = element('li', {}, element('span', { class: 'name' }, label), element('span', { class: 'track', 'aria-hidden': 'true' }, fill), value);
    return [label, { row, fill, value }];
  }));
  byId('bars').replaceChildren(...[...rows.values()].map((r) => r.row));
}

export function waiting() {
  byId('answer').dataset.state = 'wait';
}

/** show writes a result; roundTrip is the time in ms from the put until the page had the event. */
export function show(result, roundTrip) {
  const scores = result.scores ?? {};
  const labels = Object.keys(scores);
  if (labels.length && (labels.length !== rows.size || labels.some((label) => !rows.has(label)))) prepare(labels);
  const label = result.label ?? '–';
  byId('answer').dataset.state = 'known';
  const big = byId('label');
  write(big, label);
  big.classList.remove('fresh');
  void big.offsetWidth; // begins the animation again
  big.classList.add('fresh');
  write(byId('sure'), result.score == null ? 'The model gives no scores' : `${percent(result.score)} sure`);
  write(byId('latency'), time(result.latency_us));
  write(byId('roundtrip'), roundTrip == null ? '–' : time(roundTrip * 1000));
  for (const [name, { row, fill, value }] of rows) {
    const score = scores[name] ?? 0;
    row.classList.toggle('best', name === label);
    fill.style.transform = `scaleX(${Math.max(score, 0.004)})`;
    write(value, percent(score));
  }
  write(byId('answer-text'), `The answer is ${label}${result.score == null ? '' : `, ${percent(result.score)} sure`}, after ${time(result.latency_us)}.`);
}

/** fail says why there is no answer. */
export function fail(message) {
  byId('answer').dataset.state = 'fault';
  write(byId('label'), '!');
  write(byId('sure'), message);
  write(byId('latency'), '–');
  write(byId('roundtrip'), '–');
  write(byId('answer-text'), message);
  for (const { row, fill, value } of rows.values()) {
    row.classList.remove('best');
    fill.style.transform = 'scaleX(0)';
    write(value, '');
  }
}
