/* SPDX-License-Identifier: Apache-2.0 */
/*
 * TLS over memory, neutral of the library behind it: tls.c gives this to JavaScript, tls_openssl.c is its
 * body. No file, no socket, no clock but the library's own for certificate dates.
 */
#ifndef OVPND_TLS_H
#define OVPND_TLS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define TLS_RECORD_MAX 16384
#define TLS_TEXT_MAX 256
/*
 * More than any flight of a handshake and any push reply. What a peer sends unread, and what it does not take of
 * the answers it provokes (each key update of TLS 1.3 asks for one), is bounded by it.
 */
#define TLS_WAITING_MAX (1 << 18)
/* OpenVPN takes no longer common name, and names clients by it. */
#define TLS_COMMON_NAME_MAX 64

enum tls_role { TLS_CLIENT, TLS_SERVER, TLS_NO_ROLE };
enum tls_verify { TLS_VERIFY_NONE, TLS_VERIFY_OPTIONAL, TLS_VERIFY_REQUIRE };
enum tls_status { TLS_HANDSHAKE, TLS_ESTABLISHED, TLS_FAILED };
/* What seldom works, of the own certificate: bits. */
enum tls_doubt {
	/* It names purposes, and the own role is not among them. Mbed TLS would not even send a server's. */
	TLS_DOUBT_PURPOSE = 1,
	/* Its issuer is neither in `ca` nor in the chain that is sent, and it is not its own. */
	TLS_DOUBT_ISSUER = 2,
};

struct tls_bytes {
	const uint8_t *data;
	size_t length;
};

/* Absent bytes and texts are NULL. Borrowed until tls_context_new returns. */
struct tls_options {
	enum tls_role role;
	/* Without `ca` any chain passes: the caller decides by the fingerprint. `crl`: PEM, several allowed. */
	struct tls_bytes ca, cert, key, extra_certs, crl;
	const char *version_min, *version_max, *cipher_list, *cipher_suites, *groups;
	enum tls_verify verify;
	/* Whose extended key usage the peer's leaf must carry, beside keyUsage. */
	enum tls_role remote_cert_tls;
};

/* Why options cannot be used: the uci option at fault, and one line. */
struct tls_problem {
	const char *option;
	char text[TLS_TEXT_MAX];
};

struct tls_peer {
	char common_name[TLS_COMMON_NAME_MAX + 1];
	char subject[1024];
	/* Lower-case hex. */
	char fingerprint[65];
	char serial[160];
	int64_t not_after;
};

/* Its texts one after another, and their separators. */
#define TLS_PEER_MAX (sizeof(struct tls_peer) + 32)

struct tls_context;
struct tls_session;

/* NULL: see `problem`. Sessions keep what they need of a context: it may be freed before them. */
struct tls_context *tls_context_new(const struct tls_options *options, struct tls_problem *problem);
void tls_context_free(struct tls_context *context);
/* Another revocation list for every handshake that has not looked yet. False: no PEM list, nothing changed. */
bool tls_context_set_crl(struct tls_context *context, struct tls_bytes pem);
/* End of the own leaf certificate's life, seconds since 1970; 0 without one. */
int64_t tls_context_not_after(const struct tls_context *context);
/* Bits of enum tls_doubt; 0 without an own certificate. */
unsigned int tls_context_doubts(const struct tls_context *context);

struct tls_session *tls_session_new(struct tls_context *context);
void tls_session_free(struct tls_session *session);
/* Copies; -errno. */
int tls_feed(struct tls_session *session, const uint8_t *bytes, size_t length);
size_t tls_pending(const struct tls_session *session);
/* Takes at most `room` bytes for the wire; how many. */
size_t tls_pull(struct tls_session *session, uint8_t *out, size_t room);
enum tls_status tls_drive(struct tls_session *session);
/* At most one record; 0: nothing there. `room` is TLS_RECORD_MAX. */
size_t tls_read(struct tls_session *session, uint8_t *out, size_t room);
/* One record; false before the handshake is complete, after a failure, or when it does not fit a record. */
bool tls_write(struct tls_session *session, const uint8_t *bytes, size_t length);
/* After a failure: why; else empty. */
const char *tls_error(const struct tls_session *session);
/* Protocol and cipher; empty before the handshake is complete. */
void tls_description(const struct tls_session *session, char *out, size_t room);
/* Lines: common name, subject, fingerprint, serial, notAfter. Empty: no certificate, or not yet. */
void tls_peer(const struct tls_session *session, char *out, size_t room);
/* For the bodies: a peer as tls_peer tells it. */
void tls_peer_lines(const struct tls_peer *peer, char *out, size_t room);
bool tls_export(struct tls_session *session, const char *label, uint8_t *out, size_t length);

#endif
