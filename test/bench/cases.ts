// SPDX-License-Identifier: Apache-2.0
// What is measured side by side, and what is to be reached.

import { cpus } from 'node:os';
import { resolve } from 'node:path';
import { pki } from '../interop/harness/pki.ts';
import type { Process } from '../interop/harness/process.ts';

import type { Comparison, Contest, Target } from './contest.ts';
import type { Plan, RowName, Subject } from './plan.ts';
import { CHACHA, openSite, type Site, type SiteOptions, TUNED } from './site.ts';
import {
  checkWhole,
  idlePing,
  loadedPing,
  type Sample,
  smallPackets,
  type TcpOptions,
  tcp,
} from './traffic.ts';
import { hasWireguard, openWireguard } from './wireguard.ts';

const STOCK = 'openvpn';
const TUNED_STOCK = 'openvpn tuned';
const WIREGUARD = 'wireguard-go';
/** Mbit/s beside which a ping is measured: stock carries it, too. */
const LOAD_MBIT = 200;
export const CROWD = 1000;
const STORM_RATE = 50;
const GATHER_MS = 240_000;
const STORM_LEAD_MS = 300;

/** A server with one peer and one with CROWD of them. */
interface Crowd {
  readonly subject: Subject;
  readonly alone: Site;
  readonly among: Site;
}

type Measure = (seconds: number) => Promise<Sample>;

/** Opens what the contests need, each tunnel once, and builds the contests. */
export class Cases {
  readonly sites = new Map<string, Site>();
  private readonly plan: Plan;
  private readonly subjects: readonly Subject[];
  private readonly say: (text: string) => void;
  readonly crowds: Crowd[] = [];

  constructor(plan: Plan, subjects: readonly Subject[], say: (text: string) => void) {
    this.plan = plan;
    this.subjects = subjects;
    this.say = say;
  }

  /** Every contest of the plan; all tunnels are up and have carried a file whole. */
  async build(): Promise<Contest[]> {
    const makers: readonly (readonly [RowName, () => Promise<Contest[]>])[] = [
      ['tcp', () => this.tcp()],
      ['ideal', () => this.ideal()],
      ['tuned', () => this.tuned()],
      ['forward', () => this.forward()],
      ['chacha', () => this.chacha()],
      ['udp', () => this.udp()],
      ['ping', () => this.ping()],
      ['mixed', () => this.mixed()],
      ['crowd', () => this.crowd()],
      ['storm', () => this.storm()],
    ];
    const contests: Contest[] = [];
    for (const [row, make] of makers) if (this.plan.rows.has(row)) contests.push(...(await make()));
    for (const site of this.sites.values()) await checkWhole(site);
    await this.verify();
    return contests;
  }

  /** Throws when a kernel has seen a bad checksum or a peer of the crowd is gone: then no figure counts. */
  async verify(): Promise<void> {
    for (const { among } of this.crowds) {
      const { peers } = (await among.server?.status()) ?? {};
      const count = Array.isArray(peers) ? peers.length : 0;
      if (count !== CROWD) throw new Error(`${among.name}: ${count} of ${CROWD} peers are connected`);
    }
    for (const site of this.sites.values()) {
      const errors = await site.checksumErrors();
      if (errors > 0)
        throw new Error(`${site.name}: ${errors} packets had a wrong checksum, the figures are void`);
    }
  }

  /** Complaints of daemons that did not end as they should. */
  async close(): Promise<string[]> {
    const complaints: string[] = [];
    for (const { world } of this.sites.values()) complaints.push(...(await world.destroy()));
    return complaints;
  }

  /** The same daemon at both ends, plain. */
  async plain(daemon: Subject | 'openvpn'): Promise<Site> {
    return this.site(daemon === 'openvpn' ? STOCK : daemon.title, { server: daemon, client: daemon });
  }

  private async site(name: string, options: SiteOptions, wire = this.plan.wire): Promise<Site> {
    const known = this.sites.get(name);
    if (known !== undefined) return known;
    const site = await openSite(name, wire, options);
    this.sites.set(name, site);
    return site;
  }

  /** Every subject and stock against each other in one measurement. */
  private async versus(
    row: RowName,
    about: Pick<Contest, 'title' | 'unit' | 'isLessBetter'>,
    target: Target | undefined,
    site: (daemon: Subject | 'openvpn') => Promise<Site>,
    measure: (site: Site, seconds: number) => Promise<Sample>,
  ): Promise<Contest> {
    const entrants = new Map<string, Measure>();
    for (const daemon of [...this.subjects, STOCK] as const) {
      const opened = await site(daemon);
      entrants.set(daemon === STOCK ? STOCK : daemon.title, seconds => measure(opened, seconds));
    }
    const comparisons = this.subjects.map(
      ({ title }): Comparison => ({
        ours: title,
        theirs: STOCK,
        ...(target === undefined ? {} : { target }),
      }),
    );
    return { row, ...about, entrants, comparisons };
  }

  /** One stream and four, each as a contest that `further` may add to. */
  private async streams(
    row: RowName,
    wire: string,
    site: (daemon: Subject | 'openvpn') => Promise<Site>,
    further = async (contest: Contest, _run: (site: Site, seconds: number) => Promise<Sample>) => contest,
  ): Promise<Contest[]> {
    const contests: Contest[] = [];
    for (const streams of [1, 4]) {
      const about = { title: `TCP, ${streams} stream${streams > 1 ? 's' : ''}${wire}`, unit: 'Mbit/s' };
      const run = (site: Site, seconds: number): Promise<Sample> => tcp(site, seconds, { streams });
      contests.push(await further(await this.versus(row, about, { ratio: 8, cpu: 6 }, site, run), run));
    }
    return contests;
  }

  private tcp(): Promise<Contest[]> {
    const plain = (daemon: Subject | 'openvpn'): Promise<Site> => this.plain(daemon);
    return this.streams('tcp', '', plain, async (contest, run) =>
      hasWireguard() ? this.withWireguard(contest, run) : contest,
    );
  }

  private ideal(): Promise<Contest[]> {
    return this.streams('ideal', ', a wire that cuts by itself', daemon => {
      const name = `ideal wire, ${daemon === STOCK ? STOCK : daemon.title}`;
      return this.site(name, { server: daemon, client: daemon }, 'ideal');
    });
  }

  private async withWireguard(
    contest: Contest,
    run: (site: Site, seconds: number) => Promise<Sample>,
  ): Promise<Contest> {
    const site = this.sites.get(WIREGUARD) ?? (await openWireguard(this.plan.wire));
    this.sites.set(WIREGUARD, site);
    const entrants = new Map([...contest.entrants, [WIREGUARD, (seconds: number) => run(site, seconds)]]);
    const further = this.subjects.map(({ title }): Comparison => ({ ours: title, theirs: WIREGUARD }));
    return { ...contest, entrants, comparisons: [...contest.comparisons, ...further] };
  }

  private async tuned(): Promise<Contest[]> {
    const open = (daemon: Subject | 'openvpn'): Promise<Site> =>
      daemon === STOCK
        ? this.site(TUNED_STOCK, { server: STOCK, client: STOCK, lines: TUNED })
        : this.plain(daemon);
    const about = { title: 'TCP, 1 stream, stock with --fast-io and 2 MB buffers', unit: 'Mbit/s' };
    return [await this.versus('tuned', about, undefined, open, tcp)];
  }

  private async forward(): Promise<Contest[]> {
    const open = (daemon: Subject | 'openvpn'): Promise<Site> =>
      this.site(`forwarding ${daemon === STOCK ? STOCK : daemon.title}`, {
        server: daemon,
        client: daemon,
        isForwarding: true,
      });
    const about = { title: 'forwarded TCP, 1 stream', unit: 'Mbit/s' };
    return [await this.versus('forward', about, { ratio: 5 }, open, tcp)];
  }

  private async chacha(): Promise<Contest[]> {
    const open = (daemon: Subject | 'openvpn'): Promise<Site> =>
      this.site(`chacha ${daemon === STOCK ? STOCK : daemon.title}`, {
        server: daemon,
        client: daemon,
        agreement: CHACHA,
      });
    const about = { title: 'CHACHA20-POLY1305 TCP, 1 stream', unit: 'Mbit/s' };
    return [await this.versus('chacha', about, { ratio: 6 }, open, tcp)];
  }

  private async udp(): Promise<Contest[]> {
    const about = { title: '64-byte UDP, loss below 0.1%', unit: '1000/s' };
    return [await this.versus('udp', about, { ratio: 2.5 }, daemon => this.plain(daemon), smallPackets)];
  }

  private async ping(): Promise<Contest[]> {
    const open = (daemon: Subject | 'openvpn'): Promise<Site> => this.plain(daemon);
    const about = (title: string) => ({ title, unit: 'us', isLessBetter: true });
    const beside = (mbit: number) => (site: Site, seconds: number) => loadedPing(site, seconds, mbit);
    return [
      await this.versus('ping', about('ping, idle'), { ratio: 1 }, open, idlePing),
      await this.versus(
        'ping',
        about(`ping, beside ${LOAD_MBIT} Mbit/s`),
        { ratio: 3 },
        open,
        beside(LOAD_MBIT),
      ),
      await this.versus('ping', about('ping, saturated'), undefined, open, beside(0)),
    ];
  }

  /** One of our ends with a stock end, in both directions, against stock with stock. */
  private async mixed(): Promise<Contest[]> {
    const stock = await this.plain(STOCK);
    const entrants = new Map<string, Measure>([[STOCK, seconds => tcp(stock, seconds)]]);
    const comparisons: Comparison[] = [];
    for (const subject of this.subjects) {
      const site = await this.site(`${subject.title} with stock`, { server: subject, client: STOCK });
      for (const [name, isReverse] of [
        [`openvpn to ${subject.title}`, false],
        [`${subject.title} to openvpn`, true],
      ] as const) {
        entrants.set(name, seconds => tcp(site, seconds, { isReverse }));
        comparisons.push({ ours: name, theirs: STOCK, target: { ratio: 1 } });
      }
    }
    return [{ row: 'mixed', title: 'one stock end, TCP', unit: 'Mbit/s', entrants, comparisons }];
  }

  private lonely(subject: Subject, name: string): Promise<Site> {
    const options = { address: ['10.8.0.1/16', 'fd42:8::1/64'], max_clients: '4000', duplicate_cn: '1' };
    return this.site(`${subject.title} ${name}`, { server: subject, client: subject, options });
  }

  /** A process of many clients beside a server. */
  private async clients(site: Site, held: number): Promise<Process> {
    const { server, clients, staticKey } = await pki();
    const identity = clients[1]!;
    const wire = await site.world.wire(site.wire.left, await site.world.namespace());
    const program = [process.execPath, resolve('build/bench/crowd.cjs')];
    const files = [server.ca, identity.cert, identity.key, staticKey];
    const words = [...program, wire.left4, '1194', ...files, String(held), String(STORM_RATE)];
    const child = site.world.spawn('crowd', wire.right, words, {
      env: { OVPND_SHIM: resolve('build/shim.node') },
    });
    await child.line(new RegExp(`^held ${held}$`), GATHER_MS);
    return child;
  }

  private async crowd(): Promise<Contest[]> {
    const entrants = new Map<string, Measure>();
    const comparisons: Comparison[] = [];
    for (const subject of this.subjects) {
      const alone = await this.lonely(subject, '1 peer');
      const among = await this.lonely(subject, `${CROWD} peers`);
      this.say(`${subject.title}: connecting ${CROWD} peers`);
      const crowd = await this.clients(among, CROWD - 1);
      this.crowds.push({ subject, alone, among });
      entrants.set(alone.name, seconds => tcp(alone, seconds));
      entrants.set(among.name, seconds => tcp(among, seconds, { pids: [crowd.pid] }));
      comparisons.push({ ours: among.name, theirs: alone.name, target: { ratio: 0.9 } });
    }
    return [{ row: 'crowd', title: 'TCP of one peer', unit: 'Mbit/s', entrants, comparisons }];
  }

  private async storm(): Promise<Contest[]> {
    const entrants = new Map<string, Measure>();
    const comparisons: Comparison[] = [];
    for (const subject of this.subjects) {
      const site = await this.lonely(subject, '1 peer');
      const crowd = await this.clients(site, 0);
      const name = `${subject.title}, ${STORM_RATE} handshakes/s`;
      entrants.set(site.name, seconds => tcp(site, seconds));
      entrants.set(name, seconds => underStorm(site, crowd, seconds));
      comparisons.push({ ours: name, theirs: site.name, target: { ratio: 0.9 } });
      const raw = (sample: Sample): number => sample.detail?.raw ?? sample.value;
      comparisons.push({ title: 'clients of the storm included', ours: name, theirs: site.name, pick: raw });
    }
    const title = 'TCP while peers connect';
    return [{ row: 'storm', title, unit: 'Mbit/s', entrants, comparisons }];
  }
}

/** What the traffic would be if the clients that connect did so from other machines, and did not take these cores. */
export function withoutShare(mbitPerS: number, cores: number, takenCores: number): number {
  return (mbitPerS * cores) / (cores - takenCores);
}

async function underStorm(site: Site, crowd: Process, seconds: number): Promise<Sample> {
  const options: TcpOptions = { pids: [crowd.pid] };
  const from = crowd.lines.length;
  crowd.signal('SIGUSR1');
  await new Promise(done => setTimeout(done, STORM_LEAD_MS));
  const sample = await tcp(site, seconds, options);
  crowd.signal('SIGUSR2');
  const counts = (await crowd.line(/^storm /, 10_000, from)).split(' ').map(Number);
  const [, started = 0, connected = 0] = counts;
  if (connected < started / 2)
    throw new Error(`${site.name}: only ${connected} of ${started} peers could connect`);
  const taken = sample.detail?.otherCores ?? 0;
  return {
    ...sample,
    value: withoutShare(sample.value, cpus().length, taken),
    detail: { ...sample.detail, raw: sample.value, started, connected },
  };
}
