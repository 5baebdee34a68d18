// SPDX-License-Identifier: Apache-2.0
// Key material of a profile: inline text or a file that it names, looked at as far as text goes. Whether keys fit
// their certificates is found out by whoever can open them.

import { fromBase64 } from '../core/base64.ts';
import { decodeUtf8, encodeUtf8 } from '../core/bytes.ts';
import type { ReadFile } from './directives.ts';
import { addTo, type Draft } from './draft.ts';
import type { Directive } from './ovpn.ts';
import { type Ruling, refuse, TAKEN } from './rulings.ts';

interface FileKind {
  readonly option: string;
  readonly name: string;
  readonly secret: boolean;
  /** What its text must contain, and what that is called. */
  readonly holds?: readonly [RegExp, string];
}

const CERTIFICATE = [/-----BEGIN (?:X509 |TRUSTED )?CERTIFICATE-----/, 'certificate in PEM form'] as const;
const STATIC_KEY = [/-----BEGIN OpenVPN Static key V1-----/, 'OpenVPN static key'] as const;

const KINDS: Readonly<Record<string, FileKind>> = {
  ca: { option: 'ca', name: 'ca.crt', secret: false, holds: CERTIFICATE },
  cert: { option: 'cert', name: 'client.crt', secret: false, holds: CERTIFICATE },
  'extra-certs': { option: 'extra_certs', name: 'extra.crt', secret: false, holds: CERTIFICATE },
  'crl-verify': {
    option: 'crl',
    name: 'crl.pem',
    secret: false,
    holds: [/-----BEGIN X509 CRL-----/, 'revocation list in PEM form'],
  },
  key: {
    option: 'key',
    name: 'client.key',
    secret: true,
    holds: [/-----BEGIN (?:[A-Z0-9]+ )*PRIVATE KEY-----/, 'private key in PEM form'],
  },
  pkcs12: { option: 'pkcs12', name: 'client.p12', secret: true },
  'tls-auth': { option: 'tls_auth', name: 'tls-auth.key', secret: true, holds: STATIC_KEY },
  'tls-crypt': { option: 'tls_crypt', name: 'tls-crypt.key', secret: true, holds: STATIC_KEY },
  'tls-crypt-v2': {
    option: 'tls_crypt_v2',
    name: 'tls-crypt-v2.key',
    secret: true,
    holds: [/-----BEGIN OpenVPN tls-crypt-v2 client key-----/, 'tls-crypt-v2 client key'],
  },
};

const ENCRYPTED = /-----BEGIN ENCRYPTED PRIVATE KEY-----|Proc-Type: 4,ENCRYPTED/;

function bytesOf(directive: Directive, read: ReadFile): Uint8Array | string {
  const { name, args, inline } = directive;
  if (inline !== undefined)
    return name === 'pkcs12' ? (fromBase64(inline) ?? 'is not base64') : encodeUtf8(inline);
  const [path] = args;
  if (path === undefined || path === '') return 'names no file';
  return read(path);
}

/** `ca`, `key`, `tls-crypt` and their like. */
export function takeFile(draft: Draft, directive: Directive, read: ReadFile): Ruling {
  const kind = KINDS[directive.name]!;
  const { name, connection } = directive;
  if (connection !== undefined) return refuse('in <connection> is not supported: all remotes share one key');
  const direction = name === 'tls-auth' ? directive.args[1] : undefined;
  if (direction !== undefined) draft.options.set('key_direction', direction);
  // Old profiles: `ca [inline]`, or a file's name, beside the block.
  if (directive.inline === undefined && draft.blocks.has(name)) {
    return { verdict: 'not needed', note: 'the block has it' };
  }
  const bytes = bytesOf(directive, read);
  if (typeof bytes === 'string') return refuse(bytes);
  const text = decodeUtf8(bytes);
  if (kind.holds !== undefined && !kind.holds[0].test(text)) return refuse(`holds no ${kind.holds[1]}`);
  if (name === 'key' && ENCRYPTED.test(text)) {
    return refuse(
      'is encrypted, and nobody sits at the router to type its password; take it off with openssl pkey',
    );
  }
  if (draft.files.has(kind.option)) return refuse('is there twice');
  draft.files.set(kind.option, { option: kind.option, name: kind.name, bytes, secret: kind.secret });
  return TAKEN;
}

/** `peer-fingerprint`: one as argument, or one a line. */
export function takeFingerprints(draft: Draft, { args, inline }: Directive): Ruling {
  const lines = inline === undefined ? args.slice(0, 1) : inline.split('\n').map(line => line.trim());
  const found = lines.filter(line => line !== '' && !/^[#;]/.test(line));
  if (found.length === 0) return refuse('has no fingerprint');
  for (const text of found) addTo(draft, 'peer_fingerprint', text);
  return TAKEN;
}

/** `auth-user-pass`: a file or block of two lines, or nothing, and then a person must be asked. */
export function takeLogin(draft: Draft, directive: Directive, read: ReadFile): Ruling {
  const { args, inline } = directive;
  if (inline === undefined && (args.length === 0 || args[0] === 'username-only')) {
    draft.asks.add('username').add('password');
    return TAKEN;
  }
  const bytes = inline === undefined ? read(args[0]!) : encodeUtf8(inline);
  if (typeof bytes === 'string') {
    // Providers name a file that the user is to write.
    draft.asks.add('username').add('password');
    return { verdict: 'taken', note: 'without its file' };
  }
  const [username = '', password = ''] = decodeUtf8(bytes)
    .split(/\r?\n/)
    .map(line => line.trim());
  if (username === '') draft.asks.add('username');
  else draft.options.set('username', username);
  if (password === '') draft.asks.add('password');
  else draft.options.set('password', password);
  return { verdict: 'taken', note: 'as options username and password' };
}
