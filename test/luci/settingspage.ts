// SPDX-License-Identifier: Apache-2.0
// The page of settings: options that cannot be right, a password that is not shown, an account that may only look.

import assert from 'node:assert/strict';
import { NAME, type Visit } from './harness/visit.ts';

export function settingsPage(visit: Visit): void {
  const { page, text } = visit;

  it('shows every option of the schema and saves nothing that check refuses', async () => {
    await visit.router.open('settings');
    await page()
      .getByRole('button', { name: `${NAME} (server)` })
      .click();
    for (const group of await page().locator('.ovpnd-settings details').all())
      await group.evaluate(node => node.setAttribute('open', ''));
    await visit.router.browser.picture('settings');
    const options = await page()
      .locator('[data-option]')
      .evaluateAll(nodes => nodes.map(node => node.getAttribute('data-option')));
    assert.ok(
      options.length > 45 && options.includes('reneg_sec') && options.includes('tls_crypt_v2'),
      options.join(),
    );
    const option = (name: string) => page().locator(`[data-option=${name}]`);
    await option('max_clients').fill('0');
    await page().getByRole('button', { name: 'Save' }).click();
    assert.match(await text('.ovpnd-settings'), /must be a number from 1 to 65535/);
    await option('max_clients').fill('7');
    await option('keepalive').fill('10 11');
    await page().getByRole('button', { name: 'Save' }).click();
    await page().getByText('Nothing was saved:').waitFor();
    assert.match(await text('.ovpnd-settings'), /second time of at least twice the first/);
    assert.equal(await option('keepalive').getAttribute('aria-invalid'), 'true');
    if (visit.router.standin) assert.doesNotMatch(visit.router.standin.config(), /max_clients/);
    await option('keepalive').fill('');
    await page().getByRole('button', { name: 'Check' }).click();
    await page()
      .getByText(/Nothing is wrong with this/)
      .waitFor();
    await page().getByRole('button', { name: 'Save' }).click();
    await page().getByText('Saved.').waitFor();
    assert.match(await text('.ovpnd-settings'), /Takes effect: \S+: at once/);
    if (visit.router.standin) assert.match(visit.router.standin.config(), /option max_clients '7'/);
    await visit.router.open('settings');
    await page()
      .getByRole('button', { name: `${NAME} (server)` })
      .click();
    assert.equal(await option('max_clients').inputValue(), '7');
  });

  it('adds a user whose password is kept as a hash and never shown', async () => {
    const user = `${NAME}u`;
    await page().locator('select').last().selectOption('user');
    await page().fill('[name=section]', user);
    await page().getByRole('button', { name: 'Add', exact: true }).click();
    await page().locator('[data-option=tunnel]').fill(NAME);
    await page().locator('.ovpnd-settings summary').nth(1).click();
    await page().locator('[data-option=password_hash]').fill('correct horse');
    await page().locator('.ovpnd-save-button').click();
    await page().getByText('Saved.').waitFor();
    assert.doesNotMatch(await page().content(), /correct horse|\$6\$/);
    if (visit.router.standin) assert.match(visit.router.standin.config(), /option password_hash '\$6\$/);
  });

  it('says so when an account may only look', async function () {
    if (visit.router.standin === undefined) return this.skip();
    visit.router.standin.canWrite = false;
    await visit.router.open('status');
    await visit.router.open('settings');
    await page()
      .getByRole('button', { name: `${NAME} (server)` })
      .click();
    await page().locator('[data-option=max_clients]').fill('9');
    await page().getByRole('button', { name: 'Save' }).click();
    await page()
      .getByText(/You may look here, but not change anything/)
      .waitFor();
    visit.router.standin.canWrite = true;
  });
}
