// SPDX-License-Identifier: Apache-2.0
// Everybody writes at once: the page's methods, the command line and another program that takes libuci's lock. Nothing that was written is lost,
// and nobody who is revoked is forgotten.

import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import * as fs from 'node:fs';
import { dirname, resolve } from 'node:path';
import {
  type ConfigText,
  readConfigText,
  whileLocked,
  writeConfigText,
} from '../../src/daemon/configtext.ts';
import { newHost, temporary } from '../shim/support.ts';

const host = newHost();
const TURNS = 12;
const SERVER = "config server 'home'\n\tlist address '10.8.0.1/24'\n";

/**
 * What `uci commit` does with one more section, so many times, but for its flaw: it does not look whether it got the
 * lock of a file that has been replaced (test/shim/lock.test.ts has what becomes of that).
 */
const UCI = `
for i in $(seq ${TURNS}); do
  while :; do
    exec 9<>"$1"
    flock -x 9
    [ "$(stat -L -c %i /dev/fd/9)" = "$(stat -c %i "$1")" ] && break
  done
  { cat <&9; printf "\\nconfig client 'uci%d'\\n" $i; } >"$1.uci"
  mv "$1.uci" "$1"
  exec 9>&-
done
`;

interface Places {
  readonly config: string;
  readonly words: readonly string[];
}

function places(name: string): Places {
  const root = temporary(`writers.${name}`);
  fs.mkdirSync(`${root}/config`, { recursive: true });
  fs.writeFileSync(`${root}/config/ovpnd`, SERVER);
  return {
    config: `${root}/config/ovpnd`,
    words: ['-c', `${root}/config`, '-k', `${root}/keys`, '-r', `${root}/run`, '-u', `${root}/none`],
  };
}

function run(words: readonly string[], input = ''): Promise<string> {
  const child = spawn(words[0]!, words.slice(1), { stdio: ['pipe', 'pipe', 'inherit'] });
  let out = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    out += text;
  });
  child.stdin.end(input);
  return new Promise((done, fail) => {
    child.on('close', code =>
      code === 0 ? done(out) : fail(new Error(`${words.join(' ')}: ${code} ${out}`)),
    );
  });
}

describe('writers of one configuration', function () {
  this.timeout(60_000);
  const ovpnd = resolve('build/ovpnd');

  it('lose nothing of each other', async () => {
    const { config, words } = places('all');
    await run([ovpnd, 'pki', 'init', 'home', ...words]);
    const save = async (who: string): Promise<void> => {
      for (let i = 1; i <= TURNS; i++) {
        const changes = [{ type: 'peer', name: `${who}${i}`, options: { tunnel: 'home' } }];
        const answer = await run([ovpnd, 'rpcd', 'call', 'save', ...words], JSON.stringify({ changes }));
        assert.match(answer, /"problems":\[\]/);
      }
    };
    const keepOut = async (): Promise<void> => {
      for (let i = 1; i <= TURNS; i++) {
        const args = { tunnel: 'home', peer: `out${i}`, enabled: false };
        assert.equal(
          await run([ovpnd, 'rpcd', 'call', 'peer_enable', ...words], JSON.stringify(args)),
          '{}\n',
        );
      }
    };
    await Promise.all([save('a'), save('b'), keepOut(), run(['sh', '-c', UCI, 'sh', config])]);
    const text = fs.readFileSync(config, 'utf8');
    for (let i = 1; i <= TURNS; i++) {
      for (const section of [`peer 'a${i}'`, `peer 'b${i}'`, `peer 'out${i}'`, `client 'uci${i}'`]) {
        assert.equal(text.split(`config ${section}\n`).length, 2, section);
      }
    }
    assert.match(text, /option tls_crypt_v2 /);
    assert.deepEqual(fs.readdirSync(dirname(config)), ['ovpnd']);
  });

  it('revoke everybody who is to be revoked', async () => {
    const { words } = places('revoke');
    await run([ovpnd, 'pki', 'init', 'home', ...words]);
    const names = Array.from({ length: 8 }, (_, i) => `peer${i}`);
    await Promise.all(names.map(name => run([ovpnd, 'pki', 'issue', 'home', name, ...words])));
    await Promise.all(names.map(name => run([ovpnd, 'pki', 'revoke', 'home', name, ...words])));
    const list = await run([ovpnd, 'pki', 'list', 'home', '--json', ...words]);
    const states = (JSON.parse(list) as { common_name: string; state: string }[])
      .filter(({ common_name }) => common_name !== 'home')
      .map(({ state }) => state);
    assert.deepEqual(
      states,
      names.map(() => 'revoked'),
    );
  });

  it('notice one that takes no lock, and write nothing then', () => {
    const { config } = places('editor');
    const directory = config.replace(/\/ovpnd$/, '');
    const write = (between: () => void): unknown =>
      whileLocked(host, config, () => {
        const read = readConfigText(host, directory) as ConfigText;
        between();
        return writeConfigText(host, read, `${read.text}# ours\n`);
      });
    assert.equal(
      write(() => undefined),
      undefined,
    );
    const theirs = "config server 'theirs'\n";
    assert.match(String(write(() => fs.writeFileSync(config, theirs))), /was changed meanwhile; try again/);
    assert.match(String(write(() => fs.rmSync(config))), /was changed meanwhile/);
    assert.ok(!fs.existsSync(config));
    // A file that was not there is made.
    assert.equal(
      write(() => undefined),
      undefined,
    );
    assert.match(String(write(() => fs.appendFileSync(config, '\n'))), /was changed meanwhile/);
    assert.equal(fs.readFileSync(config, 'utf8'), '# ours\n\n');
  });

  it('wait no longer than a person would', function () {
    this.timeout(30_000);
    const { config } = places('held');
    const holder = spawnSync('sh', ['-c', `flock -x "$1" sleep 60 >/dev/null 2>&1 & echo $!`, 'sh', config], {
      encoding: 'utf8',
    });
    const pid = Number(holder.stdout);
    try {
      while (!('failed' in host.lockFile(config))) spawnSync('sleep', ['0.05']);
      assert.deepEqual(
        whileLocked(host, config, () => 'done'),
        { refused: `${config}: somebody else is changing it` },
      );
    } finally {
      process.kill(pid);
    }
  });
});
