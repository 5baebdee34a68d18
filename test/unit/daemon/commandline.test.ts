// SPDX-License-Identifier: Apache-2.0
// What a person is told who mistyped something, or whose machine lacks something.

import { deepEqual, equal } from 'node:assert/strict';
import { notKnown, parseCommandLine } from '../../../src/daemon/commandline.ts';
import { listenProblem, tunProblem } from '../../../src/daemon/failures.ts';
import type { Failure } from '../../../src/host/host.ts';
import type { ServerConfig } from '../../../src/uci/config.ts';

const parse = (...args: string[]) => parseCommandLine(args, ['-c', '--days'], ['-l', '--json']);

describe('the command line', () => {
  it('options stand anywhere, with their values', () => {
    const line = parse('-c', '/x', 'run', '-l', 'home', '--days', '7');
    if (typeof line === 'string') throw new Error(line);
    deepEqual([line.words, [...line.flags], line.configDirectory], [['run', 'home'], ['-l'], '/x']);
    deepEqual(line.values.get('--days'), '7');
  });

  it('says which word is wrong, and what was meant', () => {
    equal(parse('status', '--jsn'), "there is no option '--jsn'; did you mean --json?");
    equal(parse('run', 'home', '-c'), 'option -c needs a value');
    equal(parse('run', 'home', '-c', ''), 'option -c needs a value');
    equal(parse('--\x1b[2J'), "there is no option '--\\x1b[2J'; ovpnd --help lists all");
    equal(notKnown('command', 'chek', ['run', 'check']), "there is no command 'chek'; did you mean check?");
  });
});

function failure(code: string, text: string): Failure {
  return { failed: true, call: 'open', errno: 1, code, text } as Failure;
}

describe('what the kernel refuses', () => {
  const config = { port: 443, local: new Uint8Array([192, 0, 2, 1]), bindDevice: 'wan0' } as ServerConfig;

  it('names what can be done about it', () => {
    equal(
      listenProblem('tcp', config, failure('EADDRINUSE', 'Address already in use')),
      'cannot listen on tcp port 443 of 192.0.2.1: Address already in use ' +
        '(another program, perhaps OpenVPN or another tunnel, has the port)',
    );
    equal(
      listenProblem('udp', config, failure('ENODEV', 'No such device')),
      'cannot listen on udp port 443 of 192.0.2.1: No such device ' +
        '(there is no device wan0, which option bind_device names)',
    );
    equal(
      tunProblem('ov-home', failure('EBUSY', 'Device or resource busy')),
      'open: Device or resource busy (something else has a device of this name; option device chooses another)',
    );
  });

  it('and nothing where nothing is known', () => {
    equal(tunProblem('ov-home', failure('EIO', 'I/O error')), 'open: I/O error');
  });
});
