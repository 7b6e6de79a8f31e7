// SPDX-License-Identifier: GPL-2.0-only
/*
 * Whose VM is it? VMs that exist at load stay with KVM's own code until they
 * end, VMs made while the module is in are the module's, and it stays in as
 * long as they live. Inserts and removes the module by itself.
 */
#include <dirent.h>
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "module.h"
#include "subject.h"
#include "tracefs.h"

TEST(old_vm_stays_with_stock)
{
	struct subject old;

	module_start_clean();
	old = subject_new();
	subject_works(&old);
	ASSERT(subject_is_stock(&old), "not stock before load");
	module_load();
	ASSERT_EQ(module_vms_created(), 0);
	ASSERT_EQ(subject_op(&old, OP_RD(HV_X64_MSR_GUEST_OS_ID)).result, SUBJECT_OS_ID);
	subject_works(&old);
	ASSERT(subject_is_stock(&old), "taken over after its creation");
	/* The word behind this register would hold the owner. */
	vcpu_set_msr(old.v, HV_X64_MSR_CRASH_CTL, ~0ULL);
	subject_works(&old);
	ASSERT_EQ(subject_op(&old, OP_WR(HV_X64_MSR_CRASH_CTL, ~BIT64(63))).vector, 0);
	subject_works(&old);
	ASSERT(subject_is_stock(&old), "it became owned");
	/* It does not hold the module either. */
	module_unload();
	subject_works(&old);
	ASSERT(subject_is_stock(&old), "not stock after unload");
	vm_free(old.vm);
}

/* Ownership is the VM's: a vCPU that comes after load belongs to stock as well. */
TEST(new_vcpu_of_old_vm_stays_with_stock)
{
	struct subject old, late;

	module_start_clean();
	old = subject_new();
	module_load();
	late = old;
	late.v = vm_add_vcpu(old.vm);
	late.p = vcpu_ops_init(late.v, 1);
	subject_works(&late);
	ASSERT(subject_is_stock(&late), "taken over");
	module_unload();
	subject_works(&late);
	vm_free(old.vm);
}

TEST(new_vm_is_the_modules)
{
	struct subject s;

	module_start_clean();
	module_load();
	s = subject_new();
	ASSERT_EQ(module_vms_created(), 1);
	subject_works(&s);
	ASSERT(!subject_is_stock(&s), "not taken over");
	subject_works(&s);
	vm_free(s.vm);
	module_unload();
}

TEST(both_side_by_side)
{
	struct subject old, own;
	u32 i;

	module_start_clean();
	old = subject_new();
	module_load();
	own = subject_new();
	for (i = 0; i < 20; i++) {
		subject_works(&old);
		subject_works(&own);
	}
	ASSERT(subject_is_stock(&old), "old VM taken over");
	ASSERT(!subject_is_stock(&own), "new VM not taken over");
	vm_free(old.vm);
	subject_works(&own);
	vm_free(own.vm);
	module_unload();
}

TEST(unload_refused_while_ours_lives)
{
	struct subject s;
	int r;

	module_start_clean();
	module_load();
	s = subject_new();
	subject_works(&s);
	r = __module_unload();
	ASSERT(r == -EBUSY || r == -EAGAIN || r == -EWOULDBLOCK, "rmmod: %d (%s)", r, strerror(-r));
	ASSERT(module_loaded(), "it went away");
	subject_works(&s);
	ASSERT(!subject_is_stock(&s), "no longer owned");
	vm_free(s.vm);
	module_unload();
}

/* Even a VM without a single vCPU is owned. */
TEST(empty_vm_holds_the_module)
{
	struct vm *vm;
	int r;

	module_start_clean();
	module_load();
	vm = vm_create(0, 0);
	r = __module_unload();
	ASSERT(r == -EBUSY || r == -EAGAIN || r == -EWOULDBLOCK, "rmmod: %d (%s)", r, strerror(-r));
	vm_free(vm);
	module_unload();
}

TEST(stock_again_after_unload)
{
	struct subject s;

	module_start_clean();
	module_load();
	s = subject_new();
	subject_works(&s);
	vm_free(s.vm);
	module_unload();
	s = subject_new();
	subject_works(&s);
	ASSERT(subject_is_stock(&s), "the module is out");
	vm_free(s.vm);
}

TEST(debugfs_comes_and_goes)
{
	char path[128], buf[4096];
	struct dirent *e;
	struct subject s;
	u32 files = 0;
	DIR *d;

	module_start_clean();
	ASSERT(access(MODULE_DEBUGFS, F_OK), "there before load");
	if (access("/sys/kernel/debug/kvm", F_OK))
		FAIL("debugfs is not mounted");
	module_load();
	s = subject_new();
	subject_works(&s);
	d = opendir(MODULE_DEBUGFS);
	ASSERT(d, "%s: %s", MODULE_DEBUGFS, strerror(errno));
	while ((e = readdir(d))) {
		FILE *f;
		size_t n;

		if (e->d_type != DT_REG)
			continue;
		snprintf(path, sizeof(path), "%s/%.64s", MODULE_DEBUGFS, e->d_name);
		f = fopen(path, "r");
		ASSERT(f, "%s: %s", path, strerror(errno));
		n = fread(buf, 1, sizeof(buf), f);
		ASSERT(n > 0 && !ferror(f), "%s: nothing to read", path);
		fclose(f);
		files++;
	}
	closedir(d);
	ASSERT(files > 0, "no files in %s", MODULE_DEBUGFS);
	vm_free(s.vm);
	module_unload();
	ASSERT(access(MODULE_DEBUGFS, F_OK), "there after unload");
}

static void *load(void *unused)
{
	(void)unused;
	module_load();
	return NULL;
}

static bool is_replaced(const char *function)
{
	FILE *f = fopen(TRACING "/enabled_functions", "r");
	char line[512];
	bool found = false;

	ASSERT(f, "enabled_functions: %s", strerror(errno));
	while (!found && fgets(line, sizeof(line), f))
		found = !strncmp(line, function, strlen(function));
	fclose(f);
	return found;
}

/* A file that is open while its load fails would be freed under its reader: nothing fails then. */
TEST(debugfs_comes_last)
{
	pthread_t loader;
	bool replaced;

	module_start_clean();
	ASSERT_EQ(pthread_create(&loader, NULL, load, NULL), 0);
	while (access(MODULE_DEBUGFS "/enlightenments", F_OK))
		sched_yield();
	replaced = is_replaced("kvm_hv_hypercall ");
	pthread_join(loader, NULL);
	module_unload();
	ASSERT(replaced, "there before KVM's functions are replaced");
}

int main(int argc, char **argv)
{
	int i;

	for (i = 1; i + 1 < argc; i++)
		if (!strcmp(argv[i], "--module"))
			module_option = argv[i + 1];
	return module_ktap_main(argc, argv);
}
