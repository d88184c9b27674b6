// Which pipeline the page is about: the one that its address names, or the first. The choice stands in the address, so that it survives a
// reload and can be sent to others.

import { byId, element, write } from './format.js';

let drawn = '';
let changed = () => {};

const asked = () => new URLSearchParams(location.search).get('pipeline');

export function prepare(onChange) {
  changed = onChange;
  addEventListener('popstate', changed);
}

/** update draws the chooser and returns the chosen pipeline, or null. */
export function update(stats) {
  const all = stats.pipelines;
  const wanted = asked();
  const chosen = all.find((p) => p.name === wanted) ?? all[0] ?? null;
  byId('chooser').hidden = all.length < 2 && wanted === null;
  write(byId('chooser-note'), wanted !== null && chosen?.name !== wanted ? `There is no pipeline ${wanted} here${chosen ? `; this is ${chosen.name}` : ''}.` : '');
  const list = byId('pipeline-list');
  const names = JSON.stringify(all.map((p) => p.name));
  if (names !== drawn) {
    drawn = names;
    list.replaceChildren(...all.map((p) => element('li', {}, element('a', { href: address(p.name), onclick: (event) => pick(event, p.name) },
      element('span', { class: 'dot', 'aria-hidden': 'true' }), element('span', {}, p.name), ' ', element('small', {})))));
  }
  all.forEach((p, i) => {
    const link = list.children[i].firstChild;
    link.dataset.state = p.state;
    link.title = `${p.from} → ${p.model} → ${p.to}`;
    write(link.lastChild, p.state === 'paused' || p.state === 'blocked' ? p.state : '');
    if (p === chosen) link.setAttribute('aria-current', 'true');
    else link.removeAttribute('aria-current');
  });
  return chosen;
}

function address(name) {
  const query = new URLSearchParams(location.search);
  query.set('pipeline', name);
  return `?${query}`;
}

function pick(event, name) {
  if (event.ctrlKey || event.metaKey || event.shiftKey) return; // a tab of its own
  event.preventDefault();
  if (name !== asked()) history.pushState(null, '', address(name));
  changed();
}
