// SPDX-License-Identifier: Apache-2.0
// Every limit and every default time of the protocol, by name. Sizes in bytes unless the name says otherwise;
// times in milliseconds (_MS) or seconds (_S).

// Control channel reliability.
/** Packets sent and not yet acknowledged. */
export const SEND_WINDOW = 6;
/** Message ids accepted ahead of the next one wanted. */
export const RECEIVE_WINDOW = 12;
/** Acks a packet may carry. */
export const ACKS_MAX = 8;
/** Acks we put on a packet that carries something else. */
export const ACKS_PIGGYBACK_MAX = 4;
/** Acks for higher ids after which a packet counts as lost. */
export const FAST_RETRANSMIT_ACKS = 3;
/** Control packet we send, counted with its IP and UDP headers. */
export const CONTROL_PACKET_MAX = 1250;
/** Longest control packet looked at, without IP and UDP headers. */
export const CONTROL_PACKET_RECEIVE_MAX = 2048;
/** Sooner and less steep than OpenVPN's 2 s doubling: at 30% loss that takes up to a minute to connect. */
export const RETRANSMIT_FIRST_MS = 500;
export const RETRANSMIT_FACTOR = 1.5;
export const RETRANSMIT_MAX_MS = 2000;

// tls-crypt-v2.
/** A sealed client key, as OpenVPN bounds it. */
export const WRAPPED_KEY_MAX = 1024;
/** Text in a client key, without its type byte. */
export const CLIENT_KEY_METADATA_MAX = 733;
/** A client's replay ids begin behind this, which says that it can send its key twice. */
export const EARLY_NEGOTIATION_ID = 0x0f000000;

// Plaintext inside TLS.
/** Key-method-2 message. */
export const PLAINTEXT_MAX = 2048;
/** Text message with its NUL. */
export const TEXT_MAX = 1024;

// Sessions.
export const HAND_WINDOW_S = 60;
export const TRANSITION_WINDOW_S = 3600;
/** Renegotiations a peer may start in a minute: each costs a TLS handshake. */
export const RENEGOTIATIONS_PER_MINUTE = 32;
/** How long a session stays after AUTH_FAILED, EXIT or RESTART so that retransmissions open no new one. */
export const CLOSE_DELAY_S = 5;

// Replay windows.
/** Control channel (tls-auth, tls-crypt), in packets. */
export const CONTROL_REPLAY_WINDOW = 64;

// Server.
/** What a server does for strangers is counted in periods of this length. */
export const GATE_PERIOD_S = 10;
/** Stateless answers per period, to each kind of stranger. */
export const INITIAL_ANSWERS = 100;
/** The same to one source: an IPv4 address or an IPv6 /56. */
export const ANSWERS_PER_SOURCE = 20;
/** Places in the table of sources. */
export const GATE_SLOTS = 1024;
/** Failed handshakes of strangers that get a line in a period; the others are summed up. */
export const REFUSALS_LOGGED = 5;
/** Time slots a cookie stays good for after its own. */
export const COOKIE_OLD_SLOTS = 2;

// Peer info.
export const PEER_INFO_ENTRIES_MAX = 64;
export const PEER_INFO_KEY_MAX = 64;
export const PEER_INFO_VALUE_MAX = 512;
export const PEER_CIPHERS_MAX = 32;
export const CIPHER_NAME_MAX = 32;

// Push.
export const PUSH_REQUEST_FIRST_MS = 1000;
export const PUSH_REQUEST_INTERVAL_MS = 5000;
/** A server answers no further PUSH_REQUEST for this long after a reply. */
export const PUSH_REPEAT_S = 30;
/** Bytes of TEXT_MAX a sender leaves free in each part. */
export const PUSH_SPARE = 84;
/** Updates a server may push in a minute: each is applied, and told to netifd. */
export const UPDATES_PER_MINUTE = 32;
export const PUSH_PARTS_MAX = 128;
export const PUSH_OPTIONS_MAX = 2048;
export const OPTION_LENGTH_MAX = 255;
export const OPTION_WORDS_MAX = 16;
export const PUSHED_ROUTES_MAX = 512;
export const PUSHED_DNS_SERVERS_MAX = 8;
export const PUSHED_DOMAINS_MAX = 10;
export const DNS_PRIORITY_MAX = 127;
export const DOMAIN_MAX = 253;
export const DOMAIN_LABEL_MAX = 63;
export const METRIC_MAX = 0x7fffffff;
export const PEER_ID_MAX = 0xffffff;
/** Pushed ping, ping-restart and ping-exit are cut to this. */
export const PING_MAX_S = 86400;
/** Pushed inactive and session-timeout, too: what OpenVPN can hold. */
export const SESSION_MAX_S = 0x7fffffff;
export const EXIT_NOTIFY_MAX = 10;
export const TUN_MTU_LEAST = 100;
export const TUN_MTU_MAX = 1600;
export const IFCONFIG6_BITS_LEAST = 64;
export const IFCONFIG6_BITS_MAX = 124;

// State machines.
/** From the confirmation of a new key to sending on it, while the old key is itself young. */
export const SWITCH_GRACE_MS = 2000;
/** Handshakes under way at once; each costs a TLS session. */
export const HANDSHAKES_MAX = 256;
/** The same from one source. */
export const HANDSHAKES_PER_SOURCE = 32;
/** An honest handshake is done by then, and keeps its place until then. */
export const HANDSHAKE_GRACE_MS = 5000;
/** How long a stop waits for its notices to be acknowledged. */
export const SHUTDOWN_LINGER_MS = 1000;
/** Rounds over all remotes before the pause between attempts grows. */
export const BACKOFF_FREE_ROUNDS = 3;
/** Pause after an answer that a retry alone will hardly change. */
export const REFUSED_RETRY_S = 60;
/** A keepalive time that never matters; the kernel's most. */
export const KEEPALIVE_NEVER_S = 86400;
/** Addresses of a pool, however large its network. */
export const POOL_MAX = 65536;
/** Names whose last address is remembered. */
export const POOL_MEMORY = 4096;

/** Over this time renegotiations are spread that a changed configuration asks for. */
export const REVERIFY_SPREAD_MS = 10_000;
/** Logins that wait for an answer. */
export const AUTH_WAITING_MAX = 64;
/** When a client that found all of them taken may come again. */
export const AUTH_BUSY_RETRY_S = 5;
/** How long another service may take for an answer. */
export const AUTH_ANSWER_S = 30;
