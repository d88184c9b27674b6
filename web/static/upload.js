// Pictures from files, the clipboard, by dropping or from the camera, with a preview.

import { byId, bytes, write } from './format.js';

const side = 640; // pixels of the preview's longer side

let onPicture = () => {};
let shown = 0; // numbers the pictures, so that a slow preview does not cover a newer one

/** prepare sets what is called with a picture's blob and a promise of its bitmap. reveal shows the field, or says false where there is none. */
export function prepare(callback, reveal) {
  onPicture = callback;
  const drop = byId('drop');
  for (const id of ['file', 'camera']) {
    byId(id).addEventListener('change', ({ target }) => {
      take(target.files);
      target.value = ''; // the same file may be chosen again
    });
  }
  byId('camera-label').hidden = !matchMedia('(pointer: coarse)').matches;
  for (const name of ['dragenter', 'dragover']) {
    drop.addEventListener(name, (event) => {
      event.preventDefault();
      drop.classList.add('over');
    });
  }
  for (const name of ['dragleave', 'drop']) drop.addEventListener(name, () => drop.classList.remove('over'));
  drop.addEventListener('drop', (event) => {
    event.preventDefault();
    take(event.dataTransfer.files);
  });
  document.addEventListener('paste', (event) => {
    const files = [...event.clipboardData?.files ?? []].filter((file) => file.type.startsWith('image/'));
    if (!files.length || reveal() === false) return;
    event.preventDefault();
    take(files);
  });
}

export function clear() {
  shown++;
  byId('preview').hidden = true;
  byId('drop-hint').hidden = false;
  write(byId('upload-note'), '');
}

function take(files) {
  const [file, ...others] = files ?? [];
  if (!file) {
    write(byId('upload-note'), 'That is no file: drop or paste a picture.');
    return;
  }
  const bitmap = createImageBitmap(file);
  const mine = ++shown;
  const only = others.length ? ` The first of ${others.length + 1}; they go one at a time.` : '';
  const about = `${file.name || 'A picture'}, ${bytes(file.size)}`;
  bitmap.then((picture) => mine === shown && preview(picture, `${about}, ${picture.width} × ${picture.height}.${only}`), () => {
    if (mine !== shown) return;
    clear();
    write(byId('upload-note'), `${about}. This browser cannot show it; the node may read it all the same.${only}`);
  });
  onPicture(file, bitmap);
}

function preview(picture, note) {
  const canvas = byId('preview');
  const scale = Math.min(1, side / Math.max(picture.width, picture.height));
  canvas.width = Math.max(1, Math.round(picture.width * scale));
  canvas.height = Math.max(1, Math.round(picture.height * scale));
  canvas.getContext('2d').drawImage(picture, 0, 0, canvas.width, canvas.height);
  canvas.setAttribute('aria-label', `The picture that was given: ${note}`);
  canvas.hidden = false;
  byId('drop-hint').hidden = true;
  write(byId('upload-note'), note);
}
