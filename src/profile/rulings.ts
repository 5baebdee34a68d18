// SPDX-License-Identifier: Apache-2.0
// What may be said of a directive, and those of which it is said whatever their arguments.

export type Ruling =
  | { readonly verdict: 'taken'; readonly note?: string }
  | { readonly verdict: 'not needed'; readonly note: string }
  | { readonly verdict: 'refused'; readonly note: string; readonly isEssential: boolean };

export const TAKEN: Ruling = { verdict: 'taken' };
export const skip = (note: string): Ruling => ({ verdict: 'not needed', note });
export const refuse = (note: string): Ruling => ({ verdict: 'refused', note, isEssential: true });
export const decline = (note: string): Ruling => ({ verdict: 'refused', note, isEssential: false });

function each(names: string, ruling: Ruling): [string, Ruling][] {
  return names.split(' ').map(name => [name, ruling]);
}

/** Directives whose arguments change nothing. */
export const RULINGS: ReadonlyMap<string, Ruling> = new Map([
  ...each('nobind bind lport rport local', skip('a client has a port of its own choice')),
  ...each(
    'persist-key persist-tun persist-local-ip persist-remote-ip user group chroot cd daemon writepid',
    skip('ovpnd does so in its own way'),
  ),
  ...each(
    'verb mute mute-replay-warnings log log-append syslog suppress-timestamps status status-version machine-readable-output',
    skip('see option log_level'),
  ),
  ...each(
    'nice fast-io multihome tcp-nodelay socket-flags txqueuelen tcp-queue-limit bcast-buffers shaper',
    skip('ovpnd needs no such tuning'),
  ),
  ...each(
    'resolv-retry remote-random-hostname connect-retry-max single-session',
    skip('ovpnd tries all remotes for ever'),
  ),
  ...each('auth-nocache auth-retry auth-token auth-token-user', skip('passwords stay in the configuration')),
  ...each(
    'script-security up-delay up-restart down-pre route-delay ip-win32 dhcp-renew dhcp-release register-dns block-outside-dns route-method tap-sleep show-net-up pause-exit win-sys service windows-driver',
    skip('it has no meaning on a router'),
  ),
  ...each(
    'tls-timeout tran-window replay-window tls-cert-profile tls-version-max x509-track tls-exit push-peer-info comp-noadapt allow-recursive-routing disable-occ ping-timer-rem keysize',
    skip("ovpnd's own rules hold"),
  ),
  ...each('tls-cipher', skip("the library's forward-secret suites are used")),
  ...each('ecdh-curve dh', skip('the server decides')),
  ...each(
    'max-packet-size tun-mtu-max tun-mtu-extra mtu-disc mtu-test link-mtu',
    skip('see options tun_mtu and mssfix'),
  ),
  ...each('remote-cert-ku', skip('remote_cert_tls looks at it')),
  ...each('topology allow-pull-fqdn route-gateway block-ipv6 tun-ipv6', skip('the server says it')),
  ...each(
    'dhcp-option dns',
    decline('name servers belong to the interface; those of the server come with option pull_dns'),
  ),
  ...each('inactive ping-exit session-timeout', decline('a router keeps its tunnels up')),
  ...each(
    'up down route-up route-pre-down ipchange tls-verify auth-user-pass-verify client-connect client-disconnect plugin iproute learn-address',
    decline('nothing of a profile is ever executed'),
  ),
  ...each(
    'management management-hold management-query-passwords management-client management-log-cache management-signal management-forget-disconnect management-up-down management-external-key',
    decline('see ovpnd status'),
  ),
  ...each('secret', refuse('static-key mode is not supported; it needs TLS')),
  ...each(
    'server server-ipv6 server-bridge tls-server ifconfig-pool push client-config-dir client-to-client duplicate-cn ifconfig-pool-linear client-cert-not-required',
    refuse('belongs to a server; this command makes client sections'),
  ),
  ...each(
    'ns-cert-type',
    refuse(
      'was removed; the server needs a certificate for TLS servers, and the profile remote-cert-tls server',
    ),
  ),
  ...each('tls-remote', refuse('was removed; use verify-x509-name')),
  ...each('no-replay no-iv key-method prng', refuse('was removed from OpenVPN and is not safe')),
  ...each(
    'fragment mtu-dynamic',
    refuse('fragmentation by OpenVPN is not supported; remove it here and on the server'),
  ),
  ...each(
    'http-proxy socks-proxy http-proxy-option http-proxy-user-pass http-proxy-retry',
    refuse('connections through a proxy are not supported'),
  ),
  ...each(
    'pkcs11-id pkcs11-providers pkcs11-id-management cryptoapicert engine provider',
    refuse('keys outside files are not supported'),
  ),
  ...each(
    'x509-username-field verify-hash auth-gen-token auth-gen-token-secret config',
    refuse('is not supported'),
  ),
  ...each(
    'askpass',
    refuse('encrypted private keys are not supported; take the password off with openssl pkey'),
  ),
]);
