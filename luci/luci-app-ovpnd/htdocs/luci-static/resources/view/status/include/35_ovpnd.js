// SPDX-License-Identifier: Apache-2.0
// The tunnels on the overview of the router's status.
'use strict';
'require baseclass';
'require tools.ovpnd as ovpnd';

const el = ovpnd.el;

return baseclass.extend({
	title: _('VPN tunnels'),

	load: function() {
		return ovpnd.call('tunnels').then(({ tunnels }) => Promise.all(tunnels.filter(({ enabled }) => enabled).map((tunnel) =>
			ovpnd.ask(tunnel.name, 'status').catch(() => null).then((status) => ({ tunnel, status }))))).catch(() => []);
	},

	render: function(rows) {
		if (!rows?.length)
			return null;
		return ovpnd.table([ _('Tunnel'), _('State'), _('Peers'), _('Packets'), _('Addresses') ], rows.map(({ tunnel, status }) => status === null
			? [ tunnel.name, _('not running'), '', '', '' ]
			: [ tunnel.name, status.state, String(status.peers_total), status.data_plane.name === 'kernel' ? _('offloaded') : status.data_plane.name, status.addresses.join(' ') ]), '');
	}
});
