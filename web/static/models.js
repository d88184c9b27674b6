// The models with their signatures and versions, and the choice of the version that serves.

import { json, request } from './api.js';
import { confirm } from './confirm.js';
import { byId, bytes, count, element, write } from './format.js';
import * as graph from './graph.js';
import { midOf } from './kinds.js';
import { number } from './results.js';

const mostLabels = 20;

let list = []; // every version of every model
const serving = new Map(); // model -> the version that serves
let last = '';

/** update reads the list again; it changes the page only where something changed. */
export async function update() {
  list = await json('/rest/v2/models');
  const names = [...new Set(list.map((m) => m.name))];
  const details = await Promise.all(names.map((name) => json(`/rest/v2/models/${encodeURIComponent(name)}`).catch(() => ({})))); // removed meanwhile, or none serves
  names.forEach((name, i) => serving.set(name, details[i].serves ?? list.find((m) => m.name === name && m.latest)?.version));
  const text = JSON.stringify([list, details]);
  if (text === last) return;
  last = text;
  const box = byId('model-list');
  if (!list.length) {
    box.replaceChildren(element('p', { class: 'empty' }, 'No model yet. PUT an ONNX file to /rest/v2/models/NAME, or name one in the configuration.'));
    return;
  }
  box.replaceChildren(...names.map((name, i) => card(name, list.filter((m) => m.name === name), details[i])));
}

/** find returns what is known of the version that a pipeline runs or would run; null where there is none that can. */
export function find(pipeline) {
  const wanted = pipeline.fixed_version ?? serving.get(pipeline.model);
  return list.find((m) => m.name === pipeline.model && m.version === wanted && m.inputs) ?? null;
}

function card(name, versions, detail) {
  const serves = serving.get(name);
  const m = versions.find((v) => v.version === serves) ?? versions[0];
  const meta = m.metadata ?? {};
  const facts = [
    ['Takes', signature(m.inputs)], ['Columns', meta.columns?.map(column).join(', ')], ['Gives', signature(m.outputs)],
    ['Predicts', [meta.target, meta.unit && `in ${meta.unit}`].filter(Boolean).join(' ')], ['Labels', labels(m.labels)],
    ['Operators', m.operators?.join(', ')], ['Parameters', m.parameters ? count(m.parameters) : null],
    ['Size', bytes(m.bytes)], ['Opset', m.opset && Object.entries(m.opset).map(([domain, version]) => `${domain} ${version}`).join(', ')],
    ['From', m.source], ['Pixels', m.takes?.kind === 'picture' ? pixels(meta) : null],
  ].filter(([, value]) => value && value.length !== 0);
  return element('article', { class: 'model', 'aria-label': `Model ${name}` },
    element('h3', {}, name, element('span', { class: 'tag' }, `version ${m.version}`),
      element('span', { class: `tag ${m.version === serves ? 'on' : ''} ${m.reason ? 'off' : ''}` }, m.version === serves ? 'serves' : m.state),
      m.engine ? element('span', { class: 'tag' }, m.engine) : null),
    m.reason ? element('p', { class: 'fault' }, m.reason) : null,
    m.doc ? element('p', { class: 'quiet' }, m.doc) : null,
    element('dl', {}, ...facts.flatMap(([fact, value]) => [element('dt', {}, fact), element('dd', {}, value)])),
    m.inputs ? element('div', { class: 'row' }, graph.button(name, m.version)) : null,
    versions.length > 1 || detail.pinned ? choice(name, versions, detail) : null);
}

/** choice lists a model's versions, each with a button that lets it serve where the node can do that. */
function choice(name, versions, { serves, pinned, versions: told }) {
  const more = new Map((told ?? []).filter((v) => typeof v === 'object').map((v) => [v.version, v]));
  const items = versions.map((v) => {
    const now = v.version === serving.get(name);
    const { by, trained } = more.get(v.version) ?? {};
    const about = [new Date(v.created).toLocaleString(), bytes(v.bytes), v.source, by && `by ${by}`, trained, v.sha256.slice(0, 12)].filter(Boolean).join(', ');
    return element('li', {},
      element('span', {}, element('b', {}, `Version ${v.version}`), ' ', element('span', { class: 'quiet' }, about), v.reason ? element('span', { class: 'fault' }, ` ${v.reason}`) : null),
      now ? element('span', { class: 'tag on' }, pinned ? 'serves, pinned' : 'serves') : serves === undefined ? null
        : element('button', { type: 'button', 'aria-label': `Use version ${v.version} of ${name}`, onclick: () => use(name, v.version, serves) }, 'Use'));
  });
  const newest = pinned ? element('button', { type: 'button', onclick: () => use(name, 'newest', serves) }, 'Follow the newest') : null;
  return element('div', { class: 'versions' }, element('ul', { 'aria-label': `Versions of ${name}` }, ...items), newest);
}

async function use(name, version, serves) {
  const which = version === 'newest' ? `the newest version of ${name}` : `version ${version} of ${name}`;
  const stays = version === 'newest' ? 'Each version that is pushed takes over then.' : 'It stays so, over restarts too, until another one is chosen.';
  const text = `It takes over${serves ? ` from version ${serves}` : ''} with the next batch, in every pipeline that is not bound to a version. No entry is lost. ${stays}`;
  if (!await confirm({ title: `Use ${which}?`, text, yes: 'Use it' })) return;
  try {
    await request(`/rest/v2/models/${encodeURIComponent(name)}?${new URLSearchParams({ action: 'use', version })}`, { method: 'POST' });
    await update();
    write(byId('models-said'), `Now ${which} serves.`);
  } catch (error) {
    write(byId('models-said'), `All stays as it was: ${error.message}`);
  }
}

const signature = (values) => values?.map((v) => `${v.name}: ${v.type} [${(v.shape ?? ['…']).map((d) => d ?? '?').join(', ')}]`).join(', ');

const column = ({ name, categories, mean, std }) => `${name} (${categories ? categories.join(', ') : mean == null ? 'number' : `${number(midOf({ mean, std }))}${std ? ` ± ${number(Number(std.toPrecision(2)))}` : ''}`})`;

function labels(all) {
  if (!all?.length) return null;
  const words = all.some((label) => label.length > 2);
  const first = all.slice(0, mostLabels).join(words ? ' · ' : ' ');
  return all.length > mostLabels ? `${first} and ${count(all.length - mostLabels)} more` : first;
}

const pixels = (meta) => ['scale', 'mean', 'std', 'invert', 'layout', 'centre', 'orientation'].filter((name) => meta[name] !== undefined)
  .map((name) => `${name} ${meta[name]}`).join(', ');
