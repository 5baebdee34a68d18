/* SPDX-License-Identifier: Apache-2.0 */
/* Names to addresses: getaddrinfo, which blocks, in a detached thread for each question. */
#include <netdb.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "address.h"

#define NAME_MAX_LENGTH 255
#define QUESTIONS_MAX 16
#define ADDRESSES_MAX 32
#define TEXT_MAX 128
#define STACK_SIZE (512 << 10)

struct question {
	struct question *next;
	int64_t token;
	int family;
	char name[NAME_MAX_LENGTH + 1];
	/* The answer as it goes to JavaScript: addresses of 1 + length bytes each, or a text. */
	bool failed;
	size_t length;
	uint8_t answer[ADDRESSES_MAX * 17];
};

_Static_assert(TEXT_MAX < ADDRESSES_MAX * 17, "a text fits the answer");

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct question *answered, **answered_end = &answered;
static unsigned int running;
static int done_fd = -1;

static void fail(struct question *question, const char *text)
{
	question->failed = true;
	question->length = strlen(text);
	if (question->length > TEXT_MAX)
		question->length = TEXT_MAX;
	memcpy(question->answer, text, question->length);
}

static void ask(struct question *question)
{
	struct addrinfo hints = { .ai_family = question->family, .ai_socktype = SOCK_DGRAM }, *list = NULL;
	int status = getaddrinfo(question->name, NULL, &hints, &list);
	char text[TEXT_MAX] = "";

	if (status == EAI_SYSTEM) {
		/* The GNU form returns its text, the other one fills the buffer; a plain number does for both. */
		fail(question, errno == EMFILE || errno == ENFILE ? "too many open files" : "system error");
		return;
	}
	if (status != 0) {
		strncpy(text, gai_strerror(status), sizeof(text) - 1);
		fail(question, text);
		return;
	}
	for (struct addrinfo *at = list; at && question->length + 17 <= sizeof(question->answer); at = at->ai_next) {
		uint8_t *out = question->answer + question->length;

		if (at->ai_family == AF_INET)
			out[0] = address_put(out + 1, &((struct sockaddr_in *)at->ai_addr)->sin_addr, 4);
		else if (at->ai_family == AF_INET6)
			out[0] = address_put(out + 1, &((struct sockaddr_in6 *)at->ai_addr)->sin6_addr, 16);
		else
			continue;
		question->length += 1 + out[0];
	}
	freeaddrinfo(list);
	if (question->length == 0)
		fail(question, "no addresses");
}

static void *run(void *argument)
{
	struct question *question = argument;
	uint64_t one = 1;
	ssize_t written;

	ask(question);
	pthread_mutex_lock(&lock);
	*answered_end = question;
	answered_end = &question->next;
	pthread_mutex_unlock(&lock);
	/* Full would mean: already readable. */
	written = write(done_fd, &one, sizeof(one));
	(void)written;
	return NULL;
}

/* The descriptor that becomes readable when an answer is there. */
static int64_t resolve_fd(struct shim_call *call)
{
	(void)call;
	if (done_fd < 0)
		done_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	return done_fd < 0 ? -errno : done_fd;
}

/* `token` comes back with the answer. -EAGAIN: too many questions are open. */
static int64_t resolve_start(struct shim_call *call)
{
	int64_t family = call->in[1].number;
	struct question *question;
	pthread_attr_t attributes;
	pthread_t thread;
	int status;

	if (call->in[0].text_length == 0 || call->in[0].text_length > NAME_MAX_LENGTH || done_fd < 0 ||
	    (family != 0 && family != 4 && family != 6) || call->in[2].number < 0)
		return -EINVAL;
	if (running >= QUESTIONS_MAX)
		return -EAGAIN;
	question = calloc(1, sizeof(*question));
	if (!question)
		return -ENOMEM;
	memcpy(question->name, call->in[0].text, call->in[0].text_length);
	question->family = family == 0 ? AF_UNSPEC : family == 4 ? AF_INET : AF_INET6;
	question->token = call->in[2].number;
	pthread_attr_init(&attributes);
	pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
	pthread_attr_setstacksize(&attributes, STACK_SIZE);
	status = pthread_create(&thread, &attributes, run, question);
	pthread_attr_destroy(&attributes);
	if (status != 0) {
		free(question);
		return -status;
	}
	running++;
	return 0;
}

/* The next answer: token (8 bytes, big endian), 1 when failed, then text or addresses. -EAGAIN: none. */
static int64_t resolve_take(struct shim_call *call)
{
	struct question *question;
	uint64_t ignored;
	uint8_t *out;
	ssize_t got;

	pthread_mutex_lock(&lock);
	question = answered;
	if (question) {
		answered = question->next;
		if (!answered)
			answered_end = &answered;
	} else if (done_fd >= 0) {
		/* Under the lock, so that no announcement falls between the look and the read. */
		got = read(done_fd, &ignored, sizeof(ignored));
		(void)got;
	}
	pthread_mutex_unlock(&lock);
	if (!question)
		return -EAGAIN;
	running--;
	out = shim_result_bytes(call, 9 + question->length);
	if (out) {
		for (int i = 0; i < 8; i++)
			out[i] = question->token >> (56 - 8 * i);
		out[8] = question->failed;
		memcpy(out + 9, question->answer, question->length);
	}
	free(question);
	return out ? 0 : -ENOMEM;
}

const struct shim_entry shim_resolve[] = {
	{ "resolve_fd", resolve_fd, "" },
	{ "resolve_start", resolve_start, "s:name i:family i:token" },
	{ "resolve_take", resolve_take, "" },
	{ 0 },
};
