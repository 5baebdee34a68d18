/* SPDX-License-Identifier: Apache-2.0 */
/* The tables as an object of JavaScript functions, for QuickJS. */
#include "bindings_quickjs.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "shim.h"

struct binding {
	struct shim_call call;
	JSContext *context;
	JSValue result;
};

static struct binding *binding_of(struct shim_call *call)
{
	return (struct binding *)call;
}

static void set_result(struct shim_call *call, JSValue value)
{
	struct binding *binding = binding_of(call);

	JS_FreeValue(binding->context, binding->result);
	binding->result = value;
}

static void free_bytes(JSRuntime *runtime, void *opaque, void *data)
{
	(void)runtime;
	(void)opaque;
	free(data);
}

uint8_t *shim_result_bytes(struct shim_call *call, size_t length)
{
	JSContext *context = binding_of(call)->context;
	uint8_t *data = calloc(1, length ? length : 1);
	/* All three: the constructor reads offset and length whatever the count says. */
	JSValue values[3] = { JS_UNDEFINED, JS_UNDEFINED, JS_UNDEFINED }, buffer, array;

	if (!data)
		return NULL;
	buffer = JS_NewArrayBuffer(context, data, length, free_bytes, NULL, 0);
	if (JS_IsException(buffer)) {
		free(data);
		return NULL;
	}
	values[0] = buffer;
	array = JS_NewTypedArray(context, 3, values, JS_TYPED_ARRAY_UINT8);
	JS_FreeValue(context, buffer);
	if (JS_IsException(array))
		return NULL;
	set_result(call, array);
	return data;
}

void shim_result_text(struct shim_call *call, const char *text, size_t length)
{
	set_result(call, JS_NewStringLen(binding_of(call)->context, text, length));
}

void shim_result_numbers(struct shim_call *call, const int64_t *numbers, size_t count)
{
	JSContext *context = binding_of(call)->context;
	JSValue array = JS_NewArray(context);

	for (size_t i = 0; i < count && !JS_IsException(array); i++)
		JS_SetPropertyUint32(context, array, i, JS_NewInt64(context, numbers[i]));
	set_result(call, array);
}

static bool get_number(JSContext *context, JSValueConst value, int64_t *number)
{
	double real;

	if (!JS_IsNumber(value) || JS_ToFloat64(context, &real, value) < 0)
		return false;
	if (!(fabs(real) <= 9007199254740991.0) || real != trunc(real))
		return false;
	*number = real;
	return true;
}

static bool get_bytes(JSContext *context, JSValueConst value, union shim_value *out)
{
	size_t offset, length, size, element;
	uint8_t *data = NULL;
	JSValue buffer;

	if (!JS_IsObject(value))
		return false;
	buffer = JS_GetTypedArrayBuffer(context, value, &offset, &length, &element);
	if (!JS_IsException(buffer)) {
		/* Refuses a detached buffer. */
		data = JS_GetArrayBuffer(context, &size, buffer);
		JS_FreeValue(context, buffer);
	}
	if (!data) {
		JS_FreeValue(context, JS_GetException(context));
		return false;
	}
	if (element != 1 || offset > size || length > size - offset)
		return false;
	/* The array itself, an argument of the running call, keeps the buffer alive. */
	out->bytes.data = data + offset;
	out->bytes.length = length;
	return true;
}

static bool get_text(JSContext *context, JSValueConst value, union shim_value *out)
{
	if (!JS_IsString(value))
		return false;
	out->text = JS_ToCStringLen(context, &out->text_length, value);
	return out->text && strlen(out->text) == out->text_length;
}

static bool get_argument(JSContext *context, JSValueConst value, char type, union shim_value *out)
{
	switch (type) {
	case 'i':
		return get_number(context, value, &out->number);
	case 'B':
		return JS_IsUndefined(value) || get_bytes(context, value, out);
	case 'b':
		return get_bytes(context, value, out);
	case 'S':
		return JS_IsUndefined(value) || get_text(context, value, out);
	default:
		return get_text(context, value, out);
	}
}

static JSValue refuse(JSContext *context, const struct shim_entry *entry, const char *argument)
{
	const char *type = *argument == 'i' ? "an integer" :
			   *argument == 'b' || *argument == 'B' ? "a Uint8Array" : "a string without NUL";

	return JS_ThrowTypeError(context, "%s: %.*s must be %s", entry->name, (int)strcspn(argument + 2, " "),
				 argument + 2, type);
}

static const struct shim_entry *entry_of(int number)
{
	for (const struct shim_entry *const *table = shim_tables; *table; table++)
		for (const struct shim_entry *entry = *table; entry->name; entry++)
			if (number-- == 0)
				return entry;
	return NULL;
}

static const struct shim_entry **entries;

static JSValue invoke(JSContext *context, JSValueConst self, int count, JSValueConst *values, int number)
{
	struct binding binding = { .context = context, .result = JS_UNDEFINED };
	const struct shim_entry *entry = entries[number];
	const char *argument = entry->arguments;
	JSValue result = JS_UNDEFINED;
	int64_t status;
	int i = 0;

	(void)self;
	for (; *argument; i++) {
		if (i >= count || !get_argument(context, values[i], *argument, &binding.call.in[i])) {
			result = refuse(context, entry, argument);
			i++;
			break;
		}
		argument += strcspn(argument, " ");
		argument += *argument == ' ';
	}
	if (!*argument && count > i)
		result = JS_ThrowTypeError(context, "%s: too many arguments", entry->name);
	if (!JS_IsException(result)) {
		status = shim_run(entry, &binding.call);
		result = status < 0 || JS_IsUndefined(binding.result) ? JS_NewInt64(context, status) :
									JS_DupValue(context, binding.result);
	}
	JS_FreeValue(context, binding.result);
	argument = entry->arguments;
	for (int k = 0; k < i; k++) {
		if ((*argument == 's' || *argument == 'S') && binding.call.in[k].text)
			JS_FreeCString(context, binding.call.in[k].text);
		argument += strcspn(argument, " ");
		argument += *argument == ' ';
	}
	return result;
}

int shim_bind(JSContext *context, JSValueConst target)
{
	int count = 0;

	while (entry_of(count))
		count++;
	entries = calloc(count, sizeof(*entries));
	if (!entries)
		return -ENOMEM;
	for (int i = 0; i < count; i++) {
		entries[i] = entry_of(i);
		JS_SetPropertyStr(context, target, entries[i]->name,
				  JS_NewCFunctionMagic(context, invoke, entries[i]->name, 0,
						       JS_CFUNC_generic_magic, i));
	}
	return 0;
}
