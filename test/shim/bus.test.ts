// SPDX-License-Identifier: Apache-2.0
// The connection to ubusd over real sockets: against the small one of the tests, and against the real one where
// UBUSD names it or it is in PATH.

import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync, rmSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { type Bus, createBus } from '../../src/ubus/bus.ts';
import { isUbusError } from '../../src/ubus/client.ts';
import { encodeMessage, MESSAGE_TYPES, STATUS } from '../../src/ubus/message.ts';
import type { ServedObject } from '../../src/ubus/server.ts';
import { FakeUbusd } from './fakeubusd.ts';
import { good, newHost, temporary } from './support.ts';

const host = newHost();
const { loop } = host;

/** Runs the loop until `isTrue`; the machine may be slow, so the limit is generous. */
function until(isTrue: () => boolean, what: string, limitMs = 20_000): void {
  const end = host.monotonicMs() + limitMs;
  while (!isTrue()) {
    assert.ok(host.monotonicMs() < end, `never: ${what}`);
    loop.at(host.monotonicMs() + 5, () => loop.stop());
    loop.run();
  }
}

interface Daemon {
  stop(): void;
}

function realUbusd(): string | undefined {
  const named = process.env.UBUSD;
  if (named !== undefined) return named;
  const folders = [...(process.env.PATH ?? '').split(delimiter), '/sbin', '/usr/sbin'];
  return folders.map(folder => join(folder, 'ubusd')).find(existsSync);
}

function startReal(program: string, path: string): Daemon {
  const child: ChildProcess = spawn(program, ['-s', path], { stdio: 'ignore' });
  return {
    stop: () => {
      child.kill('SIGKILL');
      rmSync(path, { force: true });
    },
  };
}

const real = realUbusd();
const KINDS: Record<string, (path: string) => Daemon> = {
  'a small ubusd': path => {
    const fake = new FakeUbusd(host, path);
    return { stop: () => fake.close() };
  },
};
// No skip where it is missing: Debian has no ubusd, so nobody could ever run everything.
if (real === undefined) console.log('no ubusd in UBUSD or PATH: the bus is tested against a small one alone');
else KINDS['the real ubusd'] = path => startReal(real, path);

const OBJECT: ServedObject = {
  path: 'ovpnd.home',
  methods: {
    echo: {
      args: { text: 'string', number: 'int', flag: 'bool' },
      call: args => ({ ...args, names: ['a"b\u0007<script>', '\u202e', 'ü'] }),
    },
    large: { args: { bytes: 'int' }, call: ({ bytes }) => ({ text: 'x'.repeat(Number(bytes)) }) },
    refuse: { args: {}, call: () => ({ status: STATUS.permissionDenied }) },
    quiet: { args: {}, call: () => undefined },
  },
};

for (const [kind, start] of Object.entries(KINDS)) {
  describe(`bus, with ${kind}`, () => {
    const path = temporary(kind === 'a small ubusd' ? 'fake.sock' : 'ubusd.sock');
    let daemon: Daemon | undefined;
    let owner: Bus;
    let caller: Bus;
    const log: string[] = [];

    function newBus(report?: (level: string, text: string) => void): Bus {
      return createBus({
        loop,
        monotonicMs: () => host.monotonicMs(),
        connect: () => host.connectUnix(path),
        ...(report && { report }),
      });
    }

    /** Calls and waits: the data as plain JSON, or the error's text. */
    function call(object: string, method: string, args: object = {}, timeoutMs = 10_000): unknown {
      let outcome: unknown;
      caller.invoke({ path: object, method, args }, timeoutMs, answer => {
        outcome = isUbusError(answer) ? answer.text : (JSON.parse(JSON.stringify(answer)) as unknown);
      });
      assert.equal(outcome, undefined);
      until(() => outcome !== undefined, `an answer of ${method}`);
      return outcome;
    }

    function settled(): void {
      until(() => owner.isUp && caller.isUp, 'both connected');
      // Whoever was served first is registered before this call is looked up.
      until(() => JSON.stringify(call('ovpnd.home', 'quiet')) === '{}', 'the object is there');
    }

    before(() => {
      daemon = start(path);
      owner = newBus((level, text) => log.push(`${level} ${text}`));
      owner.serve(OBJECT);
      caller = newBus();
      settled();
    });

    after(() => {
      owner.close();
      caller.close();
      daemon?.stop();
    });

    it('serves methods with typed arguments', () => {
      assert.deepEqual(call('ovpnd.home', 'echo', { text: 'ä', number: -5, flag: true }), {
        text: 'ä',
        number: -5,
        flag: true,
        names: ['a"b\u0007<script>', '\u202e', 'ü'],
      });
      assert.deepEqual(call('ovpnd.home', 'quiet'), {});
    });

    it('does not count what rpcd adds to a call as an argument', () => {
      assert.deepEqual(call('ovpnd.home', 'quiet', { ubus_rpc_session: '0'.repeat(32) }), {});
      assert.equal(call('ovpnd.home', 'quiet', { other: 'x' }), 'ovpnd.home quiet: Invalid argument');
    });

    it('says why there is no answer', () => {
      assert.equal(call('ovpnd.home', 'echo', { text: 1 }), 'ovpnd.home echo: Invalid argument');
      assert.equal(call('ovpnd.home', 'refuse'), 'ovpnd.home refuse: Permission denied');
      assert.equal(call('ovpnd.home', 'no'), 'ovpnd.home no: Method not found');
      assert.equal(call('ovpnd.home', 'toString'), 'ovpnd.home toString: Method not found');
      assert.equal(call('ovpnd.away', 'echo'), 'ovpnd.away echo: Not found');
    });

    it('answers as much as a message can hold, and refuses more', () => {
      const fits = call('ovpnd.home', 'large', { bytes: 1_048_000 }) as { text: string };
      assert.equal(fits.text.length, 1_048_000);
      for (const bytes of [1 << 20, 3_000_000]) {
        assert.equal(call('ovpnd.home', 'large', { bytes }), 'ovpnd.home large: Unknown error');
      }
      assert.deepEqual(call('ovpnd.home', 'quiet'), {});
    });

    it('keeps many calls apart', () => {
      const answers: unknown[] = [];
      for (let number = 0; number < 100; number++) {
        caller.invoke({ path: 'ovpnd.home', method: 'echo', args: { number } }, 10_000, answer => {
          answers.push((answer as { number?: number }).number);
        });
      }
      until(() => answers.length === 100, 'all answers');
      assert.deepEqual(answers, [...Array(100).keys()]);
    });

    it('gives up in time, and when told so', () => {
      // An object whose owner never answers.
      const dumb = good(host.connectUnix(path));
      const add = { objpath: 'dumb', signature: new Uint8Array(0) };
      dumb.write(encodeMessage({ type: MESSAGE_TYPES.addObject, seq: 1, peer: 0, attributes: add })!);
      until(() => call('dumb', 'x', {}, 50) === 'dumb x: Request timed out', 'a time-out');
      let called = false;
      const pending = caller.invoke({ path: 'dumb', method: 'x' }, 50, () => {
        called = true;
      });
      pending.cancel();
      pending.cancel();
      assert.equal(call('dumb', 'x', {}, 100), 'dumb x: Request timed out');
      assert.equal(called, false);
      dumb.close();
    });

    it('notifies subscribers and publishes events', () => {
      const heard: string[] = [];
      caller.subscribe('ovpnd.home', (type, data) => heard.push(`notified ${type} ${JSON.stringify(data)}`));
      caller.listen('ovpnd.*', (name, data) => heard.push(`event ${name} ${JSON.stringify(data)}`));
      const first = (): boolean => heard.some(line => line.startsWith('notified')) && heard.some(isEvent);
      const isEvent = (line: string): boolean => line.startsWith('event');
      until(() => {
        owner.notify('ovpnd.home', 'changed', { n: 1 });
        owner.sendEvent('ovpnd.peer', { peer: 'x"y' });
        owner.sendEvent('other', {});
        return first();
      }, 'both kinds of news');
      assert.ok(heard.includes('notified changed {"n":1}'));
      assert.deepEqual([...new Set(heard.filter(isEvent))], ['event ovpnd.peer {"peer":"x\\"y"}']);
    });

    it('registers again when ubusd comes back, and fails calls meanwhile', () => {
      const heard: string[] = [];
      caller.listen('again.*', name => heard.push(name));
      caller.subscribe('ovpnd.home', type => heard.push(type));
      let outcome: unknown;
      caller.invoke({ path: 'ovpnd.home', method: 'quiet' }, 10_000, answer => {
        outcome = answer;
      });
      daemon!.stop();
      until(() => outcome !== undefined, 'the call that was under way');
      until(() => !owner.isUp && !caller.isUp, 'that ubusd is gone');
      assert.equal(call('ovpnd.home', 'quiet'), 'ovpnd.home quiet: Connection failed');
      daemon = start(path);
      settled();
      until(() => {
        owner.notify('ovpnd.home', 'back', {});
        owner.sendEvent('again.there', {});
        return heard.includes('back') && heard.includes('again.there');
      }, 'subscription and events again');
      assert.ok(log.some(line => line === 'warn ubus: the connection is lost'));
      assert.equal(log.filter(line => line === 'info ubus: connected').length, 2);
    });

    it('offers an object again whose path was taken', () => {
      const second = newBus((level, text) => log.push(`second ${level} ${text}`));
      second.serve({ path: 'ovpnd.home', methods: { mine: { args: {}, call: () => ({ second: true }) } } });
      until(
        () => log.some(line => line.startsWith('second warn ubus: object ovpnd.home was refused')),
        'a warning',
      );
      owner.close();
      until(() => JSON.stringify(call('ovpnd.home', 'mine')) === '{"second":true}', 'the second one serves');
      second.close();
    });
  });
}
