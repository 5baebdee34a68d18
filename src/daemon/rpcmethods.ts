// SPDX-License-Identifier: Apache-2.0
// What the web page can ask the command line for, through rpcd. No method takes a path, none gives a stored private
// key, and each answers what cannot be done with one line for a person.

import { encodeUtf8 } from '../core/bytes.ts';
import type { Host, KeyKind } from '../host/host.ts';
import { isRefusal, type Refusal } from '../pki/authority.ts';
import { OPTIONS, SECTION_TYPES } from '../uci/schema.ts';
import { ask, askBus, type Places } from './commands.ts';
import { readConfigFile } from './configfile.ts';
import { readConfigText } from './configtext.ts';
import { checkEdit, saveEdit, shownSections } from './edit.ts';
import { applyImport, type ImportTarget, planImport } from './import.ts';
import {
  authorityOf,
  enablePeer,
  exportPeer,
  initAuthority,
  type PkiTarget,
  renewAuthority,
  revokePeer,
} from './pki.ts';
import { listed } from './pkicommand.ts';
import { propose } from './propose.ts';
import type { Arguments, SectionChange, Signature } from './rpcarguments.ts';
import { createServer } from './wizard.ts';

/** Where the configuration, the keys and the running tunnels are. */
export interface Ground extends Places {
  readonly configDirectory: string;
  readonly keyDirectory: string;
}

export interface Method {
  readonly args: Signature;
  readonly call: (host: Host, ground: Ground, args: Arguments) => object | Refusal;
}

const NO_PATHS = 'names a file, which a web page cannot give: put its content into the profile';

const text = (args: Arguments, name: string): string => String(args[name] ?? '');
const changesOf = (args: Arguments): readonly SectionChange[] =>
  Array.isArray(args.changes) ? (args.changes as readonly SectionChange[]) : [];
const keyKind = (args: Arguments): KeyKind => (args.kind === 'ed25519' ? 'Ed25519' : 'P-256');
const words = (args: Arguments, name: string): string[] =>
  text(args, name)
    .split(' ')
    .filter(word => word !== '');

function pkiTarget({ configDirectory, keyDirectory }: Ground, args: Arguments): PkiTarget {
  return { tunnel: text(args, 'tunnel'), configDirectory, keyDirectory };
}

/** Has the service take up what was written, as `reload_config` does; where there is none the tunnels are told. */
function announce(host: Host, ground: Ground, packages: readonly string[], tunnels: readonly string[]): void {
  let isHeard = false;
  for (const name of packages) {
    const event = { type: 'config.change', data: { package: name } };
    isHeard = typeof askBus(host, ground, 'service', 'event', event) !== 'string' || isHeard;
  }
  if (!isHeard) for (const tunnel of tunnels) ask(host, ground, tunnel, 'reload', {});
}

function imported(result: ReturnType<typeof applyImport>): object {
  const { verdicts, problems, warnings, asks } = result;
  return { verdicts, problems, warnings, asks };
}

function importTarget({ configDirectory, keyDirectory }: Ground, args: Arguments): ImportTarget {
  const { username, password } = args;
  return {
    name: text(args, 'name'),
    configDirectory,
    keyDirectory,
    isEnabled: args.enabled !== false,
    ...(typeof username === 'string' && { username }),
    ...(typeof password === 'string' && { password }),
  };
}

const IMPORT: Signature = { name: 'section', text: 'profile', username: 'login?', password: 'login?' };
const TUNNEL: Signature = { tunnel: 'section' };

/** What is configured, without anything secret. */
function tunnels(host: Host, ground: Ground): object | Refusal {
  const config = readConfigFile(host, ground.configDirectory);
  const parsed = readConfigText(host, ground.configDirectory);
  if (typeof parsed === 'string') return { refused: parsed };
  const errors = config.problems.filter(({ severity }) => severity === 'error');
  const shown = parsed.parsed.sections
    .filter(({ type, anonymous }) => (type === 'server' || type === 'client') && !anonymous)
    .map(({ type, name, options }) => {
      const tunnel = [...config.servers, ...config.clients].find(known => known.name === name);
      const authority = authorityOf(host, { tunnel: name, ...ground });
      return {
        name,
        role: type,
        enabled: tunnel?.enabled ?? false,
        usable: tunnel !== undefined,
        problems: errors
          .filter(({ section }) => section === name)
          .map(({ option, rule }) => ({ option, rule })),
        has_login: options.has('username') || options.has('auth_user_pass'),
        ...(type === 'server' && {
          authority: !isRefusal(authority.list()),
          can_issue: authority.canIssue,
          warnings: authority.warnings(),
        }),
        ...(tunnel?.role === 'server' && {
          peers: tunnel.peers.map(peer => ({
            name: peer.name,
            common_name: peer.commonName,
            enabled: peer.enabled,
          })),
        }),
      };
    });
  return { tunnels: shown };
}

const SALT = './0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz';

export const METHODS: Readonly<Record<string, Method>> = {
  schema: { args: {}, call: () => ({ sections: SECTION_TYPES, options: OPTIONS }) },
  tunnels: { args: {}, call: tunnels },
  settings: { args: {}, call: shownSections },
  propose: { args: {}, call: (host, ground) => propose(host, ground, ground.configDirectory) },
  check: {
    args: { changes: 'changes?' },
    call: (host, ground, args) => checkEdit(host, ground, changesOf(args)),
  },
  save: {
    args: { changes: 'changes' },
    call: (host, ground, args) => {
      const changes = changesOf(args);
      const edit = saveEdit(host, ground, changes);
      if (isRefusal(edit) || edit.problems.some(({ severity }) => severity === 'error')) return edit;
      const concerned = edit.effects.map(({ tunnel }) => tunnel);
      announce(host, ground, ['ovpnd'], concerned);
      return edit;
    },
  },
  import_plan: {
    args: IMPORT,
    call: (host, ground, args) =>
      imported(planImport(host, importTarget(ground, args), encodeUtf8(text(args, 'text')), () => NO_PATHS)),
  },
  import: {
    args: { ...IMPORT, enabled: 'flag?' },
    call: (host, ground, args) => {
      const target = importTarget(ground, args);
      const result = applyImport(host, target, encodeUtf8(text(args, 'text')), () => NO_PATHS);
      if (result.problems.length === 0) announce(host, ground, ['ovpnd'], [target.name]);
      return imported(result);
    },
  },
  server_create: {
    args: {
      tunnel: 'section',
      address: 'subnet',
      address6: 'subnet?',
      kind: 'keyKind?',
      port: 'port',
      proto: 'proto',
      internet: 'flag',
      lan: 'flag',
      networks: 'words?',
      dns: 'words?',
      firewall: 'flag',
    },
    call: (host, ground, args) => {
      const failure = createServer(host, pkiTarget(ground, args), {
        address: [text(args, 'address'), text(args, 'address6')].filter(item => item !== ''),
        kind: keyKind(args),
        port: Number(args.port),
        proto: args.proto as 'udp' | 'tcp' | 'both',
        internet: args.internet === true,
        lan: args.lan === true,
        networks: words(args, 'networks'),
        dns: words(args, 'dns'),
        firewall: args.firewall === true,
      });
      if (failure !== undefined) return failure;
      announce(host, ground, args.firewall === true ? ['firewall', 'ovpnd'] : ['ovpnd'], []);
      return {};
    },
  },
  pki_init: {
    args: { tunnel: 'section', kind: 'keyKind?' },
    call: (host, ground, args) => {
      const failure = initAuthority(host, pkiTarget(ground, args), keyKind(args));
      if (failure !== undefined) return failure;
      announce(host, ground, ['ovpnd'], [text(args, 'tunnel')]);
      return {};
    },
  },
  pki_list: {
    args: TUNNEL,
    call: (host, ground, args) => {
      const list = authorityOf(host, pkiTarget(ground, args)).list();
      return isRefusal(list) ? list : { certificates: list.map(listed) };
    },
  },
  pki_renew: {
    args: TUNNEL,
    call: (host, ground, args) => {
      const failure = renewAuthority(host, pkiTarget(ground, args));
      if (failure !== undefined) return failure;
      ask(host, ground, text(args, 'tunnel'), 'reload', {});
      return {};
    },
  },
  pki_revoke: {
    args: { ...TUNNEL, peer: 'peer' },
    call: (host, ground, args) => {
      const done = revokePeer(host, pkiTarget(ground, args), text(args, 'peer'));
      if (isRefusal(done)) return done;
      // The list is no part of the configuration: only the tunnel itself can take it up.
      ask(host, ground, text(args, 'tunnel'), 'reload', {});
      return { common_name: done.commonName, count: done.count, disabled: done.isDisabled };
    },
  },
  peer_enable: {
    args: { ...TUNNEL, peer: 'peer', enabled: 'flag' },
    call: (host, ground, args) => {
      const isEnabled = args.enabled === true;
      const failure = enablePeer(host, pkiTarget(ground, args), text(args, 'peer'), isEnabled);
      if (failure !== undefined) return failure;
      announce(host, ground, ['ovpnd'], [text(args, 'tunnel')]);
      return {};
    },
  },
  export: {
    args: { ...TUNNEL, peer: 'peer', remote: 'host', port: 'port?', days: 'days?' },
    call: (host, ground, args) => {
      const { port, days } = args;
      const profile = exportPeer(host, pkiTarget(ground, args), {
        peer: text(args, 'peer'),
        host: text(args, 'remote'),
        ...(typeof port === 'number' && { port }),
        ...(typeof days === 'number' && { days }),
      });
      return typeof profile === 'string' ? { profile } : profile;
    },
  },
  hash_password: {
    args: { password: 'login' },
    call: (host, _, args) => {
      const salt = Array.from(host.random(16), byte => SALT[byte & 63]).join('');
      const hash =
        args.password === '' ? undefined : host.hashPassword(text(args, 'password'), `$6$${salt}$`);
      return hash === undefined ? { refused: 'an empty password cannot be used' } : { hash };
    },
  },
};
