// SPDX-License-Identifier: Apache-2.0
// What a client hears that is not let in. Its words end stock clients for good (unless auth-retry says otherwise) or ask
// them to come again; they never say more than whoever guesses may know.

import { IV_PROTO_AUTH_FAIL_TEMP, parsePeerInfo, peerProto } from './peerinfo.ts';
import type { KeyState } from './session.ts';

/** Why a client is not let in: `reason` for our log, `text` for the client. */
export interface Refusal {
  readonly reason: string;
  readonly text?: string;
}

export const AUTH_FAILED = 'AUTH_FAILED';

/**
 * Not now: `words` for a person, come again after `retryS` seconds. A client that does not know TEMP would take it
 * for good; it is left to its own time-out.
 */
export function later(key: KeyState, words: string, retryS: number): Pick<Refusal, 'text'> {
  const proto = peerProto(parsePeerInfo(key.remote?.peerInfo ?? ''));
  return (proto & IV_PROTO_AUTH_FAIL_TEMP) === 0
    ? {}
    : { text: `${AUTH_FAILED},TEMP[backoff ${retryS}]:${words}` };
}
