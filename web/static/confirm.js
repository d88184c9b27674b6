// A dialog that asks before something is done.

import { byId, write } from './format.js';

/** confirm resolves to whether the person said yes. more is an element between the text and the buttons. */
export function confirm({ title, text, yes, more }) {
  const dialog = byId('confirm');
  write(byId('confirm-title'), title);
  write(byId('confirm-text'), text);
  write(byId('confirm-yes'), yes);
  byId('confirm-more').replaceChildren(...(more ? [more] : []));
  dialog.returnValue = '';
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener('close', () => resolve(dialog.returnValue === 'yes'), { once: true });
  });
}

export function prepare() {
  byId('confirm-no').addEventListener('click', () => byId('confirm').close(''));
}
