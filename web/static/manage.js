// What can be done with the chosen pipeline: pause, resume, replay. Each asks first.

import { json, request } from './api.js';
import { confirm } from './confirm.js';
import { byId, count, counted, element, span, write } from './format.js';

let pipeline = null;
let refresh = () => {};

export function prepare(onDone) {
  refresh = onDone;
  byId('pause').addEventListener('click', pauseOrResume);
  byId('replay').addEventListener('click', replay);
}

export function update(now) {
  pipeline = now;
  byId('controls').hidden = !now;
  if (!now) return;
  const state = byId('state');
  state.dataset.state = now.state;
  write(state, now.state);
  write(byId('state-reason'), [sentence(now), now.origin === 'file' ? 'It is defined in the configuration file.' : '',
    now.hides ? 'The grid keeps another of its name, which this node does not run.' : ''].filter(Boolean).join(' '));
  write(byId('pause'), now.state === 'paused' ? 'Resume' : 'Pause');
}

/** sentence says what the state means. */
function sentence({ state, reason, running_s: runs, lag, version }) {
  if (reason && state === 'waiting') return lag ? `${counted(lag, 'entry waits', 'entries wait')}.` : `It waits for ${reason}.`;
  if (reason) return `${reason[0].toUpperCase()}${reason.slice(1)}.`.replace(/\.\.$/, '.');
  if (state === 'running') return `Version ${version} works${runs >= 1 ? `, since ${span(runs)}` : ''}.`;
  return lag ? `${counted(lag, 'entry waits', 'entries wait')}.` : 'Everything is answered.';
}

async function act(action, query, done) {
  const { name } = pipeline;
  const said = byId('controls-said');
  try {
    await request(`/rest/v2/pipelines/${encodeURIComponent(name)}?${new URLSearchParams({ action, ...query })}`, { method: 'POST' });
    write(said, done);
  } catch (error) {
    write(said, `${name} stays as it is: ${error.message}`);
  }
  refresh();
}

async function pauseOrResume() {
  const { name, from, to, state } = pipeline;
  if (state === 'paused') {
    if (await confirm({ title: `Resume ${name}?`, text: `What waits in ${from} is answered, and the results go to ${to}.`, yes: 'Resume' })) await act('resume', {}, `${name} goes on.`);
    return;
  }
  const text = `Nothing is lost: what is put into ${from} waits there until ${name} is resumed. It stays paused over restarts too.`;
  if (await confirm({ title: `Pause ${name}?`, text, yes: 'Pause' })) await act('pause', {}, `${name} is paused.`);
}

async function replay() {
  const { name, from, to } = pipeline;
  let entries;
  try {
    entries = await json(`/rest/v2/caches/${encodeURIComponent(from)}?action=size`);
  } catch (error) {
    write(byId('controls-said'), error.message);
    return;
  }
  const way = (value, text, checked) => element('label', { class: 'choice' }, element('input', { type: 'radio', name: 'from', value, checked }), element('span', {}, text));
  const time = element('input', { type: 'datetime-local', step: '1', 'aria-label': 'The time from which on' });
  const more = element('fieldset', {}, element('legend', {}, 'Which entries'),
    way('start', `all, ${count(entries)} of them`, true), way('time', 'those that were put since', false), time, way('now', 'none: pass over what waits', false));
  time.addEventListener('input', () => { more.querySelector('[value=time]').checked = true; });
  const text = `Entries of ${from} are run through the model again, and their results in ${to} replaced. Listeners see them as new events.`;
  if (!await confirm({ title: `Replay ${name}?`, text, yes: 'Replay', more })) return;
  const choice = more.querySelector('input:checked').value;
  if (choice === 'time' && !time.value) {
    write(byId('controls-said'), 'No time was given, so nothing is replayed.');
    return;
  }
  const at = choice === 'time' ? new Date(time.value).toISOString() : choice;
  await act('replay', { from: at }, choice === 'now' ? `${name} passes over what waited.` : `${name} begins again, and writes into ${to}.`);
}
