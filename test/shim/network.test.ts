// SPDX-License-Identifier: Apache-2.0
// The rtnetlink network against the real kernel: in a network namespace of its own, with a real TUN device. This
// bundle is also the program that runs in there (OVPND_NETWORK_CHILD).

import { deepStrictEqual, ok, strictEqual } from 'node:assert';
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import {
  accessSync,
  constants,
  existsSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { createInterface, type Interface } from 'node:readline';
import type { NetworkReport } from '../../src/network/network.ts';
import { runPrefix, runState } from '../interop/harness/state.ts';
import { type Command, runChild, type WantedText } from './networkchild.ts';

const WANTED: WantedText = {
  device: 'ov-home',
  mtu: 1420,
  addresses: ['10.8.0.2/24', '10.9.0.2/32 10.9.0.1', 'fd42:8::2/64', 'fd42:9::2/128 fd42:9::1'],
  routes: [
    '0.0.0.0/1 0 10.8.0.1',
    '128.0.0.0/1 0 10.8.0.1',
    '192.168.7.0/24 200',
    '2000::/3 0',
    'fd77::/48 50 fd42:8::1',
  ],
  outside: ['192.0.2.1', '10.0.0.77', '10.0.0.5', '2001:db8:77::1'],
};

const OTHER: WantedText = {
  device: 'ov-home',
  mtu: 1400,
  addresses: ['10.8.0.3/24', '10.8.0.4/24', 'fd42:8::2/80'],
  routes: ['0.0.0.0/1 0 10.8.0.9', '192.168.7.0/24 100', '2000::/3 0 fd42:8::9'],
  outside: ['192.0.2.9', '2001:db8:77::1'],
};

class Inside {
  readonly #process: ChildProcess;
  readonly #lines: Interface;
  readonly #waiting: ((line: string) => void)[] = [];
  readonly #ended: Promise<void>;

  constructor(namespace: string, stateDirectory: string) {
    this.#process = spawn('ip', ['netns', 'exec', namespace, process.execPath, __filename], {
      stdio: ['pipe', 'pipe', 'inherit'],
      env: { ...process.env, OVPND_NETWORK_CHILD: stateDirectory },
    });
    this.#lines = createInterface({ input: this.#process.stdout! });
    this.#lines.on('line', line => this.#waiting.shift()?.(line));
    this.#ended = new Promise(resolve => this.#process.once('exit', () => resolve()));
  }

  async ask<T = NetworkReport>(command: Command): Promise<T> {
    const line = await new Promise<string>((resolve, reject) => {
      this.#waiting.push(resolve);
      this.#process.once('exit', () => reject(new Error('the child ended')));
      this.#process.stdin!.write(`${JSON.stringify(command)}\n`);
    });
    return JSON.parse(line) as T;
  }

  async kill(): Promise<void> {
    this.#process.kill('SIGKILL');
    await this.#ended;
  }
}

const sleep = (ms: number) => new Promise(resolve => setTimeout(resolve, ms));

/** What is missing to run these tests; undefined when nothing is. */
function missing(): string | undefined {
  if (process.getuid?.() !== 0) return 'root';
  try {
    accessSync('/dev/net/tun', constants.R_OK | constants.W_OK);
  } catch {
    return '/dev/net/tun';
  }
  const shim = process.env.OVPND_SHIM ?? join(process.cwd(), 'build/shim.node');
  return existsSync(shim) ? undefined : `${shim}`;
}

function describeAll(): void {
  const run = runState();
  const name = `${runPrefix}-${run.next++}`;
  const ip = (...words: string[]) => execFileSync('ip', ['-n', name, ...words], { encoding: 'utf8' });
  let directory = '';
  const children: Inside[] = [];
  const inside = () => {
    const child = new Inside(name, join(directory, 'state'));
    children.push(child);
    return child;
  };
  /** The namespace as text; the queue discipline and the operational state of a device only show that it was up. */
  const snapshot = () =>
    [ip('addr'), ip('route', 'show', 'table', 'all'), ip('-6', 'route', 'show', 'table', 'all')]
      .join('\n')
      .replace(/ qdisc \w+/g, '')
      .replace(/ state (DOWN|UNKNOWN)/g, '');
  const state = () => join(directory, 'state', 'home.network.json');
  const good = (report: NetworkReport) => deepStrictEqual(report.failures, []);

  before(function () {
    const lack = missing();
    if (lack !== undefined) {
      console.log(`SKIPPED: rtnetlink against the kernel: this machine lacks ${lack}`);
      this.skip();
    }
  });

  beforeEach(() => {
    directory = mkdtempSync(join(run.dir, 'net-'));
    // Gone with this process, also when it is killed in the middle.
    run.namespaces.add(name);
    execFileSync('ip', ['netns', 'add', name]);
    ip('link', 'set', 'lo', 'up');
    ip('link', 'add', 'eth0', 'type', 'veth', 'peer', 'name', 'wire0');
    // Without automatic addresses nothing here changes by itself while a test looks.
    for (const device of ['eth0', 'wire0']) {
      ip('link', 'set', device, 'addrgenmode', 'none');
      ip('link', 'set', device, 'up');
    }
    ip('addr', 'add', '10.0.0.5/24', 'dev', 'eth0');
    ip('addr', 'add', '2001:db8::5/64', 'dev', 'eth0', 'nodad');
    ip('route', 'add', 'default', 'via', '10.0.0.1');
    ip('-6', 'route', 'add', 'default', 'via', '2001:db8::1');
  });

  afterEach(async () => {
    for (const child of children.splice(0)) await child.kill();
    if (directory === '') return;
    execFileSync('ip', ['netns', 'del', name]);
    run.namespaces.delete(name);
    rmSync(directory, { recursive: true, force: true });
    directory = '';
  });

  it('apply makes it all, a second one nothing, clear takes it all back', async () => {
    const child = inside();
    await child.ask({ does: 'open' });
    const before = snapshot();
    deepStrictEqual(await child.ask({ does: 'apply', wanted: WANTED }), { failures: [], changes: 15 });
    const text = snapshot();
    for (const part of [
      /inet 10\.8\.0\.2\/24 scope global ov-home/,
      /inet 10\.9\.0\.2 peer 10\.9\.0\.1\/32 scope global ov-home/,
      /inet6 fd42:8::2\/64 scope global nodad/,
      /inet6 fd42:9::2 peer fd42:9::1\/128 scope global nodad/,
      /ov-home: <POINTOPOINT,MULTICAST,NOARP,UP,LOWER_UP> mtu 1420/,
      /0\.0\.0\.0\/1 via 10\.8\.0\.1 dev ov-home proto (0x6f|111)/,
      /192\.168\.7\.0\/24 dev ov-home proto (0x6f|111) scope link metric 200/,
      /2000::\/3 dev ov-home proto (0x6f|111) metric 1024/,
      /fd42:9::1 dev ov-home proto kernel/,
      /fd77::\/48 via fd42:8::1 dev ov-home proto (0x6f|111) metric 50/,
      /192\.0\.2\.1 via 10\.0\.0\.1 dev eth0 proto (0x6f|111) metric/,
      /10\.0\.0\.77 dev eth0 proto (0x6f|111) scope link metric/,
      /2001:db8:77::1 via 2001:db8::1 dev eth0 proto (0x6f|111) metric/,
    ]) {
      ok(part.test(text), `${part} not in\n${text}`);
    }
    ok(!/tentative|fe80/.test(text), text);
    ok(ip('-d', 'link', 'show', 'ov-home').includes('addrgenmode none'));
    strictEqual(statSync(state()).mode & 0o777, 0o600);
    deepStrictEqual(await child.ask({ does: 'apply', wanted: WANTED }), { failures: [], changes: 0 });
    strictEqual(snapshot(), text);
    good(await child.ask({ does: 'clear' }));
    strictEqual(snapshot(), before);
    ok(!existsSync(state()));
    deepStrictEqual(await child.ask({ does: 'clear' }), { failures: [], changes: 0 });
  });

  it('a change ends where a fresh start would', async () => {
    const child = inside();
    await child.ask({ does: 'open' });
    good(await child.ask({ does: 'apply', wanted: OTHER }));
    const fresh = snapshot();
    good(await child.ask({ does: 'clear' }));
    good(await child.ask({ does: 'apply', wanted: WANTED }));
    good(await child.ask({ does: 'apply', wanted: OTHER }));
    const sorted = (text: string) => text.split('\n').sort().join('\n');
    strictEqual(sorted(snapshot()), sorted(fresh));
    deepStrictEqual(await child.ask({ does: 'apply', wanted: OTHER }), { failures: [], changes: 0 });
  });

  it('sends no router solicitation and no address detection into the tunnel', async () => {
    const child = inside();
    await child.ask({ does: 'open' });
    good(await child.ask({ does: 'apply', wanted: WANTED }));
    await sleep(1500);
    const seen = await child.ask<string[]>({ does: 'packets' });
    const unwanted = seen.filter(packet => ['icmp6 133', 'icmp6 135', 'icmp6 136'].includes(packet));
    deepStrictEqual(unwanted, [], `seen: ${seen.join(', ')}`);
  });

  it('after SIGKILL only the host routes are left, and recover removes them', async () => {
    const before = snapshot();
    const first = inside();
    await first.ask({ does: 'open' });
    good(await first.ask({ does: 'apply', wanted: WANTED }));
    await first.kill();
    const left = snapshot();
    ok(
      /192\.0\.2\.1 via 10\.0\.0\.1 dev eth0 proto (0x6f|111)/.test(left) && !left.includes('ov-home'),
      left,
    );
    const second = inside();
    deepStrictEqual(await second.ask({ does: 'recover' }), { failures: [], changes: 3 });
    strictEqual(snapshot(), before);
    deepStrictEqual(await second.ask({ does: 'recover' }), { failures: [], changes: 0 });
  });

  it('after SIGKILL on a device that stays, recover takes everything back', async () => {
    ip('tuntap', 'add', 'name', 'ov-home', 'mode', 'tun');
    const before = snapshot();
    const first = inside();
    good(await first.ask({ does: 'apply', wanted: { ...WANTED, routes: [] } }));
    await first.kill();
    ok(snapshot().includes('10.8.0.2/24'));
    good(await inside().ask({ does: 'recover' }));
    strictEqual(snapshot(), before);
  });

  it('killed at any moment: recover leaves nothing behind', async function () {
    this.timeout(120_000);
    const before = snapshot();
    for (let round = 0; round < 20; round++) {
      const child = inside();
      await child.ask({ does: 'open' });
      await child.ask({ does: 'churn', wanted: WANTED, other: OTHER });
      await sleep(Math.random() * 40);
      await child.kill();
      const next = inside();
      good(await next.ask({ does: 'recover' }));
      strictEqual(snapshot(), before, `round ${round}`);
      ok(!existsSync(state()));
      await next.kill();
    }
  });

  it('1000 cycles of apply, change and clear', async function () {
    this.timeout(120_000);
    const child = inside();
    await child.ask({ does: 'open' });
    const before = snapshot();
    deepStrictEqual(await child.ask({ does: 'cycles', count: 1000, wanted: WANTED, other: OTHER }), []);
    strictEqual(snapshot(), before);
  });

  it('leaves foreign routes alone and says so, in both families', async () => {
    ip('route', 'add', '192.168.7.0/24', 'via', '10.0.0.9', 'metric', '200', 'proto', 'static');
    ip('-6', 'route', 'add', 'fd77::/48', 'via', '2001:db8::9', 'metric', '50', 'proto', 'static');
    const before = snapshot();
    const child = inside();
    await child.ask({ does: 'open' });
    deepStrictEqual((await child.ask({ does: 'apply', wanted: WANTED })).failures, [
      'route 192.168.7.0/24: File exists, made by protocol 4',
      'route fd77::/48: File exists, made by protocol 4',
    ]);
    good(await child.ask({ does: 'clear' }));
    await child.ask({ does: 'close' });
    strictEqual(snapshot(), before);
  });

  it("reports the kernel's own words", async () => {
    const child = inside();
    await child.ask({ does: 'open' });
    const routes = ['172.16.0.0/12 0 172.31.0.1'];
    const { failures } = await child.ask({
      does: 'apply',
      wanted: { ...WANTED, mtu: 70_000, routes, outside: [] },
    });
    deepStrictEqual(failures, [
      'device ov-home: mtu 70000: Invalid argument (mtu greater than device maximum)',
      'route 172.16.0.0/12: Network is unreachable (Nexthop has invalid gateway)',
    ]);
    const nobody = { ...WANTED, device: 'nobody' };
    deepStrictEqual((await child.ask({ does: 'apply', wanted: nobody })).failures, [
      'device nobody: No such device',
    ]);
  });

  it('follows an onlink gateway and an IPv6 gateway of an IPv4 route', async () => {
    ip('route', 'add', '198.51.100.0/24', 'via', '172.31.1.1', 'dev', 'eth0', 'onlink', 'src', '10.0.0.5');
    ip('route', 'add', '203.0.113.0/24', 'via', 'inet6', '2001:db8::1', 'dev', 'eth0');
    const child = inside();
    await child.ask({ does: 'open' });
    const before = snapshot();
    const wanted = { ...WANTED, outside: ['198.51.100.7', '203.0.113.7'] };
    good(await child.ask({ does: 'apply', wanted }));
    const text = snapshot();
    ok(
      /198\.51\.100\.7 via 172\.31\.1\.1 dev eth0 proto \S+ src 10\.0\.0\.5 metric \d+ onlink/.test(text),
      text,
    );
    ok(/203\.0\.113\.7 via inet6 2001:db8::1 dev eth0 proto (0x6f|111)/.test(text), text);
    deepStrictEqual(await child.ask({ does: 'apply', wanted }), { failures: [], changes: 0 });
    good(await child.ask({ does: 'clear' }));
    strictEqual(snapshot(), before);
  });

  it('moves the host route when the gateway changes under a tunnel that has the default', async () => {
    const child = inside();
    await child.ask({ does: 'open' });
    good(await child.ask({ does: 'apply', wanted: WANTED }));
    ip('route', 'replace', 'default', 'via', '10.0.0.254');
    ip('-6', 'route', 'replace', 'default', 'via', '2001:db8::fe');
    deepStrictEqual(await child.ask({ does: 'apply', wanted: WANTED }), { failures: [], changes: 2 });
    const text = snapshot();
    ok(
      /192\.0\.2\.1 via 10\.0\.0\.254 dev eth0/.test(text) && !/192\.0\.2\.1 via 10\.0\.0\.1 /.test(text),
      text,
    );
    ok(/2001:db8:77::1 via 2001:db8::fe dev eth0/.test(text), text);
    const more = { ...WANTED, outside: [...WANTED.outside, '192.0.2.200', '2001:db8:78::1'] };
    deepStrictEqual(await child.ask({ does: 'apply', wanted: more }), { failures: [], changes: 2 });
    ok(/192\.0\.2\.200 via 10\.0\.0\.254 dev eth0/.test(snapshot()));
  });

  it('finds its way in a large routing table and applies many routes', async () => {
    const lines = (count: number, text: (high: number, low: number) => string) =>
      Array.from({ length: count }, (_, i) => text(i >> 8, i & 255));
    const batch = join(directory, 'batch');
    writeFileSync(
      batch,
      lines(5000, (a, b) => `route add 172.${16 + (a >> 4)}.${a & 15}.${b}/32 via 10.0.0.2\n`).join(''),
    );
    ip('-b', batch);
    const child = inside();
    await child.ask({ does: 'open' });
    const before = snapshot();
    const routes = lines(1000, (a, b) => `10.${100 + a}.${b}.0/24 0`);
    const report = await child.ask({ does: 'apply', wanted: { ...WANTED, routes } });
    good(report);
    ok(report.changes >= 1000);
    deepStrictEqual(await child.ask({ does: 'apply', wanted: { ...WANTED, routes } }), {
      failures: [],
      changes: 0,
    });
    good(await child.ask({ does: 'clear' }));
    strictEqual(snapshot(), before);
  });

  it('a corrupt state file is one line and no obstacle', async () => {
    const child = inside();
    await child.ask({ does: 'open' });
    const before = snapshot();
    good(await child.ask({ does: 'apply', wanted: WANTED }));
    const text = readFileSync(state(), 'utf8');
    writeFileSync(state(), text.slice(0, -9));
    const other = inside();
    strictEqual((await other.ask({ does: 'recover' })).failures.length, 1);
    good(await child.ask({ does: 'clear' }));
    strictEqual(snapshot(), before);
  });
}

const stateDirectory = process.env.OVPND_NETWORK_CHILD;
if (stateDirectory !== undefined) runChild(stateDirectory);
else describe('rtnetlink network against the kernel', describeAll);
