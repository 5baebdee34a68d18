// SPDX-License-Identifier: Apache-2.0
// HalfSipHash-2-4 with 32 bits of output (Aumasson and Bernstein): a keyed hash for tables that hostile keys go into.
// It is no MAC for anything that leaves the process.

function word(bytes: Uint8Array, at: number): number {
  return bytes[at]! | (bytes[at + 1]! << 8) | (bytes[at + 2]! << 16) | (bytes[at + 3]! << 24);
}

function rounds(v: Int32Array, count: number): void {
  let [v0, v1, v2, v3] = v as unknown as [number, number, number, number];
  for (let i = 0; i < count; i++) {
    v0 = (v0 + v1) | 0;
    v1 = ((v1 << 5) | (v1 >>> 27)) ^ v0;
    v0 = (v0 << 16) | (v0 >>> 16);
    v2 = (v2 + v3) | 0;
    v3 = ((v3 << 8) | (v3 >>> 24)) ^ v2;
    v0 = (v0 + v3) | 0;
    v3 = ((v3 << 7) | (v3 >>> 25)) ^ v0;
    v2 = (v2 + v1) | 0;
    v1 = ((v1 << 13) | (v1 >>> 19)) ^ v2;
    v2 = (v2 << 16) | (v2 >>> 16);
  }
  v.set([v0, v1, v2, v3]);
}

/** An unsigned 32-bit number; `key` has 8 bytes. */
export function halfSipHash(key: Uint8Array, bytes: Uint8Array): number {
  const [k0, k1] = [word(key, 0), word(key, 4)];
  const v = Int32Array.of(k0, k1, 0x6c796765 ^ k0, 0x74656462 ^ k1);
  const whole = bytes.length & ~3;
  const last = new Uint8Array(4);
  last.set(bytes.subarray(whole));
  last[3] = bytes.length;
  for (let at = 0; at <= whole; at += 4) {
    const m = at < whole ? word(bytes, at) : word(last, 0);
    v[3]! ^= m;
    rounds(v, 2);
    v[0]! ^= m;
  }
  v[2]! ^= 0xff;
  rounds(v, 4);
  return (v[1]! ^ v[3]!) >>> 0;
}
