// SPDX-License-Identifier: Apache-2.0
// Imported first by what is to run with keys that wear out after a few packets.

import { KEY_LIMITS } from '../../../src/plane/keys.ts';

/** About thirty pings: 84 bytes are a packet and six blocks. */
Object.assign(KEY_LIMITS, { gcmUsageSoft: 200 });
