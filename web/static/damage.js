// What was damaged on the disk: a notice at the top, with the caches, the files and the keys, and what to do.

import { byId, count, counted, element, write } from './format.js';

let drawn = '';

/** update shows what the stats say is damaged; nothing where nothing is. */
export function update(stats) {
  const caches = stats.caches.filter((c) => c.damaged).map((c) => [c.name, c.damaged]);
  const now = JSON.stringify([caches, stats.damaged]);
  if (now === drawn) return;
  drawn = now;
  const box = byId('damage');
  box.hidden = !caches.length && !stats.damaged.length;
  if (box.hidden) return;
  write(byId('damage-title'), title(caches, stats.damaged));
  write(byId('damage-lost'), sum(caches.map(([, n]) => n)) ? 'They are answered with 410 entry_damaged until they are put again or removed.' : '');
  const unknown = sum(stats.damaged.map((d) => d.unknown ?? 0));
  write(byId('damage-unknown'), unknown ? `Of ${counted(unknown, 'lost record', 'lost records')} it is not known whose they were: such a key may have an older value now, or none.` : '');
  byId('damage-more').hidden = !stats.damaged.length;
  byId('damage-files').replaceChildren(...stats.damaged.map(file));
}

function title(caches, files) {
  const lost = sum(caches.map(([, n]) => n));
  if (lost) return `${counted(lost, 'entry is', 'entries are')} damaged on the disk: ${caches.map(([name, n]) => `${count(n)} in ${name}`).join(', ')}`;
  const gone = files.filter((d) => d.everything).length;
  if (gone) return `All files of ${counted(gone, 'stream', 'streams')} were missing at the start: everything there is lost`;
  const records = sum(files.map((d) => d.records));
  if (!records) return 'Damaged files were found at the start; nothing is lost, since all that is damaged had been overwritten';
  return `${counted(records, 'record was', 'records were')} found damaged at the start; no key of a cache is known to be lost now`;
}

function file(d) {
  const where = d.class ? `${d.class} partition ${d.partition}` : `the grid's description, ${d.stream}`;
  if (d.everything) return element('li', {}, element('p', {}, `${where}: all files of ${d.stream} are missing; everything in it is lost.`));
  const lost = d.records ? `${counted(d.records, 'record', 'records')} lost, ${d.from === d.to ? `sequence ${d.from}` : `sequences ${d.from} to ${d.to}`}` : 'nothing lost';
  return element('li', {},
    element('p', {}, `${where}: ${d.file} ${d.missing ? 'is missing' : 'is damaged'}; ${lost}.`),
    d.kept ? element('p', { class: 'quiet' }, 'The file as it was is in ', element('code', {}, d.kept)) : null,
    d.keys?.length ? element('p', { class: 'quiet' }, 'Lost: ', element('code', {}, d.keys.join(', ')), d.keys.length < d.records - (d.unknown ?? 0) ? ' and more' : null) : null);
}

const sum = (numbers) => numbers.reduce((a, b) => a + b, 0);
