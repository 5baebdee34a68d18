// SPDX-License-Identifier: Apache-2.0
// The command line.

import { currentHost } from '../host/current.ts';
import type { Host } from '../host/host.ts';
import { check, disconnect, reload, status } from './commands.ts';
import { CONFIG_DIRECTORY, RUN_DIRECTORY } from './configfile.ts';
import { run } from './run.ts';
import { VERSION } from './version.ts';

const USAGE = `usage: ovpnd COMMAND
  run TUNNEL [-l]            run one tunnel in the foreground; log to stderr, with -l to syslog
  check                      read the whole configuration, print every error and warning
  status [TUNNEL] [--json]   what runs and who is connected
  disconnect TUNNEL PEER     end one peer's connection
  reload TUNNEL              read the configuration again
  version
options
  -c DIR   directory of the configuration file 'ovpnd' (default ${CONFIG_DIRECTORY})
  -r DIR   directory of the running tunnels' sockets (default ${RUN_DIRECTORY})
exit status: 0 done, 1 it failed, 64 the command line is wrong
`;

const EXIT_USAGE = 64;

interface CommandLine {
  readonly words: readonly string[];
  readonly flags: ReadonlySet<string>;
  readonly configDirectory: string;
  readonly runDirectory: string;
}

/** undefined: not to be understood. */
function parseCommandLine(args: readonly string[]): CommandLine | undefined {
  const words: string[] = [];
  const flags = new Set<string>();
  const directories = { '-c': CONFIG_DIRECTORY, '-r': RUN_DIRECTORY };
  for (let i = 0; i < args.length; i++) {
    const word = args[i]!;
    if (word === '-c' || word === '-r') {
      const value = args[++i];
      if (value === undefined || value === '') return undefined;
      directories[word] = value;
    } else if (word === '-l' || word === '--json' || word === '-h' || word === '--help') flags.add(word);
    else if (word.startsWith('-')) return undefined;
    else words.push(word);
  }
  return { words, flags, configDirectory: directories['-c'], runDirectory: directories['-r'] };
}

const TUNNEL_NAME = /^[A-Za-z0-9_]{1,32}$/;

function execute(host: Host, line: CommandLine): number | undefined {
  const { words, flags, configDirectory, runDirectory } = line;
  const [command, tunnel, peer] = words;
  const count = words.length;
  const allowed = command === 'run' ? '-l' : command === 'status' ? '--json' : '';
  for (const flag of flags) if (flag !== allowed) return undefined;
  if (tunnel !== undefined && !TUNNEL_NAME.test(tunnel)) return undefined;
  if (command === 'run' && count === 2) {
    return run(host, { tunnel: tunnel!, configDirectory, runDirectory, toSyslog: flags.has('-l') });
  }
  if (command === 'check' && count === 1) return check(host, configDirectory);
  if (command === 'status' && count <= 2) return status(host, runDirectory, tunnel, flags.has('--json'));
  if (command === 'disconnect' && count === 3) return disconnect(host, runDirectory, tunnel!, peer!);
  if (command === 'reload' && count === 2) return reload(host, runDirectory, tunnel!);
  if (command === 'version' && count === 1) {
    host.print(1, `ovpnd ${VERSION} (${host.runtime})\n`);
    return 0;
  }
  return undefined;
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
