// A browser of caches: their names, their keys with a mark for those in the store, and one entry with what is known of it.

import { entryPath, json, request } from './api.js';
import { isInk, paint } from './feed.js';
import { byId, bytes, count, element, span, write } from './format.js';
import { keyId, keyText } from './keys.js';

const step = 50;
let chosen = { cache: '', key: '', limit: step }; // key is a keyId
let asked = 0; // numbers the questions, so that a late answer to an old one is not shown

export function prepare() {
  let timer = 0;
  byId('prefix').addEventListener('input', () => {
    clearTimeout(timer);
    timer = setTimeout(() => {
      chosen.limit = step;
      showKeys();
    }, 200);
  });
  byId('more').addEventListener('click', () => {
    chosen.limit *= 4;
    showKeys();
  });
}

/** update shows the caches of the stats. The keys of the chosen one are read again when its entries come, go or move. */
export function update(stats, pipeline) {
  const list = byId('cache-list');
  const names = stats.caches.map((c) => c.name).join();
  if (list.dataset.names !== names) {
    list.dataset.names = names;
    list.replaceChildren(...stats.caches.map((c) => element('li', {},
      element('button', { type: 'button', 'data-cache': c.name, 'aria-pressed': String(c.name === chosen.cache), onclick: () => choose(c.name) },
        element('span', {}, c.name), element('small', { class: 'broken' }), element('span', { class: 'count' })))));
    if (!stats.caches.length) list.append(element('li', { class: 'empty' }, 'There is no cache yet. POST /rest/v2/caches/NAME makes one.'));
  }
  stats.caches.forEach((c, i) => {
    const button = list.children[i].firstChild;
    write(button.lastChild, count(c.entries));
    write(button.querySelector('.broken'), c.damaged ? `${count(c.damaged)} damaged` : '');
    button.title = `${c.class}, ${bytes(c.bytes)}`;
  });
  const now = stats.caches.find((c) => c.name === chosen.cache);
  if (!now && stats.caches.length) choose((stats.caches.find((c) => c.name === pipeline?.from) ?? stats.caches[0]).name);
  else if (now && moves(now) !== chosen.moves && now.entries <= 2 * step) {
    chosen.moves = moves(now);
    showKeys();
  }
}

const moves = (c) => [c.entries, c.cold, c.evictions, c.loads].join();

function choose(cache) {
  chosen = { cache, key: '', limit: step };
  for (const button of byId('cache-list').querySelectorAll('button')) {
    button.setAttribute('aria-pressed', String(button.dataset.cache === cache));
  }
  byId('key-list').replaceChildren(); // keys of another cache are none of this one
  byId('entry').replaceChildren(element('p', { class: 'empty' }, "An entry's value and what is known of it appear here."));
  showKeys();
}

async function showKeys() {
  const mine = ++asked;
  const { cache, limit } = chosen;
  if (!cache) return;
  const prefix = byId('prefix').value;
  const query = new URLSearchParams({ action: 'entries', values: 'false', limit: limit + 1 });
  if (prefix) query.set('prefix', prefix);
  let keys;
  try {
    keys = await json(`/rest/v2/caches/${encodeURIComponent(cache)}?${query}`);
  } catch (error) {
    if (mine === asked) write(byId('key-note'), error.message);
    return;
  }
  if (mine !== asked) return;
  const list = byId('key-list');
  const focused = document.activeElement?.closest?.('#key-list') ? document.activeElement.dataset.key : undefined;
  list.replaceChildren(...keys.slice(0, limit).map(({ key, cold }) => element('li', {},
    element('button', {
      type: 'button', class: cold && 'cold', title: cold && 'in the store; picking it brings it back',
      'data-key': keyId(key), 'aria-pressed': String(keyId(key) === chosen.key), onclick: () => showEntry(cache, key, cold),
    }, keyText(key), cold ? element('span', { class: 'sr' }, ', in the store') : null))));
  if (focused !== undefined) [...list.querySelectorAll('button')].find((b) => b.dataset.key === focused)?.focus();
  byId('more').hidden = keys.length <= limit;
  const nothing = prefix ? 'No key begins so.' : 'This cache is empty.';
  write(byId('key-note'), keys.length ? '' : nothing);
}

async function showEntry(cache, key, cold) {
  const id = keyId(key);
  chosen.key = id;
  for (const button of byId('key-list').querySelectorAll('button')) {
    button.setAttribute('aria-pressed', String(button.dataset.key === id));
  }
  const box = byId('entry');
  try {
    const response = await request(entryPath(cache, key), { cache: 'no-cache' });
    const blob = await response.blob();
    const view = await preview(blob, response.headers.get('Content-Type') ?? '', isInk(cache));
    if (chosen.key !== id || chosen.cache !== cache) return;
    const life = response.headers.get('timeToLiveSeconds');
    const facts = [
      ['Key', keyText(key)], ['Type', response.headers.get('Content-Type')], ['Size', bytes(blob.size)],
      ['Revision', response.headers.get('ETag')?.replaceAll('"', '')], ['Written', new Date(response.headers.get('Last-Modified')).toLocaleString()],
      ['Lives for', life ? span(Number(life)) : null], ['Was', cold ? 'in the store, and came back' : null],
    ].filter(([, value]) => value);
    box.replaceChildren(view, element('dl', {}, ...facts.flatMap(([name, value]) => [element('dt', {}, name), element('dd', {}, value)])));
  } catch (error) {
    box.replaceChildren(element('p', { class: 'empty' }, error.status === 404 ? 'This entry is gone: it was removed, or its time was up.' : error.message));
  }
}

async function preview(blob, type, ink) {
  if (type.startsWith('image/')) {
    try {
      const canvas = element('canvas', { role: 'img', 'aria-label': 'The entry as a picture' });
      paint(canvas, await createImageBitmap(blob), ink);
      return canvas;
    } catch {
      return element('p', { class: 'empty' }, 'It says that it is a picture, and cannot be shown as one.');
    }
  }
  if (type.includes('json') || type.startsWith('text/')) {
    const text = await blob.slice(0, 65536).text();
    try {
      return element('pre', {}, JSON.stringify(JSON.parse(text), null, 2));
    } catch {
      return element('pre', {}, text);
    }
  }
  const start = new Uint8Array(await blob.slice(0, 256).arrayBuffer());
  const hex = [...start].map((b) => b.toString(16).padStart(2, '0')).join(' ');
  return element('pre', {}, hex + (blob.size > 256 ? ' …' : ''));
}
