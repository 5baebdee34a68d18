// SPDX-License-Identifier: Apache-2.0
// Every function of the shim with every kind of wrong argument: it throws a TypeError that names function and
// argument, or returns -errno; it never crashes. Runs in any runtime.

import { currentRuntime } from '../../src/host/current.ts';

type Check = (condition: boolean, what: string) => void;
type AnyFunction = (...values: unknown[]) => unknown;

/** A good value for each argument of each function, by type: i integer, b bytes, s string. */
export const SIGNATURES: Readonly<Record<string, string>> = {
  loop_close: 'i',
  loop_watch: 'iii',
  loop_wait: 'iib',
  signal_watch: 'i',
  udp_open: 'ibisiii',
  udp_close: 'i',
  udp_fd: 'i',
  udp_local: 'ib',
  udp_receive: 'ib',
  udp_send: 'ibbiib',
  tcp_listen: 'ibisiii',
  tcp_unlisten: 'i',
  tcp_listener_fd: 'i',
  tcp_listener_local: 'ib',
  tcp_accept: 'ib',
  tcp_connect: 'biisiii',
  tcp_outcome: 'i',
  tcp_local: 'ib',
  tun_open: 'si',
  tun_close: 'i',
  tun_fd: 'i',
  tun_name: 'i',
  tun_index: 'i',
  tun_read: 'ib',
  tun_write: 'ib',
  netlink_open: 'ii',
  netlink_close: 'i',
  netlink_fd: 'i',
  netlink_join: 'ii',
  netlink_send: 'ib',
  netlink_receive: 'i',
  unix_listen: 'si',
  unix_unlisten: 'i',
  unix_listener_fd: 'i',
  unix_accept: 'i',
  unix_connect: 's',
  stream_close: 'i',
  stream_fd: 'i',
  stream_read: 'ib',
  stream_write: 'ib',
  file_read: 's',
  input_read: 'i',
  file_write: 'sbi',
  file_lock: 's',
  file_unlock: 'is',
  file_status: 's',
  file_list: 's',
  file_make_directory: 'si',
  file_remove: 's',
  resolve_start: 'sii',
  print: 'is',
  syslog: 'is',
  exit: 'i',
  error_text: 'i',
  random_bytes: 'i',
  aead_key: 'sb',
  aead_close: 'i',
  aead_seal: 'ibbb',
  aead_open: 'ibbb',
  siv_seal: 'bbbb',
  siv_open: 'bbbb',
  hash: 'sb',
  hmac: 'sbb',
  equal: 'bb',
  tls_context: 'ibbbbsssssiib',
  password_hash: 'ss',
  tls_context_close: 'i',
  tls_context_set_crl: 'ib',
  tls_context_not_after: 'i',
  tls_context_doubts: 'i',
  tls_open: 'i',
  tls_close: 'i',
  tls_feed: 'ib',
  tls_pending: 'i',
  tls_pull: 'ii',
  tls_drive: 'i',
  tls_read: 'i',
  tls_write: 'ib',
  tls_error: 'i',
  tls_description: 'i',
  tls_peer: 'i',
  tls_export: 'isi',
  pkey_generate: 's',
  pkey_public: 'b',
  pkey_sign: 'bb',
  pkey_pkcs12: 'b',
  plane_open: 'iiiiiibiii',
  plane_close: 'i',
  plane_fd: 'i',
  plane_take: 'ib',
  plane_add_peer: 'iiiibbbbiii',
  plane_set_peer: 'iibbbbiii',
  plane_del_peer: 'ii',
  plane_add_key: 'iiiisibbbbii',
  plane_swap_keys: 'ii',
  plane_del_key: 'iii',
  plane_send_inner: 'iibi',
  plane_peers: 'i',
  plane_show: 'i',
  plane_add_socket: 'iiiii',
  plane_add_stream: 'iibi',
  plane_send_record: 'iib',
  plane_remove_socket: 'ii',
  plane_from_network: 'ibbi',
  plane_from_tun: 'ibii',
  plane_tick: 'ii',
  plane_deadline: 'i',
};

/** Functions without arguments. */
const PLAIN = ['loop_open', 'clock_monotonic', 'clock_wall', 'resolve_fd', 'resolve_take', 'identity'];

const GOOD: Readonly<Record<string, unknown>> = { i: 0, b: new Uint8Array(4), s: 'x' };

const hostile = {
  valueOf(): number {
    throw new Error('valueOf was called');
  },
  toString(): string {
    throw new Error('toString was called');
  },
};

/** Values that fit none of the types, and per type those that fit only others. */
const WRONG: Readonly<Record<string, readonly unknown[]>> = {
  i: ['1', null, 1.5, Number.NaN, Number.POSITIVE_INFINITY, 2 ** 60, 1n, new Uint8Array(1), hostile, true],
  b: [
    'x',
    1,
    null,
    [1, 2],
    new ArrayBuffer(4),
    new Uint16Array(2),
    hostile,
    new DataView(new ArrayBuffer(1)),
  ],
  s: [1, null, new Uint8Array(1), hostile, 'a\0b', Symbol('x')],
};

function refused(run: () => unknown, name: string): boolean {
  try {
    run();
    return false;
  } catch (error) {
    return error instanceof TypeError && error.message.startsWith(`${name}: `);
  }
}

/** Numbers that are no handles, or of no kind that fits. */
const HANDLES = [
  -1,
  0,
  1,
  63,
  2 ** 20,
  2 ** 20 + 1,
  2 ** 31,
  2 ** 32 + 5,
  Number.MAX_SAFE_INTEGER,
  -(2 ** 40),
];

/** Throws through `check` at the first function that takes what it must refuse. */
export function refusals(check: Check): void {
  const shim = currentRuntime().shim as unknown as Record<string, AnyFunction>;
  const known = [...Object.keys(SIGNATURES), ...PLAIN].sort().join();
  check(Object.keys(shim).sort().join() === known, 'every function is in the table of this test');
  for (const name of PLAIN)
    check(
      refused(() => shim[name]!(1), name),
      `${name} with an argument`,
    );
  for (const [name, types] of Object.entries(SIGNATURES)) {
    const good = Array.from(types, type => GOOD[type]);
    check(
      refused(() => shim[name]!(), name),
      `${name} without arguments`,
    );
    check(
      refused(() => shim[name]!(...good, 0), name),
      `${name} with too many arguments`,
    );
    for (let i = 0; i < types.length; i++) {
      for (const wrong of WRONG[types[i]!]!) {
        const values = good.slice();
        values[i] = wrong;
        check(
          refused(() => shim[name]!(...values), name),
          `${name}: argument ${i} of ${typeof wrong}`,
        );
      }
    }
  }
  staleHandles(shim, check);
}

const MAKERS = [
  'udp_open',
  'tcp_listen',
  'netlink_open',
  'tls_context',
  'exit',
  'input_read',
  'signal_watch',
  'error_text',
  'random_bytes',
  'plane_open',
];

function staleHandles(shim: Record<string, AnyFunction>, check: Check): void {
  for (const [name, types] of Object.entries(SIGNATURES)) {
    if (types[0] !== 'i' || MAKERS.includes(name) || name === 'print' || name === 'syslog') continue;
    for (const handle of HANDLES) {
      const values = Array.from(types, type => (type === 'i' ? 1 : GOOD[type]));
      values[0] = handle;
      const status = shim[name]!(...values);
      check(typeof status === 'number' && status < 0, `${name} of handle ${handle}: ${String(status)}`);
    }
  }
}
