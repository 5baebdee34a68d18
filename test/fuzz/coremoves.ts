// SPDX-License-Identifier: Apache-2.0
// What may happen to an endpoint of the core, as arbitraries: the moves of core-endpoints.test.ts.

import fc from 'fast-check';
import type { Path } from '../../src/core/address.ts';
import type { Event, LoginRefusal } from '../../src/core/event.ts';
import { OCC_EXIT_PAYLOAD } from '../../src/core/options.ts';
import { IV_PROTO_P2P } from '../../src/core/p2p.ts';
import { DEL_REASONS } from '../../src/core/plane.ts';
import { ip } from '../unit/core/bench.ts';
import { PUSH, pathOf } from '../unit/core/hand.ts';

export interface Edit {
  readonly at: number;
  readonly how: 'flip' | 'cut' | 'grow' | 'join';
  readonly byte: number;
}

/** What happens next; numbers are taken modulo what there is. */
export type Move =
  | { readonly kind: 'talk'; readonly who: number }
  | { readonly kind: 'open'; readonly who: number; readonly proto: number }
  | { readonly kind: 'say'; readonly who: number; readonly text: string }
  | { readonly kind: 'raw'; readonly who: number; readonly bytes: Uint8Array }
  | { readonly kind: 'rekey'; readonly who: number }
  | {
      readonly kind: 'replay';
      readonly which: number;
      readonly from: number;
      readonly edits: readonly Edit[];
    }
  | { readonly kind: 'bytes'; readonly bytes: Uint8Array; readonly from: number }
  | { readonly kind: 'pass'; readonly ms: number }
  | { readonly kind: 'event'; readonly event: Event }
  | { readonly kind: 'refuse' }
  /** A login is answered: which question, and how. */
  | { readonly kind: 'answer'; readonly which: number; readonly refused?: LoginRefusal }
  /** New options: what each user logs in with. */
  | { readonly kind: 'users'; readonly stamps: Readonly<Record<string, string>> }
  | { readonly kind: 'tls'; readonly who: number };

const small = fc.nat({ max: 7 });
const peerId = fc.constantFrom(0, 0, 1, 2, 5, 5, 7);
const text = fc.oneof(
  fc.constantFrom(PUSH, 'PUSH_REQUEST', 'EXIT', 'RESTART', 'RESTART,[N]', 'AUTH_FAILED', 'HALT', 'INFO,x'),
  fc.constantFrom('AUTH_FAILED,TEMP[backoff 3,advance no]:x', 'AUTH_PENDING,timeout 0', 'AUTH_PENDING'),
  fc.constantFrom(
    `${PUSH},push-continuation 2`,
    'PUSH_REPLY,compress lzo',
    `${PUSH},session-timeout 3,inactive 2 100`,
    'PUSH_UPDATE,-route,route 10.7.0.0 255.255.0.0,?ping 3',
    'PUSH_UPDATE,tun-mtu 1300,push-continuation 2',
    'PUSH_UPDATE,-ifconfig',
    PUSH.replace('peer-id 5', 'verb 3'),
  ),
  fc.string({ unit: 'binary', maxLength: 40 }),
);
const edit: fc.Arbitrary<Edit> = fc.record({
  at: fc.nat(),
  how: fc.constantFrom('flip', 'cut', 'grow', 'join'),
  byte: fc.integer({ min: 1, max: 255 }),
});
const path: fc.Arbitrary<Path> = small.map(host => pathOf(host + 1));
const notice = fc.oneof(
  fc.record({
    kind: fc.constant('peerDeleted' as const),
    peerId,
    reason: fc.constantFrom(...DEL_REASONS),
  }),
  fc.record({ kind: fc.constant('peerFloated' as const), peerId, path }),
  fc.record({
    kind: fc.constantFrom('keyExhausted' as const, 'keyExpiring' as const),
    peerId,
    keyId: small,
  }),
);
const event: fc.Arbitrary<Event> = fc.oneof(
  { weight: 4, arbitrary: fc.record({ kind: fc.constant('planeNotice' as const), notice }) },
  { weight: 2, arbitrary: fc.constant({ kind: 'tick' as const }) },
  fc.record({
    kind: fc.constant('inner' as const),
    peerId,
    payload: fc.constantFrom(OCC_EXIT_PAYLOAD, new Uint8Array(0), new Uint8Array(20)),
  }),
  fc.record({ kind: fc.constant('traffic' as const), peerId, bytes: fc.nat() }),
  fc.record({
    kind: fc.constant('command' as const),
    command: fc.constantFrom('disconnect' as const, 'renegotiate' as const),
    peer: fc.constantFrom('c0', 'c1', 'nobody'),
  }),
  small.map(socket => ({
    kind: 'streamClosed' as const,
    path: { ...pathOf(socket + 1), socket, tcp: true },
    reason: 'closed',
    ...(socket % 2 === 0 && { drop: 'record-length' as const }),
  })),
  fc.constantFrom<Event>(
    { kind: 'shutdown' },
    { kind: 'resolved', addresses: [] },
    { kind: 'resolved', addresses: [ip('192.0.2.5'), ip('fd00::5')] },
    { kind: 'resolveFailed', reason: 'no' },
    { kind: 'socketOpened', socket: 9 },
    { kind: 'socketFailed', reason: 'no' },
  ),
);
const bytes = fc.uint8Array({ maxLength: 120 });
const proto = fc.constantFrom(142, 134, 398, 2, 0, 8, IV_PROTO_P2P);
const refused = fc.record(
  { reason: fc.constant('no'), words: fc.string({ maxLength: 20 }), retryS: small },
  { requiredKeys: ['reason'] },
);
const move: fc.Arbitrary<Move> = fc.oneof(
  { weight: 6, arbitrary: fc.record({ kind: fc.constant('talk' as const), who: small }) },
  { weight: 3, arbitrary: fc.record({ kind: fc.constant('open' as const), who: small, proto }) },
  { weight: 4, arbitrary: fc.record({ kind: fc.constant('say' as const), who: small, text }) },
  fc.record({ kind: fc.constant('raw' as const), who: small, bytes }),
  { weight: 2, arbitrary: fc.record({ kind: fc.constant('rekey' as const), who: small }) },
  {
    weight: 8,
    arbitrary: fc.record({
      kind: fc.constant('replay' as const),
      which: fc.nat(),
      from: small,
      edits: fc.array(edit, { maxLength: 3 }),
    }),
  },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant('bytes' as const), bytes, from: small }) },
  {
    weight: 3,
    arbitrary: fc.record({
      kind: fc.constant('pass' as const),
      ms: fc.oneof(fc.nat({ max: 3000 }), fc.nat({ max: 100_000 }), fc.nat({ max: 4_000_000 })),
    }),
  },
  { weight: 4, arbitrary: fc.record({ kind: fc.constant('event' as const), event }) },
  fc.constant({ kind: 'refuse' as const }),
  {
    weight: 6,
    arbitrary: fc.record(
      { kind: fc.constant('answer' as const), which: small, refused },
      { requiredKeys: ['kind', 'which'] },
    ),
  },
  fc.record({
    kind: fc.constant('users' as const),
    stamps: fc.dictionary(fc.constantFrom('u0', 'u1', 'u2'), fc.constantFrom('a', 'b')),
  }),
  fc.record({ kind: fc.constant('tls' as const), who: small }),
);

export const moves = fc.array(move, { maxLength: 60, size: 'max' });
