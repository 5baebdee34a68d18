// SPDX-License-Identifier: Apache-2.0
// Every option of /etc/config/ovpnd in one table: where it may stand, what it may say, what it defaults to and what
// changing it costs. Plain data: readers (values.ts), rules (validate.ts), the daemon's reload and the web page use it.

export type SectionType = 'server' | 'client' | 'peer' | 'user';

/** What a change does to a running tunnel, cheapest first. */
export const COSTS = ['live', 'new sessions', 'new socket', 'restart'] as const;
export type Cost = (typeof COSTS)[number];

/** How a value is read. `later` are words that are understood but refused as not supported yet. */
export type ValueType =
  | { readonly kind: 'bool'; readonly later?: boolean }
  | { readonly kind: 'enum'; readonly words: readonly string[]; readonly later?: readonly string[] }
  | { readonly kind: 'number'; readonly min: number; readonly max: number }
  | { readonly kind: 'seconds'; readonly min: number; readonly max: number }
  | { readonly kind: 'text'; readonly max: number }
  | {
      readonly kind:
        | 'address'
        | 'cipher'
        | 'device'
        | 'fingerprint'
        | 'hostname'
        | 'keepalive'
        | 'mark'
        | 'network'
        | 'ownAddress'
        | 'passwordHash'
        | 'path'
        | 'port'
        | 'pushLine'
        | 'remote'
        | 'retry'
        | 'section'
        | 'tlsNames'
        | 'totpSecret';
    };

export interface OptionRow {
  readonly name: string;
  readonly sections: readonly SectionType[];
  readonly type: ValueType;
  readonly cost: Cost;
  /** One sentence for the web page. */
  readonly help: string;
  /** Written with `list`. */
  readonly list?: boolean;
  readonly required?: boolean;
  /** As it would stand in the file. */
  readonly default?: string | readonly string[];
  /** What the default is when it is no fixed text. */
  readonly derived?: string;
  /** The feature is not there yet: only the default is accepted. */
  readonly later?: boolean;
  /** The value itself is a secret: it is never shown. */
  readonly secret?: boolean;
  /** Names a file the tunnel reads; `secret` ones must be readable by their owner only. */
  readonly file?: 'public' | 'secret';
}

type More = Omit<OptionRow, 'name' | 'sections' | 'type' | 'cost' | 'help'>;
type Row = (sections: readonly SectionType[], cost: Cost) => OptionRow;

function option(name: string, type: ValueType, help: string, more: More = {}): Row {
  return (sections, cost) => ({ name, sections, type, cost, help, ...more });
}

function group(sections: readonly SectionType[], cost: Cost, ...rows: Row[]): OptionRow[] {
  return rows.map(row => row(sections, cost));
}

const BOTH = ['server', 'client'] as const;
const BOOL: ValueType = { kind: 'bool' };
const PATH: ValueType = { kind: 'path' };
const ADDRESS: ValueType = { kind: 'address' };
const NETWORK: ValueType = { kind: 'network' };
const DEVICE: ValueType = { kind: 'device' };
const OWN_ADDRESS: ValueType = { kind: 'ownAddress' };
const FINGERPRINT: ValueType = { kind: 'fingerprint' };
const TLS_NAMES: ValueType = { kind: 'tlsNames' };
const SECTION: ValueType = { kind: 'section' };
const words = (...list: string[]): ValueType => ({ kind: 'enum', words: list });
const number = (min: number, max: number): ValueType => ({ kind: 'number', min, max });
const seconds = (min: number, max: number): ValueType => ({ kind: 'seconds', min, max });
const text = (max: number): ValueType => ({ kind: 'text', max });

const DAY = 86_400;
const PUBLIC = { file: 'public' } as const;
const SECRET_FILE = { file: 'secret' } as const;

export const OPTIONS: readonly OptionRow[] = [
  ...group(
    BOTH,
    'restart',
    option('enabled', BOOL, 'Whether this tunnel runs.', { default: '0' }),
    option('device', DEVICE, 'Name of the network interface.', { derived: 'ov-NAME' }),
    option('data_plane', words('auto', 'kernel', 'native', 'js'), 'What carries the packets.', {
      default: 'auto',
    }),
    option(
      'mode',
      words('multi', 'p2p'),
      'Whether a server gives its clients addresses and options, or both ends are configured alike (p2p).',
      {
        default: 'multi',
      },
    ),
    // Below 576 an IPv4 host may not go; what exceeds 65000 fits no UDP datagram together with its header.
    option('tun_mtu', number(576, 65_000), 'Largest packet inside the tunnel, in bytes.', {
      default: '1500',
    }),
    option('mssfix', number(0, 65_000), 'Outer packet size that TCP segments are cut to; 0 = off.', {
      default: '1492',
    }),
    option(
      'data_threads',
      number(1, 2),
      'Threads of the native plane: 2 gives each direction its own, which pays from three processor cores on.',
      { default: '1' },
    ),
    option(
      'offload',
      words('tun_tso', 'tun_uso', 'tun_gro', 'tx_gso', 'rx_gro', 'none'),
      'What the native plane may hand to the kernel in large pieces.',
      {
        list: true,
        default: ['tun_tso', 'tun_uso', 'tun_gro', 'tx_gso', 'rx_gro'],
      },
    ),
  ),
  ...group(
    BOTH,
    'live',
    option('log_level', words('error', 'warn', 'info', 'debug'), 'How much is logged.', { default: 'info' }),
    option(
      'reneg_sec',
      seconds(0, 7 * DAY),
      'Seconds until new keys are made; 0 leaves that to the other side.',
      {
        default: '3600',
      },
    ),
    // A lost first packet is repeated after 2 s: a shorter window would refuse a single loss.
    option('hand_window', seconds(5, 3600), 'Seconds a handshake may take.', { default: '60' }),
  ),
  ...group(
    BOTH,
    'new sessions',
    option(
      'reneg_pkts',
      number(0, 0xffffffff),
      'Data packets after which new keys are made; 0 is no limit.',
      {
        default: '0',
      },
    ),
    option(
      'reneg_bytes',
      number(0, 9_999_999_999),
      'Bytes of data packets after which new keys are made; 0 is no limit.',
      {
        default: '0',
      },
    ),
    option('ca', PATH, 'PEM file with the certificate authority that signs the other side.', PUBLIC),
    option('cert', PATH, 'PEM file with the own certificate.', PUBLIC),
    option('key', PATH, 'PEM file with the private key of the certificate.', SECRET_FILE),
    option('extra_certs', PATH, 'PEM file with intermediate certificates to send along.', PUBLIC),
    option('crl', PATH, 'PEM file with revoked certificates.', PUBLIC),
    option(
      'pkcs12',
      PATH,
      'PKCS #12 file without a password, in place of cert, key and perhaps ca.',
      SECRET_FILE,
    ),
    option('peer_fingerprint', FINGERPRINT, 'SHA-256 fingerprint of a certificate to accept.', {
      list: true,
    }),
    option(
      'verify_x509_name',
      text(280),
      "Subject of the other side's certificate, or with name: or name-prefix: in front its common name.",
    ),
    option('tls_auth', PATH, 'Static key file that signs control packets.', SECRET_FILE),
    option('key_direction', words('0', '1'), 'Which half of the tls_auth key this side uses to send.'),
    option(
      'tls_auth_digest',
      words('SHA1', 'SHA256', 'SHA384', 'SHA512'),
      'Digest of tls_auth, called auth by OpenVPN; the other side must have the same.',
      { default: 'SHA1' },
    ),
    option('tls_crypt', PATH, 'Static key file that encrypts control packets.', SECRET_FILE),
    option(
      'tls_crypt_v2',
      PATH,
      'Key file that encrypts control packets with a key for each client.',
      SECRET_FILE,
    ),
    option('tls_version_min', words('1.2', '1.3'), 'Oldest TLS version to accept.', { default: '1.2' }),
    option('tls_cipher', TLS_NAMES, 'TLS 1.2 cipher suites, separated by colons.'),
    option('tls_ciphersuites', TLS_NAMES, 'TLS 1.3 cipher suites, separated by colons.'),
    option('tls_groups', TLS_NAMES, 'Key exchange groups, separated by colons.'),
    option('data_ciphers', { kind: 'cipher' }, 'Data channel ciphers in order of preference.', {
      list: true,
      derived: 'AES-256-GCM AES-128-GCM CHACHA20-POLY1305, ChaCha first without AES instructions',
    }),
    option(
      'keepalive',
      { kind: 'keepalive' },
      'Seconds between pings, and of silence until a peer counts as gone.',
      {
        default: '10 60',
      },
    ),
    option(
      'explicit_exit_notify',
      number(0, 30),
      'How often to tell the other side when leaving; 0 = never.',
      {
        default: '1',
      },
    ),
    option('float', { kind: 'bool', later: false }, 'Whether the other side may change its address.', {
      default: '1',
    }),
  ),
  ...group(
    BOTH,
    'new socket',
    option('sndbuf', number(4096, 67_108_864), 'Socket send buffer in bytes.', {
      derived: 'set by the system',
    }),
    option('rcvbuf', number(4096, 67_108_864), 'Socket receive buffer in bytes.', {
      derived: 'set by the system',
    }),
    option('fwmark', { kind: 'mark' }, 'Firewall mark of the encrypted packets.'),
    option('bind_device', DEVICE, 'Interface that the encrypted packets must use.'),
  ),
  ...group(
    ['server'],
    'new socket',
    option('local', ADDRESS, 'Own address to listen on.', { derived: 'any' }),
    option('port', { kind: 'port' }, 'Port to listen on.', { default: '1194' }),
    option(
      'proto',
      { kind: 'enum', words: ['udp', 'udp4', 'udp6', 'tcp', 'tcp4', 'tcp6'] },
      'Transport to listen on; udp and tcp are IPv4 and IPv6.',
      { list: true, default: ['udp'] },
    ),
  ),
  ...group(
    ['server'],
    'restart',
    option(
      'address',
      OWN_ADDRESS,
      'Own address and subnet; peers get the other addresses of it. In mode p2p also own address and that of the peer.',
      {
        list: true,
        required: true,
      },
    ),
    option('client_to_client', BOOL, 'Whether packets between peers stay inside the tunnel.', {
      default: '0',
    }),
  ),
  ...group(
    ['server'],
    'live',
    // Read by the init script, not by the daemon.
    option('open_firewall', BOOL, 'Whether the firewall lets zone wan reach the port.', { default: '1' }),
    // So is this; the daemon only sees to it that there is a firewall.
    option(
      'block_lan',
      BOOL,
      'Whether the firewall keeps peers out of zone lan; the router itself and the internet stay as they are.',
      { default: '0' },
    ),
    option('duplicate_cn', BOOL, 'Whether one certificate may connect more than once.', { default: '0' }),
    option('max_clients', number(1, 65_535), 'How many peers may be connected.', { default: '128' }),
  ),
  ...group(
    ['server'],
    'new sessions',
    option('remote_cert_tls', words('none', 'client'), 'What the certificate of a peer must be made for.', {
      default: 'none',
    }),
    option(
      'verify_client_cert',
      words('require', 'optional', 'none'),
      'Whether a peer must show a certificate.',
      { default: 'require' },
    ),
    option('auth', words('none', 'users', 'ubus'), 'Who checks user names and passwords.', {
      default: 'none',
    }),
    option('auth_method', text(128), 'With auth ubus: object and method to ask, such as radius.login check.'),
    option('push_route', NETWORK, 'Network that peers shall reach through the tunnel.', { list: true }),
    option('push_dns', ADDRESS, 'Name server for peers.', { list: true }),
    option('push_domain', { kind: 'hostname' }, 'Domain that peers shall search.', { list: true }),
    option('push_option', { kind: 'pushLine' }, 'Any other OpenVPN option to send to peers.', { list: true }),
    option('redirect_gateway', BOOL, 'Whether peers shall send all their traffic here.', {
      default: '0',
    }),
  ),
  ...group(
    ['client'],
    'new sessions',
    option('remote', { kind: 'remote' }, 'Server to connect to: host, port and transport.', {
      list: true,
      required: true,
    }),
    option('remote_random', BOOL, 'Whether the servers are tried in random order.', { default: '0' }),
    option(
      'remote_cert_tls',
      words('server', 'none'),
      'What the certificate of the server must be made for.',
      {
        default: 'server',
      },
    ),
    option('username', text(128), 'User name to log in with.', { secret: true }),
    option('password', text(128), 'Password to log in with.', { secret: true }),
    option('auth_user_pass', PATH, 'File with user name and password, a line each.', SECRET_FILE),
    option('route_nopull', BOOL, 'Whether routes of the server are ignored.', {
      default: '0',
    }),
    option('pull_dns', BOOL, 'Whether name servers of the server are used; netifd does that.', {
      default: '0',
    }),
    option('redirect_gateway', BOOL, 'Whether all traffic goes through the tunnel.', { default: '0' }),
  ),
  ...group(
    ['client'],
    'restart',
    option('address', OWN_ADDRESS, 'Own address, in mode p2p: with its subnet, or with that of the peer.', {
      list: true,
    }),
  ),
  ...group(
    BOTH,
    'live',
    option('route', NETWORK, 'Network to reach through the tunnel; of a server in mode p2p.', { list: true }),
    // Above are those of the kill switch.
    option('metric', number(0, 2_147_483_647), 'Metric of the routes; the lower one wins.', { default: '0' }),
  ),
  ...group(
    ['client'],
    'live',
    option(
      'kill_switch',
      BOOL,
      'Whether what goes through the tunnel (all with redirect_gateway, else the networks of route) leaves no other ' +
        'way while the tunnel is down, from its start to its stop; local networks stay reachable.',
      { default: '0' },
    ),
    option(
      'connect_retry',
      { kind: 'retry' },
      'Seconds until the next attempt, and the most that may grow to.',
      {
        default: '1 300',
      },
    ),
    option(
      'connect_timeout',
      seconds(1, 3600),
      'Seconds until the next server is tried (see server_poll_timeout).',
      {
        default: '120',
      },
    ),
    option(
      'server_poll_timeout',
      seconds(1, 3600),
      'Seconds to wait for an answer until the next server is tried.',
      {
        default: '120',
      },
    ),
  ),
  ...group(
    ['peer'],
    'new sessions',
    option('enabled', BOOL, 'Whether this peer may connect.', { default: '1' }),
    option('tunnel', SECTION, 'The server this peer belongs to.', { required: true }),
    option('common_name', text(64), 'Common name in the certificate of the peer.', { derived: 'NAME' }),
    option('fingerprint', FINGERPRINT, 'SHA-256 fingerprint of the certificate of the peer.'),
    option('address', ADDRESS, 'Fixed address of the peer in the tunnel.', { list: true }),
    option('route', NETWORK, 'Network behind the peer.', { list: true }),
  ),
  ...group(
    ['user'],
    'live',
    option('enabled', BOOL, 'Whether this user may log in.', { default: '1' }),
    option('tunnel', SECTION, 'The server this user belongs to.', { required: true }),
    option('name', text(128), 'Name to log in with.', { derived: 'NAME' }),
    option('password_hash', { kind: 'passwordHash' }, 'SHA-512 hash of the password, as crypt(3) makes it.', {
      required: true,
      secret: true,
    }),
    option('totp_secret', { kind: 'totpSecret' }, 'Base32 secret of the one-time passwords.', {
      secret: true,
    }),
  ),
];

export const SECTION_TYPES: readonly SectionType[] = ['server', 'client', 'peer', 'user'];

const BY_SECTION = new Map<string, Map<string, OptionRow>>(
  SECTION_TYPES.map(type => [
    type,
    new Map(OPTIONS.filter(row => row.sections.includes(type)).map(row => [row.name, row])),
  ]),
);

export function isSectionType(type: string): type is SectionType {
  return BY_SECTION.has(type);
}

/** The options of a section type by name. */
export function optionsOf(type: SectionType): ReadonlyMap<string, OptionRow> {
  return BY_SECTION.get(type)!;
}

/** The section types that know an option. */
export function sectionsWith(name: string): SectionType[] {
  return SECTION_TYPES.filter(type => optionsOf(type).has(name));
}

/** An option's name as records and JSON write it: `tls_crypt` becomes `tlsCrypt`. */
export function camelCase(name: string): string {
  return name.replace(/_([a-z0-9])/g, (_, letter: string) => letter.toUpperCase());
}
