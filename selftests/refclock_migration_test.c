// SPDX-License-Identifier: GPL-2.0-only
/*
 * The reference time over save and restore: the page, TSC emulation, which freezes it, and the
 * reenlightenment registers.
 */
#include <string.h>
#include <unistd.h>

#include "module.h"
#include "refclock.h"

/* --- save and restore ---------------------------------------------------- */

struct saved {
	u64 clock, ref_tsc, count, tsc, emulation;
	struct tsc_page page;
};

static void save(struct vm *vm, struct saved *s)
{
	struct vcpu *v = vm->vcpus[0];

	s->tsc = vcpu_get_msr(v, MSR_IA32_TSC);
	s->clock = get_clock(vm).clock;
	s->count = vcpu_get_msr(v, HV_X64_MSR_TIME_REF_COUNT);
	s->ref_tsc = vcpu_get_msr(v, HV_X64_MSR_REFERENCE_TSC);
	s->emulation = vcpu_get_msr(v, HV_X64_MSR_TSC_EMULATION_CONTROL);
	s->page = ref_page;
	vm_free(vm);
}

/*
 * What a VMM does; the page itself comes with the RAM. The VMM takes @pause_us from the TSC to
 * KVM's clock.
 */
static struct vm *restore_slowly(u32 nr_vcpus, struct saved *s, u32 pause_us)
{
	struct vm *vm = vm_create(nr_vcpus, 0);
	u32 i;

	memcpy(&ref_page, &s->page, sizeof(ref_page));
	for (i = 0; i < nr_vcpus; i++) {
		vcpu_set_msr(vm->vcpus[i], MSR_IA32_TSC, s->tsc);
		start_reader(vm->vcpus[i]);
	}
	if (pause_us)
		usleep(pause_us);
	set_clock(vm, s->clock);
	vcpu_set_msr(vm->vcpus[0], HV_X64_MSR_TSC_EMULATION_CONTROL, s->emulation);
	vcpu_set_msr(vm->vcpus[0], HV_X64_MSR_REFERENCE_TSC, s->ref_tsc);
	vcpu_set_msr(vm->vcpus[0], HV_X64_MSR_TIME_REF_COUNT, s->count);
	return vm;
}

static struct vm *restore(u32 nr_vcpus, struct saved *s)
{
	return restore_slowly(nr_vcpus, s, 0);
}

TEST(save_and_restore)
{
	struct vm *vm = vm_with_page(2);
	struct saved s;
	u64 start, elapsed, t;
	u32 i;

	advance_clock(vm, 50 * JUMP_SEC);
	alternate(vm, 4);
	save(vm, &s);

	start = host_time();
	vm = restore(2, &s);
	ASSERT_EQ(vcpu_get_msr(vm->vcpus[0], HV_X64_MSR_REFERENCE_TSC), ref_tsc(&ref_page));
	for (i = 0; i < 2; i++) {
		assert_page_valid(vm->vcpus[i]);
		t = last_time;
		elapsed = host_time() - start;
		ASSERT(t <= s.clock / 100 + elapsed + elapsed / 100 + REF_PER_MS,
		       "saved %llu, now %llu, %llu passed", (unsigned long long)s.clock / 100,
		       (unsigned long long)t, (unsigned long long)elapsed);
	}
	/* A guest that was stopped half-way through a read must see that it has to start again. */
	ASSERT(ref_page.sequence != s.page.sequence ||
		       (ref_page.scale == s.page.scale && ref_page.offset == s.page.offset),
	       "another clock under the same sequence 0x%x", ref_page.sequence);
	alternate(vm, 20);
	vm_free(vm);
}

/* A VMM that puts a VM back to a snapshot: the other vCPU may be the first one to run. */
TEST_KNOWN(restored_page_is_renewed_before_any_vp_reads_it, "K46")
{
	struct vm *vm = vm_with_page(2);
	volatile struct reading *r = &readings[1];
	struct tsc_page old = ref_page;

	guest_write(vm->vcpus[0], HV_X64_MSR_REFERENCE_TSC, 0);
	ref_page.sequence = 0;
	alternate(vm, 4);
	ref_page = old;
	ref_page.offset += JUMP_SEC * REF_PER_SEC;
	vcpu_set_msr(vm->vcpus[0], HV_X64_MSR_REFERENCE_TSC, ref_tsc(&ref_page));
	vcpu_run_sync(vm->vcpus[1], 1);
	ASSERT_KNOWN(!r->valid || r->page <= r->after, "page %llu, register %llu",
		     (unsigned long long)r->page, (unsigned long long)r->after);
	alternate(vm, 4);
	vm_free(vm);
}

/*
 * No guest has seen what the page says while the VMM restores. A time ahead of KVM_GET_CLOCK would
 * go back when the VM is saved and restored by stock KVM.
 */
TEST(slow_restore_does_not_put_the_time_ahead)
{
	struct vm *vm = vm_with_page(2);
	u64 before, after;
	struct saved s;
	u32 i;

	save(vm, &s);
	vm = restore_slowly(2, &s, 100000);
	for (i = 0; i < 2; i++) {
		before = get_clock(vm).clock / 100;
		read_clock(vm->vcpus[i]);
		after = get_clock(vm).clock / 100;
		ASSERT(last_time + REF_PER_MS >= before && last_time <= after + REF_PER_MS,
		       "vCPU %u: time %llu, KVM's clock %llu to %llu", i,
		       (unsigned long long)last_time, (unsigned long long)before,
		       (unsigned long long)after);
	}
	vm_free(vm);
}

/* Saved and restored while disabled: nothing is written to guest memory. */
TEST(save_and_restore_disabled)
{
	struct vm *vm = vm_with_page(1);
	struct saved s;

	guest_write(vm->vcpus[0], HV_X64_MSR_REFERENCE_TSC, gpa(&ref_page));
	memset(&ref_page, 0, sizeof(ref_page));
	save(vm, &s);
	vm = restore(1, &s);
	read_clock(vm->vcpus[0]);
	read_clock(vm->vcpus[0]);
	ASSERT_EQ(vcpu_get_msr(vm->vcpus[0], HV_X64_MSR_REFERENCE_TSC), gpa(&ref_page));
	ASSERT_EQ(ref_page.sequence, 0);
	ASSERT_EQ(ref_page.scale, 0);
	vm_free(vm);
}

/* A restored vCPU may run before the VMM is through with the others. */
TEST(host_enables_the_page)
{
	struct vm *vm = vm_create(2, 0);

	require_tsc_clocksource();
	start_reader(vm->vcpus[0]);
	start_reader(vm->vcpus[1]);
	last_time = 0;
	read_clock(vm->vcpus[0]);
	ASSERT_EQ(ref_page.sequence, 0);
	vcpu_set_msr(vm->vcpus[1], HV_X64_MSR_REFERENCE_TSC, ref_tsc(&ref_page));
	read_clock(vm->vcpus[1]);
	assert_page_valid(vm->vcpus[0]);
	assert_page_valid(vm->vcpus[1]);
	vcpu_set_msr(vm->vcpus[0], HV_X64_MSR_REFERENCE_TSC, 0);
	memset(&ref_page, 0, sizeof(ref_page));
	alternate(vm, 4);
	ASSERT_EQ(ref_page.sequence, 0);
	vm_free(vm);
}

/* --- TSC emulation: the page is frozen ----------------------------------- */

TEST(page_frozen_during_tsc_emulation)
{
	struct vm *vm = vm_with_page(1);
	struct vcpu *v = vm->vcpus[0];
	struct tsc_page old;

	guest_write(v, HV_X64_MSR_TSC_EMULATION_CONTROL, 1);
	memcpy(&old, &ref_page, sizeof(old));
	advance_clock(vm, JUMP_SEC);
	assert_page_valid(v);
	ASSERT_EQ(ref_page.sequence, old.sequence);
	ASSERT_EQ(ref_page.scale, old.scale);
	ASSERT_EQ(ref_page.offset, old.offset);

	guest_write(v, HV_X64_MSR_TSC_EMULATION_CONTROL, 0);
	advance_clock(vm, 2 * JUMP_SEC);
	assert_page_valid(v);
	ASSERT(ref_page.sequence != old.sequence, "sequence still 0x%x", old.sequence);
	ASSERT(ref_page.offset != old.offset, "the same clock");
	vm_free(vm);
}

/* A frozen page travels as it is; the register follows it. */
TEST(frozen_page_is_restored_as_it_is)
{
	struct vm *vm = vm_with_page(1);
	struct saved s;

	guest_write(vm->vcpus[0], HV_X64_MSR_TSC_EMULATION_CONTROL, 1);
	save(vm, &s);
	ASSERT_EQ(s.emulation, 1);
	vm = restore(1, &s);
	last_time = 0;
	assert_page_valid(vm->vcpus[0]);
	ASSERT_EQ(ref_page.sequence, s.page.sequence);
	ASSERT_EQ(ref_page.scale, s.page.scale);
	ASSERT_EQ(ref_page.offset, s.page.offset);
	vm_free(vm);
}

/* User space that looks between KVM_SET_CLOCK and KVM_RUN sees the time that the guest will see. */
TEST(user_space_reads_the_frozen_clock)
{
	struct vm *vm = vm_with_page(1);
	struct vcpu *v = vm->vcpus[0];
	u64 now;

	guest_write(v, HV_X64_MSR_TSC_EMULATION_CONTROL, 1);
	set_clock(vm, get_clock(vm).clock + JUMP_SEC * NS_PER_SEC);
	now = vcpu_get_msr(v, HV_X64_MSR_TIME_REF_COUNT);
	ASSERT(now < JUMP_SEC * REF_PER_SEC, "%llu", (unsigned long long)now);
	last_time = now;
	read_clock(v);
	vm_free(vm);
}

/* Likewise after it has set the TSC, by which the guest will read the page. */
TEST(user_space_reads_the_frozen_clock_by_the_new_tsc)
{
	struct vm *vm;
	struct vcpu *v;
	u64 now, hz;

	if (!module_loaded())
		ktap_skip("the register follows KVM's clock, whatever the page says");
	vm = vm_with_page(1);
	v = vm->vcpus[0];
	hz = 1000ULL * (u64)__vcpu_ioctl(v, KVM_GET_TSC_KHZ, NULL);
	guest_write(v, HV_X64_MSR_TSC_EMULATION_CONTROL, 1);
	vcpu_set_msr(v, MSR_IA32_TSC, vcpu_get_msr(v, MSR_IA32_TSC) + JUMP_SEC * hz);
	now = vcpu_get_msr(v, HV_X64_MSR_TIME_REF_COUNT);
	ASSERT(now >= JUMP_SEC * REF_PER_SEC, "%llu", (unsigned long long)now);
	last_time = now;
	read_clock(v);
	vm_free(vm);
}

/* The guest's view of the time does not depend on the host's clock, whatever becomes of that. */
TEST(frozen_page_without_a_master_clock)
{
	struct vm *vm = vm_with_page(2);
	struct vcpu *v = vm->vcpus[0];
	u64 hz = 1000ULL * (u64)__vcpu_ioctl(v, KVM_GET_TSC_KHZ, NULL);
	struct tsc_page old;
	u32 i;

	guest_write(v, HV_X64_MSR_TSC_EMULATION_CONTROL, 1);
	memcpy(&old, &ref_page, sizeof(old));
	vcpu_set_msr(vm->vcpus[1], MSR_IA32_TSC, vcpu_get_msr(v, MSR_IA32_TSC) + 100 * hz);
	for (i = 0; i < 4; i++) {
		vcpu_run_sync(vm->vcpus[1], 1);
		assert_page_valid(v);
	}
	assert_master_clock(vm, false);
	ASSERT_EQ(ref_page.sequence, old.sequence);
	ASSERT_EQ(ref_page.scale, old.scale);
	ASSERT_EQ(ref_page.offset, old.offset);
	vm_free(vm);
}

/* User space lets go of a page, and without a master clock no page can show the time. */
TEST_KNOWN(host_lets_go_without_a_master_clock, "K50")
{
	struct vm *vm = vm_with_page(2);
	struct vcpu *v = vm->vcpus[0];
	u64 hz = 1000ULL * (u64)__vcpu_ioctl(v, KVM_GET_TSC_KHZ, NULL);
	u32 i;

	guest_write(v, HV_X64_MSR_TSC_EMULATION_CONTROL, 1);
	vcpu_set_msr(vm->vcpus[1], MSR_IA32_TSC, vcpu_get_msr(v, MSR_IA32_TSC) + 100 * hz);
	for (i = 0; i < 4; i++) {
		vcpu_run_sync(vm->vcpus[1], 1);
		assert_page_valid(v);
	}
	assert_master_clock(vm, false);
	vcpu_set_msr(v, HV_X64_MSR_TSC_EMULATION_CONTROL, 0);
	last_time = 0;
	read_clock(v);
	ASSERT_KNOWN(!seq_valid(ref_page.sequence), "the page still shows a clock: 0x%x",
		     ref_page.sequence);
	vm_free(vm);
}

/* A guest that disables its frozen page gets the host's clock again. */
TEST(frozen_page_is_given_up)
{
	struct vm *vm = vm_with_page(1);
	struct saved s;
	struct vcpu *v;

	guest_write(vm->vcpus[0], HV_X64_MSR_TSC_EMULATION_CONTROL, 1);
	save(vm, &s);
	s.page.offset += JUMP_SEC * REF_PER_SEC;
	vm = restore(1, &s);
	v = vm->vcpus[0];
	last_time = 0;
	assert_page_valid(v);
	ASSERT(last_time >= JUMP_SEC * REF_PER_SEC, "the register does not follow the page");
	last_time = 0;
	/* The guest does not read the page that it has disabled. */
	ref_page.sequence = 0;
	guest_write(v, HV_X64_MSR_REFERENCE_TSC, 0);
	ASSERT(last_time < JUMP_SEC * REF_PER_SEC, "the register still follows the page");
	vm_free(vm);
}

/* --- reenlightenment registers ------------------------------------------- */

#define REENLIGHT_ENABLE     BIT64(16)
#define REENLIGHT_TARGET(vp) ((u64)(vp) << 32)

GUEST_TEST(reenlightenment_storage)
{
	static const u64 controls[] = {
		0xee,
		0xee | REENLIGHT_ENABLE,
		0xee | REENLIGHT_ENABLE | REENLIGHT_TARGET(1),
		REENLIGHT_TARGET(0xffffffff),
		0,
	};
	u32 i;

	GUEST_ASSERT_EQ(rdmsr(HV_X64_MSR_REENLIGHTENMENT_CONTROL), 0);
	GUEST_ASSERT_EQ(rdmsr(HV_X64_MSR_TSC_EMULATION_CONTROL), 0);
	GUEST_ASSERT_EQ(rdmsr(HV_X64_MSR_TSC_EMULATION_STATUS), 0);
	for (i = 0; i < ARRAY_SIZE(controls); i++) {
		GUEST_ASSERT_EQ(__wrmsr(HV_X64_MSR_REENLIGHTENMENT_CONTROL, controls[i]), 0);
		GUEST_ASSERT_EQ(rdmsr(HV_X64_MSR_REENLIGHTENMENT_CONTROL), controls[i]);
	}
	wrmsr(HV_X64_MSR_TSC_EMULATION_CONTROL, 1);
	GUEST_ASSERT_EQ(rdmsr(HV_X64_MSR_TSC_EMULATION_CONTROL), 1);
	GUEST_ASSERT_EQ(rdmsr(HV_X64_MSR_TSC_EMULATION_STATUS), 0);
	wrmsr(HV_X64_MSR_TSC_EMULATION_CONTROL, 0);
	GUEST_ASSERT_EQ(rdmsr(HV_X64_MSR_TSC_EMULATION_CONTROL), 0);
}

/* The guest can only end an emulation. */
GUEST_TEST(emulation_status_takes_only_zero)
{
	u32 bit;

	for (bit = 0; bit < 64; bit++)
		GUEST_ASSERT_EQ(__wrmsr(HV_X64_MSR_TSC_EMULATION_STATUS, BIT64(bit)), GP_VECTOR);
	GUEST_ASSERT_EQ(rdmsr(HV_X64_MSR_TSC_EMULATION_STATUS), 0);
	wrmsr(HV_X64_MSR_TSC_EMULATION_STATUS, 0);
	GUEST_ASSERT_EQ(rdmsr(HV_X64_MSR_TSC_EMULATION_STATUS), 0);
}

/* 15:8 and 31:17 are reserved. */
GUEST_TEST_KNOWN(reenlightenment_reserved_bits, "D13")
{
	const u64 good = 0xee | REENLIGHT_ENABLE | REENLIGHT_TARGET(3);
	u32 bit;

	wrmsr(HV_X64_MSR_REENLIGHTENMENT_CONTROL, good);
	for (bit = 8; bit < 32; bit++) {
		if (bit == 16)
			continue;
		GUEST_ASSERT_KNOWN_EQ(__wrmsr(HV_X64_MSR_REENLIGHTENMENT_CONTROL,
					      good | BIT64(bit)),
				      GP_VECTOR);
		GUEST_ASSERT_EQ(rdmsr(HV_X64_MSR_REENLIGHTENMENT_CONTROL), good);
	}
}

GUEST_TEST_KNOWN(emulation_control_reserved_bits, "D13")
{
	u32 bit;

	wrmsr(HV_X64_MSR_TSC_EMULATION_CONTROL, 1);
	for (bit = 1; bit < 64; bit++) {
		GUEST_ASSERT_KNOWN_EQ(__wrmsr(HV_X64_MSR_TSC_EMULATION_CONTROL, BIT64(bit)),
				      GP_VECTOR);
		GUEST_ASSERT_EQ(rdmsr(HV_X64_MSR_TSC_EMULATION_CONTROL), 1);
	}
}

GUEST_CODE(reenlightenment_restored)
{
	GUEST_ASSERT_EQ(rdmsr(HV_X64_MSR_REENLIGHTENMENT_CONTROL),
			0xef | REENLIGHT_ENABLE | REENLIGHT_TARGET(1));
	GUEST_ASSERT_EQ(rdmsr(HV_X64_MSR_TSC_EMULATION_CONTROL), 1);
	GUEST_ASSERT_EQ(rdmsr(HV_X64_MSR_TSC_EMULATION_STATUS), 1);
	GUEST_ASSERT_EQ(__wrmsr(HV_X64_MSR_TSC_EMULATION_STATUS, 1), GP_VECTOR);
	wrmsr(HV_X64_MSR_TSC_EMULATION_STATUS, 0);
	GUEST_ASSERT_EQ(rdmsr(HV_X64_MSR_TSC_EMULATION_STATUS), 0);
}

/* Restored by the host through one vCPU, seen by another. */
TEST(reenlightenment_partition_wide)
{
	struct vm *vm = vm_create(2, 0);
	struct vcpu *v = vm->vcpus[0];

	vcpu_set_msr(v, HV_X64_MSR_REENLIGHTENMENT_CONTROL,
		     0xef | REENLIGHT_ENABLE | REENLIGHT_TARGET(1));
	vcpu_set_msr(v, HV_X64_MSR_TSC_EMULATION_CONTROL, 1);
	vcpu_set_msr(v, HV_X64_MSR_TSC_EMULATION_STATUS, 1);
	vcpu_entry(vm->vcpus[1], reenlightenment_restored);
	vcpu_run_done(vm->vcpus[1]);
	ASSERT_EQ(vcpu_get_msr(v, HV_X64_MSR_TSC_EMULATION_STATUS), 0);
	ASSERT_EQ(vcpu_get_msr(v, HV_X64_MSR_REENLIGHTENMENT_CONTROL),
		  0xef | REENLIGHT_ENABLE | REENLIGHT_TARGET(1));
	vm_free(vm);
}

/* A guest can set them on stock, and its VM is restored here. */
TEST_KNOWN(restored_reserved_bits_are_dropped, "D33")
{
	struct vm *vm = vm_create(1, 0);
	struct vcpu *v = vm->vcpus[0];

	vcpu_set_msr(v, HV_X64_MSR_REENLIGHTENMENT_CONTROL, 0xef | REENLIGHT_ENABLE | BIT64(31));
	ASSERT_KNOWN(vcpu_get_msr(v, HV_X64_MSR_REENLIGHTENMENT_CONTROL) ==
			     (0xef | REENLIGHT_ENABLE),
		     "bits kept");
	vcpu_set_msr(v, HV_X64_MSR_TSC_EMULATION_CONTROL, 1 | BIT64(1));
	ASSERT_KNOWN(vcpu_get_msr(v, HV_X64_MSR_TSC_EMULATION_CONTROL) == 1, "bits kept");
	vcpu_set_msr(v, HV_X64_MSR_TSC_EMULATION_STATUS, 1 | BIT64(63));
	ASSERT_KNOWN(vcpu_get_msr(v, HV_X64_MSR_TSC_EMULATION_STATUS) == 1, "bits kept");
	vm_free(vm);
}
