// SPDX-License-Identifier: Apache-2.0
// A small ubusd for tests, on our own codec: it does for clients what the captured exchanges show the real one doing.
// Root only, no ACLs, no monitor. bus.test.ts runs the same scenes against the real one where there is one.

import type { Host, Stream, StreamListener } from '../../src/host/host.ts';
import { decodeTable, encodeTable } from '../../src/ubus/blob.ts';
import { Link } from '../../src/ubus/link.ts';
import {
  type Attributes,
  createAssembler,
  encodeMessage,
  type Message,
  STATUS,
  MESSAGE_TYPES as T,
} from '../../src/ubus/message.ts';
import { good } from './support.ts';

interface Client {
  readonly id: number;
  readonly link: Link;
}

interface Entry {
  readonly id: number;
  readonly owner: Client;
  readonly path: string | undefined;
  readonly signature: Uint8Array;
  readonly watchers: Set<Entry>;
}

const EVENT_OBJECT = 1;

export class FakeUbusd {
  readonly #host: Host;
  readonly #listener: StreamListener;
  readonly #clients = new Set<Client>();
  readonly #objects = new Map<number, Entry>();
  readonly #patterns: { readonly entry: Entry; readonly pattern: string }[] = [];
  // Above 2^31, as half of the real ones are.
  #next = 0x9000_0000;
  #events = 0;

  constructor(host: Host, path: string) {
    this.#host = host;
    this.#listener = good(host.listenUnix(path, 0o666));
    host.loop.onReadable(this.#listener.fd, () => {
      const stream = this.#listener.accept();
      if (stream !== undefined && !('failed' in stream)) this.#admit(stream);
    });
  }

  close(): void {
    this.#host.loop.forget(this.#listener.fd);
    this.#listener.close();
    for (const client of this.#clients) client.link.close();
  }

  #admit(stream: Stream): void {
    const assembler = createAssembler();
    const client: Client = {
      id: this.#next++,
      link: new Link({
        loop: this.#host.loop,
        stream,
        monotonicMs: () => this.#host.monotonicMs(),
        received: bytes => {
          assembler.push(bytes);
          for (let message = assembler.next(); message; message = assembler.next())
            this.#take(client, message);
          if (assembler.isBroken) this.#gone(client);
        },
        drained: () => undefined,
        ended: () => this.#gone(client),
      }),
    };
    this.#clients.add(client);
    this.#tell(client, T.hello, 0, client.id, {});
  }

  #gone(client: Client): void {
    if (!this.#clients.delete(client)) return;
    client.link.close();
    for (const entry of [...this.#objects.values()]) if (entry.owner === client) this.#remove(entry);
  }

  #tell(client: Client, type: number, seq: number, peer: number, attributes: Attributes): void {
    if (this.#clients.has(client)) client.link.send(encodeMessage({ type, seq, peer, attributes })!);
  }

  #remove(entry: Entry): void {
    this.#objects.delete(entry.id);
    for (const watcher of entry.watchers) {
      this.#tell(watcher.owner, T.unsubscribe, 1, 0, { objid: watcher.id, target: entry.id });
    }
    for (const other of this.#objects.values()) {
      if (other.watchers.delete(entry) && other.watchers.size === 0) this.#active(other, 0);
    }
    if (entry.path !== undefined) this.#event('ubus.object.remove', { id: entry.id | 0, path: entry.path });
  }

  #active(entry: Entry, active: number): void {
    this.#tell(entry.owner, T.notify, 1, 0, { objid: entry.id, active });
  }

  #take(client: Client, message: Message): void {
    const { type, seq, peer, attributes } = message;
    if (type === T.data || type === T.status) {
      const to = [...this.#clients].find(({ id }) => id === peer);
      const own = this.#objects.get(attributes.objid ?? 0);
      if (to !== undefined && own?.owner === client) this.#tell(to, type, seq, own.id, attributes);
      return;
    }
    const status = this.#request(client, message);
    if (status !== undefined) this.#tell(client, T.status, seq, peer, { status });
  }

  #request(client: Client, message: Message): number | undefined {
    const { type, seq, peer, attributes } = message;
    switch (type) {
      case T.lookup: {
        const pattern = attributes.objpath ?? '*';
        const found = [...this.#objects.values()].filter(({ path }) => path && matches(pattern, path));
        for (const { id, path, signature } of found) {
          this.#tell(client, T.data, seq, peer, { objpath: path!, objid: id, objtype: id, signature });
        }
        return found.length === 0 ? STATUS.notFound : STATUS.ok;
      }
      case T.addObject:
        return this.#add(client, message);
      case T.invoke:
        return this.#invoke(client, message);
      case T.subscribe: {
        const watcher = this.#objects.get(attributes.objid ?? 0);
        const target = this.#objects.get(attributes.target ?? 0);
        if (watcher?.owner !== client || target === undefined) return STATUS.notFound;
        target.watchers.add(watcher);
        if (target.watchers.size === 1) this.#active(target, 1);
        return STATUS.ok;
      }
      case T.notify: {
        const entry = this.#objects.get(attributes.objid ?? 0);
        if (entry?.owner !== client) return STATUS.permissionDenied;
        for (const watcher of entry.watchers) {
          const { method, data, noReply } = attributes;
          const invoke = { noReply, objid: watcher.id, method, user: 'root', group: 'root', data };
          this.#tell(watcher.owner, T.invoke, seq, client.id, invoke as Attributes);
        }
        return attributes.noReply === 1 ? undefined : STATUS.ok;
      }
      default:
        return STATUS.invalidCommand;
    }
  }

  #add(client: Client, { seq, peer, attributes }: Message): number {
    const { objpath, signature = new Uint8Array(0) } = attributes;
    if ([...this.#objects.values()].some(({ path }) => path && path === objpath))
      return STATUS.invalidArgument;
    const entry: Entry = { id: this.#next++, owner: client, path: objpath, signature, watchers: new Set() };
    this.#objects.set(entry.id, entry);
    this.#tell(client, T.data, seq, peer, { objid: entry.id, ...(objpath && { objtype: entry.id }) });
    if (objpath !== undefined) this.#event('ubus.object.add', { id: entry.id | 0, path: objpath });
    return STATUS.ok;
  }

  #invoke(client: Client, { seq, attributes }: Message): number | undefined {
    const { objid, method, data } = attributes;
    if (objid === undefined || method === undefined) return STATUS.invalidArgument;
    if (objid === EVENT_OBJECT) {
      const table = decodeTable(data!)!;
      if (method === 'send') this.#event(String(table.id), table.data as object, client);
      else {
        const entry = this.#objects.get(Number(table.object) >>> 0);
        if (entry?.owner !== client || typeof table.pattern !== 'string') return STATUS.invalidArgument;
        this.#patterns.push({ entry, pattern: table.pattern });
      }
      return STATUS.ok;
    }
    const entry = this.#objects.get(objid);
    if (entry === undefined) return STATUS.notFound;
    const forwarded = { objid, method, user: 'root', group: 'root', data };
    this.#tell(entry.owner, T.invoke, seq, client.id, forwarded as Attributes);
    return undefined;
  }

  #event(name: string, data: object, from?: Client): void {
    for (const { entry, pattern } of this.#patterns) {
      if (!this.#objects.has(entry.id) || entry.owner === from || !matches(pattern, name)) continue;
      const invoke = { objid: entry.id, method: name, data: encodeTable(data)! };
      this.#tell(entry.owner, T.invoke, ++this.#events & 0xffff, 0, invoke);
    }
  }
}

function matches(pattern: string, name: string): boolean {
  return pattern.endsWith('*') ? name.startsWith(pattern.slice(0, -1)) : name === pattern;
}
