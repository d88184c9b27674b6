// "Open the sluice": puts many samples at once. It is there on the demo alone, because it writes where everybody's entries are.

import { put } from './api.js';
import { keyOf } from './exchange.js';
import * as feed from './feed.js';
import { byId, write } from './format.js';
import { fetchBlob, fetchPicture } from './samples.js';

const size = 500;
const life = 600; // s that the entries live
const atOnce = 4; // a browser opens six connections, and the streams need two

let pipeline = null;
let told = '';

/** offer shows the button for a pipeline of the demo that reads digits, or hides it. */
export function offer(now) {
  pipeline = now;
  byId('burst').hidden = !now;
  byId('burst-state').hidden = !now;
  const text = now ? `${size} samples into ${now.from}, their results into ${now.to}` : '';
  if (text !== told) {
    told = text;
    write(byId('burst-state'), text);
  }
}

export function prepare(sources) {
  byId('burst').addEventListener('click', () => open(sources()));
}

async function open(sources) {
  const button = byId('burst');
  const note = byId('burst-state');
  if (!pipeline || !sources.length) return;
  button.disabled = true;
  const cache = pipeline.from;
  const began = performance.now();
  let next = 0;
  let fault = null;
  const worker = async () => {
    while (next < size && !fault) {
      const i = next++;
      const source = sources[i % sources.length];
      const key = keyOf('burst', i);
      try {
        feed.remember(cache, key, await fetchPicture(source));
        await put(cache, key, await fetchBlob(source), { lifespan: life });
      } catch (error) {
        fault = error;
      }
    }
  };
  write(note, `Putting ${size} into ${cache}…`);
  await Promise.all(Array.from({ length: atOnce }, worker));
  const took = (performance.now() - began) / 1000;
  write(note, fault ? `It stopped: ${fault.message}` : `${size} put in ${took.toFixed(1)} s`);
  button.disabled = false;
}
