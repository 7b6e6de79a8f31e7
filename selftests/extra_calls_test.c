// SPDX-License-Identifier: GPL-2.0-only
/*
 * The module parameters extra_calls= and ext_capabilities=: which calls there are, what CPUID
 * offers with them, what refuses the load; and the calls themselves that are not about registers:
 * HvCallGetVpIndexFromApicId, HvCallGetVpCpuidValues, HvCallRetargetDeviceInterrupt and the
 * extended ones. Inserts and removes the module by itself.
 */
#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "extra.h"
#include "klog.h"
#include "module.h"

#define NAMES                                                                                      \
	"GET_VP_REGISTERS, SET_VP_REGISTERS, RETARGET_DEVICE_INTERRUPT, GET_VP_INDEX_FROM_APIC_ID" \
	", GET_VP_CPUID_VALUES, RESTORE_PARTITION_TIME, or all"

#define APIC_BASE_MSR 0x1bu
#define X2APIC_ON     0xc00
#define QUERY	      HVCALL_EXT_QUERY_CAPABILITIES

static const u64 calls[] = {
	HVCALL_GET_VP_REGISTERS | HV_CTL_REP(1),
	HVCALL_SET_VP_REGISTERS | HV_CTL_REP(1),
	HVCALL_RETARGET_DEVICE_INTERRUPT,
	HVCALL_GET_VP_INDEX_FROM_APIC_ID | HV_CTL_REP(1),
	HVCALL_GET_VP_CPUID_VALUES | HV_CTL_REP(1),
	HVCALL_RESTORE_PARTITION_TIME,
};

/* --- the parameter -------------------------------------------------------- */

/* As an unknown code: neither form, place nor privilege is looked at, and nothing is written. */
static void expect_unknown(struct extra_world *w, u64 control)
{
	static const u64 forms[] = { 0, HV_CTL_REP(2), HV_CTL_START(3), HV_CTL_VARHDR(7) };
	struct guest_op op;
	u32 i;

	for (i = 0; i < ARRAY_SIZE(forms); i++) {
		ASSERT_EQ(extra_slow(w, control | forms[i]), HV_STATUS_INVALID_HYPERCALL_CODE);
		ASSERT_EQ(w->call->vector, 0);
		ASSERT_EQ(*(u64 *)w->out, UNTOUCHED);
		ASSERT_EQ(extra_fast(w, control | forms[i], 64), HV_STATUS_INVALID_HYPERCALL_CODE);
		ASSERT_EQ(w->call->vector, 0);
	}
	op = extra_op(w, OP_HC(control, GPA_NOWHERE + 1, 3));
	ASSERT_EQ(op.result, HV_STATUS_INVALID_HYPERCALL_CODE);
	ASSERT_EQ(op.exits, 0);
	ASSERT_EQ(extra_slow(w, control | BIT64(60)), HV_STATUS_INVALID_HYPERCALL_INPUT);
}

/* Now: hv_supported() remembers what it was told first. */
static bool is_offered(struct extra_world *w, u64 bit)
{
	struct cpuid_table t;

	cpuid_hv(w->v, &t);
	return cpuid_test(&t, bit);
}

static void expect_all_unknown(void)
{
	static const u32 flags[] = { 0, VM_ENFORCE };
	struct extra_world w;
	u32 i, j;

	for (i = 0; i < ARRAY_SIZE(flags); i++) {
		w = extra_world(1, flags[i]);
		/* No privilege of XMM registers either, that a known call would ask for. */
		vcpu_set_bit(w.v, HV_F_XMM_INPUT, false);
		memset(w.in, 0xff, 16);
		for (j = 0; j < ARRAY_SIZE(calls); j++)
			expect_unknown(&w, calls[j]);
		ASSERT(!is_offered(&w, HV_F_VP_REGISTERS) && !is_offered(&w, HV_F_FAST_OUTPUT) &&
			       !is_offered(&w, HV_F_XMM_OUTPUT),
		       "offered");
		vm_free(w.vm);
	}
}

TEST(stock_knows_none)
{
	if (module_loaded())
		ktap_skip("the module is loaded");
	expect_all_unknown();
}

TEST(none_without_the_parameter)
{
	extra_load("");
	expect_all_unknown();
	module_unload();
}

static void check_listed(const char *params, u32 listed, bool registers, bool output)
{
	struct extra_world w;
	u32 i;

	extra_load(params);
	w = extra_world(1, 0);
	for (i = 0; i < ARRAY_SIZE(calls); i++) {
		if (!(listed & 1u << i)) {
			expect_unknown(&w, calls[i]);
			continue;
		}
		/* Whatever comes of an input of zeros. */
		memset(w.in, 0, PAGE_SIZE);
		ASSERT(extra_slow(&w, calls[i]) != HV_STATUS_INVALID_HYPERCALL_CODE, "call %u", i);
		ASSERT_EQ(extra_slow(&w, calls[i] ^ HV_CTL_REP(1)),
			  HV_STATUS_INVALID_HYPERCALL_INPUT);
	}
	ASSERT_EQ(is_offered(&w, HV_F_VP_REGISTERS), registers);
	ASSERT_EQ(is_offered(&w, HV_F_FAST_OUTPUT), output);
	ASSERT_EQ(is_offered(&w, HV_F_XMM_OUTPUT), output);
	extra_end(&w);
}

TEST(those_that_are_listed)
{
	check_listed("extra_calls=GET_VP_REGISTERS", 1, true, true);
	check_listed("extra_calls=SET_VP_REGISTERS", 2, true, false);
	check_listed("extra_calls=RETARGET_DEVICE_INTERRUPT", 4, false, false);
	check_listed("extra_calls=GET_VP_CPUID_VALUES,GET_VP_INDEX_FROM_APIC_ID", 8 | 16, false,
		     true);
	check_listed("extra_calls=RESTORE_PARTITION_TIME", 32, false, false);
	check_listed("extra_calls=all", 63, true, true);
}

/* The bits are addable only beside a call that they stand for. */
TEST(bits_for_guests)
{
	struct extra_world w;
	struct guest_op op;

	extra_load("extra_calls=all features_ebx=0xa0000 features_edx=0x8000");
	w = extra_world(1, 0);
	cpuid_assign(&w.v->cpuid, HV_F_VP_REGISTERS, false);
	cpuid_assign(&w.v->cpuid, HV_F_FAST_OUTPUT, false);
	cpuid_assign(&w.v->cpuid, HV_F_XMM_OUTPUT, false);
	vcpu_set_cpuid(w.v);
	op = (struct guest_op){ .op = OP_CPUID, .arg0 = HV_LEAF_FEATURES };
	op = extra_op(&w, op);
	ASSERT_EQ(op.result >> 32 & 0xa0000, 0xa0000);
	ASSERT_EQ(op.result2 >> 32 & 0x8000, 0x8000);
	extra_end(&w);
}

TEST(parameters_that_are_refused)
{
	static const struct {
		const char *params, *text;
	} refused[] = {
		{ "extra_calls=GET_VP",
		  "extra_calls=GET_VP: there is no such call as 'GET_VP'; use " NAMES },
		{ "extra_calls=SEND_IPI",
		  "extra_calls=SEND_IPI: there is no such call as 'SEND_IPI'; use " NAMES },
		{ "extra_calls=GET_VP_REGISTERS,,all",
		  "extra_calls=GET_VP_REGISTERS,,all: there is no such call as ''; use " NAMES },
		{ "extra_calls=all,ALL",
		  "extra_calls=all,ALL: there is no such call as 'ALL'; use " NAMES },
		{ "ext_capabilities=some",
		  "=some is not a number; use the bits of HvExtCallQueryCapabilities" },
		{ "features_ebx=0x20000",
		  "features_ebx=0x20000: this host does not offer 0x20000;" },
		{ "extra_calls=RETARGET_DEVICE_INTERRUPT features_ebx=0x20000",
		  "features_ebx=0x20000: this host does not offer 0x20000;" },
		{ "extra_calls=SET_VP_REGISTERS features_edx=0x8000",
		  "features_edx=0x8000: this host does not offer 0x8000;" },
	};
	int log = klog_open();
	u32 i;

	require_module_file();
	for (i = 0; i < ARRAY_SIZE(refused); i++) {
		lseek(log, 0, SEEK_END);
		ASSERT_EQ(-__module_load_with(refused[i].params), EINVAL);
		ASSERT(!module_loaded(), "%s is in", refused[i].params);
		ASSERT(klog_says(log, refused[i].text, NULL), "%s: no such record",
		       refused[i].text);
	}
	close(log);
}

/* --- HvCallGetVpIndexFromApicId ------------------------------------------- */

struct apic_input {
	u64 partition;
	u8 vtl;
	u8 pad[7];
	u32 ids[1020];
};

#define APIC_IDS(n) (HVCALL_GET_VP_INDEX_FROM_APIC_ID | HV_CTL_REP(n))

static struct apic_input *apic_input(struct extra_world *w)
{
	struct apic_input *in = (void *)w->in;

	memset(in, 0, PAGE_SIZE);
	in->partition = PARTITION_SELF;
	return in;
}

TEST(index_of_an_apic_id)
{
	struct apic_input *in;
	struct extra_world w;
	const u32 *out;
	u32 i;

	extra_load("extra_calls=all");
	w = extra_world(4, 0);
	vcpu_set_msr(w.vm->vcpus[1], HV_X64_MSR_VP_INDEX, 9);
	in = apic_input(&w);
	for (i = 0; i < 4; i++)
		in->ids[i] = 3 - i;
	in->pad[0] = 1; /* is none of its fields */
	ASSERT_EQ(extra_slow(&w, APIC_IDS(4)), RESULT(0, 4));
	out = (void *)w.out;
	for (i = 0; i < 4; i++)
		ASSERT_EQ(out[i], i == 2 ? 9 : 3 - i);
	ASSERT_EQ(out[4], (u32)UNTOUCHED);
	ASSERT_EQ(extra_fast(&w, APIC_IDS(4) | HV_CTL_START(1), 32), RESULT(0, 4));
	out = extra_output(&w, 32);
	ASSERT_EQ(out[0], (u32)UNTOUCHED);
	ASSERT_EQ(out[1], 2);
	ASSERT_EQ(out[2], 9);
	ASSERT_EQ(out[3], 0);
	ASSERT_EQ(out[4], (u32)UNTOUCHED);
	/* Nobody has these. */
	in->ids[2] = 4;
	ASSERT_EQ(extra_slow(&w, APIC_IDS(4)), RESULT(HV_STATUS_INVALID_PARAMETER, 2));
	ASSERT_EQ(((u32 *)w.out)[1], 2);
	ASSERT_EQ(((u32 *)w.out)[2], (u32)UNTOUCHED);
	in->ids[0] = ~0u;
	ASSERT_EQ(extra_slow(&w, APIC_IDS(1)), HV_STATUS_INVALID_PARAMETER);
	in->ids[0] = 0x100; /* not cut to 8 bits */
	ASSERT_EQ(extra_slow(&w, APIC_IDS(1)), HV_STATUS_INVALID_PARAMETER);
	in->ids[0] = 0;
	in->vtl = 0x11;
	ASSERT_EQ(extra_slow(&w, APIC_IDS(1)), HV_STATUS_INVALID_PARAMETER);
	in->vtl = 0;
	in->partition = 0;
	ASSERT_EQ(extra_slow(&w, APIC_IDS(1)), HV_STATUS_INVALID_PARTITION_ID);
	extra_end(&w);
}

/* Below the limit of either vendor's ring, and beyond all of it from there. */
#define SOME_IDS 400u
#define MANY_IDS 1000u

/* The stack of the host's part is not in the guest. */
static struct extra_world calling;

GUEST_CODE(calls_without_end)
{
	hypercall(APIC_IDS(SOME_IDS), gpa(calling.in), gpa(calling.out));
	for (;;)
		hypercall(APIC_IDS(MANY_IDS), gpa(calling.in), gpa(calling.out));
}

/* Each element of a list that is written is an entry of the ring, and only an entry looks at it. */
TEST(list_that_fills_the_dirty_ring)
{
	struct kvm_dirty_gfn *ring;
	struct extra_world w;
	u32 i, dirty = 0;

	if (!kvm_check_cap(KVM_CAP_DIRTY_LOG_RING))
		ktap_skip("no KVM_CAP_DIRTY_LOG_RING");
	extra_load("extra_calls=all");
	w = extra_world(1, VM_DIRTY_RING);
	/* Of zeros: the first VP's id, as often. */
	apic_input(&w);
	calling = w;
	vcpu_entry(w.v, calls_without_end);
	vcpu_run_exit(w.v, KVM_EXIT_DIRTY_RING_FULL);
	ring = mmap(NULL, VM_RING_ENTRIES * sizeof(*ring), PROT_READ | PROT_WRITE, MAP_SHARED,
		    w.v->fd, KVM_DIRTY_LOG_PAGE_OFFSET * PAGE_SIZE);
	ASSERT(ring != MAP_FAILED, "the ring: %s", strerror(errno));
	for (i = 0; i < VM_RING_ENTRIES; i++)
		dirty += ring[i].flags & KVM_DIRTY_GFN_F_DIRTY;
	ASSERT(dirty < VM_RING_ENTRIES, "none of %u entries is left", dirty);
	ASSERT_EQ(munmap(ring, VM_RING_ENTRIES * sizeof(*ring)), 0);
	extra_end(&w);
}

TEST(index_of_an_x2apic_id)
{
	struct kvm_lapic_state apic;
	struct apic_input *in;
	struct extra_world w;

	extra_load("extra_calls=all");
	w = extra_world(2, 0);
	in = apic_input(&w);
	/* The id that others send to is the register's, which may have changed in xAPIC mode. */
	vcpu_ioctl(w.vm->vcpus[1], KVM_GET_LAPIC, &apic);
	apic.regs[0x23] = 77;
	if (__vcpu_ioctl(w.vm->vcpus[1], KVM_SET_LAPIC, &apic) == 0) {
		in->ids[0] = 77;
		ASSERT_EQ(extra_slow(&w, APIC_IDS(1)), RESULT(0, 1));
		ASSERT_EQ(*(u32 *)w.out, 1);
		in->ids[0] = 1;
		ASSERT_EQ(extra_slow(&w, APIC_IDS(1)), HV_STATUS_INVALID_PARAMETER);
	}
	vcpu_set_msr(w.vm->vcpus[1], APIC_BASE_MSR, 0xfee00000 | X2APIC_ON);
	in->ids[0] = 1;
	ASSERT_EQ(extra_slow(&w, APIC_IDS(1)), RESULT(0, 1));
	ASSERT_EQ(*(u32 *)w.out, 1);
	vm_free(w.vm);
	/* Without an APIC in the kernel, the id by which user space has created the vCPU. */
	w = extra_world(2, VM_NO_IRQCHIP);
	apic_input(&w)->ids[0] = 1;
	ASSERT_EQ(extra_slow(&w, APIC_IDS(1)), RESULT(0, 1));
	ASSERT_EQ(*(u32 *)w.out, 1);
	extra_end(&w);
}

/* --- HvCallGetVpCpuidValues ----------------------------------------------- */

struct cpuid_input {
	u64 partition;
	u32 vp, flags;
	u64 rsvdz;
	struct {
		u32 leaf, index;
	} leaves[250];
};

#define LEAVES(n) (HVCALL_GET_VP_CPUID_VALUES | HV_CTL_REP(n))

static struct cpuid_input *cpuid_input(struct extra_world *w)
{
	struct cpuid_input *in = (void *)w->in;

	memset(in, 0, PAGE_SIZE);
	in->partition = PARTITION_SELF;
	in->vp = VP_SELF;
	return in;
}

static void expect_leaf(struct extra_world *w, u32 leaf, u32 index, const u64 *is)
{
	struct guest_op op = { .op = OP_CPUID, .arg0 = leaf, .arg1 = index };

	op = extra_op(w, op);
	ASSERT(is[0] == op.result && is[1] == op.result2, "leaf 0x%x.%u", leaf, index);
}

TEST(cpuid_values)
{
	static const u32 leaves[][2] = {
		{ 0, 0 },	   { 1, 0 },	      { 7, 0 },		 { 0xd, 0 },
		{ 0xd, 1 },	   { 0xd, 2 },	      { 0x40000001, 0 }, { 0x40000003, 0 },
		{ 0x40000004, 0 }, { 0x80000008, 0 }, { 0xffffffff, 0 }, { 0x50000000, 7 },
	};
	struct cpuid_input *in;
	struct extra_world w;
	u32 i, n = ARRAY_SIZE(leaves);
	u64 out[256][2];

	extra_load("extra_calls=all features_eax=0x400");
	w = extra_world(2, 0);
	vcpu_set_msr(w.v, HV_X64_MSR_VP_INDEX, 6);
	in = cpuid_input(&w);
	for (i = 0; i < n; i++) {
		in->leaves[i].leaf = leaves[i][0];
		in->leaves[i].index = leaves[i][1];
	}
	ASSERT_EQ(extra_slow(&w, LEAVES(n)), RESULT(0, n));
	memcpy(out, w.out, 16 * n);
	ASSERT_EQ(((u64 *)w.out)[2 * n], UNTOUCHED);
	for (i = 0; i < n; i++)
		expect_leaf(&w, leaves[i][0], leaves[i][1], out[i]);
	/* Three are 48 bytes of input, and as many of output. */
	ASSERT_EQ(extra_fast(&w, LEAVES(3), 48), RESULT(0, 3));
	memcpy(out, extra_output(&w, 48), 48);
	for (i = 0; i < 3; i++)
		expect_leaf(&w, leaves[i][0], leaves[i][1], out[i]);
	ASSERT_EQ(extra_fast(&w, LEAVES(4), 56), HV_STATUS_INVALID_HYPERCALL_INPUT);
	in->vp = 6;
	in->flags = 3;
	ASSERT_EQ(extra_slow(&w, LEAVES(1)), RESULT(0, 1));
	in->flags = 4;
	ASSERT_EQ(extra_slow(&w, LEAVES(1)), HV_STATUS_INVALID_PARAMETER);
	in->flags = 0;
	in->rsvdz = 1;
	ASSERT_EQ(extra_slow(&w, LEAVES(1)), HV_STATUS_INVALID_PARAMETER);
	in->rsvdz = 0;
	in->vp = 1;
	ASSERT_EQ(extra_slow(&w, LEAVES(1)), HV_STATUS_INVALID_VP_INDEX);
	in->partition = 1;
	ASSERT_EQ(extra_slow(&w, LEAVES(1)), HV_STATUS_INVALID_PARTITION_ID);
	ASSERT_EQ(((u64 *)w.out)[0], UNTOUCHED);
	extra_end(&w);
}

/* --- calls that user space answers ---------------------------------------- */

static u64 control_now, in_now, out_now, result_now;

GUEST_CODE(calls_once)
{
	GUEST_ASSERT_EQ(__hypercall(control_now, in_now, out_now, &result_now), 0);
}

/* Make a call that exits, and answer it; the guest's result. */
static u64 answered(struct extra_world *w, u64 control, u64 in, u64 out, const u64 *answer)
{
	struct kvm_hyperv_exit *e = &w->v->run->hyperv;

	control_now = control;
	in_now = in;
	out_now = out;
	vcpu_entry(w->v, calls_once);
	vcpu_run_exit(w->v, KVM_EXIT_HYPERV);
	ASSERT_EQ(e->type, KVM_EXIT_HYPERV_HCALL);
	ASSERT_EQ(e->u.hcall.input, control);
	ASSERT_EQ(e->u.hcall.params[0], in);
	ASSERT_EQ(e->u.hcall.params[1], out);
	ASSERT_EQ(e->u.hcall.result, HV_STATUS_INVALID_HYPERCALL_CODE);
	if (answer)
		e->u.hcall.result = *answer;
	vcpu_run_done(w->v);
	return result_now;
}

TEST(retarget_goes_to_user_space)
{
	const u64 call = HVCALL_RETARGET_DEVICE_INTERRUPT, ok = 0, port = HV_STATUS_INVALID_PORT_ID;
	struct extra_world w;
	u64 in;

	extra_load("extra_calls=RETARGET_DEVICE_INTERRUPT");
	w = extra_world(1, 0);
	in = gpa(w.in);
	ASSERT_EQ(answered(&w, call, in, 0x123, &ok), 0);
	ASSERT_EQ(answered(&w, call, in + PAGE_SIZE - 56, 0, &port), port);
	ASSERT_EQ(answered(&w, call | HV_CTL_VARHDR(65), in, 0, &ok), 0);
	/* User space that does not know it. */
	ASSERT_EQ(answered(&w, call | HV_CTL_VARHDR(2), in, 0, NULL),
		  HV_STATUS_INVALID_HYPERCALL_CODE);
	w.ops = vcpu_ops_init(w.v, 4);
	ASSERT_EQ(extra_op(&w, OP_HC(call | HV_CTL_VARHDR(66), in, 0)).result,
		  HV_STATUS_INVALID_HYPERCALL_INPUT);
	ASSERT_EQ(extra_op(&w, OP_HC(call | HV_CTL_REP(1), in, 0)).result,
		  HV_STATUS_INVALID_HYPERCALL_INPUT);
	ASSERT_EQ(extra_op(&w, OP_HC(call | HV_CTL_FAST, 0, 0)).result,
		  HV_STATUS_INVALID_HYPERCALL_INPUT);
	ASSERT_EQ(extra_op(&w, OP_HC(call, in + 4, 0)).result, HV_STATUS_INVALID_ALIGNMENT);
	ASSERT_EQ(extra_op(&w, OP_HC(call | HV_CTL_VARHDR(1), in + PAGE_SIZE - 56, 0)).result,
		  HV_STATUS_INVALID_ALIGNMENT);
	ASSERT_EQ(extra_op(&w, OP_HC(call, GPA_NOWHERE, 0)).result,
		  HV_STATUS_INVALID_HYPERCALL_INPUT);
	extra_end(&w);
}

static void check_capabilities(const char *params, u64 value, bool zeroed)
{
	const u64 ok = 0, unknown = HV_STATUS_INVALID_HYPERCALL_CODE,
		  denied = HV_STATUS_ACCESS_DENIED;
	struct extra_world w;
	u64 *out, at;

	extra_load(params);
	w = extra_world(1, 0);
	out = (void *)w.out;
	at = gpa(out);
	/* User space that answers is not overruled. */
	*out = UNTOUCHED;
	ASSERT_EQ(answered(&w, QUERY, 0, at, &ok), 0);
	ASSERT_EQ(answered(&w, QUERY, 0, at, &denied), denied);
	ASSERT_EQ(answered(&w, QUERY + 1, 0, at, &ok), 0);
	ASSERT_EQ(*out, UNTOUCHED);
	ASSERT_EQ(answered(&w, QUERY, 0, at, &unknown), 0);
	ASSERT_EQ(*out, value);
	ASSERT_EQ(answered(&w, QUERY, 0, at + 4, &unknown), HV_STATUS_INVALID_ALIGNMENT);
	ASSERT_EQ(answered(&w, QUERY, 0, GPA_NOWHERE, NULL), HV_STATUS_INVALID_HYPERCALL_INPUT);
	/* HvExtCallGetBootZeroedMemory: no range. */
	*out = UNTOUCHED;
	ASSERT_EQ(answered(&w, QUERY + 1, 0, at, &unknown), zeroed ? 0 : unknown);
	ASSERT_EQ(*out, zeroed ? 0 : UNTOUCHED);
	ASSERT_EQ(out[1], 0);
	/* All others are user space's alone. */
	ASSERT_EQ(answered(&w, QUERY + 2, 0, at, &unknown), unknown);
	ASSERT_EQ(answered(&w, QUERY + 64, 0, at, &unknown), unknown);
	extra_end(&w);
}

TEST(capabilities)
{
	check_capabilities("", 0, false);
	check_capabilities("ext_capabilities=1", 1, true);
	check_capabilities("ext_capabilities=0x8000000000000100", 0x8000000000000100, false);
}

int main(int argc, char **argv)
{
	if (argc == 3 && !strcmp(argv[1], "--module"))
		module_option = argv[2];
	return module_ktap_main(argc, argv);
}
