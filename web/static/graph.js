// The picture of a model's graph, in a dialog: it is moved and zoomed, and its scopes are opened and closed.

import { request } from './api.js';
import { byId, counted, element, write } from './format.js';

const most = 8; // screen pixels for one of the picture
const step = 1.3; // of the buttons and keys
const far = 60; // screen pixels that an arrow key moves
const still = 4; // screen pixels that a click may move

let path = ''; // of what is shown
let svg = null;
let view = { x: 0, y: 0, scale: 1 }; // the picture's point at the upper left of the screen, and screen pixels for one of the picture
let depth = '';
let open = new Set();
let shut = new Set();
let asked = 0;
const after = []; // what is done with each new picture

/** whenDrawn adds what is called with the model's path and each new picture. */
export function whenDrawn(fn) { after.push(fn); }

/** picture is what is shown now; null where nothing is. */
export const picture = () => svg;

/** show opens the dialog with a version of a model. */
export async function show(name, version) {
  path = `/rest/v2/models/${encodeURIComponent(name)}/versions/${version}`;
  [depth, open, shut, svg] = ['', new Set(), new Set(), null];
  write(byId('graph-title'), `Graph of ${name}, version ${version}`);
  byId('graph-view').replaceChildren();
  byId('graph').showModal();
  await draw();
}

/** draw asks for the picture; the piece at that place among those of the key stays where it is on the screen. */
async function draw(key, at) {
  const mine = ++asked;
  write(byId('graph-said'), 'Drawing…');
  const query = new URLSearchParams([...(depth ? [['depth', depth]] : []), ...[...open].map((k) => ['open', k]), ...[...shut].map((k) => ['shut', k])]);
  let text;
  try {
    text = await (await request(`${path}/graph${query.size ? `?${query}` : ''}`)).text();
  } catch (error) {
    if (mine === asked) write(byId('graph-said'), error.message);
    return false;
  }
  if (mine !== asked) return false;
  const old = svg && key !== undefined ? corner(find(key, at)) : null;
  svg = document.importNode(new DOMParser().parseFromString(text, 'image/svg+xml').documentElement, true);
  depth = svg.dataset.depth;
  prepareBoxes();
  byId('graph-view').replaceChildren(svg);
  const now = old && corner(find(key, at));
  if (now) {
    view.x += now.x - old.x;
    view.y += now.y - old.y;
    find(key, at).focus({ preventScroll: true });
    apply();
  } else {
    reset();
  }
  const closed = svg.querySelectorAll('.g-box[data-open=false]').length;
  const all = svg.querySelector('.g-box[data-open]') ? 'Everything is open. Click the title of a box to close it.' : '';
  write(byId('graph-said'), closed ? `${counted(closed, 'box is', 'boxes are')} closed: click one to open it.` : all);
  for (const fn of after) fn(path, svg);
  return true;
}

/** pieces are the boxes of a key: a scope that is before and after others has several. */
const pieces = (key) => [...svg.querySelectorAll('.g-box[data-key]')].filter((box) => box.dataset.key === key);
const find = (key, at) => pieces(key)[at] ?? pieces(key)[0];

/** corner is the upper left point of a box, in the picture. */
function corner(box) {
  const rect = box?.querySelector('.g-face, .g-frame');
  return rect && { x: Number(rect.getAttribute('x')), y: Number(rect.getAttribute('y')) };
}

/** prepareBoxes makes buttons of what can be opened and closed. */
function prepareBoxes() {
  svg.removeAttribute('role');
  for (const box of svg.querySelectorAll('.g-box[data-open]')) {
    const title = box.querySelector('text.g-title').textContent;
    const isOpen = box.dataset.open === 'true';
    for (const [name, value] of Object.entries({ tabindex: 0, role: 'button', 'aria-expanded': isOpen, 'aria-label': `${isOpen ? 'Close' : 'Open'} ${title}` })) box.setAttribute(name, value);
  }
}

async function toggle(box) {
  const { key } = box.dataset;
  const [from, to] = box.dataset.open === 'true' ? [open, shut] : [shut, open];
  const before = [new Set(open), new Set(shut)];
  from.delete(key);
  to.add(key);
  if (!await draw(key, pieces(key).indexOf(box))) [open, shut] = before; // as the picture that is still there
}

/** apply lets the picture have the place and size of view. */
function apply() {
  const { clientWidth: width, clientHeight: height } = byId('graph-view');
  svg.setAttribute('viewBox', `${view.x} ${view.y} ${width / view.scale} ${height / view.scale}`);
}

function size() {
  return { width: Number(svg.getAttribute('width')), height: Number(svg.getAttribute('height')) };
}

/** least is the scale at which all is seen. */
function least() {
  const { width, height } = size();
  const box = byId('graph-view');
  return Math.min(1, box.clientWidth / width, box.clientHeight / height);
}

/** reset shows the top of the picture, as wide as it is but no wider than the screen. */
function reset() {
  const { width, height } = size();
  const box = byId('graph-view');
  const scale = Math.min(1, Math.max(box.clientWidth / width, least()));
  view = { scale, x: (width - box.clientWidth / scale) / 2, y: Math.min(0, (height - box.clientHeight / scale) / 2) };
  apply();
}

/** zoom makes all larger around a point of the screen, in pixels from the corner of the view. */
function zoom(factor, x = byId('graph-view').clientWidth / 2, y = byId('graph-view').clientHeight / 2) {
  const scale = Math.min(most, Math.max(least() / 2, view.scale * factor));
  view = { scale, x: view.x + x / view.scale - x / scale, y: view.y + y / view.scale - y / scale };
  apply();
}

/** move moves the picture by screen pixels; some of it stays to be seen. */
function move(dx, dy) {
  const { width, height } = size();
  const box = byId('graph-view');
  const within = (v, length, seen) => Math.min(length - seen * 0.1, Math.max(seen * -0.9, v));
  view.x = within(view.x - dx / view.scale, width, box.clientWidth / view.scale);
  view.y = within(view.y - dy / view.scale, height, box.clientHeight / view.scale);
  apply();
}

const keys = {
  '+': () => zoom(step), '=': () => zoom(step), '-': () => zoom(1 / step), 0: reset,
  ArrowLeft: () => move(far, 0), ArrowRight: () => move(-far, 0), ArrowUp: () => move(0, far), ArrowDown: () => move(0, -far),
  PageUp: () => move(0, byId('graph-view').clientHeight * 0.8), PageDown: () => move(0, byId('graph-view').clientHeight * -0.8),
};

function onKey(event) {
  if (!svg || event.ctrlKey || event.metaKey || event.altKey) return;
  const box = event.target.closest?.('.g-box[data-open]');
  if (box && (event.key === 'Enter' || event.key === ' ')) {
    event.preventDefault();
    toggle(box);
  } else if (Object.hasOwn(keys, event.key)) {
    event.preventDefault();
    keys[event.key]();
  }
}

/** followPointers moves with one pointer, zooms with two, and tells a click from a move. */
function followPointers(box) {
  const down = new Map(); // id -> where it is
  let moved = 0;
  let on = null; // the box under the pointer when it went down
  box.addEventListener('pointerdown', (event) => {
    if (!svg || event.button) return;
    if (!down.size) [moved, on] = [0, event.target.closest('.g-box[data-open]')];
    down.set(event.pointerId, { x: event.clientX, y: event.clientY });
    box.setPointerCapture(event.pointerId);
  });
  box.addEventListener('pointermove', (event) => {
    const was = down.get(event.pointerId);
    if (!was || !svg) return;
    const now = { x: event.clientX, y: event.clientY };
    down.set(event.pointerId, now);
    const [dx, dy] = [now.x - was.x, now.y - was.y];
    moved += Math.abs(dx) + Math.abs(dy);
    if (down.size === 1) {
      if (moved > still) move(dx, dy);
      return;
    }
    const other = [...down].find(([id]) => id !== event.pointerId)[1];
    const apart = (p) => Math.hypot(p.x - other.x, p.y - other.y);
    const corner = box.getBoundingClientRect();
    if (apart(was) > 1) zoom(apart(now) / apart(was), other.x - corner.left, other.y - corner.top);
  });
  const up = (event) => {
    if (!down.delete(event.pointerId) || down.size) return;
    if (event.type === 'pointerup' && on?.isConnected && moved <= still) toggle(on);
    on = null;
  };
  box.addEventListener('pointerup', up);
  box.addEventListener('pointercancel', up);
  box.addEventListener('wheel', (event) => {
    if (!svg) return;
    event.preventDefault();
    const corner = box.getBoundingClientRect();
    zoom(Math.exp(-event.deltaY * (event.deltaMode ? 0.05 : 0.0015)), event.clientX - corner.left, event.clientY - corner.top);
  }, { passive: false });
}

export function prepare() {
  const box = byId('graph-view');
  followPointers(box);
  box.addEventListener('keydown', onKey);
  byId('graph-in').addEventListener('click', () => svg && zoom(step));
  byId('graph-out').addEventListener('click', () => svg && zoom(1 / step));
  byId('graph-reset').addEventListener('click', () => svg && reset());
  byId('graph-close').addEventListener('click', () => byId('graph').close());
  byId('graph').addEventListener('close', () => {
    asked++; // what is on its way is not wanted any more
    svg = null;
    box.replaceChildren();
  });
  new ResizeObserver(() => svg && apply()).observe(box);
}

/** button is what opens the dialog. */
export const button = (name, version) => element('button', { type: 'button', 'aria-label': `Graph of ${name}`, onclick: () => show(name, version) }, 'Graph');
