// SPDX-License-Identifier: Apache-2.0
// The reply of the ubus method `status`, and its table for a terminal. Keys are as ubus and uci write them. What is
// shown comes from another process and in part from VPN peers, so nothing is taken as it stands: readStatus gives
// every field its type, renderStatus escapes what a terminal would obey.

import { printable } from '../core/text.ts';

export type TunnelState = 'starting' | 'connecting' | 'connected' | 'listening' | 'stopping';

export interface StatusSocket {
  readonly proto: string;
  readonly address: string;
  readonly port: number;
}

export interface StatusPeer {
  readonly name: string;
  readonly peer_id: number;
  /** Transport address and port; empty while there is none. */
  readonly real_address: string;
  readonly vpn_addresses: readonly string[];
  /** Networks behind the peer. */
  readonly routes: readonly string[];
  /** Seconds since 1970, on the clock of `since`. */
  readonly connected_since: number;
  readonly cipher: string;
  /** `aead` or `aead-epoch`, as OpenVPN calls it. */
  readonly data_format: string;
  /** `TLSv1.3 TLS_AES_256_GCM_SHA384` */
  readonly tls: string;
  /** Seconds since the last finished handshake. */
  readonly handshake_age_s: number;
  /** What we received from the peer and sent to it. */
  readonly rx_bytes: number;
  readonly tx_bytes: number;
  readonly rx_packets: number;
  readonly tx_packets: number;
}

/** Drops by reason; only reasons that occurred need to be there. */
export type DropCounts = Readonly<Record<string, number>>;

export interface TunnelStatus {
  readonly tunnel: string;
  readonly role: 'server' | 'client';
  readonly state: TunnelState;
  /** Seconds since 1970: the present minus `uptime`, as the clock stands now (a router starts in 1970). */
  readonly since: number;
  /** Seconds. */
  readonly uptime: number;
  /** `reasons`: why each better plane is off. */
  readonly data_plane: {
    readonly name: string;
    readonly reasons: readonly string[];
    /** What the native plane hands to the kernel in large pieces. */
    readonly offload: readonly string[];
    /** Of the native plane; 2: one for each direction. */
    readonly threads?: number;
  };
  readonly device: string;
  readonly mtu: number;
  readonly addresses: readonly string[];
  /** Who gives addresses and routes to the device: netifd, rtnetlink, or unknown until netifd has answered. */
  readonly network?: string;
  /** Name servers and search domains that the other side offers; only netifd puts them into use. */
  readonly dns?: readonly string[];
  /** Present and true: what the tunnel carries leaves by it or not at all. */
  readonly kill_switch?: boolean;
  readonly sockets: readonly StatusSocket[];
  /** The remote in use or being tried: `vpn.example.org 1194 udp`. A server has none. */
  readonly remote?: string;
  /** As many as one answer takes, from number `from` on. */
  readonly peers: readonly StatusPeer[];
  /** How many there are. */
  readonly peers_total: number;
  readonly drops: { readonly control: DropCounts; readonly plane: DropCounts };
  /** What a person should see to: `cert expires in 12 days`. */
  readonly warnings: readonly string[];
  /** Empty when there was none. */
  readonly last_error: string;
  readonly version: string;
}

const STATES: readonly TunnelState[] = ['starting', 'connecting', 'connected', 'listening', 'stopping'];

type Table = Readonly<Record<string, unknown>>;

function table(value: unknown): Table {
  return typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as Table) : {};
}

function text(value: unknown): string {
  return typeof value === 'string' ? value : '';
}

function count(value: unknown): number {
  return typeof value === 'number' && Number.isFinite(value) ? Math.max(0, value) : 0;
}

function list<T>(value: unknown, read: (item: unknown) => T): T[] {
  return Array.isArray(value) ? value.map(read) : [];
}

function counts(value: unknown): DropCounts {
  const out = Object.create(null) as Record<string, number>;
  for (const [name, number] of Object.entries(table(value))) out[name] = count(number);
  return out;
}

function readPeer(value: unknown): StatusPeer {
  const peer = table(value);
  return {
    name: text(peer.name),
    peer_id: count(peer.peer_id),
    real_address: text(peer.real_address),
    vpn_addresses: list(peer.vpn_addresses, text),
    routes: list(peer.routes, text),
    connected_since: count(peer.connected_since),
    cipher: text(peer.cipher),
    data_format: text(peer.data_format),
    tls: text(peer.tls),
    handshake_age_s: count(peer.handshake_age_s),
    rx_bytes: count(peer.rx_bytes),
    tx_bytes: count(peer.tx_bytes),
    rx_packets: count(peer.rx_packets),
    tx_packets: count(peer.tx_packets),
  };
}

function readSocket(value: unknown): StatusSocket {
  const socket = table(value);
  return { proto: text(socket.proto), address: text(socket.address), port: count(socket.port) };
}

/**
 * A reply of any version as a TunnelStatus: what is missing or of another type becomes empty or 0. undefined when
 * it is no status at all (no tunnel name).
 */
export function readStatus(value: unknown): TunnelStatus | undefined {
  const reply = table(value);
  if (text(reply.tunnel) === '') return undefined;
  const plane = table(reply.data_plane);
  const drops = table(reply.drops);
  return {
    tunnel: text(reply.tunnel),
    role: reply.role === 'client' ? 'client' : 'server',
    state: STATES.find(state => state === reply.state) ?? 'starting',
    since: count(reply.since),
    uptime: count(reply.uptime),
    data_plane: {
      name: text(plane.name),
      reasons: list(plane.reasons, text),
      offload: list(plane.offload, text),
      ...(typeof plane.threads === 'number' ? { threads: count(plane.threads) } : {}),
    },
    device: text(reply.device),
    mtu: count(reply.mtu),
    addresses: list(reply.addresses, text),
    ...(typeof reply.network === 'string' ? { network: reply.network } : {}),
    ...(Array.isArray(reply.dns) ? { dns: list(reply.dns, text) } : {}),
    ...(typeof reply.kill_switch === 'boolean' ? { kill_switch: reply.kill_switch } : {}),
    sockets: list(reply.sockets, readSocket),
    ...(typeof reply.remote === 'string' ? { remote: reply.remote } : {}),
    peers: list(reply.peers, readPeer),
    peers_total: count(reply.peers_total),
    drops: { control: counts(drops.control), plane: counts(drops.plane) },
    warnings: list(reply.warnings, text),
    last_error: text(reply.last_error),
    version: text(reply.version),
  };
}

/** Longest text shown in one place, in characters; more is cut and marked. */
const SHOWN_MAX = 64;
const SHOWN_LINE_MAX = 200;

/** Items shown of a list of addresses. */
const SHOWN_ITEMS = 4;

/** A space that could pass for the gap between two columns. */
const LOOSE_SPACE = /^ | (?= |$)/g;

/** Makes a text safe to show in the form the log has it too: only ASCII that prints, the rest escaped, and cut. */
function shown(raw: string, max = SHOWN_MAX): string {
  const points = [...raw];
  const cut = points.length > max ? points.slice(0, max - 3).join('') : raw;
  const safe = printable(cut).replace(LOOSE_SPACE, '\\x20');
  return points.length > max ? `${safe}...` : safe;
}

/** `3d 4h`, `2h 5m`, `1m 30s`, `12s`: the two largest units. */
export function formatDuration(seconds: number): string {
  const s = Math.max(0, Math.floor(seconds));
  if (s < 60) return `${s}s`;
  if (s < 3600) return `${Math.floor(s / 60)}m ${s % 60}s`;
  if (s < 86400) return `${Math.floor(s / 3600)}h ${Math.floor((s % 3600) / 60)}m`;
  return `${Math.floor(s / 86400)}d ${Math.floor((s % 86400) / 3600)}h`;
}

const BYTE_UNITS = ['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB', 'EiB'];

/** `0 B`, `1.5 KiB`, `340 MiB`: three digits at most, or four before the next unit. */
export function formatBytes(bytes: number): string {
  let value = Math.max(0, Math.floor(bytes));
  let unit = 0;
  // 1023.6 would be rounded to 1024 of this unit.
  while (Math.round(value) >= 1024 && unit < BYTE_UNITS.length - 1) {
    value /= 1024;
    unit++;
  }
  const digits = unit > 0 && value < 9.95 ? value.toFixed(1) : String(Math.round(value));
  return `${digits} ${BYTE_UNITS[unit]}`;
}

/** Lines of aligned cells, two spaces between, nothing after the last cell that is not empty. */
function align(rows: readonly (readonly string[])[]): string[] {
  const widths: number[] = [];
  for (const row of rows) {
    row.forEach((cell, i) => {
      widths[i] = Math.max(widths[i] ?? 0, cell.length);
    });
  }
  return rows.map(row =>
    row
      .map((cell, i) => cell + ' '.repeat(widths[i]! - cell.length))
      .join('  ')
      .trimEnd(),
  );
}

function joined(items: readonly string[]): string {
  const first = items.slice(0, SHOWN_ITEMS).map(item => shown(item));
  const more = items.length - first.length;
  return more > 0 ? `${first.join(', ')} and ${more} more` : first.join(', ');
}

function formatSocket({ proto, address, port }: StatusSocket): string {
  const host = shown(address);
  return `${shown(proto)} ${host.includes(':') ? `[${host}]` : host}:${port}`;
}

function formatDrops({ control, plane }: TunnelStatus['drops']): string {
  const groups = Object.entries({ control, plane }).map(([group, reasons]) => {
    const seen = Object.entries(reasons).filter(([, number]) => number > 0);
    return seen.length === 0
      ? ''
      : `${group} ${seen.map(([reason, number]) => `${shown(reason)} ${number}`).join(', ')}`;
  });
  return groups.filter(group => group !== '').join('; ');
}

function formatPlane({ name, reasons, offload, threads = 1 }: TunnelStatus['data_plane']): string {
  const why = reasons.map(reason => shown(reason, SHOWN_LINE_MAX)).join('; ');
  const words = [...(threads > 1 ? [`${threads} threads`] : []), ...offload.map(feature => shown(feature))];
  const features = words.length === 0 ? '' : `, ${words.join(' ')}`;
  return why === '' ? `${shown(name)}${features}` : `${shown(name)}${features} (${why})`;
}

function dnsText({ dns = [], network }: TunnelStatus): string {
  if (dns.length === 0) return '';
  return `${joined(dns)}${network === 'netifd' ? '' : " (not in use: needs an interface of proto 'ovpnd')"}`;
}

/** Facts about one tunnel, label and text; those without text are left out. */
function facts(status: TunnelStatus): string[][] {
  const device = shown(status.device);
  const rows = [
    ['device', device === '' || status.mtu === 0 ? device : `${device}, mtu ${status.mtu}`],
    ['addresses', joined(status.addresses)],
    ['dns', dnsText(status)],
    ['kill switch', status.kill_switch === true ? 'on' : ''],
    ['data plane', formatPlane(status.data_plane)],
    ['listens on', status.role === 'server' ? status.sockets.map(formatSocket).join(', ') : ''],
    ['remote', shown(status.remote ?? '')],
    ['drops', formatDrops(status.drops)],
    ['warning', status.warnings.map(warning => shown(warning, SHOWN_LINE_MAX)).join('; ')],
    ['last error', shown(status.last_error, SHOWN_LINE_MAX)],
  ];
  return rows.filter(([, value]) => value !== '');
}

const PEER_COLUMNS = [
  'PEER',
  'REAL ADDRESS',
  'VPN ADDRESSES',
  'CONNECTED',
  'HANDSHAKE',
  'RECEIVED',
  'SENT',
  'CIPHER',
];

function peerRow(peer: StatusPeer, now: number): string[] {
  const cells = [
    shown(peer.name),
    shown(peer.real_address),
    joined([...peer.vpn_addresses, ...peer.routes]),
    peer.connected_since > 0 ? formatDuration(now - peer.connected_since) : '',
    peer.connected_since > 0 ? `${formatDuration(peer.handshake_age_s)} ago` : '',
    formatBytes(peer.rx_bytes),
    formatBytes(peer.tx_bytes),
    shown(peer.data_format === 'aead-epoch' ? `${peer.cipher} epoch` : peer.cipher),
  ];
  return cells.map(cell => (cell === '' ? '-' : cell));
}

function renderTunnel(status: TunnelStatus): string[] {
  const { peers } = status;
  const title = `${shown(status.tunnel)}: ${status.role}, ${status.state}, up ${formatDuration(status.uptime)}`;
  const lines = [title, ...align(facts(status)).map(line => `  ${line}`)];
  // The clock of the process that answered, not ours: its peers' times are on it.
  const now = status.since + status.uptime;
  if (peers.length > 0) {
    const rows = [PEER_COLUMNS, ...peers.map(peer => peerRow(peer, now))];
    lines.push('', ...align(rows).map(line => `  ${line}`));
  } else if (status.role === 'server') {
    lines.push('', '  no peers');
  }
  return lines;
}

/** What `ovpnd status` prints: a block for each tunnel, each line ended. */
export function renderStatus(statuses: readonly TunnelStatus[]): string {
  if (statuses.length === 0) return 'no tunnel is running\n';
  return statuses.map(status => `${renderTunnel(status).join('\n')}\n`).join('\n');
}
