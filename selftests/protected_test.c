// SPDX-License-Identifier: GPL-2.0-only
/*
 * Guests whose state KVM cannot see. No emulated host has SEV or TDX: protected-guest.ko (rig/)
 * makes this program's VMs look like theirs, and the module cannot tell them apart.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "fastpath.h"
#include "module.h"
#include "subject.h"
#include "tracefs.h"

#define HELPER	   "protected_guest"
#define PARAMETERS "/sys/module/" HELPER "/parameters/"

/* KVM's types; the headers of older kernels lack some. */
enum { TYPE_DEFAULT, TYPE_SW_PROTECTED, TYPE_SEV, TYPE_SEV_ES, TYPE_SNP, TYPE_TDX };

/* From here on the VMs of this case are of @type at their creation. */
static void helper_load(u32 type)
{
	static const char file[] = "/modules/protected-guest.ko";
	char params[64];
	int r;

	if (!module_loaded())
		ktap_skip("whose VM it is, and what is fast, is the module's");
	if (access(file, R_OK))
		ktap_skip("no %s at hand", file);
	__module_remove(HELPER); /* of a case that died */
	snprintf(params, sizeof(params), "pid=%d type=%u", getpid(), type);
	r = __module_insert(file, params);
	if (r == -EOPNOTSUPP)
		ktap_skip("this kernel has no types of VMs");
	ASSERT(!r, "insmod %s: %s", file, strerror(-r));
}

static void helper_remove(void)
{
	module_remove(HELPER);
}

/* The first @nr numbers of a parameter of the helper. */
static void helper_read(const char *name, u64 *values, u32 nr)
{
	unsigned long long value;
	char path[96];
	FILE *f;
	u32 i;

	snprintf(path, sizeof(path), PARAMETERS "%s", name);
	f = fopen(path, "r");
	ASSERT(f, "%s: %s", path, strerror(errno));
	for (i = 0; i < nr; i++) {
		ASSERT(fscanf(f, i ? ",%llu" : "%llu", &value) == 1, "%s", path);
		values[i] = value;
	}
	fclose(f);
}

/* What the slow path got of vCPUs whose state is protected. */
static u64 helper_slow(void)
{
	u64 slow;

	helper_read("slow", &slow, 1);
	return slow;
}

/*
 * KVM compares RIP when an exit to user space is completed, and takes that of a protected state for
 * 0: complete the exit first.
 */
static void protect(struct vcpu *v, bool on)
{
	struct kvm_mp_state state;

	ASSERT_EQ(vcpu_finish_exit(v), -EINTR);
	file_must_write(PARAMETERS "protect", on ? "1" : "0");
	vcpu_ioctl(v, KVM_GET_MP_STATE, &state);
}

/* --- protected by its type ------------------------------------------------------- */

static void expect_owner(u32 type, bool stock)
{
	u32 before = module_vms_created();
	struct subject s;

	helper_load(type);
	s = subject_new();
	ASSERT(module_vms_created() - before == !stock, "type %u: %s", type,
	       stock ? "owned" : "not owned");
	subject_works(&s);
	ASSERT(subject_is_stock(&s) == stock, "type %u: answered by the other", type);
	subject_works(&s);
	vm_free(s.vm);
	helper_remove();
}

static void expect_stock(u32 type)
{
	expect_owner(type, true);
}

TEST(sev_stays_with_kvm)
{
	expect_stock(TYPE_SEV);
}

TEST(sev_es_stays_with_kvm)
{
	expect_stock(TYPE_SEV_ES);
}

TEST(snp_stays_with_kvm)
{
	expect_stock(TYPE_SNP);
}

TEST(tdx_stays_with_kvm)
{
	expect_stock(TYPE_TDX);
}

/* KVM sees the registers of both of these. */
TEST(others_are_owned)
{
	expect_owner(TYPE_DEFAULT, false);
	expect_owner(TYPE_SW_PROTECTED, false);
}

/* --- protected later: KVM_SEV_INIT, KVM_SEV_ES_INIT ------------------------------ */

#define OS_ID	0x8100000000000001ULL
#define NO_CALL 0x7777
#define NO_MSR	0x40000004
#define A_TPR	0x20

static const struct {
	struct guest_op op;
	u32 vector;
	u64 result;
	bool fast; /* in a VM whose state is not protected */
} accesses[] = {
	{ OP_RD(HV_X64_MSR_VP_INDEX), 0, 0, true },
	{ OP_WR(HV_X64_MSR_TPR, A_TPR), 0, 0, true },
	{ OP_RD(HV_X64_MSR_TPR), 0, A_TPR, true },
	{ OP_HC(SPIN_FAST, 0, 0), 0, HV_STATUS_SUCCESS, true },
	{ OP_HC(IPI_FAST, VEC, 1), 0, HV_STATUS_SUCCESS, true },
	{ OP_HC(NO_CALL, 0, 0), 0, HV_STATUS_INVALID_HYPERCALL_CODE, false },
	{ OP_RD(HV_X64_MSR_GUEST_OS_ID), 0, OS_ID, true },
	{ OP_RD(NO_MSR), GP_VECTOR, 0, false },
	{ OP_WR(HV_X64_MSR_VP_INDEX, 1), GP_VECTOR, 0, false },
};

#define NR_ACCESSES ARRAY_SIZE(accesses)

/* All accesses, ROUNDS times; how many the fast path answered. */
#define ROUNDS 10
static u64 fast_of(struct vcpu *v, struct ops_page *p)
{
	u64 before = counted(ANSWERED);
	u32 i, round;

	for (round = 0; round < ROUNDS; round++) {
		for (i = 0; i < NR_ACCESSES; i++)
			p->ops[i] = accesses[i].op;
		vcpu_ops_run(v, p, NR_ACCESSES);
		for (i = 0; i < NR_ACCESSES; i++) {
			ASSERT_EQ(p->ops[i].vector, accesses[i].vector);
			if (accesses[i].op.op != OP_WRMSR && !accesses[i].vector)
				ASSERT_EQ(p->ops[i].result, accesses[i].result);
		}
	}
	return counted(ANSWERED) - before;
}

static u32 nr_fast(void)
{
	u32 i, nr = 0;

	for (i = 0; i < NR_ACCESSES; i++)
		nr += accesses[i].fast;
	return nr;
}

TEST(protected_state_takes_the_slow_path)
{
	u64 slow, state, fast;
	struct ops_page *p;
	struct vcpu *v;
	struct vm *vm;

	helper_load(TYPE_DEFAULT);
	vm = vm_create(1, 0);
	v = vm->vcpus[0];
	p = vcpu_ops_init(v, NR_ACCESSES);
	vcpu_set_msr(v, HV_X64_MSR_GUEST_OS_ID, OS_ID);

	/* A page that is not at hand, or a host that interrupts, costs a fast answer or two. */
	fast = fast_of(v, p);
	ASSERT(fast >= nr_fast() * ROUNDS / 2, "%llu fast, before", (unsigned long long)fast);
	ASSERT_EQ(helper_slow(), 0);

	protect(v, true);
	state = counted(STATE);
	ASSERT_EQ(fast_of(v, p), 0);
	slow = helper_slow();
	ASSERT_EQ(slow, NR_ACCESSES * ROUNDS);
	ASSERT(counted(STATE) - state >= nr_fast() * ROUNDS, "%llu slow by the state",
	       (unsigned long long)(counted(STATE) - state));
	protect(v, false);

	fast = fast_of(v, p);
	ASSERT(fast >= nr_fast() * ROUNDS / 2, "%llu fast, after", (unsigned long long)fast);
	ASSERT_EQ(helper_slow(), slow);
	vm_free(vm);
	helper_remove();
}

/* clang-format off */
asm(".pushsection .text\n"
	"at_rdmsr:	rdmsr\n"
	"		out %al, $0x80\n"
	"at_wrmsr:	wrmsr\n"
	"		out %al, $0x80\n"
	"at_vmcall:	vmcall\n"
	"		out %al, $0x80\n"
	"at_vmmcall:	vmmcall\n"
	"		out %al, $0x80\n"
	".popsection\n");
/* clang-format on */
extern u8 at_rdmsr[], at_wrmsr[], at_vmcall[], at_vmmcall[];

#define OUT_LENGTH 2
#define MARK	   0x4b48000000000000ULL
#define NR_GPRS	   16

/* KVM's own order. */
static void in_order(const struct kvm_regs *r, u64 gprs[NR_GPRS])
{
	const u64 all[NR_GPRS] = { r->rax, r->rcx, r->rdx, r->rbx, r->rsp, r->rbp, r->rsi, r->rdi,
				   r->r8,  r->r9,  r->r10, r->r11, r->r12, r->r13, r->r14, r->r15 };

	memcpy(gprs, all, sizeof(all));
}

/* From @r to the exit to user space behind one access. */
static void access_from(struct vcpu *v, struct kvm_regs *r)
{
	vcpu_ioctl(v, KVM_SET_REGS, r);
	vcpu_run_exit(v, KVM_EXIT_IO);
}

/*
 * One access, at @at, of @length bytes: KVM's handler must find every register as the guest left
 * it, and the guest as the answer, RAX or RDX:RAX if @answers, makes it.
 */
static void expect_untouched(struct vcpu *v, u8 *at, u32 length, u64 rcx, bool answers)
{
	u64 before[NR_GPRS], found[NR_GPRS], after[NR_GPRS], slow, rip, fast = counted(ANSWERED);
	struct kvm_regs r = {
		.rax = MARK | A_TPR,
		.rbx = MARK | 3,
		.rcx = rcx,
		.rdx = 0,
		.rsi = MARK | 6,
		.rdi = MARK | 7,
		.rsp = MARK | 4,
		.rbp = MARK | 5,
		.r8 = 0,
		.r9 = MARK | 9,
		.r10 = MARK | 10,
		.r11 = MARK | 11,
		.r12 = MARK | 12,
		.r13 = MARK | 13,
		.r14 = MARK | 14,
		.r15 = MARK | 15,
		.rip = gpa(at),
		.rflags = 2,
	};
	u32 i;

	/* Where its page is not at hand, the fast path does not get to the registers. */
	for (i = 0; i < TRIES && counted(ANSWERED) == fast; i++) {
		access_from(v, &r);
		protect(v, false);
	}
	ASSERT(counted(ANSWERED) > fast, "not fast where it may be");

	in_order(&r, before);
	slow = helper_slow();
	protect(v, true);
	access_from(v, &r);
	protect(v, false);

	ASSERT_EQ(helper_slow() - slow, 1);
	helper_read("registers", found, NR_GPRS);
	for (i = 0; i < NR_GPRS; i++)
		ASSERT(found[i] == before[i], "register %u: 0x%llx, was 0x%llx", i,
		       (unsigned long long)found[i], (unsigned long long)before[i]);
	helper_read("rip", &rip, 1);
	ASSERT(!rip || rip == gpa(at), "RIP: 0x%llx, was 0x%llx", (unsigned long long)rip,
	       (unsigned long long)gpa(at));

	vcpu_ioctl(v, KVM_GET_REGS, &r);
	ASSERT_EQ(r.rip, gpa(at) + length + OUT_LENGTH);
	in_order(&r, after);
	if (answers)
		before[0] = 0;
	for (i = 0; i < NR_GPRS; i++)
		ASSERT(after[i] == before[i], "register %u: 0x%llx, expected 0x%llx", i,
		       (unsigned long long)after[i], (unsigned long long)before[i]);
}

TEST(hidden_registers_are_not_touched)
{
	struct vcpu *v;
	struct vm *vm;

	helper_load(TYPE_DEFAULT);
	vm = vm_create(1, 0);
	v = vm->vcpus[0];
	vcpu_ops_init(v, 1);
	vcpu_set_msr(v, HV_X64_MSR_GUEST_OS_ID, OS_ID);
	expect_untouched(v, at_rdmsr, 2, HV_X64_MSR_VP_INDEX, true);
	expect_untouched(v, at_wrmsr, 2, HV_X64_MSR_TPR, false);
	expect_untouched(v, guest_use_vmmcall ? at_vmmcall : at_vmcall, 3, SPIN_FAST, true);
	vm_free(vm);
	helper_remove();
}

int main(int argc, char **argv)
{
	int r = ktap_main(argc, argv);

	__module_remove(HELPER); /* if the last case died */
	return r;
}
