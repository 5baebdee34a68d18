// SPDX-License-Identifier: Apache-2.0
export declare function pushOptionProblem(option: string): string | undefined;
export declare function buildPushReplies(options: readonly string[]): string[];
