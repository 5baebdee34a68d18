// SPDX-License-Identifier: Apache-2.0
// A process with a small ubusd and a service on it that knows one user: anna, hunter2. Its word is the socket's path.

import { currentHost } from '../../../src/host/current.ts';
import { createBus } from '../../../src/ubus/bus.ts';
import { FakeUbusd } from '../../shim/fakeubusd.ts';

const path = process.argv[2]!;
const host = currentHost();
new FakeUbusd(host, path);
const bus = createBus({
  loop: host.loop,
  monotonicMs: () => host.monotonicMs(),
  connect: () => host.connectUnix(path),
  report: () => undefined,
});
bus.serve({
  path: 'radius.login',
  methods: {
    check: {
      args: { tunnel: 'string', username: 'string', password: 'string', address: 'string' },
      call: args => {
        console.log(`asked ${args.username} ${args.address}`);
        return { accepted: args.username === 'anna' && args.password === 'hunter2' };
      },
    },
  },
});
console.log('serving');
host.loop.run();
