// SPDX-License-Identifier: Apache-2.0
// Every sequence of the js plane's suite on the native plane: the same deliveries, drops, notices and counters.

import './nativesubject.ts';
import '../unit/plane/commands.test.ts';
import '../unit/plane/epoch.test.ts';
import '../unit/plane/keepalive.test.ts';
import '../unit/plane/receive.test.ts';
import '../unit/plane/mss.test.ts';
import '../unit/plane/send.test.ts';
import '../unit/plane/vectors.test.ts';
import '../unit/plane/world.test.ts';
import '../fuzz/plane.test.ts';
