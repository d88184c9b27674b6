// Numbers and elements, as the whole page writes them.

const counts = new Intl.NumberFormat('en');
const short = new Intl.NumberFormat('en', { notation: 'compact', maximumFractionDigits: 1 });

/** count writes a whole number with separators, and counted with what it counts; rate and other measured numbers get at most one digit after the point. */
export const count = (n) => counts.format(n ?? 0);
export const counted = (n, one, many) => `${count(n)} ${n === 1 ? one : many}`;
export const rate = (n) => (n >= 10000 ? short.format(n) : n >= 100 ? counts.format(Math.round(n)) : counts.format(Math.round((n ?? 0) * 10) / 10));

/** time writes microseconds in the unit that keeps them readable. */
export function time(us) {
  if (us == null || Number.isNaN(us)) return '–';
  if (us < 1000) return `${Math.round(us)} µs`;
  const ms = us / 1000;
  if (ms < 1000) return `${ms < 10 ? ms.toFixed(2) : ms < 100 ? ms.toFixed(1) : Math.round(ms)} ms`;
  return `${(ms / 1000).toFixed(ms < 10000 ? 2 : 1)} s`;
}

export function bytes(n) {
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB'];
  let unit = 0;
  for (; n >= 1024 && unit < units.length - 1; unit++) n /= 1024;
  return `${unit && n < 10 ? n.toFixed(1) : Math.round(n)} ${units[unit]}`;
}

export function span(seconds) {
  if (seconds < 90) return `${Math.round(seconds)} s`;
  if (seconds < 5400) return `${Math.round(seconds / 60)} min`;
  if (seconds < 172800) return `${Math.round(seconds / 3600)} h`;
  return `${Math.round(seconds / 86400)} days`;
}

export const percent = (p) => (p > 0.9995 && p < 1 ? '> 99.9 %' : `${(p * 100).toFixed(1)} %`);

/** element makes an HTML element: properties are attributes, and children strings or nodes. */
export function element(name, attributes = {}, ...children) {
  return fill(document.createElement(name), attributes, children);
}

/** shape makes an SVG element. */
export function shape(name, attributes = {}, ...children) {
  return fill(document.createElementNS('http://www.w3.org/2000/svg', name), attributes, children);
}

function fill(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (name === 'onclick') node.addEventListener('click', value);
    else if (value !== undefined && value !== false) node.setAttribute(name, value === true ? '' : value);
  }
  node.append(...children.filter((child) => child != null));
  return node;
}

export const byId = (id) => document.getElementById(id);

/** write sets a text only where it changed, so that nothing that reads the page aloud repeats itself. */
export function write(node, text) {
  if (node.textContent !== text) node.textContent = text;
}
