// SPDX-License-Identifier: GPL-2.0-only
/*
 * HvCallRestorePartitionTime, which extra_calls= lists: the reference time and the TSCs of all VPs
 * go on from what the guest says, by the register, the page, the timers and what user space saves.
 * Inserts and removes the module by itself. TLFS chapter "Hypercall Reference".
 *
 * Only the guest's TSC and its reference time are compared, no clock of the host's.
 */
#include <string.h>

#include "apic.h"
#include "extra.h"
#include "module.h"
#include "refclock.h"

#define CALL	      HVCALL_RESTORE_PARTITION_TIME
#define LOAD	      "extra_calls=RESTORE_PARTITION_TIME"
#define EMULATION     HV_X64_MSR_TSC_EMULATION_CONTROL
#define HOUR	      (3600 * REF_PER_SEC)
#define TIME_MAX      (BIT64(62) / 100)
#define TIMER_VEC     0x91
#define APIC_VEC      0x92
#define SLACK_TICKS   1000 /* 100 us, of a clock that does not follow one TSC */
#define MOVES	      100
#define REENLIGHTENED (BIT64(16) | 0x93) /* Enabled, and a vector */

static struct {
	u64 partition;
	u32 sequence, rsvdz;
	u64 time, tsc;
} ask __attribute__((aligned(4096)));

static volatile struct {
	bool tsc_is_now;
	u64 result, tsc, adjust, before, tsc_after, adjust_after, after;
} done;

static u64 ask_gpa;

GUEST_CODE(restores)
{
	for (;;) {
		u64 result;

		done.before = guest_time(&ref_page);
		done.adjust = rdmsr(MSR_IA32_TSC_ADJUST);
		done.tsc = rdtsc();
		if (done.tsc_is_now)
			ask.tsc = done.tsc;
		GUEST_ASSERT_EQ(__hypercall(CALL, ask_gpa, 0, &result), 0);
		done.result = result;
		done.tsc_after = rdtsc();
		done.adjust_after = rdmsr(MSR_IA32_TSC_ADJUST);
		done.after = rdmsr(HV_X64_MSR_TIME_REF_COUNT);
		GUEST_SYNC(1);
	}
}

static volatile u64 timer_at, apic_at;
static volatile bool halts, restored;
static u64 timer_due, deadline;
static s64 time_step, tsc_step;

static void on_timer(struct guest_frame *f)
{
	(void)f;
	timer_at = rdmsr(HV_X64_MSR_TIME_REF_COUNT);
	apic_eoi();
}

static void on_deadline(struct guest_frame *f)
{
	(void)f;
	apic_at = rdtsc();
	apic_eoi();
}

/* A timer of each clock, @timer_due and @deadline from now, relative to which the clocks go. */
GUEST_CODE(arms_timers)
{
	apic_enable();
	apic_write(APIC_LVTT, APIC_LVTT_DEADLINE | APIC_VEC);
	deadline += rdtsc();
	wrmsr(MSR_IA32_TSC_DEADLINE, deadline);
	timer_due += rdmsr(HV_X64_MSR_TIME_REF_COUNT);
	wrmsr(HV_X64_MSR_STIMER0_COUNT, timer_due);
	wrmsr(HV_X64_MSR_STIMER0_CONFIG,
	      HV_STIMER_ENABLE | HV_STIMER_DIRECT | HV_STIMER_VECTOR(TIMER_VEC));
	GUEST_SYNC(1);
	while (!timer_at || !apic_at) {
		if (halts)
			irqs_halt();
		else
			irqs_window();
	}
	GUEST_ASSERT(restored);
	GUEST_ASSERT(timer_at >= timer_due);
	GUEST_ASSERT(apic_at >= deadline);
}

static volatile u64 time_before, armed_at;

GUEST_CODE(moves_the_clocks)
{
	u64 result;

	ask.tsc = rdtsc() + tsc_step;
	time_before = rdmsr(HV_X64_MSR_TIME_REF_COUNT);
	ask.time = time_before + time_step;
	restored = true;
	GUEST_ASSERT_EQ(__hypercall(CALL, ask_gpa, 0, &result), 0);
	GUEST_ASSERT_EQ(result, 0);
}

static struct {
	u32 msr;
	u64 val;
} todo;

GUEST_CODE(writes)
{
	wrmsr(todo.msr, todo.val);
}

static void on_tick(struct guest_frame *f)
{
	(void)f;
	apic_eoi();
}

/* A timer of the local APIC, while another one ends HLT after HLT. */
GUEST_CODE(arms_a_one_shot)
{
	u64 taken;

	apic_enable();
	wrmsr(HV_X64_MSR_STIMER0_COUNT, 10 * REF_PER_MS);
	wrmsr(HV_X64_MSR_STIMER0_CONFIG, HV_STIMER_ENABLE | HV_STIMER_PERIODIC | HV_STIMER_DIRECT |
						 HV_STIMER_VECTOR(TIMER_VEC));
	apic_write(APIC_TDCR, APIC_DIVIDE_BY_1);
	apic_write(APIC_LVTT, APIC_VEC);
	armed_at = rdmsr(HV_X64_MSR_TIME_REF_COUNT);
	apic_write(APIC_TMICT, (u32)deadline);
	GUEST_SYNC(1);
	while (!apic_at)
		irqs_halt();
	GUEST_ASSERT(restored);
	taken = rdmsr(HV_X64_MSR_TIME_REF_COUNT) - ask.time + (time_before - armed_at);
	/* @deadline is in ns. What passes between the reading and the call is not counted. */
	GUEST_ASSERT(taken * 100 >= deadline / 2);
	GUEST_ASSERT(taken < 60 * REF_PER_SEC);
}

static volatile u64 latest;
static volatile u32 turn_lock, calls;

/* Guest: read the page, and the time never goes back on any VP. */
static void watch(void)
{
	u32 old;
	u64 t;

	do {
		old = 1;
		asm volatile("xchg %0, %1" : "+r"(old), "+m"(turn_lock) : : "memory");
	} while (old);
	t = guest_time(&ref_page);
	GUEST_ASSERT(t >= latest);
	latest = t;
	asm volatile("" : : : "memory");
	turn_lock = 0;
}

GUEST_CODE(watches)
{
	u32 rest = 1000;

	while (calls < MOVES)
		watch();
	while (rest--)
		watch();
}

/* The TSC goes to and fro, and the time forward. */
GUEST_CODE(restores_and_watches)
{
	u64 result;
	u32 i;

	for (i = 0; i < MOVES; i++) {
		watch();
		ask.tsc = (u64)(i * 7 % 5) << (i % 3 ? 40 : 20);
		ask.sequence = i + 1;
		ask.time = rdmsr(HV_X64_MSR_TIME_REF_COUNT) + HOUR;
		GUEST_ASSERT_EQ(__hypercall(CALL, ask_gpa, 0, &result), 0);
		GUEST_ASSERT_EQ(result, 0);
		calls++;
	}
}

/* --- host ----------------------------------------------------------------- */

/* Of the page before the first call: its rate. */
static u64 scale;

static void entry(struct vm *vm, void (*code)(void))
{
	ask_gpa = gpa(&ask);
	memset(&ask, 0, sizeof(ask));
	ask.partition = PARTITION_SELF;
	memset((void *)&done, 0, sizeof(done));
	done.tsc_is_now = true;
	vcpu_set_msr(vm->vcpus[0], HV_X64_MSR_GUEST_OS_ID, 0x8100000000000001ULL);
	vcpu_entry(vm->vcpus[0], code);
}

static struct vm *loaded_vm_with_page(void)
{
	struct vm *vm;

	require_tsc_clocksource();
	extra_load(LOAD);
	vm = vm_with_page(2);
	scale = ref_page.scale;
	ASSERT(scale, "no page");
	return vm;
}

/* vCPU 0 restores; vCPU 1 reads. */
static struct vm *vm_that_restores(void)
{
	struct vm *vm = loaded_vm_with_page();

	entry(vm, restores);
	return vm;
}

static void end(struct vm *vm)
{
	vm_free(vm);
	module_unload();
}

/* Without a look at the clock. */
static void write_in_guest(struct vcpu *v, u32 msr, u64 val)
{
	todo.msr = msr;
	todo.val = val;
	vcpu_entry(v, writes);
	vcpu_run_done(v);
}

static u64 restore(struct vm *vm, u64 time)
{
	ask.time = time;
	vcpu_run_sync(vm->vcpus[0], 1);
	return done.result;
}

static u64 page_at(u64 tsc)
{
	return (u64)((__uint128_t)tsc * ref_page.scale >> 64) + ref_page.offset;
}

static u64 hour_of_tsc(void)
{
	return (u64)(((__uint128_t)HOUR << 64) / scale);
}

/* What KVM adds to the host's TSC. */
static u64 tsc_offset(struct vcpu *v)
{
	u64 offset = 0;
	struct kvm_device_attr attr = {
		.group = KVM_VCPU_TSC_CTRL,
		.attr = KVM_VCPU_TSC_OFFSET,
		.addr = (u64)(uintptr_t)&offset,
	};

	vcpu_ioctl(v, KVM_GET_DEVICE_ATTR, &attr);
	return offset;
}

static void one_tsc(struct vm *vm)
{
	u32 i;

	for (i = 1; i < vm->nr_vcpus; i++)
		ASSERT_EQ(tsc_offset(vm->vcpus[i]), tsc_offset(vm->vcpus[0]));
}

/* Where user space has not set the TSC. */
static void one_adjust(struct vm *vm)
{
	u32 i;

	for (i = 1; i < vm->nr_vcpus; i++)
		ASSERT_EQ(vcpu_get_msr(vm->vcpus[i], MSR_IA32_TSC_ADJUST), done.adjust_after);
}

/* Both clocks are now what was asked for, within @slack; an hour at most went by. */
static void goes_on_from(struct vm *vm, u64 time, u64 slack)
{
	ASSERT(done.after + slack >= time && done.after < time + HOUR, "asked for %llu, is %llu",
	       (unsigned long long)time, (unsigned long long)done.after);
	ASSERT(done.tsc_after - ask.tsc < hour_of_tsc(), "TSC: asked for %llu, is %llu",
	       (unsigned long long)ask.tsc, (unsigned long long)done.tsc_after);
	/* The hardware's has gone on meanwhile. */
	ASSERT((done.tsc_after - done.adjust_after) - (done.tsc - done.adjust) < hour_of_tsc(),
	       "IA32_TSC_ADJUST was %llx, is %llx", (unsigned long long)done.adjust,
	       (unsigned long long)done.adjust_after);
	one_tsc(vm);
	last_time = done.after;
	read_clock(vm->vcpus[1]);
	ASSERT(last_time < time + HOUR, "is %llu on VP 1", (unsigned long long)last_time);
}

static void page_goes_on_from(struct vm *vm, u64 time, u32 sequence)
{
	u32 after = sequence > ref_page.sequence ? sequence : ref_page.sequence;
	u64 offset = tsc_offset(vm->vcpus[0]);

	/* The next one, but for those that mean "invalid". */
	after = after >= 0xfffffffe ? 1 : after + 1;
	if (after == ref_page.sequence)
		after++;
	ask.sequence = sequence;
	ASSERT_EQ(restore(vm, time), 0);
	ASSERT_EQ(page_at(ask.tsc), time);
	ASSERT_EQ(ref_page.sequence, after);
	ASSERT_EQ(done.adjust_after - done.adjust, tsc_offset(vm->vcpus[0]) - offset);
	goes_on_from(vm, time, 0);
	assert_page_valid(vm->vcpus[1]);
}

/* --- what it does --------------------------------------------------------- */

TEST(page_goes_on_from_what_the_guest_says)
{
	struct vm *vm = vm_that_restores();

	page_goes_on_from(vm, 5 * HOUR, 1);
	page_goes_on_from(vm, 100000 * HOUR, 17);
	page_goes_on_from(vm, 2 * HOUR, 16); /* back */
	page_goes_on_from(vm, 3 * HOUR, 17); /* it has 18 */
	page_goes_on_from(vm, HOUR + 1, ref_page.sequence);
	page_goes_on_from(vm, HOUR, 0x80000000);
	page_goes_on_from(vm, HOUR, 0xfffffffd);
	page_goes_on_from(vm, HOUR, 0xfffffffe);
	page_goes_on_from(vm, HOUR, 5);
	page_goes_on_from(vm, HOUR, 0xffffffff);
	page_goes_on_from(vm, 0, 1);
	page_goes_on_from(vm, TIME_MAX - HOUR, 1);
	end(vm);
}

TEST(tsc_of_all_vps_is_what_the_guest_says)
{
	struct vm *vm = vm_that_restores();

	done.tsc_is_now = false;
	ask.tsc = 0;
	page_goes_on_from(vm, 7 * HOUR, 1);
	ask.tsc = BIT64(50);
	page_goes_on_from(vm, 8 * HOUR, 2);
	ASSERT(done.adjust_after != done.adjust, "IA32_TSC_ADJUST has not changed");
	ask.tsc = 1ULL << 63;
	page_goes_on_from(vm, 7 * HOUR, 3);
	/* It wraps around at the next moment. */
	ask.tsc = ~0ULL - 1000;
	ask.sequence = 4;
	ASSERT_EQ(restore(vm, 9 * HOUR), 0);
	goes_on_from(vm, 9 * HOUR, 0);
	assert_page_valid(vm->vcpus[1]);
	ask.tsc = 1000;
	page_goes_on_from(vm, 10 * HOUR, 7);
	end(vm);
}

/* A guest that has given a VP another TSC has one TSC on all VPs afterwards. */
TEST(tscs_that_differed)
{
	struct vm *vm = vm_that_restores();
	u64 adjust;

	write_in_guest(vm->vcpus[1], MSR_IA32_TSC, BIT64(44));
	start_reader(vm->vcpus[1]);
	adjust = vcpu_get_msr(vm->vcpus[1], MSR_IA32_TSC_ADJUST);
	ASSERT(adjust, "IA32_TSC_ADJUST is 0");
	done.tsc_is_now = false;
	ask.tsc = BIT64(45);
	ask.sequence = 1;
	ASSERT_EQ(restore(vm, 5 * HOUR), 0);
	goes_on_from(vm, 5 * HOUR, 0);
	one_adjust(vm);
	end(vm);
}

static void vp_follows(struct vm *vm, struct vcpu *v)
{
	start_reader(v);
	last_time = vcpu_get_msr(vm->vcpus[0], HV_X64_MSR_TIME_REF_COUNT);
	assert_page_valid(v);
	ASSERT(last_time < 6 * HOUR, "is %llu", (unsigned long long)last_time);
	one_tsc(vm);
	one_adjust(vm);
}

/* IA32_TSC_ADJUST is the same on all VPs: guests compare it. */
TEST(vp_that_comes_later)
{
	struct vm *vm = vm_that_restores();

	done.tsc_is_now = false;
	ask.tsc = BIT64(44);
	page_goes_on_from(vm, 5 * HOUR, 1);
	vp_follows(vm, vm_add_vcpu(vm));
	end(vm);
}

static void comes_after_another_tsc(bool snapshot)
{
	struct vm *vm = vm_that_restores();
	struct vcpu *v;
	u32 i;

	done.tsc_is_now = false;
	ask.tsc = BIT64(50);
	page_goes_on_from(vm, 5 * HOUR, 1);
	for (i = 0; i < 2; i++)
		vcpu_set_msr(vm->vcpus[i], MSR_IA32_TSC, BIT64(44));
	if (snapshot) {
		vcpu_set_msr(vm->vcpus[0], HV_X64_MSR_REENLIGHTENMENT_CONTROL, REENLIGHTENED);
		start_reader(vm->vcpus[0]);
		read_clock(vm->vcpus[0]);
	}
	v = vm_add_vcpu(vm);
	vcpu_set_msr(v, MSR_IA32_TSC, BIT64(44));
	start_reader(v);
	read_clock(v);
	ASSERT(vcpu_get_msr(v, MSR_IA32_TSC) - BIT64(44) < hour_of_tsc(), "TSC %llu",
	       (unsigned long long)vcpu_get_msr(v, MSR_IA32_TSC));
	end(vm);
}

/* User space has set the TSCs since, as for a reset: that counts. */
TEST(vp_that_comes_after_another_tsc)
{
	comes_after_another_tsc(false);
}

/* So it does in a snapshot that is loaded into the VM, by which a VP that was there runs first. */
TEST(vp_that_comes_after_a_snapshot)
{
	comes_after_another_tsc(true);
}

/* It was there, but not known to use Hyper-V yet. */
TEST(vp_that_gets_its_cpuid_later)
{
	struct vm *vm = vm_that_restores();
	struct vcpu *v;

	vm->flags |= VM_NO_CPUID;
	v = vm_add_vcpu(vm);
	vm->nr_vcpus--;
	done.tsc_is_now = false;
	ask.tsc = BIT64(44);
	page_goes_on_from(vm, 5 * HOUR, 1);
	vm->nr_vcpus++;
	vcpu_set_cpuid(v);
	vp_follows(vm, v);
	end(vm);
}

/* 0: the guest wants no page, until it enables it again. */
TEST(no_page_after_sequence_0)
{
	struct vm *vm = vm_that_restores();

	ASSERT_EQ(restore(vm, 5 * HOUR), 0);
	ASSERT_EQ(ref_page.sequence, 0);
	goes_on_from(vm, 5 * HOUR, 0);
	ASSERT_EQ(ref_page.sequence, 0);
	/* KVM's clock has the page written otherwise. */
	advance_clock(vm, JUMP_SEC);
	read_clock(vm->vcpus[1]);
	ASSERT_EQ(ref_page.sequence, 0);
	ASSERT_EQ(restore(vm, 6 * HOUR), 0);
	ASSERT_EQ(ref_page.sequence, 0);
	/* Nor does TSC emulation that ends bring it back. */
	guest_write(vm->vcpus[1], EMULATION, 1);
	guest_write(vm->vcpus[1], HV_X64_MSR_TSC_EMULATION_STATUS, 0);
	guest_write(vm->vcpus[1], EMULATION, 0);
	vcpu_set_msr(vm->vcpus[1], EMULATION, 1);
	vcpu_set_msr(vm->vcpus[1], EMULATION, 0);
	read_clock(vm->vcpus[1]);
	ASSERT_EQ(ref_page.sequence, 0);
	guest_write(vm->vcpus[1], HV_X64_MSR_REFERENCE_TSC, ref_tsc(&ref_page));
	assert_page_valid(vm->vcpus[1]);
	ASSERT_EQ(restore(vm, 7 * HOUR), 0);
	ASSERT_EQ(ref_page.sequence, 0);
	ask.sequence = 1;
	ASSERT_EQ(restore(vm, 8 * HOUR), 0);
	assert_page_valid(vm->vcpus[1]);
	end(vm);
}

/* What lies over the page stays as it is, and the page comes back by the same rules. */
TEST(page_below_the_hypercall_page)
{
	struct vm *vm = vm_that_restores();
	struct vcpu *v = vm->vcpus[1];
	struct tsc_page code;
	u32 sequence;

	for (sequence = 0; sequence < 2; sequence++) {
		write_in_guest(v, HV_X64_MSR_REFERENCE_TSC, ref_tsc(&ref_page));
		ask.sequence = 0;
		ASSERT_EQ(restore(vm, 5 * HOUR), 0);
		ASSERT_EQ(ref_page.sequence, 0);
		write_in_guest(v, HV_X64_MSR_HYPERCALL, gpa(&ref_page) | HV_HYPERCALL_ENABLE);
		code = ref_page;
		ASSERT(code.sequence, "no code");
		ask.sequence = sequence;
		ASSERT_EQ(restore(vm, 6 * HOUR), 0);
		ASSERT(!memcmp(&code, &ref_page, sizeof(code)), "the code has changed");
		write_in_guest(v, HV_X64_MSR_HYPERCALL, 0);
		ASSERT_EQ(!!ref_page.sequence, sequence);
	}
	start_reader(v);
	assert_page_valid(v);
	end(vm);
}

TEST(no_vp_sees_the_time_go_back)
{
	struct vm *vm;

	if (!host_has_apicv()) /* may be Bochs 2.7 */
		require_two_cpus();
	vm = vm_that_restores();
	latest = 0;
	turn_lock = 0;
	calls = 0;
	vcpu_entry(vm->vcpus[0], restores_and_watches);
	vcpu_entry(vm->vcpus[1], watches);
	vcpu_start(vm->vcpus[1]);
	vcpu_run_done(vm->vcpus[0]);
	vcpu_join(vm->vcpus[1]);
	ASSERT_EQ(calls, MOVES);
	end(vm);
}

TEST(without_a_page)
{
	struct vm *vm;

	require_tsc_clocksource();
	extra_load(LOAD);
	vm = vm_create(2, 0);
	last_time = 0;
	start_reader(vm->vcpus[1]);
	read_clock(vm->vcpus[1]);
	memset(&ref_page, 0, sizeof(ref_page));
	entry(vm, restores);
	ASSERT_EQ(restore(vm, 5 * HOUR), 0);
	last_time = done.after;
	read_clock(vm->vcpus[1]);
	ASSERT(done.after + SLACK_TICKS >= 5 * HOUR && last_time < 6 * HOUR, "is %llu, then %llu",
	       (unsigned long long)done.after, (unsigned long long)last_time);
	/* The page is enabled only now. */
	guest_write(vm->vcpus[1], HV_X64_MSR_REFERENCE_TSC, ref_tsc(&ref_page));
	read_clock(vm->vcpus[1]);
	end(vm);
}

/* The clock is not a function of one TSC, and there is no valid page. */
TEST(without_a_master_clock)
{
	struct vm *vm = loaded_vm_with_page();

	lose_master_clock(vm);
	entry(vm, restores);
	ask.sequence = 1;
	ASSERT_EQ(restore(vm, 500 * HOUR), 0);
	ASSERT_EQ(ref_page.sequence, 0);
	goes_on_from(vm, 500 * HOUR, SLACK_TICKS);
	ASSERT_EQ(restore(vm, 400 * HOUR), 0);
	goes_on_from(vm, 400 * HOUR, SLACK_TICKS);
	end(vm);
}

/* TSC emulation: the guest relies on the page to stay as it is, and asks for another one. */
TEST(frozen_page_stays_so)
{
	struct vm *vm = vm_that_restores();
	struct tsc_page page;

	vcpu_set_msr(vm->vcpus[0], EMULATION, 1);
	page_goes_on_from(vm, 5 * HOUR, 1);
	page = ref_page;
	/* KVM's clock leaves it. */
	advance_clock(vm, JUMP_SEC);
	read_clock(vm->vcpus[1]);
	ASSERT(!memcmp(&page, &ref_page, sizeof(page)), "it has changed");
	ASSERT(last_time < 6 * HOUR, "the time follows KVM's clock");
	done.tsc_is_now = false;
	ask.tsc = BIT64(44);
	page_goes_on_from(vm, 3 * HOUR, 1);
	/* It is let go of, and the time KVM's again, which took the same steps. */
	guest_write(vm->vcpus[1], EMULATION, 0);
	assert_page_valid(vm->vcpus[1]);
	ASSERT(last_time >= 3 * HOUR + JUMP_SEC * REF_PER_SEC, "is %llu",
	       (unsigned long long)last_time);
	end(vm);
}

/* The VPs keep the rate of before a restore, and let go of it. */
TEST(tsc_of_another_rate)
{
	u64 clock, tsc;
	struct vm *vm;
	u32 i, khz;

	if (kvm_check_cap(KVM_CAP_TSC_CONTROL) <= 0)
		ktap_skip("this CPU has no TSC scaling");
	require_tsc_clocksource();
	extra_load(LOAD);
	vm = vm_create(2, 0);
	khz = (u32)__vcpu_ioctl(vm->vcpus[0], KVM_GET_TSC_KHZ, NULL) / 2 * 3;
	for (i = 0; i < 2; i++) {
		vcpu_ioctl(vm->vcpus[i], KVM_SET_TSC_KHZ, (void *)(uintptr_t)khz);
		start_reader(vm->vcpus[i]);
	}
	guest_write(vm->vcpus[0], HV_X64_MSR_REFERENCE_TSC, ref_tsc(&ref_page));
	assert_page_valid(vm->vcpus[1]);
	tsc = vcpu_get_msr(vm->vcpus[0], MSR_IA32_TSC);
	clock = get_clock(vm).clock;
	vm_free(vm);

	vm = vm_create(2, 0);
	for (i = 0; i < 2; i++) {
		vcpu_set_msr(vm->vcpus[i], MSR_IA32_TSC, tsc);
		start_reader(vm->vcpus[i]);
	}
	set_clock(vm, clock);
	vcpu_set_msr(vm->vcpus[0], HV_X64_MSR_REFERENCE_TSC, ref_tsc(&ref_page));
	vcpu_set_msr(vm->vcpus[0], HV_X64_MSR_REENLIGHTENMENT_CONTROL, BIT64(16) | 0xee);
	vcpu_set_msr(vm->vcpus[0], EMULATION, 1);
	vcpu_set_msr(vm->vcpus[0], HV_X64_MSR_TSC_EMULATION_STATUS, 0);
	read_clock(vm->vcpus[1]);
	ASSERT_EQ(vcpu_get_msr(vm->vcpus[0], HV_X64_MSR_TSC_EMULATION_STATUS), 1);
	scale = ref_page.scale;
	entry(vm, restores);
	page_goes_on_from(vm, 5 * HOUR, 1);
	done.tsc_is_now = false;
	ask.tsc = BIT64(44);
	page_goes_on_from(vm, 6 * HOUR, 1);
	guest_write(vm->vcpus[1], HV_X64_MSR_TSC_EMULATION_STATUS, 0);
	assert_page_valid(vm->vcpus[1]);
	ASSERT(last_time < 7 * HOUR, "is %llu", (unsigned long long)last_time);
	one_tsc(vm);
	page_goes_on_from(vm, 4 * HOUR, 1);
	end(vm);
}

TEST(user_space_saves_it)
{
	struct vm *vm = vm_that_restores();
	u64 ns, tsc, adjust;

	done.tsc_is_now = false;
	ask.tsc = BIT64(44);
	page_goes_on_from(vm, 50 * HOUR, 1);
	tsc = vcpu_get_msr(vm->vcpus[1], MSR_IA32_TSC);
	adjust = vcpu_get_msr(vm->vcpus[1], MSR_IA32_TSC_ADJUST);
	ns = get_clock(vm).clock;
	ASSERT(ns / 100 >= done.after, "KVM_GET_CLOCK %llu, the guest's time %llu",
	       (unsigned long long)ns, (unsigned long long)done.after);
	ASSERT(ns / 100 < 51 * HOUR, "KVM_GET_CLOCK %llu", (unsigned long long)ns);
	vm_free(vm);
	vm = vm_create(2, 0);
	start_reader(vm->vcpus[1]);
	vcpu_set_msr(vm->vcpus[0], MSR_IA32_TSC, tsc);
	vcpu_set_msr(vm->vcpus[1], MSR_IA32_TSC, tsc);
	vcpu_set_msr(vm->vcpus[1], MSR_IA32_TSC_ADJUST, adjust);
	set_clock(vm, ns);
	last_time = 50 * HOUR;
	guest_write(vm->vcpus[1], HV_X64_MSR_REFERENCE_TSC, ref_tsc(&ref_page));
	assert_page_valid(vm->vcpus[1]);
	ASSERT(last_time < 51 * HOUR, "is %llu", (unsigned long long)last_time);
	end(vm);
}

/* VP 1's timers; VP 0 moves both clocks by @step while it waits in the guest, or halted. */
static void timers_of(void (*code)(void), u64 due, s64 step, bool halted)
{
	struct vcpu *v;
	struct vm *vm;
	s64 rate; /* ticks of the TSC in 100 ns */

	if (!host_has_apicv()) /* may be Bochs 2.7 */
		require_two_cpus();
	require_tsc_clocksource();
	extra_load(LOAD);
	vm = vm_create(2, 0);
	v = vm->vcpus[1];
	ASSERT_EQ(__vcpu_enable_cap(v, KVM_CAP_HYPERV_SYNIC2, 0), 0);
	cpuid_get(&v->cpuid, 1)->ecx |= (u32)CPUID_TSC_DEADLINE;
	vcpu_set_cpuid(v);
	set_clock(vm, 3600 * 10 * NS_PER_SEC);
	/* Far from its end at 0, to which it may go back. */
	vcpu_set_msr(vm->vcpus[0], MSR_IA32_TSC, BIT64(50));
	vcpu_set_msr(v, MSR_IA32_TSC, BIT64(50));
	guest_irq_handlers[TIMER_VEC] = code == arms_timers ? on_timer : on_tick;
	guest_irq_handlers[APIC_VEC] = on_deadline;
	timer_at = 0;
	apic_at = 0;
	restored = false;
	halts = halted;
	rate = __vcpu_ioctl(v, KVM_GET_TSC_KHZ, NULL) / 10000;
	ASSERT(rate > 0, "no rate of the TSC");
	timer_due = due;
	deadline = code == arms_timers ? due * (u64)rate : due * 100;
	time_step = step;
	tsc_step = step * rate;
	vcpu_entry(v, code);
	vcpu_run_sync(v, 1);
	vcpu_start(v);
	entry(vm, moves_the_clocks);
	vcpu_run_done(vm->vcpus[0]);
	vcpu_join(v);
	end(vm);
}

static void timers(u64 due, s64 step, bool halted)
{
	timers_of(arms_timers, due, step, halted);
}

TEST(clocks_pass_the_timers_of_another_vp)
{
	timers(5 * HOUR, 6 * HOUR, false);
}

TEST(clocks_pass_the_timers_of_a_halted_vp)
{
	timers(5 * HOUR, 6 * HOUR, true);
}

/* The guest asserts that neither comes too early. */
TEST(clocks_return_to_before_the_timers)
{
	timers(4 * REF_PER_SEC, -(s64)REF_PER_SEC / 2, true);
}

TEST(one_shot_of_the_apic_takes_as_long)
{
	timers_of(arms_a_one_shot, 4 * REF_PER_SEC, 6 * HOUR, true);
	timers_of(arms_a_one_shot, 4 * REF_PER_SEC, -(s64)HOUR, true);
}

TEST(fast_form)
{
	struct extra_world w;
	u64 now;

	require_tsc_clocksource();
	extra_load(LOAD);
	w = extra_world(1, 0);
	memset(w.in, 0, PAGE_SIZE);
	ask.partition = PARTITION_SELF;
	ask.sequence = 0;
	ask.rsvdz = 0;
	ask.tsc = BIT64(44);
	ask.time = 50 * HOUR;
	memcpy(w.in, &ask, 32);
	ASSERT_EQ(extra_fast(&w, CALL, 32), 0);
	ASSERT_EQ(vcpu_get_msr(w.v, MSR_IA32_TSC) >> 44, 1);
	now = extra_op(&w, OP_RD(HV_X64_MSR_TIME_REF_COUNT)).result;
	ASSERT(now + SLACK_TICKS >= 50 * HOUR && now < 51 * HOUR, "is %llu",
	       (unsigned long long)now);
	ASSERT_EQ(extra_slow(&w, CALL), 0);
	ASSERT_EQ(*(u64 *)w.out, UNTOUCHED);
	extra_end(&w);
}

/* --- what it refuses ------------------------------------------------------ */

TEST(bad_input_changes_nothing)
{
	struct vm *vm = vm_that_restores();
	struct tsc_page page;
	u64 ns, adjust;

	page_goes_on_from(vm, 5 * HOUR, 1);
	page = ref_page;
	ns = get_clock(vm).clock;
	adjust = done.adjust_after;

	done.tsc_is_now = false;
	ask.tsc = BIT64(44);
	ask.sequence = 100;
	ask.partition = 0;
	ASSERT_EQ(restore(vm, 50 * HOUR), HV_STATUS_INVALID_PARTITION_ID);
	ask.partition = 1;
	ASSERT_EQ(restore(vm, 50 * HOUR), HV_STATUS_INVALID_PARTITION_ID);
	ask.partition = PARTITION_SELF;
	ask.rsvdz = 1;
	ASSERT_EQ(restore(vm, 50 * HOUR), HV_STATUS_INVALID_PARAMETER);
	ask.rsvdz = 0x80000000;
	ASSERT_EQ(restore(vm, 50 * HOUR), HV_STATUS_INVALID_PARAMETER);
	ask.rsvdz = 0;
	/* KVM's clock has no such times. */
	ASSERT_EQ(restore(vm, TIME_MAX + 1), HV_STATUS_INVALID_PARAMETER);
	ASSERT_EQ(restore(vm, ~0ULL), HV_STATUS_INVALID_PARAMETER);

	ASSERT_EQ(done.adjust_after, adjust);
	ASSERT(done.after >= 5 * HOUR && done.after < 6 * HOUR, "is %llu",
	       (unsigned long long)done.after);
	last_time = done.after;
	read_clock(vm->vcpus[1]);
	ASSERT(!memcmp(&page, &ref_page, sizeof(page)), "the page has changed");
	ASSERT(get_clock(vm).clock - ns < 3600 * NS_PER_SEC, "KVM's clock has changed");
	end(vm);
}

TEST(form)
{
	struct extra_world w;

	extra_load(LOAD);
	w = extra_world(1, 0);
	memset(w.in, 0, PAGE_SIZE);
	ASSERT_EQ(extra_slow(&w, CALL), HV_STATUS_INVALID_PARTITION_ID);
	ASSERT_EQ(extra_slow(&w, CALL | HV_CTL_REP(1)), HV_STATUS_INVALID_HYPERCALL_INPUT);
	ASSERT_EQ(extra_slow(&w, CALL | HV_CTL_START(1)), HV_STATUS_INVALID_HYPERCALL_INPUT);
	ASSERT_EQ(extra_slow(&w, CALL | HV_CTL_VARHDR(1)), HV_STATUS_INVALID_HYPERCALL_INPUT);
	ASSERT_EQ(extra_op(&w, OP_HC(CALL, gpa(w.in) + 4, 0)).result, HV_STATUS_INVALID_ALIGNMENT);
	ASSERT_EQ(extra_op(&w, OP_HC(CALL, gpa(w.in) + PAGE_SIZE - 24, 0)).result,
		  HV_STATUS_INVALID_ALIGNMENT);
	ASSERT_EQ(extra_op(&w, OP_HC(CALL, GPA_NOWHERE, 0)).result,
		  HV_STATUS_INVALID_HYPERCALL_INPUT);
	extra_end(&w);
}

/* Its bit is offered with it only; under enforcement it and two privileges are needed. */
TEST(bit_and_privileges)
{
	static const u64 bits[] = { HV_H_RESTORE_TIME, HV_F_TIME_REF, HV_F_REF_TSC };
	struct guest_op op = { .op = OP_CPUID, .arg0 = HV_LEAF_HINTS };
	struct cpuid_table offered;
	struct extra_world w;
	u32 i;

	extra_load(LOAD " hints_eax=0x100000");
	w = extra_world(1, VM_ENFORCE);
	cpuid_hv(w.v, &offered);
	ASSERT(cpuid_test(&offered, HV_H_RESTORE_TIME), "not offered");
	vcpu_set_bit(w.v, HV_H_RESTORE_TIME, false);
	memset(w.in, 0, PAGE_SIZE);
	ASSERT(extra_op(&w, op).result & BIT64(20), "not shown");
	ASSERT_EQ(extra_slow(&w, CALL), HV_STATUS_INVALID_PARTITION_ID);
	extra_end(&w);

	for (i = 0; i < ARRAY_SIZE(bits); i++) {
		extra_load(LOAD);
		w = extra_world(1, VM_ENFORCE);
		vcpu_set_bit(w.v, bits[i], false);
		memset(w.in, 0, PAGE_SIZE);
		ASSERT_EQ(extra_slow(&w, CALL), HV_STATUS_ACCESS_DENIED);
		extra_end(&w);
	}

	extra_load("extra_calls=GET_VP_REGISTERS");
	w = extra_world(1, 0);
	cpuid_hv(w.v, &offered);
	ASSERT(!cpuid_test(&offered, HV_H_RESTORE_TIME), "offered");
	extra_end(&w);
}

int main(int argc, char **argv)
{
	if (argc == 3 && !strcmp(argv[1], "--module"))
		module_option = argv[2];
	return module_ktap_main(argc, argv);
}
