// SPDX-License-Identifier: Apache-2.0
// `ovpnd rpcd`: the protocol of rpcd's executable plugins, by which the web page's methods become the ubus object
// `ovpnd`. `list` prints the methods; `call METHOD` takes arguments from standard input and prints the answer.

import { decodeUtf8 } from '../core/bytes.ts';
import { type Host, isFailure } from '../host/host.ts';
import { isRefusal } from '../pki/authority.ts';
import { readArguments, samples } from './rpcarguments.ts';
import { type Ground, METHODS } from './rpcmethods.ts';

/** Of one call's arguments, in bytes. */
const INPUT_MAX = 524_288;

/** What rpcd asks first. */
export function methodList(): object {
  return Object.fromEntries(Object.entries(METHODS).map(([name, { args }]) => [name, samples(args)]));
}

/** The answer to a call, `{ error: TEXT }` when it cannot be done. Never throws for what `input` says. */
export function answer(host: Host, ground: Ground, name: string, input: Uint8Array): object {
  const method = Object.hasOwn(METHODS, name) ? METHODS[name] : undefined;
  if (method === undefined) return { error: 'there is no such method' };
  const args = readArguments(method.args, parsed(input));
  if (typeof args === 'string') return { error: args };
  const result = method.call(host, ground, args);
  return isRefusal(result) ? { error: result.refused } : result;
}

function parsed(input: Uint8Array): unknown {
  try {
    return JSON.parse(decodeUtf8(input)) as unknown;
  } catch {
    return undefined;
  }
}

/** undefined: the command line is wrong. */
export function rpcdCommand(host: Host, ground: Ground, words: readonly string[]): number | undefined {
  const [verb, name] = words;
  let out: object;
  if (verb === 'list' && name === undefined) out = methodList();
  else if (verb === 'call' && name !== undefined) {
    const input = host.readInput(INPUT_MAX);
    out = isFailure(input)
      ? { error: input.code === 'EFBIG' ? 'that is too much at once' : input.text }
      : answer(host, ground, name, input);
    if (!isFailure(input)) input.fill(0);
  } else return undefined;
  host.print(1, `${JSON.stringify(out)}\n`);
  return 0;
}
