// SPDX-License-Identifier: Apache-2.0
// What runs, what carries its packets, who is connected and how fast. Rows stay where they are while their texts
// change, so that focus and selection survive each update.
'use strict';
'require view';
'require poll';
'require tools.ovpnd as ovpnd';

const el = ovpnd.el;
const SECONDS = 3;
const SAMPLES = 40;
const SVG = 'http://www.w3.org/2000/svg';

const STATES = {
	listening: [ 'good', _('listening') ],
	connected: [ 'good', _('connected') ],
	connecting: [ 'busy', _('connecting') ],
	starting: [ 'busy', _('starting') ],
	stopping: [ 'busy', _('stopping') ]
};

function planeText(plane) {
	const features = (plane.offload ?? []).length > 0 ? ' (' + plane.offload.join(', ') + ')' : '';
	if (plane.name === 'kernel')
		return _('offloaded: the kernel carries the packets');
	if (plane.name === 'native')
		return _('not offloaded: the daemon carries the packets, in native code') + features;
	return _('not offloaded: the daemon carries the packets, in JavaScript; that is slow');
}

function svg(tag, attributes) {
	const node = document.createElementNS(SVG, tag);
	for (const [ name, value ] of Object.entries(attributes))
		node.setAttribute(name, value);
	return node;
}

/* Rates of the last two minutes, both directions on one scale. */
function graph() {
	const lines = { rx: svg('polyline', { 'class': 'rx' }), tx: svg('polyline', { 'class': 'tx' }) };
	const picture = svg('svg', { 'class': 'ovpnd-graph', 'viewBox': '0 0 %d 20'.format(SAMPLES - 1), 'preserveAspectRatio': 'none', 'aria-hidden': 'true' });
	picture.append(lines.rx, lines.tx);
	return {
		picture,
		draw: (samples) => {
			const top = Math.max(1, ...samples.flatMap(({ rx, tx }) => [ rx, tx ]));
			for (const way of [ 'rx', 'tx' ])
				lines[way].setAttribute('points', samples.map((sample, i) =>
					'%d,%.1f'.format(SAMPLES - samples.length + i, 19 - 18 * sample[way] / top)).join(' '));
		}
	};
}

/* Bits per second. */
function rate(bytesPerSecond) {
	return '%1000.1mbit/s'.format(bytesPerSecond * 8);
}

const TITLES = [ _('Name'), _('From'), _('VPN addresses'), _('Connected'), _('Keys'), _('Now'), _('Total'), '' ];

class PeerRow {
	constructor(tunnel, role, peer, messages) {
		this.samples = [];
		this.graph = graph();
		this.texts = TITLES.map(() => el('span', {}));
		this.rates = { rx: el('div', { 'class': 'ovpnd-rx' }), tx: el('div', { 'class': 'ovpnd-tx' }) };
		this.totals = { rx: el('div', { 'class': 'ovpnd-rx' }), tx: el('div', { 'class': 'ovpnd-tx' }) };
		this.texts[5] = el('div', {}, this.graph.picture, this.rates.rx, this.rates.tx);
		this.texts[6] = el('div', {}, this.totals.rx, this.totals.tx);
		this.texts[7] = el('div', { 'class': 'ovpnd-actions' }, this.actions(tunnel, role, peer, messages));
		this.node = el('tr', { 'class': 'tr', 'data-peer': peer.name },
			this.texts.map((text, i) => el('td', { 'class': 'td', 'data-title': TITLES[i] }, text)));
	}

	actions(tunnel, role, peer, messages) {
		const end = ovpnd.button(role === 'server' ? _('Disconnect') : _('Reconnect'), 'cbi-button-action', () =>
			ovpnd.ask(tunnel, 'disconnect', { peer: role === 'server' ? peer.name : undefined })
				.then(() => ovpnd.say(messages, _('Disconnected. A client that keeps trying comes back by itself; disable it to keep it out.'))), messages);
		end.setAttribute('aria-label', '%s: %s'.format(end.textContent, peer.name));
		if (role !== 'server')
			return [ end ];
		const off = ovpnd.button(_('Disable'), 'cbi-button-negative', () =>
			ovpnd.call('peer_enable', { tunnel, peer: peer.name, enabled: false })
				.then(() => ovpnd.say(messages, _('Disabled: this client is kept out until it is enabled again.'))), messages);
		off.setAttribute('aria-label', '%s: %s'.format(off.textContent, peer.name));
		return [ end, off ];
	}

	update(peer, now) {
		const last = this.last;
		if (last && now > last.now && peer.rx_bytes >= last.rx && peer.tx_bytes >= last.tx) {
			const seconds = (now - last.now) / 1000;
			this.samples.push({ rx: (peer.rx_bytes - last.rx) / seconds, tx: (peer.tx_bytes - last.tx) / seconds });
			this.samples.splice(0, this.samples.length - SAMPLES);
		}
		this.last = { now, rx: peer.rx_bytes, tx: peer.tx_bytes };
		const current = this.samples.at(-1) ?? { rx: 0, tx: 0 };
		this.graph.draw(this.samples);
		this.rates.rx.textContent = rate(current.rx);
		this.rates.tx.textContent = rate(current.tx);
		this.totals.rx.textContent = ovpnd.bytes(peer.rx_bytes);
		this.totals.tx.textContent = ovpnd.bytes(peer.tx_bytes);
		[ peer.name || _('(no name)'), peer.real_address, [].concat(peer.vpn_addresses, peer.routes ?? []).join(' '),
			ovpnd.duration(Date.now() / 1000 - peer.connected_since),
			_('%s, %s ago').format(peer.cipher, ovpnd.duration(peer.handshake_age_s)) ]
			.forEach((text, i) => { this.texts[i].textContent = text; });
		this.texts[4].title = peer.tls;
	}
}

class Card {
	constructor(tunnel) {
		this.rows = new Map();
		this.badge = el('span', { 'class': 'ovpnd-badge' });
		this.facts = el('dl', { 'class': 'ovpnd-facts' });
		this.messages = ovpnd.messages();
		this.table = el('table', { 'class': 'table' },
			el('tr', { 'class': 'tr table-titles' }, TITLES.map((title) => el('th', { 'class': 'th', 'scope': 'col' }, title))));
		this.empty = el('p', {}, el('em', {}, _('Nobody is connected.')));
		this.absent = el('div', {});
		this.lines = el('pre', { 'class': 'ovpnd-log', 'tabindex': '0', 'aria-label': _('Log') });
		this.log = el('details', {}, el('summary', {}, _('Log')), this.lines);
		this.log.addEventListener('toggle', () => this.readLog(tunnel.name));
		this.node = el('div', { 'class': 'cbi-section ovpnd-card', 'data-tunnel': tunnel.name },
			el('h3', { 'class': 'ovpnd-title' }, el('span', {}, tunnel.name),
				el('span', { 'class': 'ovpnd-badge' }, tunnel.role === 'server' ? _('server') : _('client')), this.badge),
			this.messages, this.facts, this.table, this.empty, this.absent, this.log);
	}

	readLog(name) {
		if (!this.log.open)
			return Promise.resolve();
		return ovpnd.ask(name, 'log', { lines: 200 }).then(({ lines }) => {
			const isAtEnd = this.lines.scrollTop + this.lines.clientHeight >= this.lines.scrollHeight - 4;
			this.lines.textContent = (lines ?? []).map((line) => typeof line === 'string' ? line : line.text ?? JSON.stringify(line)).join('\n');
			if (isAtEnd)
				this.lines.scrollTop = this.lines.scrollHeight;
		}, (error) => { this.lines.textContent = error.message; });
	}

	show(facts) {
		const known = facts.filter(([ , text ]) => text !== '' && text != null);
		this.facts.replaceChildren(...known.flatMap(([ title, text ]) => [ el('dt', {}, title), el('dd', {}, text) ]));
	}

	update(tunnel, status, now) {
		/* Of an authority's files also while its tunnel is off. */
		const warnings = (tunnel.authority ? tunnel.warnings : status?.warnings ?? []).join('; ');
		const wrong = (tunnel.problems ?? []).map(({ option, rule }) => (option ? option + ' ' : '') + rule).join('; ');
		const isUp = status !== null;
		const [ look, state ] = isUp ? STATES[status.state] ?? [ 'busy', status.state ]
			: !tunnel.usable ? [ 'bad', _('wrong settings') ]
			: tunnel.enabled ? [ 'bad', _('not running') ] : [ 'off', _('switched off') ];
		this.badge.className = 'ovpnd-badge ' + look;
		this.badge.textContent = state;
		this.show(isUp ? [
			[ _('Packets'), planeText(status.data_plane) ],
			[ _('Why'), status.data_plane.reasons.join('; ') ],
			[ _('Listens on'), status.sockets.map(({ proto, address, port }) => (address.includes(':') ? '%s [%s]:%d' : '%s %s:%d').format(proto, address, port)).join(', ') ],
			[ _('Server'), status.remote ],
			[ _('Device'), '%s, %s'.format(status.device, status.addresses.join(' ') || _('no address yet')) ],
			[ _('Name servers'), (status.dns ?? []).join(' ') ],
			[ _('Kill switch'), status.kill_switch ? _('on: what goes through this tunnel leaves no other way') : '' ],
			[ _('Running for'), ovpnd.duration(status.uptime) ],
			[ _('Last error'), status.last_error ],
			[ _('Certificates'), warnings ],
			[ _('Wrong in the settings'), wrong ]
		] : [ [ _('Wrong in the settings'), wrong ], [ _('Certificates'), warnings ] ]);
		this.updatePeers(tunnel, status?.peers ?? [], now);
		this.empty.hidden = !isUp || this.rows.size > 0;
		this.table.hidden = this.rows.size === 0;
		this.log.hidden = !isUp;
		this.updateAbsent(tunnel);
		return this.readLog(tunnel.name);
	}

	updatePeers(tunnel, peers, now) {
		const seen = new Set();
		for (const peer of peers) {
			const key = '%d %s'.format(peer.peer_id, peer.name);
			seen.add(key);
			let row = this.rows.get(key);
			if (row === undefined) {
				row = new PeerRow(tunnel.name, tunnel.role, peer, this.messages);
				this.rows.set(key, row);
				this.table.append(row.node);
			}
			row.update(peer, now);
		}
		for (const [ key, row ] of this.rows) {
			if (seen.has(key))
				continue;
			row.node.remove();
			this.rows.delete(key);
		}
	}

	updateAbsent(tunnel) {
		const names = (tunnel.peers ?? []).filter(({ enabled }) => !enabled).map(({ common_name }) => common_name);
		if (names.join() === this.absentNames)
			return;
		this.absentNames = names.join();
		this.absent.replaceChildren(...names.map((peer) => el('p', { 'class': 'ovpnd-line' },
			el('span', {}, _('Kept out: %s').format(peer)),
			ovpnd.button(_('Enable'), 'cbi-button-positive', () =>
				ovpnd.call('peer_enable', { tunnel: tunnel.name, peer, enabled: true }), this.messages))));
	}
}

return view.extend({
	load: function() {
		return this.read();
	},

	/* The tunnels and, of those that run, their status: a peer list may come in several answers. */
	read: function() {
		return ovpnd.call('tunnels').then(({ tunnels }) => Promise.all(tunnels.map((tunnel) => {
			const whole = (from, peers) => ovpnd.ask(tunnel.name, 'status', { from }).then((status) => {
				const all = peers.concat(status.peers);
				return status.peers.length > 0 && all.length < status.peers_total ? whole(all.length, all) : Object.assign(status, { peers: all });
			});
			return (tunnel.usable && tunnel.enabled ? whole(0, []).catch(() => null) : Promise.resolve(null)).then((status) => ({ tunnel, status }));
		}))).catch((error) => error);
	},

	render: function(first) {
		const cards = new Map();
		const place = el('div', {});
		const messages = ovpnd.messages();
		const update = (read) => {
			if (read instanceof Error)
				return ovpnd.say(messages, read.message, 'error');
			ovpnd.say(messages, []);
			const now = Date.now();
			const names = new Set(read.map(({ tunnel }) => tunnel.name));
			for (const [ name, card ] of cards) {
				if (names.has(name))
					continue;
				card.node.remove();
				cards.delete(name);
			}
			for (const { tunnel, status } of read) {
				if (!cards.has(tunnel.name)) {
					cards.set(tunnel.name, new Card(tunnel));
					place.append(cards.get(tunnel.name).node);
				}
				cards.get(tunnel.name).update(tunnel, status, now);
			}
			none.hidden = read.length > 0;
		};
		const none = el('p', {}, _('There is no tunnel yet. Make a server for your own devices, or take in the profile of a provider as a client.'));
		update(first);
		poll.add(() => this.read().then(update), SECONDS);
		return el('div', { 'class': 'ovpnd' }, ovpnd.style(), el('h2', {}, _('VPN tunnels')), messages, none, place);
	},

	handleSaveApply: null,
	handleSave: null,
	handleReset: null
});
