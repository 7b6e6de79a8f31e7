// SPDX-License-Identifier: GPL-2.0-only
/* The life of kvm-hyperv.ko as seen by a test: see module.h. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "ktap.h"
#include "module.h"

const char *module_option;

const char *module_path(void)
{
	static const char *const places[] = {
		"/lib/kvm-hyperv.ko",
		"/modules/kvm-hyperv.ko",
	};
	const char *env = getenv("KHV_MODULE");
	unsigned int i;

	if (module_option)
		return module_option;
	if (env)
		return env;
	for (i = 0; i < ARRAY_SIZE(places); i++)
		if (!access(places[i], R_OK))
			return places[i];
	return NULL;
}

int __module_insert(const char *path, const char *params)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC), r;

	if (fd < 0)
		return -errno;
	r = syscall(SYS_finit_module, fd, params, 0) ? -errno : 0;
	close(fd);
	return r;
}

int __module_remove(const char *name)
{
	return syscall(SYS_delete_module, name, O_NONBLOCK) ? -errno : 0;
}

void module_insert(const char *path)
{
	int r = __module_insert(path, "");

	if (r)
		FAIL("insmod %s: %s", path, strerror(-r));
}

void module_remove(const char *name)
{
	int r = __module_remove(name);

	if (r)
		FAIL("rmmod %s: %s", name, strerror(-r));
}

int __module_load_with(const char *params)
{
	return __module_insert(module_path(), params);
}

int __module_load(void)
{
	return __module_load_with("");
}

int __module_unload(void)
{
	return __module_remove("kvm_hyperv");
}

void module_load(void)
{
	module_load_with("");
}

void module_load_with(const char *params)
{
	int r = __module_load_with(params);

	if (r)
		FAIL("insmod %s %s: %s (see the kernel log)", module_path(), params, strerror(-r));
	ASSERT(module_loaded(), "the module is not in /sys/module");
}

void module_unload(void)
{
	int r = __module_unload();

	if (r)
		FAIL("rmmod: %s", strerror(-r));
	ASSERT(!module_loaded(), "the module is still in /sys/module");
}

void require_module_file(void)
{
	const char *path = module_path();

	if (module_loaded())
		ktap_skip(
			"the module is loaded already; run 'rmmod kvm_hyperv' first, as this test loads it by itself");
	if (!path)
		ktap_skip("no kvm-hyperv.ko at hand (--module FILE or KHV_MODULE)");
	if (access(path, R_OK))
		FAIL("%s: %s", path, strerror(errno));
}

static bool in_at_start = true;

void module_start_clean(void)
{
	/* The VMs of a case that died have died with it. */
	if (module_loaded() && !in_at_start)
		module_unload();
	require_module_file();
}

int module_ktap_main(int argc, char **argv)
{
	int r;

	in_at_start = module_loaded();
	r = ktap_main(argc, argv);
	if (!in_at_start && module_loaded()) {
		printf("# the module was left in: removing it: %d\n", __module_unload());
		r = KTAP_EXIT_FAIL;
	}
	return r;
}

long module_refs(void)
{
	FILE *f = fopen("/sys/module/kvm_hyperv/refcnt", "r");
	long n = 0;

	if (!f)
		return 0;
	ASSERT(fscanf(f, "%ld", &n) == 1, "refcnt");
	fclose(f);
	return n;
}

void module_expect_refs(long refs)
{
	unsigned int i;

	for (i = 0; i < 5000 && module_refs() != refs; i++)
		usleep(1000);
	ASSERT(module_refs() == refs, "%ld references on the module, not %ld", module_refs(), refs);
}

unsigned int module_vms_created(void)
{
	FILE *f = fopen(MODULE_DEBUGFS "/vms", "r");
	unsigned int n;

	if (!f)
		FAIL("%s/vms: %s", MODULE_DEBUGFS, strerror(errno));
	if (fscanf(f, "created %u", &n) != 1)
		FAIL("%s/vms does not begin with \"created\"", MODULE_DEBUGFS);
	fclose(f);
	return n;
}

/* The last number of the line of debugfs' @file that begins with @name. */
static unsigned long long last_number(const char *file, const char *name)
{
	unsigned long long last = 0;
	char line[256], *p;
	bool found = false;
	FILE *f;

	f = fopen(file, "r");
	if (!f)
		FAIL("%s: %s", file, strerror(errno));
	while (fgets(line, sizeof(line), f)) {
		if (strncmp(line, name, strlen(name)))
			continue;
		p = strrchr(line, ' ');
		ASSERT(p, "no number in: %s", line);
		last = strtoull(p, NULL, 10);
		found = true;
	}
	fclose(f);
	ASSERT(found, "no line %s", name);
	return last;
}

unsigned long long module_count(const char *name)
{
	return last_number(MODULE_DEBUGFS "/rows", name);
}

unsigned long long module_posts(const char *name)
{
	return last_number(MODULE_DEBUGFS "/posts", name);
}

unsigned long long module_uses(const char *name)
{
	return last_number(MODULE_DEBUGFS "/enlightenments", name);
}
