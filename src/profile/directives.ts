// SPDX-License-Identifier: Apache-2.0
// What each directive of a profile means for a client section: taken into options and files, not needed, or refused.
// A refusal is essential when the tunnel could not work, or would be less safe, without the directive.

import { formatPrefix, maskBits, parseIp, parsePrefix } from '../core/address.ts';
import type { Draft } from './draft.ts';
import { addTo, defaultsOf } from './draft.ts';
import { takeFile, takeFingerprints, takeLogin } from './material.ts';
import type { Directive } from './ovpn.ts';
import { decline, RULINGS, type Ruling, refuse, skip, TAKEN } from './rulings.ts';

/** How the text of a file that the profile names is had: its bytes, or why not. */
export type ReadFile = (path: string) => Uint8Array | string;

type Handler = (draft: Draft, directive: Directive, read: ReadFile) => Ruling;

const AEAD = /^(?:AES-(?:128|192|256)-GCM|CHACHA20-POLY1305)$/i;
const PROTO = /^(udp|tcp)([46]?)(?:-client)?$/;
const NUMBER = /^[0-9]{1,9}$/;

function proto(text: string | undefined): string | undefined {
  const match = PROTO.exec(text?.toLowerCase() ?? '');
  return match === null ? undefined : `${match[1]}${match[2]}`;
}

/** One value into one option, unread: the section as a whole is checked against the schema afterwards. */
function value(option: string): Handler {
  return (draft, { args }) => {
    if (args.length === 0) return refuse('has no value');
    draft.options.set(option, args[0]!);
    return TAKEN;
  };
}

function seconds(option: string): Handler {
  return (draft, { args }) => {
    if (!NUMBER.test(args[0] ?? '')) return refuse('must be a number of seconds');
    draft.options.set(option, args[0]!);
    return TAKEN;
  };
}

function buffer(option: string): Handler {
  return (draft, { args }) => {
    if (args[0] === undefined || args[0] === '0') return skip('set by the system');
    draft.options.set(option, args[0]);
    return TAKEN;
  };
}

function remote(draft: Draft, { args, line, connection }: Directive): Ruling {
  const [host, port, protocol] = args;
  if (host === undefined) return refuse('names no host');
  if (protocol !== undefined && proto(protocol) === undefined) return refuse(`knows no protocol ${protocol}`);
  const where = connection === undefined ? {} : { connection };
  draft.remotes.push({
    line,
    host,
    ...(port && { port }),
    ...(protocol && { proto: proto(protocol)! }),
    ...where,
  });
  return TAKEN;
}

function cipherList(draft: Draft, { args }: Directive): Ruling {
  const names = (args[0] ?? '').split(':').map(name => name.replace(/^\?/, ''));
  const usable = names.filter(name => AEAD.test(name)).map(name => name.toUpperCase());
  if (usable.length === 0) {
    return refuse(
      'names only ciphers that ovpnd does not have; the server must offer AES-GCM or CHACHA20-POLY1305',
    );
  }
  draft.dataCiphers = usable;
  const dropped = names.filter(name => !AEAD.test(name));
  return dropped.length === 0 ? TAKEN : { verdict: 'taken', note: `without ${dropped.join(', ')}` };
}

function cipher(draft: Draft, { args, name }: Directive): Ruling {
  const text = (args[0] ?? '').toUpperCase();
  if (name === 'cipher') draft.cipher = text;
  else draft.fallback = text;
  if (AEAD.test(text)) return TAKEN;
  return skip(`${text} is for servers that do not negotiate; ovpnd offers AES-GCM and CHACHA20-POLY1305`);
}

function digest(draft: Draft, { args }: Directive): Ruling {
  const text = (args[0] ?? '').toUpperCase();
  if (!/^(SHA1|SHA256|SHA384|SHA512)$/.test(text)) return refuse(`knows no digest ${text}`);
  draft.digest = text;
  return TAKEN;
}

function device(_: Draft, { args, name }: Directive): Ruling {
  if (/^tap/.test(args[0] ?? '')) return refuse('layer-2 tunnels (tap) are not supported');
  if (name === 'dev-type') return TAKEN;
  return skip('the interface is named after the section');
}

function redirect(draft: Draft, { args }: Directive): Ruling {
  draft.options.set('redirect_gateway', '1');
  return args.every(flag => /^(def1|autolocal|local|bypass-dhcp|ipv6)$/.test(flag))
    ? TAKEN
    : {
        verdict: 'taken',
        note: `without ${args.filter(flag => !/^(def1|autolocal|ipv6)$/.test(flag)).join(' ')}`,
      };
}

function route(draft: Draft, { args, name }: Directive): Ruling {
  const [text = '', mask] = args;
  if (name === 'route-ipv6') {
    const prefix = parsePrefix(text);
    if (prefix === undefined || prefix.ip.length !== 16) return refuse('must be an IPv6 network');
    addTo(draft, 'route', formatPrefix(prefix));
    return TAKEN;
  }
  const ip = parseIp(text);
  const bits = mask === undefined || mask === 'default' ? 32 : maskBits(mask);
  if (ip?.length !== 4 || bits === undefined) {
    return /^(vpn_gateway|net_gateway|remote_host)$/.test(text)
      ? decline('a route to a name has no place in a uci section')
      : refuse('must be an IPv4 network and its mask');
  }
  if (args[2] === 'net_gateway')
    return decline('a route around the tunnel belongs to the network configuration');
  addTo(draft, 'route', `${text}/${bits}`);
  return TAKEN;
}

function keepalive(draft: Draft, { args, name }: Directive): Ruling {
  const wanted = name === 'keepalive' ? 2 : 1;
  if (args.length < wanted || !args.slice(0, wanted).every(text => NUMBER.test(text))) {
    return refuse('must be a number of seconds');
  }
  if (name !== 'ping-restart') draft.ping = args[0]!;
  if (name !== 'ping') draft.pingRestart = args[wanted - 1]!;
  return TAKEN;
}

function pullFilter(draft: Draft, { args }: Directive): Ruling {
  const [action, text = ''] = args;
  if (action === 'accept') return skip('what a server may change is decided by options of the section');
  const option = text.trim().split(' ')[0]!;
  if (!/^(ignore|reject)$/.test(action ?? '') || option === '')
    return refuse('must be accept, ignore or reject and a text');
  if (/^(redirect-gateway|route|dhcp-option|dns|route-ipv6|block-outside-dns)$/.test(option)) {
    draft.filtered.add(option);
    return TAKEN;
  }
  return decline(`'${option}' cannot be filtered apart`);
}

function verifyName(draft: Draft, { args }: Directive): Ruling {
  const [text, type = 'subject'] = args;
  if (text === undefined) return refuse('has no name');
  if (!/^(subject|name|name-prefix)$/.test(type)) return refuse(`knows no type ${type}`);
  draft.options.set('verify_x509_name', type === 'subject' ? text : `${type}:${text}`);
  return TAKEN;
}

function remoteCertEku(draft: Draft, { args }: Directive): Ruling {
  if (!/server auth|1\.3\.6\.1\.5\.5\.7\.3\.1$/i.test(args[0] ?? ''))
    return refuse('is no server certificate');
  draft.options.set('remote_cert_tls', 'server');
  return TAKEN;
}

function versionMin(draft: Draft, { args }: Directive): Ruling {
  if (args[0] === '1.3') draft.options.set('tls_version_min', '1.3');
  else if (!/^1\.[0-2]$/.test(args[0] ?? '')) return refuse('must be 1.2 or 1.3');
  return /^1\.[01]$/.test(args[0]!) ? { verdict: 'taken', note: 'as 1.2: older versions are broken' } : TAKEN;
}

function compression(_: Draft, { args, name }: Directive): Ruling {
  const harmless: Record<string, RegExp> = {
    'comp-lzo': /^no$/,
    compress: /^(stub-v2|migrate)$/,
    'allow-compression': /^(no|stub-only)$/,
  };
  if (harmless[name]?.test(args[0] ?? '')) return skip('ovpnd never compresses');
  return refuse('compression is not supported (it gives plaintext away); remove it here and on the server');
}

function setenv(draft: Draft, directive: Directive, read: ReadFile): Ruling {
  const [key = '', ...rest] = directive.args;
  if (key === 'opt' && rest.length > 0) {
    const inner = { ...directive, name: rest[0]!, args: rest.slice(1) };
    return isKnown(inner.name) ? rule(draft, inner, read) : skip('may be unknown, and is');
  }
  if (key === 'CLIENT_CERT') return skip('whether there is a certificate shows in the profile');
  return skip('no scripts are run, so no variables are set');
}

function explicitExit(draft: Draft, { args }: Directive): Ruling {
  draft.options.set('explicit_exit_notify', args[0] ?? '1');
  return TAKEN;
}

function connectRetry(draft: Draft, { args }: Directive): Ruling {
  if (args.length === 0 || !args.every(text => NUMBER.test(text)))
    return refuse('must be a number of seconds');
  draft.options.set('connect_retry', args.slice(0, 2).join(' '));
  return TAKEN;
}

/** Without pull both ends are told their addresses: ours with that of the peer, or with its netmask. */
function ifconfig(draft: Draft, { args, name }: Directive): Ruling {
  if (draft.names.has('client') || draft.names.has('pull'))
    return refuse('a client gets its addresses from the server');
  const [own = '', second = ''] = args;
  if (name === 'ifconfig-ipv6') {
    const prefix = parsePrefix(own.includes('/') ? own : `${own}/64`);
    if (prefix?.ip.length !== 16) return refuse('must be an IPv6 address and its prefix length');
    draft.addresses.push(formatPrefix(prefix));
    return TAKEN;
  }
  const bits = maskBits(second);
  const isPair = bits === undefined && parseIp(second)?.length === 4;
  if (parseIp(own)?.length !== 4 || (bits === undefined && !isPair))
    return refuse('must be an IPv4 address and that of the peer, or its netmask');
  draft.addresses.push(isPair ? `${own} ${second}` : `${own}/${bits}`);
  return TAKEN;
}

function mode(_: Draft, { args }: Directive): Ruling {
  return args[0] === 'p2p' ? TAKEN : refuse('belongs to a server; this command makes client sections');
}

const HANDLERS: Readonly<Record<string, Handler>> = {
  client: draft => {
    draft.isClient = true;
    draft.hasPull = true;
    return TAKEN;
  },
  'tls-client': draft => {
    draft.isClient = true;
    return TAKEN;
  },
  pull: draft => {
    draft.hasPull = true;
    return TAKEN;
  },
  ifconfig,
  'ifconfig-ipv6': ifconfig,
  mode,
  dev: device,
  'dev-type': device,
  remote,
  proto: (draft, { args, connection }) => {
    const text = proto(args[0]);
    if (text === undefined) return refuse('must be udp or tcp, with 4 or 6 if only that is meant');
    defaultsOf(draft, connection).proto = text;
    return TAKEN;
  },
  'proto-force': (draft, { args }) => {
    if (args[0] !== 'udp' && args[0] !== 'tcp') return refuse('must be udp or tcp');
    draft.protoForce = args[0];
    return TAKEN;
  },
  port: (draft, { args, connection }) => {
    defaultsOf(draft, connection).port = args[0] ?? '';
    return TAKEN;
  },
  'remote-random': draft => {
    draft.options.set('remote_random', '1');
    return TAKEN;
  },
  float: draft => {
    draft.options.set('float', '1');
    return TAKEN;
  },
  ca: takeFile,
  cert: takeFile,
  key: takeFile,
  'extra-certs': takeFile,
  pkcs12: takeFile,
  'crl-verify': takeFile,
  'tls-auth': takeFile,
  'tls-crypt': takeFile,
  'tls-crypt-v2': takeFile,
  'key-direction': value('key_direction'),
  'peer-fingerprint': takeFingerprints,
  'auth-user-pass': takeLogin,
  'static-challenge': () =>
    refuse('nobody sits at the router to answer its question; use an account without it'),
  'remote-cert-tls': value('remote_cert_tls'),
  'remote-cert-eku': remoteCertEku,
  'verify-x509-name': verifyName,
  'tls-version-min': versionMin,
  'tls-ciphersuites': value('tls_ciphersuites'),
  'tls-groups': value('tls_groups'),
  'data-ciphers': cipherList,
  'ncp-ciphers': cipherList,
  cipher,
  'data-ciphers-fallback': cipher,
  'ncp-disable': draft => {
    draft.isNegotiationOff = true;
    return skip('ovpnd always offers its ciphers');
  },
  auth: digest,
  'tun-mtu': value('tun_mtu'),
  mssfix: (draft, { args }) => {
    if (args[0] === undefined) return skip('1492 is the default');
    draft.options.set('mssfix', args[0]);
    return TAKEN;
  },
  'hand-window': seconds('hand_window'),
  'reneg-sec': seconds('reneg_sec'),
  'reneg-pkts': value('reneg_pkts'),
  'reneg-bytes': value('reneg_bytes'),
  'connect-timeout': seconds('connect_timeout'),
  'server-poll-timeout': seconds('server_poll_timeout'),
  'connect-retry': connectRetry,
  sndbuf: buffer('sndbuf'),
  rcvbuf: buffer('rcvbuf'),
  route,
  'route-ipv6': route,
  'route-nopull': draft => {
    draft.options.set('route_nopull', '1');
    return TAKEN;
  },
  'route-metric': value('metric'),
  'redirect-gateway': redirect,
  'redirect-private': () => skip('the way to the server is always kept'),
  'pull-filter': pullFilter,
  keepalive,
  ping: keepalive,
  'ping-restart': keepalive,
  'explicit-exit-notify': explicitExit,
  compress: compression,
  'comp-lzo': compression,
  'allow-compression': compression,
  setenv,
  'setenv-safe': () => skip('no scripts are run, so no variables are set'),
  'ignore-unknown-option': (draft, { args }) => {
    for (const name of args) draft.ignored.add(name);
    return TAKEN;
  },
};

function isKnown(name: string): boolean {
  return Object.hasOwn(HANDLERS, name) || RULINGS.has(name);
}

/** Rules on one directive and takes what it says. */
export function rule(draft: Draft, directive: Directive, read: ReadFile): Ruling {
  const { name } = directive;
  const ruling = RULINGS.get(name);
  if (ruling !== undefined) return ruling;
  if (Object.hasOwn(HANDLERS, name)) return HANDLERS[name]!(draft, directive, read);
  if (draft.ignored.has(name)) return skip('may be unknown, and is');
  return refuse('is no option of OpenVPN that ovpnd knows');
}
