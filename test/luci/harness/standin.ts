// SPDX-License-Identifier: Apache-2.0
// A router without LuCI: serves the pages with the stand-in for LuCI's loader, and answers their calls as rpcd does,
// from `ovpnd rpcd` and from running tunnels, within the rights of the package's own ACL file. Starts and ends tunnels
// as the service would.

import { type ChildProcess, spawn } from 'node:child_process';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { createServer, type IncomingMessage, type Server } from 'node:http';
import { type AddressInfo, createConnection } from 'node:net';
import { join, normalize, resolve } from 'node:path';
import { Authority } from '../../../src/pki/authority.ts';
import { createCall, isUbusError } from '../../../src/ubus/client.ts';
import type { Namespace } from '../../interop/harness/namespace.ts';
import type { Process } from '../../interop/harness/process.ts';
import type { World } from '../../interop/harness/world.ts';
import { newHost } from '../../shim/support.ts';

const APP = 'luci/luci-app-ovpnd';
const ACL = `${APP}/root/usr/share/rpcd/acl.d/luci-app-ovpnd.json`;
const PAGES = ['status', 'server', 'client', 'settings'];
const NOT_FOUND = 4;

type Json = Record<string, unknown>;
type Rights = Record<string, string[]>;

const TYPES: Readonly<Record<string, string>> = { js: 'text/javascript', css: 'text/css' };

export class Standin {
  readonly base: string;
  /** Whether the session has the rights to write. */
  canWrite = true;
  readonly #router: Namespace;
  readonly #server: Server;
  readonly #folders: { readonly config: string; readonly keys: string; readonly run: string };
  readonly #tunnels = new Map<string, Process>();
  #queue: Promise<unknown> = Promise.resolve();

  private constructor(world: World, router: Namespace, server: Server) {
    this.#router = router;
    this.#server = server;
    const root = world.folder('luci');
    this.#folders = { config: join(root, 'config'), keys: join(root, 'keys'), run: join(root, 'run') };
    for (const path of Object.values(this.#folders)) mkdirSync(path);
    writeFileSync(join(this.#folders.config, 'ovpnd'), '', { mode: 0o600 });
    const zone = (name: string): string => `config zone\n\toption name '${name}'\n\n`;
    writeFileSync(join(this.#folders.config, 'firewall'), `${zone('lan')}${zone('wan')}`);
    this.base = `http://127.0.0.1:${(server.address() as AddressInfo).port}/cgi-bin/luci/`;
  }

  static async start(world: World, router: Namespace): Promise<Standin> {
    const server = createServer();
    await new Promise<void>(done => server.listen(0, '127.0.0.1', done));
    const standin = new Standin(world, router, server);
    server.on('request', (request, response) => {
      standin.#answer(request).then(
        ({ type, body }) => response.writeHead(200, { 'content-type': type }).end(body),
        (error: Error) => response.writeHead(error.message === 'absent' ? 404 : 500).end(error.stack),
      );
    });
    return standin;
  }

  stop(): void {
    this.#server.closeAllConnections();
    this.#server.close();
  }

  /** The configuration file's text. */
  config(): string {
    return readFileSync(join(this.#folders.config, 'ovpnd'), 'utf8');
  }

  /** A command's output on the router. */
  run(words: readonly string[]): Promise<string> {
    return this.#router.run(words);
  }

  /** The folder of a tunnel's keys. */
  keys(tunnel: string): string {
    return join(this.#folders.keys, tunnel);
  }

  /** A server's authority as it was so many days ago. */
  authority(tunnel: string, daysAgo: number): Authority {
    const host = newHost();
    return new Authority({
      files: host.files,
      keys: host.privateKeys,
      random: host.random,
      sha1: data => host.crypto.hash('SHA1', data),
      wallS: () => host.wallS() - daysAgo * 86_400,
      directory: this.keys(tunnel),
    });
  }

  async #answer(request: IncomingMessage): Promise<{ type: string; body: string | Buffer }> {
    const path = normalize(new URL(request.url ?? '/', 'http://x').pathname);
    if (request.method === 'POST' && path === '/ubus') {
      const chunks: Buffer[] = [];
      for await (const chunk of request) chunks.push(chunk as Buffer);
      const message = JSON.parse(Buffer.concat(chunks).toString()) as { id: number; params: unknown[] };
      const answer = await this.#call(message.params);
      return {
        type: 'application/json',
        body: JSON.stringify({ jsonrpc: '2.0', id: message.id, ...answer }),
      };
    }
    const view = /^\/cgi-bin\/luci\/admin\/vpn\/ovpnd\/([a-z]+)$/.exec(path)?.[1];
    if (view !== undefined && PAGES.includes(view)) return { type: 'text/html', body: page(view) };
    if (path === '/luci-static/resources/uqr.js') return { type: TYPES.js!, body: uqr() };
    const file = /^\/(standin|luci-static)\/[a-z0-9_/]+\.(js|css)$/.exec(path);
    if (file === null) throw new Error('absent');
    const folder = file[1] === 'standin' ? 'test/luci' : `${APP}/htdocs`;
    try {
      return { type: TYPES[file[2]!]!, body: readFileSync(join(folder, path)) };
    } catch {
      throw new Error('absent');
    }
  }

  async #call([, object, method, args]: unknown[]): Promise<Json> {
    if (!this.#mayCall(String(object), String(method))) {
      return { error: { code: -32002, message: 'Access denied' } };
    }
    const given = Object.fromEntries(Object.entries(args as Json).filter(([, value]) => value !== undefined));
    if (object !== 'ovpnd') return this.#ask(String(object), String(method), given);
    // One writer at a time, as the real plugin has by rpcd.
    const turn = this.#queue.then(async () => {
      const text = await this.#rpcd(['call', String(method)], JSON.stringify(given));
      const data = JSON.parse(text) as Json;
      if (!/^(?:schema|tunnels|settings|check|propose|pki_list|import_plan)$/.test(String(method)))
        await this.reconcile();
      return { result: [0, data] };
    });
    this.#queue = turn.catch(() => undefined);
    return turn;
  }

  #mayCall(object: string, method: string): boolean {
    const acl = (JSON.parse(readFileSync(ACL, 'utf8')) as Record<string, Record<string, { ubus: Rights }>>)[
      'luci-app-ovpnd'
    ]!;
    const rights = [acl.read!.ubus, ...(this.canWrite ? [acl.write!.ubus] : [])];
    const name = object.startsWith('ovpnd.') ? 'ovpnd.*' : object;
    return rights.some(list => list[name]?.includes(method));
  }

  #places(): string[] {
    const { config, keys, run } = this.#folders;
    return ['-c', config, '-k', keys, '-r', run, '-u', join(run, 'no-ubusd')];
  }

  #rpcd(words: readonly string[], input: string): Promise<string> {
    const command = this.#router.command([resolve('build/ovpnd'), 'rpcd', ...words, ...this.#places()]);
    return new Promise((done, fail) => {
      const child: ChildProcess = spawn(command[0]!, command.slice(1), {
        stdio: ['pipe', 'pipe', 'inherit'],
      });
      let out = '';
      child.stdout?.setEncoding('utf8').on('data', (text: string) => {
        out += text;
      });
      child.on('error', fail);
      child.on('close', code => (code === 0 ? done(out) : fail(new Error(`ovpnd rpcd: exit ${code}`))));
      child.stdin?.end(input);
    });
  }

  /** One method of a running tunnel, on its own socket. */
  #ask(path: string, method: string, args: object): Promise<Json> {
    const socket = createConnection(join(this.#folders.run, `${path.slice('ovpnd.'.length)}.sock`));
    const request = createCall({ path, method, args });
    return new Promise(done => {
      const finish = (): void => {
        const { outcome } = request;
        if (outcome === undefined) return;
        socket.destroy();
        done(
          isUbusError(outcome) ? { result: [outcome.status], text: outcome.text } : { result: [0, outcome] },
        );
      };
      socket.on('data', bytes => {
        socket.write(request.receive(bytes));
        finish();
      });
      socket.on('error', () => done({ result: [NOT_FOUND], text: `${path}: Not found` }));
      socket.on('close', () => {
        request.abort('closed');
        finish();
      });
    });
  }

  /** Starts what is enabled and ends what is not, as the service does after a change. */
  async reconcile(): Promise<void> {
    const { tunnels } = JSON.parse(await this.#rpcd(['call', 'tunnels'], '{}')) as {
      tunnels: { name: string; enabled: boolean; usable: boolean }[];
    };
    const wanted = new Set(
      tunnels.filter(({ enabled, usable }) => enabled && usable).map(({ name }) => name),
    );
    for (const [name, child] of this.#tunnels) {
      if (wanted.has(name) && child.exit === undefined) continue;
      if (child.exit === undefined) await child.stop('SIGTERM', 5000);
      this.#tunnels.delete(name);
    }
    for (const name of wanted) {
      if (this.#tunnels.has(name)) continue;
      const words = [resolve('build/ovpnd'), 'run', name, ...this.#places()];
      this.#tunnels.set(name, this.#router.spawn(`ovpnd ${name}`, words));
    }
  }

  /** What the tunnels said, for a failure's message. */
  tails(): string {
    return [...this.#tunnels]
      .map(([name, { lines }]) => `--- ${name}\n${lines.slice(-30).join('\n')}`)
      .join('\n');
  }
}

/** LuCI's module of this name is the same encoder. */
function uqr(): string {
  const source = readFileSync('node_modules/uqr/dist/index.cjs', 'utf8');
  return `'require baseclass';\nconst exports = {};\n${source}\nreturn baseclass.extend({ renderSVG: exports.renderSVG });`;
}

function page(view: string): string {
  const links = PAGES.map(name => `<a href="/cgi-bin/luci/admin/vpn/ovpnd/${name}">${name}</a>`).join('');
  return `<!doctype html><html lang="en" data-session="${'0'.repeat(32)}" data-view="ovpnd/${view}"><head>
<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1"><title>${view}</title>
<link rel="stylesheet" href="/standin/luci.css"></head><body><nav>${links}</nav><div id="view"></div>
<script src="/standin/luci.js"></script></body></html>`;
}
