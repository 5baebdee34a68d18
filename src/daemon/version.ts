// SPDX-License-Identifier: Apache-2.0
/** As in package.json; a test compares them. */
export const VERSION = '0.1.0';
