/* SPDX-License-Identifier: Apache-2.0 */
/* TLS for JavaScript: handles and arguments around tls.h. */
#include "tls.h"

#include <stdio.h>
#include <string.h>

#include "shim.h"

#define EXPORT_MAX 1024

/* Returns a handle, or the text `option why` when the options cannot be used. */
static int64_t tls_open_context(struct shim_call *call)
{
	const union shim_value *in = call->in;
	struct tls_problem problem = { "ca", "" };
	struct tls_options options = {
		.role = in[0].number,
		.ca = { in[1].bytes.data, in[1].bytes.length },
		.cert = { in[2].bytes.data, in[2].bytes.length },
		.key = { in[3].bytes.data, in[3].bytes.length },
		.extra_certs = { in[4].bytes.data, in[4].bytes.length },
		.version_min = in[5].text,
		.version_max = in[6].text,
		.cipher_list = in[7].text,
		.cipher_suites = in[8].text,
		.groups = in[9].text,
		.verify = in[10].number,
		.remote_cert_tls = in[11].number,
		.crl = { in[12].bytes.data, in[12].bytes.length },
	};
	char line[TLS_TEXT_MAX + 32];
	struct tls_context *context;
	int64_t handle;

	if (in[0].number < TLS_CLIENT || in[0].number > TLS_SERVER || in[10].number < TLS_VERIFY_NONE ||
	    in[10].number > TLS_VERIFY_REQUIRE || in[11].number < TLS_CLIENT || in[11].number > TLS_NO_ROLE)
		return -EINVAL;
	context = tls_context_new(&options, &problem);
	if (!context) {
		int length = snprintf(line, sizeof(line), "%s %s", problem.option, problem.text);

		shim_result_text(call, line, length);
		return 0;
	}
	handle = shim_handle_new(SHIM_TLS_CONTEXT, context);
	if (handle < 0)
		tls_context_free(context);
	return handle;
}

static int64_t tls_close_context(struct shim_call *call)
{
	struct tls_context *context = shim_handle_take(SHIM_TLS_CONTEXT, call->in[0].number);

	if (!context)
		return -EBADF;
	tls_context_free(context);
	return 0;
}

/* -EINVAL: no revocation list, the one before stays. */
static int64_t tls_set_crl(struct shim_call *call)
{
	struct tls_context *context = call->object;
	struct tls_bytes pem = { call->in[1].bytes.data, call->in[1].bytes.length };

	return tls_context_set_crl(context, pem) ? 0 : -EINVAL;
}

static int64_t tls_not_after(struct shim_call *call)
{
	return tls_context_not_after(call->object);
}

static int64_t tls_doubts(struct shim_call *call)
{
	return tls_context_doubts(call->object);
}

static int64_t tls_open_session(struct shim_call *call)
{
	struct tls_context *context = call->object;
	struct tls_session *session;
	int64_t handle;

	session = tls_session_new(context);
	if (!session)
		return -ENOMEM;
	handle = shim_handle_new(SHIM_TLS_SESSION, session);
	if (handle < 0)
		tls_session_free(session);
	return handle;
}

static int64_t tls_close_session(struct shim_call *call)
{
	struct tls_session *session = shim_handle_take(SHIM_TLS_SESSION, call->in[0].number);

	if (!session)
		return -EBADF;
	tls_session_free(session);
	return 0;
}

static int64_t feed(struct shim_call *call)
{
	return tls_feed(call->object, call->in[1].bytes.data, call->in[1].bytes.length);
}

static int64_t pending(struct shim_call *call)
{
	return tls_pending(call->object);
}

/* A Uint8Array, or 0 when there is nothing. */
static int64_t pull(struct shim_call *call)
{
	struct tls_session *session = call->object;
	int64_t max = call->in[1].number;
	size_t length;
	uint8_t *out;

	if (max <= 0)
		return -EINVAL;
	length = tls_pending(session);
	if (length == 0)
		return 0;
	if ((int64_t)length > max)
		length = max;
	out = shim_result_bytes(call, length);
	if (!out)
		return -ENOMEM;
	return tls_pull(session, out, length) == length ? 0 : -EIO;
}

/* 0 handshake, 1 established, 2 failed. */
static int64_t drive(struct shim_call *call)
{
	return tls_drive(call->object);
}

/* A Uint8Array, or 0 when there is nothing. */
static int64_t read_record(struct shim_call *call)
{
	static uint8_t record[TLS_RECORD_MAX];
	struct tls_session *session = call->object;
	size_t length;
	uint8_t *out;

	length = tls_read(session, record, sizeof(record));
	if (length == 0)
		return 0;
	out = shim_result_bytes(call, length);
	if (out)
		memcpy(out, record, length);
	/* Passwords and key material come this way. */
	explicit_bzero(record, length);
	return out ? 0 : -ENOMEM;
}

static int64_t write_record(struct shim_call *call)
{
	return tls_write(call->object, call->in[1].bytes.data, call->in[1].bytes.length);
}

static int64_t error(struct shim_call *call)
{
	struct tls_session *session = call->object;

	shim_result_text(call, tls_error(session), strlen(tls_error(session)));
	return 0;
}

static int64_t description(struct shim_call *call)
{
	struct tls_session *session = call->object;
	char text[TLS_TEXT_MAX] = "";

	tls_description(session, text, sizeof(text));
	shim_result_text(call, text, strlen(text));
	return 0;
}

void tls_peer_lines(const struct tls_peer *peer, char *out, size_t room)
{
	snprintf(out, room, "%s\n%s\n%s\n%s\n%lld", peer->common_name, peer->subject, peer->fingerprint,
		 peer->serial, (long long)peer->not_after);
}

/* See tls_peer; 0 when there is none. */
static int64_t peer(struct shim_call *call)
{
	struct tls_session *session = call->object;
	char text[TLS_PEER_MAX] = "";

	tls_peer(session, text, sizeof(text));
	if (text[0])
		shim_result_text(call, text, strlen(text));
	return 0;
}

static int64_t export_key(struct shim_call *call)
{
	struct tls_session *session = call->object;
	int64_t length = call->in[2].number;
	uint8_t *out;

	if (length < 1 || length > EXPORT_MAX)
		return -EINVAL;
	out = shim_result_bytes(call, length);
	if (!out)
		return -ENOMEM;
	return tls_export(session, call->in[1].text, out, length) ? 0 : -ENOTCONN;
}

const struct shim_entry shim_tls[] = {
	{ "tls_context", tls_open_context,
	  "i:role B:ca B:cert B:key B:extraCerts s:versionMin S:versionMax S:cipherList S:cipherSuites S:groups "
	  "i:verify i:remoteCertTls B:crl" },
	{ "tls_context_close", tls_close_context, "i:context" },
	{ "tls_context_set_crl", tls_set_crl, "i:context b:crl", SHIM_TLS_CONTEXT },
	{ "tls_context_not_after", tls_not_after, "i:context", SHIM_TLS_CONTEXT },
	{ "tls_context_doubts", tls_doubts, "i:context", SHIM_TLS_CONTEXT },
	{ "tls_open", tls_open_session, "i:context", SHIM_TLS_CONTEXT },
	{ "tls_close", tls_close_session, "i:session" },
	{ "tls_feed", feed, "i:session b:bytes", SHIM_TLS_SESSION },
	{ "tls_pending", pending, "i:session", SHIM_TLS_SESSION },
	{ "tls_pull", pull, "i:session i:max", SHIM_TLS_SESSION },
	{ "tls_drive", drive, "i:session", SHIM_TLS_SESSION },
	{ "tls_read", read_record, "i:session", SHIM_TLS_SESSION },
	{ "tls_write", write_record, "i:session b:plaintext", SHIM_TLS_SESSION },
	{ "tls_error", error, "i:session", SHIM_TLS_SESSION },
	{ "tls_description", description, "i:session", SHIM_TLS_SESSION },
	{ "tls_peer", peer, "i:session", SHIM_TLS_SESSION },
	{ "tls_export", export_key, "i:session s:label i:length", SHIM_TLS_SESSION },
	{ 0 },
};
