// Who has which partition: a matrix of nodes and partitions, and where that would be too large, a tile for each partition.

import { byId, count, element, rate, write } from './format.js';
import { keep, mark } from './keep.js';

const mostCells = 1024; // of a matrix
const mostFaults = 12;

/** role is what a node has of a partition: the mark in a cell, its look, and the words for it. */
function role(p, node, move) {
  const replica = p.replicas.find((r) => r.node === node);
  const [leads, owns] = [p.leader === node, p.owner === node];
  const comes = move?.to === node;
  const goes = move?.from === node;
  if (!replica && !leads && !owns) {
    return comes ? { look: 'comes', text: '+', words: 'is to have it' } : { look: 'none', text: '', words: 'has nothing of it' };
  }
  const state = replica?.state ?? 'current';
  const lag = replica?.lag ? rate(replica.lag) : '';
  const words = [leads && 'leads', owns && 'owns', (!leads || state !== 'current') && (state === 'current' ? 'up to date' : state === 'offline' ? 'away' : `${lag ? `${lag} ` : ''}behind`), goes && 'gives it away', comes && 'is new'];
  const look = leads && owns ? 'leads' : state === 'offline' ? state : leads || owns ? 'half' : state;
  const text = leads ? 'L' : owns ? 'O' : { current: '✓', offline: '×' }[state] ?? (lag || '…');
  return { look: goes ? `${look} goes` : look, text, words: words.filter(Boolean).join(', ') };
}

const moveOf = (moves, p) => moves.find((m) => m.class === p.class && m.partition === p.partition);

/** wrong says what of a partition is not as it should be; '' for nothing. */
export function wrong(p) {
  if (p.error) return p.error;
  if (!p.leader) return 'no leader: nothing can be written to it';
  if (!p.owner) return 'no owner: its pipelines and listeners wait';
  return p.replicas.some((r) => r.state !== 'current') ? 'behind' : '';
}

/** update shows the partitions of a status. only, where it is given, says which of the partitions are shown. */
export function update(status, only) {
  const classes = [...new Set(status.partitions.map((p) => p.class))];
  const { current } = status.rebalancing;
  keep(byId('partitions'), classes, (c) => c, (c) => element('figure', { class: 'map' }, element('figcaption', {}), element('div', { class: 'scroll', tabindex: '0', role: 'region', 'aria-label': `Partitions of class ${c}` })), (figure, name) => {
    const [caption, box] = figure.children;
    const all = status.partitions.filter((p) => p.class === name);
    const large = status.nodes.length * all.length > mostCells;
    const shown = large && only ? all.filter(only) : all;
    write(caption, `${name[0].toUpperCase()}${name.slice(1)}${large ? `, ${count(shown.length)} of ${count(all.length)} partitions` : ''}`);
    mark(figure, 'data-size', large ? 'large' : all.length > 16 ? 'wide' : 'small');
    if (large !== (box.firstChild?.nodeName === 'OL') || !box.firstChild) box.replaceChildren(large ? element('ol', { class: 'tiles' }) : matrix(name));
    if (large) tiles(box.firstChild, shown, current);
    else cells(box.firstChild, status.nodes, all, current);
  });
  faults(status.partitions);
}

const matrix = (name) => element('table', { class: 'matrix' }, element('caption', { class: 'sr' }, `Which node has which partition of class ${name}`),
  element('thead', {}, element('tr', {})), element('tbody', {}));

function cells(table, nodes, partitions, moves) {
  const columns = [null, ...partitions];
  keep(table.tHead.rows[0], columns, (p) => p?.partition ?? -1, (p) => (p ? element('th', { scope: 'col' }) : element('td', {})), (th, p) => {
    if (!p) return;
    const fault = wrong(p);
    write(th, fault && fault !== 'behind' ? `${p.partition}!` : String(p.partition));
    th.classList.toggle('broken', Boolean(fault) && fault !== 'behind');
    mark(th, 'title', fault ? `${p.class} ${p.partition}: ${fault}` : `${p.class} ${p.partition}`);
  });
  keep(table.tBodies[0], nodes, (n) => n.name, (n) => element('tr', {}, element('th', { scope: 'row', title: n.name }, n.name)), (row, n) => {
    row.classList.toggle('away', !n.connected);
    partitions.forEach((p, i) => {
      const cell = row.cells[i + 1] ?? row.appendChild(element('td', {}, element('i', { 'aria-hidden': 'true' }), element('span', { class: 'sr' })));
      const { look, text, words } = role(p, n.name, moveOf(moves, p));
      mark(cell.firstChild, 'class', `cell ${look}`);
      write(cell.firstChild, text);
      write(cell.lastChild, words);
      mark(cell, 'title', `${p.class} ${p.partition}: ${n.name} ${words}`);
    });
    while (row.cells.length > partitions.length + 1) row.lastChild.remove();
  });
}

function tiles(list, partitions, moves) {
  keep(list, partitions, (p) => p.partition, (p) => element('li', {}, element('b', {}, String(p.partition)), element('ul', {})), (tile, p) => {
    const move = moveOf(moves, p);
    const names = [...new Set([p.leader, p.owner, ...p.replicas.map((r) => r.node), move?.to].filter(Boolean))];
    const fault = wrong(p);
    tile.classList.toggle('faulty', Boolean(fault) && fault !== 'behind');
    mark(tile, 'title', fault && fault !== 'behind' ? `${p.class} ${p.partition}: ${fault}` : '');
    keep(tile.lastChild, names.length ? names : [''], (n) => n, () => element('li', {}, element('i', { 'aria-hidden': 'true' }), element('span', {}), element('span', { class: 'sr' })), (chip, n) => {
      const { look, text, words } = n ? role(p, n, move) : { look: 'offline', text: '!', words: '' };
      mark(chip.children[0], 'class', `cell ${look}`);
      write(chip.children[0], text);
      write(chip.children[1], n || 'nobody');
      write(chip.children[2], words);
      mark(chip, 'title', n ? `${p.class} ${p.partition}: ${n} ${words}` : '');
    });
  });
}

/** faults lists what is wrong in words, once for all partitions that it is wrong with. */
function faults(partitions) {
  const by = new Map();
  for (const p of partitions) {
    const fault = wrong(p);
    if (fault && fault !== 'behind') by.set(fault, [...by.get(fault) ?? [], p]);
  }
  const lines = [...by].slice(0, mostFaults);
  const line = (fault, list) => {
    const classes = [...new Set(list.map((p) => p.class))].map((c) => `${c} ${ranges(list.filter((p) => p.class === c).map((p) => p.partition))}`);
    return `${classes.join(', ')}: ${fault}${fault.endsWith('.') ? '' : '.'}`;
  };
  const rest = by.size - lines.length;
  keep(byId('partition-faults'), [...lines, ...rest > 0 ? [[null, rest]] : []], ([fault]) => fault, () => element('li', {}),
    (li, [fault, list]) => write(li, fault === null ? `And ${count(list)} more reasons.` : line(fault, list)));
}

/** ranges writes numbers that grow: 1, 3 to 5. */
function ranges(numbers) {
  const out = [];
  for (const n of numbers) {
    const last = out.at(-1);
    if (last && last[1] === n - 1) last[1] = n;
    else out.push([n, n]);
  }
  return out.map(([a, b]) => (a === b ? `${a}` : b === a + 1 ? `${a}, ${b}` : `${a} to ${b}`)).join(', ');
}
