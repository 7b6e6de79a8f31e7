// SPDX-License-Identifier: GPL-2.0-only
/*
 * MSR filters that deny synthetic registers: user space gets what it asked for and nothing else,
 * whoever answers the register and wherever. Every case holds on stock KVM.
 */
#include <errno.h>

#include "msr_filter.h"

/* Registers of every kind: fast or not, in a row of their own or of several. */
static const struct access probes[] = {
	R(HV_X64_MSR_GUEST_OS_ID),
	W(HV_X64_MSR_GUEST_OS_ID, OS_ID),
	R(HV_X64_MSR_HYPERCALL),
	W(HV_X64_MSR_HYPERCALL, 0),
	R(HV_X64_MSR_VP_INDEX),
	R(HV_X64_MSR_TIME_REF_COUNT),
	R(HV_X64_MSR_APIC_FREQUENCY),
	W(HV_X64_MSR_EOI, 0),
	R(HV_X64_MSR_ICR),
	W(HV_X64_MSR_ICR, ICR_TO(0, VEC)),
	R(HV_X64_MSR_TPR),
	W(HV_X64_MSR_TPR, 0x20),
	R(HV_X64_MSR_VP_ASSIST_PAGE),
	W(HV_X64_MSR_EOM, 0),
	R(HV_X64_MSR_SINT(0)),
	W(HV_X64_MSR_SINT(1), VEC),
	R(HV_X64_MSR_SINT(15)),
	R(HV_X64_MSR_STIMER_CONFIG(0)),
	W(HV_X64_MSR_STIMER_CONFIG(3), 0),
	R(HV_X64_MSR_STIMER_COUNT(1)),
	W(HV_X64_MSR_STIMER_COUNT(3), 0),
	R(HV_X64_MSR_CRASH_P0),
	W(HV_X64_MSR_CRASH_P4, 0x77),
	R(HV_X64_MSR_TSC_EMULATION_STATUS),
};

static struct filter *single_bits(u32 flags, u32 base, u32 nmsrs, bool allow)
{
	struct filter *f = new_filter(allow ? DENY : ALLOW);
	u32 range = add_range(f, flags, base, nmsrs, !allow);

	set_bit_of(f, range, HV_X64_MSR_VP_INDEX, allow);
	set_bit_of(f, range, HV_X64_MSR_TPR, allow);
	set_bit_of(f, range, HV_X64_MSR_SINT(15), allow);
	set_bit_of(f, range, HV_X64_MSR_STIMER_COUNT(3), allow);
	return f;
}

enum which {
	QEMU,
	READ_OF_ONE,
	WRITE_OF_ONE,
	BOTH_OF_ONE,
	PART_OF_A_RANGE,
	ALLOWED_RANGE,
	ALLOWED_READS,
	ALLOWED_WRITES,
	EACH_DIRECTION,
	NEIGHBOURS,
	EDGES,
	SIXTEEN_DENY,
	SIXTEEN_ALLOW,
	LARGEST_DENY,
	LARGEST_ALLOW,
	LARGEST_FROM_BELOW,
	OVERLAP,
	OVERLAP_OTHER_WAY,
	UP_TO_THE_END,
	ALL_DENIED,
	NR_FILTERS
};

static struct filter *build(enum which which)
{
	struct filter *f;
	u32 i;

	switch (which) {
	case QEMU:
		return qemus_filter();
	case READ_OF_ONE:
		return filter_of_one(RD, HV_X64_MSR_TPR);
	case WRITE_OF_ONE:
		return filter_of_one(WR, HV_X64_MSR_TPR);
	case BOTH_OF_ONE:
		return filter_of_one(RDWR, HV_X64_MSR_STIMER_CONFIG(3));
	case PART_OF_A_RANGE:
		f = new_filter(ALLOW);
		add_range(f, RDWR, HV_X64_MSR_EOI, 4, false);
		set_bit_of(f, 0, HV_X64_MSR_ICR, true);
		set_bit_of(f, 0, HV_X64_MSR_VP_ASSIST_PAGE, true);
		return f;
	case ALLOWED_RANGE:
		f = new_filter(DENY);
		add_range(f, RDWR, HV_X64_MSR_GUEST_OS_ID, 0x74, true);
		return f;
	case ALLOWED_READS:
	case ALLOWED_WRITES:
		f = new_filter(DENY);
		add_range(f, which == ALLOWED_READS ? RD : WR, 0x40000000u, 0x200, true);
		return f;
	case EACH_DIRECTION:
		f = new_filter(ALLOW);
		add_range(f, RD, 0x40000000u, 0x80, false);
		add_range(f, WR, 0x40000000u, 0x200, false);
		set_bit_of(f, 0, HV_X64_MSR_TPR, true);
		set_bit_of(f, 1, HV_X64_MSR_EOM, true);
		return f;
	case NEIGHBOURS:
		f = new_filter(ALLOW);
		add_range(f, RDWR, HV_X64_MSR_VP_INDEX - 1, 1, false);
		add_range(f, RDWR, HV_X64_MSR_VP_INDEX + 1, 1, false);
		add_range(f, RDWR, HV_X64_MSR_TPR - 1, 1, false);
		add_range(f, RDWR, HV_X64_MSR_TPR + 1, 1, false);
		return f;
	case EDGES:
		/* The first and the last of a range that is no multiple of 8 or 64. */
		f = new_filter(ALLOW);
		add_range(f, RDWR, HV_X64_MSR_VP_INDEX, HV_X64_MSR_TPR + 1 - HV_X64_MSR_VP_INDEX,
			  true);
		set_bit_of(f, 0, HV_X64_MSR_VP_INDEX, false);
		set_bit_of(f, 0, HV_X64_MSR_TPR, false);
		add_range(f, RDWR, HV_X64_MSR_SINT0, 16, true);
		set_bit_of(f, 1, HV_X64_MSR_SINT(0), false);
		set_bit_of(f, 1, HV_X64_MSR_SINT(15), false);
		return f;
	case SIXTEEN_DENY:
	case SIXTEEN_ALLOW:
		/* The last range is effective, too. */
		f = new_filter(which == SIXTEEN_DENY ? ALLOW : DENY);
		for (i = 0; i < KVM_MSR_FILTER_MAX_RANGES; i++)
			add_range(f, access_flag(&probes[i]), probes[i].msr, 1,
				  which == SIXTEEN_ALLOW);
		return f;
	case LARGEST_DENY:
	case LARGEST_ALLOW:
		return single_bits(RDWR, 0x40000000u, 8 * KVM_MSR_FILTER_MAX_BITMAP_SIZE,
				   which == LARGEST_ALLOW);
	case LARGEST_FROM_BELOW:
		/* The last register is in it, the next one is not. */
		return single_bits(RDWR,
				   HV_X64_MSR_STIMER_COUNT(3) + 1 -
					   8 * KVM_MSR_FILTER_MAX_BITMAP_SIZE,
				   8 * KVM_MSR_FILTER_MAX_BITMAP_SIZE, false);
	case OVERLAP:
	case OVERLAP_OTHER_WAY:
		f = new_filter(ALLOW);
		add_range(f, RD, HV_X64_MSR_TPR, 1, which == OVERLAP);
		add_range(f, RDWR, 0x40000000u, 0x200, which != OVERLAP);
		return f;
	case UP_TO_THE_END:
		f = new_filter(ALLOW);
		add_range(f, RDWR, 0xfffff000u, 0xfff, false);
		add_range(f, RDWR, 0, 0x100, false);
		return f;
	default:
		f = new_filter(DENY);
		add_range(f, RDWR, CORE_COUNT, 1, true);
		return f;
	}
}

/* The value of a register that a write must not have changed. */
static bool has_value(u32 msr, u64 *val, struct vcpu *v)
{
	return msr != HV_X64_MSR_EOI && __vcpu_get_msr(v, msr, val) == 1;
}

static void check_probe(struct vcpu *v, struct ops_page *p, const struct filter *f,
			const struct access *a, bool user, bool refuse)
{
	u64 before = 0, after = 0;
	bool denied = !allows(f, a->msr, access_flag(a)), keeps = has_value(a->msr, &before, v);

	if (denied && user)
		asked(v, p, a, FILTERED, refuse);
	else
		ASSERT(vector_of(v, p, a) == (denied ? GP_VECTOR : 0), "%s of 0x%x: vector %u",
		       a->write ? "write" : "read", a->msr, p->ops[0].vector);
	if (denied && a->write && keeps) {
		ASSERT(has_value(a->msr, &after, v), "0x%x is gone", a->msr);
		ASSERT_EQ(after, before);
	}
}

static void check_filters(bool user)
{
	struct ops_page *p;
	struct vm *vm = vm_with_ops(&p, 1);
	u32 i, j, denied;

	if (user)
		want_exits(vm, FILTERED);
	for (i = 0; i < NR_FILTERS; i++) {
		struct filter *f = build(i);

		set_filter(vm, f);
		denied = 0;
		for (j = 0; j < ARRAY_SIZE(probes); j++) {
			check_probe(vm->vcpus[0], p, f, &probes[j], user, (i + j) & 1);
			denied += !allows(f, probes[j].msr, access_flag(&probes[j]));
		}
		ASSERT(denied || i == QEMU || i == UP_TO_THE_END, "filter %u denies nothing", i);
		/* Without one, all is allowed again. */
		set_filter(vm, new_filter(ALLOW));
		for (j = 0; j < ARRAY_SIZE(probes); j++)
			ASSERT_EQ(vector_of(vm->vcpus[0], p, &probes[j]), 0);
	}
	vm_free(vm);
}

TEST(denied_is_gp)
{
	check_filters(false);
}

TEST(denied_goes_to_user_space)
{
	check_filters(true);
}

/* One after the other, without going back to none in between. */
TEST(one_filter_after_the_other)
{
	struct ops_page *p;
	struct vm *vm = vm_with_ops(&p, 1);
	u32 i, j;

	for (i = 0; i < 3 * NR_FILTERS; i++) {
		struct filter *f = build(i * 7 % NR_FILTERS);

		set_filter(vm, f);
		for (j = i % 3; j < ARRAY_SIZE(probes); j += 3)
			check_probe(vm->vcpus[0], p, f, &probes[j], false, false);
	}
	vm_free(vm);
}

/* Which exits user space asked for: each set of reasons, each thing that can be wrong. */
TEST(every_set_of_reasons)
{
	static const struct {
		struct access a;
		u32 reason;
	} rows[] = {
		{ R(HV_X64_MSR_VP_INDEX), FILTERED },
		{ W(HV_X64_MSR_TPR, 0x40), FILTERED },
		{ W(HV_X64_MSR_EOM, ~0ULL), FILTERED },
		/* The reason is FILTER, whatever else is wrong with the access. */
		{ W(HV_X64_MSR_VP_INDEX, 5), FILTERED },
		{ R(HV_X64_MSR_EOI), FILTERED },
		{ R(BAD_MSR + 1), FILTERED },
		{ W(NO_MSR + 1, 8), FILTERED },
		{ R(NO_MSR), UNKNOWN },
		{ W(NO_MSR, 7), UNKNOWN },
		{ R(BAD_MSR), INVALID },
		{ W(BAD_MSR, 1), INVALID },
		{ W(HV_X64_MSR_TIME_REF_COUNT, 7), INVALID },
		{ W(HV_X64_MSR_SVERSION, 2), INVALID },
		{ W(HV_X64_MSR_SINT0, 5), INVALID },
	};
	static const struct access good = W(HV_X64_MSR_STIMER0_COUNT, 0);
	struct ops_page *p;
	u32 i, reasons;
	struct vm *vm;

	for (reasons = 0; reasons <= ALL_WHYS; reasons++) {
		struct filter *f = new_filter(ALLOW);

		vm = vm_with_ops(&p, 1);
		want_exits(vm, reasons);
		add_range(f, RDWR, HV_X64_MSR_VP_INDEX, 1, false);
		add_range(f, WR, HV_X64_MSR_TPR, 1, false);
		add_range(f, WR, HV_X64_MSR_EOM, 1, false);
		add_range(f, RD, HV_X64_MSR_EOI, 1, false);
		add_range(f, RDWR, BAD_MSR + 1, 1, false);
		add_range(f, RDWR, NO_MSR + 1, 1, false);
		set_filter(vm, f);
		for (i = 0; i < ARRAY_SIZE(rows); i++) {
			const struct access *a = &rows[i].a;

			if (reasons & rows[i].reason)
				asked(vm->vcpus[0], p, a, rows[i].reason, (i + reasons) & 1);
			else
				ASSERT(vector_of(vm->vcpus[0], p, a) == GP_VECTOR,
				       "reasons %u, row %u: vector %u", reasons, i,
				       p->ops[0].vector);
			ASSERT_EQ(vector_of(vm->vcpus[0], p, &good), 0);
		}
		vm_free(vm);
	}
}

/* The capability is switched while the filter stays. */
TEST(reasons_change)
{
	static const struct access a = R(HV_X64_MSR_VP_INDEX), bad = R(BAD_MSR);
	struct ops_page *p;
	struct vm *vm = vm_with_ops(&p, 1);
	struct vcpu *v = vm->vcpus[0];
	u32 i;

	set_filter(vm, filter_of_one(RD, a.msr));
	for (i = 0; i < 4; i++) {
		want_exits(vm, 0);
		ASSERT_EQ(vector_of(v, p, &a), GP_VECTOR);
		ASSERT_EQ(vector_of(v, p, &bad), GP_VECTOR);
		want_exits(vm, FILTERED);
		asked(v, p, &a, FILTERED, i & 1);
		ASSERT_EQ(vector_of(v, p, &bad), GP_VECTOR);
		want_exits(vm, INVALID);
		ASSERT_EQ(vector_of(v, p, &a), GP_VECTOR);
		asked(v, p, &bad, INVALID, i & 1);
	}
	vm_free(vm);
}

TEST(host_is_not_filtered)
{
	struct filter *f = build(ALL_DENIED);
	struct ops_page *p;
	struct vm *vm = vm_with_ops(&p, 1);
	struct vcpu *v = vm->vcpus[0];
	u64 val;
	u32 i;

	want_exits(vm, ALL_WHYS);
	set_filter(vm, f);
	for (i = 0; i < ARRAY_SIZE(probes); i++) {
		/* The host reads what it could read without a filter. */
		if (has_value(probes[i].msr, &val, v))
			ASSERT_EQ(__vcpu_set_msr(v, probes[i].msr, val), 1);
		else
			ASSERT_EQ(probes[i].msr, HV_X64_MSR_EOI);
	}
	vcpu_set_msr(v, HV_X64_MSR_VP_INDEX, 7);
	ASSERT_EQ(vcpu_get_msr(v, HV_X64_MSR_VP_INDEX), 7);
	vcpu_set_msr(v, HV_X64_MSR_TPR, 0x50);
	ASSERT_EQ(vcpu_get_msr(v, HV_X64_MSR_TPR), 0x50);
	for (i = 0; i < ARRAY_SIZE(probes); i++)
		check_probe(v, p, f, &probes[i], true, i & 1);
	vm_free(vm);
}
