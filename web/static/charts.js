// Four small charts of the last two minutes, from the numbers of GET /rest/v2/stats.

import { byId, count, element, rate, shape, time, write } from './format.js';

const seconds = 120;
const width = 300;
const height = 88;

/** Lines draws one or two series over time. */
class Lines {
  #series; #values; #paths; #area; #numbers; #top; #format;

  constructor(id, names, format) {
    this.#format = format;
    this.#series = names.map(() => []);
    this.#numbers = names.map(() => document.createTextNode('–'));
    this.#values = element('div', { class: 'now' }, ...names.map((name, i) => element('div', { class: names.length > 1 ? ['first', 'second'][i] : '' },
      element('span', {}, this.#numbers[i]), ' ', element('small', {}, name))));
    this.#paths = names.map((_, i) => shape('path', { class: 'ab'[i] }));
    this.#area = shape('path', { class: 'area' });
    this.#top = element('span', {});
    byId(id).append(this.#values,
      shape('svg', { viewBox: `0 0 ${width} ${height}`, preserveAspectRatio: 'none', 'aria-hidden': 'true' },
        ...[0.5, height / 2, height - 0.5].map((y) => shape('line', { x1: 0, x2: width, y1: y, y2: y })), this.#area, ...this.#paths.toReversed()),
      element('div', { class: 'axis' }, element('span', {}, '2 min ago'), this.#top, element('span', {}, 'now')));
  }

  /** push adds a value of now to each series; null is a gap. */
  push(...now) {
    now.forEach((value, i) => {
      this.#series[i].push(value);
      if (this.#series[i].length > seconds) this.#series[i].shift();
      this.#numbers[i].data = value == null ? '–' : this.#format(value);
    });
    const top = nice(Math.max(...this.#series.flat().map((v) => v ?? 0)));
    write(this.#top, top ? `top ${this.#format(top)}` : '');
    this.#paths.forEach((path, i) => path.setAttribute('d', this.#line(this.#series[i], top)));
    const first = this.#series[0].findIndex((v) => v != null);
    const line = this.#line(this.#series[0], top);
    this.#area.setAttribute('d', first < 0 || this.#series[0].includes(null) ? '' : `${line}L${width} ${height}L${this.#x(0)} ${height}Z`);
  }

  #x(i, n = this.#series[0].length) { return width - (n - 1 - i) * (width / (seconds - 1)); }

  #line(values, top) {
    let d = '';
    let pen = false;
    values.forEach((v, i) => {
      if (v == null) {
        pen = false;
        return;
      }
      d += `${pen ? 'L' : 'M'}${this.#x(i).toFixed(1)} ${(height - 2 - (top ? v / top : 0) * (height - 6)).toFixed(1)}`;
      pen = true;
    });
    return d;
  }
}

/** nice rounds up to 1, 2 or 5 times a power of ten. */
function nice(v) {
  if (!(v > 0)) return 0;
  const unit = 10 ** Math.floor(Math.log10(v));
  return [1, 2, 5, 10].map((k) => k * unit).find((k) => k >= v);
}

let lines;
let levels;
let histogram;

export function prepare() {
  lines = {
    rate: new Lines('chart-rate', ['put', 'answered'], rate),
    latency: new Lines('chart-latency', ['p50', 'p99'], time),
  };
  levels = byId('chart-entries').appendChild(element('div', { class: 'levels' }));
  histogram = byId('chart-batch');
  histogram.append(element('div', { class: 'now' }), element('div', { class: 'hist', role: 'img' }));
}

/** update takes the stats, or null where the server is away. */
export function update(stats) {
  if (!stats) {
    lines.rate.push(null, null);
    lines.latency.push(null, null);
    return;
  }
  const sum = (field) => stats.pipelines.reduce((all, p) => all + p[field], 0);
  lines.rate.push(sum('in_rate'), sum('out_rate'));
  const busy = stats.pipelines.filter((p) => p.latency_p50_us > 0);
  const worst = (field) => (busy.length ? Math.max(...busy.map((p) => p[field])) : null);
  lines.latency.push(worst('latency_p50_us'), worst('latency_p99_us'));
  showLevels(stats.caches);
  showBatches(stats.pipelines);
}

function showLevels(caches) {
  const most = Math.max(1, ...caches.map((c) => c.max_entries || c.entries));
  const top = [...caches].sort((a, b) => b.entries - a.entries).slice(0, 5).sort((a, b) => a.name.localeCompare(b.name));
  if (levels.dataset.names !== top.map((c) => c.name).join()) {
    levels.dataset.names = top.map((c) => c.name).join();
    levels.replaceChildren(...top.map((c) => element('div', {}, element('span', { title: c.name }, c.name), element('span', { class: 'num' }), element('i', {}))));
    if (!top.length) levels.append(element('p', { class: 'empty' }, 'No caches yet.'));
  }
  top.forEach((c, i) => {
    const [, number, bar] = levels.children[i].children;
    const [n, of] = c.store ? [c.in_memory, 'in memory of'] : [c.entries, 'of'];
    write(number, c.max_entries ? `${count(n)} ${of} ${count(c.max_entries)}` : count(c.entries));
    bar.style.transform = `scaleX(${Math.max((c.max_entries ? n / c.max_entries : c.entries / most), 0.004)})`;
  });
}

function showBatches(pipelines) {
  const sizes = [];
  for (const p of pipelines) (p.batch_sizes ?? []).forEach((n, i) => { sizes[i] = (sizes[i] ?? 0) + n; });
  while (sizes.length < 7) sizes.push(0);
  const [now, hist] = [histogram.querySelector('.now'), histogram.querySelector('.hist')];
  const ran = pipelines.filter((p) => p.batch_mean > 0);
  const mean = ran.length ? ran.reduce((all, p) => all + p.batch_mean, 0) / ran.length : 0;
  if (!now.firstChild) now.append(element('div', {}, element('span', {}), ' ', element('small', {}, 'entries a run, in the mean')));
  write(now.querySelector('span'), mean ? rate(mean) : '–');
  const most = Math.max(1, ...sizes);
  if (hist.children.length !== sizes.length) {
    hist.replaceChildren(...sizes.map((_, i) => element('div', {}, element('i', {}), `${2 ** i}`)));
  }
  sizes.forEach((n, i) => {
    const bar = hist.children[i].firstChild;
    bar.style.height = `${(n / most) * 100}%`;
    hist.children[i].title = `${count(n)} runs of ${i ? `${2 ** (i - 1) + 1} to ${2 ** i}` : '1'}`;
  });
  hist.setAttribute('aria-label', sizes.map((n, i) => `${n} runs of up to ${2 ** i}`).join(', '));
}
