// SPDX-License-Identifier: Apache-2.0
// Text messages a server sends beside the push reply: what a client makes of each.

import { printable } from './text.ts';

const REASON_MAX = 200;
const TEMP_WAIT_MAX_S = 3600;
/** After a refusal that a retry alone will hardly mend. */
const REFUSED_WAIT_S = 60;

/** Where the next attempt goes: the same address, the next one, or the next remote. */
export type Advance = 'no' | 'addr' | 'remote';

export type ServerMessage =
  /** The connection is over. */
  | {
      readonly kind: 'end';
      readonly reason: string;
      readonly level: 'warn' | 'error';
      /** Undefined: as after any other end. */
      readonly advance: Advance | undefined;
      readonly waitS: number;
    }
  /** Authentication goes on elsewhere; the push reply may take this long. */
  | { readonly kind: 'pending'; readonly timeoutS: number; readonly text: string }
  | { readonly kind: 'other'; readonly text: string };

/** `text` is one message without its NUL. `handWindowS` is the time AUTH_PENDING means when it names none. */
export function readServerMessage(text: string, handWindowS: number): ServerMessage {
  const comma = text.indexOf(',');
  const word = comma < 0 ? text : text.slice(0, comma);
  const rest = comma < 0 ? '' : text.slice(comma + 1);
  const said = rest === '' ? '' : `: ${printable(rest.slice(0, REASON_MAX))}`;
  switch (word) {
    case 'AUTH_FAILED':
      return authFailed(rest);
    case 'AUTH_PENDING':
      return pending(rest, handWindowS);
    case 'RESTART':
      return end(`the server restarts${said}`, 'warn', hasFlagN(rest) ? 'remote' : undefined, 0);
    case 'HALT':
      return end(`the server ended the connection (HALT${said})`, 'error', 'remote', REFUSED_WAIT_S);
    case 'EXIT':
      return end('the server left', 'warn', undefined, 0);
    default:
      return { kind: 'other', text: `message from the server: ${printable(text.slice(0, REASON_MAX))}` };
  }
}

function end(
  reason: string,
  level: 'warn' | 'error',
  advance: Advance | undefined,
  waitS: number,
): ServerMessage {
  return { kind: 'end', reason, level, advance, waitS };
}

/** `[flags]text`: N asks for the next remote. */
function hasFlagN(rest: string): boolean {
  return rest.startsWith('[') && rest.slice(0, rest.indexOf(']') + 1).includes('N');
}

/** `AUTH_FAILED,TEMP[backoff 30,advance remote]:text` asks for another try; anything else is a refusal. */
function authFailed(rest: string): ServerMessage {
  if (!/^TEMP(?![A-Za-z])/.test(rest)) {
    const said = rest === '' ? '' : `: ${printable(rest.slice(0, REASON_MAX))}`;
    return end(`authentication failed${said}`, 'error', undefined, REFUSED_WAIT_S);
  }
  const close = rest.indexOf(']');
  const flags = rest[4] === '[' && close > 0 ? rest.slice(5, close).split(',') : [];
  const colon = rest.indexOf(':', Math.max(0, close));
  const said = colon < 0 ? '' : `: ${printable(rest.slice(colon + 1, colon + 1 + REASON_MAX))}`;
  const find = (pattern: RegExp): string | undefined =>
    flags.map(flag => pattern.exec(flag)?.[1]).find(value => value !== undefined);
  const backoff = find(/^ ?backoff ([0-9]{1,5})$/);
  const advance = find(/^ ?advance (no|addr|remote)$/) as Advance | undefined;
  const waitS = Math.min(TEMP_WAIT_MAX_S, Number(backoff ?? 0));
  return end(`the server refuses for the moment${said}`, 'warn', advance, waitS);
}

function pending(rest: string, handWindowS: number): ServerMessage {
  const named = /^timeout ([0-9]{1,6})$/.exec(rest)?.[1];
  const timeoutS = Math.min(TEMP_WAIT_MAX_S, named === undefined ? handWindowS : Number(named));
  return { kind: 'pending', timeoutS, text: `the server is still authenticating us, up to ${timeoutS} s` };
}
