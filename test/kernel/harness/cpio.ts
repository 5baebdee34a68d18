// SPDX-License-Identifier: Apache-2.0
// Writes cpio archives in the format the kernel unpacks at boot ("newc").

const MODE = { directory: 0o040000, file: 0o100000, link: 0o120000 } as const;
const EMPTY = new Uint8Array(0);

export class Cpio {
  private readonly parts: Uint8Array[] = [];
  private readonly paths = new Set<string>();
  private inode = 0;

  /** Adds a file and the folders above it; of one path the first counts. */
  file(path: string, mode: number, data: Uint8Array): void {
    this.entry(path, MODE.file | mode, data);
  }

  link(path: string, target: string): void {
    this.entry(path, MODE.link | 0o777, Buffer.from(target));
  }

  folder(path: string): void {
    this.entry(path, MODE.directory | 0o755, EMPTY);
  }

  end(): Uint8Array {
    this.record('TRAILER!!!', 0, EMPTY);
    return Buffer.concat(this.parts);
  }

  private entry(path: string, mode: number, data: Uint8Array): void {
    if (path === '' || this.paths.has(path)) return;
    const slash = path.lastIndexOf('/');
    if (slash > 0) this.folder(path.slice(0, slash));
    this.paths.add(path);
    this.record(path, mode, data);
  }

  private record(path: string, mode: number, data: Uint8Array): void {
    const name = Buffer.from(`${path}\0`);
    // inode, mode, uid, gid, links, mtime, size, device (2), device of a node (2), name length, checksum
    const fields = [++this.inode, mode, 0, 0, 1, 0, data.length, 0, 0, 0, 0, name.length, 0];
    const header = `070701${fields.map(field => field.toString(16).padStart(8, '0')).join('')}`;
    this.padded(Buffer.concat([Buffer.from(header), name]));
    this.padded(data);
  }

  private padded(data: Uint8Array): void {
    this.parts.push(data, new Uint8Array(-data.length & 3));
  }
}
