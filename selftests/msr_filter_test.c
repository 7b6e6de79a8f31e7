// SPDX-License-Identifier: GPL-2.0-only
/*
 * KVM_X86_SET_MSR_FILTER and KVM_CAP_X86_USER_SPACE_MSR on the synthetic registers: user space
 * gets what it asked for and nothing else, whoever answers the register and wherever. A filter
 * that allows a register costs it nothing: with the module, the counts in debugfs tell that the
 * access was answered in the exit fast path. Every case holds on stock KVM.
 */
#include <errno.h>
#include <sched.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "irqfd.h"
#include "ops.h"
#include "rows.h"
#include "synic.h"

#define TRIES	   8 /* a single access may find that it has to wait */
#define OS_ID	   0x8100000000000001ULL
#define VEC	   0x61
#define TEST_SINT  2
#define NO_MSR	   0x4b564effu /* nobody's */
#define BAD_MSR	   0x40000050u /* within Hyper-V's range, and no register */
#define SPIN_FAST  (HVCALL_NOTIFY_LONG_SPIN_WAIT | HV_CTL_FAST)
#define CORE_COUNT 0x35u /* MSR_CORE_THREAD_COUNT, the one that QEMU filters */

#define ICR_TO(id, vector) ((u64)(id) << 56 | 1 << 14 | (vector))

#define RD    KVM_MSR_FILTER_READ
#define WR    KVM_MSR_FILTER_WRITE
#define RDWR  (RD | WR)
#define ALLOW KVM_MSR_FILTER_DEFAULT_ALLOW
#define DENY  KVM_MSR_FILTER_DEFAULT_DENY

#define FILTERED KVM_MSR_EXIT_REASON_FILTER
#define UNKNOWN	 KVM_MSR_EXIT_REASON_UNKNOWN
#define INVALID	 KVM_MSR_EXIT_REASON_INVAL
#define ALL_WHYS (FILTERED | UNKNOWN | INVALID)

/* --- filters -------------------------------------------------------------- */

struct filter {
	struct kvm_msr_filter f;
	u32 nr;
	u8 bits[KVM_MSR_FILTER_MAX_RANGES][KVM_MSR_FILTER_MAX_BITMAP_SIZE];
};

static struct filter *new_filter(u32 flags)
{
	static struct filter filter;

	memset(&filter, 0, sizeof(filter));
	filter.f.flags = flags;
	return &filter;
}

/* One more range, which allows or denies all of its registers. */
static u32 add_range(struct filter *f, u32 flags, u32 base, u32 nmsrs, bool allow)
{
	struct kvm_msr_filter_range *r = &f->f.ranges[f->nr];

	memset(f->bits[f->nr], allow ? 0xff : 0, sizeof(f->bits[0]));
	r->flags = flags;
	r->base = base;
	r->nmsrs = nmsrs;
	r->bitmap = f->bits[f->nr];
	return f->nr++;
}

static void set_bit_of(struct filter *f, u32 range, u32 msr, bool allow)
{
	u32 n = msr - f->f.ranges[range].base;
	u8 bit = (u8)(1u << n % 8);

	ASSERT(n < f->f.ranges[range].nmsrs, "0x%x is not in range %u", msr, range);
	if (allow)
		f->bits[range][n / 8] |= bit;
	else
		f->bits[range][n / 8] &= (u8)~bit;
}

static int __set_filter(struct vm *vm, const void *filter)
{
	return ioctl(vm->fd, KVM_X86_SET_MSR_FILTER, filter) ? -errno : 0;
}

static void set_filter(struct vm *vm, struct filter *f)
{
	ASSERT_EQ(__set_filter(vm, &f->f), 0);
}

/* The documentation's rule; of ranges that overlap the first counts. */
static bool allows(const struct filter *f, u32 msr, u32 access)
{
	u32 i;

	for (i = 0; i < f->nr; i++) {
		const struct kvm_msr_filter_range *r = &f->f.ranges[i];

		if (msr - r->base < r->nmsrs && (r->flags & access))
			return f->bits[i][(msr - r->base) / 8] >> (msr - r->base) % 8 & 1;
	}
	return !(f->f.flags & DENY);
}

static struct filter *filter_of_one(u32 flags, u32 msr)
{
	struct filter *f = new_filter(ALLOW);

	add_range(f, flags, msr, 1, false);
	return f;
}

/* QEMU from 7.2 on, in every VM. */
static struct filter *qemus_filter(void)
{
	return filter_of_one(RD, CORE_COUNT);
}

static void want_exits(struct vm *vm, u64 reasons)
{
	ASSERT_EQ(__vm_enable_cap(vm, KVM_CAP_X86_USER_SPACE_MSR, reasons), 0);
}

/* --- one access ----------------------------------------------------------- */

struct access {
	u32 msr;
	bool write;
	u64 val;
};

#define R(msr)                \
	{                     \
		msr, false, 0 \
	}
#define W(msr, val)            \
	{                      \
		msr, true, val \
	}

static u32 access_flag(const struct access *a)
{
	return a->write ? WR : RD;
}

static struct guest_op access_op(const struct access *a)
{
	return a->write ? OP_WR(a->msr, a->val) : OP_RD(a->msr);
}

static struct vm *vm_with_ops(struct ops_page **p, u32 max)
{
	struct vm *vm = synic_vm(1);

	vcpu_set_msr(vm->vcpus[0], HV_X64_MSR_GUEST_OS_ID, OS_ID);
	*p = vcpu_ops_init(vm->vcpus[0], max);
	return vm;
}

/* The vector of the exception, 0 when there was none. */
static u32 vector_of(struct vcpu *v, struct ops_page *p, const struct access *a)
{
	return vcpu_op(v, p, access_op(a)).vector;
}

#define ANSWER 0x123456789abcdef0ULL

/* Run to the exit with which user space is asked, check it, refuse the access or answer it. */
static void asked(struct vcpu *v, struct ops_page *p, const struct access *a, u32 reason,
		  bool refuse)
{
	u32 cmd, exit = a->write ? KVM_EXIT_X86_WRMSR : KVM_EXIT_X86_RDMSR;

	p->ops[0] = access_op(a);
	p->nr = 1;
	memset(&v->run->msr, 0xee, sizeof(v->run->msr));
	cmd = vcpu_run(v);
	ASSERT(cmd == RUN_EXIT(exit), "%s of 0x%x ended with 0x%x", a->write ? "write" : "read",
	       a->msr, cmd);
	ASSERT_EQ(v->run->msr.index, a->msr);
	ASSERT_EQ(v->run->msr.reason, reason);
	ASSERT_EQ(v->run->msr.error, 0);
	if (a->write)
		ASSERT_EQ(v->run->msr.data, a->val);
	v->run->msr.error = refuse;
	v->run->msr.data = ANSWER;
	ASSERT_EQ(vcpu_run(v), GUEST_SYNC_CMD);
	ASSERT_EQ(p->ops[0].vector, refuse ? GP_VECTOR : 0);
	if (!a->write && !refuse)
		ASSERT_EQ(p->ops[0].result, ANSWER);
}

/* --- a filter that allows changes nothing --------------------------------- */

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

/* Sixteen ranges, all of other registers or of what they allow. */
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

/* What is denied costs the others nothing, and costs its own other direction nothing. */
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

/* --- a filter that denies ------------------------------------------------- */

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
		/* The last of them counts as well as the first. */
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
		/* Denied is what counts, whatever else is wrong with it. */
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
		/* What it could read without a filter, too. */
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

/* --- which filter is in force --------------------------------------------- */

/* What KVM refuses leaves the old one in force. */
TEST(refused_filters)
{
	static const struct access a = R(HV_X64_MSR_VP_INDEX), other = W(HV_X64_MSR_EOM, 0);
	struct ops_page *p;
	struct vm *vm = vm_with_ops(&p, 1);
	struct filter *f;
	u32 i, denied;

	for (denied = 0; denied < 2; denied++) {
		set_filter(vm, denied ? filter_of_one(RD, a.msr) : new_filter(ALLOW));
		for (i = 0; i < 6; i++) {
			int r = -EINVAL;

			/* Each of them would allow the one and deny the other. */
			f = filter_of_one(WR, other.msr);
			switch (i) {
			case 0: /* deny all, and no range */
				f = new_filter(DENY);
				break;
			case 1:
				f->f.flags |= 2;
				break;
			case 2:
				f->f.ranges[0].flags |= 4;
				break;
			case 3:
				f->f.ranges[0].flags = 0;
				break;
			case 4:
				f->f.ranges[0].nmsrs = 8 * KVM_MSR_FILTER_MAX_BITMAP_SIZE + 1;
				break;
			default:
				add_range(f, RDWR, NO_MSR, 64, false);
				f->f.ranges[1].bitmap = (u8 *)16;
				r = -EFAULT;
			}
			ASSERT(__set_filter(vm, &f->f) == r, "filter %u", i);
			ASSERT_EQ(vector_of(vm->vcpus[0], p, &a), denied ? GP_VECTOR : 0);
			ASSERT_EQ(vector_of(vm->vcpus[0], p, &other), 0);
		}
	}
	vm_free(vm);
}

/* The bitmaps are copied: what becomes of them afterwards changes nothing. */
TEST(bitmaps_are_copied)
{
	static const struct access a = R(HV_X64_MSR_VP_INDEX);
	struct filter *f = filter_of_one(RD, a.msr);
	struct ops_page *p;
	struct vm *vm = vm_with_ops(&p, 1);

	set_filter(vm, f);
	ASSERT_EQ(vector_of(vm->vcpus[0], p, &a), GP_VECTOR);
	memset(f->bits, 0xff, sizeof(f->bits));
	ASSERT_EQ(vector_of(vm->vcpus[0], p, &a), GP_VECTOR);
	set_filter(vm, f);
	ASSERT_EQ(vector_of(vm->vcpus[0], p, &a), 0);
	vm_free(vm);
}

/* A vCPU that comes later, and one that becomes a Hyper-V guest's later. */
TEST(filter_before_the_vcpu)
{
	static const struct access a = R(HV_X64_MSR_VP_INDEX);
	struct vm *vm = vm_create(0, 0);
	struct ops_page *p;
	struct vcpu *v;
	u32 i;

	set_filter(vm, filter_of_one(RD, a.msr));
	for (i = 0; i < 3; i++) {
		v = vm_add_vcpu(vm);
		p = vcpu_ops_init(v, 1);
		ASSERT_EQ(vector_of(v, p, &a), GP_VECTOR);
	}
	/* KVM refuses a new CPUID to a vCPU that has run, but takes the same one again. */
	vcpu_set_cpuid(v);
	ASSERT_EQ(vector_of(v, p, &a), GP_VECTOR);
	vm_free(vm);

	vm = vm_create(1, VM_NO_HV);
	v = vm->vcpus[0];
	set_filter(vm, filter_of_one(RD, a.msr));
	vm->flags &= ~VM_NO_HV;
	v = vm_add_vcpu(vm);
	p = vcpu_ops_init(v, 1);
	ASSERT_EQ(vector_of(v, p, &a), GP_VECTOR);
	set_filter(vm, new_filter(ALLOW));
	ASSERT_EQ(vector_of(v, p, &a), 0);
	vm_free(vm);
}

/* Two VMs at a time, and one after the other in the same memory of the kernel's. */
TEST(filters_belong_to_their_vm)
{
	static const struct access a = R(HV_X64_MSR_VP_INDEX);
	struct ops_page *p[2];
	struct vm *vm[2];
	u32 i, j, denied;

	for (i = 0; i < 12; i++) {
		denied = i % 3 == 0;
		for (j = 0; j < 2; j++) {
			vm[j] = vm_create(1, 0);
			p[j] = vcpu_ops_init(vm[j]->vcpus[0], 1);
			set_filter(vm[j],
				   filter_of_one(RD, j == denied ? HV_X64_MSR_RESET : a.msr));
		}
		for (j = 0; j < 8; j++)
			ASSERT_EQ(vector_of(vm[j & 1]->vcpus[0], p[j & 1], &a),
				  (j & 1) == denied ? 0 : GP_VECTOR);
		vm_free(vm[i & 1]);
		vm_free(vm[!(i & 1)]);
	}
}

/* The ioctl as a 32-bit VMM makes it. */
struct filter32 {
	u32 flags;
	struct {
		u32 flags, nmsrs, base, bitmap;
	} ranges[KVM_MSR_FILTER_MAX_RANGES];
};

#define SET_FILTER_32 _IOW(KVMIO, 0xc6, struct filter32)
#define IOCTL_32      54
#define GETPID_32     20

static long syscall32(u32 nr, u32 a, u32 b, u32 c)
{
	long r;

	asm volatile("int $0x80"
		     : "=a"(r)
		     : "0"(nr), "b"(a), "c"(b), "d"(c)
		     : "r8", "r9", "r10", "r11", "memory");
	return r;
}

static bool host_has_32_bit(void)
{
	int status;
	pid_t pid = fork();

	ASSERT(pid >= 0, "fork");
	if (!pid)
		_exit(syscall32(GETPID_32, 0, 0, 0) != getpid());
	ASSERT_EQ(waitpid(pid, &status, 0), pid);
	return WIFEXITED(status) && !WEXITSTATUS(status);
}

TEST(filter_of_a_32_bit_vmm)
{
	static const struct access a = R(HV_X64_MSR_VP_INDEX);
	static u64 bits[1]; /* below 4 GB, as all of this program */
	static struct filter32 f;
	struct ops_page *p;
	struct vm *vm;
	u32 i, allow;

	if (!host_has_32_bit())
		ktap_skip("the host has no 32-bit system calls");
	vm = vm_with_ops(&p, 1);
	f.ranges[0].flags = RD;
	f.ranges[0].nmsrs = 1;
	f.ranges[0].base = a.msr;
	f.ranges[0].bitmap = (u32)(uintptr_t)bits;
	for (i = 0; i < 10; i++) {
		allow = i % 3 == 1;
		bits[0] = allow;
		ASSERT_EQ(syscall32(IOCTL_32, (u32)vm->fd, (u32)SET_FILTER_32, (u32)(uintptr_t)&f),
			  0);
		ASSERT_EQ(vector_of(vm->vcpus[0], p, &a), allow ? 0 : GP_VECTOR);
	}
	vm_free(vm);
}

/* --- filters replaced under running and halted VPs ------------------------ */

#define RACE_MS	 6000
#define MIN_RACE 100
#define LOOKS	 4

/* What is denied, by bits, of which the lowest are below: a new filter has a new generation. */
#define STABLE	   BIT64(3)
#define GENERATION 4

static volatile u64 in_force;
static volatile bool stop;
static volatile u64 checks[2];

static u32 try_access(u32 n)
{
	u64 val;

	switch (n) {
	case 0:
		return __rdmsr(HV_X64_MSR_VP_INDEX, &val);
	case 1:
		return __wrmsr(HV_X64_MSR_EOM, 0);
	default:
		return __rdmsr(HV_X64_MSR_TPR, &val);
	}
}

/* Which of these are denied by generation @n: no period that a pair of addresses has. */
static u32 denied_by(u32 n)
{
	return n * 2654435761u >> 29;
}

/* As long as it is filter and not a new one before and after, it is in force in between. */
GUEST_CODE(follows_filters)
{
	u32 n = 0, vector;
	u64 before;

	while (!stop) {
		before = in_force;
		vector = try_access(n);
		if ((before & STABLE) && in_force == before) {
			checks[this_cpu()->id]++;
			GUEST_ASSERT_EQ(vector, before & BIT64(n) ? GP_VECTOR : 0);
		}
		n = (n + 1) % 3;
	}
}

/* Always of one size, so that the kernel's memory for the last but one is used again. */
static struct filter *filter_number(u32 n)
{
	struct filter *f = new_filter(ALLOW);

	add_range(f, RD, HV_X64_MSR_VP_INDEX, 1, !(denied_by(n) & 1));
	add_range(f, WR, HV_X64_MSR_EOM, 1, !(denied_by(n) & 2));
	add_range(f, RD, HV_X64_MSR_TPR, 1, !(denied_by(n) & 4));
	return f;
}

static void replace_filter(struct vm *vm, u32 n)
{
	in_force = (u64)n << GENERATION;
	set_filter(vm, filter_number(n));
	in_force = (u64)n << GENERATION | STABLE | denied_by(n);
}

static u64 now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (u64)t.tv_sec * 1000 + (u64)t.tv_nsec / 1000000;
}

/*
 * Let each guest look at one filter in 32 for as long as it takes for a few accesses: however
 * little of the processor it gets, it looks at some.
 */
static void replace_and_wait(struct vm *vm, u32 n)
{
	u64 seen[] = { checks[0], checks[1] };
	u32 i;

	replace_filter(vm, n);
	for (i = 0; n % 32 == 0 && i < vm->nr_vcpus; i++)
		while (checks[i] < seen[i] + LOOKS)
			sched_yield();
}

TEST(filters_replaced_under_running_vps)
{
	struct vm *vm = synic_vm(2);
	u64 end = now_ms() + RACE_MS;
	u32 n = 0, i;

	ktap_timeout(60);
	replace_filter(vm, n++);
	for (i = 0; i < 2; i++) {
		vcpu_entry(vm->vcpus[i], follows_filters);
		vcpu_start(vm->vcpus[i]);
	}
	while (now_ms() < end || n < MIN_RACE || checks[0] < MIN_RACE || checks[1] < MIN_RACE)
		replace_and_wait(vm, n++);
	stop = true;
	for (i = 0; i < 2; i++)
		vcpu_join(vm->vcpus[i]);
	ktap_log("%u filters, %llu and %llu accesses checked", n, (unsigned long long)checks[0],
		 (unsigned long long)checks[1]);
	vm_free(vm);
}

/* The same where user space is asked: the exit and the value are as the filter in force says. */
static volatile u32 race_exits;

static void *answer_exits(void *arg)
{
	struct vcpu *v = arg;
	u32 cmd;

	while ((cmd = synic_run(v)) != GUEST_DONE) {
		ASSERT(cmd == RUN_EXIT(KVM_EXIT_X86_RDMSR), "0x%x", cmd);
		ASSERT_EQ(v->run->msr.reason, FILTERED);
		ASSERT_EQ(v->run->msr.index, HV_X64_MSR_VP_INDEX);
		v->run->msr.error = 0;
		v->run->msr.data = ANSWER;
		race_exits++;
	}
	return NULL;
}

GUEST_CODE(follows_answers)
{
	u64 before, val;

	while (!stop) {
		before = in_force;
		val = rdmsr(HV_X64_MSR_VP_INDEX);
		if ((before & STABLE) && in_force == before) {
			checks[0]++;
			GUEST_ASSERT_EQ(val, before & 1 ? ANSWER : 0);
		}
	}
}

TEST(filters_replaced_under_exits)
{
	struct vm *vm = synic_vm(1);
	u64 end = now_ms() + RACE_MS / 3;
	u32 n = 0;

	want_exits(vm, FILTERED);
	replace_filter(vm, n++);
	vcpu_entry(vm->vcpus[0], follows_answers);
	ASSERT_EQ(pthread_create(&vm->vcpus[0]->worker, NULL, answer_exits, vm->vcpus[0]), 0);
	while (now_ms() < end || n < MIN_RACE || checks[0] < MIN_RACE || !race_exits)
		replace_and_wait(vm, n++);
	stop = true;
	vcpu_join(vm->vcpus[0]);
	ktap_log("%u filters, %llu accesses checked, %u exits", n, (unsigned long long)checks[0],
		 race_exits);
	vm_free(vm);
}

#define NR_HALTS 100

static volatile u32 woken;

/* The host puts the next filter in force while this VP sleeps, then wakes it. */
GUEST_CODE(halts_under_filters)
{
	u32 n;

	apic_enable();
	wrmsr(HV_X64_MSR_SINT(TEST_SINT), VEC);
	GUEST_SYNC(1);
	while (woken < NR_HALTS) {
		while (guest_irqs[VEC] <= woken)
			irqs_halt();
		for (n = 0; n < 3; n++)
			GUEST_ASSERT_EQ(try_access(n), in_force & BIT64(n) ? GP_VECTOR : 0);
		woken++;
	}
}

TEST(filters_replaced_under_a_halted_vp)
{
	static const u32 sint = TEST_SINT;
	struct vm *vm = synic_vm(1);
	struct vcpu *v = vm->vcpus[0];
	struct kvm_stat blocking = stat_open(v, "blocking");
	u32 n, i;
	int fd;

	guest_irq_handlers[VEC] = guest_irq_count;
	route_sints(vm, 0, &sint, 1);
	fd = irqfd_new(vm, GSI(0), NULL);
	vcpu_entry(v, halts_under_filters);
	synic_run_sync(v, 1);
	vcpu_start(v);
	for (n = 0; n < NR_HALTS; n++) {
		wait_halted(&blocking);
		/* More than one: the last is what counts. */
		for (i = 0; i <= n % 3; i++)
			replace_filter(vm, 3 * n + i);
		eventfd_signal(fd);
		while (woken <= n)
			sched_yield();
	}
	vcpu_join(v);
	stat_close(&blocking);
	vm_free(vm);
}

/* A VP that is out of KVM_RUN altogether. */
TEST(filters_replaced_while_nobody_runs)
{
	static const struct access a[] = { R(HV_X64_MSR_VP_INDEX), W(HV_X64_MSR_EOM, 0),
					   R(HV_X64_MSR_TPR) };
	struct ops_page *p;
	struct vm *vm = vm_with_ops(&p, 1);
	u32 n, i;

	for (n = 0; n < 300; n++) {
		set_filter(vm, filter_number(n));
		if (n % 5 == 4)
			set_filter(vm, filter_number(++n));
		for (i = 0; i < 3; i++)
			ASSERT_EQ(vector_of(vm->vcpus[0], p, &a[i]),
				  denied_by(n) >> i & 1 ? GP_VECTOR : 0);
	}
	vm_free(vm);
}
