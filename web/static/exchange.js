// Questions and answers: puts what a person gives into the pipeline's cache, listens to its results, and knows which answers which.

import * as answer from './answer.js';
import { json, listen, put } from './api.js';
import * as feed from './feed.js';
import { keyId } from './keys.js';
import { valueOf } from './results.js';
import * as trend from './trend.js';

const session = Math.random().toString(36).slice(2, 8);
const currentMost = 2000; // entries of the results' cache that are read at the start
const patience = 10000; // ms for an answer

let pipeline = null; // that is asked
let followed = ''; // which pipeline's results are listened to
let listening = null; // ends the streams of the pipeline before
let number = 0;
const pending = new Map(); // key -> { sent, timer } of what was asked and not answered

/** keyOf makes keys that no other page makes. */
export const keyOf = (prefix, n) => `${prefix}-${session}-${n}`;

/** use takes the pipeline as the stats have it now; where it is another one, what is known of the one before is forgotten. */
export function use(now, stats, onState) {
  pipeline = now;
  const name = now ? JSON.stringify([now.name, now.from, now.to, now.errors_to]) : '';
  if (name === followed) return;
  followed = name;
  listening?.abort();
  for (const { timer } of pending.values()) clearTimeout(timer);
  pending.clear();
  feed.reset();
  trend.clear();
  if (!now) return;
  const target = stats.caches.find((c) => c.name === now.to);
  follow(now, (target?.entries ?? 0) <= currentMost, onState);
}

/** ask puts an entry under a new key; its answer comes by the stream. */
export async function ask({ body, type, bitmap }, prefix = 'page') {
  const asked = pipeline;
  if (!asked) return;
  const key = keyOf(prefix, ++number);
  answer.waiting();
  bitmap?.then((picture) => feed.remember(asked.from, key, picture)).catch(() => {}); // the server says what is wrong with it
  for (const { timer } of pending.values()) clearTimeout(timer); // only the newest question is answered large
  pending.clear();
  pending.set(key, { sent: performance.now(), timer: setTimeout(() => late('No answer came within ten seconds.'), patience) });
  try {
    await put(asked.from, key, body, { type });
    if (pending.has(key) && stands(asked)) late('It is put.');
  } catch (error) {
    clearTimeout(pending.get(key)?.timer);
    if (pending.delete(key)) answer.fail(`It could not be put: ${error.message}`);
  }
}

const stands = (p) => p.state === 'paused' || p.state === 'blocked';

/** late says why an answer is not there; it is shown when it comes all the same. */
function late(fact) {
  const why = pipeline && stands(pipeline) ? ` The pipeline is ${pipeline.state}${pipeline.reason ? `: ${pipeline.reason}` : ''}.` : '';
  answer.fail(`${fact}${why}`, why ? 'late' : 'fault');
}

function follow(p, current, onState) {
  listening = new AbortController();
  const { signal } = listening;
  let first = current;
  listen(p.to, {
    current, signal, onState,
    onEvents: (events) => {
      results(p, events, !first || events.length < 3);
      first = false;
    },
  });
  const errors = p.errors_to;
  json('/rest/v2/caches').then((names) => {
    if (names.includes(errors) && !signal.aborted) listen(errors, { current: false, signal, onState: () => {}, onEvents: (events) => results(p, events, true) });
  }).catch(() => {}); // the results' own stream says what is wrong
}

/** results takes events. In a flood only the newest are read, and those that somebody waits for. */
function results(p, events, fresh) {
  const read = pending.size ? events : events.slice(-240);
  const entries = [];
  const points = [];
  let unit = '';
  for (const event of read) {
    if (!event.type.startsWith('cache-entry-')) continue;
    const entry = JSON.parse(event.data);
    if (event.type === 'cache-entry-removed' || event.type === 'cache-entry-expired') {
      feed.remove(entry.key);
      continue;
    }
    const result = entry.value ?? {};
    if (result.pipeline && result.pipeline !== p.name) continue; // another pipeline shares the cache
    const waited = pending.get(entry.key);
    if (waited) {
      pending.delete(entry.key);
      clearTimeout(waited.timer);
      if (result.error) answer.fail(result.error);
      else answer.result(result, performance.now() - waited.sent);
    }
    const one = result.error === undefined ? valueOf(result) : null;
    if (one) {
      points.push({ when: Date.parse(entry.created), value: one.value, id: keyId(entry.key) });
      unit = one.unit;
    }
    entries.push(entry);
  }
  trend.add(points, unit);
  feed.add(entries.slice(-30), fresh);
}
