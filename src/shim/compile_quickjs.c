/* SPDX-License-Identifier: Apache-2.0 */
/* A tool of the build: compiles a script to QuickJS bytecode and prints it as C. */
#include <quickjs.h>
#include <stdio.h>
#include <stdlib.h>

#define SCRIPT_MAX (16 << 20)

int main(int argc, char **argv)
{
	JSRuntime *runtime = JS_NewRuntime();
	JSContext *context = JS_NewContext(runtime);
	FILE *file = argc == 2 ? fopen(argv[1], "re") : NULL;
	char *script = calloc(1, SCRIPT_MAX + 1);
	JSValue compiled;
	size_t length, size;
	uint8_t *bytes;

	if (!file || !script) {
		fputs("usage: compile SCRIPT\n", stderr);
		return 64;
	}
	length = fread(script, 1, SCRIPT_MAX, file);
	/* Line numbers stay, for the stacks of crash reports; the source text does not. */
	JS_SetStripInfo(runtime, JS_STRIP_SOURCE);
	compiled = JS_Eval(context, script, length, "ovpnd.js", JS_EVAL_TYPE_GLOBAL | JS_EVAL_FLAG_COMPILE_ONLY);
	if (JS_IsException(compiled)) {
		JSValue exception = JS_GetException(context);

		fprintf(stderr, "%s: %s\n", argv[1], JS_ToCString(context, exception));
		return 1;
	}
	bytes = JS_WriteObject(context, &size, compiled, JS_WRITE_OBJ_BYTECODE);
	if (!bytes)
		return 1;
	printf("#include <stdint.h>\nconst uint32_t ovpnd_bytecode_size = %zu;\nconst uint8_t ovpnd_bytecode[] = {", size);
	for (size_t i = 0; i < size; i++)
		printf("%s%u,", i % 24 ? "" : "\n", bytes[i]);
	puts("\n};");
	return fclose(file) || fflush(stdout) ? 1 : 0;
}
