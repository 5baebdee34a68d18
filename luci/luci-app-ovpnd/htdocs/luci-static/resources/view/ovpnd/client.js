// SPDX-License-Identifier: Apache-2.0
// A provider's profile becomes a client: what was understood, what is missing, what goes through it.
'use strict';
'require view';
'require tools.ovpnd as ovpnd';

const el = ovpnd.el;
const PROFILE_MAX = 262144;
const VERDICTS = { 'taken': _('taken'), 'not needed': _('not needed'), 'refused': _('refused') };

/* A section's name from that of a file. */
function nameOf(file) {
	return file.replace(/\.[^.]*$/, '').replace(/[^A-Za-z0-9_]+/g, '_').replace(/^_+|_+$/g, '').slice(0, 32) || 'provider';
}

class Importer {
	constructor(done) {
		this.done = done;
		this.messages = ovpnd.messages();
		this.text = el('textarea', { 'class': 'cbi-input-textarea ovpnd-text', 'name': 'profile', 'spellcheck': 'false', 'wrap': 'off' });
		this.file = el('input', { 'type': 'file', 'accept': '.ovpn,.conf', 'name': 'file' });
		this.name = ovpnd.field(_('Name'), ovpnd.input({ 'value': 'provider', 'name': 'name', 'maxlength': 32 }), _('Letters, digits and _.'));
		this.username = ovpnd.field(_('User name'), ovpnd.input({ 'name': 'username', 'maxlength': 128 }), '');
		this.password = ovpnd.field(_('Password'), ovpnd.input({ 'type': 'password', 'name': 'password', 'maxlength': 128, 'autocomplete': 'new-password' }), '');
		this.networks = ovpnd.field(_('Networks'), ovpnd.input({ 'name': 'networks', 'placeholder': '10.1.0.0/16 192.168.7.0/24' }), _('With blanks between them.'));
		this.traffic = [ [ 'server', _('what the profile and the server say') ], [ 'all', _('everything') ], [ 'some', _('only these networks') ] ]
			.map(([ word, label ]) => {
				const input = el('input', { 'type': 'radio', 'name': 'traffic', 'value': word });
				input.checked = word === 'server';
				input.addEventListener('change', () => { this.networks.row.hidden = this.choice() !== 'some'; });
				return { input, node: el('label', {}, input, el('span', {}, label)) };
			});
		this.kill = ovpnd.checkbox(false, 'kill_switch');
		this.killError = el('div', { 'class': 'ovpnd-error', 'id': 'ovpnd-kill-error' });
		this.kill.setAttribute('aria-describedby', 'ovpnd-kill-help ovpnd-kill-error');
		this.verdicts = el('div', { 'class': 'ovpnd-wrap' });
		this.rest = el('div', { 'class': 'ovpnd-rest' });
		this.rest.hidden = true;
		this.node = this.build();
		this.watch();
	}

	choice() {
		return this.traffic.find(({ input }) => input.checked).input.value;
	}

	build() {
		this.make = ovpnd.button(_('Connect'), 'cbi-button-positive', () => this.submit(), this.messages);
		this.drop = el('label', { 'class': 'ovpnd-drop' }, _('Drop a profile (.ovpn) here, or choose the file'), ' ', this.file);
		this.networks.row.hidden = true;
		this.rest.append(this.verdicts, this.name.row, this.username.row, this.password.row,
			el('div', { 'class': 'cbi-value' },
				el('label', { 'class': 'cbi-value-title', 'id': 'ovpnd-traffic' }, _('Through the tunnel goes')),
				el('div', { 'class': 'cbi-value-field ovpnd-choices', 'role': 'radiogroup', 'aria-labelledby': 'ovpnd-traffic' }, this.traffic.map(({ node }) => node))),
			this.networks.row,
			el('div', { 'class': 'cbi-value' },
				el('label', { 'class': 'cbi-value-title' }, _('Kill switch')),
				el('div', { 'class': 'cbi-value-field ovpnd-choices' },
					el('label', {}, this.kill, el('span', {}, _('what goes through the tunnel leaves no other way while it is down'))),
					el('div', { 'class': 'cbi-value-description', 'id': 'ovpnd-kill-help' },
						_('From the start of the tunnel to its stop, also when it crashes; local networks stay reachable.')),
					this.killError)),
			el('div', { 'class': 'ovpnd-actions' }, this.make));
		return ovpnd.form({ 'class': 'cbi-section ovpnd-import' }, this.make,
			el('h3', {}, _('Take in a profile')), this.messages, this.drop,
			el('p', {}, el('label', {}, _('or paste its text:'), this.text)), this.rest);
	}

	watch() {
		let timer;
		this.text.addEventListener('input', () => {
			clearTimeout(timer);
			timer = setTimeout(() => this.plan(), 400);
		});
		this.name.control.addEventListener('change', () => this.plan());
		this.file.addEventListener('change', () => this.read(this.file.files[0]));
		for (const type of [ 'dragover', 'dragleave', 'drop' ])
			this.drop.addEventListener(type, (event) => {
				event.preventDefault();
				this.drop.classList.toggle('over', type === 'dragover');
				if (type === 'drop')
					this.read(event.dataTransfer.files[0]);
			});
	}

	read(file) {
		if (!file)
			return null;
		if (file.size > PROFILE_MAX)
			return ovpnd.say(this.messages, _('This file is too large to be a profile.'), 'error');
		return file.text().then((text) => {
			this.text.value = text;
			this.name.control.value = nameOf(file.name);
			return this.plan();
		});
	}

	args() {
		const login = (field) => field.row.hidden || field.control.value === '' ? undefined : field.control.value;
		return { name: this.name.control.value.trim(), text: this.text.value, username: login(this.username), password: login(this.password) };
	}

	/* Only the last question's answer counts. */
	plan() {
		const turn = this.turn = (this.turn ?? 0) + 1;
		this.rest.hidden = this.text.value.trim() === '';
		if (this.rest.hidden)
			return ovpnd.say(this.messages, []);
		this.name.complain(/^[A-Za-z0-9_]{1,32}$/.test(this.name.control.value.trim()) ? '' : _('The name must be 1 to 32 letters, digits or _.'));
		return ovpnd.call('import_plan', { name: this.args().name, text: this.text.value }).then((plan) => {
			if (turn === this.turn)
				this.show(plan);
		}, (error) => ovpnd.say(this.messages, error.message, 'error'));
	}

	show({ verdicts, problems, warnings, asks }) {
		const rows = verdicts.map(({ line, name, verdict, note }) => [
			line > 0 ? String(line) : _('whole'), name || '–',
			el('span', { 'class': 'ovpnd-verdict ' + (verdict === 'not needed' ? '' : verdict) }, VERDICTS[verdict] ?? verdict), note ?? ''
		]);
		const lines = verdicts.filter(({ line }) => line > 0);
		const refused = lines.filter(({ verdict }) => verdict === 'refused').length;
		this.verdicts.replaceChildren(
			el('details', Object.assign({ 'class': 'ovpnd-group' }, problems.length > 0 || refused > 0 ? { 'open': '' } : {}),
				el('summary', {}, _('Understood: %d of %d lines').format(lines.length - refused, lines.length)),
				ovpnd.table([ _('Line'), _('Directive'), _('What becomes of it'), _('Why') ], rows, _('Nothing was found.'))));
		const hasLogin = asks.length > 0 || verdicts.some(({ name }) => name === 'auth-user-pass');
		this.username.row.hidden = this.password.row.hidden = !hasLogin;
		this.asks = asks;
		this.namesTraffic = verdicts.some(({ name, verdict }) => verdict === 'taken' && /^(redirect-gateway|route|route-ipv6)$/.test(name));
		this.make.disabled = problems.length > 0;
		ovpnd.say(this.messages, problems.length > 0 ? problems : warnings, problems.length > 0 ? 'error' : 'warning');
	}

	options() {
		const choice = this.choice();
		const options = { enabled: '1' };
		if (choice === 'all')
			options.redirect_gateway = '1';
		if (choice === 'some') {
			options.redirect_gateway = '0';
			options.route_nopull = '1';
			options.route = this.networks.control.value.split(/\s+/).filter((word) => word !== '');
		}
		if (this.kill.checked)
			options.kill_switch = '1';
		return options;
	}

	submit() {
		const args = this.args();
		const missing = (this.asks ?? []).filter((name) => args[name] === undefined);
		this.username.complain(missing.includes('username') ? _('The profile needs a user name.') : '');
		this.password.complain(missing.includes('password') ? _('The profile needs a password.') : '');
		this.networks.complain(this.choice() === 'some' && this.networks.control.value.trim() === '' ? _('Name at least one network.') : '');
		const isOpen = this.kill.checked && this.choice() === 'server' && !this.namesTraffic;
		this.killError.textContent = isOpen ? _('The profile does not say what must go through the tunnel: choose everything, or these networks.') : '';
		if (missing.length > 0 || isOpen || this.networks.row.matches('.ovpnd-invalid'))
			return null;
		const fail = (lines) => { throw new Error(lines.join('\n')); };
		return ovpnd.call('import', { ...args, enabled: false }).then(({ problems }) => {
			if (problems.length > 0)
				fail(problems);
			return ovpnd.call('save', { changes: [ { type: 'client', name: args.name, options: this.options() } ] });
		}).then(({ problems }) => {
			const errors = problems.filter(({ severity }) => severity === 'error').map(({ option, rule }) => (option ? option + ' ' : '') + rule);
			if (errors.length > 0)
				fail([ _('The profile is taken in, but switched off, because of this:'), ...errors, _('Change it under Settings.') ]);
			this.text.value = this.password.control.value = '';
			this.rest.hidden = true;
			this.done();
			ovpnd.say(this.messages, _('%s is taken in and connects now. See the page Status.').format(args.name));
		});
	}
}

return view.extend({
	load: function() {
		return ovpnd.call('tunnels').catch((error) => error);
	},

	render: function(data) {
		const messages = ovpnd.messages();
		const page = el('div', { 'class': 'ovpnd' }, ovpnd.style(), el('h2', {}, _('VPN client')), messages);
		if (data instanceof Error) {
			ovpnd.say(messages, data.message, 'error');
			return page;
		}
		const list = el('div', {});
		const change = (name, part) => ovpnd.call('save', { changes: [ { type: 'client', name, ...part } ] }).then(({ problems }) => {
			const errors = problems.filter(({ severity }) => severity === 'error');
			if (errors.length > 0)
				throw new Error(errors.map(({ text }) => text).join('\n'));
			return refresh();
		});
		const refresh = () => ovpnd.call('tunnels').then(show);
		const show = ({ tunnels }) => list.replaceChildren(ovpnd.table([ _('Client'), _('State'), '' ], tunnels.filter(({ role }) => role === 'client').map((tunnel) => [
			tunnel.name,
			tunnel.usable ? (tunnel.enabled ? _('on') : _('off')) : tunnel.problems.map(({ option, rule }) => (option ? option + ' ' : '') + rule).join('; '),
			el('div', { 'class': 'ovpnd-actions' },
				ovpnd.button(tunnel.enabled ? _('Switch off') : _('Switch on'), 'cbi-button-action', () => change(tunnel.name, { options: { enabled: tunnel.enabled ? '0' : '1' } }), messages),
				ovpnd.button(_('Remove'), 'cbi-button-negative', () => ovpnd.confirm(_('Remove this client?'),
					[ _('Client: %s').format(tunnel.name), _('Its settings go; its key files stay in /etc/ovpnd until you remove them.') ], _('Remove'),
					() => change(tunnel.name, { remove: true })), messages))
		]), _('No client yet.')));
		show(data);
		page.append(list, new Importer(refresh).node);
		return page;
	},

	handleSaveApply: null,
	handleSave: null,
	handleReset: null
});
