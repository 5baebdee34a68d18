// SPDX-License-Identifier: Apache-2.0
// The command line.

import { printable } from '../core/text.ts';
import { currentHost } from '../host/current.ts';
import type { Host } from '../host/host.ts';
import { COMMON, type CommandLine, HELP, notKnown, parseCommandLine } from './commandline.ts';
import { check, disconnect, reload, status, unblock } from './commands.ts';
import { CONFIG_DIRECTORY, KEY_DIRECTORY, RUN_DIRECTORY, UBUS_SOCKET } from './configfile.ts';
import { genkeyCommand } from './genkey.ts';
import { importProfileFile } from './importcommand.ts';
import { createLog } from './log.ts';
import { migrate } from './migrate.ts';
import type { PkiTarget } from './pki.ts';
import { exportCommand, pkiInit, pkiIssue, pkiList, pkiRenew, pkiRevoke } from './pkicommand.ts';
import { rpcdCommand } from './rpcd.ts';
import { run } from './run.ts';
import { VERSION } from './version.ts';

const USAGE = `usage: ovpnd COMMAND
  run TUNNEL [-l]            run one tunnel in the foreground; log to stderr, with -l to syslog
  check                      read the whole configuration, print every error and warning
  status [TUNNEL] [--json]   what runs and who is connected
  disconnect TUNNEL PEER     end one peer's connection
  reload TUNNEL              read the configuration again
  unblock TUNNEL             take away the kill switch of a tunnel that crashed and shall not run again
  import FILE NAME [-n]      a profile (.ovpn) becomes client section NAME and its key files; with -n only say how
  genkey tls-crypt|tls-auth|tls-crypt-v2-server [-o FILE]
  genkey tls-crypt-v2-client SERVERKEY [METADATA] [-o FILE]
                             print a new key for the control channel; METADATA in base64
  migrate [-l]               take over what OpenVPN is configured for on this router, once; log as for run
  pki init TUNNEL [--key ec|ed25519]   make a certificate authority for a server
  pki issue TUNNEL PEER [--days N]     certificate and key files for a peer
  pki revoke TUNNEL PEER     end a peer's access
  pki renew TUNNEL           a new certificate for the server, and for the authority in its last year
  pki list TUNNEL [--json]   what was issued
  export TUNNEL PEER --remote HOST [--port N] [--days N] [-o FILE]
                             print a complete profile (.ovpn) for a peer, with a fresh certificate and key
  rpcd list|call METHOD      what the web pages ask through rpcd: arguments on standard input, both as JSON
  version
options
  -c DIR   directory of the configuration file 'ovpnd' (default ${CONFIG_DIRECTORY})
  -r DIR   directory of the running tunnels' sockets (default ${RUN_DIRECTORY})
  -k DIR   directory of key files, a folder for each tunnel (default ${KEY_DIRECTORY})
  -u PATH  socket of ubusd (default ${UBUS_SOCKET})
exit status: 0 done, 1 it failed, 64 the command line is wrong
`;

const EXIT_USAGE = 64;

interface Command {
  /** Words after the command's name, at least and at most. */
  readonly words: readonly [number, number];
  /** Flags it takes beside -c, -r, -k and -u. */
  readonly flags?: readonly string[];
  /** Options with a value that it takes beside these. */
  readonly values?: readonly string[];
  /** Which word, from 0, is the name of a section. */
  readonly section?: number;
  /** undefined: the command line is wrong. */
  readonly run: (host: Host, line: CommandLine) => number | undefined;
}

/** A number from 1 to `max`; undefined: not given; null: something else. */
function numberOf({ values }: CommandLine, name: string, max: number): number | undefined | null {
  const text = values.get(name);
  if (text === undefined) return undefined;
  const value = /^[1-9][0-9]{0,5}$/.test(text) ? Number(text) : 0;
  return value >= 1 && value <= max ? value : null;
}

function pkiTarget({ words, configDirectory, keyDirectory }: CommandLine, section: number): PkiTarget {
  return { tunnel: words[section]!, configDirectory, keyDirectory };
}

const SECTION_NAME = /^[A-Za-z0-9_]{1,32}$/;

const COMMANDS: Readonly<Record<string, Command>> = {
  run: {
    words: [1, 1],
    flags: ['-l'],
    section: 0,
    run: (host, { words, flags, configDirectory, runDirectory, ubusSocket }) =>
      run(host, { tunnel: words[0]!, configDirectory, runDirectory, ubusSocket, toSyslog: flags.has('-l') }),
  },
  check: { words: [0, 0], run: (host, { configDirectory }) => check(host, configDirectory) },
  status: {
    words: [0, 1],
    flags: ['--json'],
    section: 0,
    run: (host, line) => status(host, line, line.words[0], line.flags.has('--json')),
  },
  disconnect: {
    words: [2, 2],
    section: 0,
    run: (host, line) => disconnect(host, line, line.words[0]!, line.words[1]!),
  },
  reload: {
    words: [1, 1],
    section: 0,
    run: (host, line) => reload(host, line, line.words[0]!),
  },
  unblock: {
    words: [1, 1],
    section: 0,
    run: (host, line) => unblock(host, line, line.words[0]!),
  },
  import: {
    words: [2, 2],
    flags: ['-n'],
    section: 1,
    run: (host, { words, flags, configDirectory, keyDirectory }) => {
      const target = { name: words[1]!, configDirectory, keyDirectory };
      return importProfileFile(host, words[0]!, target, flags.has('-n'));
    },
  },
  genkey: {
    words: [1, 3],
    values: ['-o'],
    run: (host, { words, values }) => genkeyCommand(host, words, values.get('-o')),
  },
  migrate: {
    words: [0, 0],
    flags: ['-l'],
    run: (host, { flags, configDirectory, keyDirectory }) =>
      migrate(host, { configDirectory, keyDirectory }, createLog(host, 'migrate', 'info', flags.has('-l'))),
  },
  export: {
    words: [2, 2],
    values: ['--remote', '--port', '--days', '-o'],
    section: 0,
    run: (host, line) => {
      const [port, days] = [numberOf(line, '--port', 65_535), numberOf(line, '--days', 36_500)];
      const remote = line.values.get('--remote');
      if (remote === undefined || port === null || days === null) return undefined;
      const request = { peer: line.words[1]!, host: remote, ...(port && { port }), ...(days && { days }) };
      return exportCommand(host, pkiTarget(line, 0), request, line.values.get('-o'));
    },
  },
  pki: {
    words: [2, 3],
    flags: ['--json'],
    values: ['--key', '--days'],
    section: 1,
    run: (host, line) => {
      const [verb, , peer] = line.words;
      const target = pkiTarget(line, 1);
      const days = numberOf(line, '--days', 36_500);
      if (days === null) return undefined;
      if (peer === undefined) {
        if (verb === 'init') return pkiInit(host, target, line.values.get('--key') ?? 'ec');
        if (verb === 'renew') return pkiRenew(host, target, line);
        return verb === 'list' ? pkiList(host, target, line.flags.has('--json')) : undefined;
      }
      if (verb === 'issue') return pkiIssue(host, target, peer, days);
      return verb === 'revoke' ? pkiRevoke(host, target, line, peer) : undefined;
    },
  },
  rpcd: { words: [1, 2], run: (host, line) => rpcdCommand(host, line, line.words) },
  version: {
    words: [0, 0],
    run: host => {
      host.print(1, `ovpnd ${VERSION} (${host.runtime})\n`);
      return 0;
    },
  },
};

/** What USAGE says of one command. */
function usageOf(name: string): string {
  const lines = USAGE.slice(0, USAGE.indexOf('\noptions\n')).split('\n');
  const isOf = (i: number): boolean =>
    `${lines[i]} `.startsWith(`  ${name} `) || (/^ {12}/.test(lines[i]!) && isOf(i - 1));
  const own = lines
    .filter((_, i) => isOf(i))
    .map(line => line.replace(/^ {2}/, /^ {12}/.test(line) ? '        ' : '  ovpnd '));
  return ['usage:', ...own].join('\n');
}

/** The exit code, or what is wrong with the command line. */
function execute(host: Host, line: CommandLine): number | string {
  const [name = '', ...words] = line.words;
  const command = Object.hasOwn(COMMANDS, name) ? COMMANDS[name] : undefined;
  if (command === undefined) return notKnown('command', name, Object.keys(COMMANDS));
  const { words: count, flags = [], values = [], section } = command;
  const use = usageOf(name);
  const known = [...COMMON, ...flags, ...values];
  for (const given of [...line.flags, ...line.values.keys()])
    if (!known.includes(given)) return `${notKnown(`option of ${name}`, given, known)}\n${use}`;
  if (words.length < count[0] || words.length > count[1]) return use;
  const named = section === undefined ? undefined : words[section];
  if (named !== undefined && !SECTION_NAME.test(named))
    return `'${printable(named)}' cannot be the name of a section: that is 1 to 32 letters, digits or _`;
  return command.run(host, { ...line, words }) ?? use;
}

function main(host: Host): number {
  const valued = Object.values(COMMANDS).flatMap(({ values = [] }) => values);
  const flags = Object.values(COMMANDS).flatMap(command => command.flags ?? []);
  const line = parseCommandLine(host.args, [...COMMON, ...valued], [...HELP, ...flags]);
  const isHelp =
    typeof line !== 'string' && (line.words[0] === 'help' || HELP.some(flag => line.flags.has(flag)));
  if (isHelp) {
    host.print(1, USAGE);
    return 0;
  }
  const result = typeof line === 'string' ? line : execute(host, line);
  if (typeof result === 'number') return result;
  host.print(
    2,
    host.args.length === 0 ? USAGE : `${result.startsWith('usage:') ? '' : 'ovpnd: '}${result}\n`,
  );
  return EXIT_USAGE;
}

const host = currentHost();
host.exit(main(host));
