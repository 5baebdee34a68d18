// SPDX-License-Identifier: Apache-2.0
// The captured exchanges, and small tools of the ubus tests.

import { readFileSync } from 'node:fs';
import { createAssembler, type Message } from '../../../src/ubus/message.ts';

/** A blobmsg attribute as the capture shows it. */
export interface Shown {
  readonly name: string;
  readonly type: string;
  readonly value: unknown;
}

export interface Captured {
  readonly conn: string;
  readonly dir: 'c2s' | 's2c';
  readonly hex?: string;
  readonly eof?: boolean;
  readonly decoded?: {
    readonly type: number;
    readonly seq: number;
    readonly peer: string;
    readonly attrs: readonly (readonly [string, unknown])[];
  };
}

export interface Exchange {
  readonly id: string;
  readonly messages: readonly Captured[];
}

export const EXCHANGES: readonly Exchange[] = (
  JSON.parse(readFileSync('test/vectors/ubus-vectors.json', 'utf8')) as { vectors: Exchange[] }
).vectors;

export function hex(text: string): Uint8Array {
  return new Uint8Array(Buffer.from(text.replace(/\s/g, ''), 'hex'));
}

export function toHex(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('hex');
}

/** All messages in `bytes`. */
export function messages(bytes: Uint8Array): Message[] {
  const assembler = createAssembler();
  assembler.push(bytes);
  const out: Message[] = [];
  for (let message = assembler.next(); message !== undefined; message = assembler.next()) out.push(message);
  return out;
}

/** The same without null prototypes, for deepEqual. */
export function plain(value: unknown): unknown {
  return value === undefined ? undefined : JSON.parse(JSON.stringify(value));
}
