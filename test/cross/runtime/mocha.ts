// SPDX-License-Identifier: Apache-2.0
// As much of mocha as the unit tests use, in order and one at a time. Collects while the tests' files load; `run` runs.

type Body = (this: Context) => unknown;

interface Context {
  timeout(limitMs: number): Context;
  slow(limitMs: number): Context;
}

interface Suite {
  readonly title: string;
  readonly parent: Suite | undefined;
  readonly hooks: Record<'before' | 'beforeEach' | 'afterEach' | 'after', Body[]>;
  readonly steps: (() => Promise<void>)[];
}

const newSuite = (title: string, parent?: Suite): Suite => ({
  title,
  parent,
  hooks: { before: [], beforeEach: [], afterEach: [], after: [] },
  steps: [],
});

const root = newSuite('');
const counts = { passed: 0, failed: 0 };
let suite = root;
let without: RegExp | undefined;
let say: (line: string) => void = () => undefined;

const context: Context = { timeout: () => context, slow: () => context };

function titleOf(one: Suite | undefined): string {
  return one?.parent === undefined ? '' : `${titleOf(one.parent)}${one.title}: `;
}

function chain(one: Suite | undefined, name: 'beforeEach' | 'afterEach'): Body[] {
  return one === undefined ? [] : [...chain(one.parent, name), ...one.hooks[name]];
}

async function all(bodies: readonly Body[]): Promise<void> {
  for (const body of bodies) await body.call(context);
}

async function runTest(owner: Suite, title: string, body: Body): Promise<void> {
  if (without?.test(title)) return;
  try {
    await all(chain(owner, 'beforeEach'));
    await body.call(context);
    await all(chain(owner, 'afterEach'));
    counts.passed++;
  } catch (error) {
    counts.failed++;
    const { message, stack } = error as Error;
    say(`FAILED ${titleOf(owner)}${title}\n  ${message}\n${stack ?? ''}`);
  }
}

async function runSuite(one: Suite): Promise<void> {
  await all(one.hooks.before);
  for (const step of one.steps) await step();
  await all(one.hooks.after);
}

function describe(title: string, body: Body): void {
  const own = newSuite(title, suite);
  suite.steps.push(() => runSuite(own));
  suite = own;
  body.call(context);
  suite = own.parent!;
}

function it(title: string, body: Body): void {
  const owner = suite;
  owner.steps.push(() => runTest(owner, title, body));
}

const hook = (name: keyof Suite['hooks']) => (body: Body) => {
  suite.hooks[name].push(body);
};

Object.assign(globalThis, {
  describe,
  it,
  before: hook('before'),
  beforeEach: hook('beforeEach'),
  afterEach: hook('afterEach'),
  after: hook('after'),
});

/** Runs what was collected but for titles that match `skip`. */
export async function run(
  print: (line: string) => void,
  skip: RegExp,
): Promise<{ passed: number; failed: number }> {
  say = print;
  without = skip;
  await runSuite(root);
  return counts;
}
