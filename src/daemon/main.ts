// SPDX-License-Identifier: Apache-2.0
// The command line.

import { currentHost } from '../host/current.ts';
import type { Host } from '../host/host.ts';
import { check, disconnect, reload, status } from './commands.ts';
import { CONFIG_DIRECTORY, KEY_DIRECTORY, RUN_DIRECTORY } from './configfile.ts';
import { importProfileFile } from './importcommand.ts';
import { run } from './run.ts';
import { VERSION } from './version.ts';

const USAGE = `usage: ovpnd COMMAND
  run TUNNEL [-l]            run one tunnel in the foreground; log to stderr, with -l to syslog
  check                      read the whole configuration, print every error and warning
  status [TUNNEL] [--json]   what runs and who is connected
  disconnect TUNNEL PEER     end one peer's connection
  reload TUNNEL              read the configuration again
  import FILE NAME [-n]      a profile (.ovpn) becomes client section NAME and its key files; with -n only say how
  version
options
  -c DIR   directory of the configuration file 'ovpnd' (default ${CONFIG_DIRECTORY})
  -r DIR   directory of the running tunnels' sockets (default ${RUN_DIRECTORY})
  -k DIR   directory of key files, a folder for each tunnel (default ${KEY_DIRECTORY})
exit status: 0 done, 1 it failed, 64 the command line is wrong
`;

const EXIT_USAGE = 64;

interface CommandLine {
  readonly words: readonly string[];
  readonly flags: ReadonlySet<string>;
  /** Options with a value, by their letter. */
  readonly values: ReadonlyMap<string, string>;
  readonly configDirectory: string;
  readonly runDirectory: string;
  readonly keyDirectory: string;
}

interface Command {
  /** Words after the command's name, at least and at most. */
  readonly words: readonly [number, number];
  /** Flags it takes beside -c, -r and -k. */
  readonly flags?: readonly string[];
  /** Which word, from 0, is the name of a section. */
  readonly section?: number;
  readonly run: (host: Host, line: CommandLine) => number;
}

const SECTION_NAME = /^[A-Za-z0-9_]{1,32}$/;

const COMMANDS: Readonly<Record<string, Command>> = {
  run: {
    words: [1, 1],
    flags: ['-l'],
    section: 0,
    run: (host, { words, flags, configDirectory, runDirectory }) =>
      run(host, { tunnel: words[0]!, configDirectory, runDirectory, toSyslog: flags.has('-l') }),
  },
  check: { words: [0, 0], run: (host, { configDirectory }) => check(host, configDirectory) },
  status: {
    words: [0, 1],
    flags: ['--json'],
    section: 0,
    run: (host, { words, flags, runDirectory }) => status(host, runDirectory, words[0], flags.has('--json')),
  },
  disconnect: {
    words: [2, 2],
    section: 0,
    run: (host, { words, runDirectory }) => disconnect(host, runDirectory, words[0]!, words[1]!),
  },
  reload: {
    words: [1, 1],
    section: 0,
    run: (host, { words, runDirectory }) => reload(host, runDirectory, words[0]!),
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
  version: {
    words: [0, 0],
    run: host => {
      host.print(1, `ovpnd ${VERSION} (${host.runtime})\n`);
      return 0;
    },
  },
};

/** Options that take a value. */
const VALUED: ReadonlySet<string> = new Set(['-c', '-r', '-k']);
/** Options that are there or not. */
const FLAGS: ReadonlySet<string> = new Set(['-l', '-n', '-h', '--help', '--json']);

/** undefined: not to be understood. */
function parseCommandLine(args: readonly string[]): CommandLine | undefined {
  const words: string[] = [];
  const flags = new Set<string>();
  const values = new Map<string, string>();
  for (let i = 0; i < args.length; i++) {
    const word = args[i]!;
    if (VALUED.has(word)) {
      const value = args[++i];
      if (value === undefined || value === '') return undefined;
      values.set(word, value);
    } else if (FLAGS.has(word)) flags.add(word);
    else if (word.startsWith('-')) return undefined;
    else words.push(word);
  }
  return {
    words,
    flags,
    values,
    configDirectory: values.get('-c') ?? CONFIG_DIRECTORY,
    runDirectory: values.get('-r') ?? RUN_DIRECTORY,
    keyDirectory: values.get('-k') ?? KEY_DIRECTORY,
  };
}

function execute(host: Host, line: CommandLine): number | undefined {
  const [name = '', ...words] = line.words;
  const command = Object.hasOwn(COMMANDS, name) ? COMMANDS[name] : undefined;
  if (command === undefined) return undefined;
  const { words: count, flags = [], section } = command;
  if (words.length < count[0] || words.length > count[1]) return undefined;
  for (const flag of line.flags) if (!flags.includes(flag)) return undefined;
  const named = section === undefined ? undefined : words[section];
  if (named !== undefined && !SECTION_NAME.test(named)) return undefined;
  return command.run(host, { ...line, words });
}

function main(host: Host): number {
  const line = parseCommandLine(host.args);
  if (line?.flags.has('-h') || line?.flags.has('--help') || line?.words[0] === 'help') {
    host.print(1, USAGE);
    return 0;
  }
  const code = line === undefined ? undefined : execute(host, line);
  if (code !== undefined) return code;
  host.print(2, USAGE);
  return EXIT_USAGE;
}

const host = currentHost();
host.exit(main(host));
