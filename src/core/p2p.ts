// SPDX-License-Identifier: Apache-2.0
// Mode p2p: two peers of which neither pushes anything. What they must agree on each derives from what the other
// says of itself in key method 2, so that both come to the same result. Source: OpenVPN 2.6, ssl_ncp.c.

import type { CipherName } from './crypto.ts';
import type { KeyDerivation } from './datakeys.ts';
import { readOptions, unusableFraming } from './options.ts';
import {
  IV_PROTO_CC_EXIT,
  IV_PROTO_DATA_V2,
  IV_PROTO_DYN_TLS_CRYPT,
  IV_PROTO_EPOCH,
  IV_PROTO_P2P_NCP,
  IV_PROTO_TLS_EKM,
  isCipherName,
  parsePeerInfo,
  peerCiphers,
  peerProto,
} from './peerinfo.ts';
import { type DataFormat, PEER_ID_UNDEF, type PlaneCapabilities } from './plane.ts';
import type { Session } from './session.ts';
import { printable } from './text.ts';

/** Label of the TLS exporter for the peer-id: 3 bytes, big-endian, no context. */
const EXPORTER_PEER_ID = 'EXPORTER-OpenVPN-p2p-peerid';
/** For peers without the exporter: "vpn". */
const PEER_ID_FIXED = 0x76706e;

/** What we say we can do; each bit is a promise. */
export const IV_PROTO_P2P =
  IV_PROTO_DATA_V2 | IV_PROTO_TLS_EKM | IV_PROTO_P2P_NCP | IV_PROTO_CC_EXIT | IV_PROTO_DYN_TLS_CRYPT;

/** What the two ends of a session agree on, by push or without. */
export interface Agreement {
  readonly cipher: CipherName;
  readonly derivation: KeyDerivation;
  /** P_DATA_V1 or P_DATA_V2. */
  readonly packets: 'v1' | 'v2';
  readonly format: DataFormat;
  /** The same in both directions. */
  readonly peerId: number;
  readonly dynamicWrap: boolean;
  /** EXIT is understood as a message. */
  readonly ccExit: boolean;
}

/**
 * What comes of both ends' first key method messages; a string says why the tunnel cannot be used. Peers from before
 * 2.6, which say nothing, get the cipher of their options string, the PRF and packets without a peer-id.
 */
export function agree(
  session: Session,
  ciphers: readonly CipherName[],
  capabilities: PlaneCapabilities,
): Agreement | string {
  const key = session.current;
  const info = parsePeerInfo(key.remote?.peerInfo ?? '');
  const occ = readOptions(key.remote?.options ?? '');
  const unusable = unusableFraming(occ);
  if (unusable !== undefined) return `the peer uses ${unusable}`;
  const offered = peerCiphers(info, occ.cipher);
  const cipher = commonCipher(session, ciphers, offered);
  if (cipher === undefined) {
    const theirs =
      offered.length > 0 ? printable(offered.join(':').slice(0, 100)) : 'none (is it in mode p2p?)';
    return `no common data cipher: the peer offers ${theirs}, data_ciphers has ${ciphers.join(':')}`;
  }
  const proto = peerProto(info);
  const has = (bit: number): boolean => (proto & IV_PROTO_P2P_NCP) !== 0 && (proto & bit) !== 0;
  const isV2 = has(IV_PROTO_DATA_V2);
  if (!isV2 && !capabilities.dataV1) return 'the peer does not know P_DATA_V2, which this data plane needs';
  const isEkm = has(IV_PROTO_TLS_EKM);
  const peerId = isV2 ? peerIdOf(session, isEkm) : 0;
  // One in 16 million; the next session has another.
  if (peerId === PEER_ID_UNDEF) return 'the derived peer-id means none';
  return {
    cipher,
    derivation: isEkm ? 'tls-ekm' : 'tls1-prf',
    packets: isV2 ? 'v2' : 'v1',
    format: isV2 && capabilities.epoch && has(IV_PROTO_EPOCH) ? 'aead-epoch' : 'aead',
    peerId,
    dynamicWrap: has(IV_PROTO_DYN_TLS_CRYPT),
    ccExit: has(IV_PROTO_CC_EXIT),
  };
}

/** The TLS server's preference decides, whichever end that is. */
function commonCipher(
  session: Session,
  ours: readonly CipherName[],
  theirs: readonly string[],
): CipherName | undefined {
  const isServer = session.options.role === 'server';
  const known = theirs.filter(isCipherName);
  return isServer ? ours.find(name => known.includes(name)) : known.find(name => ours.includes(name));
}

function peerIdOf(session: Session, isEkm: boolean): number {
  if (!isEkm) return PEER_ID_FIXED;
  const bytes = session.current.tls.exportKey(EXPORTER_PEER_ID, 3);
  return (bytes[0]! << 16) | (bytes[1]! << 8) | bytes[2]!;
}
