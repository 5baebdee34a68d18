// SPDX-License-Identifier: Apache-2.0
// Writes the profile that a peer of a server tunnel needs: complete, and short enough for a QR code with EC keys.

import { formatIp, type Ip, netmask, type Prefix } from '../core/address.ts';
import { decodeUtf8 } from '../core/bytes.ts';

export interface ExportRemote {
  readonly host: string;
  readonly port: number;
  readonly proto: 'udp' | 'udp4' | 'udp6' | 'tcp' | 'tcp4' | 'tcp6';
}

export interface ExportInput {
  /** Shown in the comment; printable. */
  readonly peer: string;
  readonly tunnel: string;
  /** In the order in which the client shall try them. */
  readonly remotes: readonly ExportRemote[];
  /** Common name of the server's certificate. */
  readonly serverName: string;
  readonly ciphers: readonly string[];
  readonly tunMtu: number;
  /** PEM. */
  readonly ca: Uint8Array;
  readonly cert?: Uint8Array;
  readonly key?: Uint8Array;
  readonly wrap?: {
    readonly kind: 'tls-auth' | 'tls-crypt' | 'tls-crypt-v2';
    readonly key: Uint8Array;
    /** tls-auth: the server's direction, if it has one. */
    readonly serverDirection?: 0 | 1;
    readonly digest?: string;
  };
  /** Mode p2p: nothing is pushed, so the profile says it. Own address first. */
  readonly peerMode?: {
    readonly addresses: readonly { readonly own: Prefix; readonly peer: Ip }[];
    readonly keepalive: { readonly ping: number; readonly pingRestart: number };
  };
  /** The server asks for user name and password. */
  readonly hasLogin: boolean;
  /** Question for the one-time code, when there is one. */
  readonly challenge?: string;
}

/** Certificate text without what stands around its block: openssl writes pages of explanation above it. */
function block(tag: string, pem: Uint8Array): string {
  const text = decodeUtf8(pem);
  const blocks = text.match(/-----BEGIN [^-]+-----[\s\S]*?-----END [^-]+-----/g) ?? [text.trim()];
  return `<${tag}>\n${blocks.join('\n')}\n</${tag}>`;
}

function remoteLine({ host, port, proto }: ExportRemote): string {
  return `remote ${host} ${port} ${proto.startsWith('tcp') ? `${proto}-client` : proto}`;
}

/** IPv4 of 32 bits is a pair; OpenVPN wants an IPv6 prefix of 64 to 124 bits, which routes the subnet into the tunnel. */
function peerLines({ addresses, keepalive }: NonNullable<ExportInput['peerMode']>): string[] {
  const lines = addresses.map(({ own: { ip, bits }, peer }) => {
    const own = formatIp(ip);
    if (ip.length === 16)
      return `ifconfig-ipv6 ${own}/${bits === 128 ? 64 : Math.min(bits, 124)} ${formatIp(peer)}`;
    return bits === 32
      ? `ifconfig ${own} ${formatIp(peer)}`
      : `topology subnet\nifconfig ${own} ${netmask(bits)}`;
  });
  return ['tls-client', ...lines, `keepalive ${keepalive.ping} ${keepalive.pingRestart}`];
}

/** The text of a .ovpn file, lines ended by LF. */
export function exportProfile(input: ExportInput): string {
  const { wrap } = input;
  const lines = [
    `# ${input.peer} at ${input.tunnel}. Keep it secret: it holds a private key.`,
    ...(input.peerMode === undefined ? ['client'] : peerLines(input.peerMode)),
    'dev tun',
    'nobind',
    ...input.remotes.map(remoteLine),
    'remote-cert-tls server',
    `verify-x509-name ${input.serverName} name`,
    `data-ciphers ${input.ciphers.join(':')}`,
    ...(input.tunMtu === 1500 ? [] : [`tun-mtu ${input.tunMtu}`]),
    ...(input.hasLogin ? ['auth-user-pass'] : []),
    ...(input.challenge === undefined ? [] : [`static-challenge "${input.challenge}" 1`]),
    block('ca', input.ca),
    ...(input.cert === undefined ? [] : [block('cert', input.cert)]),
    ...(input.key === undefined ? [] : [block('key', input.key)]),
  ];
  if (wrap?.kind === 'tls-auth') {
    if (wrap.digest !== undefined && wrap.digest !== 'SHA1') lines.push(`auth ${wrap.digest}`);
    if (wrap.serverDirection !== undefined) lines.push(`key-direction ${1 - wrap.serverDirection}`);
  }
  if (wrap !== undefined) lines.push(block(wrap.kind, wrap.key));
  return `${lines.join('\n')}\n`;
}
