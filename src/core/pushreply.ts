// SPDX-License-Identifier: Apache-2.0
import type { Ip, Prefix } from './address.ts';
import type { Drop } from './drop.ts';

export type Topology = 'net30' | 'p2p' | 'subnet';
export type RouteGateway = Ip | 'vpn_gateway' | 'net_gateway' | 'remote_host';
export interface PushedRoute {
  readonly destination: Prefix;
  readonly gateway: RouteGateway | undefined;
  readonly metric?: number;
}
export interface PushedProblem {
  readonly option: string;
  readonly reason: string;
}
export interface PushedOptions {
  topology: Topology;
  address?: { readonly local: Ip; readonly bits?: number; readonly remote?: Ip };
  ifconfig6?: { readonly address: Prefix; readonly remote: Ip };
  routes: PushedRoute[];
  routeGateway?: Ip;
  routeMetric?: number;
  ping?: number;
  pingRestart?: number;
  pingExit?: number;
  peerId?: number;
  cipher?: string;
  protocolFlags: Set<string>;
  keyDerivation?: string;
  tunMtu?: number;
  dnsServers: Ip[];
  domains: string[];
  redirectGateway?: string[];
  blockIpv6: boolean;
  explicitExitNotify?: number;
  inactive?: { readonly seconds: number; readonly bytes: number };
  sessionTimeout?: number;
  authToken?: string;
  authTokenUser?: string;
  compression?: string;
  refused: PushedProblem[];
  ignored: PushedProblem[];
}
/** Parts of one PUSH_REPLY that arrived so far. */
export interface PushCollector {
  parts: number;
  options: string[];
}
export declare function newPushCollector(): PushCollector;
/** 'more' while parts are missing, then all options; a Drop when it is no PUSH_REPLY or over a limit. */
export declare function collectPush(
  state: PushCollector,
  text: string,
): 'more' | { readonly options: string[] } | Drop;
/** topology: what the local configuration says; a pushed one wins. */
export declare function parsePush(options: readonly string[], topology?: Topology): PushedOptions;
