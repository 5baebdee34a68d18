# SPDX-License-Identifier: Apache-2.0
# What the scripts use of OpenWrt's functions.sh, rc.common, procd.sh, jshn.sh and netifd-proto.sh, with the same
# meaning; what procd or netifd would be told is a line of $RECORD each: words apart by tabs.
# shellcheck shell=dash disable=SC2034,SC2154,SC3043

record() {
	local line='' word

	for word in "$@"; do line="$line${line:+	}$word"; done
	printf '%s\n' "$line" >>"$RECORD"
}

# A file as `uci export` prints it is shell.
SECTIONS=
config() {
	SECTION="$2"
	SECTIONS="$SECTIONS $2"
	eval "CONFIG_$2_TYPE=\$1"
}
option() {
	eval "CONFIG_${SECTION}_$1=\$2"
}
list() {
	local count

	eval "count=\$((\${CONFIG_${SECTION}_$1_LENGTH:-0} + 1))"
	eval "CONFIG_${SECTION}_$1_LENGTH=$count CONFIG_${SECTION}_$1_ITEM$count=\$2"
	eval "CONFIG_${SECTION}_$1=\"\${CONFIG_${SECTION}_$1:+\$CONFIG_${SECTION}_$1 }\$2\""
}
config_load() {
	eval "$(uci -n export "$1")"
}
config_get() {
	local found

	eval "found=\$CONFIG_$2_$3"
	eval "$1=\${found:-\$4}"
}
config_get_bool() {
	local word

	config_get word "$2" "$3" "$4"
	case "$word" in
	1 | on | true | yes | enabled) eval "$1=1" ;;
	0 | off | false | no | disabled) eval "$1=0" ;;
	*) eval "$1=\$4" ;;
	esac
}
config_foreach() {
	local each type call="$1" wanted="$2"

	shift 2
	for each in $SECTIONS; do
		eval "type=\$CONFIG_${each}_TYPE"
		[ "$type" != "$wanted" ] || "$call" "$each" "$@"
	done
}
config_list_foreach() {
	local count number=1 item section="$1" name="$2" call="$3"

	shift 3
	eval "count=\${CONFIG_${section}_${name}_LENGTH:-0}"
	while [ "$number" -le "$count" ]; do
		eval "item=\$CONFIG_${section}_${name}_ITEM$number"
		"$call" "$item" "$@"
		number=$((number + 1))
	done
}

# Functions, since a busybox shell prefers its own programs to those of $PATH.
call() { printf '%s\n' "$*" >>"$CALLS"; }
chown() { call chown "$@"; }
chgrp() { call chgrp "$@"; }
logger() { call logger "$@"; }

extra_command() { :; }
procd_open_instance() { record instance "$1"; }
procd_close_instance() { record end; }
procd_set_param() { record param "$@"; }
procd_add_jail() { record jail "$@"; }
procd_add_jail_mount() { record mount "$@"; }
procd_add_jail_mount_rw() { record mount_rw "$@"; }
procd_add_reload_trigger() { record trigger "$@"; }
json_add_array() { record array "$1"; }
json_close_array() { record close; }
json_add_object() { record object "$1"; }
json_close_object() { record close; }
json_add_string() { record string "$1" "$2"; }

# As rc.common does it for a service of procd.
start() {
	start_service "$@"
	service_triggers
	service_data
	record set
}
reload() { reload_service "$@"; }
stop() {
	stop_service "$@"
	record kill "$1"
	service_stopped
}

init_proto() {
	[ "$2" = setup ] || [ "$2" = teardown ] || return 0
	ACTION="$2" INTERFACE="$3" DATA="$4"
}
proto_config_add_boolean() { record option "$1"; }
proto_notify_error() { record error "$@"; }
json_get_vars() {
	case "$DATA" in
	*'"nohostroute":true'*) nohostroute=1 ;;
	esac
}
add_protocol() {
	case "$ACTION" in
	setup | teardown) "proto_$1_$ACTION" "$INTERFACE" ;;
	*)
		proto_ovpnd_init_config
		record flags "$available" "$no_device" "$no_proto_task" "$lasterror" "$teardown_on_l3_link_down"
		;;
	esac
}
