// SPDX-License-Identifier: Apache-2.0
import type { Drop } from './drop.ts';

export declare function encodeText(text: string): Uint8Array;
export declare function decodeTexts(record: Uint8Array): string[] | Drop;
export declare function printable(text: string): string;
