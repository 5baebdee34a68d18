// SPDX-License-Identifier: Apache-2.0
// What stock OpenVPN makes of our answers to its logins and certificates, and we of its: refused for good, refused for
// now, and in again.

import { match, ok, strictEqual } from 'node:assert';
import { chmodSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { join, resolve } from 'node:path';
import { openssl, revocations } from './harness/crl.ts';
import { code, SECRET } from './harness/onetime.ts';
import type { Options, Section } from './harness/ovpnd.ts';
import { ping, reach } from './harness/ping.ts';
import { type Pki, pki } from './harness/pki.ts';
import { type Process, run } from './harness/process.ts';
import { type Row, table } from './harness/rows.ts';
import { once, runState } from './harness/state.ts';
import { bundled } from './harness/traffic.ts';
import { type End, type Extra, SERVER4, startClient, startServer } from './harness/tunnel.ts';
import { PATIENCE_MS } from './harness/wait.ts';
import type { World } from './harness/world.ts';

const hashOf = (password: string): string => openssl('passwd', '-6', '-salt', 'saltsalt', password);

function user(name: string, password: string, more: Options = {}): Section {
  return { type: 'user', name, options: { tunnel: 'home', password_hash: hashOf(password), ...more } };
}

const ANNA = [user('anna', 'hunter2')];
const USERS = { auth: 'users' };
let files = 0;

function loginFile(world: World, username: string, password: string): string {
  const path = join(world.folder(`login${files++}`), 'login');
  writeFileSync(path, `${username}\n${password}\n`, { mode: 0o600 });
  return path;
}

const GOOD = (world: World) => [`auth-user-pass ${loginFile(world, 'anna', 'hunter2')}`];
const WRONG = (world: World) => [`auth-user-pass ${loginFile(world, 'anna', 'hunter3')}`];

/** Rewrites the daemon's file and has it read. */
async function reload(server: End, from: string, to: string): Promise<void> {
  const path = join(server.ovpnd!.dir, 'ovpnd');
  const text = readFileSync(path, 'utf8');
  ok(text.includes(from), `no ${from}`);
  writeFileSync(path, text.replace(from, to));
  strictEqual((await server.ovpnd!.ask('reload', 'home')).code, 0);
}

interface Scene {
  readonly world: World;
  readonly keys: Pki;
  readonly server: End;
  /** A stock client. */
  readonly client: (lines: readonly string[], extra?: Extra) => Process;
  readonly reach: () => Promise<unknown>;
}

/** An ovpnd server and stock clients. */
function atServer(
  title: string,
  extra: (world: World, keys: Pki) => Extra | Promise<Extra>,
  body: (scene: Scene) => Promise<void>,
): Row {
  return {
    title: `ovpnd server: ${title}`,
    runtimes: ['quickjs'],
    body: async world => {
      const keys = await pki();
      const wire = await world.pair();
      const server = await startServer(world, wire.left, keys, 'quickjs', {}, await extra(world, keys));
      let number = 0;
      const client = (lines: readonly string[], more: Extra = {}): Process => {
        const identity = more.identity ?? keys.clients[0]!;
        const { process } = startClient(
          world,
          wire,
          keys,
          'openvpn',
          {},
          {
            ...more,
            identity,
            lines,
            number: number++,
          },
        );
        return process;
      };
      await body({ world, keys, server, client, reach: () => reach(world, wire.right, SERVER4) });
    },
  };
}

const TOLD = (words: string) => new RegExp(`AUTH: Received control message: AUTH_FAILED${words}$`);
const ENDED = /SIGTERM\[soft,auth-failure\] received, process exiting/;
const TRIED_AGAIN = /SIGUSR1\[soft,auth-failure.*\] received, process restarting/;
const TEMPORARY = /SIGUSR1\[soft,auth-temp-failure.*\] received, process restarting/;

async function startService(world: World, socket: string): Promise<Process> {
  const namespace = await world.namespace();
  const env = { OVPND_SHIM: resolve('build/shim.node') };
  const service = world.spawn('ubus service', namespace, ['node', await bundled('ubusservice'), socket], {
    env,
  });
  await service.line(/serving/);
  return service;
}

const byService: Row = {
  title:
    'ovpnd server: a service on ubus is asked; silent or missing it is no wrong password, and back it lets in',
  runtimes: ['quickjs'],
  isWaiting: true,
  body: async world => {
    const keys = await pki();
    const wire = await world.pair();
    const socket = join(world.folder('bus'), 'sock');
    const options = { auth: 'ubus', auth_method: 'radius.login check', hand_window: '6' };
    const server = await startServer(
      world,
      wire.left,
      keys,
      'quickjs',
      {},
      { options, run: { ubus: socket } },
    );
    const client = (number: number, lines: readonly string[]) =>
      startClient(world, wire, keys, 'openvpn', {}, { number, lines }).process;
    // Nobody serves the bus yet.
    const first = client(0, GOOD(world));
    await first.line(TOLD(',TEMP\\[backoff 10\\]:logins cannot be checked'));
    await first.line(TEMPORARY);
    await server.process.line(/user 'anna': radius.login check does not answer: /);
    const service = await startService(world, socket);
    await reach(world, wire.right, SERVER4);
    match(service.output, /asked anna 10\.[0-9.]+/);
    const wrong = client(1, WRONG(world));
    wrong.isEnding = true;
    await wrong.line(ENDED);
    // It is there and says nothing.
    service.signal('SIGSTOP');
    const second = client(2, GOOD(world));
    await second.line(TOLD(',TEMP\\[backoff 10\\]:logins cannot be checked'));
    await second.line(TEMPORARY);
    strictEqual((await ping(wire.right, SERVER4, { count: 3 })).received, 3);
  },
};

const lockedOut = atServer(
  'who fails five times is locked out, hears so, and stays',
  () => ({ options: USERS, sections: ANNA }),
  async ({ world, client }) => {
    const guesses = Array.from({ length: 5 }, () => client(WRONG(world)));
    for (const guess of guesses) guess.isEnding = true;
    for (const guess of guesses) await guess.line(ENDED);
    strictEqual(guesses.filter(guess => guess.find(TOLD('')) !== undefined).length, 5);
    const late = client(GOOD(world));
    await late.line(TOLD(',TEMP\\[backoff [0-9]+\\]:too many failed logins'));
    await late.line(TEMPORARY);
  },
);

/** A library that moves the wall clock. */
function wallclock(): Promise<string> {
  return once('wallclock', async () => {
    const path = join(runState().dir, 'wallclock.so');
    const flags = ['-shared', '-fPIC', '-O2', '-Wall', '-Wextra', '-Werror'];
    await run(['gcc', ...flags, '-o', path, 'test/interop/harness/wallclock.c']);
    return path;
  });
}

const tokens: Row = {
  title:
    'ovpnd server: a token is renewed while its client stays; of an expired one, or of the process before, stock falls back to its password',
  runtimes: ['quickjs'],
  isWaiting: true,
  body: async world => {
    const keys = await pki();
    const wire = await world.pair();
    const ahead = join(world.folder('clock'), 'ahead');
    const before = ['env', `LD_PRELOAD=${await wallclock()}`, `WALLCLOCK=${ahead}`];
    const extra = { options: { ...USERS, reneg_sec: '5' }, sections: ANNA };
    const first = await startServer(world, wire.left, keys, 'quickjs', {}, { ...extra, run: { before } });
    const lines = [...GOOD(world), 'explicit-exit-notify 1'];
    const client = startClient(world, wire, keys, 'openvpn', {}, { lines }).process;
    await reach(world, wire.right, SERVER4);
    const cameIn = (times: number) =>
      world.until(`in ${times} times`, PATIENCE_MS, () => client.count(/Sequence Completed/) === times);
    // Half a day, and a renegotiation; more than a day after the login.
    writeFileSync(ahead, '50000');
    await client.line(/PUSH: Received control message: 'PUSH_REPLY,auth-token/);
    writeFileSync(ahead, '110000');
    strictEqual((await first.ovpnd!.ask('disconnect', 'home', 'client0')).code, 0);
    await cameIn(2);
    strictEqual(first.process.find(/refused/), undefined);
    writeFileSync(ahead, '300000');
    strictEqual((await first.ovpnd!.ask('disconnect', 'home', 'client0')).code, 0);
    await client.line(TOLD(',SESSION: token expired'));
    await first.process.line(/refused: its token expired/);
    await client.line(/SIGUSR1\[soft,auth-failure \(auth-token\)\]/);
    await cameIn(3);
    await first.process.stop();
    const second = await startServer(world, wire.left, keys, 'quickjs', {}, extra);
    await second.process.line(/refused: its token is not good any more/);
    await cameIn(4);
    await reach(world, wire.right, SERVER4);
  },
};

const changed = atServer(
  'whose password changes is out at once, tries the old one, and ends',
  () => ({ options: USERS, sections: ANNA }),
  async ({ world, server, client, reach: reached }) => {
    const old = client(GOOD(world));
    await reached();
    await reload(server, hashOf('hunter2'), hashOf('hunter4'));
    await server.process.line(/disconnected: what user 'anna' logs in with changed/);
    old.isEnding = true;
    await old.line(/SIGUSR1\[soft,auth-failure \(auth-token\)\]/);
    await old.line(ENDED);
    await server.process.line(/user 'anna': wrong user name or password/);
    client([`auth-user-pass ${loginFile(world, 'anna', 'hunter4')}`]);
    await reached();
  },
);

const revoked = atServer(
  'a certificate that is on the list is refused at its first connect, another is let in',
  (world, keys) => ({ options: { crl: revocations(world, keys, [keys.clients[0]!.cert]) } }),
  async ({ keys, server, client, reach: reached }) => {
    client(['hand-window 8']);
    await server.process.line(/refused: certificate verify failed: certificate revoked/);
    client([], { identity: keys.clients[1]! });
    await reached();
  },
);

const named = atServer(
  'verify_x509_name lets in who has the name and nobody else',
  () => ({ options: { verify_x509_name: 'name:client1' } }),
  async ({ keys, server, client, reach: reached }) => {
    client(['hand-window 8']);
    await server.process.line(
      /refused: certificate verify failed: its name is 'client0' \(verify_x509_name\)/,
    );
    client([], { identity: keys.clients[1]! });
    await reached();
  },
);

/** Without the certificate lines, which the harness writes: a client section of its own. */
const WITHOUT = 'setenv CLIENT_CERT 0';

function optional(by: string, told: (keys: Pki) => Options, refusal: RegExp): Row {
  const what =
    'without a certificate the user names the peer, with one the certificate; a strange one is refused';
  const extra = (_: World, keys: Pki): Extra => ({
    options: { ...USERS, verify_client_cert: 'optional', ...told(keys) },
    sections: ANNA,
  });
  return atServer(`verify_client_cert optional, ${by}: ${what}`, extra, async scene => {
    const { world, keys, server, client, reach: reached } = scene;
    const none = client([...GOOD(world), WITHOUT], { identity: { ca: keys.server.ca, cert: '', key: '' } });
    await reached();
    await server.process.line(/anna connected from/);
    await none.kill();
    const strange = { ...keys.strangeClient, ca: keys.server.ca };
    client([...GOOD(world), 'hand-window 8'], { identity: strange });
    await server.process.line(refusal);
    client(GOOD(world), { identity: keys.clients[2]! });
    await server.process.line(/client2 connected from/);
  });
}

const optionals = [
  optional('an authority', () => ({}), /refused: .*(unable to get local issuer|self.signed)/),
  optional(
    'fingerprints',
    keys => {
      const print = openssl('x509', '-in', keys.clients[2]!.cert, '-noout', '-fingerprint', '-sha256');
      return { ca: undefined, peer_fingerprint: [print.replace(/^.*=/, '')] };
    },
    /refused: .*its fingerprint [0-9a-f]+ is not one/,
  ),
];

/** What a person does at the management interface of a client that asks for a code. */
function answerChallenge(path: string, code: string): Promise<string> {
  const encode = (text: string): string => Buffer.from(text).toString('base64');
  return new Promise((done, reject) => {
    const socket = connect(path);
    let text = '';
    socket.setEncoding('utf8').on('error', reject);
    socket.on('data', part => {
      text += part;
      if (!/>PASSWORD:Need 'Auth' username\/password SC:/.test(text)) return;
      socket.write('username "Auth" "anna"\n');
      socket.write(`password "Auth" "SCRV1:${encode('hunter2')}:${encode(code)}"\n`);
      socket.end();
      done(text);
    });
  });
}

const challenge = atServer(
  'static-challenge: stock asks for the code, a wrong one is refused, the right one lets in',
  () => ({
    options: USERS,
    sections: [user('anna', 'hunter2', { totp_secret: SECRET })],
  }),
  async ({ world, server, client, reach: reached }) => {
    const ask = async (given: string): Promise<Process> => {
      const path = join(world.folder(`mgmt${files++}`), 'sock');
      const words = [`management ${path} unix`, 'management-query-passwords', 'static-challenge "Code" 1'];
      const process = client([...words, 'auth-user-pass']);
      await process.line(/MANAGEMENT: unix domain socket listening/);
      match(await answerChallenge(path, given), /SC:1,Code/);
      return process;
    };
    const wrong = await ask('000000');
    wrong.isEnding = true;
    await wrong.line(TOLD(''));
    await server.process.line(/user 'anna': wrong one-time code/);
    await ask(code());
    await reached();
  },
);

const DISABLED: Section = {
  type: 'peer',
  name: 'one',
  options: { tunnel: 'home', common_name: 'client0', enabled: '0' },
};

const disabled = atServer(
  'a disabled peer hears why; stock ends at that, or with auth-retry comes again until it may',
  () => ({ sections: [DISABLED] }),
  async ({ server, client, reach: reached }) => {
    const one = client([]);
    one.isEnding = true;
    await one.line(TOLD(',disabled by the administrator'));
    await one.line(ENDED);
    const two = client(['auth-retry nointeract']);
    await two.line(TOLD(',disabled by the administrator'));
    await two.line(TRIED_AGAIN);
    await server.process.line(/refused: peer 'one' is disabled/);
    await reload(server, "option enabled '0'", "option enabled '1'");
    await reached();
    strictEqual(two.exit, undefined);
  },
);

/** A stock server whose script says in its own words why a login is refused, as long as the file `no` is there. */
async function stockServer(world: World, words: string): Promise<{ lines: string[]; no: string }> {
  const dir = world.folder('verify');
  const [script, no] = [join(dir, 'verify.sh'), join(dir, 'no')];
  writeFileSync(no, '');
  const refuse = `if [ -e ${no} ]; then echo '${words}' > "$auth_failed_reason_file"; exit 1; fi`;
  writeFileSync(script, `#!/bin/sh\n${refuse}\nexit 0\n`);
  chmodSync(script, 0o755);
  return { lines: ['script-security 2', `auth-user-pass-verify ${script} via-file`], no };
}

function reasonAtClient(words: string, cause: RegExp, comesAgain: boolean): Row {
  return {
    title: `openvpn server: a login is refused with '${words}'`,
    runtimes: ['quickjs'],
    body: async world => {
      const keys = await pki();
      const wire = await world.pair();
      const { lines, no } = await stockServer(world, words);
      await startServer(world, wire.left, keys, 'openvpn', {}, { lines });
      const options = { username: 'anna', password: 'hunter2' };
      const client = startClient(world, wire, keys, 'quickjs', {}, { options }).process;
      await client.line(cause);
      rmSync(no);
      if (comesAgain) await reach(world, wire.right, SERVER4);
    },
  };
}

const expiredAtClient: Row = {
  title: 'openvpn server: the token expired at a renegotiation; the password of the section lets in again',
  runtimes: ['quickjs'],
  body: async world => {
    const keys = await pki();
    const wire = await world.pair();
    const { lines, no } = await stockServer(world, 'no');
    rmSync(no);
    const more = ['auth-gen-token 6', 'hand-window 2', 'reneg-sec 5 5'];
    await startServer(world, wire.left, keys, 'openvpn', {}, { lines: [...lines, ...more] });
    const options = { username: 'anna', password: 'hunter2', reneg_sec: '0' };
    const client = startClient(world, wire, keys, 'quickjs', {}, { options }).process;
    await reach(world, wire.right, SERVER4);
    await client.line(/authentication failed: SESSION: .*expired/);
    await reach(world, wire.right, SERVER4);
  },
};

const revokedServer: Row = {
  title: 'openvpn server: its certificate is on the list of the client',
  runtimes: ['quickjs'],
  body: async world => {
    const keys = await pki();
    const wire = await world.pair();
    await startServer(world, wire.left, keys, 'openvpn', {}, { lines: ['hand-window 5'] });
    const options = { crl: revocations(world, keys, [keys.server.cert]) };
    const client = startClient(world, wire, keys, 'quickjs', {}, { options }).process;
    await client.line(/certificate verify failed: certificate revoked.*next attempt in/);
  },
};

table('answers to logins and certificates', { atOnce: 5 }, [
  byService,
  tokens,
  disabled,
  challenge,
  lockedOut,
  changed,
  ...optionals,
  revoked,
  named,
  expiredAtClient,
  reasonAtClient(
    'TEMP[backoff 2,advance no]:in a moment',
    /refuses for the moment: in a moment; next attempt in/,
    true,
  ),
  reasonAtClient('account closed', /authentication failed: account closed; next attempt in/, false),
  revokedServer,
]);
