// SPDX-License-Identifier: GPL-2.0-only
/*
 * Synthetic timers: CONFIG and COUNT, what each write does to the other, and the extreme values
 * of COUNT. Save and restore: migration_timers_test.c.
 */
#include "stimer.h"

/* --- registers ---------------------------------------------------------- */

STIMER_TEST(registers_read_write)
{
	u32 n;

	for (n = 0; n < HV_SYNIC_STIMERS; n++) {
		GUEST_ASSERT_EQ(rdmsr(CONFIG(n)), 0);
		GUEST_ASSERT_EQ(rdmsr(COUNT(n)), 0);
	}
	for (n = 0; n < HV_SYNIC_STIMERS; n++) {
		wrmsr(CONFIG(n), PERIODIC | HV_STIMER_LAZY | HV_STIMER_SINT(n + 2));
		wrmsr(COUNT(n), 0x123456789abcULL + n);
	}
	for (n = 0; n < HV_SYNIC_STIMERS; n++) {
		GUEST_ASSERT_EQ(rdmsr(CONFIG(n)),
				PERIODIC | HV_STIMER_LAZY | HV_STIMER_SINT(n + 2));
		GUEST_ASSERT_EQ(rdmsr(COUNT(n)), 0x123456789abcULL + n);
	}
	for (n = 0; n < HV_SYNIC_STIMERS; n++) {
		wrmsr(CONFIG(n), HV_STIMER_DIRECT | HV_STIMER_VECTOR(0xf0 + n));
		wrmsr(COUNT(n), ~0ULL - n);
		GUEST_ASSERT_EQ(rdmsr(CONFIG(n)), HV_STIMER_DIRECT | HV_STIMER_VECTOR(0xf0 + n));
		GUEST_ASSERT_EQ(rdmsr(COUNT(n)), ~0ULL - n);
	}
}

static void count_zero(u64 config)
{
	wrmsr(COUNT(0), FAR);
	wrmsr(CONFIG(0), config | ON);
	GUEST_ASSERT_EQ(rdmsr(CONFIG(0)), config | ON);
	wrmsr(COUNT(0), 0);
	GUEST_ASSERT_EQ(rdmsr(CONFIG(0)), config);
	GUEST_ASSERT_EQ(rdmsr(COUNT(0)), 0);
	/* It does not come back by itself. */
	wrmsr(COUNT(0), 1);
	GUEST_ASSERT_EQ(rdmsr(CONFIG(0)), config);
}

STIMER_TEST(count_zero_stops)
{
	setup();
	irqs_on();
	count_zero(TO_SINT);
	count_zero(TO_SINT | PERIODIC);
	count_zero(DIRECT);
	count_zero(DIRECT | PERIODIC);
	guest_settle(SETTLE_MS);
	assert_quiet();
}

STIMER_TEST(auto_enable)
{
	const u64 config = HV_STIMER_AUTO_ENABLE | TO_SINT;

	setup();
	wrmsr(CONFIG(0), config);
	GUEST_ASSERT_EQ(rdmsr(CONFIG(0)), config);
	wrmsr(COUNT(0), FAR + ref_now());
	GUEST_ASSERT_EQ(rdmsr(CONFIG(0)), config | ON);
	wrmsr(COUNT(0), 0);
	GUEST_ASSERT_EQ(rdmsr(CONFIG(0)), config);
	wrmsr(COUNT(0), in_ms(2));
	GUEST_ASSERT(wait_slot(SINT));
	/* It has expired: disabled, and enabled by the next count. */
	GUEST_ASSERT_EQ(rdmsr(CONFIG(0)), config);
	GUEST_ASSERT(take(SINT));
	wrmsr(COUNT(0), 1);
	GUEST_ASSERT(wait_slot(SINT));
	GUEST_ASSERT(take(SINT));
	GUEST_ASSERT_EQ(rdmsr(CONFIG(0)), config);
}

STIMER_TEST(no_auto_enable)
{
	setup();
	wrmsr(CONFIG(0), TO_SINT);
	wrmsr(COUNT(0), 1);
	GUEST_ASSERT_EQ(rdmsr(CONFIG(0)), TO_SINT);
	irqs_on();
	guest_settle(SETTLE_MS);
	assert_quiet();
	GUEST_ASSERT_EQ(rdmsr(CONFIG(0)), TO_SINT);
}

/* An enabled timer that is given SINT 0 is disabled at once, unless it is direct. */
STIMER_TEST(sint0_disables)
{
	start(0, ONE_SHOT, ref_now() + FAR);
	GUEST_ASSERT_EQ(rdmsr(CONFIG(0)), ONE_SHOT);
	wrmsr(CONFIG(0), ON);
	GUEST_ASSERT_EQ(rdmsr(CONFIG(0)), 0);

	start(0, ONE_SHOT | PERIODIC, FAR);
	wrmsr(CONFIG(0), ON | PERIODIC | HV_STIMER_AUTO_ENABLE);
	GUEST_ASSERT_EQ(rdmsr(CONFIG(0)), PERIODIC | HV_STIMER_AUTO_ENABLE);

	start(0, ON | DIRECT, ref_now() + FAR);
	wrmsr(CONFIG(0), ON | DIRECT);
	GUEST_ASSERT_EQ(rdmsr(CONFIG(0)), ON | DIRECT);
}

GUEST_CODE(reserved_bits)
{
	static const u8 bits[] = { 13, 14, 15, 20, 32, 63 };
	u32 i;

	wrmsr(CONFIG(0), TO_SINT);
	for (i = 0; i < ARRAY_SIZE(bits); i++) {
		GUEST_ASSERT_KNOWN_EQ(__wrmsr(CONFIG(0), TO_SINT | BIT64(bits[i])), GP_VECTOR);
		GUEST_ASSERT_EQ(rdmsr(CONFIG(0)), TO_SINT);
		/* An enabled timer goes on. */
		start(1, ONE_SHOT, ref_now() + FAR);
		GUEST_ASSERT_EQ(__wrmsr(CONFIG(1), ONE_SHOT | BIT64(bits[i])), GP_VECTOR);
		GUEST_ASSERT_EQ(rdmsr(CONFIG(1)), ONE_SHOT);
	}
}

TEST_KNOWN(reserved_bits_fault, "K7")
{
	timer_run(reserved_bits);
}

STIMER_TEST_KNOWN(direct_vectors_below_16_fault, "K7")
{
	u64 config;
	u32 v;

	for (v = 0; v < 16; v++) {
		config = ON | HV_STIMER_DIRECT | HV_STIMER_VECTOR(v);
		GUEST_ASSERT_KNOWN_EQ(__wrmsr(CONFIG(0), config), GP_VECTOR);
		GUEST_ASSERT_EQ(rdmsr(CONFIG(0)), 0);
	}
	GUEST_ASSERT_EQ(__wrmsr(CONFIG(0), ON | HV_STIMER_DIRECT | HV_STIMER_VECTOR(16)), 0);
	/* Without direct mode the field means nothing. */
	GUEST_ASSERT_EQ(__wrmsr(CONFIG(1), TO_SINT | HV_STIMER_VECTOR(5)), 0);
}

TEST(host_never_auto_enables)
{
	const u64 config = HV_STIMER_AUTO_ENABLE | TO_SINT;
	struct vm *vm = timer_vm();
	struct vcpu *v = vm->vcpus[0];

	vcpu_set_msr(v, CONFIG(0), config);
	vcpu_set_msr(v, COUNT(0), 1);
	ASSERT_EQ(vcpu_get_msr(v, CONFIG(0)), config);
	vcpu_set_msr(v, COUNT(1), 1);
	vcpu_set_msr(v, CONFIG(1), config);
	ASSERT_EQ(vcpu_get_msr(v, CONFIG(1)), config);
	ASSERT_EQ(vcpu_get_msr(v, COUNT(1)), 1);
	vm_free(vm);
}

/* A guest can set both on stock, and its VM is restored here. */
TEST_KNOWN(restored_reserved_bits_are_dropped, "D33")
{
	struct vm *vm = timer_vm();
	struct vcpu *v = vm->vcpus[0];

	vcpu_set_msr(v, CONFIG(0), TO_SINT | BIT64(13) | BIT64(63));
	ASSERT_KNOWN(vcpu_get_msr(v, CONFIG(0)) == TO_SINT, "bits kept");
	vm_free(vm);
}

TEST(restored_low_vectors_are_kept)
{
	struct vm *vm = timer_vm();
	struct vcpu *v = vm->vcpus[0];
	u32 vector;

	for (vector = 0; vector < 16; vector++) {
		u64 config = ON | HV_STIMER_DIRECT | HV_STIMER_VECTOR(vector);

		vcpu_set_msr(v, CONFIG(0), config);
		ASSERT_EQ(vcpu_get_msr(v, CONFIG(0)), config);
	}
	vm_free(vm);
}

TEST(host_without_synic)
{
	struct vm *vm = vm_create(1, 0);
	struct vcpu *v = vm->vcpus[0];

	ASSERT_EQ(__vcpu_set_msr(v, CONFIG(0), 0), 1);
	ASSERT_EQ(__vcpu_set_msr(v, COUNT(0), 0), 1);
	ASSERT_EQ(__vcpu_set_msr(v, CONFIG(0), ONE_SHOT), 0);
	ASSERT_EQ(__vcpu_set_msr(v, COUNT(0), 1), 0);
	vm_free(vm);
}

/* --- extreme values ----------------------------------------------------- */

STIMER_TEST(periodic_count_zero)
{
	static const u64 configs[] = {
		ONE_SHOT | PERIODIC,
		ONE_SHOT | PERIODIC | HV_STIMER_LAZY,
		ON | DIRECT | PERIODIC,
		ON | DIRECT | PERIODIC | HV_STIMER_LAZY,
		ONE_SHOT,
		ON | DIRECT,
	};
	u32 i;

	setup();
	irqs_on();
	for (i = 0; i < ARRAY_SIZE(configs); i++) {
		start(0, configs[i], 0);
		guest_settle(SETTLE_MS);
		assert_quiet();
		wrmsr(CONFIG(0), 0);
	}
}

/* Counts so far ahead that nanoseconds or a signed number overflow: no tick now. */
STIMER_TEST(counts_beyond_a_century)
{
	static const struct {
		u64 config, count;
	} t[] = {
		{ ONE_SHOT, BIT64(63) },
		{ ON | DIRECT, BIT64(63) },
		{ ONE_SHOT, 2 * CENTURY },
		{ ON | DIRECT, 2 * CENTURY },
		{ ONE_SHOT, BIT64(63) / 100 },
		{ ONE_SHOT, BIT64(63) / 50 },
		{ ONE_SHOT | PERIODIC, 2 * CENTURY },
		{ ON | DIRECT | PERIODIC, 2 * CENTURY },
		{ ONE_SHOT | PERIODIC, BIT64(63) },
		{ ON | DIRECT | PERIODIC, BIT64(63) },
		{ ONE_SHOT | PERIODIC, ~0ULL },
		{ ON | DIRECT | PERIODIC, ~0ULL },
		{ ONE_SHOT | PERIODIC | HV_STIMER_LAZY, ~0ULL },
		{ ONE_SHOT | PERIODIC, BIT64(63) - 1 },
		{ ONE_SHOT | PERIODIC, ~0ULL / 100 },
	};
	u32 i;

	setup();
	irqs_on();
	for (i = 0; i < ARRAY_SIZE(t); i++) {
		start(i % 4, t[i].config, t[i].count);
		guest_settle(SETTLE_MS);
		assert_quiet();
		GUEST_ASSERT_EQ(rdmsr(CONFIG(i % 4)), t[i].config);
		GUEST_ASSERT_EQ(rdmsr(COUNT(i % 4)), t[i].count);
	}
}

/* The distance is signed: a count just behind the wrap is in the past, not far ahead. */
static void wrapped(u64 config)
{
	setup();
	irqs_on();
	start(0, config, ~0ULL);
	GUEST_ASSERT_KNOWN_EQ(guest_wait(&guest_irqs[VEC], 1, known_ms), true);
	GUEST_ASSERT_EQ(rdmsr(CONFIG(0)), config & ~ON);
	if (!(config & HV_STIMER_DIRECT))
		GUEST_ASSERT_EQ(taken[0].expiration, ~0ULL);
}

STIMER_TEST_KNOWN(one_shot_behind_the_wrap, "D12")
{
	wrapped(ONE_SHOT);
}

STIMER_TEST_KNOWN(one_shot_direct_behind_the_wrap, "D12")
{
	wrapped(ON | DIRECT);
}

/* Free a VM with running timers and a message page outside of memory. */
GUEST_CODE(leave_all_running)
{
	setup();
	start(0, ONE_SHOT | PERIODIC, REF_MS(1));
	start(1, ON | DIRECT | PERIODIC, REF_MS(1));
	start(2, ONE_SHOT, in_ms(1));
	start(3, ONE_SHOT, ref_now() + FAR);
	wrmsr(HV_X64_MSR_SIMP, GPA_NOWHERE | HV_SYNIC_ENABLE);
	wrmsr(HV_X64_MSR_SIMP, 0xfffffffffffff000ULL | HV_SYNIC_ENABLE);
	guest_settle(SETTLE_MS);
}

TEST(teardown_with_running_timers)
{
	struct vm *vm;
	u32 i;

	for (i = 0; i < 10; i++) {
		vm = timer_vm();
		vcpu_entry(vm->vcpus[0], leave_all_running);
		synic_run_done(vm->vcpus[0]);
		vm_free(vm);
	}
}
