// SPDX-License-Identifier: Apache-2.0
// What netifd's method `network.interface notify_proto` is told, from the wanted state of a tunnel. Pure. Members and
// types as netifd's proto-ext.c, proto.c and interface-ip.c read them: a member of another type is skipped there
// without a word, and one address or route that does not parse is left out alone.

import { formatIp, type Ip, ipKey, network } from '../core/address.ts';
import type { WantedAddress, WantedNetwork, WantedRoute } from '../core/network.ts';

const ACTION = { updateLink: 0, error: 3, hostDependency: 6 } as const;

/** netifd shows at most this much of an error in `ifstatus`; the whole text is in the log. */
const ERROR_TEXT_MAX = 200;

const isIpv4 = (ip: Ip): boolean => ip.length === 4;

function addressItem({ address, peer }: WantedAddress): object {
  return {
    ipaddr: formatIp(address.ip),
    mask: String(address.bits),
    ...(peer && isIpv4(peer) && { ptp: formatIp(peer) }),
  };
}

function routeItem({ destination, gateway, metric }: WantedRoute): object {
  const { ip, bits } = network(destination);
  return {
    target: formatIp(ip),
    netmask: String(bits),
    ...(gateway && { gateway: formatIp(gateway) }),
    // Without one the interface's own `option metric` counts. An int32 to blobmsg, however large.
    ...(metric !== 0 && { metric: metric | 0 }),
  };
}

/** netifd knows no other end of an IPv6 address: a route does the same. */
function routesToPeers(addresses: readonly WantedAddress[]): WantedRoute[] {
  const peers = addresses.flatMap(({ peer }) => (peer && !isIpv4(peer) ? [peer] : []));
  return peers.map(ip => ({ destination: { ip, bits: 128 }, metric: 0 }));
}

/**
 * The interface is up with exactly this: netifd takes hold of the device and brings it up, unless it has, and changes
 * what differs from what it was told before. Without `keep`, which would leave everything that is not named as it was.
 */
export function linkUpNotice(name: string, wanted: WantedNetwork): object {
  const { addresses, dns } = wanted;
  const routes = [...wanted.routes, ...routesToPeers(addresses)];
  const ofFamily4 = ({ destination }: WantedRoute): boolean => isIpv4(destination.ip);
  return {
    action: ACTION.updateLink,
    interface: name,
    ifname: wanted.device,
    'link-up': true,
    ipaddr: addresses.filter(({ address }) => isIpv4(address.ip)).map(addressItem),
    ip6addr: addresses.filter(({ address }) => !isIpv4(address.ip)).map(addressItem),
    routes: routes.filter(ofFamily4).map(routeItem),
    routes6: routes.filter(route => !ofFamily4(route)).map(routeItem),
    dns: dns.servers.map(formatIp),
    dns_search: [...dns.domains],
  };
}

/** An error that `ifstatus` and the web page show until the interface is set up again. */
export function errorNotice(name: string, code: string, text: string): object {
  return { action: ACTION.error, interface: name, error: [code, text.slice(0, ERROR_TEXT_MAX)] };
}

/** The way to an address outside: netifd makes a host route by the uplink, and takes the interface along with that. */
export function hostNotice(name: string, ip: Ip): object {
  return { action: ACTION.hostDependency, interface: name, host: formatIp(ip) };
}

/** Two states with the same text mean the same to netifd. */
export function textOf(wanted: WantedNetwork): string {
  return JSON.stringify([linkUpNotice('', wanted), wanted.mtu, wanted.outside.map(ipKey)]);
}
