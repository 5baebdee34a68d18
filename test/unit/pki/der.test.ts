// SPDX-License-Identifier: Apache-2.0

import { deepStrictEqual, ok, strictEqual } from 'node:assert';
import fc from 'fast-check';
import { fromBase64, fromPem, toBase64, toPem } from '../../../src/core/base64.ts';
import { fromHex, toHex } from '../../../src/core/bytes.ts';
import { readCertificate, readRevocationList } from '../../../src/pki/certificate.ts';
import {
  children,
  elements,
  integer,
  oid,
  readTime,
  sequence,
  TAG,
  time,
  tlv,
} from '../../../src/pki/der.ts';

const hex = (bytes: Uint8Array): string => toHex(bytes);

describe('DER', () => {
  it('lengths', () => {
    strictEqual(hex(tlv(4, new Uint8Array(0x7f))).slice(0, 4), '047f');
    strictEqual(hex(tlv(4, new Uint8Array(0x80))).slice(0, 6), '048180');
    strictEqual(hex(tlv(4, new Uint8Array(0x1234))).slice(0, 8), '04821234');
  });

  it('integers are positive and minimal', () => {
    strictEqual(hex(integer(fromHex('00'))), '020100');
    strictEqual(hex(integer(fromHex('007f'))), '02017f');
    strictEqual(hex(integer(fromHex('80'))), '02020080');
    strictEqual(hex(integer(new Uint8Array(0))), '020100');
  });

  it('object identifiers', () => {
    strictEqual(hex(oid('1.2.840.10045.4.3.2')), '06082a8648ce3d040302');
    strictEqual(hex(oid('2.5.29.15')), '0603551d0f');
  });

  it('times, the year 2050 between their two forms', () => {
    strictEqual(hex(time(0)), `170d${hex(new TextEncoder().encode('700101000000Z'))}`);
    const instants = [
      0, 951_782_399, 951_868_800, 2_524_607_999, 2_524_608_000, 4_107_542_400, 253_402_300_799,
    ];
    for (const instant of instants) {
      const [element] = elements(time(instant))!;
      strictEqual(element!.tag, instant < 2_524_608_000 ? TAG.utcTime : TAG.time);
      strictEqual(readTime(element), instant);
      const text = new TextDecoder().decode(element!.value).slice(-11, -1);
      const [, month, day, hour, minute, second] = new Date(instant * 1000).toISOString().split(/[-T:.]/);
      strictEqual(text, `${month}${day}${hour}${minute}${second}`);
    }
  });

  it('every second of two centuries reads back', () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 6_311_433_599 }), at => readTime(elements(time(at))![0]) === at),
    );
  });

  it('refuses what does not fit', () => {
    for (const text of ['02', '0201', '020501', '0280', '1f0100', '0284ffffffff', '02830fffff00']) {
      strictEqual(elements(fromHex(text)), undefined, text);
    }
    strictEqual(children(fromHex('30003000')), undefined);
    strictEqual(children(fromHex('3100')), undefined);
    for (const text of ['700001000000Z', '701301000000Z', '700101240000Z', '7001010000Z', '700101000000']) {
      strictEqual(readTime(elements(tlv(TAG.utcTime, new TextEncoder().encode(text)))![0]), undefined, text);
    }
  });

  it('any bytes never throw', () => {
    const bytes = fc.uint8Array({ maxLength: 200 });
    fc.assert(
      fc.property(bytes, der => {
        elements(der);
        strictEqual(readCertificate(toPem('CERTIFICATE', der)), undefined);
        readCertificate(toPem('CERTIFICATE', sequence(sequence(der))));
        readRevocationList(toPem('X509 CRL', sequence(sequence(der))));
      }),
    );
  });
});

describe('base64 and PEM', () => {
  it('are their own inverse', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 300 }), bytes => {
        strictEqual(toBase64(bytes), Buffer.from(bytes).toString('base64'));
        deepStrictEqual(fromBase64(toBase64(bytes)), bytes);
        if (bytes.length > 0) deepStrictEqual(fromPem('X', toPem('X', bytes)), [bytes]);
      }),
    );
  });

  it('refuse what is none', () => {
    for (const text of ['A', 'AAAAA', 'AA=A', '====', 'A-B_', 'AAA\u0100']) {
      ok(fromBase64(text) === undefined, text);
    }
    deepStrictEqual(fromPem('X', new TextEncoder().encode('-----BEGIN X-----\nAAAA\n')), []);
    deepStrictEqual(fromPem('X', new TextEncoder().encode('-----BEGIN X-----\n*\n-----END X-----\n')), []);
  });
});
