// SPDX-License-Identifier: Apache-2.0
// The key files that wrap the control channel: tls_auth, tls_crypt, tls_crypt_v2.

import { decodeUtf8 } from '../core/bytes.ts';
import { parseClientKey, parseServerKey } from '../core/clientkey.ts';
import { parseStaticKey } from '../core/keys.ts';
import {
  type CryptKeys,
  clientKeys,
  noWrap,
  tlsAuthKeys,
  tlsCryptKeys,
  type WrapKeys,
} from '../core/wrap.ts';
import type { ClientConfig, ServerConfig } from '../uci/config.ts';

export interface WrapFiles {
  readonly wrap: WrapKeys;
  /** tls-crypt-v2 of a server. */
  readonly clientKeys?: CryptKeys;
}

/** Reads what `contents`, by option, has of them; `report` is told what is wrong, and the answer is undefined then. */
export function readWrapFiles(
  tunnel: ServerConfig | ClientConfig,
  contents: ReadonlyMap<string, Uint8Array>,
  report: (option: string, rule: string) => void,
): WrapFiles | undefined {
  const wrap = readStatic(tunnel, contents, report);
  const v2 = contents.get('tls_crypt_v2');
  if (v2 === undefined || wrap === undefined) return wrap && { wrap };
  if (tunnel.role === 'client') {
    const key = parseClientKey(v2);
    if (typeof key !== 'string') return { wrap: clientKeys(key, 'client') };
    report('tls_crypt_v2', `is no tls-crypt-v2 client key: ${key}`);
  } else {
    const key = parseServerKey(v2);
    if (typeof key !== 'string') return { wrap, clientKeys: key };
    report('tls_crypt_v2', `is no tls-crypt-v2 server key: ${key}`);
  }
  return undefined;
}

function readStatic(
  tunnel: ServerConfig | ClientConfig,
  contents: ReadonlyMap<string, Uint8Array>,
  report: (option: string, rule: string) => void,
): WrapKeys | undefined {
  const option = contents.has('tls_crypt') ? 'tls_crypt' : 'tls_auth';
  const bytes = contents.get(option);
  if (bytes === undefined) return noWrap();
  const key = parseStaticKey(decodeUtf8(bytes));
  if (typeof key === 'string') {
    report(option, `is no OpenVPN static key: ${key}`);
    return undefined;
  }
  if (option === 'tls_crypt') return tlsCryptKeys(key, tunnel.role);
  return tlsAuthKeys(key, tunnel.keyDirection, tunnel.tlsAuthDigest);
}
