// SPDX-License-Identifier: Apache-2.0
// OpenWrt's own configuration of OpenVPN, as `config openvpn` of /etc/config/openvpn or as an interface with
// `proto 'openvpn'`: options named as directives, `_` for `-`, their values the directive's arguments. A client's
// becomes the text of a profile, which import.ts rules on; a server's becomes options of a server section. Pure.

import { formatIp, formatPrefix, maskBits, type Prefix, parseIp, parsePrefix } from '../core/address.ts';
import { splitWords } from './ovpn.ts';

export type UciOptions = ReadonlyMap<string, string | readonly string[]>;

/** A line for the log. `isEssential`: the tunnel would not work or not be safe without it. */
export interface Loss {
  readonly option: string;
  readonly note: string;
  readonly isEssential: boolean;
}

export interface ServerDraft {
  /** Options of the server section but those that name files. */
  readonly options: ReadonlyMap<string, string | readonly string[]>;
  /** Option of the server section -> path as it stood. */
  readonly files: ReadonlyMap<string, string>;
  readonly losses: readonly Loss[];
}

/** What netifd and the old service read themselves, and switches of theirs. */
const NOT_DIRECTIVES = new Set(
  'enabled disabled auto device metric defaultroute peerdns dns dns_search dns_metric ip4table ip6table ip6assign delegate force_link tags zone jail ipv6 allow_deprecated username password cert_password config'.split(
    ' ',
  ),
);

/** Directives without arguments; `1` writes them, `0` leaves them out. */
const SWITCHES = new Set(
  `allow_pull_fqdn allow_recursive_routing auth_nocache auth_user_pass_optional bind block_ipv6 ccd_exclusive client
client_to_client comp_noadapt disable_dco disable_occ down_pre duplicate_cn fast_io float ifconfig_noexec
ifconfig_nowarn management_client management_hold management_query_passwords management_signal mktun mlock mtu_test
multihome mute_replay_warnings nobind opt_verify passtos persist_key persist_local_ip persist_remote_ip persist_tun
ping_timer_rem pull push_peer_info push_reset remote_random remote_random_hostname rmtun route_noexec route_nopull
single_session suppress_timestamps tcp_nodelay tls_client tls_exit tls_server up_restart
username_as_common_name`.split(/\s+/),
);

function valuesOf(options: UciOptions, name: string): readonly string[] {
  const value = options.get(name);
  return value === undefined ? [] : typeof value === 'string' ? [value] : value;
}

const first = (options: UciOptions, name: string): string | undefined => valuesOf(options, name)[0];
const isOn = (text: string | undefined): boolean => /^(1|on|true|yes|enabled)$/.test(text ?? '');

/** In an interface `proto` is netifd's own, and OpenVPN's is called `ovpnproto`. */
function directives(options: UciOptions): [string, string][] {
  const isInterface = first(options, 'proto') === 'openvpn';
  const found: [string, string][] = [];
  for (const name of options.keys()) {
    if (NOT_DIRECTIVES.has(name) || (isInterface && name === 'proto')) continue;
    for (const value of valuesOf(options, name)) {
      found.push([name === 'ovpnproto' ? 'proto' : name, value]);
    }
  }
  return found;
}

/** Whether it is a server's; undefined: it is neither, or only its `config` file says. */
export function roleOf(options: UciOptions): 'server' | 'client' | undefined {
  if (['server', 'server_ipv6', 'server_bridge', 'tls_server'].some(name => options.has(name))) {
    const isServer = options.has('server') || options.has('server_ipv6') || options.has('server_bridge');
    return isServer || isOn(first(options, 'tls_server')) ? 'server' : roleOfClient(options);
  }
  return first(options, 'mode') === 'server' ? 'server' : roleOfClient(options);
}

function roleOfClient(options: UciOptions): 'client' | undefined {
  const isClient = isOn(first(options, 'client')) || isOn(first(options, 'tls_client'));
  return isClient || options.has('remote') ? 'client' : undefined;
}

/** A profile that says the same, to be put after the text of the section's `config` file; or what keeps it from that. */
export function clientProfile(options: UciOptions): string | Loss {
  const lines: string[] = [];
  for (const [name, value] of directives(options)) {
    const directive = name.replace(/_/g, '-');
    if (/[\r\n\0]/.test(value)) {
      return { option: name, note: 'has a value of several lines', isEssential: true };
    }
    if (!SWITCHES.has(name)) lines.push(`${directive} ${value}`);
    else if (isOn(value)) lines.push(directive);
  }
  // The old handler made the file from these two.
  if (options.has('username') && !options.has('auth_user_pass')) lines.push('auth-user-pass');
  return `${lines.join('\n')}\n`;
}

interface Maker {
  readonly options: Map<string, string | string[]>;
  readonly files: Map<string, string>;
  readonly losses: Loss[];
}

type Take = (made: Maker, args: readonly string[], name: string) => Loss | undefined;

const essential = (option: string, note: string): Loss => ({ option, note, isEssential: true });
const lost = (option: string, note: string): Loss => ({ option, note, isEssential: false });

function add(made: Maker, option: string, value: string): undefined {
  const known = made.options.get(option);
  if (Array.isArray(known)) known.push(value);
  else made.options.set(option, [value]);
  return undefined;
}

const copy =
  (option: string): Take =>
  (made, args, name) => {
    if (args[0] === undefined) return lost(name, 'has no value');
    made.options.set(option, args.join(' '));
    return undefined;
  };

const file =
  (option: string): Take =>
  (made, args, name) => {
    if (args[0] === undefined) return essential(name, 'names no file');
    made.files.set(option, args[0]);
    if (option === 'tls_auth' && /^[01]$/.test(args[1] ?? '')) made.options.set('key_direction', args[1]!);
    return undefined;
  };

const onOff =
  (option: string): Take =>
  (made, args) => {
    if (isOn(args[0] ?? '1')) made.options.set(option, '1');
    return undefined;
  };

function prefixOf(address: string | undefined, mask: string | undefined): Prefix | undefined {
  const ip = parseIp(address ?? '');
  const bits = mask === undefined ? 32 : maskBits(mask);
  return ip?.length === 4 && bits !== undefined ? { ip, bits } : undefined;
}

/** The server takes the first address of its network, as OpenVPN does. */
function ownAddress({ ip, bits }: Prefix): string {
  const own = ip.slice();
  own[own.length - 1]! |= 1;
  return `${formatIp(own)}/${bits}`;
}

const server4: Take = (made, args, name) => {
  const prefix = prefixOf(args[0], args[1]);
  if (prefix === undefined || args[1] === undefined) return essential(name, 'must be a network and its mask');
  return add(made, 'address', ownAddress(prefix));
};

const server6: Take = (made, args, name) => {
  const prefix = parsePrefix(args[0] ?? '');
  if (prefix?.ip.length !== 16) return essential(name, 'must be an IPv6 network');
  return add(made, 'address', ownAddress(prefix));
};

const proto: Take = (made, args, name) => {
  const match = /^(udp|tcp)([46]?)(?:-server)?$/.exec(args[0] ?? '');
  if (match === null) return essential(name, 'must be udp or tcp');
  // OpenVPN's udp6 takes IPv4 as well.
  return add(made, 'proto', `${match[1]}${match[2] === '6' ? '' : match[2]}`);
};

const push: Take = (made, args, name) => {
  const [option, ...rest] = args.length === 1 ? wordsOf(args[0]!) : args;
  const value = rest[1] ?? '';
  if (option === 'route') {
    const prefix = prefixOf(rest[0], rest[1]);
    if (prefix !== undefined && rest.length <= 2) return add(made, 'push_route', formatPrefix(prefix));
  } else if (option === 'route-ipv6') {
    if (parsePrefix(rest[0] ?? '') !== undefined && rest.length === 1)
      return add(made, 'push_route', rest[0]!);
  } else if (option === 'dhcp-option' && /^DNS6?$/.test(rest[0] ?? '') && parseIp(value)) {
    return add(made, 'push_dns', value);
  } else if (option === 'dhcp-option' && /^DOMAIN(-SEARCH)?$/.test(rest[0] ?? '') && value !== '') {
    return add(made, 'push_domain', value);
  } else if (option === 'redirect-gateway') {
    made.options.set('redirect_gateway', '1');
    return undefined;
  } else if (
    /^(topology|route-gateway|ping|ping-restart|ifconfig|persist-key|persist-tun)$/.test(option ?? '')
  ) {
    // The server says these itself, where they are needed.
    return undefined;
  }
  if (option === undefined) return lost(name, 'has no value');
  return add(made, 'push_option', [option, ...rest].join(' '));
};

const digest: Take = (made, args) => {
  if (/^SHA(256|384|512)$/i.test(args[0] ?? '')) made.options.set('tls_auth_digest', args[0]!.toUpperCase());
  return undefined;
};

const ciphers: Take = (made, args, name) => {
  const usable = (args[0] ?? '')
    .toUpperCase()
    .split(':')
    .filter(text => /^(AES-(128|192|256)-GCM|CHACHA20-POLY1305)$/.test(text));
  if (usable.length === 0) return lost(name, 'names no cipher that ovpnd has; its defaults are used');
  made.options.set('data_ciphers', usable);
  return undefined;
};

const silent: Take = () => undefined;
const compression: Take = (_, args, name) =>
  /^(no|0|stub-v2|stub-only|migrate)?$/.test(args[0] ?? '')
    ? undefined
    : lost(name, 'compression is not supported; remove it from the clients');

const device: Take = (_, args, name) =>
  /^tap/.test(args[0] ?? '') ? essential(name, 'layer-2 tunnels (tap) are not supported') : undefined;

const TAKES: Readonly<Record<string, Take>> = {
  server: server4,
  server_ipv6: server6,
  proto,
  port: copy('port'),
  lport: copy('port'),
  local: copy('local'),
  ca: file('ca'),
  cert: file('cert'),
  key: file('key'),
  extra_certs: file('extra_certs'),
  crl_verify: file('crl'),
  tls_auth: file('tls_auth'),
  tls_crypt: file('tls_crypt'),
  tls_crypt_v2: file('tls_crypt_v2'),
  key_direction: copy('key_direction'),
  push,
  keepalive: copy('keepalive'),
  client_to_client: onOff('client_to_client'),
  duplicate_cn: onOff('duplicate_cn'),
  max_clients: copy('max_clients'),
  tun_mtu: copy('tun_mtu'),
  reneg_sec: copy('reneg_sec'),
  reneg_pkts: copy('reneg_pkts'),
  reneg_bytes: copy('reneg_bytes'),
  hand_window: copy('hand_window'),
  verify_client_cert: copy('verify_client_cert'),
  remote_cert_tls: copy('remote_cert_tls'),
  tls_version_min: copy('tls_version_min'),
  tls_ciphersuites: copy('tls_ciphersuites'),
  tls_groups: copy('tls_groups'),
  data_ciphers: ciphers,
  auth: digest,
  dev: device,
  dev_type: device,
  comp_lzo: compression,
  compress: compression,
  allow_compression: compression,
  server_bridge: (_made, _args, name) => essential(name, 'bridges (tap) are not supported'),
  secret: (_made, _args, name) => essential(name, 'static-key mode is not supported; it needs TLS'),
  client_config_dir: (_made, _args, name) =>
    lost(
      name,
      "addresses and routes of single clients become `config peer` sections; see the directory's files",
    ),
};

const ownPair: Take = (made, args, name) => {
  const [own = '', second = ''] = args;
  const bits = maskBits(second);
  const isPair = bits === undefined && parseIp(second)?.length === 4;
  if (parseIp(own)?.length !== 4 || (bits === undefined && !isPair))
    return essential(name, 'must be an address and that of the peer, or its netmask');
  return add(made, 'address', isPair ? `${own} ${second}` : `${own}/${bits}`);
};

const own6: Take = (made, [own = ''], name) =>
  parsePrefix(own)?.ip.length === 16 ? add(made, 'address', own) : essential(name, 'must be an IPv6 address');

const route: Take = (made, args, name) => {
  const prefix = name === 'route' ? prefixOf(args[0], args[1]) : parsePrefix(args[0] ?? '');
  return prefix === undefined ? lost(name, 'is no network') : add(made, 'route', formatPrefix(prefix));
};

/** Of a server without a pool: its one peer knows its address. */
const PEER_TAKES: Readonly<Record<string, Take>> = {
  ifconfig: ownPair,
  ifconfig_ipv6: own6,
  route,
  route_ipv6: route,
};

function isPeerMode(options: UciOptions): boolean {
  const isMany =
    ['server', 'server_ipv6'].some(name => options.has(name)) || first(options, 'mode') === 'server';
  return !isMany && (options.has('ifconfig') || options.has('ifconfig_ipv6'));
}

/** What the daemon does in its own way, or what has no meaning for it. */
const SILENT = new Set(
  `dh mode tls_server topology persist_key persist_tun user group verb mute log log_append syslog status
status_version nobind float ifconfig_pool_persist cipher data_ciphers_fallback ncp_ciphers ncp_disable script_security
mssfix fast_io mlock nice txqueuelen tcp_nodelay sndbuf rcvbuf multihome management tls_cipher ecdh_curve
explicit_exit_notify tls_timeout daemon mute_replay_warnings suppress_timestamps opt_verify ccd_exclusive`.split(
    /\s+/,
  ),
);

/** Options and files of a server section, and what cannot be carried over. */
export function serverDraft(options: UciOptions): ServerDraft {
  const made: Maker = { options: new Map(), files: new Map(), losses: [] };
  const takes = isPeerMode(options) ? { ...TAKES, ...PEER_TAKES } : TAKES;
  if (takes !== TAKES) made.options.set('mode', 'p2p');
  for (const [name, value] of directives(options)) {
    const take = Object.hasOwn(takes, name) ? takes[name]! : SILENT.has(name) ? silent : undefined;
    const words = wordsOf(value);
    if (SWITCHES.has(name) && !isOn(value)) continue;
    const loss = take === undefined ? lost(name, 'has no counterpart') : take(made, words, name);
    if (loss !== undefined) made.losses.push(loss);
  }
  if (made.losses.some(({ isEssential }) => isEssential)) return made;
  if (!made.options.has('address')) made.losses.push(essential('server', 'has no network of its own'));
  for (const name of ['ca', 'cert', 'key']) {
    if (!made.files.has(name)) made.losses.push(essential(name, 'is missing'));
  }
  if (!made.files.has('tls_auth'))
    for (const name of ['key_direction', 'tls_auth_digest']) made.options.delete(name);
  return made;
}

function wordsOf(text: string): readonly string[] {
  const words = splitWords(text);
  return typeof words === 'string' ? [text] : words;
}
