// A form with a field for each column of a table's model.

import { byId, element } from './format.js';
import { midOf } from './kinds.js';
import { number } from './results.js';

let columns = [];

export function prepare(onRow) {
  byId('way-form').addEventListener('submit', (event) => {
    event.preventDefault();
    onRow(row());
  });
}

/** show makes the fields; each begins with a usual value, so that one can ask at once and change one thing then. */
export function show(model) {
  columns = model.metadata.columns;
  byId('fields').replaceChildren(...columns.map((column, i) => element('label', { class: 'field' },
    element('span', { title: column.name }, column.name), control(column, `column-${i}`), hint(column))));
}

function control(column, id) {
  const required = column.missing == null;
  if (column.type === 'category') {
    const options = column.categories.map((category, i) => element('option', { value: String(i) }, category));
    return element('select', { id, required }, ...(required ? [] : [element('option', { value: '' }, 'not known')]), ...options);
  }
  const value = column.mean == null ? '' : String(midOf(column));
  return element('input', { id, type: 'number', step: 'any', inputmode: 'decimal', autocomplete: 'off', required, value, placeholder: required ? '' : 'not known' });
}

/** hint says what is usual. */
function hint(column) {
  if (column.type === 'category' || column.mean == null) return null;
  return element('small', { class: 'quiet' }, column.std ? `${number(midOf(column))} ± ${short(column.std)}` : `about ${number(midOf(column))}`);
}

const short = (v) => number(Number(v.toPrecision(2)));

/** row is the object that is put; what is not known is left out. */
function row() {
  const all = columns.map((column, i) => {
    const { value } = byId(`column-${i}`);
    if (value === '') return null;
    return [column.name, column.type === 'category' ? column.categories[Number(value)] : Number(value)];
  });
  return Object.fromEntries(all.filter((pair) => pair));
}
