// The page for browsers: asks /status each second and /details every other one, and draws what they say.
// SPDX-License-Identifier: MIT
// Everything becomes text or an attribute of an element made here: no markup is ever read from what the program says.
'use strict';

const SECONDS = 600;             // of the charts
const EVERY = 1000;              // ms between two requests
const PATIENCE = 4000;           // ms for an answer
const LINES = 64;                // of the log
const ALL = 3;                   // requests, of which one has all rates, if there are several workers
const SVG = 'http://www.w3.org/2000/svg';
const MEAN = 5;                  // seconds that a point of a curve is the mean of
const RATES = ['delivered', 'settled', 'published', 'failed', 'retried', 'dead'];

// ---- what is known ----

const known = {
   status: null, at: 0,          // the last answer, and when it came (ms)
   before: null,                 // the one before it, for rates of queues
   details: null, detailsAt: 0, detailsWhy: '',
   failedSince: 0, why: '',
   rates: [],                    // by worker: {count, delivered: [...], ...}
   log: [],                      // {worker, text}
   logLast: [],                  // by worker
   places: new Map(),            // of consumers in their table, by key: also those that went may come back
   shown: new Set(),             // the keys of those in it now
   token: '',
};

// ---- words ----

function duration(s) {
   if (s === undefined || s === null) return '';
   if (s < 0.001) return `${Math.round(s * 1e6)} \u00B5s`;
   if (s < 1) return `${Math.round(s * 1000)} ms`;
   if (s < 60) return `${s.toFixed(1)} s`;
   if (s < 3600) return `${Math.floor(s / 60)} min ${Math.floor(s % 60)} s`;
   if (s < 86400) return `${Math.floor(s / 3600)} h ${Math.floor(s % 3600 / 60)} min`;
   return `${Math.floor(s / 86400)} d ${Math.floor(s % 86400 / 3600)} h`;
}

function count(n) { return n === undefined ? '' : Math.round(n).toLocaleString('en'); }

function rate(n) { return n === undefined ? '' : Number.isInteger(n) || n >= 10 ? count(n) : n.toFixed(1); }

function bytes(n) {
   const units = ['B', 'KiB', 'MiB', 'GiB'];
   let i = 0;
   for (; n >= 1024 && i < 3; i++) n /= 1024;
   return `${i ? n.toFixed(1) : n} ${units[i]}`;
}

function clock(seconds) { return new Date(seconds * 1000).toLocaleTimeString('en-GB'); }

// ---- elements: a description, and making the document like it ----

// h('td', {class: 'number'}, 'text', h(...)); nulls are left out.
function h(tag, attributes, ...children) {
   return { tag, attributes: attributes || {}, children: children.flat(9).filter((c) => c !== null && c !== undefined && c !== '') };
}

// What has a key is the same element wherever it stands.
function keyed(key, node) { return { ...node, key }; }

function make(node) {
   if (typeof node !== 'object') return document.createTextNode(node);
   const isDrawn = ['svg', 'path', 'line', 'g'].includes(node.tag);
   const element = isDrawn ? document.createElementNS(SVG, node.tag) : document.createElement(node.tag);
   element.shown = {};
   fill(element, node);
   return element;
}

function fill(element, node) {
   for (const name of Object.keys(element.shown)) {
      if (!(name in node.attributes)) element.removeAttribute(name);
   }
   for (const [name, value] of Object.entries(node.attributes)) {
      if (name.startsWith('on')) element[name] = value;
      else if (element.shown[name] !== value) element.setAttribute(name, value);
   }
   element.shown = node.attributes;
   element.key = node.key;
   patch(element, node.children);
}

// Has the elements with keys stand where they are to stand; those whose keys are gone are removed first, so that few move.
function order(parent, children) {
   const keys = new Set(children.map((node) => node.key));
   for (const old of [...parent.childNodes]) {
      if (old.key !== undefined && !keys.has(old.key)) old.remove();
   }
   children.forEach((node, i) => {
      const old = parent.childNodes[i];
      if (node.key === undefined || !old || old.key === node.key) return;
      parent.insertBefore([...parent.childNodes].slice(i).find((one) => one.key === node.key) || make(node), old);
   });
}

// Changes what differs, so that focus, selections and open details stay.
function patch(parent, children) {
   order(parent, children);
   children.forEach((node, i) => {
      const old = parent.childNodes[i];
      if (!old) parent.appendChild(make(node));
      else if (typeof node !== 'object' && old.nodeType === 3) {
         if (old.data !== String(node)) old.data = node;
      } else if (typeof node === 'object' && old.shown && old.tagName.toLowerCase() === node.tag) fill(old, node);
      else parent.replaceChild(make(node), old);
   });
   while (parent.childNodes.length > children.length) parent.removeChild(parent.lastChild);
}

function show(id, ...children) { patch(document.getElementById(id), h('', {}, ...children).children); }

function state(word, kind) { return h('span', { class: `state ${kind || ''}` }, word); }

// A titled table; columns: [title, class, cell(row)]. Without rows it says so. Rows with controls have a key.
function table(title, note, columns, rows, none) {
   const used = columns.filter(Boolean);
   const body = rows.length === 0 ? h('p', { class: 'none' }, none) : h('div', { class: 'scroll', tabindex: '0', role: 'region', 'aria-label': title },
      h('table', {},
         h('thead', {}, h('tr', {}, used.map(([name, kind]) => keyed(name, h('th', { scope: 'col', class: kind || '' }, name))))),
         h('tbody', {}, rows.map((row) => keyed(row.key, h('tr', {},
            used.map(([name, kind, cell]) => keyed(name, h('td', { class: kind || '' }, cell(row))))))))));
   return h('div', { class: 'panel' }, h('h2', {}, title, note ? h('small', {}, note) : null), body);
}

// ---- asking ----

async function ask(path, options) {
   const ending = new AbortController();
   const timer = setTimeout(() => ending.abort(), PATIENCE);
   try {
      const answer = await fetch(path, { cache: 'no-store', credentials: 'omit', signal: ending.signal, ...options });
      const body = await answer.json();
      if (!answer.ok) throw new Error(body.error || `HTTP status ${answer.status}`);
      return body;
   } catch (error) {
      throw new Error(error.name === 'AbortError' ? 'no answer in time' : error.message);
   } finally {
      clearTimeout(timer);
   }
}

// What each worker says: [{worker, pid, page}]; a single process is worker 0. `page` is missing if it gives no answer.
function parts(answer) {
   if (!answer) return [];
   if (!Array.isArray(answer.workers)) return [{ worker: 0, page: answer }];
   return answer.workers.map((w) => ({ worker: w.worker, pid: w.pid, page: w.page, why: w.reason, state: w.state }));
}

function listOf(thing) { return Array.isArray(thing) ? thing : []; } // an empty list may have come as an empty object

function pages(answer) { return parts(answer).filter((p) => p.page); }

function each(answer, list) {
   return pages(answer).flatMap(({ worker, page }) => listOf(page[list]).map((one) => ({ ...one, worker })));
}

function total(answer, group, name) {
   return pages(answer).reduce((sum, { page }) => sum + ((group ? page[group] : page) || {})[name], 0);
}

// True if the process was started again: it counts from 0.
function isAnother(worker, page) {
   const [old] = pages(known.status).filter((p) => p.worker === worker);
   const rates = known.rates[worker];
   return Boolean((old && (page.pid !== old.page.pid || page.uptime < old.page.uptime)) ||
      (rates && page.rates && page.rates.count < rates.count) || (page.log && page.log.last < known.logLast[worker]));
}

// All of it is asked for anew.
function forget(worker) {
   delete known.rates[worker];
   delete known.logLast[worker];
   known.log = known.log.filter((line) => line.worker !== worker);
}

function takeRates(worker, news) {
   const old = known.rates[worker];
   const isNext = old && news.count >= old.count && news.count - old.count === listOf(news.delivered).length;
   const kept = { count: news.count };
   for (const name of RATES) kept[name] = (isNext ? old[name] : []).concat(listOf(news[name])).slice(-SECONDS);
   known.rates[worker] = kept;
}

function takeLog(worker, log) {
   known.logLast[worker] = log.last;
   known.log = known.log.concat(listOf(log.lines).map((text) => ({ worker, text })));
   if (known.log.length > LINES) known.log = known.log.slice(-LINES);
}

let asked = 0;

function query() {
   const isOne = !known.status || !known.status.workers;
   const old = known.rates[0];
   const words = ['recent'];
   if (isOne) words.push(old ? `rates=${old.count}` : 'rates', `log=${known.logLast[0] || 0}`);
   else words.push(...(asked % ALL === 0 ? ['rates'] : []), 'log');
   asked++;
   return words.join('&');
}

async function askStatus() {
   try {
      const answer = await ask(`/status?${query()}`);
      if (!answer.version && !answer.workers) throw new Error('/status is a page of the program\u2019s own');
      const others = pages(answer).filter(({ worker, page }) => isAnother(worker, page)).map(({ worker }) => worker);
      known.before = known.status && { status: known.status, at: known.at };
      known.status = answer;
      known.at = Date.now();
      known.failedSince = 0;
      if (answer.workers) [known.log, known.logLast] = [[], []];
      others.forEach(forget);
      for (const { worker, page } of pages(answer)) {
         if (!worker && others.length) continue; // it has only what comes after what the one before had counted
         if (page.rates) takeRates(worker, page.rates);
         if (page.log) takeLog(worker, page.log);
      }
   } catch (error) {
      known.failedSince = known.failedSince || Date.now();
      known.why = error.message;
   }
}

let asking = null; // the request of details on its way

async function takeDetails() {
   const all = pages(known.status).map(({ page }) => page);
   if (all.length > 0 && all.every(busy)) {
      known.detailsWhy = 'the script is busy';
      return;
   }
   try {
      known.details = await ask('/details');
      known.detailsAt = Date.now();
      known.detailsWhy = '';
   } catch (error) {
      known.detailsWhy = error.message;
   }
}

// Not awaited by the round: while the script is busy there is no answer, and the rest of the page goes on.
function askDetails() {
   asking = asking || takeDetails().finally(() => { asking = null; });
   return asking;
}

// ---- the head, and what is wrong ----

function isOld() { return known.failedSince !== 0; }

function busy(page) {
   const script = page.script || {};
   return script.state === 'stalled' || (script.state === 'busy' && script.busy > 2) ? script : null;
}

function showHead() {
   const [first] = isMany() ? [{ page: known.status }] : pages(known.status);
   const [details] = pages(known.details);
   const name = (details && details.page.name) || each(known.status, 'connections')[0]?.name || 'Moonrabbit';
   show('name', isMany() ? name.replace(/\/\d+$/, '') : name);
   document.title = `${name} \u2013 Moonrabbit`;
   const all = pages(known.status).map(({ page }) => page);
   const isStopping = all.some((p) => p.stopping);
   const isWell = all.length > 0 && all.length === parts(known.status).length && all.every((p) => p.status === 'healthy');
   const words = [isOld() ? state('gone', 'bad') : isStopping ? state('stopping', 'warn') : isWell ? state('healthy', 'good') : state('unhealthy', 'bad')];
   if (details && details.page.is_quiet) words.push(state('quiet: takes no messages', 'warn'));
   if (isMany()) words.push(h('span', {}, `${all.length} of ${parts(known.status).length} workers`));
   if (first) {
      words.push(h('span', {}, `up ${duration(first.page.uptime)}`));
      words.push(h('span', {}, `pid ${first.page.pid}`));
      words.push(h('span', {}, `Moonrabbit ${first.page.version}`));
   }
   show('summary', words);
}

function showFresh() {
   const fresh = document.getElementById('fresh');
   const at = known.at ? clock(known.at / 1000) : '';
   const text = isOld() ? `no answer since ${clock(known.failedSince / 1000)}: ${known.why}` : at ? `as of ${at}` : 'loading';
   fresh.className = isOld() ? 'old' : '';
   if (fresh.textContent !== text) fresh.textContent = text;
}

function notice(kind, ...children) { return h('div', { class: `notice ${kind}` }, children); }

function who(worker) { return worker ? `worker ${worker}: ` : ''; }

function showNotices() {
   const list = [];
   if (isOld()) list.push(notice('', h('strong', {}, 'The program gives no answer. '), 'What is shown is what it said last.'));
   for (const part of parts(known.status)) {
      if (!part.page) {
         list.push(notice('', h('strong', {}, `Worker ${part.worker} gives no page. `), part.why || ''));
         continue;
      }
      const script = busy(part.page);
      if (script) {
         list.push(notice('warn', h('strong', {}, `${who(part.worker)}The script is busy since ${clock(part.page.time - script.busy)}`),
            ` (for ${duration(script.busy)})${script.where ? `: ${script.where}` : ''}. Heartbeats and this page go on; what only the script knows is as it was before.`,
            script.traceback ? h('pre', { class: 'mono' }, script.traceback) : null));
      }
      for (const reason of listOf(part.page.reasons)) {
         if (!(script && reason.startsWith('stalled'))) list.push(notice('', who(part.worker), reason));
      }
   }
   show('notices', list);
}

// ---- numbers and charts ----

function sumOfRates() {
   const sums = {};
   const all = pages(known.status).map(({ worker }) => known.rates[worker]).filter(Boolean);
   const length = Math.max(0, ...all.map((r) => r.delivered.length));
   for (const name of RATES) {
      sums[name] = new Array(length).fill(0);
      for (const r of all) {
         const shift = length - r[name].length;
         r[name].forEach((n, i) => { sums[name][i + shift] += n; });
      }
   }
   return sums;
}

function lately(list) { // the mean of the last 5 seconds
   const some = list.slice(-5);
   return some.length ? some.reduce((a, b) => a + b, 0) / some.length : 0;
}

function tile(name, value, note) {
   return h('div', { class: 'tile' }, h('dt', {}, name), h('dd', {}, value, note ? h('small', {}, note) : null));
}

function showTiles(rates) {
   const s = known.status;
   const dead = each(s, 'queues').reduce((sum, q) => sum + q.dead, 0);
   show('tiles', [
      tile('Received', rate(lately(rates.delivered)), '/s'),
      tile('Settled', rate(lately(rates.settled)), '/s'),
      tile('In flight', count(total(s, 'messages', 'in_flight'))),
      tile('Published', rate(lately(rates.published)), '/s'),
      tile('To be written', bytes(total(s, 'publishes', 'outbound'))),
      tile('Dead letters', count(dead)),
      tile('Connections lost', count(total(s, 'totals', 'losses'))),
      tile('Memory of Lua', bytes(total(s, 'script', 'memory'))),
   ]);
}

function niceTop(most) {
   if (most <= 1) return 1;
   const power = 10 ** Math.floor(Math.log10(most));
   return [1, 2, 4, 6, 10].map((n) => n * power).find((n) => n >= most);
}

// The means of some seconds each, the last one at the right edge; the steps stay where they are while the curve moves on.
function means(list, phase) {
   const points = [];
   for (let end = list.length - phase; end > 0; end -= MEAN) {
      const some = list.slice(Math.max(0, end - MEAN), end);
      points.unshift({ x: SECONDS - (list.length - end), y: some.reduce((a, b) => a + b, 0) / some.length });
   }
   return points;
}

function curve(points, top) {
   return points.map(({ x, y }, i) => `${i ? 'L' : 'M'}${x} ${(100 - y / top * 100).toFixed(2)}`).join('');
}

const KINDS = ['first', 'second', 'third'];

function chart(title, rates, names, words) {
   const curves = names.map((n) => means(rates[n], (known.rates[pages(known.status)[0]?.worker]?.count || 0) % MEAN));
   const most = Math.max(0, ...curves.flat().map((p) => p.y));
   const top = niceTop(most);
   const told = names.map((n, i) => `${words[i]} ${rate(lately(rates[n]))}`).join(', ');
   return h('figure', { class: 'chart' },
      h('figcaption', {}, title), h('p', { class: 'legend' }, names.map((n, i) => h('span', {},
         h('svg', { viewBox: '0 0 24 10', 'aria-hidden': 'true' }, h('path', { class: `curve ${KINDS[i]}`, d: 'M0 5L24 5' })), words[i]))),
      h('div', { class: 'plot' },
         h('svg', { viewBox: '0 -2 600 104', preserveAspectRatio: 'none', role: 'img', 'aria-label': `${title}: now ${told}; at most ${rate(most)}` },
            [0, 50, 100].map((y) => h('line', { class: 'grid', x1: '0', x2: '600', y1: String(y), y2: String(y) })),
            names.map((n, i) => h('path', { class: `curve ${KINDS[i]}`, d: curve(curves[i], top) }))),
         h('div', { class: 'scale' }, h('span', {}, rate(top)), h('span', {}, rate(top / 2)), h('span', {}, '0'))),
      h('div', { class: 'times', 'aria-hidden': 'true' }, h('span', {}, '10 min ago'), h('span', {}, '5 min'), h('span', {}, 'now')));
}

function showCharts(rates) {
   show('charts', [
      chart('Messages per second', rates, ['delivered', 'settled', 'published'], ['received', 'settled', 'published']),
      chart('Trouble per second', rates, ['failed', 'retried', 'dead'], ['handlers failed', 'tried again', 'dead letters']),
   ]);
}

// ---- tables ----

const worker = ['Worker', 'number', (row) => String(row.worker)];

function isMany() { return Boolean(known.status.workers); }

function detailsNote() {
   const age = (Date.now() - known.detailsAt) / 1000;
   if (!known.detailsAt) return known.detailsWhy ? `not known: ${known.detailsWhy}` : 'not known yet';
   return age > 5 ? `as of ${duration(Math.floor(age))} ago: ${known.detailsWhy || 'the script is busy'}` : '';
}

function leftOut(list) {
   const n = pages(known.details).reduce((sum, { page }) => sum + (page[`${list}_left_out`] || 0), 0);
   return n ? `and ${count(n)} more` : '';
}

function notes(...texts) { return texts.filter(Boolean).join('; '); }

function showWorkers() {
   if (!isMany()) return show('workers');
   return show('workers', table('Workers', '', [
      worker,
      ['Pid', 'number', (p) => String(p.pid || '')],
      ['State', 'nowrap', (p) => (!p.page ? state(p.why || 'no answer', 'bad') : p.page.status === 'healthy' ? state('healthy', 'good') : state(p.page.status, 'bad'))],
      ['Script', '', (p) => (p.page ? `${p.page.script.state}${p.page.script.busy > 0 ? ` for ${duration(p.page.script.busy)}` : ''}` : '')],
      ['Up', 'number', (p) => (p.page ? duration(p.page.uptime) : '')],
      ['Settled', 'number', (p) => (p.page ? count(p.page.messages.settled) : '')],
      ['In flight', 'number', (p) => (p.page ? count(p.page.messages.in_flight) : '')],
      ['Memory', 'number', (p) => (p.page ? bytes(p.page.script.memory) : '')],
   ], parts(known.status), ''));
}

const STATES = { consuming: 'good', away: 'bad', open: 'good', connecting: 'warn', waiting: 'bad', closing: '', closed: '' };

// The rate of a queue, by the answer before.
function handledRate(row) {
   const old = known.before && each(known.before.status, 'queues').find((q) => q.queue === row.queue && q.worker === row.worker);
   const seconds = known.before ? (known.at - known.before.at) / 1000 : 0;
   return old && seconds > 0 ? Math.max(0, row.handled - old.handled) / seconds : undefined;
}

function control(row, name) {
   const details = each(known.details, 'consumers').find((c) => c.tag === row.tag && c.worker === row.worker);
   const isPaused = details && details.is_paused;
   const what = isPaused ? 'resume' : 'pause';
   return [
      h('button', { type: 'button', 'aria-label': `${what} ${name}`, onclick: () => change({ do: what, consumer: row.tag, worker: row.worker }) }, isPaused ? 'Resume' : 'Pause'),
      h('form', { onsubmit: (event) => {
         event.preventDefault();
         change({ do: 'prefetch', consumer: row.tag, number: event.target.elements[0].value, worker: row.worker });
      } }, h('input', { type: 'number', min: '1', max: '65535', 'aria-label': `prefetch of ${name}`, placeholder: 'prefetch' }), h('button', { type: 'submit', 'aria-label': `set prefetch of ${name}` }, 'Set')),
   ];
}

function consumerState(row) {
   const details = each(known.details, 'consumers').find((c) => c.tag === row.tag && c.worker === row.worker);
   return details && details.is_paused ? state('paused', 'warn') : state(row.state, STATES[row.state]);
}

function keyOf(consumer) { return `${consumer.worker} ${consumer.tag} ${consumer.queue}`; }

// A paused one is cancelled at the broker: only the script knows of it, and first that it goes on.
function allConsumers() {
   const list = each(known.status, 'consumers');
   const there = new Set(list.map(keyOf));
   const isNewer = known.detailsAt > known.at;
   const more = each(known.details, 'consumers').filter((c) => c.tag && !there.has(keyOf(c)));
   return list.concat(more.filter((c) => c.is_paused || (isNewer && known.shown.has(keyOf(c)))));
}

// Consumers stay where they were: someone may be about to press a button.
function inPlace(list) {
   const rows = list.map((c) => ({ ...c, key: keyOf(c) }));
   for (const { key } of rows) if (!known.places.has(key)) known.places.set(key, known.places.size);
   known.shown = new Set(rows.map(({ key }) => key));
   return rows.sort((a, b) => known.places.get(a.key) - known.places.get(b.key));
}

// A queue's numbers stand at its first consumer only.
function consumerRows() {
   const queues = each(known.status, 'queues');
   const seen = new Set();
   const rows = inPlace(allConsumers()).map((c) => {
      const key = `${c.worker} ${c.queue}`;
      const queue = seen.has(key) ? {} : queues.find((q) => q.queue === c.queue && q.worker === c.worker) || {};
      seen.add(key);
      return { ...queue, ...c, handler: queue.handler || {} };
   });
   const rest = queues.filter((q) => !seen.has(`${q.worker} ${q.queue}`) && q.handled > 0);
   return rows.concat(rest.map((q) => ({ ...q, key: `${q.worker} ${q.queue}`, handler: q.handler || {}, state: 'no consumer' })));
}

function canChange() { return pages(known.status).some(({ page }) => page.changes) || known.status.changes; }

function showConsumers() {
   const rows = consumerRows();
   show('consumers', table('Consumers', rows.length ? count(rows.length) : '', [
      isMany() && worker,
      ['Queue', 'long', (c) => c.queue],
      ['State', 'nowrap', consumerState],
      ['Handled/s', 'number', (c) => (c.handled === undefined ? '' : rate(handledRate(c)))],
      ['Handled', 'number', (c) => count(c.handled)],
      ['Half within', 'number', (c) => duration(c.handler.p50)],
      ['99 % within', 'number', (c) => duration(c.handler.p99)],
      ['Oldest', 'number', (c) => duration(c.oldest)],
      ['Failed', 'number', (c) => count(c.failed)],
      ['Retried', 'number', (c) => count(c.retried)],
      ['Dead', 'number', (c) => count(c.dead)],
      rows.some((c) => c.messages !== undefined) && ['In the queue', 'number', (c) => count(c.messages)],
      known.token && canChange() && ['Change', 'nowrap', (c) => (c.tag ? control(c, `${c.queue} (${c.tag})`) : '')],
   ], rows, 'No consumers.'));
}

function moves(row) {
   const list = each(known.status, 'moves').filter((m) => m.connection === row.number && m.worker === row.worker).reverse();
   const losses = list.filter((m) => m.what === 'lost' || m.what === 'given up').length;
   if (!losses) return 'none';
   const word = losses === 1 ? '1 loss' : `${losses} losses`;
   return h('details', {}, h('summary', {}, word),
      h('ul', {}, list.map((m) => h('li', {}, `${clock(m.time)} ${m.what}${m.error ? `: ${m.error}` : ''}`))));
}

function showConnections() {
   const rows = each(known.status, 'connections').map((c) => ({ ...c, key: `${c.worker} ${c.number}` }));
   show('connections', table('Connections', rows.length ? count(rows.length) : '', [
      isMany() && worker,
      ['Name', 'long', (c) => c.name || `connection ${c.number}`],
      ['State', 'nowrap', (c) => [state(c.state, STATES[c.state]), c.tries ? ` try ${count(c.tries + 1)}` : '']],
      ['Since', 'number', (c) => duration(c.since)],
      ['Broker', 'long', (c) => `${c.user}@${c.host} ${c.virtual_host}`],
      rows.some((c) => c.outbound > 0) && ['To be written', 'number', (c) => bytes(c.outbound)],
      ['Lost', 'long', moves],
      rows.some((c) => c.error || c.blocked !== undefined) && ['What is wrong', 'long', (c) => c.error || (c.blocked !== undefined ? `blocked: ${c.blocked}` : '')],
   ], rows, 'No connections.'));
}

function showHandlers() {
   const rows = each(known.details, 'handlers');
   for (const { worker: number, page } of pages(known.status)) { // the one that keeps the script busy is known at once
      const script = busy(page);
      if (script) rows.unshift({ worker: number, queue: '', seconds: script.busy, at: script.where || 'the script', isBusy: true });
   }
   show('handlers', table('Handlers at work', notes(rows.length ? count(rows.length) : '', leftOut('handlers'), detailsNote()), [
      isMany() && worker,
      ['Queue', 'long', (r) => (r.isBusy ? state('busy', 'warn') : r.queue)],
      ['For', 'number', (r) => duration(r.seconds)],
      ['At', 'long', (r) => h('code', {}, r.at || r.origin || '')],
      ['Message', 'long', (r) => r.message_id || (r.tag === undefined ? '' : `tag ${r.tag}`)],
      ['Routing key', '', (r) => r.routing_key || ''],
   ], rows, known.details ? 'No handler waits for anything.' : 'Not known.'));
}

function showRetries() {
   const rows = each(known.details, 'retries');
   show('retries', table('Retries waiting', notes('put off by this process and not due yet', leftOut('retries'), detailsNote()), [
      isMany() && worker,
      ['Queue', 'long', (r) => r.queue],
      ['Messages', 'number', (r) => count(r.count)],
      ['Next in', 'number', (r) => r.next >= 1 ? duration(r.next) : 'now'],
   ], rows, known.details ? 'None.' : 'Not known.'));
}

function example(e) {
   return [clock(e.time), e.message_id || 'no id', e.routing_key, e.attempt ? `attempt ${e.attempt}` : '', e.reason].filter(Boolean).join(', ');
}

function showDead() {
   const rows = each(known.details, 'dead_letters');
   show('dead', table('Dead letters', notes('of this process, by queue and error', leftOut('dead_letters'), detailsNote()), [
      isMany() && worker,
      ['Queue', 'long', (r) => r.queue],
      ['Error', 'long', (r) => h('code', {}, r.error)],
      ['Messages', 'number', (r) => count(r.count)],
      ['Newest', 'number', (r) => clock(r.last)],
      ['Examples', 'long', (r) => h('ul', {}, listOf(r.examples).map((e) => h('li', {}, example(e))))],
   ], rows, known.details ? 'None.' : 'Not known.'));
}

function levelOf(text) {
   const found = text.match(/(?:^|\s)level=(\w+)|"level":"(\w+)"/);
   return found ? found[1] || found[2] : '';
}

function showLog() {
   const box = document.querySelector('#log pre');
   const isAtEnd = !box || box.scrollTop + box.clientHeight >= box.scrollHeight - 8;
   show('log', h('div', { class: 'panel' }, h('h2', {}, 'Log', h('small', {}, 'the last lines')),
      known.log.length === 0 ? h('p', { class: 'none' }, 'No lines.') : h('pre', { class: 'mono', tabindex: '0', role: 'region', 'aria-label': 'Log' },
         known.log.map((line) => h('div', { class: `line ${levelOf(line.text)}` }, line.text)))));
   const now = document.querySelector('#log pre');
   if (now && isAtEnd) now.scrollTop = now.scrollHeight;
}

// ---- changes ----

async function change(what) {
   const result = document.getElementById('result');
   const words = new URLSearchParams();
   for (const [name, value] of Object.entries(what)) if (value) words.set(name, value);
   try {
      const answer = await ask(`/control?${words}`, { method: 'POST', headers: { Authorization: `Bearer ${known.token}` } });
      result.textContent = answer.text;
   } catch (error) {
      result.textContent = `Not done: ${error.message}`;
   }
   await asking; // it may be of before
   await askDetails();
   draw();
}

document.getElementById('token-form').onsubmit = (event) => {
   event.preventDefault();
   known.token = document.getElementById('token').value.trim();
   document.getElementById('token').value = '';
   document.getElementById('result').textContent = known.token ? 'The token is kept until this page is closed. Changes are at the consumers.' : 'No token.';
   draw();
};

document.getElementById('level-form').onsubmit = (event) => {
   event.preventDefault();
   change({ do: 'log', level: document.getElementById('level').value });
};

// ---- the round ----

function draw() {
   showFresh();
   if (!known.status) return;
   const rates = sumOfRates();
   document.getElementById('changes').hidden = !canChange();
   document.getElementById('level-form').hidden = !known.token;
   showHead();
   showNotices();
   showTiles(rates);
   showCharts(rates);
   showWorkers();
   showConsumers();
   showConnections();
   showHandlers();
   showRetries();
   showDead();
   showLog();
}

async function round() {
   const began = Date.now();
   if (!document.hidden || !known.status) {
      if (asked % 2 === 0) askDetails().then(draw);
      await askStatus();
      draw();
   }
   setTimeout(round, Math.max(100, EVERY - (Date.now() - began)));
}

document.addEventListener('visibilitychange', () => {
   if (!document.hidden) known.rates = []; // it has missed some
});
round();
