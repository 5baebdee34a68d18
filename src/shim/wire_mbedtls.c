/* SPDX-License-Identifier: Apache-2.0 */
/* Between Mbed TLS and the queues of a session; and its buffers, which a session that rests does without. */
#include <mbedtls/platform.h>
#include <mbedtls/platform_util.h>
#include <string.h>

#include "tls_mbedtls.h"

/* More than the header, IV, MAC, padding and connection id of a record, for which the library makes room, too. */
#define RECORD_OVERHEAD 1024

/* What there is of a buffer at least: some builds of the library shorten it for who takes short records only. */
#ifdef MBEDTLS_SSL_VARIABLE_BUFFER_LENGTH
#define IN_LENGTH(ssl) ((ssl)->MBEDTLS_PRIVATE(in_buf_len))
#define OUT_LENGTH(ssl) ((ssl)->MBEDTLS_PRIVATE(out_buf_len))
#else
#define IN_LENGTH(ssl) MBEDTLS_SSL_IN_CONTENT_LEN
#define OUT_LENGTH(ssl) MBEDTLS_SSL_OUT_CONTENT_LEN
#endif

int wire_send(void *opaque, const unsigned char *bytes, size_t length)
{
	struct tls_session *session = opaque;

	return tls_queue_put(&session->out, bytes, length) ? (int)length : MBEDTLS_ERR_SSL_ALLOC_FAILED;
}

int wire_receive(void *opaque, unsigned char *out, size_t room)
{
	struct tls_session *session = opaque;

	return tls_queue_length(&session->in) == 0 ? MBEDTLS_ERR_SSL_WANT_READ :
						     (int)tls_queue_take(&session->in, out, room);
}

/* Pointers into a buffer that is not there are offsets: those from NULL. */
static void move(unsigned char **buffer, unsigned char *to, unsigned char **inside[], size_t count)
{
	uintptr_t by = (uintptr_t)to - (uintptr_t)*buffer;

	for (size_t i = 0; i < count; i++)
		*inside[i] = (unsigned char *)((uintptr_t)*inside[i] + by);
	*buffer = to;
}

static void move_buffers(mbedtls_ssl_context *ssl, unsigned char *in, unsigned char *out)
{
	unsigned char **of_in[] = {
		&ssl->MBEDTLS_PRIVATE(in_ctr), &ssl->MBEDTLS_PRIVATE(in_hdr), &ssl->MBEDTLS_PRIVATE(in_len),
		&ssl->MBEDTLS_PRIVATE(in_iv), &ssl->MBEDTLS_PRIVATE(in_msg),
#ifdef MBEDTLS_SSL_DTLS_CONNECTION_ID
		&ssl->MBEDTLS_PRIVATE(in_cid),
#endif
	};
	unsigned char **of_out[] = {
		&ssl->MBEDTLS_PRIVATE(out_ctr), &ssl->MBEDTLS_PRIVATE(out_hdr), &ssl->MBEDTLS_PRIVATE(out_len),
		&ssl->MBEDTLS_PRIVATE(out_iv), &ssl->MBEDTLS_PRIVATE(out_msg),
#ifdef MBEDTLS_SSL_DTLS_CONNECTION_ID
		&ssl->MBEDTLS_PRIVATE(out_cid),
#endif
	};

	move(&ssl->MBEDTLS_PRIVATE(in_buf), in, of_in, sizeof(of_in) / sizeof(of_in[0]));
	move(&ssl->MBEDTLS_PRIVATE(out_buf), out, of_out, sizeof(of_out) / sizeof(of_out[0]));
}

bool wire_wake(struct tls_session *session)
{
	mbedtls_ssl_context *ssl = &session->ssl;
	unsigned char *in, *out;

	if (ssl->MBEDTLS_PRIVATE(in_buf))
		return true;
	in = mbedtls_calloc(1, MBEDTLS_SSL_IN_CONTENT_LEN + RECORD_OVERHEAD);
	out = mbedtls_calloc(1, MBEDTLS_SSL_OUT_CONTENT_LEN + RECORD_OVERHEAD);
	if (!in || !out) {
		mbedtls_free(in);
		mbedtls_free(out);
		return false;
	}
	move_buffers(ssl, in, out);
	memcpy(ssl->MBEDTLS_PRIVATE(in_ctr), session->in_counter, sizeof(session->in_counter));
	return true;
}

void wire_rest(struct tls_session *session)
{
	mbedtls_ssl_context *ssl = &session->ssl;
	unsigned char *in = ssl->MBEDTLS_PRIVATE(in_buf), *out = ssl->MBEDTLS_PRIVATE(out_buf);

	/* A part of a record or message is waiting for the rest. */
	if (!in || session->status != TLS_ESTABLISHED || mbedtls_ssl_check_pending(ssl) ||
	    ssl->MBEDTLS_PRIVATE(in_left) || ssl->MBEDTLS_PRIVATE(in_hslen) || ssl->MBEDTLS_PRIVATE(out_left))
		return;
	memcpy(session->in_counter, ssl->MBEDTLS_PRIVATE(in_ctr), sizeof(session->in_counter));
	move_buffers(ssl, NULL, NULL);
	mbedtls_platform_zeroize(in, IN_LENGTH(ssl));
	mbedtls_platform_zeroize(out, OUT_LENGTH(ssl));
	mbedtls_free(in);
	mbedtls_free(out);
}
