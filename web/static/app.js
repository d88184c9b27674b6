// The page: asks for the live numbers once a second, and lets each part fit what the node has.

import * as answer from './answer.js';
import { json, whenTokenNeeded } from './api.js';
import * as ask from './ask.js';
import * as burst from './burst.js';
import * as caches from './caches.js';
import * as charts from './charts.js';
import * as choice from './choice.js';
import * as cluster from './cluster.js';
import * as confirm from './confirm.js';
import * as damage from './damage.js';
import * as exchange from './exchange.js';
import * as feed from './feed.js';
import { byId, span, write } from './format.js';
import * as graph from './graph.js';
import { exampleOf, formatsOf, inputOf } from './kinds.js';
import * as manage from './manage.js';
import * as models from './models.js';
import * as path from './path.js';
import * as profile from './profile.js';
import * as shelf from './shelf.js';
import * as tiers from './tiers.js';

const states = {}; // of each connection: true, or an error

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
let versions = ''; // of the pipelines' models, at the last look at the models
let ticking = null;

/** tick looks at the node; one look is under way at a time. */
function tick() {
  ticking ??= look().finally(() => { ticking = null; });
  return ticking;
}

/** again looks after something was done: a look that is under way may have come before it. */
const again = () => (ticking ?? Promise.resolve()).then(tick);

async function look() {
  try {
    const stats = await json('/rest/v2/stats', { signal: AbortSignal.timeout(5000) });
    const now = JSON.stringify(stats.pipelines.map((p) => [p.model, p.version, p.state === 'blocked']));
    if (ticks++ % 10 === 0 || now !== versions) {
      await models.update();
      versions = now;
    }
    connection('stats', 'live');
    cluster.know(stats.node.cluster);
    write(byId('node'), `${stats.node.name}, Millrace ${stats.node.version}, up ${span(stats.node.uptime_s)}.`);
    await show(stats);
  } catch (error) {
    connection('stats', 'away', error);
    charts.update(null);
    ticks = 0;
  }
}

async function show(stats) {
  damage.update(stats);
  const pipeline = choice.update(stats);
  const model = pipeline && models.find(pipeline);
  const input = inputOf(model);
  feed.know(...sources(stats));
  if (ask.update(pipeline, model)) {
    answer.prepare(model);
    write(byId('curl'), shell(pipeline, model, input));
  }
  byId('answer').hidden = !model;
  byId('results').hidden = !pipeline;
  byId('try').dataset.kind = input.kind;
  burst.offer(stats.node.demo && input.digits ? pipeline : null);
  await shelf.update(stats, pipeline); // before the results: it knows which pictures are in the store
  exchange.use(pipeline, (state, error) => connection('results', state, error));
  if (!pipeline) delete states.results;
  manage.update(pipeline);
  charts.update(stats);
  path.update(stats, pipeline, formatsOf(input));
  tiers.update(stats);
  caches.update(stats, pipeline);
}

/** sources are the caches that have pictures, and those of drawings. */
function sources(stats) {
  const pictures = new Set();
  const ink = new Set();
  for (const p of stats.pipelines) {
    const { kind } = inputOf(models.find(p));
    if (kind === 'drawing' || kind === 'picture') pictures.add(p.from);
    if (kind === 'drawing') ink.add(p.from);
  }
  return [pictures, ink];
}

/** shell is the command that does what the page does. */
function shell(pipeline, model, input) {
  if (!pipeline) return `curl ${location.origin}/rest/v2/caches`;
  const to = `${location.origin}/rest/v2/caches/${encodeURIComponent(pipeline.from)}/1`;
  if (input.kind === 'drawing' || input.kind === 'picture') return `curl -T ${input.digits ? 'seven.png' : 'photo.jpg'} ${to}`;
  const example = model ? exampleOf(model).replace(/\s+/g, ' ') : '';
  const body = example && example.length < 160 && !example.includes("'") ? `-d '${example}'` : '-d @entry.json';
  return `curl -X PUT -H 'Content-Type: application/json' ${body} ${to}`;
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

whenTokenNeeded(askToken);
charts.prepare();
caches.prepare();
tiers.prepare();
confirm.prepare();
graph.prepare();
profile.prepare();
cluster.prepare();
choice.prepare(again);
manage.prepare(again);
burst.prepare(ask.samples);
ask.prepare(exchange.ask, (error) => answer.fail(error.message));

async function watch() {
  for (;;) {
    if (!document.hidden) await tick();
    await new Promise((done) => { setTimeout(done, 1000); });
  }
}
watch();
