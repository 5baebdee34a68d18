// SPDX-License-Identifier: Apache-2.0
// What works, with whom, and which tests say so. README.md's table is this list; test/unit/readme.test.ts holds the two
// together, and each test table of test/interop and test/kernel to be somebody's proof.

/** 2.6: Debian's openvpn; 2.7: a newer one; DCO: that one with its packets in the kernel; ovpnd: both ends are ours. */
export type Against =
  | '2.6'
  | '2.7'
  | 'DCO'
  | 'ovpnd'
  | 'the kernel'
  | 'shells'
  | 'Chromium'
  | 'emulators'
  | 'a stand-in of ubusd'
  | 'unit tests';

export interface Feature {
  readonly name: string;
  readonly server: boolean;
  readonly client: boolean;
  readonly against: readonly Against[];
  /** `FILE: BEGINNING OF A TITLE`, FILE without `test/` and `.test.ts`. */
  readonly proof: readonly string[];
}

const both = { server: true, client: true };
const onlyServer = { server: true, client: false };
const onlyClient = { server: false, client: true };

export const FEATURES: readonly Feature[] = [
  {
    name: 'UDP and TCP over IPv4 and IPv6, several listeners in one tunnel',
    ...both,
    against: ['2.6', '2.7', 'DCO', 'ovpnd'],
    proof: [
      'interop/matrix: matrix, ',
      'interop/matrix: matrix, other builds',
      'interop/tcp: TCP, ends that die or leave, several clients',
      'kernel/interop: ovpnd and OpenVPN 2.7',
    ],
  },
  {
    name: 'AES-128/192/256-GCM and CHACHA20-POLY1305; TLS 1.2 and 1.3; exporter and PRF keys',
    ...both,
    against: ['2.6', '2.7', 'ovpnd'],
    proof: ['interop/matrix: matrix, '],
  },
  {
    name: 'the epoch data format of OpenVPN 2.7 on the native and the js plane',
    ...both,
    against: ['2.7', 'ovpnd'],
    proof: ['interop/epoch: epoch data format', 'kernel/epoch: epoch data format'],
  },
  {
    name: 'no wrapping, tls-auth, tls-crypt, tls-crypt-v2 (keys by `ovpnd genkey` or OpenVPN), dynamic tls-crypt',
    ...both,
    against: ['2.6', '2.7', 'ovpnd'],
    proof: [
      'interop/matrix: matrix, ',
      'interop/clientkeys: dynamic tls-crypt',
      'interop/clientkeys: ovpnd genkey',
    ],
  },
  {
    name: 'certificates of an authority, fingerprints beside or instead of one, `verify_x509_name`, revocation lists that are read when they change',
    ...both,
    against: ['2.6', '2.7', 'ovpnd'],
    proof: ['interop/matrix: matrix, ', 'interop/login: logins and certificates'],
  },
  {
    name: 'user names and passwords (`user` sections, or a ubus method), one-time codes, tokens',
    ...both,
    against: ['2.6', '2.7', 'ovpnd'],
    proof: [
      'interop/matrix: matrix, ',
      'interop/login: logins and certificates',
      'interop/authentication: answers to logins and certificates',
    ],
  },
  {
    name: 'renegotiation by either side without a lost packet',
    ...both,
    against: ['2.6', '2.7', 'DCO'],
    proof: [
      'interop/renegotiation: renegotiation every 5 s under a steady ping',
      'interop/tcp: TCP, renegotiation under a steady ping',
      'interop/clientkeys: dynamic tls-crypt',
      'kernel/lifetime: lifetime',
    ],
  },
  {
    name: 'float, explicit exit, keepalive, reconnect with back-off, several remotes, `session-timeout`, `inactive`',
    ...both,
    against: ['2.6', 'ovpnd'],
    proof: ['interop/reconnect: ends that die, move or leave'],
  },
  {
    name: 'many clients: pools, fixed addresses, networks behind them, pushed routes and DNS, `max_clients`, `duplicate_cn`',
    ...onlyServer,
    against: ['2.6', 'ovpnd'],
    proof: ['interop/clients: clients of an ovpnd server'],
  },
  {
    name: '`client_to_client` on the native and the js plane',
    ...onlyServer,
    against: ['2.6'],
    proof: ['interop/clients: clients of an ovpnd server', 'unit/plane/send: plane: client_to_client'],
  },
  {
    name: "`block_lan`: a rule of OpenWrt's firewall rejects what peers send into zone `lan`",
    ...onlyServer,
    against: ['shells'],
    proof: ['openwrt/scripts: scripts of a router, by '],
  },
  {
    name: 'topologies subnet, p2p and net30, pushed addresses, routes and `redirect_gateway`',
    ...onlyClient,
    against: ['2.6'],
    proof: ['interop/topology: what a stock server pushes'],
  },
  {
    name: "`mode 'p2p'`: one peer, nothing pushed, as OpenVPN's `--mode p2p` with TLS",
    ...both,
    against: ['2.6', 'ovpnd'],
    proof: [
      'interop/p2p: mode p2p',
      'interop/p2p: mode p2p, renegotiation under a steady ping',
      'interop/p2p: mode p2p: ends that die or leave',
      'interop/p2p: mode p2p: what both ends must agree on',
    ],
  },
  {
    name: 'messages of a server: authentication that is pending, RESTART with flags, the end',
    ...onlyClient,
    against: ['2.6'],
    proof: ['interop/messages: messages of a server'],
  },
  {
    name: 'PUSH_UPDATE: changed routes, name servers and addresses while connected; `pull_dns` with netifd',
    ...both,
    against: ['2.7', 'ovpnd'],
    proof: ['interop/pushupdate: PUSH_UPDATE'],
  },
  {
    name: '`kill_switch`: what goes through the tunnel has no other way while it is down',
    ...onlyClient,
    against: ['2.6', 'ovpnd'],
    proof: ['interop/killswitch: kill switch'],
  },
  {
    name: 'kernel offload over UDP and TCP',
    ...both,
    against: ['DCO', '2.7', 'ovpnd'],
    proof: [
      'kernel/boot: the guest',
      'kernel/matrix: kernel plane',
      'kernel/matrix: kernel plane, one peer',
      'kernel/matrix: packets stay in the kernel',
      'kernel/many: many peers',
      'kernel/scenarios: scenarios',
      'kernel/stock: stock OpenVPN 2.7',
      'kernel/tcp: TCP on the kernel plane',
      'kernel/lifetime: lifetime',
    ],
  },
  {
    name: 'the native plane: C, one thread or one for each direction (`data_threads`), super-packets both ways, mssfix; chosen where the kernel has no offload',
    ...both,
    against: ['2.6', 'ovpnd'],
    proof: [
      'interop/native: native plane, bad days',
      'interop/offload: native plane, offloads',
      'interop/races: the thread sanitizer',
      'kernel/fallback: without the kernel',
    ],
  },
  {
    name: 'refusals with the reason, at both ends: foreign keys, certificates and ciphers, compression, tap',
    ...both,
    against: ['2.6', 'ovpnd'],
    proof: [
      'interop/refuse: peers refused by an ovpnd server',
      'interop/refuse: peers refused by an ovpnd client',
    ],
  },
  {
    name: 'no state for a stranger (the first reply is a cookie), hostile packets and connections, limits for each source',
    ...both,
    against: ['2.6'],
    proof: ['interop/hostile: hostile wires', 'interop/tcphostile: hostile TCP'],
  },
  {
    name: 'live reload: options and the content of key files; who is not concerned loses no packet',
    ...both,
    against: ['2.6'],
    proof: ['interop/reload: reload'],
  },
  {
    name: 'one clear line for what keeps it from starting; nothing left behind by an end or a crash; devices and links that go and come',
    ...both,
    against: ['2.6', 'the kernel'],
    proof: [
      'interop/start: what keeps a daemon from starting',
      'shim/network: rtnetlink network against the kernel',
    ],
  },
  {
    name: 'authority, complete profiles, renewal and revocation (`ovpnd pki`, `ovpnd export`)',
    ...onlyServer,
    against: ['2.6', '2.7'],
    proof: ['interop/authority: authority'],
  },
  {
    name: '`.ovpn` profiles (`ovpnd import`), what OpenVPN was configured for (`ovpnd migrate`)',
    ...onlyClient,
    against: ['2.6'],
    proof: [
      'interop/import: import',
      'unit/profile/corpus: profiles as they are published',
      'shim/migrate: migration from OpenVPN',
    ],
  },
  {
    name: 'OpenSSL or Mbed TLS 3.6 (without Ed25519 and `pkcs12`)',
    ...both,
    against: ['2.6', 'ovpnd'],
    proof: [
      'interop/matrix: matrix, other builds',
      'interop/mbedtls: Mbed TLS, renegotiation',
      'interop/mbedtls: Mbed TLS, refusals',
      'shim/pkcs12: PKCS #12',
    ],
  },
  {
    name: 'programs for ARM, AArch64, MIPS and x86, as packages',
    ...both,
    against: ['2.6', 'emulators'],
    proof: [
      'cross/packages: packages',
      'cross/packages: a root file system of one package',
      'cross/tunnel: packages of other architectures',
    ],
  },
  {
    name: 'a service of procd with an account of its own, an interface of netifd, a firewall rule, a clock that is not set',
    ...both,
    against: ['shells'],
    proof: [
      'openwrt/scripts: scripts of a router, by ',
      'unit/network/netifd: who applies the network',
      'unit/daemon/clock: a clock that is not set',
    ],
  },
  {
    name: 'the ubus object `ovpnd.TUNNEL` and the event `ovpnd.peer`, also without ubusd',
    ...both,
    against: ['a stand-in of ubusd'],
    proof: ['shim/bus: bus, with '],
  },
  {
    name: 'pages of LuCI: status, a server and its clients, import of a profile, every setting',
    ...both,
    against: ['Chromium', '2.6'],
    proof: ['luci/pages: pages, ', 'luci/methods: methods behind the web pages'],
  },
];

/** Test tables that show no feature: of the harness itself, and what is left after all. */
export const NO_FEATURE: readonly string[] = [
  'interop/harness: harness',
  'interop/zz-leftovers: after all rows',
  'kernel/zz-end: after all rows',
];
