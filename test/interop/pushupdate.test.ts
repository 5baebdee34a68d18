// SPDX-License-Identifier: Apache-2.0
// Options that change while a connection stands, with OpenVPN 2.7 as the other end: its server tells them from the
// management interface, ours at a reload. No session ends over it, and those who cannot be told are left alone.

import { match, ok, strictEqual } from 'node:assert';
import { connect } from 'node:net';
import { join } from 'node:path';
import { type Options, writeUci } from './harness/ovpnd.ts';
import { reach, undisturbed } from './harness/ping.ts';
import { pki } from './harness/pki.ts';
import { type Row, table } from './harness/rows.ts';
import {
  type Ends,
  runtimesOf,
  SERVER4,
  serverSections,
  startClient,
  startServer,
} from './harness/tunnel.ts';
import { PATIENCE_MS, until } from './harness/wait.ts';
import { describeEnds } from './harness/works.ts';

const AGREEMENT = { wrap: 'tls-crypt' } as const;

/** One command to OpenVPN's management interface; its answer. */
function manage(path: string, command: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = connect(path);
    let text = '';
    socket.on('error', reject);
    socket.on('data', data => {
      text += data.toString();
      const answer = /^(SUCCESS|ERROR):.*/m.exec(text);
      if (answer === null) return;
      socket.end();
      resolve(answer[0]);
    });
    socket.write(`${command}\n`);
  });
}

const fromStock: Row = {
  title: 'openvpn 2.7 server, ovpnd client: routes, name servers and MTU change without a reconnect',
  runtimes: ['quickjs', 'openvpn-2.7'],
  body: async world => {
    const wire = await world.pair();
    const socket = join(world.dir, 'management');
    const lines = [
      `management ${socket} unix`,
      'push "route 198.51.100.0 255.255.255.0"',
      'push "dhcp-option DNS 10.8.0.1"',
    ];
    const keys = await pki();
    await startServer(world, wire.left, keys, 'openvpn-2.7', AGREEMENT, { lines });
    const options = { pull_dns: '1', connect_retry: '1 1' };
    const client = startClient(world, wire, keys, 'quickjs', AGREEMENT, { options });
    await reach(world, wire.right, SERVER4);
    const routes = () => wire.right.ip(`route show dev ${client.device}`);
    const push = async (text: string) =>
      strictEqual(await manage(socket, `push-update-broad "${text}"`), 'SUCCESS: 1 client(s) updated');
    match(await routes(), /^198\.51\.100\.0\/24 /m);

    await undisturbed(wire.right, SERVER4, async () => {
      await push(
        'route 203.0.113.0 255.255.255.0, route 192.0.2.0 255.255.255.0,-dhcp-option,dns server 0 address 10.8.0.7,?ping 3',
      );
      await until('its routes are new', PATIENCE_MS, async () =>
        /^203\.0\.113\.0\/24 /m.test(await routes()),
      );
      match(await routes(), /^192\.0\.2\.0\/24 /m);
      ok(!(await routes()).includes('198.51.100'));
      strictEqual(String((await client.ovpnd!.status()).dns), '10.8.0.7');

      await push('-route,tun-mtu 1400');
      await until('they are gone', PATIENCE_MS, async () => !/^203\.0\.113\./m.test(await routes()));
      match(await wire.right.ip(`link show dev ${client.device}`), /mtu 1400 /);
    });
    strictEqual(client.process.count(/office: info: connected/), 1);

    await push('cipher AES-128-GCM');
    await client.process.line(/push update: 'cipher' cannot change; next attempt/, PATIENCE_MS);
    await until('it is back', PATIENCE_MS, () => client.process.count(/office: info: connected/) === 2);
    await reach(world, wire.right, SERVER4);
  },
};

const BEFORE: Options = { push_route: ['198.51.100.0/24'], push_dns: ['10.8.0.1'] };
/** More than one message holds; what a 2.7 server may be told in one command never is. */
const MANY = Array.from({ length: 60 }, (_, i) => `172.16.${i}.0/24`);
const AFTER: Options = { push_route: ['203.0.113.0/24', ...MANY] };

function fromOurs(ends: Ends, isTold: boolean): Row {
  return {
    title: `${describeEnds(ends)}: a reload changes what is pushed, ${isTold ? 'and it is told' : 'which it learns later'}`,
    runtimes: runtimesOf(ends),
    body: async world => {
      const keys = await pki();
      const wire = await world.pair();
      const server = await startServer(world, wire.left, keys, ends.server, AGREEMENT, { options: BEFORE });
      const client = startClient(world, wire, keys, ends.client, AGREEMENT);
      await reach(world, wire.right, SERVER4);
      // 2.7 makes its device anew.
      const routes = () => wire.right.ip(`route show dev ${client.device}`).catch(() => '');
      await until('its route is there', PATIENCE_MS, async () =>
        /^198\.51\.100\.0\/24 /m.test(await routes()),
      );
      writeUci(server.ovpnd!.dir, serverSections(keys, AGREEMENT, { options: AFTER }));
      strictEqual((await server.ovpnd!.ask('reload', 'home')).code, 0);
      await server.process.line(
        isTold ? /1 peers told, 0 learn/ : /0 peers told, 1 learn it when they connect again/,
      );
      if (isTold) {
        await until('its routes are new', PATIENCE_MS, async () =>
          /^203\.0\.113\.0\/24 /m.test(await routes()),
        );
        await until(
          'and all of them',
          PATIENCE_MS,
          async () => (await routes()).match(/^172\.16\./gm)?.length === MANY.length,
        );
        ok(!(await routes()).includes('198.51.100'));
      }
      await reach(world, wire.right, SERVER4);
      strictEqual(server.process.count(/ connected from /), 1);
    },
  };
}

table('PUSH_UPDATE', { atOnce: 4 }, [
  fromStock,
  fromOurs({ server: 'quickjs', client: 'openvpn-2.7' }, true),
  fromOurs({ server: 'quickjs', client: 'quickjs' }, true),
  fromOurs({ server: 'quickjs', client: 'openvpn' }, false),
]);
