// The page: puts what is drawn, listens for what comes back, and asks for the live numbers once a second.

import * as answer from './answer.js';
import { json, listen, put, whenTokenNeeded } from './api.js';
import * as caches from './caches.js';
import * as charts from './charts.js';
import { Pad } from './draw.js';
import * as feed from './feed.js';
import { byId, span, write } from './format.js';
import * as models from './models.js';
import * as path from './path.js';
import { fetchBlob, fetchPicture, showWall, written } from './samples.js';
import * as shelf from './shelf.js';
import * as tiers from './tiers.js';

const session = Math.random().toString(36).slice(2, 8);
const currentMost = 2000; // entries of the results' cache that are read at the start
const patience = 10000; // ms for an answer
const burstSize = 500;
const burstLife = 600; // s that the entries of a burst live

let pipeline = null; // the one that is drawn for
let followed = null; // which pipeline's results are listened to
let listening = null; // ends the streams of the pipeline before
let number = 0;
const pending = new Map(); // key -> { sent, timer } of what was asked and not answered
const states = {}; // of each connection: true, or an error

// ---- What is asked ----

/** ask puts a picture under a new key; its answer comes by the stream. */
async function ask(blob, prefix = 'page') {
  if (!pipeline) {
    answer.fail('There is no pipeline that could answer.');
    return;
  }
  const cache = pipeline.from;
  const key = `${prefix}-${session}-${++number}`;
  answer.waiting();
  createImageBitmap(blob).then((bitmap) => feed.remember(cache, key, bitmap));
  for (const [other, { timer }] of pending) { // only the newest question is answered large
    clearTimeout(timer);
    pending.delete(other);
  }
  const timer = setTimeout(() => {
    pending.delete(key);
    answer.fail(['running', 'waiting'].includes(pipeline?.state) ? 'No answer came within ten seconds.' : `The pipeline is ${pipeline?.state}: ${pipeline?.reason}.`);
  }, patience);
  pending.set(key, { sent: performance.now(), timer });
  try {
    await put(cache, key, blob);
  } catch (error) {
    clearTimeout(timer);
    if (pending.delete(key)) answer.fail(`It could not be put: ${error.message}`);
  }
}

async function askFor(source) {
  try {
    const blob = await fetchBlob(source);
    pad.show(await createImageBitmap(blob));
    await ask(blob, 'sample');
  } catch (error) {
    answer.fail(error.message);
  }
}

const pad = new Pad(byId('canvas'), { onDrawn: (blob) => ask(blob), onDigit: (digit) => askFor(written(digit)) });

/** burst puts many samples, four at a time: a browser opens six connections, and the streams need two. */
async function burst(sources) {
  const button = byId('burst');
  const note = byId('burst-state');
  if (!pipeline || !sources.length) return;
  button.disabled = true;
  const cache = pipeline.from;
  const began = performance.now();
  let next = 0;
  let fault = null;
  const worker = async () => {
    while (next < burstSize && !fault) {
      const i = next++;
      const source = sources[i % sources.length];
      const key = `burst-${session}-${i}`;
      try {
        feed.remember(cache, key, await fetchPicture(source));
        await put(cache, key, await fetchBlob(source), { lifespan: burstLife });
      } catch (error) {
        fault = error;
      }
    }
  };
  write(note, `Putting ${burstSize}…`);
  await Promise.all(Array.from({ length: 4 }, worker));
  const took = (performance.now() - began) / 1000;
  write(note, fault ? `It stopped: ${fault.message}` : `${burstSize} put in ${took.toFixed(1)} s`);
  button.disabled = false;
}

// ---- What comes back ----

function follow(p, current) {
  listening?.abort();
  listening = new AbortController();
  const { signal } = listening;
  let first = current;
  listen(p.to, {
    current, signal, onState: (state, error) => connection('results', state, error),
    onEvents: (events) => {
      results(events, !first || events.length < 3);
      first = false;
    },
  });
  const errors = p.errors_to;
  json('/rest/v2/caches').then((names) => {
    if (names.includes(errors)) listen(errors, { current: false, signal, onState: () => {}, onEvents: (events) => results(events, true) });
  }).catch(() => {}); // the results' own stream says what is wrong
}

/** results takes events. In a flood only the newest are read, and those that somebody waits for. */
function results(events, fresh) {
  const read = pending.size ? events : events.slice(-30);
  const entries = [];
  for (const event of read) {
    if (!event.type.startsWith('cache-entry-')) continue;
    const entry = JSON.parse(event.data);
    if (event.type === 'cache-entry-removed' || event.type === 'cache-entry-expired') {
      feed.remove(entry.key);
      continue;
    }
    const waited = pending.get(entry.key);
    if (waited) {
      pending.delete(entry.key);
      clearTimeout(waited.timer);
      if (entry.value?.error) answer.fail(entry.value.error);
      else answer.show(entry.value ?? {}, performance.now() - waited.sent);
    }
    entries.push(entry);
  }
  feed.add(entries.slice(-30), fresh);
}

// ---- The state of the node ----

function connection(name, state, error) {
  states[name] = state === 'live' ? true : error;
  const bad = Object.values(states).find((s) => s !== true);
  const status = byId('status');
  status.dataset.state = bad ? 'away' : 'live';
  write(byId('status-text'), bad ? 'Reconnecting…' : 'Live');
  const notice = byId('notice');
  notice.hidden = !bad;
  if (bad) write(notice, bad.status ? `The server says: ${bad.message}` : 'The server does not answer. This page comes back by itself as soon as it does; nothing that was put is lost.');
}

let ticks = 0;

async function tick() {
  try {
    const stats = await json('/rest/v2/stats', { signal: AbortSignal.timeout(5000) });
    connection('stats', 'live');
    write(byId('node'), `${stats.node.name}, Millrace ${stats.node.version}, up ${span(stats.node.uptime_s)}.`);
    choosePipeline(stats);
    await shelf.update(stats, pipeline); // before the results: it knows which pictures are in the store
    followPipeline(stats);
    charts.update(stats);
    path.update(stats);
    tiers.update(stats);
    caches.update(stats);
    if (ticks++ % 10 === 0) await models.update();
  } catch (error) {
    connection('stats', 'away', error);
    charts.update(null);
    ticks = 0;
  }
}

/** choosePipeline takes the pipeline that reads `digits`, or the first. */
function choosePipeline(stats) {
  pipeline = stats.pipelines.find((p) => p.from === 'digits') ?? stats.pipelines[0] ?? null;
  if (!pipeline) {
    byId('burst').disabled = true;
    write(byId('sure'), 'No pipeline is configured, so nothing can answer');
    return;
  }
  write(byId('source-name'), pipeline.from);
  write(byId('curl'), `curl -T seven.png ${location.origin}/rest/v2/caches/${pipeline.from}/1`);
}

/** followPipeline listens to the results of the chosen pipeline, where that is another one than before. */
function followPipeline(stats) {
  const name = pipeline && JSON.stringify([pipeline.name, pipeline.to]);
  if (name === followed) return;
  followed = name;
  if (!pipeline) return;
  const target = stats.caches.find((c) => c.name === pipeline.to);
  follow(pipeline, (target?.entries ?? 0) <= currentMost);
}

function askToken(refused) {
  const dialog = byId('token-dialog');
  const field = byId('token');
  byId('token-fault').hidden = !refused;
  field.value = '';
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener('close', () => resolve(field.value.trim()), { once: true });
  });
}

// ---- Beginning ----

whenTokenNeeded(askToken);
answer.prepare();
charts.prepare();
caches.prepare();
tiers.prepare();
byId('clear').addEventListener('click', () => {
  pad.clear();
  byId('canvas').focus();
});
let sources = [];
byId('burst').addEventListener('click', () => burst(sources));
showWall(askFor).then((all) => { sources = all; }).catch((error) => write(byId('samples'), error.message));

async function watch() {
  for (;;) {
    if (!document.hidden) await tick();
    await new Promise((done) => { setTimeout(done, 1000); });
  }
}
watch();
