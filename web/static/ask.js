// The card where a person gives the pipeline something: by drawing, a picture, a form or JSON, as its model takes it.

import { Pad } from './draw.js';
import { byId, element, write } from './format.js';
import * as form from './form.js';
import { inputOf } from './kinds.js';
import { fetchBlob, showWall, written } from './samples.js';
import * as typed from './typed.js';
import * as upload from './upload.js';

const names = { draw: 'Draw', upload: 'Picture', form: 'Form', json: 'JSON' };

let onAsk = () => {};
let onFault = () => {};
let shown = ''; // what the card is made for
let input = inputOf(null);
let sources = null; // samples of digits, once they are asked for
let pad = null;

/** prepare sets what is called with {body, type, bitmap} of what a person gives, and with the fault of a sample that did not load. */
export function prepare(ask, fault) {
  onAsk = ask;
  onFault = fault;
  pad = new Pad(byId('canvas'), {
    onDrawn: (blob) => give(blob),
    onDigit: (digit) => input.digits && sample(written(digit)),
  });
  byId('clear').addEventListener('click', () => {
    pad.clear();
    byId('canvas').focus();
  });
  upload.prepare((blob, bitmap) => onAsk({ body: blob, type: blob.type, bitmap }), () => input.ways.includes('upload') && choose('upload'));
  form.prepare((row) => onAsk({ body: JSON.stringify(row), type: 'application/json' }));
  typed.prepare((text) => onAsk({ body: text, type: 'application/json' }));
}

const give = (blob, prefix) => onAsk({ body: blob, type: 'image/png', bitmap: createImageBitmap(blob) }, prefix);

async function sample(source) {
  try {
    const blob = await fetchBlob(source);
    choose('draw');
    pad.show(await createImageBitmap(blob));
    give(blob, 'sample');
  } catch (error) {
    onFault(error);
  }
}

/** samples are the paths of the wall's pictures. */
export const samples = () => sources ?? [];

/** update makes the card fit the pipeline and its model. It returns whether it is about something else than before. */
export function update(pipeline, model) {
  input = inputOf(model);
  if (!pipeline) write(byId('none-text'), '');
  else if (!model) write(byId('none-text'), pipeline.reason ? `It is ${pipeline.state}: ${pipeline.reason}` : '');
  const now = JSON.stringify([pipeline?.name, pipeline?.from, pipeline?.model, input, model?.inputs, model?.labels, model?.metadata]);
  if (now === shown) return false;
  shown = now;
  head(pipeline, model);
  byId('modes').replaceChildren(...input.ways.map((way) => element('button', { type: 'button', 'data-way': way, 'aria-pressed': 'false', onclick: () => choose(way) }, names[way])));
  byId('modes').hidden = input.ways.length < 2;
  byId('way-none').hidden = input.ways.length > 0;
  pad.clear();
  upload.clear();
  if (input.kind === 'table') form.show(model);
  if (model) typed.show(model, input);
  choose(input.ways[0]);
  wall();
  return true;
}

function choose(way) {
  for (const name of Object.keys(names)) byId(`way-${name}`).hidden = name !== way;
  for (const button of byId('modes').children) button.setAttribute('aria-pressed', String(button.dataset.way === way));
}

/** wall shows samples where digits are drawn. */
function wall() {
  byId('wall').hidden = !input.digits;
  if (!input.digits || sources) return;
  sources = [];
  showWall(sample).then((all) => { sources = all; }).catch((error) => write(byId('samples-note'), error.message));
}

function head(pipeline, model) {
  const { title, lead, hint, area } = words(pipeline, model);
  write(byId('ask-title'), title);
  byId('ask-lead').replaceChildren(...lead);
  write(byId('canvas-hint'), hint ?? '');
  if (area) byId('canvas').setAttribute('aria-label', area);
  document.title = pipeline ? `${pipeline.name} · Millrace` : 'Millrace';
  write(byId('none-code'), pipeline
    ? `millrace model push ${pipeline.model} FILE.onnx`
    : `curl -X PUT ${location.origin}/rest/v2/pipelines/NAME -d '{"from": "CACHE", "model": "MODEL", "to": "RESULTS"}'`);
  write(byId('none-note'), pipeline
    ? 'This page shows how to ask as soon as the model is there.'
    : 'A pipeline is the cache that it reads, its model, and the cache that it writes. Make one, here or in the configuration, and this page shows how to ask it.');
}

function words(pipeline, model) {
  if (!pipeline) return { title: 'Nothing runs here yet', lead: ['The node is up, and its caches take entries. It has no pipeline, so nothing answers them.'] };
  const [from, name] = [element('code', { id: 'source-name' }, pipeline.from), element('code', {}, pipeline.model)];
  if (!model) return { title: 'No model yet', lead: ['The pipeline waits for the model ', name, '. What is put into the cache ', from, ' meanwhile is kept, and answered then.'] };
  const way = (what) => [what, ' goes into the cache ', from, ', through the model ', name, ', and comes back as an event.'];
  switch (input.kind) {
    case 'drawing':
      return input.digits
        ? {
          title: 'Draw a digit', hint: 'Draw here, or press a key from 0 to 9',
          area: 'Drawing area. Draw with mouse, finger or pen, or press a key from 0 to 9 to have that digit written.',
          lead: ['It goes into the cache ', from, ' when you lift the pen, through the network, and comes back as an event.'],
        }
        : {
          title: 'Draw', hint: 'Draw here', area: 'Drawing area. Draw with mouse, finger or pen.',
          lead: ['It goes into the cache ', from, ' when you lift the pen, through the network, and comes back as an event.'],
        };
    case 'picture': {
      const { width, height, channels } = model.takes;
      return { title: 'Show it a picture', lead: [...way('It'), ` The model sees ${width} × ${height} pixels${channels === 1 ? ' in grey' : ''}.`] };
    }
    case 'table':
      return { title: model.metadata.target ? `Ask for ${model.metadata.target}` : 'Fill in a row', lead: way('The row') };
    default:
      return { title: 'Send it numbers', lead: way('JSON') };
  }
}
