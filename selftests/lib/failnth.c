// SPDX-License-Identifier: GPL-2.0-only
/* See failnth.h. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "failnth.h"
#include "ktap.h"

#define DEBUGFS	    "/sys/kernel/debug/"
/* Where x86-64 has its modules. */
#define MODULES	    0xffffffffa0000000ULL
#define MODULES_END 0xffffffffff000000ULL

static const char *const attributes[NR_FAILNTH] = { "failslab", "fail_page_alloc" };
const char *const failnth_names[NR_FAILNTH] = { "slab", "page" };
static int file = -1;

static void set(const char *attribute, const char *name, const char *value)
{
	char path[128];
	int fd;

	snprintf(path, sizeof(path), DEBUGFS "%s/%s", attribute, name);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	ASSERT(fd >= 0, "%s: %s", path, strerror(errno));
	ASSERT(write(fd, value, strlen(value)) > 0, "%s: %s", path, strerror(errno));
	close(fd);
}

void failnth_require(void)
{
	u32 i;

	file = open("/proc/thread-self/fail-nth", O_RDWR | O_CLOEXEC);
	if (file < 0)
		ktap_skip("this kernel injects no faults");
	for (i = 0; i < ARRAY_SIZE(attributes); i++) {
		if (access(i ? DEBUGFS "fail_page_alloc" : DEBUGFS "failslab", F_OK))
			ktap_skip("no %s", attributes[i]);
		/* Those that may sleep, which are nearly all, too. */
		set(attributes[i], "ignore-gfp-wait", "N");
		set(attributes[i], "verbose", "0");
	}
	set("fail_page_alloc", "ignore-gfp-highmem", "N");
	set("fail_page_alloc", "min-order", "0");
}

/* The addresses of the module's functions. */
static void module_text(u64 *start, u64 *end)
{
	FILE *f = fopen("/proc/kallsyms", "r");
	char line[256], type, owner[64];
	unsigned long long at;

	ASSERT(f, "kallsyms: %s", strerror(errno));
	*start = ~0ULL;
	*end = 0;
	while (fgets(line, sizeof(line), f)) {
		if (sscanf(line, "%llx %c %*s [%63[^]]]", &at, &type, owner) != 3 ||
		    strcmp(owner, "kvm_hyperv") || (type != 't' && type != 'T'))
			continue;
		if (at < *start)
			*start = at;
		if (at > *end)
			*end = at;
	}
	fclose(f);
	ASSERT(*start && *start < *end, "the module has no functions");
	*end += PAGE_SIZE;
}

static void require_stack(const char *attribute, u64 start, u64 end)
{
	char text[32];

	snprintf(text, sizeof(text), "0x%llx", (unsigned long long)start);
	set(attribute, "require-start", text);
	snprintf(text, sizeof(text), "0x%llx", (unsigned long long)end);
	set(attribute, "require-end", text);
}

void failnth_of(enum failnth_kind kind, enum failnth_stack stack)
{
	u64 start = 0, end = ~0ULL;

	if (stack == FAILNTH_MODULE)
		module_text(&start, &end);
	if (stack == FAILNTH_MODULES) {
		start = MODULES;
		end = MODULES_END;
	}
	/* No function is there. */
	require_stack(attributes[!kind], 1, 2);
	require_stack(attributes[kind], start, end);
}

void failnth_arm(u32 n)
{
	char text[16];
	int len = snprintf(text, sizeof(text), "%u", n);

	ASSERT(pwrite(file, text, (size_t)len, 0) == len, "fail-nth: %s", strerror(errno));
}

bool failnth_disarm(void)
{
	char text[16] = "";
	bool failed;

	ASSERT(pread(file, text, sizeof(text) - 1, 0) > 0, "fail-nth: %s", strerror(errno));
	failed = !strtoul(text, NULL, 10);
	failnth_arm(0);
	return failed;
}

void failnth_all(bool on)
{
	static const char *const values[][2] = {
		{ "probability", "100" },
		{ "times", "-1" },
		{ "task-filter", "Y" },
	};
	u64 start, end;
	u32 i, j;
	int fd = open("/proc/thread-self/make-it-fail", O_WRONLY | O_CLOEXEC);

	ASSERT(fd >= 0, "make-it-fail: %s", strerror(errno));
	module_text(&start, &end);
	for (i = 0; on && i < ARRAY_SIZE(attributes); i++) {
		require_stack(attributes[i], start, end);
		for (j = 0; j < ARRAY_SIZE(values); j++)
			set(attributes[i], values[j][0], values[j][1]);
	}
	ASSERT(write(fd, on ? "1" : "0", 1) == 1, "make-it-fail: %s", strerror(errno));
	close(fd);
	for (i = 0; !on && i < ARRAY_SIZE(attributes); i++)
		set(attributes[i], "probability", "0");
}
