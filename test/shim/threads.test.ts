// SPDX-License-Identifier: Apache-2.0
// The native plane with its threads, one or two, on a real TUN device in a namespace of its own, and the js plane as the
// other end: both ways, a key that the sending thread uses up, epochs that either end begins. This bundle is also the
// program that runs in there.

import { deepStrictEqual } from 'node:assert';
import { execFileSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { parseIp } from '../../src/core/address.ts';
import type { PlaneKey, RekeyAfter } from '../../src/core/plane.ts';
import { isFailure, type UdpSocket } from '../../src/host/host.ts';
import { createJsPlane } from '../../src/plane/js.ts';
import type { KeyLimits } from '../../src/plane/keys.ts';
import { NativePlane, nativeLimits } from '../../src/plane/native.ts';
import type { PacketPlane } from '../../src/plane/plane.ts';
import { good, newHost } from './support.ts';

const DEVICE = 'ov-threads';
const OWN = parseIp('10.99.0.1')!;
const OTHER = parseIp('10.99.0.2')!;
const LOOPBACK = parseIp('127.0.0.1')!;
const ID_MAX = 0xffff_ffff;
/** What a key has of packet ids. */
const IDS = 5;
const PATIENCE_MS = 40_000;
const PLANE = {
  isMany: false,
  features: 0,
  mssfix: 0,
  usesLocal: false,
  peersMax: 1,
  mtu: 1500,
  clientToClient: false,
} as const;

interface Seen {
  readonly notices: readonly string[];
  /** First bytes of what came out, the js plane's way and the device's. */
  readonly out: readonly number[];
  readonly into: readonly number[];
  readonly drops: Readonly<Record<string, number>>;
  readonly counters: Readonly<Record<string, number>>;
}

const bytes = (keyId: number, way: number) => new Uint8Array(32).fill(way + keyId);

/** One key as its two ends have it. */
function keyOf(keyId: number, isEpoch: boolean, isNear: boolean): PlaneKey {
  const ways = isNear ? [1, 101] : [101, 1];
  const [encrypt, decrypt] = ways.map(way => bytes(keyId, way)) as [Uint8Array, Uint8Array];
  const [encryptTail, decryptTail] = ways.map(way => new Uint8Array(8).fill(way)) as [Uint8Array, Uint8Array];
  const common = { peerId: 3, slot: 'primary', keyId, cipher: 'AES-256-GCM' } as const;
  if (isEpoch)
    return {
      ...common,
      format: 'aead-epoch',
      encrypt: { epochKey: encrypt },
      decrypt: { epochKey: decrypt },
    };
  return {
    ...common,
    format: 'aead',
    encrypt: { key: encrypt, nonceTail: encryptTail },
    decrypt: { key: decrypt, nonceTail: decryptTail },
  };
}

/** The same packet with its ends exchanged, which leaves checksums as they are. */
function turned(packet: Uint8Array, byte: number): Uint8Array {
  const answer = packet.slice();
  answer.set(packet.subarray(16, 20), 12);
  answer.set(packet.subarray(12, 16), 16);
  answer.set(packet.subarray(22, 24), 20);
  answer.set(packet.subarray(20, 22), 22);
  // Without a checksum.
  answer.set([0, 0, byte], 26);
  return answer;
}

class Meeting {
  readonly notices: string[] = [];
  readonly into: number[] = [];
  readonly plane: NativePlane;
  readonly oracle: PacketPlane;
  private readonly delivered: Uint8Array[] = [];
  private readonly host = newHost();
  private readonly tun = good(this.host.openTun(DEVICE, true));
  private readonly near: UdpSocket;
  private readonly far: UdpSocket;
  private readonly inner: UdpSocket;

  constructor(threads: number, limits: Partial<KeyLimits>) {
    const { host } = this;
    writeFileSync(`/proc/sys/net/ipv6/conf/${DEVICE}/disable_ipv6`, '1');
    execFileSync('ip', ['addr', 'add', '10.99.0.1/24', 'dev', DEVICE]);
    execFileSync('ip', ['link', 'set', DEVICE, 'up']);
    const any = { family: 4, ip: LOOPBACK, port: 0 } as const;
    this.near = good(host.openUdp(any));
    this.far = good(host.openUdp(any));
    this.inner = good(host.openUdp({ family: 4, ip: OWN, port: 7 }));
    const nothing = () => undefined;
    const sink = { send: nothing, deliver: nothing, inner: nothing, control: nothing, streamEnded: nothing };
    this.plane = new NativePlane({
      mode: 'p2p',
      engine: good(this.tun.openPlane({ ...PLANE, limits: nativeLimits(limits), threads })),
      isThreaded: true,
      peersMax: 1,
      sink: {
        ...sink,
        notice: notice => void this.notices.push(`${notice.kind} ${'keyId' in notice ? notice.keyId : ''}`),
        broken: text => void this.notices.push(text),
      },
    });
    this.plane.addSocket(1, this.near.fd, 4, false);
    this.oracle = createJsPlane({
      mode: 'p2p',
      crypto: host.crypto,
      limits,
      sink: {
        ...sink,
        send: (_, datagram) => void this.far.send(datagram, this.near.local),
        deliver: packet => void this.delivered.push(packet.slice()),
        notice: nothing,
      },
    });
    this.plane.addPeer({ peerId: 3, path: { socket: 1, remote: this.far.local } }, host.monotonicMs());
    this.oracle.addPeer({ peerId: 3, path: { socket: 2, remote: this.near.local } }, host.monotonicMs());
  }

  get out(): number[] {
    return this.delivered.map(packet => packet[28]!);
  }

  install(keyId: number, isEpoch: boolean, rekeyAfter?: RekeyAfter): void {
    this.plane.addKey({ ...keyOf(keyId, isEpoch, true), ...(rekeyAfter && { rekeyAfter }) });
    this.oracle.addKey(keyOf(keyId, isEpoch, false), this.host.monotonicMs());
  }

  /** From the device on. */
  send(from: number, count: number): void {
    for (let i = 0; i < count; i++) this.inner.send(new Uint8Array([from + i]), { ip: OTHER, port: 7 });
  }

  /** To the device. */
  answer(from: number, count: number): void {
    const packet = this.delivered[0]!;
    for (let i = 0; i < count; i++) this.oracle.fromTun(turned(packet, from + i), this.host.monotonicMs());
  }

  until(isDone: () => boolean): void {
    const end = performance.now() + PATIENCE_MS;
    while (!isDone() && performance.now() < end) {
      this.plane.receive();
      const now = this.host.monotonicMs();
      for (let got = this.far.receive(); got !== undefined && !isFailure(got); got = this.far.receive())
        this.oracle.fromNetwork({ socket: 2, remote: got.from }, got.bytes, now);
      for (let got = this.inner.receive(); got !== undefined && !isFailure(got); got = this.inner.receive())
        this.into.push(got.bytes[0]!);
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 2);
    }
  }

  end(): Seen {
    const { plane, notices, out, into } = this;
    const [record] = plane.peers();
    const { vpnTxPackets, linkTxPackets, vpnRxPackets, linkRxPackets } = record!.counters;
    plane.close();
    for (const socket of [this.near, this.far, this.inner]) socket.close();
    this.tun.close();
    const drops = Object.fromEntries(Object.entries(plane.drops()).filter(([, count]) => count > 0));
    return {
      notices,
      out,
      into,
      drops,
      counters: { vpnTxPackets, linkTxPackets, vpnRxPackets, linkRxPackets },
    };
  }
}

function usedUp(threads: number): Seen {
  const meeting = new Meeting(threads, { firstPacketId: ID_MAX - IDS + 1, packetIdSoft: ID_MAX - 2 });
  const { plane, notices, into } = meeting;
  meeting.install(0, false);
  meeting.send(0, IDS + 3);
  meeting.until(
    () => meeting.out.length === IDS && notices.length === 2 && plane.drops()['no-peer-key'] === 3,
  );
  meeting.install(1, false);
  meeting.send(10, IDS - 1);
  meeting.until(() => meeting.out.length === 2 * IDS - 1 && notices.length === 3);
  meeting.answer(20, 3);
  meeting.until(() => into.length === 3);
  return meeting.end();
}

/** Every other packet begins an epoch, whoever sends it. */
function epochs(threads: number): Seen {
  const meeting = new Meeting(threads, { gcmUsageSoft: 6 });
  meeting.install(0, true);
  for (let i = 0; i < 40; i += 5) {
    meeting.send(i, 5);
    meeting.until(() => meeting.out.length === i + 5);
    meeting.answer(i, 5);
    if (i % 10 > 0) meeting.until(() => meeting.into.length === i + 5);
  }
  return meeting.end();
}

/** Both directions together reach the limit with their last packet: once with one that is received, once with one that is sent. */
function counted(threads: number): Seen {
  const meeting = new Meeting(threads, {});
  const { plane, notices, into } = meeting;
  const both = (sent: number, received: number) => {
    meeting.send(0, sent);
    meeting.until(() => meeting.out.length === sent);
    meeting.answer(0, received);
    meeting.until(() => into.length === received);
    plane.receive();
  };
  meeting.install(0, false, { packets: 10, bytes: 0 });
  both(5, 4);
  deepStrictEqual(notices, []);
  meeting.answer(4, 1);
  meeting.until(() => notices.length > 0);
  // Two packets are its 256th part, which rx keeps to itself that long.
  meeting.install(1, false, { packets: 511, bytes: 0 });
  meeting.answer(5, 4);
  meeting.until(() => into.length === 9);
  for (let i = 5; i < 512; i += 13) {
    plane.receive();
    deepStrictEqual(notices, ['keyExpiring 0']);
    meeting.send(i, 13);
    meeting.until(() => meeting.out.length === i + 13);
  }
  meeting.until(() => notices.length > 1);
  return meeting.end();
}

const forty = Array.from({ length: 40 }, (_, i) => i);
const SCENES = [
  {
    title: 'a key that is used up, another key',
    run: usedUp,
    expected: {
      notices: ['keyExpiring 0', 'keyExhausted 0', 'keyExpiring 1'],
      out: [0, 1, 2, 3, 4, 10, 11, 12, 13],
      into: [20, 21, 22],
      drops: { 'no-peer-key': 3 },
      counters: { vpnTxPackets: 12, linkTxPackets: 9, vpnRxPackets: 3, linkRxPackets: 3 },
    },
  },
  {
    title: 'a limit that both directions have together, counted by whoever sees a packet',
    run: counted,
    expected: {
      notices: ['keyExpiring 0', 'keyExpiring 1'],
      out: Array.from({ length: 512 }, (_, i) => i % 256),
      into: [0, 1, 2, 3, 4, 5, 6, 7, 8],
      drops: {},
      counters: { vpnTxPackets: 512, linkTxPackets: 512, vpnRxPackets: 9, linkRxPackets: 9 },
    },
  },
  {
    title: 'epochs that end while both sides send',
    run: epochs,
    expected: {
      notices: [],
      out: forty,
      into: forty,
      drops: {},
      counters: { vpnTxPackets: 40, linkTxPackets: 40, vpnRxPackets: 40, linkRxPackets: 40 },
    },
  },
];

const inside = process.env.OVPND_THREADS_INSIDE?.split(' ').map(Number) as [number, number] | undefined;
if (inside !== undefined) process.stdout.write(JSON.stringify(SCENES[inside[0]]!.run(inside[1])));
else
  describe('the native plane with threads of its own', () => {
    const name = `ovpnd-threads-${process.pid}`;
    before(function () {
      if (process.getuid?.() !== 0) {
        console.log('SKIPPED: the native plane with threads: this machine lacks root');
        this.skip();
      }
      execFileSync('ip', ['netns', 'add', name]);
      execFileSync('ip', ['-n', name, 'link', 'set', 'lo', 'up']);
    });
    after(() => {
      if (process.getuid?.() === 0) execFileSync('ip', ['netns', 'del', name]);
    });

    for (const [number, { title, expected }] of SCENES.entries()) {
      for (const threads of [1, 2]) {
        it(`${threads}: ${title}`, () => {
          const words = ['netns', 'exec', name, process.execPath, __filename];
          const env = { ...process.env, OVPND_THREADS_INSIDE: `${number} ${threads}` };
          const seen = JSON.parse(execFileSync('ip', words, { env, encoding: 'utf8' })) as Seen;
          deepStrictEqual(seen, expected);
        });
      }
    }
  });
