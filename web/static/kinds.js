// What a pipeline's model takes and how a person can give it that: decided by the model's own words, never by names.

const tenDigits = [...'0123456789'];
const mostTyped = 1024; // numbers of an array that somebody may want to see as JSON
const largestPad = 64; // pixels of a side for which drawing with a thick pen makes sense

const size = (shape) => (shape ?? []).reduce((n, d) => n * d, 1);

/** labelsOf are a model's classes, in the output's order. */
export const labelsOf = (model) => model?.labels ?? [];

/**
 * inputOf says what an entry for a model is: kind is 'drawing', 'picture', 'table', 'array' or 'tensors', or 'none' without a model;
 * ways are how the page lets a person make one, the usual first. digits says that what is drawn are digits.
 */
export function inputOf(model) {
  if (!model) return { kind: 'none', ways: [], digits: false };
  const takes = model.takes ?? { kind: 'tensors' };
  const labels = labelsOf(model);
  const digits = labels.length === 10 && tenDigits.every((digit) => labels.includes(digit));
  if (takes.kind === 'picture') {
    const json = size(takes.shape) <= mostTyped ? ['json'] : [];
    const ink = takes.channels === 1 && takes.width === takes.height && takes.width <= largestPad && (model.metadata?.centre === 'mnist' || digits);
    if (ink) return { kind: 'drawing', ways: ['draw', 'upload', ...json], digits };
    return { kind: 'picture', ways: ['upload', ...json], digits: false };
  }
  if (takes.kind === 'table') return { kind: 'table', ways: ['form', 'json'], digits: false };
  return { kind: takes.kind, ways: ['json'], digits: false };
}

const datatypes = {
  float32: 'FP32', float64: 'FP64', float16: 'FP16', bfloat16: 'BF16', bool: 'BOOL', string: 'BYTES',
  int8: 'INT8', int16: 'INT16', int32: 'INT32', int64: 'INT64', uint8: 'UINT8', uint16: 'UINT16', uint32: 'UINT32', uint64: 'UINT64',
};

const nothing = (type) => ({ bool: false, string: '' })[type] ?? 0;

/** midOf is a usual value of a table's column. */
export function midOf(column) {
  if (column.type === 'category') return column.categories[0];
  const { mean, std } = column;
  if (mean == null) return 0;
  if (!(std > 0)) return Number(mean.toPrecision(6));
  const decimals = Math.ceil(1 - Math.log10(std)); // a tenth of what is usual between two rows
  return decimals > 12 ? mean : decimals > 0 ? Number(mean.toFixed(decimals)) : Math.round(mean);
}

const rowOf = (model) => Object.fromEntries(model.metadata.columns.map((column) => [column.name, midOf(column)]));

function nested(shape, value) {
  return shape.length ? Array.from({ length: shape[0] }, () => nested(shape.slice(1), value)) : value;
}

/** exampleOf is JSON that the model takes; '' where it would be too long to read. */
export function exampleOf(model) {
  const inputs = model?.inputs;
  if (!inputs?.length) return '';
  const takes = model.takes ?? { kind: 'tensors' };
  if (takes.kind === 'table') return JSON.stringify(rowOf(model), null, 2);
  if (takes.kind !== 'tensors') {
    if (size(takes.shape) > mostTyped) return '';
    return lines(nested(takes.shape ?? [], nothing(inputs[0].type)));
  }
  const tensors = inputs.map(({ name, type, shape }) => {
    const known = (shape ?? [1]).map((d) => (typeof d === 'number' ? d : 1));
    return { name, datatype: datatypes[type] ?? type, shape: known, data: size(known) > mostTyped ? [] : Array(size(known)).fill(nothing(type)) };
  });
  return `{"inputs": [\n${tensors.map((t) => `  ${JSON.stringify(t).replace(',"shape"', ',\n   "shape"')}`).join(',\n')}\n]}`;
}

/** lines writes nested arrays so that each innermost one has a line. */
function lines(value, indent = '') {
  if (!Array.isArray(value) || !Array.isArray(value[0])) return indent + JSON.stringify(value);
  return `${indent}[\n${value.map((v) => lines(v, `${indent}  `)).join(',\n')}\n${indent}]`;
}

/** formats are what an entry may be written in, in few words. */
export const formatsOf = (input) => ({ drawing: 'PNG, JPEG, JSON', picture: 'PNG, JPEG, WebP, …', table: 'JSON, CSV', array: 'JSON, .npy', tensors: 'JSON, .npz' })[input.kind] ?? '';
