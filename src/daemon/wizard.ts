// SPDX-License-Identifier: Apache-2.0
// A new server in one step: section, authority, keys and, with consent, the firewall's zone. All of it or nothing.

import { formatPrefix, overlaps } from '../core/address.ts';
import { type Failure, type Host, isFailure, type KeyKind } from '../host/host.ts';
import type { Refusal } from '../pki/authority.ts';
import { readConfig } from '../uci/config.ts';
import { parse } from '../uci/parse.ts';
import { byteString } from '../uci/text.ts';
import { addList, addSection, findSection, setOption, write } from '../uci/write.ts';
import {
  byteArray,
  configPath,
  optionOf,
  readConfigText,
  sectionText,
  whileLocked,
  writeConfigText,
} from './configtext.ts';
import { keepsBlockLan } from './material.ts';
import { authorityFiles, makeAuthority, type PkiTarget } from './pki.ts';

export interface ServerWish {
  /** Own addresses with the length of their subnets: one, or one of each family. */
  readonly address: readonly string[];
  readonly kind: KeyKind;
  readonly port: number;
  readonly proto: 'udp' | 'tcp' | 'both';
  /** All traffic of clients goes through here. */
  readonly internet: boolean;
  /** Clients reach zone lan. */
  readonly lan: boolean;
  /** Networks behind this router, for the clients' routes. */
  readonly networks: readonly string[];
  readonly dns: readonly string[];
  /** Consent to the firewall: the port is opened, and a zone says what clients may reach. */
  readonly firewall: boolean;
}

const MODE = 0o644;
/** As the firewall's scripts have it. */
const ZONE_NAME_MAX = 11;

function optionsOf(host: Host, wish: ServerWish): Map<string, string | readonly string[]> {
  const proto = wish.proto === 'both' ? ['udp', 'tcp'] : [wish.proto];
  return new Map<string, string | readonly string[]>([
    ['enabled', '1'],
    ['port', String(wish.port)],
    ['proto', proto],
    ['address', wish.address],
    ['open_firewall', wish.firewall ? '1' : '0'],
    // The zone alone lets nobody there; this also holds when another one gets the device.
    ...(wish.firewall && !wish.lan && keepsBlockLan(host) ? [['block_lan', '1'] as const] : []),
    ...(wish.internet ? [['redirect_gateway', '1'] as const] : []),
    ...(wish.lan && wish.networks.length > 0 ? [['push_route', wish.networks] as const] : []),
    ...(wish.dns.length > 0 ? [['push_dns', wish.dns] as const] : []),
  ]);
}

interface Wall {
  readonly before: string;
  readonly after: string;
}

/** The firewall's file with a zone for the tunnel's device; a string says why not. */
function firewallWith(host: Host, path: string, name: string, wish: ServerWish): Wall | string {
  const bytes = host.files.read(path);
  if (isFailure(bytes)) return `${path} cannot be read: ${bytes.text}`;
  const old = parse(bytes);
  if (old.error !== undefined) return `${path}:${old.error.line}: ${old.error.text}`;
  const zones = old.sections.filter(({ type }) => type === 'zone').map(zone => optionOf(zone, 'name'));
  const base = `vpn_${name}`.slice(0, ZONE_NAME_MAX);
  const names = [
    base,
    ...Array.from({ length: 90 }, (_, i) => `${base.slice(0, ZONE_NAME_MAX - 2)}${i + 10}`),
  ];
  const zoneName = names.find(text => !zones.includes(text));
  if (zoneName === undefined) return `${path} has too many zones`;
  const added = parse(new Uint8Array(0));
  const zone = addSection(added, 'zone');
  setOption(zone, 'name', zoneName);
  addList(zone, 'device', `ov-${name}`.slice(0, 15));
  for (const [option, value] of [
    ['input', 'ACCEPT'],
    ['output', 'ACCEPT'],
    ['forward', 'REJECT'],
  ] as const) {
    setOption(zone, option, value);
  }
  const reach = [...(wish.lan ? ['lan'] : []), ...(wish.internet ? ['wan'] : [])];
  for (const dest of reach) {
    if (!zones.includes(dest)) return `${path} has no zone '${dest}'`;
    const forwarding = addSection(added, 'forwarding');
    setOption(forwarding, 'src', zoneName);
    setOption(forwarding, 'dest', dest);
  }
  const before = byteString(bytes);
  const end = before === '' || before.endsWith('\n') ? '' : '\n';
  return { before, after: `${before}${end}${byteString(write(added))}` };
}

/**
 * What `ovpnd check` would say of the section with the files of an authority that is yet to be made; and no new
 * server may take addresses that another one or a pushed network has.
 */
function ruleAgainst(host: Host, path: string, text: string, name: string): string | undefined {
  const config = readConfig(path, byteArray(text), { hasAesInstructions: host.hasAesInstructions });
  const wrong = config.problems.find(problem => problem.severity === 'error' && problem.section === name);
  if (wrong !== undefined) {
    // A form has no lines and one server: as a sentence.
    return [wrong.option, wrong.value, wrong.rule].filter(part => part !== undefined).join(' ');
  }
  const own = config.servers.find(server => server.name === name)?.address ?? [];
  for (const { name: other, address, pushRoute } of config.servers) {
    const taken = [...pushRoute, ...(other === name ? [] : address)];
    const both = taken.find(prefix => own.some(mine => overlaps(mine, prefix)));
    if (both !== undefined)
      return `the subnet overlaps ${formatPrefix(both)} of server '${other}'; choose another`;
  }
  return undefined;
}

/** undefined: done. */
export function createServer(host: Host, target: PkiTarget, wish: ServerWish): Refusal | undefined {
  const { configDirectory } = target;
  const create = () => makeServer(host, target, wish);
  return whileLocked(host, configPath(configDirectory), () =>
    wish.firewall ? whileLocked(host, `${configDirectory}/firewall`, create) : create(),
  );
}

function makeServer(host: Host, target: PkiTarget, wish: ServerWish): Refusal | undefined {
  const name = target.tunnel;
  const config = readConfigText(host, target.configDirectory);
  if (typeof config === 'string') return { refused: config };
  if (findSection(config.parsed, name) !== undefined) {
    return { refused: `there is a section '${name}' already; choose another name` };
  }
  const options = optionsOf(host, wish);
  const complete = new Map([...options, ...authorityFiles(target)]);
  const wrong = ruleAgainst(
    host,
    config.path,
    `${config.text}${sectionText('server', name, complete)}`,
    name,
  );
  if (wrong !== undefined) return { refused: wrong };
  const wallPath = `${target.configDirectory}/firewall`;
  const wall = wish.firewall ? firewallWith(host, wallPath, name, wish) : undefined;
  if (typeof wall === 'string') return { refused: wall };
  const withServer = { ...config, text: `${config.text}${sectionText('server', name, options)}` };
  // The firewall first: it can be put back, an authority once made stays.
  const failure =
    refusedBy(wall && host.files.write(wallPath, byteArray(wall.after), MODE), wallPath) ??
    refusedText(writeConfigText(host, config, withServer.text)) ??
    makeAuthority(host, target, wish.kind);
  if (failure === undefined) return undefined;
  writeConfigText(host, withServer, config.text);
  if (wall !== undefined) host.files.write(wallPath, byteArray(wall.before), MODE);
  return failure;
}

const refusedText = (text: string | undefined): Refusal | undefined =>
  text === undefined ? undefined : { refused: text };

const refusedBy = (failure: Failure | undefined, path: string): Refusal | undefined =>
  failure && { refused: `${path}: ${failure.text}` };
