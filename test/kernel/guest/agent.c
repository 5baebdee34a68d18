// SPDX-License-Identifier: Apache-2.0
// The first process of the guest: mounts what a Linux userland expects, then starts commands for the test outside and
// tells it what they print and how they end. One virtio port carries everything, in frames both ways:
//
//   length u32 | type u8 | id u32 | payload       little endian, the length counts what follows it
//
//   to the guest    S start     u32 length of the words | words, each with a NUL behind | standard input
//                   K signal    u8 number | u8 1: its whole process group
//   from the guest  R ready, P process id u32, O output (of both kinds, in order), X u8 0 exit 1 signal | u8 number
//
// The id is the test's own. Every command leads a process group, and its end is told at once: a child that it leaves
// behind with its output open is not waited for.

#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define COMMANDS_MAX 1024
#define WORDS_MAX 256
#define FRAME_MAX (16u << 20)
#define HEADER 9
#define FILES_MAX 8192

struct command {
	pid_t pid; // 0: the place is free
	uint32_t id;
	int out; // what it prints; -1 once it has closed that
};

static struct command commands[COMMANDS_MAX];
static int port = -1;
static uint8_t chunk[65536];

static void die(const char *what)
{
	fprintf(stderr, "agent: %s: %s\n", what, strerror(errno));
	exit(1); // The kernel panics without its first process, and qemu ends with it.
}

static uint32_t get32(const uint8_t *at)
{
	return at[0] | at[1] << 8 | at[2] << 16 | (uint32_t)at[3] << 24;
}

static void put32(uint8_t *at, uint32_t value)
{
	for (int i = 0; i < 4; i++) at[i] = value >> 8 * i;
}

static void write_all(const void *data, size_t length)
{
	const uint8_t *at = data;
	while (length > 0) {
		ssize_t n = write(port, at, length);
		if (n < 0 && errno == EINTR) continue;
		if (n < 0) die("write to port");
		at += n;
		length -= n;
	}
}

static void send_frame(uint8_t type, uint32_t id, const void *payload, uint32_t length)
{
	uint8_t header[HEADER];
	put32(header, length + 5);
	header[4] = type;
	put32(header + 5, id);
	write_all(header, sizeof(header));
	if (length > 0) write_all(payload, length);
}

static void read_all(uint8_t *at, size_t length)
{
	while (length > 0) {
		ssize_t n = read(port, at, length);
		if (n < 0 && errno == EINTR) continue;
		if (n <= 0) die("read from port");
		at += n;
		length -= n;
	}
}

// Passes on what can be had without waiting; 0 when there is no more.
static int pass_on(const struct command *command)
{
	ssize_t n = read(command->out, chunk, sizeof(chunk));
	if (n <= 0) return 0;
	send_frame('O', command->id, chunk, n);
	return 1;
}

static void run_child(char **words, int input, int out)
{
	sigset_t none;
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	setsid();
	dup2(input, 0);
	dup2(out, 1);
	dup2(out, 2);
	execvp(words[0], words);
	dprintf(2, "%s: %s\n", words[0], strerror(errno));
	_exit(127);
}

static struct command *free_place(void)
{
	for (int i = 0; i < COMMANDS_MAX; i++)
		if (commands[i].pid == 0) return &commands[i];
	errno = EMFILE;
	die("too many commands");
	return NULL;
}

static void start(uint32_t id, uint8_t *payload, uint32_t length)
{
	uint32_t text = length >= 4 ? get32(payload) : 0;
	if (text == 0 || text > length - 4 || payload[4 + text - 1] != 0) die("bad start frame");
	char *words[WORDS_MAX + 1];
	int count = 0;
	for (uint32_t at = 0; at < text && count < WORDS_MAX; at += strlen((char *)payload + 4 + at) + 1)
		words[count++] = (char *)payload + 4 + at;
	words[count] = NULL;

	// Standard input is complete before the command starts, so nobody has to feed it.
	int input = memfd_create("input", MFD_CLOEXEC);
	if (input < 0 || write(input, payload + 4 + text, length - 4 - text) != (ssize_t)(length - 4 - text))
		die("input");
	lseek(input, 0, SEEK_SET);
	int out[2];
	if (pipe2(out, O_CLOEXEC) < 0) die("pipe");

	struct command *command = free_place();
	pid_t pid = fork();
	if (pid < 0) die("fork");
	if (pid == 0) run_child(words, input, out[1]);
	close(input);
	close(out[1]);
	fcntl(out[0], F_SETFL, O_NONBLOCK);
	*command = (struct command){.pid = pid, .id = id, .out = out[0]};
	uint8_t number[4];
	put32(number, pid);
	send_frame('P', id, number, sizeof(number));
}

static void signal_command(uint32_t id, const uint8_t *payload, uint32_t length)
{
	if (length != 2) die("bad signal frame");
	for (int i = 0; i < COMMANDS_MAX; i++)
		if (commands[i].pid != 0 && commands[i].id == id)
			kill(payload[1] ? -commands[i].pid : commands[i].pid, payload[0]);
}

static void reap(void)
{
	int status;
	pid_t pid;
	while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
		// Others are orphans, which are ours as the first process.
		for (int i = 0; i < COMMANDS_MAX; i++) {
			struct command *command = &commands[i];
			if (command->pid != pid) continue;
			while (pass_on(command)) continue;
			close(command->out);
			uint8_t end[2] = {WIFSIGNALED(status), WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status)};
			send_frame('X', command->id, end, sizeof(end));
			command->pid = 0;
		}
	}
}

static void take_frame(void)
{
	uint8_t header[HEADER];
	read_all(header, sizeof(header));
	uint32_t length = get32(header);
	if (length < 5 || length > FRAME_MAX) die("bad frame");
	length -= 5;
	uint8_t *payload = malloc(length + 1);
	if (payload == NULL) die("malloc");
	read_all(payload, length);
	if (header[4] == 'S') start(get32(header + 5), payload, length);
	else if (header[4] == 'K') signal_command(get32(header + 5), payload, length);
	else die("unknown frame");
	free(payload);
}

static void mounts(void)
{
	mkdir("/proc", 0755);
	mkdir("/sys", 0755);
	mkdir("/dev", 0755);
	mkdir("/run", 0755);
	mkdir("/tmp", 01777);
	mount("proc", "/proc", "proc", 0, NULL);
	mount("sysfs", "/sys", "sysfs", 0, NULL);
	mount("devtmpfs", "/dev", "devtmpfs", 0, NULL);
	mkdir("/dev/pts", 0755);
	mount("devpts", "/dev/pts", "devpts", 0, NULL);
	mount("tmpfs", "/run", "tmpfs", 0, "mode=755");
	mount("tmpfs", "/tmp", "tmpfs", 0, "mode=1777");
	symlink("/run", "/var/run");
	// What the kernel gave us as standard output came before /dev was there.
	int console = open("/dev/console", O_RDWR);
	if (console < 0) return;
	for (int fd = 0; fd < 3; fd++) dup2(console, fd);
	if (console > 2) close(console);
}

static int open_port(void)
{
	for (int tries = 0; tries < 1000; tries++) {
		int fd = open("/dev/vport0p1", O_RDWR | O_CLOEXEC);
		if (fd >= 0) return fd;
		usleep(10000);
	}
	return -1;
}

int main(void)
{
	mounts();
	setenv("PATH", "/usr/sbin:/usr/bin", 1);
	setenv("HOME", "/root", 1);
	port = open_port();
	if (port < 0) die("no virtio port");
	// poll() takes no more places than files may be open.
	setrlimit(RLIMIT_NOFILE, &(struct rlimit){FILES_MAX, FILES_MAX});
	sigset_t mask;
	sigemptyset(&mask);
	sigaddset(&mask, SIGCHLD);
	sigprocmask(SIG_BLOCK, &mask, NULL);
	int children = signalfd(-1, &mask, SFD_CLOEXEC | SFD_NONBLOCK);
	send_frame('R', 0, NULL, 0);

	static struct pollfd fds[2 + COMMANDS_MAX];
	for (;;) {
		fds[0] = (struct pollfd){.fd = port, .events = POLLIN};
		fds[1] = (struct pollfd){.fd = children, .events = POLLIN};
		for (int i = 0; i < COMMANDS_MAX; i++)
			fds[2 + i] = (struct pollfd){.fd = commands[i].pid ? commands[i].out : -1, .events = POLLIN};
		if (poll(fds, 2 + COMMANDS_MAX, -1) < 0 && errno != EINTR) die("poll");
		for (int i = 0; i < COMMANDS_MAX; i++) {
			struct command *command = &commands[i];
			if (fds[2 + i].revents == 0 || pass_on(command)) continue;
			// Closed by the command itself; to be told of it again and again would keep us busy.
			close(command->out);
			command->out = -1;
		}
		if (fds[1].revents != 0) {
			struct signalfd_siginfo info;
			while (read(children, &info, sizeof(info)) > 0) continue;
			reap();
		}
		if (fds[0].revents & POLLIN) take_frame();
	}
}
