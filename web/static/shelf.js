// The newest entries of the cache that the page puts into, with where each one's value is: in memory, or in the store alone. A person can
// bring one back, or send it away.

import { entryPath, json, request } from './api.js';
import * as feed from './feed.js';
import { byId, bytes, count, element, write } from './format.js';
import { keyId, keyText } from './keys.js';

const shown = 24;
const patience = 1000; // ms for a value that was read to be back in memory

let cache = '';
let seen = ''; // the numbers at the last look: while they stay, nothing moved
let puts = 0; // at the last update
let waited = 0; // updates since the last look, in a flood
let asked = 0;
const tiles = new Map(); // keyId -> { button, item, key, cold, revision, canvas, … }

/** update looks again where the numbers of the cache say that something moved. */
export async function update(stats, pipeline) {
  const now = stats.caches.find((c) => c.name === pipeline?.from);
  byId('shelf').hidden = !now?.store; // else all is in memory, and nothing can be moved
  if (!now?.store) return;
  write(byId('shelf-memory'), now.max_entries ? `${count(now.in_memory)} of ${count(now.max_entries)}` : count(now.in_memory));
  write(byId('shelf-store'), count(now.cold));
  const numbers = [now.name, now.puts, now.entries, now.cold, now.evictions, now.loads].join();
  if (numbers === seen) {
    for (const tile of tiles.values()) refresh(tile, tile); // an answer or a picture may have come meanwhile
    return;
  }
  // In a flood nobody could read what changes altogether each second.
  const flood = now.puts - puts > shown;
  puts = now.puts;
  if (flood && now.name === cache && ++waited < 5) return;
  waited = 0;
  if (now.name !== cache) {
    cache = now.name;
    tiles.clear();
    byId('shelf-list').replaceChildren();
  }
  await look();
  seen = numbers;
}

/** look asks where the values are now; took is how many ms it took to bring back the one that was picked. */
async function look(took) {
  const mine = ++asked;
  const query = new URLSearchParams({ action: 'entries', values: 'false', order: 'newest', limit: shown });
  const entries = await json(`/rest/v2/caches/${encodeURIComponent(cache)}?${query}`);
  if (mine !== asked) return;
  show(entries, took);
}

function show(entries, took) {
  const list = byId('shelf-list');
  const moved = { away: [], back: [] };
  const kept = new Set();
  entries.forEach((entry, i) => {
    const id = keyId(entry.key);
    kept.add(id);
    let tile = tiles.get(id);
    if (tile && tile.revision !== entry.revision) feed.forget(cache, entry.key);
    if (!tile) {
      tile = make(entry.key);
      tiles.set(id, tile);
    } else if (tile.cold !== entry.cold) {
      moved[entry.cold ? 'away' : 'back'].push(name(entry.key));
      tile.item.classList.remove('moved');
      void tile.item.offsetWidth; // begins the animation again
      tile.item.classList.add('moved');
    }
    refresh(tile, entry);
    if (list.children[i] !== tile.item) list.insertBefore(tile.item, list.children[i] ?? null);
  });
  for (const [id, tile] of tiles) {
    if (kept.has(id)) continue;
    tile.item.remove();
    tiles.delete(id);
  }
  byId('shelf-empty').hidden = entries.length > 0;
  feed.inStore(cache, entries.filter((entry) => entry.cold).map((entry) => entry.key));
  tell(moved, took);
}

/** name is a key for people, with its answer. */
const name = (key) => (feed.labelOf(key) ? `${feed.labelOf(key)} (${keyText(key)})` : keyText(key));

const sentence = (text) => text[0].toUpperCase() + text.slice(1);

/** tell says in words what moved, for those who do not see it; a crowd is only counted. */
function tell({ away, back }, took) {
  const some = (names) => (names.length > 3 ? `${count(names.length)} entries` : new Intl.ListFormat('en').format(names));
  const said = [];
  if (back.length) said.push(sentence(`${some(back)} came back into memory${took ? ` in ${took} ms` : ''}.`));
  if (away.length) said.push(sentence(`${some(away)} went to the store.`));
  if (said.length) write(byId('shelf-said'), said.join(' '));
}

function make(key) {
  const canvas = element('canvas', { width: 56, height: 56, 'aria-hidden': 'true' });
  const label = element('b', { 'aria-hidden': 'true' });
  const place = element('span', { class: 'place', 'aria-hidden': 'true' });
  const button = element('button', { type: 'button', onclick: () => move(tile) }, element('span', { class: 'thumb' }, label, canvas), place);
  const tile = { key, canvas, label, place, button, item: element('li', {}, button), painted: 0 };
  return tile;
}

function refresh(tile, entry) {
  Object.assign(tile, { cold: entry.cold, revision: entry.revision, bytes: entry.bytes });
  const { item, button, label, place, key } = tile;
  item.className = `${entry.cold ? 'cold' : 'hot'}${item.classList.contains('moved') ? ' moved' : ''}`;
  write(place, entry.cold ? 'store' : 'memory');
  const answer = feed.labelOf(key);
  const shows = answer ?? keyText(key);
  write(label, shows);
  label.classList.toggle('words', shows.length > 2);
  const what = `${answer ? `${answer}, ` : ''}key ${keyText(key)}`;
  const does = entry.cold ? 'Bring it back into memory.' : 'Send it to the store.';
  const text = `${what}, ${entry.cold ? 'in the store' : 'in memory'}. ${does}`;
  button.setAttribute('aria-label', text);
  button.title = `${keyText(key)}, ${bytes(entry.bytes)}: ${entry.cold ? 'in the store; click to bring it back' : 'in memory; click to send it to the store'}`;
  picture(tile);
}

/** picture paints what the page knows; it fetches only what is in memory, so that looking moves nothing. */
async function picture(tile) {
  const { key, cold, revision } = tile;
  if (tile.painted === revision) return;
  const bitmap = cold ? feed.remembered(cache, key) : await feed.picture(cache, key, revision);
  if (!bitmap || tile.revision !== revision) return;
  feed.paint(tile.canvas, bitmap, feed.isInk(cache));
  tile.painted = revision;
  tile.item.dataset.painted = 'yes';
}

/** move brings a tile's value back by reading it, or asks that it leaves memory. */
async function move(tile) {
  const { key, cold, item, button } = tile;
  let took;
  item.classList.add('moving');
  button.setAttribute('aria-busy', 'true');
  try {
    const began = performance.now();
    if (cold) {
      const blob = await (await request(entryPath(cache, key), { cache: 'no-store' })).blob();
      took = Math.max(1, Math.round(performance.now() - began));
      if (blob.type.startsWith('image/')) feed.remember(cache, key, await createImageBitmap(blob));
    } else {
      const response = await request(`/rest/v2/caches/${encodeURIComponent(cache)}?action=evict`, {
        method: 'POST', headers: { 'Content-Type': 'application/json' }, body: JSON.stringify({ keys: [key] }),
      });
      const { reasons } = await response.json();
      if (reasons?.length) throw new Error(sentence(`${name(key)} stays in memory: ${reasons[0].error}`));
    }
    // A value is given out before it is back in its place.
    for (const end = performance.now() + patience; ;) {
      await look(took);
      if (!cold || !tile.cold || performance.now() > end) break;
      await new Promise((done) => { setTimeout(done, 100); });
    }
    if (cold && tile.cold) write(byId('shelf-said'), sentence(`${name(key)} was read from the store, and stays there: memory has no room.`));
  } catch (error) {
    write(byId('shelf-said'), error.message);
  } finally {
    item.classList.remove('moving');
    button.removeAttribute('aria-busy');
  }
}
