// SPDX-License-Identifier: GPL-2.0-only
/*
 * Steps about modules and the kernel around them: insert and remove, alone, many times and in vain;
 * KUnit; the kernel log; kmemleak; files of the kernel.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "init.h"

static const char *errno_name(int err)
{
	return err ? strerrorname_np(err) : "0";
}

static int insert(const char *module, const char *parameters)
{
	char path[256];
	int fd, err = 0;

	snprintf(path, sizeof(path), "/modules/%s.ko", module);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return errno;
	if (syscall(SYS_finit_module, fd, parameters, 0))
		err = errno;
	close(fd);
	return err;
}

static int removal(const char *module)
{
	char name[256];
	char *c;

	snprintf(name, sizeof(name), "%s", module);
	for (c = name; *c; c++) {
		if (*c == '-')
			*c = '_';
	}
	return syscall(SYS_delete_module, name, O_NONBLOCK) ? errno : 0;
}

static void join(char *buf, size_t size, char **words)
{
	buf[0] = '\0';
	while (*words) {
		strncat(buf, *words, size - strlen(buf) - 1);
		if (*++words)
			strncat(buf, " ", size - strlen(buf) - 1);
	}
}

void step_load(struct step *step)
{
	char **words = step->words;
	char parameters[LINE_SIZE];
	int err;

	join(parameters, sizeof(parameters), words + 2);
	err = insert(words[1], parameters);
	if (err) {
		report("@ start load");
		done_error("load", now_ms(), "%s: %s", words[1], strerror(err));
		power_off();
	}
}

static void change(char **words, bool in)
{
	const char *id = words[1], *expected = words[2];
	char parameters[LINE_SIZE];
	long start = now_ms();
	int err;

	join(parameters, sizeof(parameters), words + 4);
	err = in ? insert(words[3], parameters) : removal(words[3]);
	if (!strcmp(errno_name(err), expected)) {
		done(id, "ok", start);
		return;
	}
	if (in && !strcmp(expected, "0"))
		phase_lose();
	if (in && !err)
		removal(words[3]);
	done_error(id, start, "%s %s: %s, expected %s", words[0], words[3], errno_name(err),
		   expected);
}

void step_insmod(struct step *step)
{
	change(step->words, true);
}

void step_rmmod(struct step *step)
{
	change(step->words, false);
}

/* Five seconds, of which a removal that ends takes one. */
void step_stay(struct step *step)
{
	const char *id = step->words[1], *module = step->words[2];
	long start = now_ms();
	int status;
	pid_t pid;

	fflush(NULL);
	pid = fork();
	if (!pid) {
		removal(module);
		_exit(0);
	}
	while (now_ms() < start + 5000) {
		if (waitpid(pid, &status, WNOHANG) == pid) {
			done_error(id, start, "the removal of %s has ended", module);
			return;
		}
		usleep(20000);
	}
	done(id, "ok", start);
}

void step_log(struct step *step)
{
	const char *id = step->words[1];
	long start = now_ms();

	if (kmsg_says(step->text))
		done(id, "ok", start);
	else
		done_error(id, start, "the kernel log does not say '%s'", step->text);
}

void step_cycle(struct step *step)
{
	const char *id = step->words[1], *module = step->words[3];
	long count = strtol(step->words[2], NULL, 0), start = now_ms(), i;
	int err;

	for (i = 0; i < count; i++) {
		err = insert(module, "");
		if (err) {
			done_error(id, start, "insmod %ld of %ld: %s", i + 1, count,
				   errno_name(err));
			return;
		}
		err = removal(module);
		if (err) {
			done_error(id, start, "rmmod %ld of %ld: %s", i + 1, count,
				   errno_name(err));
			return;
		}
		kmsg_drain();
		if (kmsg_complained()) {
			done_error(id, start, "the kernel complained in round %ld of %ld", i + 1,
				   count);
			return;
		}
		kmsg_forget();
	}
	done(id, "ok", start);
}

static int copy_lines(const char *path)
{
	FILE *file = fopen(path, "r");
	char line[LINE_SIZE];

	if (!file)
		return -1;
	while (fgets(line, sizeof(line), file)) {
		line[strcspn(line, "\n")] = '\0';
		report("| %s", line);
	}
	fclose(file);
	return 0;
}

void step_kunit(struct step *step)
{
	const char *id = step->words[1], *module = step->words[2];
	long start = now_ms();
	struct dirent *entry;
	char path[512];
	int err, suites = 0;
	DIR *dir;

	err = insert(module, "");
	if (err) {
		done_error(id, start, "insmod %s: %s", module, errno_name(err));
		return;
	}
	dir = opendir("/sys/kernel/debug/kunit");
	while (dir && (entry = readdir(dir))) {
		if (entry->d_name[0] == '.')
			continue;
		snprintf(path, sizeof(path), "/sys/kernel/debug/kunit/%s/results", entry->d_name);
		if (!copy_lines(path))
			suites++;
	}
	if (dir)
		closedir(dir);
	err = removal(module);
	if (err)
		done_error(id, start, "rmmod %s: %s", module, errno_name(err));
	else if (!suites)
		done_error(id, start, "no KUnit suite left results");
	else
		done(id, "exit:0", start);
}

#define KMEMLEAK "/sys/kernel/debug/kmemleak"

static int kmemleak_write(const char *word)
{
	int fd = open(KMEMLEAK, O_WRONLY | O_CLOEXEC);
	int ret = -1;

	if (fd >= 0) {
		ret = write(fd, word, strlen(word)) == (ssize_t)strlen(word) ? 0 : -1;
		close(fd);
	}
	return ret;
}

void step_kmemleak_clear(struct step *step)
{
	(void)step;
	if (!access(KMEMLEAK, F_OK) && (kmemleak_write("scan") || kmemleak_write("clear")))
		report("@ note kmemleak: %s", strerror(errno));
}

void step_kmemleak_scan(struct step *step)
{
	/* kmemleak looks only at objects older than five seconds: this wait is its own rule. */
	struct timespec age = { .tv_sec = 6 };
	const char *id = step->words[1];
	long start = now_ms();
	char line[LINE_SIZE];
	int leaks = 0;
	FILE *file;

	if (access(KMEMLEAK, F_OK)) {
		done_error(id, start, "this kernel has no kmemleak");
		return;
	}
	nanosleep(&age, NULL);
	if (kmemleak_write("scan") || kmemleak_write("scan")) {
		done_error(id, start, "kmemleak: %s", strerror(errno));
		return;
	}
	file = fopen(KMEMLEAK, "r");
	while (file && fgets(line, sizeof(line), file)) {
		line[strcspn(line, "\n")] = '\0';
		if (!strncmp(line, "unreferenced object", 19))
			leaks++;
		if (leaks && leaks <= 20)
			report("| %s", line);
	}
	if (!file)
		done_error(id, start, "kmemleak: %s", strerror(errno));
	else if (leaks)
		done_error(id, start, "kmemleak: %d objects leaked", leaks);
	else
		done(id, "ok", start);
	if (file)
		fclose(file);
	kmemleak_write("clear");
}

void step_write(struct step *step)
{
	const char *path = step->words[1], *value = step->words[2];
	int fd = open(path, O_WRONLY | O_CLOEXEC);

	if (fd < 0 || write(fd, value, strlen(value)) != (ssize_t)strlen(value))
		report("@ note cannot write %s to %s: %s", value, path, strerror(errno));
	if (fd >= 0)
		close(fd);
}
