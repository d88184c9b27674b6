// The drawing area: strokes of mouse, finger or pen in, a PNG out.

const side = 140; // pixels of the picture that is sent
const penShare = 0.085; // the pen's width as a share of the area
const pause = 420; // ms without a stroke after which the drawing is sent
const renew = 1600; // ms after which the next stroke begins a new drawing

/** Pad draws on a canvas. onDrawn gets the PNG of each finished drawing, onDigit the digit whose key was pressed. */
export class Pad {
  #canvas; #strokes = []; #timer = 0; #lifted = 0; #pointer = null; #onDrawn; #frame = 0; #picture = null;

  constructor(canvas, { onDrawn, onDigit }) {
    this.#canvas = canvas;
    this.#onDrawn = onDrawn;
    canvas.addEventListener('pointerdown', (event) => this.#down(event));
    canvas.addEventListener('pointermove', (event) => this.#move(event));
    for (const name of ['pointerup', 'pointercancel']) canvas.addEventListener(name, (event) => this.#up(event));
    canvas.addEventListener('keydown', (event) => {
      if (event.ctrlKey || event.metaKey || event.altKey) return;
      if (/^[0-9]$/.test(event.key)) onDigit(event.key);
      else if (event.key === 'Escape' || event.key === 'Backspace' || event.key === 'Delete') this.clear();
      else return;
      event.preventDefault();
    });
    new ResizeObserver(() => this.#paint()).observe(canvas);
    matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => this.#paint());
  }

  clear() {
    clearTimeout(this.#timer);
    this.#strokes = [];
    this.#picture = null;
    this.#paint();
  }

  /** show puts a picture that was not drawn here into the area; light ink on dark is expected. */
  show(bitmap) {
    this.clear();
    this.#picture = bitmap;
    this.#paint();
  }

  #point(event) {
    const box = this.#canvas.getBoundingClientRect();
    return [(event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height];
  }

  #down(event) {
    if (this.#pointer !== null || event.button > 0) return;
    event.preventDefault();
    this.#canvas.focus({ preventScroll: true });
    this.#pointer = event.pointerId;
    this.#canvas.setPointerCapture(event.pointerId);
    clearTimeout(this.#timer);
    if (this.#picture || performance.now() - this.#lifted > renew) this.clear();
    this.#strokes.push([this.#point(event)]);
    this.#soon();
  }

  #move(event) {
    if (event.pointerId !== this.#pointer) return;
    const stroke = this.#strokes.at(-1);
    const moves = event.getCoalescedEvents?.() ?? [];
    for (const each of moves.length ? moves : [event]) stroke.push(this.#point(each));
    this.#soon();
  }

  #up(event) {
    if (event.pointerId !== this.#pointer) return;
    this.#pointer = null;
    this.#lifted = performance.now();
    this.#paint();
    this.#timer = setTimeout(() => this.#send(), pause);
  }

  #send() {
    const canvas = document.createElement('canvas');
    canvas.width = side;
    canvas.height = side;
    const pen = canvas.getContext('2d');
    pen.fillStyle = '#fff';
    pen.fillRect(0, 0, side, side);
    this.#ink(pen, side, '#000');
    canvas.toBlob((blob) => this.#onDrawn(blob), 'image/png');
  }

  #soon() {
    this.#frame ||= requestAnimationFrame(() => { this.#frame = 0; this.#paint(); });
  }

  #paint() {
    const box = this.#canvas.getBoundingClientRect();
    if (!box.width) return; // it is not shown
    const size = Math.max(1, Math.round(box.width * devicePixelRatio));
    if (this.#canvas.width !== size) {
      this.#canvas.width = size;
      this.#canvas.height = size;
    }
    const pen = this.#canvas.getContext('2d');
    pen.clearRect(0, 0, size, size);
    const ink = getComputedStyle(this.#canvas).color;
    if (this.#picture) stencil(pen, this.#picture, size, ink);
    this.#ink(pen, size, ink);
    this.#canvas.parentElement.classList.toggle('used', this.#strokes.length > 0 || this.#picture !== null);
  }

  #ink(pen, size, colour) {
    pen.strokeStyle = colour;
    pen.fillStyle = colour;
    pen.lineWidth = size * penShare;
    pen.lineCap = 'round';
    pen.lineJoin = 'round';
    for (const stroke of this.#strokes) {
      const points = stroke.map(([x, y]) => [x * size, y * size]);
      pen.beginPath();
      pen.moveTo(...points[0]);
      for (let i = 1; i < points.length - 1; i++) {
        const [x, y] = points[i];
        pen.quadraticCurveTo(x, y, (x + points[i + 1][0]) / 2, (y + points[i + 1][1]) / 2);
      }
      pen.lineTo(...points.at(-1));
      pen.stroke();
    }
  }
}

/** stencil paints a picture's light parts in a colour. */
function stencil(pen, picture, size, colour) {
  const canvas = document.createElement('canvas');
  canvas.width = picture.width;
  canvas.height = picture.height;
  const copy = canvas.getContext('2d');
  copy.drawImage(picture, 0, 0);
  const pixels = copy.getImageData(0, 0, canvas.width, canvas.height);
  for (let i = 0; i < pixels.data.length; i += 4) pixels.data[i + 3] = pixels.data[i];
  copy.putImageData(pixels, 0, 0);
  copy.globalCompositeOperation = 'source-in';
  copy.fillStyle = colour;
  copy.fillRect(0, 0, canvas.width, canvas.height);
  pen.drawImage(canvas, 0, 0, size, size);
}
