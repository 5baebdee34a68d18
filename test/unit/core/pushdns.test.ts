// SPDX-License-Identifier: Apache-2.0
import { deepEqual, equal, ok } from 'node:assert/strict';
import { formatIp } from '../../../src/core/address.ts';
import { isDomain } from '../../../src/core/pushdns.ts';
import { type PushedOptions, parsePush } from '../../../src/core/pushreply.ts';
import { ignored, taken } from './pushed.ts';

const dns = (pushed: PushedOptions) => pushed.dnsServers.map(formatIp);

describe('core/pushdns', () => {
  it('old form', () => {
    const pushed = taken(
      'dhcp-option DNS 10.8.0.1',
      'dhcp-option DNS fd42::1',
      'dhcp-option DNS6 fd42::2',
      'dhcp-option DNS 10.8.0.1',
      'dhcp-option DOMAIN example.org',
      'dhcp-option DOMAIN-SEARCH lan.',
      'dhcp-option ADAPTER_DOMAIN_SUFFIX Corp.Example',
    );
    deepEqual(dns(pushed), ['10.8.0.1', 'fd42::1', 'fd42::2']);
    deepEqual(pushed.domains, ['example.org', 'lan', 'Corp.Example']);
    for (const bad of [
      'NTP 1.2.3.4',
      'DNS x',
      'DNS 127.0.0.1',
      'DNS 0.0.0.0',
      'DNS',
      'DOMAIN',
      'PROXY_HTTP a 1',
      '',
    ]) {
      ok(ignored(`dhcp-option ${bad}`));
    }
  });

  it('new form goes before the old one; the lowest usable number counts', () => {
    const pushed = taken(
      'dhcp-option DNS 10.8.0.1',
      'dhcp-option DOMAIN old.example',
      'dns search-domains a.example b.example',
      'dns server 5 address 10.8.0.5',
      'dns server 1 address 10.8.0.2 [fd42::2]:53 10.8.0.3:53 fd42::3 [fd42::4]',
      'dns server 1 transport plain',
    );
    deepEqual(dns(pushed), ['10.8.0.2', 'fd42::2', '10.8.0.3', 'fd42::3', 'fd42::4']);
    deepEqual(pushed.domains, ['a.example', 'b.example']);
  });

  it('without a usable server the old form counts', () => {
    for (const unusable of ['dns server 1 transport DoT', 'dns server 1 resolve-domains x.example']) {
      const pushed = parsePush(['dns server 1 address 10.8.0.9', unusable, 'dhcp-option DNS 10.8.0.1']);
      deepEqual(dns(pushed), ['10.8.0.1']);
      equal(pushed.ignored.length, 1);
      const next = parsePush(['dns server 1 address 10.8.0.9', unusable, 'dns server 2 address 10.8.0.3']);
      deepEqual(dns(next), ['10.8.0.3']);
    }
    const pushed = taken(
      'dns search-domains new.example',
      'dhcp-option DOMAIN old.example',
      'dhcp-option DNS 10.8.0.1',
    );
    deepEqual(pushed.domains, ['new.example', 'old.example']);
    deepEqual(dns(pushed), ['10.8.0.1']);
  });

  it('ignores what it does not know or cannot use', () => {
    for (const bad of [
      'dns',
      'dns server',
      'dns server 1',
      'dns server -1 address 10.8.0.1',
      'dns server 128 address 10.8.0.1',
      'dns server 1 address',
      'dns server 1 address 10.8.0.1:5353',
      'dns server 1 address [10.8.0.1]:53',
      'dns server 1 address [fd42::1',
      'dns server 1 address [fd42::1]53',
      'dns server 1 address 127.0.0.1',
      'dns server 1 dnssec yes',
      'dns server 1 sni example.org',
      'dns search-domains',
      'dns search-domains a_b',
    ]) {
      ok(ignored(bad));
    }
    deepEqual(parsePush(['dns search-domains a.example $(x) b.example']).domains, ['a.example', 'b.example']);
  });

  it('domains are letters, digits, hyphens and dots', () => {
    const label = 'a'.repeat(63);
    for (const good of ['a', 'a-b.c', '0.1', label, 'xn--bcher-kva.example']) {
      deepEqual(taken(`dhcp-option DOMAIN ${good}`).domains, [good]);
    }
    for (const bad of [
      '.',
      '..',
      '-a',
      'a-',
      'a..b',
      '.a',
      'a_b',
      'a/b',
      'a;b',
      'bücher',
      '`id`',
      `${label}a`,
    ]) {
      ok(ignored(`dhcp-option DOMAIN ${bad}`), bad);
    }
    equal(isDomain(`${label}.${label}.${label}.${'a'.repeat(61)}.`), true);
    equal(isDomain(`${label}.${label}.${label}.${'a'.repeat(62)}`), false);
  });

  it('is bounded', () => {
    const many = Array.from({ length: 20 }, (_, i) => `dhcp-option DNS 10.8.0.${i + 1}`);
    equal(parsePush(many).dnsServers.length, 8);
    equal(parsePush(many).ignored.length, 12);
    const names = Array.from({ length: 20 }, (_, i) => `dhcp-option DOMAIN d${i}`);
    equal(parsePush(names).domains.length, 10);
    const both = [
      ...names,
      ...names.map(name => name.replace('dhcp-option DOMAIN ', 'dns search-domains x')),
    ];
    equal(parsePush(both).domains.length, 10);
  });
});
