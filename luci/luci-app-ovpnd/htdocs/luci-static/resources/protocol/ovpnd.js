// SPDX-License-Identifier: Apache-2.0
// `proto ovpnd` for Network > Interfaces: the interface has the name of its tunnel, and everything of the tunnel
// itself is set on its own pages.
'use strict';
'require form';
'require network';
'require tools.ovpnd as ovpnd';

network.registerPatternVirtual(/^ov-.+$/);
network.registerErrorCode('TUNNEL_NOT_ENABLED', _('There is no enabled tunnel of this name'));
network.registerErrorCode('TUNNEL_ERROR', _('The tunnel reports an error'));

return network.registerProtocol('ovpnd', {
	getI18n: function() {
		return _('OpenVPN tunnel (ovpnd)');
	},

	getIfname: function() {
		return this._ubus('l3_device') || ('ov-' + this.sid).slice(0, 15);
	},

	getPackageName: function() {
		return 'ovpnd';
	},

	isFloating: function() {
		return true;
	},

	isVirtual: function() {
		return true;
	},

	getDevices: function() {
		return null;
	},

	containsDevice: function(name) {
		return network.getIfnameOf(name) === this.getIfname();
	},

	renderFormOptions: function(s) {
		let o = s.taboption('general', form.DummyValue, '_tunnel', _('Tunnel'));
		o.load = (sid) => ovpnd.call('tunnels').then(({ tunnels }) => {
			const tunnel = tunnels.find(({ name }) => name === sid);
			if (tunnel === undefined)
				return _('There is no tunnel named like this interface: make it under VPN > ovpnd, or name the interface like the tunnel.');
			return tunnel.enabled ? _('The tunnel is enabled.') : _('The tunnel is switched off: enable it under VPN > ovpnd.');
		}, (error) => error.message);
		o = s.taboption('advanced', form.Flag, 'nohostroute', _('No host route'),
			_('Leaves out the route to the server outside the tunnel. Only for routers that have such a route already.'));
		o.optional = true;
	}
});
