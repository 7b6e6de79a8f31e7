// SPDX-License-Identifier: GPL-2.0-only
/*
 * HvCallGetVpRegisters and HvCallSetVpRegisters of the calling VP, which extra_calls= lists: each
 * name against its MSR, its CPUID leaf or what KVM_GET_SREGS says; lists, their output and where it
 * lies; who may call. Inserts and removes the module by itself. TLFS chapter "Virtual Processors".
 */
#include <string.h>

#include "extra.h"
#include "module.h"
#include "msr_filter.h"

#define CALLS "extra_calls=GET_VP_REGISTERS,SET_VP_REGISTERS"

#define MSR_EFER    0xc0000080u
#define MSR_PAT	    0x277u
#define MSR_TSC_AUX 0xc0000103u

#define NAME_RIP	   0x20010
#define NAME_RFLAGS	   0x20011
#define NAME_GUEST_IDLE	   0x250
#define NAME_PAT	   0x80004
#define NAME_TSC_AUX	   0x8007b
#define NAME_VP_RUNTIME	   0x90000
#define NAME_VP_INDEX	   0x90003
#define NAME_TIME_REF	   0x90004
#define NAME_SINT0	   0xa0000
#define NAME_SCONTROL	   0xa0010
#define NAME_UNKNOWN	   0xb0008
#define NAME_VSM_VP_STATUS 0xd0003

struct value {
	u64 low, high;
};

struct header {
	u64 partition;
	u32 vp;
	u8 vtl;
	u8 rsvdz[3];
};

struct get_input {
	struct header h;
	u32 names[1000];
};

struct set_input {
	struct header h;
	struct {
		u32 name, rsvdz;
		u64 rsvdz2;
		struct value value;
	} regs[100];
};

static const struct header self = { PARTITION_SELF, VP_SELF, 0, { 0 } };

static struct get_input *get_input(struct extra_world *w)
{
	struct get_input *in = (void *)w->in;

	memset(in, 0, PAGE_SIZE);
	in->h = self;
	return in;
}

static struct set_input *set_input(struct extra_world *w)
{
	struct set_input *in = (void *)w->in;

	memset(in, 0, PAGE_SIZE);
	in->h = self;
	return in;
}

#define GET(n)	     (HVCALL_GET_VP_REGISTERS | HV_CTL_REP(n))
#define SET(n)	     (HVCALL_SET_VP_REGISTERS | HV_CTL_REP(n))
#define GET_BYTES(n) (16 + 4 * (n))

static struct value get_one(struct extra_world *w, u32 name)
{
	u64 result;

	get_input(w)->names[0] = name;
	result = extra_slow(w, GET(1));
	ASSERT(result == RESULT(0, 1), "name 0x%x: 0x%llx", name, (unsigned long long)result);
	return *(struct value *)w->out;
}

static u64 set_one(struct extra_world *w, u32 name, u64 low)
{
	struct set_input *in = set_input(w);

	in->regs[0].name = name;
	in->regs[0].value.low = low;
	return extra_slow(w, SET(1));
}

static u64 guest_rdmsr(struct extra_world *w, u32 msr)
{
	struct guest_op op = extra_op(w, OP_RD(msr));

	ASSERT(!op.vector, "RDMSR 0x%x", msr);
	return op.result;
}

/* --- each name ------------------------------------------------------------ */

static const struct {
	u32 name, msr;
	u64 value; /* written by the guest first, if not 0 */
} msrs[] = {
	{ 0x210, HV_X64_MSR_CRASH_P0, 0x1111 },
	{ 0x211, HV_X64_MSR_CRASH_P0 + 1, 0x2222 },
	{ 0x214, HV_X64_MSR_CRASH_P0 + 4, 0x5555555555555555 },
	{ 0x215, HV_X64_MSR_CRASH_CTL, 0 },
	{ 0x240, HV_X64_MSR_TSC_FREQUENCY, 0 },
	{ 0x241, HV_X64_MSR_APIC_FREQUENCY, 0 },
	{ 0x80001, MSR_EFER, 0 },
	{ NAME_PAT, MSR_PAT, 0x0007040600070401 },
	{ NAME_TSC_AUX, MSR_TSC_AUX, 0x12345678 },
	{ 0x90001, HV_X64_MSR_HYPERCALL, 0 },
	{ 0x90002, HV_X64_MSR_GUEST_OS_ID, 0 },
	{ NAME_VP_INDEX, HV_X64_MSR_VP_INDEX, 0 },
	{ 0x90011, HV_X64_MSR_ICR, 0 },
	{ 0x90012, HV_X64_MSR_TPR, 0x20 },
	{ 0x90013, HV_X64_MSR_VP_ASSIST_PAGE, 0 },
	{ 0x90017, HV_X64_MSR_REFERENCE_TSC, 0 },
	{ NAME_SINT0, HV_X64_MSR_SINT0, 0x10041 },
	{ NAME_SINT0 + 15, HV_X64_MSR_SINT0 + 15, 0x10042 },
	{ NAME_SCONTROL, HV_X64_MSR_SCONTROL, 0 },
	{ 0xa0011, HV_X64_MSR_SVERSION, 0 },
	{ 0xa0012, HV_X64_MSR_SIEFP, 0 },
	{ 0xa0013, HV_X64_MSR_SIMP, 0 },
	{ 0xa0014, HV_X64_MSR_EOM, 0 },
	{ 0xb0000, HV_X64_MSR_STIMER0_CONFIG, 0x10000 },
	{ 0xb0001, HV_X64_MSR_STIMER0_COUNT, 0x7777 },
	{ 0xb0006, HV_X64_MSR_STIMER0_CONFIG + 6, 0x20000 },
	{ 0xb0007, HV_X64_MSR_STIMER0_CONFIG + 7, 0x8888 },
};

static struct extra_world synic_world(u32 flags)
{
	struct extra_world w = extra_world(2, flags);

	ASSERT_EQ(__vcpu_enable_cap(w.v, KVM_CAP_HYPERV_SYNIC2, 0), 0);
	return w;
}

TEST(names_are_their_msrs)
{
	struct extra_world w;
	struct value is;
	u32 i;

	extra_load(CALLS);
	w = synic_world(0);
	for (i = 0; i < ARRAY_SIZE(msrs); i++)
		if (msrs[i].value)
			ASSERT(!extra_op(&w, OP_WR(msrs[i].msr, msrs[i].value)).vector,
			       "WRMSR 0x%x", msrs[i].msr);
	for (i = 0; i < ARRAY_SIZE(msrs); i++) {
		is = get_one(&w, msrs[i].name);
		ASSERT(is.low == guest_rdmsr(&w, msrs[i].msr), "name 0x%x: 0x%llx", msrs[i].name,
		       (unsigned long long)is.low);
		ASSERT(!msrs[i].value || is.low == msrs[i].value, "name 0x%x: 0x%llx", msrs[i].name,
		       (unsigned long long)is.low);
		ASSERT_EQ(is.high, 0);
	}
	extra_end(&w);
}

TEST(names_of_times)
{
	static const struct {
		u32 name, msr;
	} times[] = { { NAME_VP_RUNTIME, HV_X64_MSR_VP_RUNTIME },
		      { NAME_TIME_REF, HV_X64_MSR_TIME_REF_COUNT } };
	struct extra_world w;
	u64 before, is;
	u32 i;

	extra_load(CALLS);
	w = extra_world(1, 0);
	for (i = 0; i < ARRAY_SIZE(times); i++) {
		before = guest_rdmsr(&w, times[i].msr);
		is = get_one(&w, times[i].name).low;
		ASSERT(before <= is && is <= guest_rdmsr(&w, times[i].msr), "name 0x%x",
		       times[i].name);
	}
	extra_end(&w);
}

TEST(names_are_their_leaves)
{
	static const struct {
		u32 name, leaf;
	} leaves[] = { { 0x100, HV_LEAF_VERSION },    { 0x200, HV_LEAF_FEATURES },
		       { 0x201, HV_LEAF_HINTS },      { 0x202, HV_LEAF_LIMITS },
		       { 0x203, HV_LEAF_LIMITS + 1 }, { 0x207, HV_LEAF_NESTED },
		       { 0x208, HV_LEAF_NESTED + 1 } };
	struct extra_world w;
	struct guest_op op;
	struct value is;
	u32 i;

	/* A parameter adds to what the leaf shows. */
	extra_load(CALLS " features_eax=0x400");
	w = extra_world(1, 0);
	cpuid_get(&w.v->cpuid, HV_LEAF_FEATURES)->eax &= ~0x400u;
	vcpu_set_cpuid(w.v);
	for (i = 0; i < ARRAY_SIZE(leaves); i++) {
		op = (struct guest_op){ .op = OP_CPUID, .arg0 = leaves[i].leaf };
		op = extra_op(&w, op);
		is = get_one(&w, leaves[i].name);
		ASSERT(is.low == op.result && is.high == op.result2, "name 0x%x", leaves[i].name);
	}
	ASSERT(get_one(&w, 0x200).low & 0x400, "the parameter's bit is not there");
	extra_end(&w);
}

TEST(there_is_no_vtl_but_0)
{
	struct extra_world w;

	extra_load(CALLS);
	w = extra_world(1, 0);
	ASSERT_EQ(get_one(&w, NAME_VSM_VP_STATUS).low, 0x10000);
	ASSERT_EQ(get_one(&w, 0xd0004).low, 1);
	ASSERT_EQ(get_one(&w, 0xd0007).low, 0);
	extra_end(&w);
}

static void check_segment(struct extra_world *w, u32 name, const struct kvm_segment *s)
{
	struct value is = get_one(w, name);
	u64 attributes = s->type | s->s << 4 | s->dpl << 5 | s->present << 7 | s->avl << 12 |
			 s->l << 13 | s->db << 14 | s->g << 15;

	ASSERT(is.low == s->base &&
		       is.high == (s->limit | (u64)s->selector << 32 | attributes << 48),
	       "segment 0x%x: 0x%llx, 0x%llx", name, (unsigned long long)is.low,
	       (unsigned long long)is.high);
}

static void check_table(struct extra_world *w, u32 name, const struct kvm_dtable *t)
{
	struct value is = get_one(w, name);

	ASSERT(is.low == (u64)t->limit << 48 && is.high == t->base, "table 0x%x", name);
}

/* Guest. */
static u64 read_cr2(u64 arg)
{
	u64 value;

	(void)arg;
	asm volatile("mov %%cr2, %0" : "=r"(value));
	return value;
}

TEST(registers_of_the_processor)
{
	struct guest_op own_cr2 = { .op = OP_CALL, .arg0 = (u64)(uintptr_t)read_cr2 };
	struct extra_world w;
	struct kvm_sregs s;
	u64 rip;

	extra_load(CALLS);
	w = extra_world(1, 0);
	vcpu_ioctl(w.v, KVM_GET_SREGS, &s);
	s.cr2 = 0x123456789000;
	s.cr8 = 5;
	vcpu_ioctl(w.v, KVM_SET_SREGS, &s);
	ASSERT_EQ(get_one(&w, 0x40000).low, s.cr0);
	/* Bochs's SVM loses it: the guest itself reads another one, at the latest after an exit. */
	extra_op(&w, own_cr2);
	if (extra_op(&w, own_cr2).result == s.cr2)
		ASSERT_EQ(get_one(&w, 0x40001).low, s.cr2);
	else
		ktap_log("the guest has not the CR2 that it was given");
	ASSERT_EQ(get_one(&w, 0x40002).low, s.cr3);
	ASSERT_EQ(get_one(&w, 0x40003).low, s.cr4);
	ASSERT_EQ(get_one(&w, 0x40004).low, s.cr8);
	check_segment(&w, 0x60000, &s.es);
	check_segment(&w, 0x60001, &s.cs);
	check_segment(&w, 0x60002, &s.ss);
	check_segment(&w, 0x60003, &s.ds);
	check_segment(&w, 0x60004, &s.fs);
	check_segment(&w, 0x60005, &s.gs);
	check_segment(&w, 0x60006, &s.ldt);
	check_segment(&w, 0x60007, &s.tr);
	check_table(&w, 0x70000, &s.idt);
	check_table(&w, 0x70001, &s.gdt);
	ASSERT_EQ(get_one(&w, NAME_RFLAGS).low & ~0x8d5ULL, 2);
	/* The instruction that calls, and its parameters. */
	rip = get_one(&w, NAME_RIP).low;
	ASSERT(!memcmp((void *)(uintptr_t)rip, host_is_amd() ? "\x0f\x01\xd9" : "\x0f\x01\xc1", 3),
	       "RIP 0x%llx", (unsigned long long)rip);
	ASSERT_EQ(get_one(&w, 0x20001).low, GET(1));
	ASSERT_EQ(get_one(&w, 0x20002).low, gpa(w.in));
	ASSERT_EQ(get_one(&w, 0x20003).low, gpa(&w.call->xmm));
	ASSERT_EQ(get_one(&w, 0x20008).low, gpa(w.out));
	/* Its stack is in the VM's memory. */
	ASSERT(get_one(&w, 0x20004).low - gpa(w.vm->ram) < w.vm->ram_size, "RSP");
	extra_end(&w);
}

/* --- lists ---------------------------------------------------------------- */

#define LIST 6

/* A list of names, of which the one at @k is unknown: those before it are read, and no other. */
static void check_failed(struct extra_world *w, u32 n, u32 start, u32 k, u32 name, u32 status)
{
	struct value *out = (void *)w->out;
	struct get_input *in = get_input(w);
	u64 result;
	u32 i, done;

	for (i = 0; i < n; i++)
		in->names[i] = i == k ? name : NAME_VSM_VP_STATUS;
	result = extra_slow(w, GET(n) | HV_CTL_START(start));
	done = k < n ? k : n;
	ASSERT(result == RESULT(k < n ? status : 0, done), "%u of %u from %u: 0x%llx", k, n, start,
	       (unsigned long long)result);
	for (i = 0; i < n + 1; i++) {
		bool written = i >= start && i < done;

		ASSERT(out[i].low == (written ? 0x10000 : UNTOUCHED) &&
			       out[i].high == (written ? 0 : UNTOUCHED),
		       "output %u, of %u from %u", i, n, start);
	}
}

TEST(reps_until_the_first_that_fails)
{
	struct extra_world w;
	u32 k, start;

	extra_load(CALLS);
	w = extra_world(1, 0);
	for (start = 0; start < LIST; start++)
		for (k = start; k <= LIST; k++)
			check_failed(&w, LIST, start, k, NAME_UNKNOWN, HV_STATUS_INVALID_PARAMETER);
	/* 0 does not read it, and does not idle. */
	check_failed(&w, LIST, 0, 2, NAME_GUEST_IDLE, HV_STATUS_INVALID_PARAMETER);
	check_failed(&w, 255, 0, 254, 0, HV_STATUS_INVALID_PARAMETER);
	check_failed(&w, 255, 250, 255, 0, 0);
	check_failed(&w, LIST, 0, 1, ~0u, HV_STATUS_INVALID_PARAMETER);
	extra_end(&w);
}

static void check_fast(struct extra_world *w, u32 n, u32 start, u32 k)
{
	struct get_input *in = get_input(w);
	struct xmm_block before;
	const struct value *out;
	u64 result;
	u32 i, done = k < n ? k : n, first = (GET_BYTES(n) + 15) / 16 - 1;

	for (i = 0; i < n; i++)
		in->names[i] = i == k ? NAME_UNKNOWN : NAME_VSM_VP_STATUS;
	memset(&before, 0xa5, sizeof(before));
	memcpy(&before, in->names, 4 * n);
	result = extra_fast(w, GET(n) | HV_CTL_START(start), GET_BYTES(n));
	ASSERT_EQ(w->call->vector, 0);
	ASSERT(result == RESULT(k < n ? HV_STATUS_INVALID_PARAMETER : 0, done),
	       "%u of %u from %u: 0x%llx", k, n, start, (unsigned long long)result);
	out = extra_output(w, GET_BYTES(n));
	for (i = start; i < done; i++)
		ASSERT(out[i].low == 0x10000 && !out[i].high, "output %u of %u", i, n);
	/* All others as they were. */
	for (i = 0; i < 6; i++) {
		if (i >= first + start && i < first + done)
			continue;
		ASSERT(w->call->xmm.q[2 * i] == before.q[2 * i] &&
			       w->call->xmm.q[2 * i + 1] == before.q[2 * i + 1],
		       "XMM%u, %u reps from %u", i, n, start);
	}
}

TEST(fast_output)
{
	struct extra_world w;
	u32 n, start, k;
	u64 result;

	extra_load(CALLS);
	w = extra_world(1, 0);
	for (n = 1; n <= 4; n++)
		for (start = 0; start < n; start++)
			for (k = start; k <= n; k++)
				check_fast(&w, n, start, k);
	/* Behind that of five reps is no room for their output. */
	result = extra_fast(&w, GET(5), GET_BYTES(5));
	ASSERT_EQ(result, HV_STATUS_INVALID_HYPERCALL_INPUT);
	ASSERT_EQ(w.call->xmm.q[11], UNTOUCHED);
	extra_end(&w);
}

static struct regs32 block32;
static struct xmm_block xmm32;

static u64 call_from_32_bit_code(u64 arg)
{
	(void)arg;
	return __hypercall_32(&block32, &xmm32);
}

static u64 call32(struct extra_world *w, u64 control, u64 in, u64 out)
{
	struct guest_op op = { .op = OP_CALL, .arg0 = (u64)(uintptr_t)call_from_32_bit_code };

	block32 = (struct regs32){ .eax = (u32)control,
				   .edx = (u32)(control >> 32),
				   .ebx = (u32)(in >> 32),
				   .ecx = (u32)in,
				   .edi = (u32)(out >> 32),
				   .esi = (u32)out };
	op = extra_op(w, op);
	ASSERT_EQ(op.result, 0);
	return (u64)block32.edx << 32 | block32.eax;
}

TEST(callers_of_32_bits)
{
	struct extra_world w;

	extra_load(CALLS);
	w = extra_world(1, 0);
	get_input(&w)->names[0] = NAME_VSM_VP_STATUS;
	extra_fill_output(&w);
	ASSERT_EQ(call32(&w, GET(1), gpa(w.in), gpa(w.out)), RESULT(0, 1));
	ASSERT_EQ(*(u64 *)w.out, 0x10000);
	/* They get no output in registers. */
	xmm32 = (struct xmm_block){ .q[0] = NAME_VSM_VP_STATUS };
	ASSERT_EQ(call32(&w, GET(1) | HV_CTL_FAST, PARTITION_SELF, VP_SELF),
		  HV_STATUS_INVALID_HYPERCALL_INPUT);
	extra_end(&w);
}

/* --- where the output lies ------------------------------------------------ */

static u64 get_at(struct extra_world *w, u32 n, u64 in, u64 out)
{
	struct get_input *input = get_input(w);
	struct guest_op op;
	u32 i;

	for (i = 0; i < n; i++)
		input->names[i] = NAME_VSM_VP_STATUS;
	op = extra_op(w, OP_HC(GET(n), in, out));
	ASSERT_EQ(op.vector, 0);
	return op.result;
}

TEST(place_of_the_output)
{
	struct extra_world w;
	u64 in, out, page;
	void *read_only;

	extra_load(CALLS);
	w = extra_world(1, 0);
	in = gpa(w.in);
	out = gpa(w.out);
	ASSERT_EQ(get_at(&w, 2, in, out + PAGE_SIZE - 32), RESULT(0, 2));
	ASSERT_EQ(get_at(&w, 2, in, out + PAGE_SIZE - 24), HV_STATUS_INVALID_ALIGNMENT);
	ASSERT_EQ(get_at(&w, 1, in, out + 4), HV_STATUS_INVALID_ALIGNMENT);
	/* The input of two is 24 bytes, that of three 28. */
	ASSERT_EQ(get_at(&w, 2, in, in + 24), RESULT(0, 2));
	ASSERT_EQ(get_at(&w, 3, in, in + 24), HV_STATUS_INVALID_HYPERCALL_INPUT);
	ASSERT_EQ(get_at(&w, 1, in, in), HV_STATUS_INVALID_HYPERCALL_INPUT);
	ASSERT_EQ(get_at(&w, 2, in, GPA_NOWHERE), HV_STATUS_INVALID_HYPERCALL_INPUT);
	ASSERT_EQ(get_at(&w, 2, GPA_NOWHERE, out), HV_STATUS_INVALID_HYPERCALL_INPUT);
	page = GPA_NOWHERE + 16 * PAGE_SIZE;
	read_only = vm_alloc(w.vm, PAGE_SIZE);
	memset(read_only, 0xa5, PAGE_SIZE);
	vm_add_memslot(w.vm, page, read_only, PAGE_SIZE, KVM_MEM_READONLY);
	ASSERT_EQ(get_at(&w, 2, in, page), HV_STATUS_INVALID_HYPERCALL_INPUT);
	ASSERT_EQ(*(u64 *)read_only, UNTOUCHED);
	extra_end(&w);
}

/* --- who calls, and whom -------------------------------------------------- */

TEST(only_the_caller_itself)
{
	static const struct {
		struct header h;
		u32 get, set;
	} headers[] = {
		{ { PARTITION_SELF, 5, 0, { 0 } }, 0, 0 }, /* its own index */
		{ { PARTITION_SELF, VP_SELF, 0x10, { 0 } }, 0, 0 },
		{ { PARTITION_SELF, 1, 0, { 0 } },
		  HV_STATUS_ACCESS_DENIED,
		  HV_STATUS_INVALID_VP_INDEX },
		{ { PARTITION_SELF, 0xffffffff, 0, { 0 } },
		  HV_STATUS_ACCESS_DENIED,
		  HV_STATUS_INVALID_VP_INDEX },
		{ { 0, VP_SELF, 0, { 0 } }, HV_STATUS_ACCESS_DENIED, HV_STATUS_ACCESS_DENIED },
		{ { 7, VP_SELF, 0, { 0 } }, HV_STATUS_ACCESS_DENIED, HV_STATUS_ACCESS_DENIED },
		{ { PARTITION_SELF, VP_SELF, 0x11, { 0 } },
		  HV_STATUS_INVALID_PARAMETER,
		  HV_STATUS_INVALID_PARAMETER },
		/* Without UseTargetVtl it is the caller's, whatever stands there. */
		{ { PARTITION_SELF, VP_SELF, 1, { 0 } }, 0, 0 },
		{ { PARTITION_SELF, VP_SELF, 0x20, { 0 } },
		  HV_STATUS_INVALID_PARAMETER,
		  HV_STATUS_INVALID_PARAMETER },
		{ { PARTITION_SELF, VP_SELF, 0, { 0, 1, 0 } },
		  HV_STATUS_INVALID_PARAMETER,
		  HV_STATUS_INVALID_PARAMETER },
	};
	struct extra_world w;
	struct get_input *get;
	struct set_input *set;
	u32 i;

	extra_load(CALLS);
	w = synic_world(0);
	vcpu_set_msr(w.v, HV_X64_MSR_VP_INDEX, 5);
	for (i = 0; i < ARRAY_SIZE(headers); i++) {
		get = get_input(&w);
		get->h = headers[i].h;
		get->names[0] = NAME_VP_INDEX;
		ASSERT_EQ(extra_slow(&w, GET(1)), RESULT(headers[i].get, !headers[i].get));
		ASSERT_EQ(*(u64 *)w.out, headers[i].get ? UNTOUCHED : 5);
		set = set_input(&w);
		set->h = headers[i].h;
		set->regs[0].name = NAME_SINT0;
		set->regs[0].value.low = 0x10050 + i;
		ASSERT_EQ(extra_slow(&w, SET(1)), RESULT(headers[i].set, !headers[i].set));
		ASSERT_EQ(guest_rdmsr(&w, HV_X64_MSR_SINT0) == 0x10050 + i, !headers[i].set);
	}
	extra_end(&w);
}

/* A guest under enforcement that is shown everything but one bit. */
static struct extra_world without(u64 bit)
{
	struct extra_world w = synic_world(VM_ENFORCE);

	if (bit)
		vcpu_set_bit(w.v, bit, false);
	get_input(&w)->names[0] = NAME_SCONTROL;
	return w;
}

TEST(privileges)
{
	static const u64 output[] = { HV_F_XMM_OUTPUT, HV_F_FAST_OUTPUT, HV_F_XMM_INPUT };
	struct extra_world w;
	u32 i;

	extra_load(CALLS);
	w = without(0);
	ASSERT_EQ(extra_slow(&w, GET(1)), RESULT(0, 1));
	ASSERT_EQ(extra_fast(&w, GET(1), GET_BYTES(1)), RESULT(0, 1));
	ASSERT_EQ(w.call->vector, 0);
	vm_free(w.vm);
	for (i = 0; i < ARRAY_SIZE(output); i++) {
		w = without(output[i]);
		extra_fast(&w, GET(1), GET_BYTES(1));
		ASSERT_EQ(w.call->vector, UD_VECTOR);
		ASSERT_EQ(extra_slow(&w, GET(1)), RESULT(0, 1));
		vm_free(w.vm);
	}
	/* The register's own. */
	w = without(HV_F_SYNIC);
	ASSERT_EQ(extra_slow(&w, GET(1)), HV_STATUS_ACCESS_DENIED);
	ASSERT_EQ(set_one(&w, NAME_SINT0, 0x10050), HV_STATUS_ACCESS_DENIED);
	ASSERT_EQ(set_one(&w, NAME_TSC_AUX, 1), RESULT(0, 1));
	vm_free(w.vm);
	/* The call's. */
	w = without(HV_F_VP_REGISTERS);
	ASSERT_EQ(extra_slow(&w, GET(1)), HV_STATUS_ACCESS_DENIED);
	ASSERT_EQ(set_one(&w, NAME_TSC_AUX, 1), HV_STATUS_ACCESS_DENIED);
	extra_end(&w);
}

/* User space keeps a register from the guest: no other way leads to it. */
TEST(msr_filter)
{
	struct extra_world w;
	struct filter *f;

	extra_load(CALLS);
	w = synic_world(0);
	f = new_filter(ALLOW);
	add_range(f, RDWR, HV_X64_MSR_SINT0, 1, false);
	add_range(f, RDWR, MSR_TSC_AUX, 1, false);
	set_filter(w.vm, f);
	check_failed(&w, LIST, 0, 3, NAME_SINT0, HV_STATUS_ACCESS_DENIED);
	check_failed(&w, LIST, 0, 3, NAME_TSC_AUX, HV_STATUS_ACCESS_DENIED);
	check_failed(&w, LIST, 0, LIST, 0, 0);
	ASSERT_EQ(set_one(&w, NAME_SINT0, 0x10050), HV_STATUS_ACCESS_DENIED);
	ASSERT_EQ(set_one(&w, NAME_TSC_AUX, 1), HV_STATUS_ACCESS_DENIED);
	ASSERT_EQ(set_one(&w, NAME_SINT0 + 1, 0x10050), RESULT(0, 1));
	extra_end(&w);
}

/* --- writes --------------------------------------------------------------- */

TEST(writes_are_those_of_the_msrs)
{
	static const struct {
		u32 name, msr;
		u64 value;
	} writes[] = {
		{ 0x210, HV_X64_MSR_CRASH_P0, 0x1234 },
		{ NAME_PAT, MSR_PAT, 0x0007040600070401 },
		{ NAME_TSC_AUX, MSR_TSC_AUX, 0x9abc },
		{ 0x90012, HV_X64_MSR_TPR, 0x30 },
		{ NAME_SINT0 + 3, HV_X64_MSR_SINT0 + 3, 0x20051 },
		{ 0xb0001, HV_X64_MSR_STIMER0_COUNT, 0x5678 },
		{ 0xb0006, HV_X64_MSR_STIMER0_CONFIG + 6, 0x30000 },
	};
	struct set_input *in;
	struct extra_world w;
	u32 i, fast;

	extra_load(CALLS);
	for (fast = 0; fast <= 1; fast++) {
		w = synic_world(0);
		in = set_input(&w);
		for (i = 0; i < ARRAY_SIZE(writes); i++) {
			u32 at = fast ? 0 : i;

			in->regs[at].name = writes[i].name;
			in->regs[at].value.low = writes[i].value;
			if (fast)
				ASSERT_EQ(extra_fast(&w, SET(1), 48), RESULT(0, 1));
		}
		if (!fast)
			ASSERT_EQ(extra_slow(&w, SET(ARRAY_SIZE(writes))),
				  RESULT(0, ARRAY_SIZE(writes)));
		for (i = 0; i < ARRAY_SIZE(writes); i++)
			ASSERT(guest_rdmsr(&w, writes[i].msr) == writes[i].value, "name 0x%x",
			       writes[i].name);
		vm_free(w.vm);
	}
	module_unload();
}

TEST(writes_that_are_refused)
{
	static const struct {
		u32 name, status;
		u64 low;
	} refused[] = {
		{ NAME_UNKNOWN, HV_STATUS_INVALID_PARAMETER, 0 },
		{ NAME_GUEST_IDLE, HV_STATUS_INVALID_PARAMETER, 0 },
		/* Read-only, and what no MSR of the guest's is. */
		{ NAME_VP_INDEX, HV_STATUS_INVALID_PARAMETER, 0 },
		{ NAME_TIME_REF, HV_STATUS_INVALID_PARAMETER, 0 },
		{ 0x200, HV_STATUS_INVALID_PARAMETER, 0 },
		{ 0x40003, HV_STATUS_INVALID_PARAMETER, 0 },
		{ 0x20000, HV_STATUS_INVALID_PARAMETER, 0 },
		{ NAME_RIP, HV_STATUS_INVALID_PARAMETER, 0 },
		{ 0x80001, HV_STATUS_INVALID_PARAMETER, 0x500 },
		{ NAME_VSM_VP_STATUS, HV_STATUS_INVALID_PARAMETER, 0 },
		/* A write would exit to user space. */
		{ 0x215, HV_STATUS_INVALID_PARAMETER, 1ULL << 63 },
		{ NAME_SCONTROL, HV_STATUS_INVALID_PARAMETER, 1 },
		{ 0xa0012, HV_STATUS_INVALID_PARAMETER, 0 },
		{ 0xa0013, HV_STATUS_INVALID_PARAMETER, 0 },
		/* WRMSR is #GP. */
		{ NAME_SINT0, HV_STATUS_INVALID_REGISTER_VALUE, 5 },
		{ NAME_PAT, HV_STATUS_INVALID_REGISTER_VALUE, 2 },
		{ 0xb0000, HV_STATUS_INVALID_REGISTER_VALUE, 1ULL << 63 },
	};
	struct extra_world w;
	struct set_input *in;
	u32 i;

	extra_load(CALLS);
	w = synic_world(0);
	for (i = 0; i < ARRAY_SIZE(refused); i++) {
		u64 result;

		in = set_input(&w);
		in->regs[0].name = NAME_TSC_AUX;
		in->regs[2].name = NAME_TSC_AUX;
		in->regs[0].value.low = 100 + i;
		in->regs[1].name = refused[i].name;
		in->regs[1].value.low = refused[i].low;
		in->regs[2].value.low = 1;
		result = extra_slow(&w, SET(3));
		ASSERT(result == RESULT(refused[i].status, 1), "name 0x%x: 0x%llx", refused[i].name,
		       (unsigned long long)result);
		/* The one before it is done, that behind it is not. */
		ASSERT_EQ(guest_rdmsr(&w, MSR_TSC_AUX), 100 + i);
	}
	for (i = 0; i < 3; i++) {
		in = set_input(&w);
		in->regs[0].name = NAME_TSC_AUX;
		in->regs[0].rsvdz = i == 0;
		in->regs[0].rsvdz2 = i == 1;
		in->regs[0].value.high = i == 2;
		ASSERT_EQ(extra_slow(&w, SET(1)),
			  i == 2 ? HV_STATUS_INVALID_REGISTER_VALUE : HV_STATUS_INVALID_PARAMETER);
	}
	extra_end(&w);
}

int main(int argc, char **argv)
{
	if (argc == 3 && !strcmp(argv[1], "--module"))
		module_option = argv[2];
	return module_ktap_main(argc, argv);
}
