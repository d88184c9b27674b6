// The models with their signatures.

import { json } from './api.js';
import { byId, bytes, count, element } from './format.js';

let last = '';

/** update reads the list again; it changes the page only where something changed. */
export async function update() {
  const list = await json('/rest/v2/models');
  const text = JSON.stringify(list);
  if (text === last) return;
  last = text;
  const box = byId('model-list');
  if (!list.length) {
    box.replaceChildren(element('p', { class: 'empty' }, 'No model yet. PUT an ONNX file to /rest/v2/models/NAME, or name one in the configuration.'));
    return;
  }
  box.replaceChildren(...list.map(card));
}

function card(m) {
  const facts = [
    ['Takes', signature(m.inputs)], ['Gives', signature(m.outputs)], ['Labels', m.labels?.slice(0, 20).join(' ')],
    ['Operators', m.operators?.join(', ')], ['Parameters', m.parameters ? count(m.parameters) : null],
    ['Size', bytes(m.bytes)], ['Opset', m.opset && Object.entries(m.opset).map(([domain, version]) => `${domain} ${version}`).join(', ')],
    ['From', m.source], ['Columns', columns(m.metadata)], ['Metadata', described(m.metadata)],
  ].filter(([, value]) => value && value.length !== 0);
  return element('article', { class: 'model' },
    element('h3', {}, m.name, element('span', { class: 'tag' }, `version ${m.version}`),
      element('span', { class: `tag ${m.latest ? 'on' : ''} ${m.reason ? 'off' : ''}` }, m.latest ? 'serves' : m.state),
      m.engine ? element('span', { class: 'tag' }, m.engine) : null),
    m.reason ? element('p', { class: 'fault' }, m.reason) : null,
    m.doc ? element('p', { class: 'quiet' }, m.doc) : null,
    element('dl', {}, ...facts.flatMap(([name, value]) => [element('dt', {}, name), element('dd', {}, value)])));
}

const signature = (values) => values?.map((v) => `${v.name}: ${v.type} [${(v.shape ?? ['…']).map((d) => d ?? '?').join(', ')}]`).join(', ');

// Labels and columns have lines of their own.
const described = (metadata) => Object.entries(metadata ?? {}).filter(([name]) => !['labels', 'columns'].includes(name))
  .map(([name, value]) => `${name} ${Array.isArray(value) ? value.join(' ') : value}`).join(', ');

const columns = (metadata) => metadata?.columns
  ?.map((c) => (c.type === 'category' ? `${c.name} (${c.categories.slice(0, 20).join(', ')})` : c.name)).join(', ');
