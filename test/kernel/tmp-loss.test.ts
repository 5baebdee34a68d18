// SPDX-License-Identifier: Apache-2.0
import { SERVER_ADDRESSES, up } from './harness/ends.ts';
import { pingAll } from './harness/ping.ts';
import { Scene } from './harness/scene.ts';
describe('tmp', function () {
  this.timeout(280000);
  for (let k = 0; k < 10; k++) {
    it(`loss ${k}`, async () => {
      await Scene.run(async scene => {
        const { wire, server, client } = await up(scene, { server: 'kernel', client: 'js' }, { family: k % 5 === 4 ? 4 : 6, cipher: 'AES-256-GCM' });
        for (let i = 0; i < 3; i++) {
          const bad = await pingAll(wire.right, SERVER_ADDRESSES).then(() => '', (e: Error) => e.message);
          if (bad !== '') {
            console.log('round', i, bad.replace(/\s+/g, ' ').slice(0, 200));
            console.log((await wire.left.run(['ip', '-s', 'link', 'show', 'ov-home'])));
            console.log((await wire.right.run(['ip', '-s', 'link', 'show', 'ov-office'])));
            console.log(JSON.stringify((await client.ovpnd!.status()).drops), JSON.stringify((await client.ovpnd!.status()).peers[0]));
            console.log(JSON.stringify((await server.ovpnd!.status()).drops), JSON.stringify((await server.ovpnd!.status()).peers[0]));
            console.log(await wire.left.run(['sh', '-c', 'cat /proc/net/snmp6 | grep -v " 0$" | head -60']));
          }
        }
      });
    });
  }
});
