// SPDX-License-Identifier: Apache-2.0
// The guest itself: what the other files of this folder take for granted.

import { match, ok, rejects, strictEqual } from 'node:assert';
import { accelerator } from './harness/need.ts';
import { type Row, table } from './harness/rows.ts';

const boots: Row = {
  title: 'boots',
  body: async ({ guest }) => {
    console.log(`      ${(await guest.run(['uname', '-r'])).trim()}, ${guest.bootMs} ms, ${accelerator()}`);
  },
};

const commands: Row = {
  title: 'runs commands: output, exit status, signals, input with any bytes',
  body: async ({ guest }) => {
    strictEqual(await guest.sh('echo one; echo two >&2; echo three'), 'one\ntwo\nthree');
    strictEqual((await guest.try(['sh', '-c', 'exit 7'])).code, 7);
    strictEqual((await guest.try(['no-such-command'])).code, 127);
    const sleeper = guest.spawn(['sleep', '60']);
    ok((await sleeper.pid()) > 1);
    strictEqual((await sleeper.stop()).signal, 15);
    const bytes = Uint8Array.from({ length: 100_000 }, (_, i) => (i * 7) & 0xff);
    await guest.write('/tmp/bytes', bytes);
    match(await guest.run(['wc', '-c', '/tmp/bytes']), /^100000 /);
    await rejects(guest.run(['sleep', '60'], { ms: 200 }), /not within 200 ms/);
  },
};

const autoload: Row = {
  title: 'the module loads when its netlink family is asked for, not when a link of its kind is made',
  body: async ({ guest }) => {
    await guest.sh('rmmod ovpn 2>/dev/null || true; ! grep -q "^ovpn " /proc/modules');
    const refused = await guest.try(['ip', 'link', 'add', 'probe0', 'type', 'ovpn']);
    match(refused.output, /Unknown device type/);
    strictEqual((await guest.try(['grep', '^ovpn ', '/proc/modules'])).code, 1);
    match(await guest.run(['genl', 'ctrl', 'get', 'name', 'ovpn']), /Name: ovpn/);
    await guest.sh('grep -q "^ovpn " /proc/modules');
  },
};

table('the guest', 1, [boots, commands, autoload]);
