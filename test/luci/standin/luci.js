// SPDX-License-Identifier: Apache-2.0
// The smallest stand-in for LuCI's loader that the pages run on: modules, elements, calls, polls and dialogues, with
// the same traps as the real ones (a lone string as the child of an element is markup). Answers are those of real
// programs; test/luci/harness/standin.ts fetches them.

'use strict';

const PAD = { '': 0 };

String.prototype.format = function (...values) {
  let next = 0;
  return this.replace(/%(?:(\d+)(?:\.(\d+))?m|(?:\.(\d+))?([sdfh%]))/g, (_, base, digits, precision, kind) => {
    if (kind === '%') return '%';
    const value = values[next++];
    if (base !== undefined) return scaled(Number(value), Number(base), Number(digits ?? 0));
    if (kind === 'd') return String(Math.trunc(Number(value) || 0));
    if (kind === 'f') return Number(value).toFixed(Number(precision ?? 6));
    const text = String(value);
    return kind === 'h' ? text.replace(/[&<>"']/g, c => `&#${c.charCodeAt(0)};`) : text;
  });
};

function scaled(value, base, digits) {
  const units = ['', 'K', 'M', 'G', 'T', 'P'];
  let unit = 0;
  for (; value >= base && unit < units.length - 1; unit++) value /= base;
  const binary = base === 1024 && unit > 0 ? 'i' : '';
  return `${value.toFixed(unit === 0 ? PAD[''] : digits)} ${units[unit]}${binary}`;
}

window._ = text => text;
window.N_ = (count, one, many) => (count === 1 ? one : many);

function append(node, children) {
  if (children === null || children === undefined) return;
  if (typeof children === 'function') append(node, children(node));
  else if (children instanceof Node) node.append(children);
  else if (Array.isArray(children)) {
    for (const child of children) node.append(child instanceof Node ? child : document.createTextNode(`${child}`));
  } else node.innerHTML = `${children}`;
}

window.E = (tag, attributes, children) => {
  const plain = attributes === null || attributes === undefined || Object.getPrototypeOf(attributes) === Object.prototype;
  const node = Array.isArray(tag) ? document.createDocumentFragment() : document.createElement(tag);
  if (Array.isArray(tag)) append(node, tag);
  for (const [key, value] of Object.entries(plain ? (attributes ?? {}) : {})) {
    if (value === null || value === undefined) continue;
    if (typeof value === 'function') node.addEventListener(key, value);
    else node.setAttribute(key, typeof value === 'object' ? JSON.stringify(value) : value);
  }
  append(node, plain ? children : attributes);
  return node;
};

const extend = base => members => {
  const type = class extends (base ?? Object) {};
  Object.assign(type.prototype, members);
  return type;
};

class View {
  constructor() {
    const place = document.getElementById('view');
    Promise.resolve(this.load?.())
      .then(data => this.render(data))
      .then(node => place.replaceChildren(node))
      .catch(error => {
        place.textContent = `the page failed: ${error.stack}`;
      });
  }
}

const ui = {
  showModal: (title, children, ...classes) => {
    ui.hideModal();
    const box = E('div', { class: ['modal', ...classes].join(' '), role: 'dialog', 'aria-modal': true }, E('h4', {}, title));
    append(box, children);
    document.body.append(E('div', { id: 'modal_overlay' }, [box]));
    document.body.classList.add('modal-overlay-active');
    box.querySelector('button, input')?.focus();
  },
  hideModal: () => {
    document.getElementById('modal_overlay')?.remove();
    document.body.classList.remove('modal-overlay-active');
  },
  addNotification: (title, children) => append(document.getElementById('view'), E('div', { class: 'alert-message' }, children)),
};

let id = 0;

const rpc = {
  declare:
    ({ object, method, params = [] }) =>
    async (...values) => {
      const args = Object.fromEntries(params.map((name, i) => [name, values[i]]));
      const message = { jsonrpc: '2.0', id: ++id, method: 'call', params: [L.session, object, method, args] };
      const response = await fetch('/ubus', { method: 'POST', body: JSON.stringify(message) });
      const answer = JSON.parse(await response.text());
      if (answer.error) throw new Error(`RPC call failed with error ${answer.error.code}: ${answer.error.message}`);
      const [status, data] = answer.result;
      if (status !== 0) throw new Error(`RPC call failed with ubus code ${status}: ${answer.text}`);
      return data;
    },
};

const poll = { add: (run, seconds) => setInterval(() => document.hidden || run(), 1000 * seconds) };

const modules = new Map(
  Object.entries({ rpc, ui, poll, dom: { append }, baseclass: { extend: extend() }, view: { extend: extend(View) } }).map(
    ([name, value]) => [name, Promise.resolve(value)],
  ),
);

async function load(name) {
  const response = await fetch(`/luci-static/resources/${name.replaceAll('.', '/')}.js`);
  if (!response.ok) throw new Error(`there is no module ${name}`);
  const source = await response.text();
  const needs = [...source.matchAll(/^'require ([a-z0-9_.]+)(?: as ([a-z]+))?';$/gm)];
  const names = needs.map(([, path, as]) => as ?? path.split('.').at(-1));
  const values = await Promise.all(needs.map(([, path]) => L.require(path)));
  const type = new Function('L', ...names, source)(L, ...values);
  return new type();
}

window.L = {
  session: document.documentElement.dataset.session,
  resource: (...parts) => `/luci-static/resources/${parts.join('/')}`,
  require: name => {
    if (!modules.has(name)) modules.set(name, load(name));
    return modules.get(name);
  },
};

L.require(`view.${document.documentElement.dataset.view.replaceAll('/', '.')}`).catch(error => {
  document.getElementById('view').textContent = `the page failed: ${error.stack}`;
});
