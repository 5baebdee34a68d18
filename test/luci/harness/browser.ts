// SPDX-License-Identifier: Apache-2.0
// A headless Chromium with a profile of its own, and pictures of pages at the width of a desk and of a phone.

import { chmodSync, existsSync, mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type BrowserContext, chromium, type Page } from 'playwright-core';

const CHROMIUM = '/usr/bin/chromium';
const SCREENSHOTS = 'build/screenshots';
const DESK = { width: 1280, height: 900 };
const PHONE = { width: 390, height: 844 };
const FLAGS = [
  '--headless',
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
];

export const hasChromium = (): boolean => existsSync(CHROMIUM);

export class Browser {
  readonly page: Page;
  /** What pages complained of: uncaught errors. */
  readonly errors: string[] = [];
  readonly #context: BrowserContext;
  readonly #folder: string;

  private constructor(context: BrowserContext, page: Page, folder: string) {
    this.page = page;
    this.#context = context;
    this.#folder = folder;
    page.on('pageerror', error => this.errors.push(error.message));
  }

  /** `namespace`: the network namespace it runs in, when the pages are not on this machine's own loopback. */
  static async start(folder: string, namespace?: string): Promise<Browser> {
    mkdirSync(folder, { recursive: true });
    let executablePath = CHROMIUM;
    if (namespace !== undefined) {
      executablePath = join(folder, 'chromium');
      writeFileSync(executablePath, `#!/bin/sh\nexec ip netns exec '${namespace}' ${CHROMIUM} "$@"\n`);
      chmodSync(executablePath, 0o755);
    }
    const context = await chromium.launchPersistentContext(join(folder, 'profile'), {
      executablePath,
      args: FLAGS,
      viewport: DESK,
      acceptDownloads: true,
      timeout: 60_000,
    });
    context.setDefaultTimeout(60_000);
    const page = context.pages()[0] ?? (await context.newPage());
    return new Browser(context, page, folder);
  }

  /** Pictures of what is shown, at both widths and in both schemes. */
  async picture(name: string): Promise<void> {
    mkdirSync(SCREENSHOTS, { recursive: true });
    const { page } = this;
    await page.screenshot({ path: join(SCREENSHOTS, `${name}-desk.png`), fullPage: true });
    await page.emulateMedia({ colorScheme: 'dark' });
    await page.setViewportSize(PHONE);
    await page.screenshot({ path: join(SCREENSHOTS, `${name}-phone.png`), fullPage: true });
    const [wide = 0, width = 0] = await page.evaluate<number[]>(
      '[document.documentElement.scrollWidth, document.documentElement.clientWidth]',
    );
    await page.emulateMedia({ colorScheme: 'light' });
    await page.setViewportSize(DESK);
    if (wide > width) throw new Error(`${name}: a phone must scroll sideways: ${wide} in ${width} pixels`);
  }

  async close(): Promise<void> {
    await this.#context.close();
    rmSync(this.#folder, { recursive: true, force: true });
  }
}
