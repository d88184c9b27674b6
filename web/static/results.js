// What a result says, for people: a classifier's label, a regression's number, or a model's outputs as they are.

const ordinary = new Intl.NumberFormat('en', { maximumSignificantDigits: 6 });

/** number writes any number with at most six digits. */
export function number(v) {
  if (typeof v !== 'number') return String(v);
  const size = Math.abs(v);
  if (Number.isInteger(v) && size < 1e15) return v.toLocaleString('en');
  return size !== 0 && (size < 1e-4 || size >= 1e9) ? v.toExponential(4) : ordinary.format(v);
}

/** valueOf is the one number of a result, with its name and unit; null where the result is none. */
export function valueOf(result) {
  if (typeof result?.value === 'number') return { value: result.value, name: result.target ?? '', unit: result.unit ?? '' };
  const [only, ...others] = result?.outputs ?? [];
  if (only && !others.length && only.data?.length === 1 && typeof only.data[0] === 'number') return { value: only.data[0], name: only.name, unit: '' };
  return null;
}

/** kindOf is 'classes', 'number' or 'outputs'. */
export function kindOf(result) {
  if (result?.label !== undefined) return 'classes';
  return valueOf(result) ? 'number' : 'outputs';
}

/** brief is a result in a few words; undefined where there is none. */
export function brief(result) {
  if (result == null || result.error !== undefined) return undefined;
  if (result.label !== undefined) return result.label;
  const one = valueOf(result);
  if (one) return `${number(one.value)}${one.unit ? ` ${one.unit}` : ''}`;
  if (!result.outputs) return undefined;
  const [first, ...others] = result.outputs;
  if (!others.length && first?.data?.length <= 4) return first.data.map(number).join(', ');
  return result.outputs.length === 1 ? `${first.name}: ${first.data?.length ?? 0} values` : `${result.outputs.length} outputs`;
}

/** ranked are a classifier's labels with their scores, the best first. */
export const ranked = (result) => Object.entries(result.scores ?? {}).sort(([, a], [, b]) => b - a);
