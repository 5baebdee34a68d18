// SPDX-License-Identifier: Apache-2.0
// The router whose pages are tested: a real one with LuCI when LUCI_URL names it, else the stand-in.
//
//   LUCI_URL      its address, such as http://127.0.0.1:8099/cgi-bin/luci/ (user root, password LUCI_PASSWORD or none)
//   LUCI_NETNS    the network namespace in which that address is reached, if not this one
//   LUCI_SERVER   the router's address for VPN clients
//   LUCI_CLIENT   the network namespace for the VPN clients

import { join, resolve } from 'node:path';
import { Process } from '../../interop/harness/process.ts';
import type { World } from '../../interop/harness/world.ts';
import { Browser } from './browser.ts';
import { Standin } from './standin.ts';

export interface Router {
  readonly kind: string;
  readonly browser: Browser;
  /** Where VPN clients reach it. */
  readonly address: string;
  /** Only of the stand-in. */
  readonly standin?: Standin;
  open(view: string): Promise<void>;
  /** A process in the network of VPN clients. */
  client(name: string, words: readonly string[]): Process;
  /** Whether the command ends well there. */
  succeeds(words: readonly string[]): Promise<boolean>;
  stop(): Promise<void>;
}

export const luciUrl = process.env.LUCI_URL;

async function shown(browser: Browser, base: string, view: string): Promise<void> {
  await browser.page.goto(`${base}admin/vpn/ovpnd/${view}`, { waitUntil: 'domcontentloaded' });
  await browser.page.locator('#view h2').first().waitFor();
}

async function luci(base: string, folder: string): Promise<Router> {
  const { LUCI_NETNS, LUCI_SERVER = '127.0.0.1', LUCI_CLIENT, LUCI_PASSWORD = '' } = process.env;
  const browser = await Browser.start(folder, LUCI_NETNS);
  const { page } = browser;
  await page.goto(base);
  await page.fill('[name=luci_password]', LUCI_PASSWORD);
  await page.press('[name=luci_password]', 'Enter');
  await page.locator('a[href*="logout"]').first().waitFor({ state: 'attached' });
  browser.errors.length = 0;
  const inside = (words: readonly string[]): string[] =>
    LUCI_CLIENT === undefined ? [...words] : ['ip', 'netns', 'exec', LUCI_CLIENT, ...words];
  const clients: Process[] = [];
  const client = (name: string, words: readonly string[]): Process => {
    const child = new Process(name, inside(words));
    clients.push(child);
    return child;
  };
  return {
    kind: `LuCI at ${base}`,
    browser,
    address: LUCI_SERVER,
    open: view => shown(browser, base, view),
    client,
    succeeds: async words => (await client('command', words).ended(20_000)).code === 0,
    stop: async () => {
      await Promise.all(clients.map(child => child.kill()));
      await browser.close();
    },
  };
}

async function standin(world: World, folder: string): Promise<Router> {
  const wire = await world.pair();
  const server = await Standin.start(world, wire.left);
  const browser = await Browser.start(folder);
  const client = (name: string, words: readonly string[]): Process => wire.right.spawn(name, words);
  return {
    kind: "the stand-in for LuCI's loader",
    browser,
    address: wire.left4,
    standin: server,
    open: view => shown(browser, server.base, view),
    client,
    succeeds: async words => (await client('command', words).ended(20_000)).code === 0,
    stop: async () => {
      server.stop();
      await browser.close();
    },
  };
}

export function startRouter(world: World): Promise<Router> {
  const folder = resolve(join(world.dir, 'browser'));
  return luciUrl === undefined ? standin(world, folder) : luci(luciUrl, folder);
}
