// SPDX-License-Identifier: GPL-2.0-only
/*
 * The examples of Documentation/prototyping.rst, in a module of its own that this program inserts.
 * prototype/nested.patch: a nested register and a nested call, each one row and a handler.
 * prototype/add-rows: a register that is one row, and a call that is a row and a handler. Of these
 * all that must follow by itself is looked for: gate, CPUID, counts, trace, save list, and that the
 * tests and the fuzzer take them from the module's tables.
 *
 *   prototype_test [--module FILE]
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "module.h"
#include "nested.h"
#include "ops.h"
#include "rows.h"
#include "tables.h"
#include "tracefs.h"

#define HV_X64_MSR_NESTED_VP_INDEX 0x40001002
#define HVCALL_VERIFY_NESTED_VP_ID 0x00f0

#define OUR_INDEX 77

static struct vm *new_vm(struct ops_page **p)
{
	struct vm *vm = vm_create(1, 0);

	vcpu_set_msr(vm->vcpus[0], HV_X64_MSR_VP_INDEX, OUR_INDEX);
	*p = vcpu_ops_init(vm->vcpus[0], 4);
	vcpu_op(vm->vcpus[0], *p, OP_WR(HV_X64_MSR_GUEST_OS_ID, 0x8100000000000001ULL));
	return vm;
}

TEST(a_row_and_a_handler)
{
	struct ops_page *p;
	struct guest_op op;
	struct vm *vm;

	if (!module_option)
		ktap_skip("no prototype.ko at hand (--module FILE)");
	require_module_file();
	module_load();
	vm = new_vm(&p);

	op = vcpu_op(vm->vcpus[0], p, OP_RD(HV_X64_MSR_NESTED_VP_INDEX));
	ASSERT_EQ(op.vector, 0);
	ASSERT_EQ(op.result, OUR_INDEX);
	ASSERT_EQ(vcpu_op(vm->vcpus[0], p, OP_WR(HV_X64_MSR_NESTED_VP_INDEX, 1)).vector, GP_VECTOR);
	/* Its neighbours are still nobody's. */
	ASSERT_EQ(vcpu_op(vm->vcpus[0], p, OP_RD(HV_X64_MSR_NESTED_VP_INDEX + 1)).vector,
		  GP_VECTOR);
	ASSERT_EQ(vcpu_get_msr(vm->vcpus[0], HV_X64_MSR_NESTED_VP_INDEX), OUR_INDEX);

	/* The call is an L2's; its form is checked all the same. */
	op = vcpu_op(vm->vcpus[0], p, OP_HC(HVCALL_VERIFY_NESTED_VP_ID | HV_CTL_FAST, 0, 0));
	ASSERT_EQ(op.result, HV_STATUS_ACCESS_DENIED);
	op = vcpu_op(vm->vcpus[0], p,
		     OP_HC(HVCALL_VERIFY_NESTED_VP_ID | HV_CTL_FAST | HV_CTL_REP(1), 0, 0));
	ASSERT_EQ(op.result & 0xffff, HV_STATUS_INVALID_HYPERCALL_INPUT);
	vm_free(vm);
	module_unload();
}

/* The call comes from an L2, past its hypervisor, which has asked for that. */
TEST(an_l2_is_answered)
{
	u64 call = HVCALL_VERIFY_NESTED_VP_ID | HV_CTL_FAST;
	struct nested *n;
	struct vcpu *v;
	struct vm *vm;
	u32 before;

	if (!module_option)
		ktap_skip("no prototype.ko at hand (--module FILE)");
	require_module_file();
	module_load();
	vm = vm_create(1, 0);
	v = vm->vcpus[0];
	n = nested_create(v, NESTED_EVMCS | NESTED_DIRECT, 4);
	n->vp_id = 5;
	nested_start(v);
	before = n->exits;
	ASSERT_EQ(vcpu_op(v, n->l2, OP_HC(call, 5, 0)).result, HV_STATUS_SUCCESS);
	ASSERT_EQ(vcpu_op(v, n->l2, OP_HC(call, 6, 0)).result, HV_STATUS_INVALID_PARAMETER);
	ASSERT_EQ(n->exits, before);
	vm_free(vm);
	module_unload();
}

#define STEPS 1000

static bool at_vmmcall(u64 rip)
{
	return rip && !memcmp((void *)(uintptr_t)rip, "\x0f\x01\xd9", 3);
}

/* User space steps through the L2: the call is one instruction of it. */
TEST(an_l2_is_stepped)
{
	struct kvm_guest_debug debug = { .control = KVM_GUESTDBG_ENABLE | KVM_GUESTDBG_SINGLESTEP };
	u64 rip = 0, before;
	struct nested *n;
	struct vcpu *v;
	struct vm *vm;
	u32 i;

	if (!module_option)
		ktap_skip("no prototype.ko at hand (--module FILE)");
	if (!host_is_amd())
		ktap_skip("VMX: the exit is that of KVM's own handler");
	require_module_file();
	module_load();
	vm = vm_create(1, 0);
	v = vm->vcpus[0];
	n = nested_create(v, NESTED_DIRECT, 4);
	n->vp_id = 5;
	nested_start(v);
	n->l2->ops[0] = OP_HC(HVCALL_VERIFY_NESTED_VP_ID | HV_CTL_FAST, 5, 0);
	n->l2->ops[0].result = HV_STATUS_INVALID_PARAMETER;
	n->l2->nr = 1;
	vcpu_ioctl(v, KVM_SET_GUEST_DEBUG, &debug);
	for (i = 0; i < STEPS && !at_vmmcall(rip); i++) {
		vcpu_run_exit(v, KVM_EXIT_DEBUG);
		rip = v->run->debug.arch.pc;
	}
	ASSERT(at_vmmcall(rip), "%u steps, and no VMMCALL", i);
	before = n->exits;
	vcpu_run_exit(v, KVM_EXIT_DEBUG);
	ASSERT_EQ(v->run->debug.arch.pc, rip + 3);
	ASSERT_EQ(n->exits, before);
	debug.control = 0;
	vcpu_ioctl(v, KVM_SET_GUEST_DEBUG, &debug);
	vcpu_run_sync(v, OPS_STAGE);
	ASSERT_EQ(n->l2->ops[0].result, HV_STATUS_SUCCESS);
	vm_free(vm);
	module_unload();
}

/* --- what prototype/add-rows adds ----------------------------------------------------- */

#define HV_X64_MSR_SCRATCH    0x40000117
#define HVCALL_ADD_TO_SCRATCH 0x003f
#define HV_F_SCRATCH	      CPUBIT(HV_LEAF_FEATURES, EDX, 30)
#define SCRATCH_RESERVED      (0xfULL << 60)
#define ADD		      (HVCALL_ADD_TO_SCRATCH | HV_CTL_FAST)

static void start_clean(void)
{
	if (!module_option)
		ktap_skip("no prototype.ko at hand (--module FILE)");
	module_start_clean();
}

static void load(void)
{
	start_clean();
	module_load();
}

/* hv_supported() remembers what was before the load. */
static bool is_offered(void)
{
	static struct cpuid_table t;

	cpuid_hv(NULL, &t);
	return cpuid_test(&t, HV_F_SCRATCH);
}

static struct vm *scratch_vm(u32 flags, bool shown, struct ops_page **p)
{
	struct vm *vm = vm_create(2, flags);
	u32 i;

	for (i = 0; i < 2; i++)
		vcpu_set_bit(vm->vcpus[i], HV_F_SCRATCH, shown);
	vcpu_set_msr(vm->vcpus[0], HV_X64_MSR_GUEST_OS_ID, 0x8100000000000001ULL);
	*p = vcpu_ops_init(vm->vcpus[0], 4);
	return vm;
}

static void expect_scratch(struct vcpu *v, struct ops_page *p, u64 value)
{
	struct guest_op op = vcpu_op(v, p, OP_RD(HV_X64_MSR_SCRATCH));

	ASSERT_EQ(op.vector, 0);
	ASSERT_EQ(op.result, value);
	ASSERT_EQ(vcpu_get_msr(v, HV_X64_MSR_SCRATCH), value);
}

TEST(a_register_is_a_row)
{
	struct ops_page *p;
	struct vcpu *v;
	struct vm *vm;

	load();
	vm = scratch_vm(0, true, &p);
	v = vm->vcpus[0];
	expect_scratch(v, p, 0);
	ASSERT_EQ(vcpu_op(v, p, OP_WR(HV_X64_MSR_SCRATCH, 5)).vector, 0);
	expect_scratch(v, p, 5);
	/* Each VP has its own; user space writes it, too. */
	ASSERT_EQ(vcpu_get_msr(vm->vcpus[1], HV_X64_MSR_SCRATCH), 0);
	vcpu_set_msr(v, HV_X64_MSR_SCRATCH, 7);
	expect_scratch(v, p, 7);
	ASSERT_EQ(vcpu_op(v, p, OP_WR(HV_X64_MSR_SCRATCH, 1ULL << 60)).vector, GP_VECTOR);
	ASSERT_EQ(__vcpu_set_msr(v, HV_X64_MSR_SCRATCH, SCRATCH_RESERVED), 0);
	expect_scratch(v, p, 7);
	vm_free(vm);
	vm = scratch_vm(0, true, &p);
	expect_scratch(vm->vcpus[0], p, 0);
	vm_free(vm);
	module_unload();
}

TEST(a_call_is_a_row_and_a_handler)
{
	struct ops_page *p;
	struct vcpu *v;
	struct vm *vm;
	u64 *input;

	load();
	vm = scratch_vm(0, true, &p);
	v = vm->vcpus[0];
	ASSERT_EQ(vcpu_op(v, p, OP_HC(ADD, 3, 0)).result, HV_STATUS_SUCCESS);
	input = vm_alloc(vm, PAGE_SIZE);
	*input = 4;
	ASSERT_EQ(vcpu_op(v, p, OP_HC(HVCALL_ADD_TO_SCRATCH, (u64)(uintptr_t)input, 0)).result,
		  HV_STATUS_SUCCESS);
	expect_scratch(v, p, 7);
	ASSERT_EQ(vcpu_op(v, p, OP_HC(ADD | HV_CTL_REP(1), 3, 0)).result,
		  HV_STATUS_INVALID_HYPERCALL_INPUT);
	ASSERT_EQ(vcpu_op(v, p, OP_HC(HVCALL_ADD_TO_SCRATCH, (u64)(uintptr_t)input + 4, 0)).result,
		  HV_STATUS_INVALID_ALIGNMENT);
	expect_scratch(v, p, 7);
	vm_free(vm);
	module_unload();
}

TEST(cpuid_and_gate_follow)
{
	struct ops_page *p;
	struct vcpu *v;
	struct vm *vm;
	u64 value;

	start_clean();
	ASSERT(!is_offered(), "stock offers the bit");
	module_load();
	ASSERT(is_offered(), "the bit is not offered");
	/* No guest has the register that is not shown it, enforced or not. */
	vm = scratch_vm(0, false, &p);
	v = vm->vcpus[0];
	ASSERT_EQ(vcpu_op(v, p, OP_RD(HV_X64_MSR_SCRATCH)).vector, GP_VECTOR);
	ASSERT_EQ(vcpu_op(v, p, OP_WR(HV_X64_MSR_SCRATCH, 1)).vector, GP_VECTOR);
	/* User space saves and restores it as 0, for KVM_GET_MSR_INDEX_LIST names it. */
	ASSERT_EQ(__vcpu_get_msr(v, HV_X64_MSR_SCRATCH, &value), 1);
	ASSERT_EQ(value, 0);
	ASSERT_EQ(__vcpu_set_msr(v, HV_X64_MSR_SCRATCH, 0), 1);
	ASSERT_EQ(__vcpu_set_msr(v, HV_X64_MSR_SCRATCH, 1), 0);
	vm_free(vm);
	vm = scratch_vm(VM_ENFORCE, false, &p);
	v = vm->vcpus[0];
	ASSERT_EQ(vcpu_op(v, p, OP_RD(HV_X64_MSR_SCRATCH)).vector, GP_VECTOR);
	ASSERT_EQ(vcpu_op(v, p, OP_HC(ADD, 3, 0)).result, HV_STATUS_ACCESS_DENIED);
	vm_free(vm);
	vm = scratch_vm(VM_ENFORCE, true, &p);
	v = vm->vcpus[0];
	ASSERT_EQ(vcpu_op(v, p, OP_HC(ADD, 3, 0)).result, HV_STATUS_SUCCESS);
	expect_scratch(v, p, 3);
	vm_free(vm);
	module_unload();
}

static bool is_write_of_scratch(const char *line)
{
	return strstr(line, "wrmsr 0x40000117 0x5") && strstr(line, " SCRATCH");
}

static bool is_addition(const char *line)
{
	return strstr(line, "code 0x3f control") && strstr(line, " ADD_TO_SCRATCH");
}

#define EVENTS TRACING "/events/kvm_hyperv/enable"

TEST(counts_and_trace_follow)
{
	struct ops_page *p;
	struct vcpu *v;
	struct vm *vm;

	load();
	vm = scratch_vm(0, true, &p);
	v = vm->vcpus[0];
	trace_clear();
	file_must_write(EVENTS, "1");
	ASSERT_EQ(vcpu_op(v, p, OP_WR(HV_X64_MSR_SCRATCH, 5)).vector, 0);
	ASSERT_EQ(vcpu_op(v, p, OP_HC(ADD, 3, 0)).result, HV_STATUS_SUCCESS);
	file_must_write(EVENTS, "0");
	expect_scratch(v, p, 8);
	ASSERT_EQ(trace_count(is_write_of_scratch), 1);
	ASSERT_EQ(trace_count(is_addition), 1);
	ASSERT_EQ(row_counts(HV_X64_MSR_SCRATCH).writes, 1);
	ASSERT_EQ(row_counts(HV_X64_MSR_SCRATCH).reads, 1);
	ASSERT_EQ(row_counts(HVCALL_ADD_TO_SCRATCH).writes, 1);
	ASSERT(row_is_atomic(HV_X64_MSR_SCRATCH, true), "not atomic");
	ASSERT_EQ(module_uses("hv-scratch "), 3);
	ASSERT(table_has(HV_X64_MSR_SCRATCH, false) && table_has(HVCALL_ADD_TO_SCRATCH, true),
	       "not in debugfs' tables");
	vm_free(vm);
	module_unload();
}

static u32 times_listed(struct named_msrs *l, u32 msr)
{
	u32 i, n = 0;

	kvm_msr_list(l);
	for (i = 0; i < l->hdr.nmsrs; i++)
		n += l->msrs[i] == msr;
	return n;
}

/* What a VMM saves that saves all that is named. */
TEST(save_list_follows)
{
	static struct named_msrs list;
	struct vm *vm, *target;
	struct ops_page *p;
	u64 value;
	u32 i;

	start_clean();
	ASSERT_EQ(times_listed(&list, HV_X64_MSR_SCRATCH), 0);
	module_load();
	ASSERT_EQ(times_listed(&list, HV_X64_MSR_NESTED_VP_INDEX), 0);
	ASSERT_EQ(times_listed(&list, HV_X64_MSR_SCRATCH), 1);
	vm = scratch_vm(0, true, &p);
	ASSERT_EQ(vcpu_op(vm->vcpus[0], p, OP_WR(HV_X64_MSR_SCRATCH, 5)).vector, 0);
	target = scratch_vm(0, true, &p);
	for (i = 0; i < list.hdr.nmsrs; i++) {
		if (__vcpu_get_msr(vm->vcpus[0], list.msrs[i], &value) == 1)
			__vcpu_set_msr(target->vcpus[0], list.msrs[i], value);
	}
	vm_free(vm);
	ASSERT_EQ(vcpu_get_msr(target->vcpus[0], HV_X64_MSR_SCRATCH), 5);
	vm_free(target);
	module_unload();
}

#define MAX_TEXTS 3

struct other_test {
	const char *argv[8];
	const char *texts[MAX_TEXTS]; /* that its output has; behind a '!', that it has not */
};

static void look_at_line(const char *line, const struct other_test *t, bool *found)
{
	u32 i;

	for (i = 0; i < MAX_TEXTS && t->texts[i]; i++)
		found[i] |= !!strstr(line, t->texts[i] + (t->texts[i][0] == '!'));
}

static void run_other(const struct other_test *t)
{
	bool found[MAX_TEXTS] = { false };
	int fds[2], status, i;
	char line[512];
	pid_t pid;
	FILE *f;

	ASSERT(!pipe(fds), "pipe: %s", strerror(errno));
	pid = fork();
	if (!pid) {
		dup2(fds[1], 1);
		dup2(fds[1], 2);
		close(fds[0]);
		execv(t->argv[0], (char **)t->argv);
		dprintf(2, "%s: %s\n", t->argv[0], strerror(errno));
		_exit(127);
	}
	close(fds[1]);
	f = fdopen(fds[0], "r");
	ASSERT(f, "fdopen: %s", strerror(errno));
	while (fgets(line, sizeof(line), f)) {
		line[strcspn(line, "\n")] = '\0';
		ktap_log("%s", line);
		look_at_line(line, t, found);
	}
	fclose(f);
	ASSERT_EQ(waitpid(pid, &status, 0), pid);
	ASSERT(!status, "%s %s: status 0x%x", t->argv[0], t->argv[1], status);
	for (i = 0; i < MAX_TEXTS && t->texts[i]; i++)
		ASSERT(found[i] == (t->texts[i][0] != '!'), "%s: \"%s\"", t->argv[0], t->texts[i]);
}

#define REGISTER_TAKEN "SCRATCH, 0x40000117: not in the list: taken from the module"
#define CALL_TAKEN     "ADD_TO_SCRATCH, 0x3f: not in the list: taken from the module"

/* clang-format off */
static const struct other_test others[] = {
	{ { "/bin/enforce_cpuid_msrs_test", "rows_that_are_not_listed", "unknown_msr_faults", },
	  { REGISTER_TAKEN, "0x40000117 has a row now", "!SKIP" } },
	{ { "/bin/enforce_cpuid_calls_test", "rows_that_are_not_listed", },
	  { CALL_TAKEN, "!SKIP" } },
	{ { "/bin/hypercall_matrix_form_test", "form_of_rows_that_are_not_listed",
	    "form_of_unknown_calls", },
	  { CALL_TAKEN, "0x003f has a row now", "!SKIP" } },
	{ { "/bin/fastpath_rows_test", "every_atomic_row_is_answered_at_once", },
	  { "ADD_TO_SCRATCH: not in the list: taken from the module", "!SKIP" } },
};
/* clang-format on */

TEST(tests_follow)
{
	u32 i;

	ktap_timeout(60);
	load();
	for (i = 0; i < ARRAY_SIZE(others); i++)
		run_other(&others[i]);
	module_unload();
}

/* The fuzzer has the module's tables built in: this one is built from the same sources. */
TEST(fuzzer_follows)
{
	struct other_test fuzzer = {
		{ "/modules/prototype-fuzz", "--module", module_option, "--ops", "3000",
		  "rows_are_the_tlfs", "module_is_like_stock" },
		{ "a row that is not in tlfs.c: ", "!a row that is not in tlfs.c: 0,", "!SKIP" },
	};

	/* As fuzz_test in tests.list. */
	if (host_is_6_1())
		ktap_skip("the fuzzer does not know what 6.1 offers less than the module");
	ktap_timeout(200);
	start_clean();
	run_other(&fuzzer);
}

/* Without the rows nothing of it is there: the example does not test itself. */
TEST(stock_has_neither)
{
	struct ops_page *p;
	struct vm *vm;

	if (module_loaded())
		ktap_skip("the module is loaded");
	vm = new_vm(&p);
	ASSERT_EQ(vcpu_op(vm->vcpus[0], p, OP_RD(HV_X64_MSR_NESTED_VP_INDEX)).vector, GP_VECTOR);
	ASSERT_EQ(vcpu_op(vm->vcpus[0], p, OP_RD(HV_X64_MSR_SCRATCH)).vector, GP_VECTOR);
	ASSERT_EQ(vcpu_op(vm->vcpus[0], p, OP_HC(ADD, 0, 0)).result,
		  HV_STATUS_INVALID_HYPERCALL_CODE);
	ASSERT_EQ(vcpu_op(vm->vcpus[0], p, OP_HC(HVCALL_VERIFY_NESTED_VP_ID | HV_CTL_FAST, 0, 0))
			  .result,
		  HV_STATUS_INVALID_HYPERCALL_CODE);
	vm_free(vm);
}

int main(int argc, char **argv)
{
	static const char file[] = "/modules/prototype.ko";
	if (argc == 3 && !strcmp(argv[1], "--module"))
		module_option = argv[2];
	else if (!access(file, R_OK))
		module_option = file;
	return module_ktap_main(argc, argv);
}
