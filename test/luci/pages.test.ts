// SPDX-License-Identifier: Apache-2.0
// The pages in a real browser, from nothing to a connected client and back. Each test stands on the one before, so the
// pages of clients and of settings (clientpage.ts, settingspage.ts) have their turns in here. Which router it was is in
// the title.

import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { missingStock } from '../interop/harness/openvpn.ts';
import { expireSoon } from '../interop/harness/pki.ts';
import type { Process } from '../interop/harness/process.ts';
import { clientPage } from './clientpage.ts';
import { hasChromium } from './harness/browser.ts';
import { MARKUP, POISON } from './harness/markup.ts';
import { luciUrl } from './harness/router.ts';
import { AWAY, NAME, Visit } from './harness/visit.ts';
import { settingsPage } from './settingspage.ts';

const QR_SIZE = '+/ width="([0-9]+)"/.exec(decodeURIComponent(document.querySelector(".ovpnd-qr").src))[1]';
const KEYS = ['EC P-256', 'Ed25519'];
const FOCUSED = '[document.activeElement.innerText, getComputedStyle(document.activeElement).outlineStyle]';
const STOCK = ['--disable-dco', '--verb', '3', '--connect-retry', '1', '2', '--hand-window', '8'];

const hasZbar = existsSync('/usr/bin/zbarimg');
const missing = [
  ...(hasChromium() ? [] : ['chromium']),
  ...(hasZbar ? [] : ['zbar-tools']),
  ...(luciUrl ? [] : missingStock('openvpn')),
];
const title = `pages, ${luciUrl === undefined ? "on the stand-in for LuCI's loader" : `on LuCI at ${luciUrl}`}`;

describe(missing.length === 0 ? title : `${title}: missing ${missing.join(', ')}`, function () {
  this.timeout(120_000);
  // Each stands on the one before.
  this.bail(true);
  const visit = new Visit();
  const { page, text, card, row } = visit;
  let client: Process;
  let profile = '';
  let tunnelAddress = '';
  let tunnelAddress6 = '';

  before(async function () {
    if (missing.length > 0) this.skip();
    await visit.begin();
  });

  after(async () => {
    if (missing.length > 0) return;
    await visit.end();
  });

  afterEach(function () {
    if (this.currentTest?.state === 'failed' && visit.router?.standin)
      console.log(visit.router.standin.tails());
  });

  async function connected(): Promise<Process> {
    const path = join(visit.world.dir, 'phone.ovpn');
    writeFileSync(path, profile);
    const child = visit.router.client('openvpn phone', ['openvpn', '--config', path, ...STOCK]);
    await child.line(/Initialization Sequence Completed/, 60_000);
    return child;
  }

  /** What another program reads from the picture on the screen is the profile, as OpenVPN takes it. */
  async function scans(): Promise<void> {
    await page().locator('.ovpnd-profile summary').press('Enter');
    assert.match(await text('.ovpnd-profile'), /The download is the surer way/);
    const path = join(visit.world.dir, 'code.png');
    await page().locator('img.ovpnd-qr').screenshot({ path });
    await visit.router.browser.picture('server-code');
    const { status, stdout, stderr } = spawnSync('zbarimg', ['--raw', '-q', path], { encoding: 'utf8' });
    assert.equal(status, 0, stderr);
    assert.equal(stdout.trimEnd(), profile.replace(/^#.*\n/gm, '').trimEnd());
    const size = await page().evaluate<number>(QR_SIZE);
    console.log(`      the profile's QR code is of version ${(size / 3 - 8 - 17) / 4}`);
  }

  it('refuses what cannot be right in the wizard, beside the field or in one line', async () => {
    await visit.router.open('server');
    if ((await page().locator('.ovpnd-wizard').isVisible()) === false)
      await page().click('summary:has-text("another")');
    await page().fill('[name=tunnel]', 'a b');
    const port = await page().inputValue('[name=port]');
    await page().fill('[name=port]', '70000');
    await page().click('text=Make the server');
    assert.match(await text('.ovpnd-wizard'), /The name must be 1 to 32 letters/);
    assert.match(await text('.ovpnd-wizard'), /A port is a number from 1 to 65535/);
    tunnelAddress = await page().inputValue('[name=address]');
    assert.match(tunnelAddress, /^10\.\d+\.\d+\.1\/24$/);
    await page().fill('[name=tunnel]', NAME);
    await page().fill('[name=port]', port);
    await page().fill('[name=address]', '10.8.0.0/24');
    await page().click('text=Make the server');
    await page().locator('.ovpnd-wizard .alert-message.error').waitFor();
    assert.match(
      await text('.ovpnd-wizard .alert-message.error'),
      /^address 10\.8\.0\.0\/24 must be an address of its subnet, such as 10\.8\.0\.1\/24$/,
    );
    await visit.router.browser.picture('server-refused');
  });

  it('makes a server with the keyboard alone, and the first client', async () => {
    await page().fill('[name=address]', tunnelAddress);
    await page().fill('[name=networks]', '192.168.1.0/24');
    tunnelAddress6 = await page().inputValue('[name=address6]');
    assert.match(tunnelAddress6, /^fd[0-9a-f]{2}:[0-9a-f:]+::1\/64$/);
    assert.deepEqual(await page().locator('[name=kind] option').allInnerTexts(), KEYS);
    await page().focus('[name=firewall]');
    await page().keyboard.press('Tab');
    assert.deepEqual(await page().evaluate<string[]>(FOCUSED), ['Make the server', 'solid']);
    await page().focus('[name=tunnel]');
    await page().keyboard.press('Enter');
    const server = page().locator(`[data-server="${NAME}"]`);
    await server.waitFor();
    await server.getByText('No client yet.').waitFor();
    await server.locator('[name=remote]').fill(visit.router.address);
    await server.locator('[name=peer]').fill('a b');
    await server.locator('[name=peer]').press('Enter');
    assert.match(await server.innerText(), /Give the client a name/);
    await server.locator('[name=peer]').fill('phone');
    await server.locator('[name=peer]').press('Enter');
    await page().locator('.ovpnd-download').waitFor();
    await visit.router.browser.picture('server-profile');
    const [file] = await Promise.all([page().waitForEvent('download'), page().click('.ovpnd-download')]);
    assert.equal(file.suggestedFilename(), 'phone.ovpn');
    profile = readFileSync(await file.path(), 'utf8');
    assert.match(profile, /<tls-crypt-v2>[\s\S]*<\/tls-crypt-v2>/);
    // By the installed package there is a picture, else a word.
    const isQr = (await page().locator('img.ovpnd-qr').count()) === 1;
    assert.ok(isQr || visit.router.standin === undefined);
    if (!isQr) assert.match(await text('.ovpnd-profile'), /luci-lib-uqr/);
    else await scans();
    await page().locator('.ovpnd-profile').getByRole('button', { name: 'Close' }).click();
    assert.doesNotMatch(await page().content(), /BEGIN PRIVATE KEY/);
    await server.getByText('valid', { exact: true }).waitFor();
    await visit.router.browser.picture('server');
  });

  it('shows the client that stock OpenVPN connects with that profile', async () => {
    client = await connected();
    const gateway = tunnelAddress.split('/')[0]!;
    const gateway6 = tunnelAddress6.split('/')[0]!;
    assert.ok(await visit.router.succeeds(['ping', '-c', '3', '-i', '0.2', '-W', '5', gateway6]));
    assert.ok(await visit.router.succeeds(['ping', '-c', '3', '-i', '0.2', '-W', '5', gateway]));
    await visit.router.open('status');
    await row('phone').waitFor();
    const shown = await row('phone').innerText();
    assert.match(shown, /10\.\d+\.\d+\.\d+ fd[0-9a-f]{2}:\S+::2/);
    assert.match(shown, /(?:AES-\d+-GCM|CHACHA20-POLY1305), \d+ s ago/);
    assert.match(await text(card()), /listening[\s\S]*(?:offloaded|not offloaded)/);
    // A rate needs two answers.
    const traffic = visit.router.client('ping', ['ping', '-i', '0.1', '-s', '1000', gateway]);
    await row('phone')
      .getByText(/[1-9][0-9.]* [KM]bit\/s/)
      .first()
      .waitFor();
    await traffic.kill();
    await page().locator(`${card()} summary`).click();
    await page().locator(`${card()} .ovpnd-log`).getByText(/phone/).waitFor();
    await visit.router.browser.picture('status');
  });

  it('has a table for the overview, and a protocol for interfaces where there is LuCI', async () => {
    const [title, overview] = await page().evaluate<string[]>(`(async () => {
      const include = await L.require('view.status.include.35_ovpnd');
      return [include.title, include.render(await include.load()).textContent, String(include.render(null))];
    })()`);
    assert.equal(title, 'VPN tunnels');
    assert.match(overview!, new RegExp(`${NAME}listening1(?:native|offloaded|js)10\\.`));
    if (visit.router.standin !== undefined) return;
    const protocol = await page().evaluate<string>(`(async () => {
      const network = await L.require('network');
      await L.require('protocol.ovpnd');
      await network.getNetworks();
      const protocol = network.getProtocol('ovpnd', 'nowhere');
      return [protocol.getI18n(), protocol.getIfname(), protocol.isVirtual(), protocol.isFloating()].join();
    })()`);
    assert.equal(protocol, 'OpenVPN tunnel (ovpnd),ov-nowhere,true,true');
  });

  it('disconnects; the client comes back by itself', async () => {
    const before = client.count(/Initialization Sequence Completed/);
    await row('phone').getByRole('button', { name: 'Disconnect: phone' }).click();
    await page()
      .locator(`${card()} .ovpnd-messages`)
      .getByText(/Disconnected/)
      .waitFor();
    for (let i = 0; client.count(/Initialization Sequence Completed/) <= before; i++) {
      assert.ok(i < 300, client.output);
      await new Promise(done => setTimeout(done, 200));
    }
    await row('phone').waitFor();
  });

  it('disables and enables', async () => {
    await row('phone').getByRole('button', { name: 'Disable: phone' }).click();
    const kept = page().locator(card()).getByText('Kept out: phone');
    await kept.waitFor();
    await row('phone').waitFor({ state: 'detached' });
    await page().locator(card()).getByRole('button', { name: 'Enable' }).click();
    await kept.waitFor({ state: 'detached' });
    // Who is told that it may not come in gives up by itself.
    await client.kill();
    client = await connected();
    await row('phone').waitFor({ timeout: 60_000 });
  });

  it('revokes: the session ends and the profile never works again', async () => {
    await visit.router.open('server');
    await page().getByRole('button', { name: 'Revoke: phone' }).click();
    await page().locator('.modal').getByRole('button', { name: 'Revoke' }).click();
    await page().locator(`[data-server="${NAME}"]`).getByText('revoked', { exact: true }).waitFor();
    const before = client.count(/Initialization Sequence Completed/);
    await visit.router.open('status');
    await row('phone').waitFor({ state: 'detached', timeout: 60_000 });
    await page().locator(`${card()} summary`).click();
    await page()
      .locator(`${card()} .ovpnd-log`)
      .getByText(/revoked/)
      .first()
      .waitFor({ timeout: 60_000 });
    assert.equal(client.count(/Initialization Sequence Completed/), before);
    assert.equal(await row('phone').count(), 0);
    await client.kill();
  });

  it('says what ends soon; renews it, and gives a new profile', async function () {
    if (visit.router.standin === undefined) return this.skip();
    await expireSoon(visit.router.standin.keys(NAME), NAME);
    assert.ok('key' in visit.router.standin.authority(NAME, 20).issue('tablet', 'client', 25));
    await visit.router.open('status');
    assert.match(
      await text(card()),
      /Certificates\s+the server's certificate \(server\.crt\) expires in [45] days/,
    );
    await visit.router.open('server');
    const server = page().locator(`[data-server="${NAME}"]`);
    await server.getByText('valid, ends soon').waitFor();
    await server.getByText(/server\.crt\) expires in/).waitFor();
    await visit.router.browser.picture('server-renew');
    await server.getByRole('button', { name: 'Renew' }).click();
    await server.getByText(/Who is connected stays connected/).waitFor();
    assert.equal(await server.locator('.ovpnd-renew').count(), 0);
    await server.locator('[name=remote]').fill('');
    await server.getByRole('button', { name: 'New profile: tablet' }).click();
    await server.getByText(/Without an address the client would not know/).waitFor();
    await server.locator('[name=remote]').fill(visit.router.address);
    await server.getByRole('button', { name: 'New profile: tablet' }).click();
    const [file] = await Promise.all([page().waitForEvent('download'), page().click('.ovpnd-download')]);
    assert.equal(file.suggestedFilename(), 'tablet.ovpn');
    await page().locator('.ovpnd-profile').getByRole('button', { name: 'Close' }).click();
    await server.getByRole('button', { name: 'New profile: tablet' }).waitFor({ state: 'detached' });
    await visit.router.open('status');
    assert.doesNotMatch(await text(card()), /expires/);
  });

  clientPage(visit);

  settingsPage(visit);

  it('shows whatever a peer, a file or the daemon says as text, never as markup', async () => {
    const { errors } = visit.router.browser;
    // No reality has markup in every answer at once.
    await page().addInitScript(POISON);
    await page().evaluate("sessionStorage.setItem('poison', '1')");
    for (const view of ['status', 'server', 'client', 'settings']) {
      await visit.router.open(view);
      if (view === 'client') await page().fill('[name=profile]', 'client\nca x\n');
      for (let i = 0; !(await page().locator('#view').textContent())?.includes(MARKUP); i++) {
        assert.ok(i < 100, `${view}: ${await text('#view')}`);
        await new Promise(done => setTimeout(done, 100));
      }
      assert.equal(await page().locator('.poison').count(), 0, view);
      assert.notEqual(await page().title(), 'owned', view);
    }
    await page().evaluate("sessionStorage.removeItem('poison')");
    assert.deepEqual(errors, []);
  });

  it('removes what was made, with a question first', async () => {
    await visit.router.open('client');
    const line = page().locator('tr', { hasText: AWAY });
    await line.getByRole('button', { name: 'Remove' }).click();
    await page().locator('.modal').getByRole('button', { name: 'Remove' }).click();
    await line.waitFor({ state: 'detached' });
    await visit.router.open('settings');
    await page()
      .getByRole('button', { name: `${NAME} (server)` })
      .click();
    await page().locator('.ovpnd-settings').getByRole('button', { name: 'Remove' }).click();
    await page().locator('.modal').getByRole('button', { name: 'Remove' }).click();
    await page()
      .getByRole('button', { name: `${NAME} (server)` })
      .waitFor({ state: 'detached' });
    assert.deepEqual(visit.router.browser.errors, []);
  });
});
