// SPDX-License-Identifier: Apache-2.0
// Every option of every section, from the daemon's own table: names, help, limits, defaults and what a change costs.
// What cannot be right is refused while typing where the table says so, and by the daemon's own check before it is saved.
'use strict';
'require view';
'require tools.ovpnd as ovpnd';

const el = ovpnd.el;
const KINDS = { server: _('server'), client: _('client'), peer: _('client of a server'), user: _('user') };
const COSTS = {
	'live': _('at once'),
	'new sessions': _('with each new session; a server keeps those that run, a client connects anew'),
	'new socket': _('with a new socket; running sessions end'),
	'restart': _('with a restart of this tunnel')
};
/* What is in none of these goes into the last group: no option of the table is ever missing. */
const GROUPS = [
	[ _('General'), /^(enabled|tunnel|name|common_name|local|port|proto|remote|remote_random|address|device|mode|max_clients|open_firewall)$/ ],
	[ _('Who may connect'), /^(auth|auth_method|username|password|auth_user_pass|password_hash|totp_secret|verify_|remote_cert_tls|peer_fingerprint|fingerprint|duplicate_cn|crl)/ ],
	[ _('What goes through'), /^(push_|route|redirect_gateway|pull_dns|kill_switch|client_to_client|block_lan|metric)/ ],
	[ _('Keys and encryption'), /^(ca|cert|key|extra_certs|pkcs12|tls_|key_direction|data_ciphers|reneg_)/ ],
	[ _('Times'), /^(keepalive|hand_window|connect_|server_poll_timeout|explicit_exit_notify)/ ],
	[ _('Advanced'), /./ ]
];

const groupOf = (name) => GROUPS.findIndex(([ , pattern ]) => pattern.test(name));
const isLater = (row) => row.later === true || (row.type.kind === 'bool' && row.type.later !== undefined);

/* What the table alone can say; undefined: nothing against it. The daemon checks the rest. */
function ruleAgainst(type, text) {
	if (text === '')
		return undefined;
	if ((type.kind === 'number' || type.kind === 'seconds') && !(/^(0|[1-9][0-9]*)$/.test(text) && +text >= type.min && +text <= type.max))
		return _('must be a number from %d to %d').format(type.min, type.max);
	if (type.kind === 'port' && !(/^[1-9][0-9]*$/.test(text) && +text <= 65535))
		return _('must be a port number, 1 to 65535');
	if (type.kind === 'text' && text.length > type.max)
		return _('must be at most %d characters').format(type.max);
	return undefined;
}

class Field {
	constructor(row, section) {
		this.row = row;
		this.isSecretSet = section.secrets.includes(row.name);
		const value = section.options[row.name];
		this.first = value === undefined ? '' : Array.isArray(value) ? value.join('\n') : value;
		this.control = this.makeControl(section);
		this.control.setAttribute('data-option', row.name);
		if (isLater(row))
			this.control.disabled = true;
		this.field = ovpnd.field(row.name, this.control, this.help());
		this.control.addEventListener('change', () => this.check());
	}

	makeControl(section) {
		const { row, first } = this;
		const said = row.type.kind === 'bool' ? { 0: _('no'), 1: _('yes') }[row.default] : [].concat(row.default).join(' ');
		const unset = [ '', row.default === undefined ? _('not set') : _('default: %s').format(said) ];
		if (row.type.kind === 'bool')
			return ovpnd.select([ unset, [ '1', _('yes') ], [ '0', _('no') ] ], /^(1|on|yes|true|enabled)$/.test(first) ? '1' : first === '' ? '' : '0');
		if (row.list)
			return Object.assign(el('textarea', { 'class': 'cbi-input-textarea', 'rows': Math.max(2, first.split('\n').length), 'spellcheck': 'false' }), { value: first });
		if (row.type.kind === 'enum')
			return ovpnd.select([ unset, ...row.type.words.map((word) => [ word ]) ], first);
		if (row.file !== undefined) {
			const names = section.files.includes(first) || first === '' ? section.files : [ first, ...section.files ];
			return ovpnd.select([ [ '', _('not set') ], ...names.map((name) => [ name ]) ], first);
		}
		const hint = row.derived ?? (row.default === undefined ? '' : [].concat(row.default).join(' '));
		return ovpnd.input({
			'type': row.secret ? 'password' : 'text', 'value': first, 'placeholder': this.isSecretSet ? _('is set; type to replace it') : hint,
			'autocomplete': row.secret ? 'new-password' : 'off', 'inputmode': /^(number|seconds|port)$/.test(row.type.kind) ? 'numeric' : null
		});
	}

	help() {
		const { row } = this;
		const about = [ row.list ? _('One on each line.') : '', row.file !== undefined ? _("A file in the tunnel's own folder below /etc/ovpnd.") : '',
			row.derived !== undefined ? _('Default: %s.').format(row.derived) : '', isLater(row) ? _('This version of ovpnd cannot do that yet.') : '' ];
		return [ _(row.help), ' ', about.filter((text) => text !== '').join(' '), el('br'), el('small', {}, _('Takes effect: %s.').format(COSTS[row.cost] ?? row.cost)) ];
	}

	value() {
		return this.row.list ? this.control.value.split('\n').map((line) => line.trim()).filter((line) => line !== '').join('\n') : this.control.value.trim();
	}

	isChanged() {
		return this.value() !== this.first;
	}

	check() {
		const rule = ruleAgainst(this.row.type, this.value());
		this.field.complain(rule ?? '');
		return rule === undefined;
	}

	/* As the methods take it; a password becomes a hash first. */
	result() {
		const text = this.value();
		if (text === '')
			return Promise.resolve(null);
		if (this.row.name === 'password_hash' && !text.startsWith('$6$'))
			return ovpnd.call('hash_password', { password: text }).then(({ hash }) => hash);
		return Promise.resolve(this.row.list ? text.split('\n') : text);
	}
}

class Form {
	constructor(section, rows, reload) {
		this.section = section;
		this.reload = reload;
		this.messages = ovpnd.messages();
		this.fields = rows.filter(({ sections }) => sections.includes(section.type)).map((row) => new Field(row, section));
		const groups = GROUPS.map(([ title ], i) => {
			const members = this.fields.filter(({ row }) => groupOf(row.name) === i);
			return members.length === 0 ? '' : el('details', Object.assign({ 'class': 'ovpnd-group' }, i === 0 ? { 'open': '' } : {}),
				el('summary', {}, title), members.map(({ field }) => field.row));
		});
		const save = ovpnd.button(_('Save'), 'cbi-button-positive ovpnd-save-button', () => this.submit('save'), this.messages);
		this.node = ovpnd.form({ 'class': 'cbi-section ovpnd-settings' }, save,
			el('h3', { 'class': 'ovpnd-title' }, el('span', {}, section.name), el('span', { 'class': 'ovpnd-badge' }, KINDS[section.type] ?? section.type)),
			groups, this.messages,
			el('div', { 'class': 'ovpnd-actions ovpnd-save' },
				section.isNew ? '' : ovpnd.button(_('Remove'), 'cbi-button-negative', () => this.remove(), this.messages),
				ovpnd.button(_('Check'), 'cbi-button-neutral', () => this.submit('check'), this.messages), save));
	}

	remove() {
		const { type, name } = this.section;
		return ovpnd.confirm(_('Remove this section?'), [ '%s %s'.format(KINDS[type] ?? type, name), type === 'server' ? _('Its clients and users go with it. Key files stay in /etc/ovpnd.') : '' ], _('Remove'), () =>
			ovpnd.call('save', { changes: [ { type, name, remove: true } ] }).then((answer) => {
				const errors = answer.problems.filter(({ severity }) => severity === 'error');
				if (errors.length > 0)
					throw new Error(errors.map(({ text }) => text).join('\n'));
				return this.reload();
			}));
	}

	submit(method) {
		const changed = this.fields.filter((field) => field.isChanged());
		const wrong = changed.filter((field) => !field.check());
		if (wrong.length > 0)
			return this.point(wrong[0]);
		if (changed.length === 0 && !this.section.isNew)
			return ovpnd.say(this.messages, _('Nothing was changed.'));
		const { type, name } = this.section;
		return Promise.all(changed.map((field) => field.result().then((value) => [ field.row.name, value ]))).then((entries) =>
			ovpnd.call(method, { changes: [ { type, name, options: Object.fromEntries(entries) } ] })).then((answer) => this.show(method, answer));
	}

	point(field) {
		field.control.closest('details').open = true;
		field.control.focus();
	}

	show(method, { problems, effects }) {
		const errors = problems.filter(({ severity }) => severity === 'error');
		const mine = (problem) => problem.section === this.section.name ? this.fields.find(({ row }) => row.name === problem.option) : undefined;
		for (const field of this.fields)
			field.field.complain(errors.filter((problem) => mine(problem) === field).map(({ rule }) => rule).join('; '));
		if (errors.length > 0) {
			const first = errors.map(mine).find((field) => field !== undefined);
			ovpnd.say(this.messages, [ method === 'save' ? _('Nothing was saved:') : _('This would be refused:'), ...errors.map(({ option, rule }) => (option ? option + ': ' : '') + rule) ], 'error');
			return first && this.point(first);
		}
		const warnings = problems.map(({ option, rule }) => (option ? option + ': ' : '') + rule);
		const costs = effects.map(({ tunnel, kind, cost }) => '%s: %s'.format(tunnel, kind === 'changed' ? COSTS[cost] ?? _('at once') : kind === 'added' ? _('starts when it is enabled') : _('ends')));
		const lines = [ method === 'save' ? _('Saved.') : _('Nothing is wrong with this.'), ...costs.map((line) => _('Takes effect: %s.').format(line)), ...warnings ];
		if (method === 'check')
			return ovpnd.say(this.messages, lines, warnings.length > 0 ? 'warning' : 'info');
		return this.reload(this.section.name, lines);
	}
}

return view.extend({
	load: function() {
		return Promise.all([ ovpnd.call('settings'), ovpnd.call('schema') ]).catch((error) => error);
	},

	render: function(data) {
		const messages = ovpnd.messages();
		const page = el('div', { 'class': 'ovpnd' }, ovpnd.style(), el('h2', {}, _('VPN settings')), messages);
		if (data instanceof Error) {
			ovpnd.say(messages, data.message, 'error');
			return page;
		}
		const tabs = el('div', { 'class': 'ovpnd-tabs', 'role': 'group', 'aria-label': _('Sections') });
		const place = el('div', {});
		const rows = data[1].options;
		const show = (sections, name, lines) => {
			const current = sections.find((section) => section.name === name) ?? sections[0];
			tabs.replaceChildren(...sections.map((section) => {
				const tab = el('button', { 'type': 'button', 'class': 'btn cbi-button', 'aria-current': String(section === current) }, '%s (%s)'.format(section.name, KINDS[section.type] ?? section.type));
				tab.addEventListener('click', () => show(sections, section.name));
				return tab;
			}));
			if (current === undefined)
				return place.replaceChildren(el('p', {}, el('em', {}, _('There is no section yet.'))));
			const form = new Form(current, rows, reload);
			place.replaceChildren(form.node);
			return ovpnd.say(form.messages, lines ?? []);
		};
		const reload = (name, lines) => ovpnd.call('settings').then(({ sections }) => show(sections, name, lines));
		const type = ovpnd.field(_('New section'), ovpnd.select(data[1].sections.map((word) => [ word, KINDS[word] ?? word ]), 'peer'), '');
		const name = ovpnd.field(_('Name'), ovpnd.input({ 'maxlength': 32, 'name': 'section' }), _('Letters, digits and _.'));
		const add = ovpnd.button(_('Add'), 'cbi-button-add', () => ovpnd.call('settings').then(({ sections }) => {
			const text = name.control.value.trim();
			const isTaken = sections.some((section) => section.name === text);
			name.complain(!/^[A-Za-z0-9_]{1,32}$/.test(text) ? _('The name must be 1 to 32 letters, digits or _.') : isTaken ? _('This name is taken.') : '');
			if (name.row.matches('.ovpnd-invalid'))
				return;
			show([ ...sections, { type: type.control.value, name: text, options: {}, secrets: [], files: [], isNew: true } ], text, _('It is made when you save it.'));
		}), messages);
		show(data[0].sections);
		page.append(tabs, place, ovpnd.form({ 'class': 'cbi-section' }, add,
			type.row, name.row, el('div', { 'class': 'ovpnd-actions' }, add)));
		return page;
	},

	handleSaveApply: null,
	handleSave: null,
	handleReset: null
});
