// The latest results with the images that they answer, newest first.

import { entryPath, request } from './api.js';
import { byId, element, time } from './format.js';
import { keyId, keyText } from './keys.js';

const shown = 24;
const kept = 200; // pictures

const pictures = new Map(); // cache/keyId -> bitmap, the newest last
const labels = new Map(); // keyId -> label, the newest last
const rows = new Map(); // keyId -> { row, when }

/** remember keeps a picture that the page itself put, so that it need not be fetched. */
export function remember(cache, key, bitmap) {
  pictures.set(`${cache}/${keyId(key)}`, bitmap);
  if (pictures.size > kept) pictures.delete(pictures.keys().next().value);
}

/** remembered is a picture that the page has already, and forget has it fetched anew. */
export const remembered = (cache, key) => pictures.get(`${cache}/${keyId(key)}`);
export const forget = (cache, key) => pictures.delete(`${cache}/${keyId(key)}`);

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
  if (stored.has(name)) return null;
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

/** paint draws a picture so that its ground is the page's: dark in the dark, light in the light. */
export function paint(canvas, bitmap) {
  const size = Math.min(320, Math.max(56, bitmap.width));
  canvas.width = size;
  canvas.height = Math.max(1, Math.round(size * bitmap.height / bitmap.width));
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
  waiting.push(...entries.map((entry) => ({ entry, fresh })));
  if (waiting.length > shown) waiting = waiting.slice(-shown);
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
    labels.set(id, entry.value?.label);
    if (labels.size > kept) labels.delete(labels.keys().next().value);
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
  const canvas = element('canvas', { width: 56, height: 56, 'aria-hidden': 'true' });
  if (source.cache) picture(source.cache, source.key, source.revision).then((bitmap) => bitmap && paint(canvas, bitmap));
  const wrong = result.error !== undefined;
  return element('li', { 'data-when': entry.created, class: `${fresh ? 'fresh' : ''} ${wrong ? 'wrong' : ''}` },
    element('span', { class: 'thumb' }, canvas),
    element('b', {}, wrong ? '!' : result.label ?? '·'),
    element('span', { class: 'key', title: `${source.cache}/${keyText(source.key)}` }, wrong ? result.error : keyText(source.key)),
    element('span', { class: 'took' }, time(result.latency_us)));
}
