// SPDX-License-Identifier: GPL-2.0-only
/* See stacks.h. */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "stacks.h"

static void print_file(const char *path)
{
	char line[256];
	FILE *f = fopen(path, "re");

	while (f && fgets(line, sizeof(line), f))
		printf("#     %s", line);
	if (f)
		fclose(f);
}

static void print_task(int pid, int tid)
{
	char path[64], comm[64] = "?", state = '?';
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/task/%d/stat", pid, tid);
	f = fopen(path, "re");
	if (!f)
		return;
	if (fscanf(f, "%*d (%63[^)]) %c", comm, &state) != 2)
		state = '?';
	fclose(f);
	if (state != 'D' && pid != getpid())
		return;
	printf("#   %s (%d) %c\n", comm, tid, state);
	snprintf(path, sizeof(path), "/proc/%d/task/%d/stack", pid, tid);
	print_file(path);
}

/* Each number in a folder: the tasks of @pid, or the processes. */
static void each_number(const char *path, int pid, void (*what)(int pid, int n))
{
	DIR *d = opendir(path);
	struct dirent *e;

	while (d && (e = readdir(d))) {
		if (atoi(e->d_name))
			what(pid, atoi(e->d_name));
	}
	if (d)
		closedir(d);
}

static void print_process(int unused, int pid)
{
	char path[64];

	(void)unused;
	snprintf(path, sizeof(path), "/proc/%d/task", pid);
	each_number(path, pid, print_task);
}

void stacks_print(void)
{
	each_number("/proc", 0, print_process);
	fflush(stdout);
}
