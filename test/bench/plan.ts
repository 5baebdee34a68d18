// SPDX-License-Identifier: Apache-2.0
// What a run of the bench measures, from the environment: ROWS, ROUNDS, SECONDS, PLANES, WIRE.

import type { Options } from '../interop/harness/ovpnd.ts';
import type { Kind } from '../interop/harness/tunnel.ts';

export const ROWS = [
  'tcp',
  'ideal',
  'tuned',
  'forward',
  'chacha',
  'udp',
  'ping',
  'mixed',
  'crowd',
  'storm',
  'memory',
  'handshake',
  'start',
  'guest',
] as const;
export type RowName = (typeof ROWS)[number];

/** What can stand at both ends of a tunnel as the subject. */
/** native-2: with a thread for each direction. */
export const PLANES = ['kernel', 'native', 'native-2', 'js', 'js-node'] as const;
export type PlaneWord = (typeof PLANES)[number];

export interface Subject {
  readonly word: PlaneWord | 'packaged';
  readonly title: string;
  readonly kind: Kind;
  /** Of ovpnd's section. */
  readonly options: Options;
}

export function subjectOf(word: PlaneWord): Subject {
  const isNode = word === 'js-node';
  const [dataPlane] = word.split('-') as [string];
  const options = { data_plane: dataPlane, ...(word === 'native-2' && { data_threads: '2' }) };
  return { word, title: `ovpnd ${word}`, kind: isNode ? 'node' : 'quickjs', options };
}

/** The program that is in the package: static, with Mbed TLS. Measured for its memory. */
export const PACKAGED: Subject = {
  word: 'packaged',
  title: 'ovpnd native, as packaged',
  kind: 'package',
  options: { data_plane: 'native' },
};

export interface Plan {
  readonly rows: ReadonlySet<RowName>;
  readonly rounds: number;
  readonly seconds: number;
  /** undefined: the native plane where there is one, else js. */
  readonly planes: readonly PlaneWord[] | undefined;
  /**
   * real: the sending kernel cuts what goes out, as for most network cards; ideal: super-packets cross whole, as for
   * cards that cut UDP themselves. The row `ideal` has the other wire whatever this says.
   */
  readonly wire: 'real' | 'ideal';
}

type Environment = Readonly<Record<string, string | undefined>>;

function words<T extends string>(env: Environment, name: string, known: readonly T[]): T[] | undefined {
  const given = (env[name] ?? '').split(',').map(word => word.trim());
  const chosen = given.filter(word => word !== '');
  for (const word of chosen) {
    if (!known.some(one => one === word))
      throw new Error(`${name}: '${word}' is none of ${known.join(', ')}`);
  }
  return chosen.length === 0 ? undefined : known.filter(word => chosen.includes(word));
}

function number(env: Environment, name: string, otherwise: number, most: number): number {
  const text = env[name] ?? '';
  if (text === '') return otherwise;
  const value = Number(text);
  if (!(value > 0 && value <= most)) throw new Error(`${name}: '${text}' is no number up to ${most}`);
  return value;
}

/** Throws one line that names the variable and the rule. */
export function readPlan(env: Environment): Plan {
  const rounds = number(env, 'ROUNDS', 5, 100);
  if (!Number.isInteger(rounds)) throw new Error(`ROUNDS: '${rounds}' is no whole number`);
  return {
    rows: new Set(words(env, 'ROWS', ROWS) ?? ROWS),
    rounds,
    seconds: number(env, 'SECONDS', 3, 20),
    planes: words(env, 'PLANES', PLANES),
    wire: words(env, 'WIRE', ['real', 'ideal'])?.[0] ?? 'real',
  };
}
