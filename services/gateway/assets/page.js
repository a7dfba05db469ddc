'use strict';
// The live board and the running invoices, once a second, over the public REST interface.
// The key stays in this tab's sessionStorage and goes nowhere but into the Authorization header.

const KEY = 'trunkline-key';
const PAUSE_MS = 1000;
const at = (id) => document.getElementById(id);

class Refused extends Error {}

async function read(path) {
  const answer = await fetch(path, {
    headers: { authorization: 'Bearer ' + sessionStorage.getItem(KEY) },
    cache: 'no-store',
    signal: AbortSignal.timeout(8000),
  });
  if (answer.status === 401) throw new Refused('This key is not known.');
  const body = await answer.json();
  if (!answer.ok) throw new Error(body.detail || answer.statusText);
  return body;
}

// Elements are made, never parsed: nothing that comes over the wire is markup.
function make(name, className, ...children) {
  const element = document.createElement(name);
  if (className) element.className = className;
  element.append(...children.map((child) => (typeof child === 'number' ? String(child) : child)));
  return element;
}

function since(ms) {
  const start = Number(ms);
  return start > 0 ? span(Date.now() - start) : '–';
}

function span(ms) {
  const seconds = Math.max(0, Math.floor(ms / 1000));
  const two = (number) => String(number).padStart(2, '0');
  const minutes = Math.floor(seconds / 60);
  return minutes >= 60
    ? Math.floor(minutes / 60) + ':' + two(minutes % 60) + ':' + two(seconds % 60)
    : minutes + ':' + two(seconds % 60);
}

// Micro-units as text, without going through a float.
function money(micros, currency) {
  const value = BigInt(micros);
  const cents = (value < 0n ? -value : value) / 10000n;
  const whole = (cents / 100n).toString().replace(/\B(?=(\d{3})+$)/g, '\u202f');
  return (value < 0n ? '−' : '') + whole + '.' + String(cents % 100n).padStart(2, '0') + '\u00a0' + currency;
}

function figure(kind, number, label) {
  return make('div', 'figure ' + (number ? kind : 'none'), make('b', '', number), make('span', '', label));
}

function companyCard(company, live) {
  return make(
    'article', 'card',
    make('h3', '', company.companyName || company.companyId),
    make('div', 'figures',
      figure('waiting', live.waitingCount, 'waiting'),
      figure('talking', live.talkingCount, 'talking'),
      figure('live', live.liveContactCount, 'live')),
    make('p', 'note', 'Longest wait ' + since(live.longestWaitingSinceMs) +
      ' · ' + live.readyAgentCount + ' of ' + live.signedInAgentCount + ' agents ready'));
}

function invoiceCard(invoice) {
  const cell = (text, numeric) => make('td', numeric ? 'n' : '', text);
  const rows = (invoice.lines || []).map((line) => make(
    'tr', '', cell(line.description), cell(line.itemCount, true), cell(span(Number(line.billedMs)), true),
    cell(money(line.amountMicros, invoice.currency), true)));
  if (!rows.length) rows.push(make('tr', '', cell('Nothing yet')));
  const head = ['', 'Items', 'Billed', 'Amount'];
  const table = make(
    'table', '',
    make('thead', '', make('tr', '', ...head.map((text, place) => make('th', place ? 'n' : '', text)))),
    make('tbody', '', ...rows));
  if (invoice.totalMicros !== undefined) {
    const total = make('tr', '', make('td', '', 'Total'), cell('', true), cell('', true),
      cell(money(invoice.totalMicros, invoice.currency), true));
    table.append(make('tfoot', '', total));
  }
  return make('article', 'card',
    make('h3', '', (invoice.companyName || invoice.companyId) + ' · ' + invoice.month), table);
}

function agentChip(agent) {
  const activity = agent.activity.replace('AGENT_ACTIVITY_', '');
  const words = activity.toLowerCase().replaceAll('_', ' ') + (agent.reason ? ', ' + agent.reason : '');
  return make('li', activity, agent.agentId.replace(/^agt_/, ''),
    make('i', '', words + (activity === 'SIGNED_OUT' ? '' : ' ' + since(agent.sinceMs))));
}

function queueRow(queue) {
  const cell = (text) => make('td', 'n', text);
  return make('tr', '', make('td', '', queue.queueId.replace(/^que_/, '')), cell(queue.waitingCount),
    cell(since(queue.longestWaitingSinceMs)), cell(queue.readyAgentCount));
}

async function show() {
  const session = await read('/session');
  const operator = session.scope === 'operator';
  const of = (path) => Promise.all(session.companies.map(
    (company) => read('/v1/companies/' + encodeURIComponent(company.companyId) + path)));
  const [lives, invoices, agents, queues] = await Promise.all([
    of('/live'), of('/invoices/running'),
    operator ? read('/v1/agents') : null, operator ? read('/v1/queues') : null,
  ]);
  at('scope').textContent = operator ? 'operator' : session.companies.map((it) => it.companyName).join(', ');
  at('companies').replaceChildren(...session.companies.map((company, place) => companyCard(company, lives[place])));
  at('invoices').replaceChildren(...invoices.map(invoiceCard));
  at('operator').hidden = !operator;
  if (operator) {
    at('agents').replaceChildren(...(agents.agents || []).map(agentChip));
    at('queues').replaceChildren(...(queues.queues || []).map(queueRow));
  }
  at('board').hidden = false;
  at('ask').hidden = true;
  at('leave').hidden = false;
  at('state').textContent = new Date().toLocaleTimeString();
  at('state').className = '';
}

function ask(why) {
  at('board').hidden = true;
  at('leave').hidden = true;
  at('ask').hidden = false;
  at('scope').textContent = '';
  at('state').textContent = '';
  at('refused').textContent = why;
  at('key').focus();
}

async function run() {
  for (;;) {
    if (sessionStorage.getItem(KEY)) {
      try {
        await show();
      } catch (error) {
        if (error instanceof Refused) {
          sessionStorage.removeItem(KEY);
          ask(error.message);
        } else {
          at('state').textContent = 'late: ' + error.message;
          at('state').className = 'late';
        }
      }
    }
    await new Promise((resolve) => setTimeout(resolve, PAUSE_MS));
  }
}

at('ask').addEventListener('submit', (event) => {
  event.preventDefault();
  sessionStorage.setItem(KEY, at('key').value.trim());
  at('key').value = '';
  at('refused').textContent = '';
});
at('leave').addEventListener('click', () => {
  sessionStorage.removeItem(KEY);
  ask('');
});

// A key in the address is taken out of it at once, so that it is not shared with it.
const given = new URLSearchParams(location.search).get('key');
if (given) {
  sessionStorage.setItem(KEY, given);
  history.replaceState(null, '', location.pathname);
}
if (!sessionStorage.getItem(KEY)) ask('');
run();
