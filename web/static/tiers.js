// What each cache has in memory and in its store, and what goes between the two, as a table.

import { byId, bytes, count, element, percent, rate, span, write } from './format.js';

const columns = [
  { name: 'Cache', about: 'Its name.' },
  { name: 'In memory', about: 'Entries whose values are in memory, and how many may be.', text: (c) => (c.max_entries && c.store ? `${count(c.in_memory)} of ${count(c.max_entries)}` : count(c.in_memory)) },
  { name: 'In the store', about: 'Entries whose values are in the store alone.', of: 'store', text: (c) => count(c.cold) },
  { name: 'Bytes', about: 'Of the values in memory, and of all.', text: (c) => (c.store ? `${bytes(c.memory_bytes)} of ${bytes(c.bytes)}` : bytes(c.bytes)) },
  { name: 'Not stored yet', about: 'Entries that are put and not in the store yet, their bytes, and how long the oldest waits.', of: 'store', text: (c) => (c.lag_entries ? `${count(c.lag_entries)}, ${bytes(c.lag_bytes)}, ${c.lag_s < 10 ? `${c.lag_s.toFixed(1)} s` : span(c.lag_s)}` : 'nothing') },
  { name: 'Hit rate', about: 'Which share of all reads found an entry in memory.', text: (c) => (c.hit_rate == null ? 'no reads' : percent(c.hit_rate)) },
  { name: 'Evictions', about: 'Values that leave memory, a second, and since the start.', of: 'tier', text: (c) => `${rate(c.eviction_rate)} / s`, more: (c) => `${count(c.evictions)} in all` },
  { name: 'Loads', about: 'Values that are read from the store, a second, and since the start.', of: 'store', text: (c) => `${rate(c.load_rate)} / s`, more: (c) => `${count(c.loads)} in all${c.load_errors ? `, ${count(c.load_errors)} failed` : ''}` },
];

let drawn = '';

/** update shows the caches of the stats. */
export function update(stats) {
  const table = byId('tiers');
  write(byId('memory-lead'), stats.caches.some((c) => c.store) ? 'What nobody asked for lately leaves memory once its store has it, and comes back when somebody asks' : 'No cache here has a store, so every value stays in memory');
  const names = JSON.stringify(stats.caches.map((c) => c.name));
  if (names !== drawn) {
    drawn = names;
    table.tBodies[0].replaceChildren(...stats.caches.map((c) => element('tr', { role: 'row' },
      ...columns.map((column, i) => (i
        ? element('td', { role: 'cell', 'data-name': column.name }, element('span', {}), element('small', {}))
        : element('th', { role: 'rowheader', scope: 'row' }, element('span', {}, c.name), element('small', {}), element('span', { class: 'ratio', 'aria-hidden': 'true' }, element('i', {})), element('span', { class: 'broken' })))))));
  }
  stats.caches.forEach((c, i) => {
    const row = table.tBodies[0].rows[i];
    const [, kind, ratio, broken] = row.cells[0].children;
    write(kind, c.store ? `${c.class}, ${c.store_type || 'store'}` : c.class);
    ratio.firstChild.style.transform = `scaleX(${c.entries ? c.in_memory / c.entries : 0})`;
    write(broken, c.damaged ? `${count(c.damaged)} damaged` : '');
    row.dataset.store = c.store ? 'yes' : 'no';
    columns.forEach(({ of, text, more }, j) => {
      if (!j) return;
      const has = !of || c.store || (of === 'tier' && c.max_entries);
      const [value, small] = row.cells[j].children;
      row.cells[j].toggleAttribute('data-empty', !has);
      write(value, has ? text(c) : '–');
      write(small, has && more ? more(c) : '');
    });
  });
}

export function prepare() {
  byId('tiers').tHead.rows[0].append(...columns.map(({ name, about }) => element('th', { role: 'columnheader', scope: 'col', title: about }, name)));
  byId('tiers-words').replaceChildren(...columns.slice(1).flatMap(({ name, about }) => [element('dt', {}, name), element('dd', {}, about)]));
}
