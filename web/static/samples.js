// The wall of samples, and digits that the server writes on demand.

import { byId, element } from './format.js';

/** Each picture is fetched once. */
const blobs = new Map();

export async function fetchBlob(path) {
  if (!blobs.has(path)) {
    const response = await fetch(path);
    if (!response.ok) throw new Error(`${path}: the server answered ${response.status}.`);
    const blob = await response.blob();
    if (blobs.size < 500) blobs.set(path, blob);
    return blob;
  }
  return blobs.get(path);
}

const bitmaps = new Map();

/** fetchPicture is fetchBlob for drawing; it is for the wall's, whose number is small. */
export async function fetchPicture(path) {
  if (!bitmaps.has(path)) bitmaps.set(path, await createImageBitmap(await fetchBlob(path)));
  return bitmaps.get(path);
}

/** showWall fills the wall and returns the pictures' paths. onPick gets the path of one that is clicked. */
export async function showWall(onPick) {
  const response = await fetch('/samples');
  if (!response.ok) throw new Error(`The samples did not load: the server answered ${response.status}.`);
  const { note, samples: list } = await response.json();
  byId('samples-note').textContent = note;
  byId('samples').replaceChildren(...list.map(({ src, label }, i) => element('li', {},
    element('button', { type: 'button', 'aria-label': `Sample ${i + 1}, a ${label}`, onclick: () => onPick(src) },
      element('img', { src, alt: '', width: 84, height: 84, loading: 'lazy', decoding: 'async' })))));
  return list.map(({ src }) => src);
}

/** written is the path of a digit that is written anew each time. */
export const written = (digit) => `/samples/write/${digit}.png?seed=${Math.floor(Math.random() * 2 ** 32)}`;
