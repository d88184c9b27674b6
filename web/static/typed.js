// A field for JSON, with an example that the model takes.

import { byId, write } from './format.js';
import { exampleOf } from './kinds.js';

export function prepare(onText) {
  const text = byId('typed');
  byId('way-json').addEventListener('submit', (event) => {
    event.preventDefault();
    try {
      JSON.parse(text.value);
    } catch (error) {
      fault(`That is no JSON yet: ${error.message}`);
      text.focus();
      return;
    }
    fault('');
    onText(text.value);
  });
  text.addEventListener('keydown', (event) => {
    if (event.key === 'Enter' && (event.ctrlKey || event.metaKey)) byId('way-json').requestSubmit();
  });
}

/** show fills in an example for a model. */
export function show(model, input) {
  const example = exampleOf(model);
  byId('typed').value = example;
  byId('typed').rows = Math.min(14, Math.max(4, example.split('\n').length + 1));
  fault('');
  write(byId('typed-note'), note(model, input, example));
}

function note(model, input, example) {
  if (!example) return `An array of ${input.kind === 'tensors' ? 'numbers' : `shape [${(model.takes?.shape ?? []).join(', ')}]`}: too long to show one here.`;
  const takes = model.inputs.map(({ name, type, shape }) => `${name}: ${type} [${(shape ?? ['…']).map((d) => d ?? '?').join(', ')}]`).join(', ');
  return input.kind === 'table' ? 'An example: change its values. The order is free; a list in the order of the columns will do too.' : `An example that fits ${takes}. Change its values.`;
}

function fault(message) {
  byId('typed-fault').hidden = !message;
  write(byId('typed-fault'), message);
}
