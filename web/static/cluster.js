// The cluster that the node is one of: the nodes and what they take, rebalancing, and what can be done about it. It is asked for once a second while somebody looks.

import { json, request } from './api.js';
import { confirm } from './confirm.js';
import { byId, bytes, count, counted, element, span, write } from './format.js';
import { keep, mark } from './keep.js';
import * as partitions from './partitions.js';

const every = 1000; // ms between two looks; more where an answer takes long
const share = 10; // the page has the node work for at most one tenth of the time
const mostMoves = 20;
const few = 12; // nodes, without a search among them

let clustered = false;
let last = null; // the status that is shown
let seen = 0; // when it came
let asking = null;
const furthest = new Map(); // of each move under way: the most that it was behind

/** know says whether the node is one of a cluster: the section is there then, and the node is asked. */
export function know(cluster) {
  if (clustered === Boolean(cluster)) return;
  clustered = Boolean(cluster);
  byId('to-cluster').hidden = !clustered;
  if (!clustered) {
    byId('cluster').hidden = true;
    last = null;
  }
}

/** look asks once; one question is under way at a time. */
function look() {
  asking ??= ask().finally(() => { asking = null; });
  return asking;
}

async function ask() {
  try {
    const status = await json('/rest/v2/cluster', { signal: AbortSignal.timeout(10000) });
    if (!clustered || !status.cluster) return;
    last = status;
    seen = Date.now();
    stale(null);
    show();
  } catch (error) {
    if (last) stale(error);
  }
}

/** stale says that what is shown is what was, and since when. */
function stale(error) {
  byId('cluster').classList.toggle('stale', Boolean(error));
  const why = error?.status ? `the node says: ${error.message}` : 'the node does not answer';
  write(byId('cluster-stale'), error ? `As of ${new Date(seen).toLocaleTimeString('en-GB')}: ${why}` : '');
  for (const button of byId('cluster').querySelectorAll('button[data-does]')) button.disabled = Boolean(error);
}

export function prepare() {
  byId('balance-pause').addEventListener('click', pauseOrResume);
  byId('balance-cancel').addEventListener('click', cancel);
  byId('cluster-search').addEventListener('input', () => last && show());
  byId('cluster-odd').addEventListener('change', () => last && show());
  byId('nodes').tHead.rows[0].append(...columns.map((c, i) => element('th', { role: 'columnheader', scope: 'col', title: c.about },
    i === columns.length - 1 ? element('span', { class: 'sr' }, c.name) : c.name)));
  document.addEventListener('visibilitychange', () => { if (!document.hidden && clustered) look(); });
  watch();
}

async function watch() {
  for (;;) {
    const began = performance.now();
    if (clustered && !document.hidden) await look();
    const took = performance.now() - began;
    await new Promise((done) => { setTimeout(done, Math.max(every - took, took * share)); });
  }
}

const roles = 3; // of a node that does everything

/** keeps says whether a node is one of those that have replicas: the others are neither drained nor removed. */
const keeps = (n) => !n.roles || n.roles.includes('grid') || n.replicas > 0;

const natural = new Intl.Collator('en', { numeric: true });
const order = (a, b) => natural.compare(a.name, b.name);

function show() {
  const nodes = [...last.nodes].sort(order);
  const many = nodes.length > few;
  byId('cluster').hidden = false;
  write(byId('cluster-title'), `Cluster ${last.cluster}`);
  write(byId('cluster-lead'), lead());
  byId('cluster-find').hidden = !many;
  const word = many ? byId('cluster-search').value.trim().toLowerCase() : '';
  const odd = many && byId('cluster-odd').checked;
  const named = (name) => name.toLowerCase().includes(word);
  balance(last.rebalancing);
  moves(last.rebalancing.current);
  const shown = nodes.filter((n) => named(n.name) && (!odd || !n.connected || n.draining || n.removing));
  table(shown);
  write(byId('nodes-none'), shown.length ? '' : 'No node is so.');
  partitions.update({ ...last, nodes: nodes.filter(keeps) }, (p) => (!odd || partitions.wrong(p)) && (!word || p.replicas.some((r) => named(r.node)) || named(p.leader)));
}

/** lead is the cluster in one line. */
function lead() {
  const away = last.nodes.filter((n) => !n.connected).sort(order).map((n) => n.name);
  const gone = away.length > 5 ? `${away.slice(0, 5).join(', ')} and ${count(away.length - 5)} more` : away.join(', ');
  const without = last.partitions.filter((p) => !p.leader).length;
  const late = last.partitions.filter((p) => p.leader && p.replicas.some((r) => r.state !== 'current')).length;
  const parts = [away.length ? `${count(last.nodes.length - away.length)} of ${counted(last.nodes.length, 'node', 'nodes')} there; away: ${gone}` : `${counted(last.nodes.length, 'node', 'nodes')}, all there`];
  const troubles = [without && `${count(without)} without a leader`, late && `${count(late)} with replicas that are behind or away`].filter(Boolean);
  parts.push(`${counted(last.partitions.length, 'partition', 'partitions')}, ${troubles.length ? troubles.join(', ') : 'all up to date'}`);
  return `${parts.join('. ')}. As ${last.node} sees it.`;
}

const sentences = {
  even: () => (last.nodes.every((n) => n.connected) ? 'Every node has its share.' : 'Nothing moves yet: what a node has that stays away is built again on others after cluster.grace.'),
  moving: ({ done, total }) => `${count(done)} of ${counted(total, 'move', 'moves')} done.`,
  paused: ({ done, total }) => `${total > done ? `${counted(total - done, 'move waits', 'moves wait')}. ` : ''}No move is begun until somebody resumes it.`,
  waiting: ({ done, total }) => (total > done ? `${counted(total - done, 'move waits', 'moves wait')}.` : ''),
  unknown: () => 'No controller is heard: the nodes elect one, or most of them are away.',
};

function balance(r) {
  const tag = byId('balance');
  mark(tag, 'data-state', r.state);
  write(tag, r.state);
  const reason = r.reason ? `${r.reason[0].toUpperCase()}${r.reason.slice(1)}.`.replace(/\.\.$/, '.') : '';
  const paused = r.paused && r.state !== 'paused' ? 'Paused: no new move is begun.' : '';
  write(byId('balance-text'), [sentences[r.state]?.(r), paused, reason, r.controller && `${r.controller} decides.`].filter(Boolean).join(' '));
  const bar = byId('balance-bar');
  bar.hidden = !r.total || r.state === 'even';
  bar.max = r.total || 1;
  bar.value = r.done;
  write(byId('balance-pause'), r.paused ? 'Resume' : 'Pause');
  byId('balance-pause').disabled = r.state === 'unknown';
  byId('balance-cancel').hidden = !r.current.length;
}

const whys = { rebuild: 'built again for a node that is gone', drain: 'its node drains', even: 'for even shares', together: 'to be beside its other class' };
const moveKey = (m) => `${m.class} ${m.partition} ${m.since}`;

function moves(current) {
  const keys = new Set(current.map(moveKey));
  for (const key of furthest.keys()) if (!keys.has(key)) furthest.delete(key);
  for (const m of current) furthest.set(moveKey(m), Math.max(m.lag, furthest.get(moveKey(m)) ?? 0));
  keep(byId('moves'), current.slice(0, mostMoves), moveKey, () => element('li', {}, element('b', {}), element('progress', {}), element('small', {})), (li, m) => {
    const [what, bar, more] = li.children;
    write(what, `${m.class ? `${m.class} ${m.partition}` : "the grid's description"}: ${m.from || 'nobody'} → ${m.to || 'the node that is chosen'}`);
    const most = furthest.get(moveKey(m));
    bar.toggleAttribute('data-known', most > 0);
    bar.max = most || 1;
    bar.value = most ? most - m.lag : 0;
    mark(bar, 'aria-label', 'How much of it has come');
    const since = Math.max(0, (Date.now() - Date.parse(m.since)) / 1000);
    write(more, [`${count(m.lag)} behind`, `since ${span(since)}`, whys[m.why] ?? m.why, m.doing].filter(Boolean).join(', '));
  });
  write(byId('moves-more'), current.length > mostMoves ? `And ${count(current.length - mostMoves)} more.` : '');
}

const load = (n, text) => (n.load ? text(n.load) : '–');

const columns = [
  { name: 'Node', about: 'Its name, and the version of its program.' },
  { name: 'CPU', about: 'Processor cores that its process takes.', text: (n) => load(n, ({ cpu }) => `${cpu.toFixed(2)} ${cpu === 1 ? 'core' : 'cores'}`) },
  { name: 'Memory', about: 'Of its process.', text: (n) => load(n, ({ memory }) => bytes(memory)) },
  { name: 'Disk', about: 'What its replicas take of the disk.', text: (n) => load(n, ({ disk }) => bytes(disk)) },
  { name: 'Volatile', about: 'What its replicas of the volatile class take of the memory.', text: (n) => load(n, ({ volatile }) => bytes(volatile)) },
  { name: 'Leads', about: 'Partitions whose writes it orders.', text: (n) => count(n.leads) },
  { name: 'Owns', about: 'Partitions whose pipelines, listeners and expiry it looks after.', text: (n) => count(n.owns) },
  { name: 'Replicas', about: 'Partitions that it keeps.', text: (n) => count(n.replicas) },
  { name: 'What can be done', about: '' },
];

function stateOf(n) {
  const doing = n.removing ? 'removing' : n.drained ? 'drained' : n.draining ? 'draining' : '';
  if (!n.connected) return [doing ? `away, ${doing}` : 'away', 'tag off'];
  return [doing || 'there', doing ? 'tag' : 'tag on'];
}

function table(nodes) {
  const most = Math.max(1, ...last.nodes.map((n) => n.replicas));
  keep(byId('nodes').tBodies[0], nodes, (n) => n.name, row, (tr, n) => {
    const [name, here, state, version] = tr.cells[0].children;
    write(name, n.name);
    here.hidden = n.name !== last.node;
    const [text, look] = stateOf(n);
    write(state, text);
    mark(state, 'class', look);
    const part = n.roles && n.roles.length < roles ? `has ${n.roles.join(', ')} only` : '';
    write(version, [n.version && `version ${n.version}`, part].filter(Boolean).join(', '));
    columns.forEach(({ text: value }, i) => { if (value) write(tr.cells[i].firstChild, value(n)); });
    tr.cells[7].lastChild.firstChild.style.transform = `scaleX(${n.replicas / most})`;
    const button = tr.cells[8].firstChild;
    const does = n.removing || !keeps(n) ? '' : n.draining ? 'Undrain' : n.connected ? 'Drain…' : 'Remove…';
    button.hidden = !does;
    write(button, does);
    mark(button, 'aria-label', `${does.replace('…', '')} ${n.name}`);
    const second = tr.cells[8].lastChild;
    second.hidden = n.connected || does !== 'Undrain';
    mark(second, 'aria-label', `Remove ${n.name}`);
  });
}

function row({ name }) {
  const node = () => last.nodes.find((n) => n.name === name);
  return element('tr', { role: 'row' },
    element('th', { role: 'rowheader', scope: 'row' }, element('span', {}), element('span', { class: 'tag here' }, 'this page'), element('span', {}), element('small', {})),
    ...columns.slice(1, -2).map((c) => element('td', { role: 'cell', 'data-name': c.name }, element('span', {}))),
    element('td', { role: 'cell', 'data-name': 'Replicas' }, element('span', {}), element('span', { class: 'ratio', 'aria-hidden': 'true' }, element('i', {}))),
    element('td', { role: 'cell', class: 'does' },
      element('button', { type: 'button', 'data-does': true, onclick: () => change(node()) }),
      element('button', { type: 'button', 'data-does': true, hidden: true, onclick: () => remove(node()) }, 'Remove…')));
}

async function act(path, method, done, failed) {
  const said = byId('cluster-said');
  try {
    await request(`/rest/v2/cluster/${path}`, { method });
    write(said, done);
  } catch (error) {
    write(said, `${failed}: ${error.message}`);
  }
  await asking; // it may have begun before
  await look();
}

const nodePath = (n, action) => `nodes/${encodeURIComponent(n.name)}${action ? `?action=${action}` : ''}`;

async function change(n) {
  if (!n) return;
  if (n.draining) {
    const text = `${n.name} takes its share of replicas and leaders again, while puts and gets go on.`;
    if (await confirm({ title: `Undrain ${n.name}?`, text, yes: 'Undrain' })) await act(nodePath(n, 'undrain'), 'POST', `${n.name} takes its share again.`, `${n.name} stays as it is`);
    return;
  }
  if (!n.connected) {
    await remove(n);
    return;
  }
  const text = `${n.name} gives all its replicas and leaders to other nodes, a replica at a time, while puts and gets go on. It stays empty, over restarts too, until it is undrained.`;
  if (await confirm({ title: `Drain ${n.name}?`, text, yes: 'Drain' })) await act(nodePath(n, 'drain'), 'POST', `${n.name} gives away what it has.`, `${n.name} stays as it is`);
}

async function remove(n) {
  if (!n) return;
  const text = `What ${n.name} had is built again on other nodes at once, without waiting for it to come back. Then it is of the cluster no more.`;
  if (await confirm({ title: `Remove ${n.name}?`, text, yes: 'Remove' })) await act(nodePath(n), 'DELETE', `${n.name} is being removed.`, `${n.name} stays as it is`);
}

async function pauseOrResume() {
  if (last.rebalancing.paused) {
    const text = 'Replicas move between nodes again until every node has its share.';
    if (await confirm({ title: 'Resume rebalancing?', text, yes: 'Resume' })) await act('rebalance?action=resume', 'POST', 'Rebalancing goes on.', 'It stays paused');
    return;
  }
  const text = 'Moves under way end, and no new one is begun: a node that joins gets no share, and one that is gone is not made up for. It stays so, over restarts too, until it is resumed.';
  if (await confirm({ title: 'Pause rebalancing?', text, yes: 'Pause' })) await act('rebalance?action=pause', 'POST', 'Rebalancing is paused.', 'It goes on');
}

async function cancel() {
  const text = 'Moves under way go back where they came from, but for what is built again for a node that is gone, and no new one is begun until somebody resumes it.';
  if (await confirm({ title: 'Cancel the moves under way?', text, yes: 'Cancel the moves' })) await act('rebalance?action=cancel', 'POST', 'The moves go back, and rebalancing is paused.', 'They go on');
}
