// SPDX-License-Identifier: Apache-2.0
// The page of clients: a provider's profile that cannot work, and one that connects, with a kill switch.

import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { AWAY, NAME, type Visit } from './harness/visit.ts';

export function clientPage(visit: Visit): void {
  const { page, text, row } = visit;

  it('takes a profile in, says what became of each line, and shows hostile text as text', async () => {
    await visit.router.open('client');
    const markup = '<img src=x onerror=document.title=1>';
    const lines = ['client', 'remote vpn.example', 'ca /etc/passwd', `cipher "${markup}"`, 'ncp-disable'];
    await page().fill('[name=profile]', lines.join('\n'));
    await page().locator('.alert-message.error').waitFor();
    assert.match(await text('.ovpnd-import'), /names a file, which a web page cannot give/);
    assert.match(await text('.ovpnd-import'), /<IMG SRC=X/);
    assert.ok(await page().getByRole('button', { name: 'Connect' }).isDisabled());
    await visit.router.browser.picture('client-refused');
    assert.equal(await page().locator('.ovpnd-import img').count(), 0);
    assert.notEqual(await page().title(), '1');
  });

  it('connects with a profile that it took in', async () => {
    await visit.router.open('server');
    const server = page().locator(`[data-server="${NAME}"]`);
    await server.locator('[name=remote]').fill('192.0.2.1');
    await server.locator('[name=peer]').fill('roof');
    await server.getByRole('button', { name: 'Add client' }).click();
    const [file] = await Promise.all([page().waitForEvent('download'), page().click('.ovpnd-download')]);
    const local = readFileSync(await file.path(), 'utf8').replace('192.0.2.1', '127.0.0.1');
    await page().locator('.ovpnd-profile').getByRole('button', { name: 'Close' }).click();
    await visit.router.open('client');
    const path = join(visit.world.dir, `${AWAY}.ovpn`);
    writeFileSync(path, local);
    await page().setInputFiles('[name=file]', path);
    await page().locator('.ovpnd-group summary').waitFor();
    assert.equal(await page().inputValue('[name=name]'), AWAY);
    // It asks for no login and names no networks.
    for (const name of ['username', 'password', 'networks']) {
      assert.equal(await page().locator(`.ovpnd-import [name=${name}]`).isVisible(), false, name);
    }
    await page().click('.ovpnd-group summary');
    await visit.router.browser.picture('client');
    await page().getByLabel('only these networks').check();
    await page().getByRole('button', { name: 'Connect' }).click();
    assert.match(await text('.ovpnd-import'), /Name at least one network/);
    // The profile itself does not say what a kill switch would keep in.
    await page().getByLabel('what the profile and the server say').check();
    await page().check('[name=kill_switch]');
    await page().getByRole('button', { name: 'Connect' }).click();
    assert.match(await text('.ovpnd-import'), /does not say what must go through the tunnel/);
    await page().getByLabel('only these networks').check();
    await page().fill('.ovpnd-import [name=networks]', '198.18.0.0/24');
    await page().getByRole('button', { name: 'Connect' }).click();
    await page()
      .locator('.ovpnd-import')
      .getByText(/is taken in and connects now/)
      .waitFor();
    await visit.router.open('status');
    await page()
      .locator(`[data-tunnel="${AWAY}"]`)
      .getByText('connected', { exact: true })
      .waitFor({ timeout: 60_000 });
    await row('roof').waitFor();
    assert.match(await text(`[data-tunnel="${AWAY}"]`), /Kill switch\s+on: what goes through this tunnel/);
    if (visit.router.standin === undefined) return;
    assert.match(visit.router.standin.config(), /option kill_switch '1'/);
    const routes = await visit.router.standin.run(['ip', 'route', 'show', 'type', 'unreachable']);
    assert.match(routes, /198\.18\.0\.0\/24/);
  });
}
