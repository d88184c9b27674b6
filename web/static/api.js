// The server's HTTP API: requests with a token where one is asked for, entries, and listening.

import { keyPath } from './keys.js';

const tokenKey = 'millrace-token';
let asking = null;
let ask = () => Promise.reject(new Error('This server asks for a token.'));

/** whenTokenNeeded sets what asks the person: a function that gets whether a token was refused, and promises one. */
export function whenTokenNeeded(fn) { ask = fn; }

/** Refused is an answer that is no success; its message is the server's own. */
export class Refused extends Error {
  constructor(status, code, message) {
    super(message);
    this.status = status;
    this.code = code;
  }
}

/** request is fetch with the token; it asks for one on 401, once for all requests that wait. Answers that are no success are thrown. */
export async function request(path, options = {}) {
  for (;;) {
    const token = sessionStorage.getItem(tokenKey);
    const headers = new Headers(options.headers);
    if (token) headers.set('Authorization', `Bearer ${token}`);
    const response = await fetch(path, { ...options, headers });
    if (response.ok) return response;
    if (response.status !== 401) throw await refusal(response);
    if (sessionStorage.getItem(tokenKey) !== token) continue; // another request asked meanwhile
    asking ??= ask(token !== null).then((given) => sessionStorage.setItem(tokenKey, given)).finally(() => { asking = null; });
    await asking;
  }
}

async function refusal(response) {
  try {
    const body = await response.json();
    return new Refused(response.status, body.code, body.error);
  } catch {
    return new Refused(response.status, '', `The server answered ${response.status}.`);
  }
}

export const json = async (path, options) => (await request(path, options)).json();

export const entryPath = (cache, key) => `/rest/v2/caches/${encodeURIComponent(cache)}/${keyPath(key)}`;

/** put stores a value under a key; lifespan is in seconds. */
export function put(cache, key, body, { lifespan, type = 'image/png' } = {}) {
  const headers = { 'Content-Type': type };
  if (lifespan) headers.timeToLiveSeconds = String(lifespan);
  return request(entryPath(cache, key), { method: 'PUT', headers, body });
}

const silence = 45000; // the server sends at least a comment every 15 s

/**
 * listen gets a cache's events until signal ends it, across lost connections and restarts of the server: it comes back with
 * the last event id it saw, and begins with what comes from now on. onEvents gets arrays of {type, id, data}, onState 'live' or 'away' with the error.
 * Streaming by fetch and not by EventSource, because only fetch can send a token.
 */
export async function listen(cache, { onEvents, onState, signal }) {
  let last = '';
  for (let wait = 300; !signal.aborted; wait = Math.min(wait * 1.6, 4000)) {
    const connection = new AbortController();
    const stop = () => connection.abort();
    signal.addEventListener('abort', stop);
    let watchdog = setTimeout(stop, silence);
    try {
      const query = new URLSearchParams({ action: 'listen', values: 'true' });
      const response = await request(`/rest/v2/caches/${encodeURIComponent(cache)}?${query}`, {
        headers: last ? { 'Last-Event-ID': last } : {}, signal: connection.signal, cache: 'no-store',
      });
      onState('live');
      wait = 300;
      for await (const { events, id } of read(response.body)) {
        clearTimeout(watchdog);
        watchdog = setTimeout(stop, silence);
        if (id) last = id;
        if (events.length) onEvents(events);
      }
      onState('away', new Error('The server ended the stream.'));
    } catch (error) {
      if (signal.aborted) return;
      if (last && error instanceof Refused && error.status < 500) last = ''; // ids of another life of the grid
      onState('away', error);
    } finally {
      clearTimeout(watchdog);
      signal.removeEventListener('abort', stop);
      connection.abort();
    }
    await new Promise((done) => { setTimeout(done, wait); });
  }
}

/** read splits a stream of server-sent events as the HTML standard says, one batch for each piece that arrives. */
async function* read(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = '';
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    const blocks = (rest + value).split('\n\n');
    rest = blocks.pop();
    const events = [];
    let id = '';
    for (const block of blocks) {
      const event = { type: 'message', id: '', data: '' };
      for (const line of block.split('\n')) {
        const colon = line.indexOf(':');
        if (colon <= 0) continue;
        const field = line.slice(0, colon);
        const text = line.slice(line[colon + 1] === ' ' ? colon + 2 : colon + 1);
        if (field === 'event') event.type = text;
        else if (field === 'id') event.id = text;
        else if (field === 'data') event.data += event.data ? `\n${text}` : text;
      }
      if (event.id) id = event.id;
      if (event.data) events.push(event);
    }
    yield { events, id };
  }
}
