// SPDX-License-Identifier: Apache-2.0
// What the pages of ovpnd share: elements whose children are always text or elements, never markup; calls that end in a
// result or in words for a person; forms.
'use strict';
'require baseclass';
'require rpc';
'require ui';

const METHODS = {
	schema: [],
	tunnels: [],
	settings: [],
	propose: [],
	check: [ 'changes' ],
	save: [ 'changes' ],
	import_plan: [ 'name', 'text', 'username', 'password' ],
	import: [ 'name', 'text', 'username', 'password', 'enabled' ],
	server_create: [ 'tunnel', 'address', 'address6', 'kind', 'port', 'proto', 'internet', 'lan', 'networks', 'dns', 'firewall' ],
	pki_init: [ 'tunnel', 'kind' ],
	pki_list: [ 'tunnel' ],
	pki_renew: [ 'tunnel' ],
	pki_revoke: [ 'tunnel', 'peer' ],
	peer_enable: [ 'tunnel', 'peer', 'enabled' ],
	export: [ 'tunnel', 'peer', 'remote', 'port', 'days' ],
	hash_password: [ 'password' ]
};

const TUNNEL_METHODS = {
	status: [ 'from' ],
	log: [ 'lines' ],
	disconnect: [ 'peer', 'reason' ],
	reload: []
};

let serial = 0;

/* LuCI's E() takes a lone string as markup, and only strings in a list as text: so there is always a list. */
function el(tag, attributes, ...children) {
	return E(tag, attributes || {}, children.flat(2).filter((child) => child != null && child !== false && child !== ''));
}

function invoke(object, method, names, args) {
	const call = rpc.declare({ object, method, params: names, reject: true });
	return call(...names.map((name) => args?.[name])).then((reply) => {
		const answer = (typeof reply === 'object' && reply !== null) ? reply : {};
		if (typeof answer.error === 'string')
			throw new Error(answer.error);
		return answer;
	}, (error) => {
		throw new Error(inWords(String(error?.message ?? error), object));
	});
}

function inWords(text, object) {
	if (/access denied|permission|-32002/i.test(text))
		return _('You may look here, but not change anything: your account lacks the right to write.');
	if (/not found|-32000/i.test(text))
		return (object === 'ovpnd')
			? _('The router does not know the methods of ovpnd: is the package ovpnd installed? Restart the service rpcd after installing it.')
			: _('This tunnel is not running.');
	if (/timeout|timed out|-32003/i.test(text))
		return _('The router took too long to answer. Try again.');
	return _('The router could not be asked.') + ' ' + text;
}

return baseclass.extend({
	el,

	/** Calls a method of the object `ovpnd`: its answer, or an Error with one line for a person. */
	call: function(method, args) {
		return invoke('ovpnd', method, METHODS[method], args);
	},

	/** The same of a running tunnel. */
	ask: function(tunnel, method, args) {
		return invoke('ovpnd.' + tunnel, method, TUNNEL_METHODS[method], args);
	},

	style: function() {
		return el('link', { 'rel': 'stylesheet', 'href': L.resource('view/ovpnd/ovpnd.css') });
	},

	/** A button that is off while its handler's promise is pending; what fails is said in `place`. */
	button: function(label, style, handler, place) {
		const button = el('button', { 'class': 'btn cbi-button ' + (style || ''), 'type': 'button' }, label);
		button.addEventListener('click', (event) => {
			event.preventDefault();
			button.disabled = true;
			Promise.resolve().then(() => handler(button)).catch((error) => this.say(place, error.message, 'error')).finally(() => {
				button.disabled = false;
			});
		});
		return button;
	},

	/** A form whose one button the Enter key presses, too. */
	form: function(attributes, button, ...children) {
		button.type = 'submit';
		return el('form', Object.assign({ 'submit': (event) => event.preventDefault(), 'novalidate': '' }, attributes), ...children);
	},

	/** A place for messages that a screen reader reads aloud. */
	messages: function() {
		return el('div', { 'class': 'ovpnd-messages', 'role': 'status', 'aria-live': 'polite' });
	},

	/** Shows lines in a place, or takes them away. */
	say: function(place, lines, kind) {
		const list = [].concat(lines ?? []).filter((line) => line !== '');
		if (!place)
			return ui.addNotification(null, list.map((line) => el('p', {}, line)), kind === 'error' ? 'error' : 'info');
		place.replaceChildren(...(list.length === 0 ? [] : [
			el('div', { 'class': 'alert-message ' + ({ error: 'error', warning: 'warning' }[kind] ?? 'notice') },
				list.map((line) => el('p', {}, line)))
		]));
		if (list.length > 0 && kind === 'error')
			place.scrollIntoView?.({ block: 'nearest' });
	},

	/** A labelled control of a form; `help` and later errors are tied to it for screen readers. */
	field: function(label, control, help) {
		const id = control.id || 'ovpnd-' + (++serial);
		control.id = id;
		const error = el('div', { 'class': 'ovpnd-error', 'id': id + '-error' });
		const text = el('div', { 'class': 'cbi-value-description', 'id': id + '-help' }, help);
		control.setAttribute('aria-describedby', id + '-help ' + id + '-error');
		const row = el('div', { 'class': 'cbi-value' },
			el('label', { 'class': 'cbi-value-title', 'for': id }, label),
			el('div', { 'class': 'cbi-value-field' }, control, text, error));
		return {
			row, control,
			complain: (line) => {
				error.textContent = line ?? '';
				control.setAttribute('aria-invalid', String(!!line));
				row.classList.toggle('ovpnd-invalid', !!line);
			}
		};
	},

	input: function(attributes) {
		return el('input', Object.assign({ 'class': 'cbi-input-text', 'type': 'text', 'autocomplete': 'off', 'spellcheck': 'false' }, attributes));
	},

	checkbox: function(isOn, name) {
		const box = el('input', { 'type': 'checkbox', 'class': 'cbi-input-checkbox', 'name': name ?? null });
		box.checked = isOn;
		return box;
	},

	select: function(choices, value, name) {
		const list = el('select', { 'class': 'cbi-input-select', 'name': name ?? null },
			choices.map(([ word, label ]) => el('option', { 'value': word }, label ?? word)));
		list.value = value;
		return list;
	},

	/** A table that a phone shows as cards. Cells are texts or elements. */
	table: function(titles, rows, empty) {
		if (rows.length === 0)
			return el('p', {}, el('em', {}, empty));
		return el('table', { 'class': 'table' },
			el('tr', { 'class': 'tr table-titles' }, titles.map((title) => el('th', { 'class': 'th', 'scope': 'col' }, title))),
			rows.map((cells) => el('tr', { 'class': 'tr' },
				cells.map((cell, i) => el('td', { 'class': 'td', 'data-title': titles[i] }, cell)))));
	},

	/** A question before something that cannot be undone. */
	confirm: function(title, lines, label, action) {
		const opener = document.activeElement;
		const close = () => { ui.hideModal(); opener?.focus?.(); };
		const place = this.messages();
		ui.showModal(title, [
			...lines.map((line) => el('p', {}, line)), place,
			el('div', { 'class': 'right ovpnd-actions' },
				this.button(_('Cancel'), '', close),
				this.button(label, 'cbi-button-negative', () => Promise.resolve(action()).then(close), place))
		]);
	},

	/** `3 min`, `2 h 5 min`; of seconds. */
	duration: function(seconds) {
		const s = Math.max(0, Math.floor(seconds));
		if (s < 60)
			return _('%d s').format(s);
		if (s < 3600)
			return _('%d min').format(s / 60);
		if (s < 86400)
			return _('%d h %d min').format(s / 3600, (s % 3600) / 60);
		return _('%d d %d h').format(s / 86400, (s % 86400) / 3600);
	},

	bytes: function(count) {
		return '%1024.1mB'.format(count);
	},

	/** A date without time, of seconds since 1970. */
	day: function(seconds) {
		return new Date(seconds * 1000).toISOString().slice(0, 10);
	}
});
