// SPDX-License-Identifier: GPL-2.0-only
/*
 * MSR filters that allow the synthetic registers cost them nothing: with the module, the counts
 * in debugfs tell that the access was answered in the exit fast path. Every case holds on stock
 * KVM.
 */
#include "msr_filter.h"
#include "rows.h"

/* Every register that a guest with a SynIC may use, with a value that it takes at any time. */
static const struct every {
	struct access a;
	bool moves;
} every[] = {
	{ R(HV_X64_MSR_GUEST_OS_ID), false },
	{ W(HV_X64_MSR_GUEST_OS_ID, OS_ID), false },
	{ R(HV_X64_MSR_HYPERCALL), false },
	{ W(HV_X64_MSR_HYPERCALL, 0), false },
	{ R(HV_X64_MSR_VP_INDEX), false },
	{ R(HV_X64_MSR_RESET), false },
	{ W(HV_X64_MSR_RESET, 0), false },
	{ R(HV_X64_MSR_VP_RUNTIME), true },
	{ R(HV_X64_MSR_TIME_REF_COUNT), true },
	{ R(HV_X64_MSR_REFERENCE_TSC), false },
	{ W(HV_X64_MSR_REFERENCE_TSC, 0), false },
	{ R(HV_X64_MSR_TSC_FREQUENCY), false },
	{ R(HV_X64_MSR_APIC_FREQUENCY), false },
	{ W(HV_X64_MSR_EOI, 0), false },
	{ W(HV_X64_MSR_ICR, ICR_TO(0, VEC)), false },
	{ R(HV_X64_MSR_ICR), false },
	{ W(HV_X64_MSR_TPR, 0x30), false },
	{ R(HV_X64_MSR_TPR), false },
	{ R(HV_X64_MSR_VP_ASSIST_PAGE), false },
	{ W(HV_X64_MSR_VP_ASSIST_PAGE, 0), false },
	{ R(HV_X64_MSR_SCONTROL), false },
	{ W(HV_X64_MSR_SCONTROL, HV_SYNIC_ENABLE), false },
	{ R(HV_X64_MSR_SVERSION), false },
	{ R(HV_X64_MSR_SIEFP), false },
	{ W(HV_X64_MSR_SIEFP, 0), false },
	{ R(HV_X64_MSR_SIMP), false },
	{ W(HV_X64_MSR_SIMP, 0), false },
	{ R(HV_X64_MSR_EOM), false },
	{ W(HV_X64_MSR_EOM, 0), false },
	{ R(HV_X64_MSR_SINT0), false },
	{ W(HV_X64_MSR_SINT0, VEC), false },
	{ R(HV_X64_MSR_STIMER0_CONFIG), false },
	{ W(HV_X64_MSR_STIMER0_CONFIG, 0), false },
	{ R(HV_X64_MSR_STIMER0_COUNT), false },
	{ W(HV_X64_MSR_STIMER0_COUNT, 0), false },
	{ R(HV_X64_MSR_CRASH_P0), false },
	{ W(HV_X64_MSR_CRASH_P0, 7), false },
	{ R(HV_X64_MSR_CRASH_CTL), false },
	{ R(HV_X64_MSR_REENLIGHTENMENT_CONTROL), false },
	{ W(HV_X64_MSR_REENLIGHTENMENT_CONTROL, 0), false },
	{ R(HV_X64_MSR_TSC_EMULATION_CONTROL), false },
	{ W(HV_X64_MSR_TSC_EMULATION_CONTROL, 0), false },
	{ R(HV_X64_MSR_TSC_EMULATION_STATUS), false },
	{ W(HV_X64_MSR_TSC_EMULATION_STATUS, 0), false },
	{ R(HV_X64_MSR_TSC_INVARIANT_CONTROL), false },
};

struct outcome {
	u32 vector, exits;
	u64 result, fast;
};

static u64 fast_count(const struct access *a)
{
	struct row_counts c = row_counts(a->msr);

	return a->write ? c.fast_writes : c.fast_reads;
}

/* TRIES times the same access. */
static struct outcome repeat(struct vcpu *v, struct ops_page *p, const struct access *a)
{
	struct outcome o = { .fast = fast_count(a) };
	u32 i;

	for (i = 0; i < TRIES; i++)
		p->ops[i] = access_op(a);
	vcpu_ops_run(v, p, TRIES);
	for (i = 0; i < TRIES; i++) {
		ASSERT_EQ(p->ops[i].vector, p->ops[0].vector);
		o.exits += p->ops[i].exits;
	}
	o.vector = p->ops[0].vector;
	o.result = p->ops[TRIES - 1].result;
	o.fast = fast_count(a) - o.fast;
	return o;
}

/* Every register as in a VM without a filter, and as fast. */
static void changes_nothing(struct filter *f)
{
	struct outcome before[ARRAY_SIZE(every)], o;
	u32 i, slower = 0, fast = 0;
	struct ops_page *p;
	struct vm *vm;

	vm = vm_with_ops(&p, TRIES);
	for (i = 0; i < ARRAY_SIZE(every); i++)
		before[i] = repeat(vm->vcpus[0], p, &every[i].a);
	vm_free(vm);

	vm = vm_with_ops(&p, TRIES);
	want_exits(vm, FILTERED);
	set_filter(vm, f);
	for (i = 0; i < ARRAY_SIZE(every); i++) {
		const struct access *a = &every[i].a;

		o = repeat(vm->vcpus[0], p, a);
		ASSERT(o.vector == before[i].vector, "0x%x: vector %u, not %u", a->msr, o.vector,
		       before[i].vector);
		ASSERT(o.exits == before[i].exits, "0x%x: %u exits, not %u", a->msr, o.exits,
		       before[i].exits);
		if (!a->write && !every[i].moves)
			ASSERT_EQ(o.result, before[i].result);
		if (o.fast < TRIES / 2 && before[i].fast >= TRIES / 2) {
			ktap_log("%s of 0x%x: %llu of %u fast, %llu without the filter",
				 a->write ? "write" : "read", a->msr, (unsigned long long)o.fast,
				 TRIES, (unsigned long long)before[i].fast);
			slower++;
		}
		fast += before[i].fast >= TRIES / 2;
	}
	vm_free(vm);
	ASSERT(!module_loaded() || fast > 20, "only %u accesses are fast without a filter", fast);
	ASSERT(!slower, "%u of %u accesses are slower", slower, fast);
}

TEST(qemus_filter_changes_nothing)
{
	changes_nothing(qemus_filter());
}

/* Sixteen ranges, of other registers or allowing these. */
TEST(a_large_filter_changes_nothing)
{
	struct filter *f = new_filter(ALLOW);
	u32 i;

	for (i = 0; i < KVM_MSR_FILTER_MAX_RANGES - 2; i++)
		add_range(f, RDWR, 0xc0010000u + 0x1000 * i, 0x800, i & 1);
	add_range(f, RD, 0x40000000u, 0x200, true);
	add_range(f, WR, 0x40000000u, 0x3000, true);
	changes_nothing(f);
}

TEST(default_deny_with_an_allowed_range_changes_nothing)
{
	struct filter *f = new_filter(DENY);

	add_range(f, RDWR, 0x3ffffff0u, 0x400, true);
	changes_nothing(f);
}

/* QEMU answers this one by itself. */
TEST(qemus_register_goes_to_user_space)
{
	static const struct access a = R(CORE_COUNT), other = R(HV_X64_MSR_VP_INDEX);
	struct ops_page *p;
	struct vm *vm = vm_with_ops(&p, 1);
	u32 i;

	want_exits(vm, FILTERED);
	set_filter(vm, qemus_filter());
	for (i = 0; i < 20; i++) {
		asked(vm->vcpus[0], p, &a, FILTERED, i & 1);
		ASSERT_EQ(vector_of(vm->vcpus[0], p, &other), 0);
	}
	vm_free(vm);
}

static u64 fast_times(struct vcpu *v, struct ops_page *p, const struct access *a)
{
	struct outcome o = repeat(v, p, a);

	ASSERT_EQ(o.vector, 0);
	return module_loaded() ? o.fast : TRIES;
}

/* Denying a register slows neither other registers nor its own other direction. */
TEST(denial_slows_nobody_else)
{
	static const struct {
		struct access denied;
		struct access fast[3];
	} rows[] = {
		{ W(HV_X64_MSR_EOM, 0),
		  { R(HV_X64_MSR_EOM), R(HV_X64_MSR_VP_INDEX), W(HV_X64_MSR_STIMER0_COUNT, 0) } },
		{ R(HV_X64_MSR_VP_INDEX),
		  { W(HV_X64_MSR_EOM, 0), R(HV_X64_MSR_TIME_REF_COUNT), W(HV_X64_MSR_TPR, 0) } },
		{ R(HV_X64_MSR_TPR),
		  { W(HV_X64_MSR_TPR, 0x20), W(HV_X64_MSR_EOI, 0), R(HV_X64_MSR_VP_RUNTIME) } },
		/* A neighbour in the same row. */
		{ W(HV_X64_MSR_STIMER_CONFIG(1), 0),
		  { W(HV_X64_MSR_STIMER0_CONFIG, 0), R(HV_X64_MSR_STIMER0_CONFIG),
		    W(HV_X64_MSR_STIMER0_COUNT, 0) } },
	};
	u64 before[ARRAY_SIZE(rows[0].fast)], fast;
	u32 i, j, slow = 0;
	struct ops_page *p;
	struct vm *vm;

	for (i = 0; i < ARRAY_SIZE(rows); i++) {
		vm = vm_with_ops(&p, TRIES);
		/* Which accesses are fast depends on the host. */
		for (j = 0; j < ARRAY_SIZE(before); j++)
			before[j] = fast_times(vm->vcpus[0], p, &rows[i].fast[j]);
		set_filter(vm, filter_of_one(access_flag(&rows[i].denied), rows[i].denied.msr));
		for (j = 0; j < ARRAY_SIZE(before); j++) {
			ASSERT_EQ(vector_of(vm->vcpus[0], p, &rows[i].denied), GP_VECTOR);
			fast = fast_times(vm->vcpus[0], p, &rows[i].fast[j]);
			if (fast >= TRIES / 2 || before[j] < TRIES / 2)
				continue;
			ktap_log("row %u: 0x%x is slow", i, rows[i].fast[j].msr);
			slow++;
		}
		vm_free(vm);
	}
	ASSERT_EQ(slow, 0);
}

/* A filter of registers says nothing about calls. */
TEST(calls_are_not_filtered)
{
	struct filter *f = new_filter(DENY);
	u64 before = row_counts(HVCALL_NOTIFY_LONG_SPIN_WAIT).fast_writes, fast;
	struct ops_page *p;
	struct vm *vm = vm_with_ops(&p, TRIES);
	u32 i;

	add_range(f, RDWR, CORE_COUNT, 1, true);
	set_filter(vm, f);
	for (i = 0; i < TRIES; i++)
		p->ops[i] = OP_HC(SPIN_FAST, 0, 0);
	vcpu_ops_run(vm->vcpus[0], p, TRIES);
	for (i = 0; i < TRIES; i++)
		ASSERT_EQ(p->ops[i].result, HV_STATUS_SUCCESS);
	fast = row_counts(HVCALL_NOTIFY_LONG_SPIN_WAIT).fast_writes - before;
	ASSERT(!module_loaded() || fast >= TRIES / 2, "%llu of %u fast", (unsigned long long)fast,
	       TRIES);
	vm_free(vm);
}
