// SPDX-License-Identifier: Apache-2.0
// One ovpnd endpoint in a simulated world: the real core and the real js plane, with the wire for sockets and
// arrays for TUN.

import type { Endpoint } from '../../src/core/address.ts';
import { stepClient } from '../../src/core/client.ts';
import type { ClientState } from '../../src/core/clientstate.ts';
import type { Aead, Crypto } from '../../src/core/crypto.ts';
import type { Effect, Event } from '../../src/core/event.ts';
import { type ServerState, stepServer } from '../../src/core/server.ts';
import { execute } from '../../src/plane/command.ts';
import { createJsPlane } from '../../src/plane/js.ts';
import type { PacketPlane, PlaneMode } from '../../src/plane/plane.ts';
import type { Wire } from './wire.ts';

/** A crypto body that fails the run when a key seals twice under one nonce. */
export function nonceChecked(crypto: Crypto, seals: Set<string>): Crypto {
  return {
    ...crypto,
    sivSeal: (keys, header, plaintext) => crypto.sivSeal(keys, header, plaintext),
    sivOpen: (keys, header, sealed) => crypto.sivOpen(keys, header, sealed),
    hash: (name, data) => crypto.hash(name, data),
    hmac: (name, key, data) => crypto.hmac(name, key, data),
    equal: (a, b) => crypto.equal(a, b),
    aead: (cipher, key) => {
      const inner = crypto.aead(cipher, key);
      const name = Buffer.from(key).toString('base64');
      const checked: Aead = {
        seal: (nonce, aad, plaintext) => {
          const use = name + Buffer.from(nonce).toString('base64');
          if (seals.has(use)) throw new Error('a nonce was used twice');
          seals.add(use);
          return inner.seal(nonce, aad, plaintext);
        },
        open: (nonce, aad, sealed) => inner.open(nonce, aad, sealed),
        wipe: () => inner.wipe(),
      };
      return checked;
    },
  };
}

export class SimNode {
  readonly plane: PacketPlane;
  readonly delivered: Uint8Array[] = [];
  readonly log: string[] = [];
  readonly #wire: Wire;
  readonly #step: (event: Event, now: number) => Effect[];
  readonly #sockets = new Map<number, Endpoint>();
  readonly #ip: Uint8Array;
  readonly #queue: Event[] = [];
  #isDraining = false;
  #timerAt: number | undefined;
  #nextSocket = 1;
  #nextPort = 40000;

  constructor(
    wire: Wire,
    mode: PlaneMode,
    crypto: Crypto,
    ip: Uint8Array,
    make: (plane: PacketPlane) => { server: ServerState } | { client: ClientState },
  ) {
    this.#wire = wire;
    this.#ip = ip;
    this.plane = createJsPlane({
      mode,
      crypto,
      // Half a minute: keys of the epoch format follow each other, those of the other one are replaced.
      limits: { gcmUsageSoft: 300 },
      sink: {
        send: (path, bytes) => this.#wire.send(this.#sockets.get(path.socket)!, path.remote, bytes),
        deliver: packet => this.delivered.push(packet.slice()),
        notice: notice => this.dispatch({ kind: 'planeNotice', notice }),
        inner: (peerId, payload) => this.dispatch({ kind: 'inner', peerId, payload: payload.slice() }),
      },
    });
    const role = make(this.plane);
    this.#step =
      'server' in role
        ? (event, now) => stepServer(role.server, event, now)
        : (event, now) => stepClient(role.client, event, now);
  }

  /** Opens a socket with a fixed port (server). */
  listen(port: number): void {
    this.#open(port);
  }

  #open(port: number): number {
    const socket = this.#nextSocket++;
    const local: Endpoint = { ip: this.#ip, port };
    this.#sockets.set(socket, local);
    this.#wire.attach(local, (remote, bytes) => {
      const opcode = (bytes[0] ?? 0) >> 3;
      const path = { socket, remote };
      if (opcode === 6 || opcode === 9) this.plane.fromNetwork(path, bytes, this.#wire.now);
      else this.dispatch({ kind: 'datagram', path, bytes });
    });
    return socket;
  }

  dispatch(event: Event): void {
    this.#queue.push(event);
    if (this.#isDraining) return;
    this.#isDraining = true;
    for (let next = this.#queue.shift(); next !== undefined; next = this.#queue.shift()) {
      for (const effect of this.#step(next, this.#wire.now)) this.#apply(effect);
    }
    this.#isDraining = false;
  }

  #apply(effect: Effect): void {
    switch (effect.kind) {
      case 'setPlane': {
        const refused = execute(this.plane, effect.command, this.#wire.now);
        if (refused !== undefined) {
          throw new Error(`plane refused ${effect.command.op}: ${refused.code} ${refused.text}`);
        }
        return;
      }
      case 'notify':
        this.log.push(`${this.#wire.now} ${effect.notice.level} ${effect.notice.text}`);
        return;
      case 'send':
        return this.#wire.send(this.#sockets.get(effect.path.socket)!, effect.path.remote, effect.bytes);
      case 'setTimer':
        this.#timerAt = effect.at;
        return;
      case 'openSocket':
        return this.dispatch({ kind: 'socketOpened', socket: this.#open(this.#nextPort++) });
      case 'closeSocket': {
        const local = this.#sockets.get(effect.socket);
        if (local !== undefined) this.#wire.detach(local);
        return;
      }
      default:
        return;
    }
  }

  /** When this endpoint wants to be ticked. */
  nextAt(): number {
    return Math.min(
      this.#timerAt ?? Number.POSITIVE_INFINITY,
      this.plane.deadline() ?? Number.POSITIVE_INFINITY,
    );
  }

  tick(): void {
    const { now } = this.#wire;
    if ((this.plane.deadline() ?? Number.POSITIVE_INFINITY) <= now) this.plane.tick(now);
    if (this.#timerAt !== undefined && this.#timerAt <= now) this.dispatch({ kind: 'tick' });
  }
}
