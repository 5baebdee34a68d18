/* SPDX-License-Identifier: Apache-2.0 */
/* Between OpenSSL and the queues of a session. */
#include <openssl/bio.h>

#include "tls_openssl.h"

static int on_read(BIO *bio, char *out, int room)
{
	struct tls_session *session = BIO_get_data(bio);

	BIO_clear_retry_flags(bio);
	if (room <= 0)
		return 0;
	if (tls_queue_length(&session->in) == 0) {
		BIO_set_retry_read(bio);
		return -1;
	}
	return tls_queue_take(&session->in, (uint8_t *)out, room);
}

static int on_write(BIO *bio, const char *bytes, int length)
{
	struct tls_session *session = BIO_get_data(bio);

	BIO_clear_retry_flags(bio);
	return length > 0 && tls_queue_put(&session->out, (const uint8_t *)bytes, length) ? length : -1;
}

static long on_control(BIO *bio, int command, long number, void *pointer)
{
	(void)bio;
	(void)number;
	(void)pointer;
	return command == BIO_CTRL_FLUSH;
}

BIO *wire_new(struct tls_session *session)
{
	static BIO_METHOD *method;
	BIO *bio;

	if (!method) {
		method = BIO_meth_new(BIO_TYPE_SOURCE_SINK | BIO_get_new_index(), "queues");
		if (!method)
			return NULL;
		BIO_meth_set_read(method, on_read);
		BIO_meth_set_write(method, on_write);
		BIO_meth_set_ctrl(method, on_control);
	}
	bio = BIO_new(method);
	if (bio) {
		BIO_set_data(bio, session);
		BIO_set_init(bio, 1);
	}
	return bio;
}
