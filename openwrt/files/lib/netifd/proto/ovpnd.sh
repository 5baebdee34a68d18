#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# `config interface 'NAME'` with `proto 'ovpnd'`: netifd gets addresses, routes and name servers of the tunnel NAME.
# The tunnel's process reports them itself; this only tells it whether the interface is wanted. Nothing of the tunnel
# is an option here, so that no edit of the interface takes it down.
# shellcheck disable=SC1091,SC2034,SC2154,SC3043 # netifd's functions; netifd reads the flags; ash has local

[ -n "$INCLUDE_ONLY" ] || {
	. /lib/functions.sh
	. ../netifd-proto.sh
	init_proto "$@"
}

proto_ovpnd_init_config() {
	available=1
	no_device=1
	no_proto_task=1
	lasterror=1
	teardown_on_l3_link_down=1
	proto_config_add_boolean nohostroute
}

ovpnd_tell() {
	ubus -S -t 3 call "ovpnd.$1" interface "$2" >/dev/null 2>&1
}

proto_ovpnd_setup() {
	local config="$1"
	local nohostroute host_route=true

	json_get_vars nohostroute
	[ "$nohostroute" != 1 ] || host_route=false
	ovpnd_tell "$config" "{\"up\":true,\"host_route\":$host_route}" && return
	# One that starts later asks netifd by itself.
	[ "$(uci -q get "ovpnd.$config.enabled")" = 1 ] || proto_notify_error "$config" TUNNEL_NOT_ENABLED
}

proto_ovpnd_teardown() {
	ovpnd_tell "$1" '{"up":false}'
}

[ -n "$INCLUDE_ONLY" ] || {
	add_protocol ovpnd
}
