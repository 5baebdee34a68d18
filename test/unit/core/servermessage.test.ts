// SPDX-License-Identifier: Apache-2.0
import { equal, ok } from 'node:assert/strict';
import fc from 'fast-check';
import { readServerMessage } from '../../../src/core/servermessage.ts';

/** As `kind reason`, with what follows from it. */
function read(text: string, handWindowS = 60): string {
  const message = readServerMessage(text, handWindowS);
  if (message.kind === 'other') return `other ${message.text}`;
  if (message.kind === 'pending') return `pending ${message.timeoutS}`;
  const where = message.advance === undefined ? '' : ` advance=${message.advance}`;
  return `${message.level}${where} wait=${message.waitS} ${message.reason}`;
}

describe('core/servermessage', () => {
  it('AUTH_FAILED: an error and a long pause, with the reason if there is one', () => {
    equal(read('AUTH_FAILED'), 'error wait=60 authentication failed');
    equal(read('AUTH_FAILED,no such user'), 'error wait=60 authentication failed: no such user');
    equal(read('AUTH_FAILED,SESSION:expired'), 'error wait=60 authentication failed: SESSION:expired');
    equal(read('AUTH_FAILED,TEMPORAL'), 'error wait=60 authentication failed: TEMPORAL');
    equal(read('AUTH_FAILED,CRV1:R:x:y:z'), 'error wait=60 authentication failed: CRV1:R:x:y:z');
  });

  it('AUTH_FAILED,TEMP: a warning, with its flags', () => {
    const reason = 'the server refuses for the moment';
    equal(read('AUTH_FAILED,TEMP'), `warn wait=0 ${reason}`);
    equal(read('AUTH_FAILED,TEMP:full'), `warn wait=0 ${reason}: full`);
    equal(read('AUTH_FAILED,TEMP[backoff 30]:full'), `warn wait=30 ${reason}: full`);
    equal(read('AUTH_FAILED,TEMP[backoff 42,advance no]'), `warn advance=no wait=42 ${reason}`);
    equal(read('AUTH_FAILED,TEMP[advance addr]:a:b'), `warn advance=addr wait=0 ${reason}: a:b`);
    equal(read('AUTH_FAILED,TEMP[advance remote,backoff 5]'), `warn advance=remote wait=5 ${reason}`);
    equal(read('AUTH_FAILED,TEMP[backoff 5, advance remote]'), `warn advance=remote wait=5 ${reason}`);
    // Flags nobody knows, and numbers nobody waits for.
    equal(read('AUTH_FAILED,TEMP[blah,backoff 99999]'), `warn wait=3600 ${reason}`);
    equal(read('AUTH_FAILED,TEMP[backoff -1,advance all]'), `warn wait=0 ${reason}`);
    equal(read('AUTH_FAILED,TEMP[backoff 9:x'), `warn wait=0 ${reason}: x`);
    equal(read('AUTH_FAILED,TEMP x[backoff 9]'), `warn wait=0 ${reason}`);
  });

  it('AUTH_PENDING: the time it names, else a hand window', () => {
    equal(read('AUTH_PENDING', 45), 'pending 45');
    equal(read('AUTH_PENDING,timeout 300'), 'pending 300');
    equal(read('AUTH_PENDING,timeout 999999'), 'pending 3600');
    equal(read('AUTH_PENDING,timeout x'), 'pending 60');
    equal(read('AUTH_PENDING,nothing'), 'pending 60');
  });

  it('RESTART: the same server, with flag N in brackets the next', () => {
    equal(read('RESTART'), 'warn wait=0 the server restarts');
    equal(read('RESTART,maintenance'), 'warn wait=0 the server restarts: maintenance');
    equal(read('RESTART,[N]'), 'warn advance=remote wait=0 the server restarts: [N]');
    equal(read('RESTART,[PN]bye'), 'warn advance=remote wait=0 the server restarts: [PN]bye');
    equal(read('RESTART,[P]'), 'warn wait=0 the server restarts: [P]');
    // Flags end at the bracket.
    equal(read('RESTART,[P]NOW'), 'warn wait=0 the server restarts: [P]NOW');
    equal(read('RESTART,NOW'), 'warn wait=0 the server restarts: NOW');
    equal(read('RESTART,[N'), 'warn wait=0 the server restarts: [N');
  });

  it('HALT and EXIT end the connection', () => {
    equal(read('HALT'), 'error advance=remote wait=60 the server ended the connection (HALT)');
    equal(
      read('HALT,go away'),
      'error advance=remote wait=60 the server ended the connection (HALT: go away)',
    );
    equal(read('EXIT'), 'warn wait=0 the server left');
  });

  it('anything else is shown and does nothing', () => {
    for (const text of [
      'INFO,WEB_AUTH::https://x',
      'INFO_PRE,CR_TEXT:R:x',
      'PUSH_UPDATE,route x',
      'exit',
      '',
    ]) {
      equal(read(text), `other message from the server: ${text}`);
    }
    for (const text of ['AUTH_FAILED2', 'RESTARTING', 'HALTED,x', 'toString', '__proto__']) {
      ok(read(text).startsWith('other '), text);
    }
  });

  it('what a server says is shown harmlessly and cut', () => {
    const long = 'x'.repeat(1000);
    for (const word of ['AUTH_FAILED,', 'AUTH_FAILED,TEMP:', 'RESTART,', 'HALT,', 'OTHER,']) {
      ok(read(`${word}${long}`).length < 320, word);
      ok(read(`${word}é\u202e\u0007`).includes('\\xe9\\u{202e}\\x07'), word);
    }
  });

  it('any text gives one printable line and bounded times', () => {
    const word = fc.constantFrom('AUTH_FAILED', 'AUTH_PENDING', 'RESTART', 'HALT', 'EXIT', 'INFO');
    const rest = fc.array(
      fc.oneof(
        fc.constantFrom('TEMP', '[', ']', ',', ':', 'backoff ', 'advance ', 'timeout ', 'remote', '9', 'N'),
        fc.string({ maxLength: 5 }),
      ),
    );
    fc.assert(
      fc.property(word, rest, (start, parts) => {
        const message = readServerMessage(`${start},${parts.join('')}`, 60);
        const text = message.kind === 'end' ? message.reason : message.text;
        ok(/^[ -~]*$/.test(text));
        if (message.kind === 'end') ok(message.waitS >= 0 && message.waitS <= 3600);
        if (message.kind === 'pending') ok(message.timeoutS >= 0 && message.timeoutS <= 3600);
      }),
    );
  });
});
