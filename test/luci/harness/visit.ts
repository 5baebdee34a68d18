// SPDX-License-Identifier: Apache-2.0
// One visit to the pages, from the first test to the last: the router with its browser, and what is where on a page.

import type { Locator, Page } from 'playwright-core';
import { World } from '../../interop/harness/world.ts';
import { type Router, startRouter } from './router.ts';

/** The server that is made, and the client of it that is made from a profile. */
export const NAME = `web${process.pid % 100_000}`;
export const AWAY = `${NAME}b`;

export class Visit {
  world!: World;
  router!: Router;

  async begin(): Promise<void> {
    this.world = new World();
    this.router = await startRouter(this.world);
  }

  async end(): Promise<void> {
    await this.router?.stop();
    await this.world?.destroy();
  }

  readonly page = (): Page => this.router.browser.page;
  readonly text = (selector: string): Promise<string> => this.page().locator(selector).first().innerText();
  readonly card = (): string => `[data-tunnel="${NAME}"]`;
  readonly row = (name: string): Locator => this.page().locator(`${this.card()} [data-peer="${name}"]`);
}
