// SPDX-License-Identifier: Apache-2.0
// From nothing to a server, and from a server to a client's profile: shown once, kept nowhere.
'use strict';
'require view';
'require ui';
'require tools.ovpnd as ovpnd';

const el = ovpnd.el;
/* A QR code takes no more (version 40), and up to here every camera reads it (version 30). */
const QR_BYTES = 2953;
const QR_EASY = 1732;
/* Whole points for each square: what is scaled by a fraction is hard to read. */
const QR_PIXELS = 3;
const STATES = { valid: _('valid'), expired: _('expired'), revoked: _('revoked') };

/* LuCI's own module, where it is installed. */
const loadQr = () => Promise.resolve().then(() => L.require('uqr')).catch(() => null);

function download(name, text) {
	const url = URL.createObjectURL(new Blob([ text ], { type: 'application/x-openvpn-profile' }));
	const link = el('a', { 'href': url, 'download': name });
	document.body.append(link);
	link.click();
	link.remove();
	setTimeout(() => URL.revokeObjectURL(url), 10000);
}

function qrImage(uqr, profile) {
	/* Comments are for who reads the file. */
	const text = profile.replace(/^#.*\n/gm, '');
	if (new TextEncoder().encode(text).length > QR_BYTES)
		return el('p', {}, _('This profile is too long for a QR code: take the download.'));
	if (!uqr)
		return el('p', {}, _('For a QR code install the package luci-lib-uqr; the download works without it.'));
	const svg = uqr.renderSVG(text, { border: 4, pixelSize: QR_PIXELS });
	const code = [
		el('p', {}, _('The QR code holds the text of the profile, for a phone that has no other way to get it: scan it, and save the text as a file with the ending .ovpn.')),
		el('img', { 'class': 'ovpnd-qr', 'alt': _('The profile as a QR code'), 'src': 'data:image/svg+xml,' + encodeURIComponent(svg) })
	];
	if (text.length <= QR_EASY)
		return code;
	return el('details', { 'class': 'ovpnd-group' }, el('summary', {}, _('QR code')),
		el('p', {}, _('This profile makes a very dense code: a good camera close to a large screen reads it. The download is the surer way.')), code);
}

/* The profile is in this page's memory alone, and gone when the window is closed. */
function showProfile(peer, profile, uqr, done) {
	const opener = document.activeElement;
	ui.showModal(_('The profile is ready'), [
		el('p', {}, _('Client: %s').format(peer)),
		el('p', {}, el('strong', {}, _('It is shown only now: it holds a private key that this router does not keep.')),
			' ', _('Open the file with an OpenVPN app (OpenVPN Connect, OpenVPN for Android, Tunnelblick).')),
		...[].concat(qrImage(uqr, profile)),
		el('div', { 'class': 'ovpnd-actions' },
			ovpnd.button(_('Download'), 'cbi-button-positive ovpnd-download', () => download(peer.replace(/[^A-Za-z0-9_.-]/g, '_') + '.ovpn', profile)),
			ovpnd.button(_('Close'), '', () => { ui.hideModal(); opener?.focus?.(); done(); }))
	], 'ovpnd-profile');
}

function keyKinds({ key_kinds }) {
	const labels = { ec: 'EC P-256', ed25519: 'Ed25519' };
	return ovpnd.select(key_kinds.map((kind) => [ kind, labels[kind] ]), 'ec', 'kind');
}

function kindHelp({ key_kinds }) {
	return key_kinds.includes('ed25519') ? _('Every app can use EC P-256; Ed25519 not every one.') : _('The TLS library of this ovpnd has no Ed25519 keys.');
}

class ServerCard {
	constructor(tunnel, proposal, uqr) {
		Object.assign(this, { tunnel, proposal, uqr });
		this.messages = ovpnd.messages();
		this.list = el('div', {});
		this.node = el('div', { 'class': 'cbi-section ovpnd-card', 'data-server': tunnel.name },
			el('h3', {}, tunnel.name), this.messages,
			this.warnings(),
			tunnel.problems.map(({ option, rule }) => el('p', { 'class': 'alert-message error' }, (option ? option + ' ' : '') + rule)),
			tunnel.authority ? [ this.list, this.addForm() ] : this.initForm());
		if (tunnel.authority)
			this.refresh();
	}

	warnings() {
		const { name, warnings, can_issue } = this.tunnel;
		if (warnings.length === 0)
			return '';
		const renew = ovpnd.button(_('Renew'), 'cbi-button-action', () => ovpnd.call('pki_renew', { tunnel: name }).then(() => {
			line.remove();
			ovpnd.say(this.messages, _('Renewed. Who is connected stays connected, and profiles stay good.'));
		}), this.messages);
		const line = el('div', { 'class': 'alert-message warning ovpnd-renew' }, warnings.map((text) => el('p', {}, text)),
			can_issue ? el('div', { 'class': 'ovpnd-actions' }, renew) : el('p', {}, _('The key of the authority is not on this router: bring it back to renew.')));
		return line;
	}

	initForm() {
		const kind = ovpnd.field(_('Keys'), keyKinds(this.proposal), kindHelp(this.proposal));
		return [
			el('p', {}, _('This server has no certificate authority of its own: without one no client can be added here.')), kind.row,
			ovpnd.button(_('Make a certificate authority'), 'cbi-button-action', () =>
				ovpnd.call('pki_init', { tunnel: this.tunnel.name, kind: kind.control.value }).then(() => location.reload()), this.messages)
		];
	}

	addForm() {
		if (!this.tunnel.can_issue)
			return el('p', {}, _('The key of the authority is not on this router: nothing can be issued here.'));
		const name = ovpnd.field(_('Name of the client'), ovpnd.input({ 'placeholder': 'alice-phone', 'name': 'peer', 'maxlength': 64 }), _('Letters, digits, dot, dash.'));
		const remote = ovpnd.field(_('Address of this router'), ovpnd.input({ 'value': this.proposal.host, 'name': 'remote', 'placeholder': 'vpn.example.org' }),
			[ _('The name or address by which the client reaches this router from the internet.'), ' ', this.proposal.host_note ]);
		const days = ovpnd.field(_('Good for'), ovpnd.select([ [ '825', _('2 years') ], [ '365', _('1 year') ], [ '90', _('90 days') ], [ '7', _('a week') ] ], '825', 'days'));
		this.issue = (peer) => {
			const address = remote.control.value.trim();
			name.complain(/^[A-Za-z0-9_.@:-]{1,64}$/.test(peer) ? '' : _('Give the client a name of letters, digits, dot or dash.'));
			remote.complain(address !== '' ? '' : _('Without an address the client would not know where to go.'));
			const wrong = [ name, remote ].find(({ row }) => row.matches('.ovpnd-invalid'));
			if (wrong)
				return wrong.control.focus();
			return ovpnd.call('export', { tunnel: this.tunnel.name, days: +days.control.value, peer, remote: address }).then(({ profile }) => {
				ovpnd.say(this.messages, []);
				name.control.value = '';
				showProfile(peer, profile, this.uqr, () => this.refresh());
			});
		};
		const add = ovpnd.button(_('Add client'), 'cbi-button-positive', () => this.issue(name.control.value.trim()), this.messages);
		return ovpnd.form({ 'class': 'ovpnd-add' }, add,
			el('h4', {}, _('Add a client')), name.row, remote.row, days.row, el('div', { 'class': 'ovpnd-actions' }, add));
	}

	refresh() {
		return ovpnd.call('pki_list', { tunnel: this.tunnel.name }).then(({ certificates }) => {
			const clients = certificates.filter(({ common_name }) => common_name !== this.tunnel.name);
			this.list.replaceChildren(ovpnd.table([ _('Client'), _('State'), _('Until'), '' ], clients.map((item) => [
				item.common_name,
				item.due && item.state === 'valid' ? el('strong', {}, _('valid, ends soon')) : STATES[item.state] ?? item.state,
				ovpnd.day(item.not_after),
				this.actions(item)
			]), _('No client yet.')));
		}).catch((error) => ovpnd.say(this.messages, error.message, 'error'));
	}

	actions({ common_name, state, due }) {
		const buttons = [];
		if (due && this.tunnel.can_issue)
			buttons.push(this.renew(common_name));
		if (state === 'valid')
			buttons.push(this.revoke(common_name));
		return buttons.length === 0 ? '' : el('div', { 'class': 'ovpnd-actions' }, buttons);
	}

	/* A certificate and key like those of a new client; the old profile works until its end. */
	renew(peer) {
		const button = ovpnd.button(_('New profile'), 'cbi-button-positive', () => this.issue(peer), this.messages);
		button.setAttribute('aria-label', '%s: %s'.format(_('New profile'), peer));
		return button;
	}

	revoke(peer) {
		const button = ovpnd.button(_('Revoke'), 'cbi-button-negative', () =>
			ovpnd.confirm(_('Revoke this client?'), [ _('Client: %s').format(peer), _('Its connection ends now, and its profile never works again. This cannot be undone.') ], _('Revoke'), () =>
				ovpnd.call('pki_revoke', { tunnel: this.tunnel.name, peer }).then(({ disabled }) => {
					ovpnd.say(this.messages, disabled ? _('The key of the authority is not here: the client is kept out by its settings instead.') : _('Revoked: %s').format(peer));
					return this.refresh();
				})), this.messages);
		button.setAttribute('aria-label', '%s: %s'.format(_('Revoke'), peer));
		return button;
	}
}

function wizard(proposal, done) {
	const messages = ovpnd.messages();
	const fields = {
		tunnel: ovpnd.field(_('Name'), ovpnd.input({ 'value': proposal.name, 'name': 'tunnel', 'maxlength': 32 }), _('Letters, digits and _.')),
		address: ovpnd.field(_('Addresses inside the tunnel'), ovpnd.input({ 'value': proposal.address, 'name': 'address' }), _('The address of this router in the tunnel and the size of the subnet; clients get the other addresses. The proposed one is free.')),
		address6: ovpnd.field(_('IPv6 inside the tunnel'), ovpnd.input({ 'value': proposal.address6, 'name': 'address6', 'placeholder': 'fd00:1234:5678::1/64' }), _('The same for IPv6: a private subnet with a random number. Empty: no IPv6.')),
		port: ovpnd.field(_('Port'), ovpnd.input({ 'value': proposal.port, 'name': 'port', 'inputmode': 'numeric' }), ''),
		proto: ovpnd.field(_('Transport'), ovpnd.select([ [ 'udp', _('UDP (fast)') ], [ 'both', _('UDP, and TCP where UDP is blocked') ], [ 'tcp', _('TCP only') ] ], 'udp', 'proto'), ''),
		kind: ovpnd.field(_('Keys'), keyKinds(proposal), kindHelp(proposal)),
		networks: ovpnd.field(_('Local networks'), ovpnd.input({ 'value': proposal.lan_network, 'name': 'networks', 'placeholder': '192.168.1.0/24' }), _('Networks behind this router that clients reach, with blanks between them.')),
		dns: ovpnd.field(_('Name servers for clients'), ovpnd.input({ 'value': proposal.lan_address, 'name': 'dns', 'placeholder': '192.168.1.1' }), _('Addresses with blanks between them. The router itself knows the names of your network.'))
	};
	const reach = { lan: ovpnd.checkbox(true, 'lan'), internet: ovpnd.checkbox(false, 'internet') };
	const wall = ovpnd.checkbox(proposal.has_firewall, 'firewall');
	wall.disabled = !proposal.has_firewall;
	reach.lan.addEventListener('change', () => { fields.networks.row.hidden = !reach.lan.checked; });
	const make = ovpnd.button(_('Make the server'), 'cbi-button-positive', () => {
		const text = (name) => fields[name].control.value.trim();
		const port = Number(text('port'));
		fields.tunnel.complain(/^[A-Za-z0-9_]{1,32}$/.test(text('tunnel')) ? '' : _('The name must be 1 to 32 letters, digits or _.'));
		fields.port.complain(Number.isInteger(port) && port >= 1 && port <= 65535 ? '' : _('A port is a number from 1 to 65535.'));
		fields.address.complain(text('address').includes('/') ? '' : _('An address with its prefix length is needed, such as 10.8.0.1/24.'));
		fields.address6.complain(/^$|:.*\//.test(text('address6')) ? '' : _('An IPv6 address with its prefix length is needed, such as fd00:1234:5678::1/64, or nothing.'));
		const wrong = Object.values(fields).find(({ row }) => row.matches('.ovpnd-invalid'));
		if (wrong)
			return wrong.control.focus();
		return ovpnd.call('server_create', {
			tunnel: text('tunnel'), address: text('address'), address6: text('address6'), kind: fields.kind.control.value, port, proto: text('proto'), networks: text('networks'), dns: text('dns'),
			lan: reach.lan.checked, internet: reach.internet.checked, firewall: wall.checked
		}).then(() => done(text('tunnel')));
	}, messages);
	return ovpnd.form({ 'class': 'cbi-section ovpnd-wizard' }, make,
		el('h3', {}, _('New server')), messages, fields.tunnel.row, fields.address.row, fields.address6.row, fields.port.row, fields.proto.row,
		el('div', { 'class': 'cbi-value' },
			el('label', { 'class': 'cbi-value-title', 'id': 'ovpnd-reach' }, _('Clients reach')),
			el('div', { 'class': 'cbi-value-field ovpnd-choices', 'role': 'group', 'aria-labelledby': 'ovpnd-reach' },
				el('label', {}, reach.lan, el('span', {}, _('the local network'))),
				el('label', {}, reach.internet, el('span', {}, _('the internet: all their traffic goes through this router'))),
				el('div', { 'class': 'cbi-value-description' }, _('With neither they reach only this router.')))),
		fields.networks.row, fields.dns.row, fields.kind.row,
		el('div', { 'class': 'cbi-value' },
			el('label', { 'class': 'cbi-value-title' }, _('Firewall')),
			el('div', { 'class': 'cbi-value-field ovpnd-choices' },
				el('label', {}, wall, el('span', {}, _('open the port, and make a zone that lets clients reach what is chosen above'))),
				el('div', { 'class': 'cbi-value-description' }, proposal.has_firewall
					? _('Otherwise the firewall stays as it is, and you let clients in yourself.')
					: _('This router has no firewall configuration: nothing to change.')))),
		el('div', { 'class': 'ovpnd-actions' }, make));
}

return view.extend({
	load: function() {
		return Promise.all([ ovpnd.call('tunnels'), ovpnd.call('propose'), loadQr() ]).catch((error) => error);
	},

	render: function(data) {
		const messages = ovpnd.messages();
		const page = el('div', { 'class': 'ovpnd' }, ovpnd.style(), el('h2', {}, _('VPN server')), messages);
		if (data instanceof Error) {
			ovpnd.say(messages, data.message, 'error');
			return page;
		}
		const place = el('div', {});
		const show = ([ { tunnels }, proposal, uqr ], made) => {
			const cards = tunnels.filter(({ role }) => role === 'server').map((tunnel) => new ServerCard(tunnel, proposal, uqr));
			const form = wizard(proposal, (name) => this.load().then((fresh) => {
				if (fresh instanceof Error)
					throw fresh;
				show(fresh, name);
				ovpnd.say(messages, _('The server %s is made and starts now. Add its first client.').format(name));
			}));
			const isFirst = cards.length === 0;
			place.replaceChildren(...cards.map(({ node }) => node),
				isFirst ? form : el('details', {}, el('summary', {}, _('Make another server')), form));
			if (made)
				place.querySelector('[data-server="%s"] [name=peer]'.format(made))?.focus();
		};
		show(data);
		page.append(place);
		return page;
	},

	handleSaveApply: null,
	handleSave: null,
	handleReset: null
});
