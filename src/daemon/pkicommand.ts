// SPDX-License-Identifier: Apache-2.0
// `ovpnd pki` and `ovpnd export`: the words and the printing.

import type { Host, KeyKind } from '../host/host.ts';
import { describe, isFailure } from '../host/host.ts';
import { CA_DAYS, type Issued, isRefusal, type Refusal } from '../pki/authority.ts';
import { ask, type Places } from './commands.ts';
import {
  authorityOf,
  type ExportRequest,
  exportPeer,
  initAuthority,
  issueToPeer,
  type PkiTarget,
  renewAuthority,
  revokePeer,
} from './pki.ts';

function complain(host: Host, { refused }: Refusal): number {
  host.print(2, `ovpnd: ${refused}\n`);
  return 1;
}

export function pkiInit(host: Host, target: PkiTarget, kind: string): number | undefined {
  const kinds: Readonly<Record<string, KeyKind>> = { ec: 'P-256', ed25519: 'Ed25519' };
  if (!Object.hasOwn(kinds, kind)) return undefined;
  const failure = initAuthority(host, target, kinds[kind]!);
  if (failure !== undefined) return complain(host, failure);
  const folder = `${target.keyDirectory}/${target.tunnel}`;
  host.print(
    1,
    `authority of '${target.tunnel}' made in ${folder}, good for ${CA_DAYS / 365} years; its files are in the section now\n` +
      `keep a copy of ${folder}/ca.key elsewhere: whoever has it can let anybody in\n`,
  );
  return 0;
}

/** Issues, and keeps the key: for a peer that takes files rather than a profile. */
export function pkiIssue(host: Host, target: PkiTarget, peer: string, days: number | undefined): number {
  const identity = issueToPeer(host, target, peer, days);
  if (isRefusal(identity)) return complain(host, identity);
  const folder = `${target.keyDirectory}/${target.tunnel}/peers`;
  const path = `${folder}/${identity.info.commonName.replace(/[^A-Za-z0-9_.@-]/g, '_')}`;
  const failure =
    host.files.makeDirectory(folder, 0o700) ??
    host.files.write(`${path}.key`, identity.key, 0o600) ??
    host.files.write(`${path}.crt`, identity.certificate, 0o644);
  identity.key.fill(0);
  if (failure !== undefined) return complain(host, { refused: `${path}: ${describe(failure)}` });
  host.print(
    1,
    `${path}.crt and ${path}.key: '${identity.info.commonName}' until ${day(identity.info.notAfterS)}\n`,
  );
  return 0;
}

/** Has the tunnel, if it runs, read its files again. */
function tellTunnel(host: Host, places: Places, tunnel: string): void {
  ask(host, places, tunnel, 'reload', {});
}

export function pkiRevoke(host: Host, target: PkiTarget, places: Places, peer: string): number {
  const done = revokePeer(host, target, peer);
  if (isRefusal(done)) return complain(host, done);
  const text = done.isDisabled
    ? `the authority's key is not here: peer '${done.commonName}' is disabled instead`
    : `${done.count} certificate${done.count === 1 ? '' : 's'} of '${done.commonName}' revoked`;
  tellTunnel(host, places, target.tunnel);
  host.print(1, `${text}\n`);
  return 0;
}

export function pkiRenew(host: Host, target: PkiTarget, places: Places): number {
  const failure = renewAuthority(host, target);
  if (failure !== undefined) return complain(host, failure);
  tellTunnel(host, places, target.tunnel);
  host.print(
    1,
    `the server of '${target.tunnel}' has a new certificate and key; who is connected stays so\n`,
  );
  return 0;
}

export function pkiList(host: Host, target: PkiTarget, asJson: boolean): number {
  const list = authorityOf(host, target).list();
  if (isRefusal(list)) return complain(host, list);
  if (asJson) host.print(1, `${JSON.stringify(list.map(listed), undefined, 2)}\n`);
  else {
    const rows = [['NAME', 'STATE', 'UNTIL', 'SERIAL'], ...list.map(item => row(item))];
    const widths = [0, 1, 2].map(column => Math.max(...rows.map(cells => cells[column]!.length)));
    for (const cells of rows) {
      host.print(1, `${cells.map((cell, i) => cell.padEnd(widths[i] ?? 0)).join('  ')}\n`);
    }
  }
  return 0;
}

/** As status and the web page write it. */
export function listed({ commonName, state, notAfterS, serial, isDue }: Issued): object {
  return { common_name: commonName, state, not_after: notAfterS, serial, due: isDue };
}

function row({ commonName, state, notAfterS, serial, isDue }: Issued): string[] {
  return [commonName, isDue ? `${state}, renew it` : state, day(notAfterS), serial];
}

/** `2029-03-01`. */
function day(seconds: number): string {
  return new Date(seconds * 1000).toISOString().slice(0, 10);
}

/** Prints a profile, or writes it to a file that only its owner can read. */
export function exportCommand(
  host: Host,
  target: PkiTarget,
  request: ExportRequest,
  file: string | undefined,
): number {
  const text = exportPeer(host, target, request);
  if (typeof text !== 'string') return complain(host, text);
  if (file === undefined) {
    host.print(1, text);
    return 0;
  }
  const bytes = Uint8Array.from(text, character => character.charCodeAt(0));
  const failure = host.files.write(file, bytes, 0o600);
  if (isFailure(failure)) return complain(host, { refused: describe(failure) });
  return 0;
}
