// SPDX-License-Identifier: Apache-2.0
import assert from 'node:assert/strict';
import { choosePlane } from '../../../src/plane/choose.ts';

const can = () => undefined;
const nativeUnavailable = () => ({ name: 'native', reason: 'no device' }) as const;
const kernelUnavailable = () => ({ name: 'kernel', reason: 'the kernel has no module ovpn' }) as const;

describe('plane/choose', () => {
  it('takes the best plane, and asks no further', () => {
    const never = () => assert.fail('probed in vain');
    assert.deepEqual(choosePlane('auto', { kernel: can, native: never, js: never }), {
      name: 'kernel',
      off: [],
    });
  });

  it('says why better planes are off', () => {
    const probes = { kernel: kernelUnavailable, native: nativeUnavailable, js: can };
    assert.deepEqual(choosePlane('auto', probes), {
      name: 'js',
      off: [
        { name: 'kernel', reason: 'the kernel has no module ovpn' },
        { name: 'native', reason: 'no device' },
      ],
    });
  });

  it('takes the plane asked for, or none', () => {
    const probes = { kernel: kernelUnavailable, native: can, js: can };
    assert.deepEqual(choosePlane('js', probes), { name: 'js', off: [] });
    assert.deepEqual(choosePlane('kernel', probes), {
      name: undefined,
      off: [{ name: 'kernel', reason: 'the kernel has no module ovpn' }],
    });
  });
});
