/* SPDX-License-Identifier: Apache-2.0 */
/* Password hashes of crypt(3). */
#include <crypt.h>
#include <stdlib.h>
#include <string.h>

#include "shim.h"

/* Both are texts of a person's length; more would only cost time. */
#define PASSWORD_MAX 512
#define SETTING_MAX 256

/*
 * The hash of a password with the salt and method of `setting` (a hash made before, or its beginning): text. Some
 * milliseconds. -EINVAL: no method that the C library knows.
 */
static int64_t password_hash(struct shim_call *call)
{
	struct crypt_data *data;
	const char *hash;
	int64_t status = 0;

	if (call->in[0].text_length > PASSWORD_MAX || call->in[1].text_length > SETTING_MAX)
		return -EINVAL;
	data = calloc(1, sizeof(*data));
	if (!data)
		return -ENOMEM;
	hash = crypt_r(call->in[0].text, call->in[1].text, data);
	/* A failure is NULL or, where nobody may take it for a hash, a text with an asterisk. */
	if (hash && hash[0] == '$')
		shim_result_text(call, hash, strlen(hash));
	else
		status = -EINVAL;
	explicit_bzero(data, sizeof(*data));
	free(data);
	return status;
}

const struct shim_entry shim_password[] = {
	{ "password_hash", password_hash, "s:password s:setting" },
	{ 0 },
};
