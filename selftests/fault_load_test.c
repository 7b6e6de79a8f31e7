// SPDX-License-Identifier: GPL-2.0-only
/*
 * Every allocation below the module's init function fails once: the load fails with ENOMEM, and the
 * log has the cause and the way out, or it succeeds all the same and the module works and goes
 * again. Either way KVM is as before. Inserts and removes the module by itself, on a kernel that
 * injects faults.
 *
 * Option --every N: only each Nth allocation, because a load takes long; all are counted.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "failnth.h"
#include "klog.h"
#include "module.h"
#include "ops.h"

#define GUARD 20000

static u32 every = 1;

/* The life of a VM, whoever answers. */
static void guest_works(void)
{
	struct vm *vm = vm_create(1, 0);
	struct ops_page *p = vcpu_ops_init(vm->vcpus[0], 1);
	struct guest_op o;

	o = vcpu_op(vm->vcpus[0], p, OP_WR(HV_X64_MSR_GUEST_OS_ID, 1));
	ASSERT_EQ(o.vector, 0);
	o = vcpu_op(vm->vcpus[0], p, OP_HC(HVCALL_NOTIFY_LONG_SPIN_WAIT | HV_CTL_FAST, 0, 0));
	ASSERT_EQ(o.result, 0);
	vm_free(vm);
}

/* What a load says that is refused for want of memory, and how often it has. */
static struct {
	const char *text;
	bool each; /* only one allocation ends so: not among every Nth */
	u32 told;
} refusals[] = {
	{ "kvm_hyperv: cannot look up kernel symbols (-12)", true, 0 },
	{ "kvm_hyperv: out of memory for the BTF of KVM", false, 0 },
	{ "kvm_hyperv: out of memory for a copy of require=", true, 0 },
	{ "kvm_hyperv: cannot hook ", false, 0 },
	{ "kvm_hyperv: cannot replace KVM's functions (-12)", false, 0 },
};

/* A load that is refused tells the cause, and the way out. */
static void tells(int log, u32 n)
{
	char record[KLOG_RECORD];
	bool told = false;
	u32 i;

	while (klog_next(log, record)) {
		told |= strstr(record, "kvm_hyperv: ") && strstr(record, "; ");
		for (i = 0; i < ARRAY_SIZE(refusals); i++)
			refusals[i].told += !!strstr(record, refusals[i].text);
	}
	ASSERT(told, "allocation %u: the log does not tell why, and the way out", n);
}

static void fail_each(enum failnth_kind kind)
{
	u32 i, n, refused = 0, stood = 0;
	bool hit = true;
	int log = klog_open(), r;

	lseek(log, 0, SEEK_END);
	require_module_file();
	failnth_require();
	failnth_of(kind, FAILNTH_MODULES);
	ktap_timeout(3000);
	for (n = 1; hit; n += every) {
		ASSERT(n < GUARD, "endless");
		failnth_arm(n);
		r = __module_load();
		hit = failnth_disarm();
		if (r) {
			ASSERT(hit && r == -ENOMEM, "allocation %u: %s", n, strerror(-r));
			ASSERT(!module_loaded(), "allocation %u: the module is there", n);
			tells(log, n);
			refused++;
		} else {
			ASSERT(module_loaded(), "allocation %u: the module is not there", n);
			guest_works();
			module_unload();
			stood += hit;
		}
	}
	guest_works();
	ktap_log("%s: %u loads refused for want of memory, %u loads that did without",
		 failnth_names[kind], refused, stood);
	ASSERT(refused + stood, "nothing was injected");
	for (i = 0; i < ARRAY_SIZE(refusals); i++) {
		ktap_log("%u x %s", refusals[i].told, refusals[i].text);
		ASSERT(refusals[i].told || kind != FAILNTH_SLAB || (refusals[i].each && every > 1),
		       "no load was refused so: %s", refusals[i].text);
	}
}

TEST(each_slab_allocation_of_a_load)
{
	fail_each(FAILNTH_SLAB);
}

TEST(each_page_allocation_of_a_load)
{
	fail_each(FAILNTH_PAGES);
}

int main(int argc, char **argv)
{
	int i;

	for (i = 1; i + 1 < argc; i++) {
		if (!strcmp(argv[i], "--module"))
			module_option = argv[i + 1];
		if (!strcmp(argv[i], "--every"))
			every = (u32)strtoul(argv[i + 1], NULL, 10);
	}
	return module_ktap_main(argc, argv);
}
