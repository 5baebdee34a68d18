// SPDX-License-Identifier: Apache-2.0
// `ovpnd genkey`: new keys for the control channel, in the files OpenVPN writes and reads.

import { fromBase64 } from '../core/base64.ts';
import { newClientKey, newServerKey, parseServerKey } from '../core/clientkey.ts';
import { newStaticKey } from '../core/keys.ts';
import { describe, type Host, isFailure } from '../host/host.ts';

/** `words`: the kind of key, and for a client key the server's file and perhaps metadata in base64. */
export function genkeyCommand(
  host: Host,
  words: readonly string[],
  file: string | undefined,
): number | undefined {
  const [kind, serverFile, metadata] = words;
  const wanted = kind === 'tls-crypt-v2-client' ? [2, 3] : [1, 1];
  if (words.length < wanted[0]! || words.length > wanted[1]!) return undefined;
  let text: Uint8Array | string;
  if (kind === 'tls-crypt' || kind === 'tls-auth') text = newStaticKey(host.random);
  else if (kind === 'tls-crypt-v2-server') text = newServerKey(host.random);
  else if (kind === 'tls-crypt-v2-client') text = clientKey(host, serverFile!, metadata);
  else return undefined;
  const failed = typeof text === 'string' ? text : write(host, text, file);
  if (typeof text !== 'string') text.fill(0);
  if (failed === undefined) return 0;
  host.print(2, `ovpnd: ${failed}\n`);
  return 1;
}

function clientKey(host: Host, path: string, metadata: string | undefined): Uint8Array | string {
  const bytes = host.files.read(path);
  if (isFailure(bytes)) return `${path}: ${describe(bytes)}`;
  const server = parseServerKey(bytes);
  bytes.fill(0);
  if (typeof server === 'string') return `${path} is no tls-crypt-v2 server key: ${server}`;
  const data = metadata === undefined ? undefined : fromBase64(metadata);
  if (metadata !== undefined && data === undefined) return 'metadata is not base64';
  return newClientKey(host.crypto, host.random, server, host.wallS(), data);
}

function write(host: Host, text: Uint8Array, file: string | undefined): string | undefined {
  if (file === undefined) {
    host.print(1, String.fromCharCode(...text));
    return undefined;
  }
  // A key that is in use somewhere cannot be made again.
  if (!isFailure(host.files.status(file))) return `${file} exists already`;
  const failure = host.files.write(file, text, 0o600);
  return isFailure(failure) ? describe(failure) : undefined;
}
