/* SPDX-License-Identifier: Apache-2.0 */
/* The tables as an object of JavaScript functions, for Node. */
#include <math.h>
#include <node_api.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "shim.h"

struct binding {
	struct shim_call call;
	napi_env env;
	napi_value result;
};

static struct binding *binding_of(struct shim_call *call)
{
	return (struct binding *)call;
}

uint8_t *shim_result_bytes(struct shim_call *call, size_t length)
{
	/* An empty ArrayBuffer may have no memory at all; the pointer must still not be NULL. */
	static uint8_t nothing[1];
	struct binding *binding = binding_of(call);
	napi_value buffer, array;
	void *data = NULL;

	if (napi_create_arraybuffer(binding->env, length, &data, &buffer) != napi_ok ||
	    napi_create_typedarray(binding->env, napi_uint8_array, length, buffer, 0, &array) != napi_ok)
		return NULL;
	binding->result = array;
	return length == 0 ? nothing : data;
}

void shim_result_text(struct shim_call *call, const char *text, size_t length)
{
	struct binding *binding = binding_of(call);

	napi_create_string_utf8(binding->env, text, length, &binding->result);
}

void shim_result_numbers(struct shim_call *call, const int64_t *numbers, size_t count)
{
	struct binding *binding = binding_of(call);
	napi_value array, number;

	napi_create_array_with_length(binding->env, count, &array);
	for (size_t i = 0; i < count; i++) {
		napi_create_int64(binding->env, numbers[i], &number);
		napi_set_element(binding->env, array, i, number);
	}
	binding->result = array;
}

static bool get_number(napi_env env, napi_value value, int64_t *number)
{
	double real;

	if (napi_get_value_double(env, value, &real) != napi_ok)
		return false;
	if (!(fabs(real) <= 9007199254740991.0) || real != trunc(real))
		return false;
	*number = real;
	return true;
}

static bool get_bytes(napi_env env, napi_value value, union shim_value *out)
{
	static uint8_t nothing[1];
	napi_typedarray_type type;
	napi_value buffer;
	size_t length, offset, size;
	void *data, *base;
	bool is_array;

	if (napi_is_typedarray(env, value, &is_array) != napi_ok || !is_array ||
	    napi_get_typedarray_info(env, value, &type, &length, &data, &buffer, &offset) != napi_ok)
		return false;
	if (type != napi_uint8_array && type != napi_int8_array && type != napi_uint8_clamped_array)
		return false;
	/* A detached buffer has no memory; a shrunk one less than the array remembers. */
	if (napi_get_arraybuffer_info(env, buffer, &base, &size) != napi_ok || offset > size ||
	    length > size - offset || napi_is_detached_arraybuffer(env, buffer, &is_array) != napi_ok || is_array)
		return false;
	out->bytes.data = length == 0 || !data ? nothing : data;
	out->bytes.length = data ? length : 0;
	return true;
}

/* The text is the caller's to free. */
static bool get_text(napi_env env, napi_value value, union shim_value *out)
{
	size_t length;
	char *text;

	if (napi_get_value_string_utf8(env, value, NULL, 0, &length) != napi_ok)
		return false;
	text = malloc(length + 1);
	out->text = text;
	return text && napi_get_value_string_utf8(env, value, text, length + 1, &out->text_length) == napi_ok &&
	       strlen(text) == out->text_length;
}

static bool is_undefined(napi_env env, napi_value value)
{
	napi_valuetype type;

	return napi_typeof(env, value, &type) == napi_ok && type == napi_undefined;
}

static bool get_argument(napi_env env, napi_value value, char type, union shim_value *out)
{
	switch (type) {
	case 'i':
		return get_number(env, value, &out->number);
	case 'B':
		return is_undefined(env, value) || get_bytes(env, value, out);
	case 'b':
		return get_bytes(env, value, out);
	case 'S':
		return is_undefined(env, value) || get_text(env, value, out);
	default:
		return get_text(env, value, out);
	}
}

static void refuse(napi_env env, const struct shim_entry *entry, const char *argument)
{
	const char *type = *argument == 'i' ? "an integer" :
			   *argument == 'b' || *argument == 'B' ? "a Uint8Array" : "a string without NUL";
	char text[160];

	snprintf(text, sizeof(text), "%s: %.*s must be %s", entry->name, (int)strcspn(argument + 2, " "),
		 argument + 2, type);
	napi_throw_type_error(env, NULL, text);
}

static napi_value finish(struct binding *binding, const struct shim_entry *entry)
{
	int64_t status = shim_run(entry, &binding->call);

	if (status < 0 || !binding->result)
		napi_create_int64(binding->env, status, &binding->result);
	return binding->result;
}

static napi_value invoke(napi_env env, napi_callback_info info)
{
	struct binding binding = { .env = env };
	napi_value values[SHIM_ARGUMENTS_MAX], result = NULL;
	size_t count = SHIM_ARGUMENTS_MAX, i = 0;
	const struct shim_entry *entry;
	const char *argument;
	bool good = true;
	void *data;

	if (napi_get_cb_info(env, info, &count, values, NULL, &data) != napi_ok)
		return NULL;
	entry = data;
	argument = entry->arguments;
	for (; *argument && good; i++) {
		good = i < count && get_argument(env, values[i], *argument, &binding.call.in[i]);
		if (!good)
			refuse(env, entry, argument);
		argument += strcspn(argument, " ");
		argument += *argument == ' ';
	}
	if (good && count > i) {
		char text[80];

		snprintf(text, sizeof(text), "%s: too many arguments", entry->name);
		napi_throw_type_error(env, NULL, text);
	} else if (good) {
		result = finish(&binding, entry);
	}
	argument = entry->arguments;
	for (size_t k = 0; k < i; k++) {
		if (*argument == 's' || *argument == 'S')
			free((char *)binding.call.in[k].text);
		argument += strcspn(argument, " ");
		argument += *argument == ' ';
	}
	return result;
}

NAPI_MODULE_INIT()
{
	static bool loaded;
	static pthread_t owner;
	napi_value function;

	/* Handles and buffers are shared by every copy of the exports: one thread only. */
	if (loaded && !pthread_equal(owner, pthread_self())) {
		napi_throw_error(env, NULL, "the shim serves one thread");
		return exports;
	}
	loaded = true;
	owner = pthread_self();
	for (const struct shim_entry *const *table = shim_tables; *table; table++) {
		for (const struct shim_entry *entry = *table; entry->name; entry++) {
			if (napi_create_function(env, entry->name, NAPI_AUTO_LENGTH, invoke, (void *)entry,
						 &function) != napi_ok)
				return exports;
			napi_set_named_property(env, exports, entry->name, function);
		}
	}
	return exports;
}
