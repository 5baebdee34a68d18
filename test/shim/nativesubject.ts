// SPDX-License-Identifier: Apache-2.0
// Makes the native plane, without a thread, the subject of the plane suite that is imported after this.

import { openNativePlane } from '../../src/host/nativeplane.ts';
import type { JsPlaneOptions } from '../../src/plane/js.ts';
import { NATIVE_PEERS_MAX, NativePlane, nativeLimits } from '../../src/plane/native.ts';
import { TUN_HEADER_LENGTH } from '../../src/plane/nativelayout.ts';
import type { PacketPlane } from '../../src/plane/plane.ts';
import { subject } from '../unit/plane/helpers.ts';
import { good, rawShim } from './support.ts';

/** A native plane that takes and gives packets by calls, in place of a js plane. */
export function createNativePlane(options: JsPlaneOptions): NativePlane {
  const engine = good(
    openNativePlane(rawShim(), {
      isMany: options.mode === 'mp',
      features: 0,
      mssfix: options.mssfix ?? 0,
      usesLocal: true,
      peersMax: options.peersMax ?? NATIVE_PEERS_MAX,
      limits: nativeLimits(options.limits),
      mtu: 1500,
      clientToClient: options.clientToClient ?? false,
      threads: 1,
    }),
  );
  const { sink } = options;
  return new NativePlane({
    mode: options.mode,
    engine,
    isThreaded: false,
    peersMax: options.peersMax ?? NATIVE_PEERS_MAX,
    sink: {
      send: (path, datagram) => sink.send(path, datagram),
      deliver: frame => sink.deliver(frame.subarray(TUN_HEADER_LENGTH)),
      notice: notice => sink.notice(notice),
      inner: (peerId, payload) => sink.inner(peerId, payload),
      control: () => undefined,
      streamEnded: () => undefined,
      broken: () => undefined,
    },
  });
}

subject.isJs = false;
subject.create = (options): PacketPlane => createNativePlane(options);
