// The latest results, with the pictures that they answer where there are such, newest first.

import { entryPath, request } from './api.js';
import { byId, element, time } from './format.js';
import { keyId, keyText } from './keys.js';
import { brief } from './results.js';

const shown = 24;
const kept = 200; // pictures

const pictures = new Map(); // cache/keyId -> bitmap, the newest last
const labels = new Map(); // keyId -> the answer in few words, the newest last
const rows = new Map(); // keyId -> { row, when }

/** remember keeps a picture that the page itself put, so that it need not be fetched. */
export function remember(cache, key, bitmap) {
  pictures.set(`${cache}/${keyId(key)}`, bitmap);
  if (pictures.size > kept) pictures.delete(pictures.keys().next().value);
}

/** remembered is a picture that the page has already, and forget has it fetched anew. */
export const remembered = (cache, key) => pictures.get(`${cache}/${keyId(key)}`);
export const forget = (cache, key) => pictures.delete(`${cache}/${keyId(key)}`);

let pictured = new Set(); // caches whose entries are pictures
let inked = new Set(); // those of them whose pictures are ink on a ground of no meaning

/** know says which caches have pictures, and whose pictures may take the page's ground. */
export function know(pictures, ink) {
  pictured = pictures;
  inked = ink;
}

/** isInk says whether a cache's pictures are drawings, and not photographs. */
export const isInk = (cache) => inked.has(cache);

let stored = new Set(); // cache/keyId of what is in a store alone

/** inStore says which entries of a cache have their values in the store alone: their pictures are not fetched from there. */
export function inStore(cache, keys) {
  stored = new Set(keys.map((key) => `${cache}/${keyId(key)}`));
}

/** labelOf is the answer that was given to an entry, if the page has seen it. */
export const labelOf = (key) => labels.get(keyId(key));

/** picture fetches an entry that is an image, so that nothing moves; null where it is none, or in the store. */
export async function picture(cache, key, revision) {
  const name = `${cache}/${keyId(key)}`;
  if (pictures.has(name)) return pictures.get(name);
  if (stored.has(name) || !pictured.has(cache)) return null;
  try {
    const response = await request(`${entryPath(cache, key)}?peek=true`, { cache: 'no-cache' });
    if (!response.headers.get('Content-Type')?.startsWith('image/')) return null;
    const bitmap = await createImageBitmap(await response.blob());
    if (!revision || response.headers.get('ETag') === `"${revision}"`) remember(cache, key, bitmap);
    return bitmap;
  } catch {
    return null; // removed meanwhile, or no picture after all: the result stands without one
  }
}

/** paint draws a picture; of ink, so that its ground is the page's: dark in the dark, light in the light. */
export function paint(canvas, bitmap, ink) {
  const size = Math.min(320, Math.max(56, bitmap.width));
  canvas.width = size;
  canvas.height = Math.max(1, Math.round(size * bitmap.height / bitmap.width));
  canvas.classList.toggle('ink', ink);
  canvas.style.filter = '';
  delete canvas.dataset.flip;
  if (!ink) {
    canvas.getContext('2d').drawImage(bitmap, 0, 0, canvas.width, canvas.height);
    canvas.dataset.painted = 'yes';
    return;
  }
  const pen = canvas.getContext('2d', { willReadFrequently: true });
  pen.fillStyle = '#fff';
  pen.fillRect(0, 0, canvas.width, canvas.height);
  pen.drawImage(bitmap, 0, 0, canvas.width, canvas.height);
  const pixels = pen.getImageData(0, 0, canvas.width, 1).data;
  let light = 0;
  let grey = true;
  for (let i = 0; i < pixels.length; i += 4) {
    light += pixels[i];
    grey &&= Math.abs(pixels[i] - pixels[i + 2]) < 24;
  }
  const isLight = light / (pixels.length / 4) > 127;
  canvas.dataset.flip = grey && isLight === dark.matches ? 'yes' : 'no';
  canvas.style.filter = canvas.dataset.flip === 'yes' ? 'invert(1)' : '';
}

const dark = matchMedia('(prefers-color-scheme: dark)');
dark.addEventListener('change', () => {
  for (const canvas of document.querySelectorAll('canvas[data-flip]')) {
    canvas.dataset.flip = canvas.dataset.flip === 'yes' ? 'no' : 'yes';
    canvas.style.filter = canvas.dataset.flip === 'yes' ? 'invert(1)' : '';
  }
});

let waiting = []; // entries that are to be shown
let timer = 0;

/** add shows entries of the results' or the errors' cache; fresh ones light up. A flood is shown a few times a second. */
export function add(entries, fresh) {
  for (const entry of entries) {
    const id = keyId(entry.key);
    if (!fresh && labels.has(id)) continue; // the stream was before what is read at the start
    labels.set(id, brief(entry.value));
    if (labels.size > kept) labels.delete(labels.keys().next().value);
    waiting.push({ entry, fresh });
  }
  if (waiting.length > shown) {
    waiting.sort((a, b) => Date.parse(a.entry.created) - Date.parse(b.entry.created));
    waiting = waiting.slice(-shown);
  }
  timer ||= setTimeout(() => {
    timer = 0;
    const now = waiting;
    waiting = [];
    show(now);
  }, byId('feed').children.length ? 120 : 0);
}

function show(entries) {
  const list = byId('feed');
  for (const { entry, fresh } of entries) {
    const when = Date.parse(entry.created);
    const id = keyId(entry.key);
    rows.get(id)?.row.remove();
    rows.delete(id);
    const row = line(entry, fresh);
    list.insertBefore(row, [...list.children].find((other) => Date.parse(other.dataset.when) <= when) ?? null);
    rows.set(id, { row, when });
  }
  const oldest = [...rows].sort((a, b) => b[1].when - a[1].when).slice(shown);
  for (const [key, { row }] of oldest) {
    row.remove();
    rows.delete(key);
  }
  byId('feed-empty').hidden = rows.size > 0;
}

/** reset forgets the results, not the pictures. */
export function reset() {
  waiting = [];
  rows.clear();
  labels.clear();
  byId('feed').replaceChildren();
  byId('feed-empty').hidden = false;
}

export function remove(key) {
  const id = keyId(key);
  waiting = waiting.filter(({ entry }) => keyId(entry.key) !== id);
  rows.get(id)?.row.remove();
  rows.delete(id);
  byId('feed-empty').hidden = rows.size > 0;
}

function line(entry, fresh) {
  const result = entry.value ?? {};
  const source = result.source ?? { cache: '', key: entry.key };
  const wrong = result.error !== undefined;
  const answer = wrong ? '!' : brief(result) ?? '·';
  let thumb = null;
  if (pictured.has(source.cache)) {
    const canvas = element('canvas', { width: 56, height: 56, 'aria-hidden': 'true' });
    picture(source.cache, source.key, source.revision).then((bitmap) => bitmap && paint(canvas, bitmap, isInk(source.cache)));
    thumb = element('span', { class: 'thumb' }, canvas);
  }
  const kind = `${fresh ? 'fresh' : ''} ${wrong ? 'wrong' : ''} ${thumb ? '' : 'bare'} ${answer.length > 2 ? 'words' : ''}`;
  return element('li', { 'data-when': entry.created, class: kind },
    thumb,
    element('b', { title: answer }, answer),
    element('span', { class: 'key', title: `${source.cache}/${keyText(source.key)}` }, wrong ? result.error : about(source.key, result.carry)),
    element('span', { class: 'took' }, time(result.latency_us)));
}

/** about is an entry's key, with what its result carries of it beside that: ids and times as they were given. */
function about(key, carry) {
  const carried = Object.entries(carry ?? {}).map(([name, value]) => [name, typeof value === 'object' ? JSON.stringify(value) : String(value)]);
  return [keyText(key), ...carried.filter(([, value]) => value !== keyText(key)).map((one) => one.join(' '))].join(', ');
}
