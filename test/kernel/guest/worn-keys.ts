// SPDX-License-Identifier: Apache-2.0
// Runs in the guest: ovpnd as it is, but its data keys wear out after a few packets.

import './short-lived.ts';
import '../../../src/daemon/main.ts';
