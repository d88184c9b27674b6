// Questions and answers: puts what a person gives into the pipeline's cache, listens to its results, and knows which answers which.

import * as answer from './answer.js';
import { entryPath, json, listen, put, request } from './api.js';
import * as feed from './feed.js';
import { keyId } from './keys.js';
import { valueOf } from './results.js';
import * as trend from './trend.js';

const session = Math.random().toString(36).slice(2, 8);
const recentMost = 120; // results that are read at the start
const recentAtOnce = 4; // of them
const patience = 10000; // ms for an answer

let pipeline = null; // that is asked
let followed = ''; // which pipeline's results are listened to
let listening = null; // ends the streams of the pipeline before
let number = 0;
const pending = new Map(); // key -> { sent, timer } of what was asked and not answered

/** keyOf makes keys that no other page makes. */
export const keyOf = (prefix, n) => `${prefix}-${session}-${n}`;

/** use takes the pipeline as the stats have it now; where it is another one, what is known of the one before is forgotten. */
export function use(now, onState) {
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
  follow(now, onState);
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

function follow(p, onState) {
  listening = new AbortController();
  const { signal } = listening;
  listen(p.to, { signal, onState, onEvents: (events) => results(p, events, true) });
  recent(p, signal).catch(() => {}); // the stream says what is wrong
  const errors = p.errors_to;
  json('/rest/v2/caches').then((names) => {
    if (names.includes(errors) && !signal.aborted) listen(errors, { signal, onState: () => {}, onEvents: (events) => results(p, events, true) });
  }).catch(() => {}); // the results' own stream says what is wrong
}

/** recent shows the results that were there before, the newest of all: they are looked at and not used, so that nothing moves in memory. */
async function recent(p, signal) {
  const query = new URLSearchParams({ action: 'entries', values: 'false', order: 'newest', limit: recentMost });
  const infos = await json(`/rest/v2/caches/${encodeURIComponent(p.to)}?${query}`, { signal });
  const next = infos.values();
  const read = async () => {
    for (const info of next) {
      try {
        const response = await request(`${entryPath(p.to, info.key)}?peek=true`, { signal, cache: 'no-cache' });
        const value = await response.json();
        take(p, [{ ...info, value }], false);
      } catch {
        if (signal.aborted) return; // else it was removed meanwhile, or its store is away
      }
    }
  };
  await Promise.all(Array.from({ length: recentAtOnce }, read));
}

/** results takes events. In a flood only the newest are read, and those that somebody waits for. */
function results(p, events, fresh) {
  const read = pending.size ? events : events.slice(-240);
  const entries = [];
  for (const event of read) {
    if (!event.type.startsWith('cache-entry-')) continue;
    const entry = JSON.parse(event.data);
    if (event.type === 'cache-entry-removed' || event.type === 'cache-entry-expired') feed.remove(entry.key);
    else entries.push(entry);
  }
  take(p, entries, fresh);
}

/** take shows results and errors, as answers where they were asked for. */
function take(p, entries, fresh) {
  const mine = entries.filter(({ value }) => !value?.pipeline || value.pipeline === p.name); // another pipeline may share the cache
  const points = [];
  let unit = '';
  for (const entry of mine) {
    const result = entry.value ?? {};
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
  }
  trend.add(points, unit);
  feed.add(mine, fresh);
}
