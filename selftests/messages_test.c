// SPDX-License-Identifier: GPL-2.0-only
/*
 * Messages of the kernel log that no other test reads (selftests/rig/messages.list): each is
 * provoked, and says what it is for. Inserts and removes the module by itself.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "klog.h"
#include "module.h"
#include "ops.h"
#include "tracer.h"

/* No register has this number, and KVM asks its Hyper-V code for it. */
#define NO_MSR	    0x40000055u
#define PARAMETERS  "/sys/module/kvm_hyperv/parameters/"
#define VENDOR_ARGS "nested=1"

static void begin(int *log)
{
	require_module_file();
	*log = klog_open();
	ASSERT(*log >= 0, "the kernel log");
	lseek(*log, 0, SEEK_END);
}

static void says(int log, const char *text, const char *more)
{
	ASSERT(klog_says(log, text, more), "the log does not say: %s", text);
}

static int write_parameter(const char *path, const char *value)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC), r;

	ASSERT(fd >= 0, "%s: %s", path, strerror(errno));
	r = write(fd, value, strlen(value)) < 0 ? -errno : 0;
	close(fd);
	return r;
}

/* The file of debugfs that tells of the fast path. */
static void fast_path_is(const char *want)
{
	FILE *f = fopen(MODULE_DEBUGFS "/fast_path", "r");
	char text[128] = "";

	ASSERT(f, "fast_path: %s", strerror(errno));
	ASSERT(fgets(text, sizeof(text), f), "fast_path is empty");
	fclose(f);
	ASSERT(!strcmp(text, want), "fast_path: %s", text);
}

TEST(load_names_what_it_has_done)
{
	int log;

	begin(&log);
	module_load();
	says(log, "kvm_hyperv: version ", " functions replaced, owns new VMs");
	fast_path_is("on\n");
	ASSERT_EQ(write_parameter("/sys/module/kvm_hyperv/parameters/fastpath", "0"), 0);
	fast_path_is("off: fastpath=0\n");
	module_unload();
	says(log, "kvm_hyperv: unloaded; all ", " functions are restored");
	module_load_with("takeover=0");
	says(log, "kvm_hyperv: version ", " leaves new VMs to KVM (takeover=0)");
	module_unload();
}

/* A kernel without BTF of modules, as the debug kernel: the others refuse (row without_btf). */
TEST(missing_btf_is_told)
{
	int log;

	if (!access("/sys/kernel/btf/kvm", F_OK))
		ktap_skip("KVM has its BTF");
	begin(&log);
	module_load();
	says(log, "kvm_hyperv: no BTF of ", "so KVM's structures are not compared");
	module_unload();
}

TEST(wrong_values_at_run_time)
{
	int log;

	begin(&log);
	module_load();
	ASSERT_EQ(write_parameter(PARAMETERS "fastpath", "perhaps"), -EINVAL);
	says(log, "kvm_hyperv: fastpath=perhaps is not a boolean; use fastpath=1", NULL);
	ASSERT_EQ(write_parameter(PARAMETERS "takeover", "maybe"), -EINVAL);
	says(log, "kvm_hyperv: takeover=maybe is not a boolean; use takeover=1", NULL);
	/* Nothing has changed. */
	ASSERT_EQ(write_parameter(PARAMETERS "fastpath", "1"), 0);
	module_unload();
}

TEST(wrong_value_at_load)
{
	int log;

	begin(&log);
	ASSERT_EQ(__module_load_with("fastpath=perhaps"), -EINVAL);
	says(log, "kvm_hyperv: fastpath=perhaps is not a boolean; use fastpath=1", NULL);
}

TEST(unknown_register_is_named_once)
{
	struct vm *vm;
	struct ops_page *p;
	int log;

	begin(&log);
	module_load();
	vm = vm_create(1, 0);
	p = vcpu_ops_init(vm->vcpus[0], 1);
	ASSERT_EQ(vcpu_op(vm->vcpus[0], p, OP_RD(NO_MSR)).vector, GP_VECTOR);
	says(log,
	     "kvm_hyperv: no row for MSR 0x40000055: #GP; to add one: KHV_MSR(<NAME>, 0x40000055,",
	     NULL);
	ASSERT_EQ(vcpu_op(vm->vcpus[0], p, OP_RD(NO_MSR)).vector, GP_VECTOR);
	ASSERT_EQ(vcpu_op(vm->vcpus[0], p, OP_WR(NO_MSR + 1, 0)).vector, GP_VECTOR);
	ASSERT(!klog_says(log, "no row for MSR", NULL), "it says so again");
	vm_free(vm);
	module_unload();
}

TEST(unload_beside_a_tracer)
{
	struct tracer *t = NULL;
	u32 i;
	int log;

	begin(&log);
	tracers_remember();
	for (i = 0; i < nr_tracers && !t; i++)
		if (tracers[i].takes_site && !tracers[i].bpf && tracer_exists(&tracers[i]))
			t = &tracers[i];
	ASSERT(t, "this kernel has no tracer of functions");
	module_load();
	ASSERT_EQ(t->attach(t, "kvm_hv_hypercall"), 0);
	module_unload();
	says(log,
	     "kvm_hyperv: unloaded; another user of ftrace or kprobes has hooked 1 of the functions",
	     NULL);
	ASSERT_EQ(t->detach(t), 0);
	ASSERT(tracers_reset(), "the tracer has left something");
}

static void insert_kvm_intel(const char *params)
{
	int r = __module_insert("/modules/kvm-intel.ko", params);

	ASSERT(!r, "insmod kvm-intel.ko %s: %s", params, strerror(-r));
}

TEST(no_fast_path_is_told)
{
	int log;

	begin(&log);
	if (host_is_amd())
		ktap_skip("on AMD only a PREEMPT_RT kernel has none");
	module_remove("kvm_intel");
	insert_kvm_intel(VENDOR_ARGS " unrestricted_guest=0");
	module_load();
	says(log, "kvm_hyperv: no exit fast path: kvm_intel runs without unrestricted guests",
	     NULL);
	fast_path_is("none: kvm_intel runs without unrestricted guests\n");
	module_unload();
	module_remove("kvm_intel");
	insert_kvm_intel(VENDOR_ARGS);
}

int main(int argc, char **argv)
{
	if (argc == 3 && !strcmp(argv[1], "--module"))
		module_option = argv[2];
	return module_ktap_main(argc, argv);
}
