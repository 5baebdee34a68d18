/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The executable: QuickJS, the shim and the bundle as bytecode. Built without bytecode (ovpnd-run) its first
 * argument is the script to run: for tests.
 */
#include <quickjs.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

#include "bindings_quickjs.h"

/* EX_SOFTWARE: an exception nobody caught is a defect. */
#define EXIT_DEFECT 70
#define SCRIPT_MAX (16 << 20)

#ifdef OVPND_BYTECODE
extern const uint32_t ovpnd_bytecode_size;
extern const uint8_t ovpnd_bytecode[];
#endif

static int defect(JSContext *context)
{
	JSValue exception = JS_GetException(context);
	JSValue stack = JS_IsError(context, exception) ? JS_GetPropertyStr(context, exception, "stack") :
							 JS_UNDEFINED;
	const char *text = JS_ToCString(context, exception), *where = JS_ToCString(context, stack);

	fprintf(stderr, "ovpnd: uncaught %s\n", text ? text : "exception");
	if (where && JS_IsString(stack))
		fputs(where, stderr);
	JS_FreeCString(context, text);
	JS_FreeCString(context, where);
	JS_FreeValue(context, stack);
	JS_FreeValue(context, exception);
	return EXIT_DEFECT;
}

static JSContext *make_context(JSRuntime *runtime)
{
	/* No JS_AddIntrinsicEval: the bundle is bytecode, and what cannot compile cannot be injected into. */
	JSContext *context = JS_NewContextRaw(runtime);

	if (!context)
		return NULL;
	JS_AddIntrinsicBaseObjects(context);
	JS_AddIntrinsicDate(context);
	JS_AddIntrinsicRegExp(context);
	JS_AddIntrinsicJSON(context);
	JS_AddIntrinsicMapSet(context);
	JS_AddIntrinsicTypedArrays(context);
	JS_AddIntrinsicPromise(context);
#ifndef OVPND_BYTECODE
	JS_AddIntrinsicEval(context);
#endif
	return context;
}

static void set_globals(JSContext *context, int count, char **words)
{
	JSValue global = JS_GetGlobalObject(context), shim = JS_NewObject(context), args = JS_NewArray(context);

	for (int i = 0; i < count; i++)
		JS_SetPropertyUint32(context, args, i, JS_NewString(context, words[i]));
	if (shim_bind(context, shim) < 0)
		abort();
	JS_SetPropertyStr(context, global, "__ovpnd_shim", shim);
	JS_SetPropertyStr(context, global, "__ovpnd_args", args);
	JS_FreeValue(context, global);
}

#ifdef OVPND_BYTECODE
static JSValue run(JSContext *context)
{
	JSValue bundle = JS_ReadObject(context, ovpnd_bytecode, ovpnd_bytecode_size, JS_READ_OBJ_BYTECODE);

	return JS_IsException(bundle) ? bundle : JS_EvalFunction(context, bundle);
}
#else
static JSValue run(JSContext *context, const char *path)
{
	FILE *file = fopen(path, "re");
	char *script = calloc(1, SCRIPT_MAX + 1);
	JSValue result;
	size_t length;

	if (!file || !script) {
		perror(path);
		exit(EXIT_FAILURE);
	}
	length = fread(script, 1, SCRIPT_MAX, file);
	fclose(file);
	result = JS_Eval(context, script, length, path, JS_EVAL_TYPE_GLOBAL);
	free(script);
	return result;
}
#endif

int main(int argc, char **argv)
{
	JSRuntime *runtime = JS_NewRuntime();
	JSContext *context = runtime ? make_context(runtime) : NULL, *failed;
	int status = 0, jobs;
	JSValue result;

	if (!context)
		return EXIT_DEFECT;
	/* A reader that went away is an error of the write, not the end of the daemon. */
	signal(SIGPIPE, SIG_IGN);
#ifdef OVPND_BYTECODE
	set_globals(context, argc - 1, argv + 1);
	result = run(context);
#else
	if (argc < 2) {
		fputs("usage: ovpnd-run SCRIPT [ARGUMENT...]\n", stderr);
		return 64;
	}
	set_globals(context, argc - 2, argv + 2);
	result = run(context, argv[1]);
#endif
	if (JS_IsException(result))
		status = defect(context);
	JS_FreeValue(context, result);
	while (status == 0 && (jobs = JS_ExecutePendingJob(runtime, &failed)) != 0)
		if (jobs < 0)
			status = defect(failed);
	JS_FreeContext(context);
	JS_FreeRuntime(runtime);
	return status;
}
