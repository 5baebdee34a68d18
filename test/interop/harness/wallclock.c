/* SPDX-License-Identifier: Apache-2.0 */
/* Preloaded: time() of the program is ahead by as many seconds as the file $WALLCLOCK says; 0 without it. */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

time_t time(time_t *out)
{
	const char *path = getenv("WALLCLOCK");
	FILE *file = path ? fopen(path, "r") : NULL;
	struct timespec now;
	long ahead = 0;

	clock_gettime(CLOCK_REALTIME, &now);
	if (file && fscanf(file, "%ld", &ahead) != 1)
		ahead = 0;
	if (file)
		fclose(file);
	if (out)
		*out = now.tv_sec + ahead;
	return now.tv_sec + ahead;
}
