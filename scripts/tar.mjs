// SPDX-License-Identifier: Apache-2.0
// Archives as opkg reads them and as they come out the same each time: GNU tar, sorted, owned by root, one date.
import { gzipSync } from 'node:zlib';

const BLOCK = 512;
const NAME_MAX = 100;

/** A header of GNU tar; `type` is 0 for a file, 5 for a directory. */
function header({ name, mode, size, type }, mtime) {
  if (name.length > NAME_MAX) throw new Error(`${name}: longer than ${NAME_MAX} bytes`);
  const block = Buffer.alloc(BLOCK);
  const octal = (value, at, length) => block.write(value.toString(8).padStart(length - 1, '0'), at, 'latin1');
  block.write(name, 0, 'latin1');
  octal(mode, 100, 8);
  octal(0, 108, 8);
  octal(0, 116, 8);
  octal(size, 124, 12);
  octal(mtime, 136, 12);
  block.fill(' ', 148, 156);
  block.write(String(type), 156, 'latin1');
  block.write('ustar  \0', 257, 'latin1');
  const sum = block.reduce((total, byte) => total + byte, 0);
  block.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148, 'latin1');
  return block;
}

/** Files `{ path, mode, bytes }` and directories `{ path, mode }`, paths without a leading slash; their parents come by themselves. */
export function tar(entries, mtime) {
  const all = new Map([['./', { name: './', mode: 0o755, size: 0, type: 5 }]]);
  for (const { path, mode, bytes } of entries) {
    const parts = path.split('/');
    for (let depth = 1; depth < parts.length; depth++) {
      const name = `./${parts.slice(0, depth).join('/')}/`;
      if (!all.has(name)) all.set(name, { name, mode: 0o755, size: 0, type: 5 });
    }
    const isFile = bytes !== undefined;
    const name = `./${path}${isFile ? '' : '/'}`;
    all.set(name, { name, mode, size: bytes?.length ?? 0, type: isFile ? 0 : 5, bytes });
  }
  const blocks = [];
  for (const entry of [...all.values()].sort((a, b) => (a.name < b.name ? -1 : 1))) {
    blocks.push(header(entry, mtime));
    if (entry.bytes === undefined) continue;
    blocks.push(entry.bytes, Buffer.alloc(-entry.bytes.length & (BLOCK - 1)));
  }
  blocks.push(Buffer.alloc(2 * BLOCK));
  return Buffer.concat(blocks);
}

/** Members in the order given, for the outer archive. */
export function tarInOrder(members, mtime) {
  const blocks = members.flatMap(({ path, bytes }) => [
    header({ name: `./${path}`, mode: 0o644, size: bytes.length, type: 0 }, mtime),
    bytes,
    Buffer.alloc(-bytes.length & (BLOCK - 1)),
  ]);
  return Buffer.concat([...blocks, Buffer.alloc(2 * BLOCK)]);
}

/** Without name, date and the machine's own number of its system. */
export function gzip(bytes) {
  const packed = gzipSync(bytes, { level: 9 });
  packed[9] = 3;
  return packed;
}
