// SPDX-License-Identifier: GPL-2.0-only
/*
 * The reference time when KVM's master clock is lost, found (K10) or made anew, or the rate of
 * the TSC changes.
 */
#include <dirent.h>
#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "apic.h"
#include "refclock.h"
#include "rows.h"

/* --- the master clock lost and found (K10) ------------------------------- */

/*
 * KVM counts who matches the vCPU whose TSC was changed last, so it is the
 * other one that must follow; less than a second off counts as meant to match.
 */
static void regain_master_clock(struct vm *vm)
{
	vcpu_set_msr(vm->vcpus[0], MSR_IA32_TSC, vcpu_get_msr(vm->vcpus[1], MSR_IA32_TSC));
	alternate(vm, 4);
	assert_master_clock(vm, true);
}

TEST_KNOWN(page_recovers_with_the_master_clock, "K10")
{
	struct vm *vm = vm_with_page(2);
	u32 round, seq;

	for (round = 0; round < 3; round++) {
		seq = ref_page.sequence;
		lose_master_clock(vm);
		ASSERT_EQ(ref_page.sequence, 0);
		alternate(vm, 20);
		ASSERT_EQ(ref_page.sequence, 0);
		regain_master_clock(vm);
		ASSERT_KNOWN(seq_valid(ref_page.sequence), "sequence 0x%x", ref_page.sequence);
		/*
		 * A guest that was interrupted in the middle of a read must see that the clock has
		 * changed.
		 */
		ASSERT(ref_page.sequence != seq, "sequence 0x%x again", seq);
		alternate(vm, 20);
		assert_page_valid(vm->vcpus[0]);
		assert_page_valid(vm->vcpus[1]);
	}
	vm_free(vm);
}

/* Enabled while there is no master clock: invalid, and valid as soon as there is one. */
TEST_KNOWN(page_enabled_without_a_master_clock, "K10")
{
	struct vm *vm = vm_with_page(2);

	guest_write(vm->vcpus[0], HV_X64_MSR_REFERENCE_TSC, 0);
	memset(&ref_page, 0, sizeof(ref_page));
	lose_master_clock(vm);
	ref_page.sequence = 7;
	guest_write(vm->vcpus[0], HV_X64_MSR_REFERENCE_TSC, ref_tsc(&ref_page));
	ASSERT_EQ(ref_page.sequence, 0);
	alternate(vm, 4);
	ASSERT_EQ(ref_page.sequence, 0);
	regain_master_clock(vm);
	ASSERT_KNOWN(seq_valid(ref_page.sequence), "sequence 0x%x", ref_page.sequence);
	assert_page_valid(vm->vcpus[1]);
	vm_free(vm);
}

/* On stock the guest can recover by itself: it writes the register again. */
TEST(rewrite_recovers_with_the_master_clock)
{
	struct vm *vm = vm_with_page(2);

	lose_master_clock(vm);
	ASSERT_EQ(ref_page.sequence, 0);
	regain_master_clock(vm);
	guest_write(vm->vcpus[1], HV_X64_MSR_REFERENCE_TSC, ref_tsc(&ref_page));
	assert_page_valid(vm->vcpus[0]);
	assert_page_valid(vm->vcpus[1]);
	vm_free(vm);
}

/* --- nobody is woken for nothing ------------------------------------------- */

#define MOVES	  30
#define FAR_TICKS (3600 * REF_PER_SEC)

/* A timer that has to be checked again when the reference time steps. */
GUEST_CODE(sleeper)
{
	apic_enable();
	wrmsr(HV_X64_MSR_STIMER_COUNT(0), rdmsr(HV_X64_MSR_TIME_REF_COUNT) + FAR_TICKS);
	wrmsr(HV_X64_MSR_STIMER_CONFIG(0),
	      HV_STIMER_ENABLE | HV_STIMER_DIRECT | HV_STIMER_VECTOR(0x61));
	GUEST_SYNC(1);
	for (;;)
		irqs_halt();
}

/* How often the only other thread of this process went to sleep. */
static u32 sleeps(void)
{
	char path[64], line[128];
	DIR *d = opendir("/proc/self/task");
	const struct dirent *e;
	unsigned int n = 0;
	FILE *f;

	ASSERT(d, "/proc/self/task: %s", strerror(errno));
	while ((e = readdir(d))) {
		if (e->d_name[0] == '.' || atoi(e->d_name) == gettid())
			continue;
		snprintf(path, sizeof(path), "/proc/self/task/%.10s/status", e->d_name);
		f = fopen(path, "r");
		ASSERT(f, "%s: %s", path, strerror(errno));
		while (fgets(line, sizeof(line), f))
			if (sscanf(line, "voluntary_ctxt_switches: %u", &n) == 1)
				break;
		fclose(f);
	}
	closedir(d);
	return n;
}

static void run_on_cpu(int cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET((size_t)cpu, &set);
	ASSERT_EQ(sched_setaffinity(0, sizeof(set), &set), 0);
}

/*
 * Without a master clock a vCPU that changes its CPU makes KVM update the clocks of all. The module
 * then tries again to write a page that it could not write before, but must not wake sleeping VPs
 * for it. KVM wakes them up itself, once in CLOCK_UPDATE_MS; Linux 7.3 as often on average, but up
 * to CLOCK_UPDATE_BURST times at once.
 */
#define CLOCK_UPDATE_MS	   100
#define CLOCK_UPDATE_BURST 10

TEST(nobody_is_woken_for_a_page_outside_memory)
{
	struct vm *vm = vm_with_page(2);
	struct kvm_stat blocking;
	u32 i, before, woken, by_kvm;
	u64 begin;

	if (sysconf(_SC_NPROCESSORS_ONLN) < 2)
		ktap_skip("one CPU");
	ASSERT_EQ(__vcpu_enable_cap(vm->vcpus[0], KVM_CAP_HYPERV_SYNIC2, 0), 0);
	guest_write(vm->vcpus[1], HV_X64_MSR_REFERENCE_TSC, GPA_NOWHERE | REF_TSC_ENABLE);
	memset(&ref_page, 0, sizeof(ref_page));
	lose_master_clock(vm);
	blocking = stat_open(vm->vcpus[0], "blocking");
	vcpu_entry(vm->vcpus[0], sleeper);
	vcpu_run_sync(vm->vcpus[0], 1);
	vcpu_start(vm->vcpus[0]);
	wait_halted(&blocking);
	before = sleeps();
	begin = host_time();
	for (i = 0; i < MOVES; i++) {
		run_on_cpu(i % 2);
		read_clock(vm->vcpus[1]);
	}
	woken = sleeps() - before;
	by_kvm = (u32)((host_time() - begin) / (CLOCK_UPDATE_MS * REF_PER_MS));
	ktap_log("woken %u times, at most %u of them by KVM", woken, by_kvm);
	if (by_kvm > MOVES / 5)
		ktap_skip("%u moves take so long here that KVM wakes VPs up as often", MOVES);
	by_kvm += CLOCK_UPDATE_BURST;
	ASSERT(woken <= MOVES / 5 + by_kvm, "%u times", woken);
	/* The sleeper goes with this process. */
}

/* --- a new master clock ---------------------------------------------------- */

#define RENEW_ROUNDS	   40
#define RENEW_ROUNDS_STOCK 400
#define RENEW_MS	   20

/*
 * KVM's master clock begins anew where the host's clock is, and the TSC's rate is known to some
 * digits only: the old one may be ahead. What a guest can see of that is less than it takes to
 * look, so compare the clocks themselves: of the same rate, one with a smaller offset is behind.
 *
 * The host measures the rate of the TSC at each boot. KVM rounds some of the rates such that its
 * clock is never ahead: there stock does not have the defect.
 */
static void renew(struct vm *vm, void (*how)(struct vm *vm))
{
	u32 i, changed = 0, rounds = module_loaded() ? RENEW_ROUNDS : RENEW_ROUNDS_STOCK;
	struct tsc_page old;
	s64 step, sum = 0;

	for (i = 0; i < rounds; i++) {
		struct timespec t = { .tv_nsec = RENEW_MS * 1000000L };

		memcpy(&old, &ref_page, sizeof(old));
		nanosleep(&t, NULL);
		how(vm);
		alternate(vm, 4);
		assert_page_valid(vm->vcpus[0]);
		ASSERT_EQ(ref_page.scale, old.scale);
		step = (s64)(ref_page.offset - old.offset);
		ASSERT_KNOWN(step >= 0, "the time went back by %lld00 ns", (long long)-step);
		changed += ref_page.sequence != old.sequence;
		sum += step;
	}
	ktap_log("ahead by %lld00 ns in all", (long long)sum);
	ASSERT(changed, "the same page all the time");
	if (!module_loaded())
		ktap_skip("at this boot's rate of the TSC KVM's clock is never ahead");
	vm_free(vm);
}

static void rewrite_page(struct vm *vm)
{
	guest_write(vm->vcpus[1], HV_X64_MSR_REFERENCE_TSC, ref_tsc(&ref_page));
}

TEST_KNOWN(page_never_goes_back_with_a_new_master_clock, "K33")
{
	renew(vm_with_page(2), rewrite_page);
}

/* With scaling the guest's TSC rate is known less exactly. */
static void set_tsc_khz(struct vm *vm, u32 khz)
{
	u32 i;

	for (i = 0; i < vm->nr_vcpus; i++)
		vcpu_ioctl(vm->vcpus[i], KVM_SET_TSC_KHZ, (void *)(uintptr_t)khz);
}

static u32 get_tsc_khz(struct vcpu *v)
{
	return (u32)__vcpu_ioctl(v, KVM_GET_TSC_KHZ, NULL);
}

static void require_tsc_scaling(void)
{
	if (!kvm_check_cap(KVM_CAP_TSC_CONTROL))
		ktap_skip("this CPU has no TSC scaling");
}

TEST_KNOWN(scaled_page_never_goes_back_with_a_new_master_clock, "K33")
{
	struct vm *vm = vm_create(2, 0);
	u32 i;

	require_tsc_scaling();
	set_tsc_khz(vm, get_tsc_khz(vm->vcpus[0]) / 7 * 5);
	for (i = 0; i < 2; i++)
		start_reader(vm->vcpus[i]);
	last_time = 0;
	guest_write(vm->vcpus[0], HV_X64_MSR_REFERENCE_TSC, ref_tsc(&ref_page));
	assert_page_valid(vm->vcpus[0]);
	renew(vm, rewrite_page);
}

/* A vCPU that is added, and what it reads. */
static void add_vcpu(struct vm *vm)
{
	struct vcpu *v = vm_add_vcpu(vm);

	start_reader(v);
}

TEST(hot_plugged_vcpu_has_the_same_clock)
{
	struct vm *vm = vm_with_page(2);
	struct tsc_page old;
	u32 i;

	memcpy(&old, &ref_page, sizeof(old));
	add_vcpu(vm);
	read_clock(vm->vcpus[2]);
	for (i = 0; i < 6; i++)
		read_clock(vm->vcpus[i % 2]);
	assert_page_valid(vm->vcpus[0]);
	ASSERT((s64)(ref_page.offset - old.offset) >= 0, "the time went back");
	vm_free(vm);
}

/* --- another rate, with the page enabled ------------------------------------ */

/* The rate that this host can give a guest whose page is there already. */
static u32 other_khz(struct vcpu *v)
{
	u32 khz = get_tsc_khz(v);

	/* Without scaling KVM can only have a TSC catch up with a faster one. */
	return kvm_check_cap(KVM_CAP_TSC_CONTROL) ? khz / 2 : 2 * khz;
}

static void pass_time(struct vm *vm)
{
	struct timespec t = { .tv_nsec = 200000000 };
	u32 i;

	for (i = 0; i < 5; i++) {
		nanosleep(&t, NULL);
		alternate(vm, 4);
	}
}

/* A wrong rate shows within a second: read_clock() checks it. */
TEST_KNOWN(page_follows_another_tsc_rate, "K29")
{
	struct vm *vm = vm_with_page(2);
	u32 seq = ref_page.sequence;

	set_tsc_khz(vm, other_khz(vm->vcpus[0]));
	alternate(vm, 4);
	ASSERT_KNOWN(ref_page.sequence != seq, "sequence still 0x%x", seq);
	pass_time(vm);
	if (kvm_check_cap(KVM_CAP_TSC_CONTROL))
		assert_page_valid(vm->vcpus[0]);
	vm_free(vm);
}

/* VPs with two TSC rates have no page; with one rate again it is back. */
TEST_KNOWN(vcpus_of_two_tsc_rates_have_no_page, "K29")
{
	struct vm *vm = vm_with_page(2);
	u32 khz = get_tsc_khz(vm->vcpus[0]);

	vcpu_ioctl(vm->vcpus[1], KVM_SET_TSC_KHZ, (void *)(uintptr_t)other_khz(vm->vcpus[1]));
	/* Where KVM has the TSC catch up, from its second entry on. */
	vcpu_run_sync(vm->vcpus[1], 1);
	vcpu_run_sync(vm->vcpus[1], 1);
	ASSERT_KNOWN(!ref_page.sequence, "sequence 0x%x", ref_page.sequence);
	pass_time(vm);
	ASSERT_EQ(ref_page.sequence, 0);
	if (kvm_check_cap(KVM_CAP_TSC_CONTROL)) {
		vcpu_ioctl(vm->vcpus[1], KVM_SET_TSC_KHZ, (void *)(uintptr_t)khz);
		alternate(vm, 4);
		assert_page_valid(vm->vcpus[0]);
		pass_time(vm);
	}
	vm_free(vm);
}

/* --- user space sets the TSC (K47) ---------------------------------------- */

static void set_tsc_offset(struct vcpu *v, u64 offset)
{
	struct kvm_device_attr attr = {
		.group = KVM_VCPU_TSC_CTRL,
		.attr = KVM_VCPU_TSC_OFFSET,
		.addr = (uintptr_t)&offset,
	};

	vcpu_ioctl(v, KVM_SET_DEVICE_ATTR, &attr);
}

static u64 get_tsc_offset(struct vcpu *v)
{
	u64 offset;
	struct kvm_device_attr attr = {
		.group = KVM_VCPU_TSC_CTRL,
		.attr = KVM_VCPU_TSC_OFFSET,
		.addr = (uintptr_t)&offset,
	};

	vcpu_ioctl(v, KVM_GET_DEVICE_ATTR, &attr);
	return offset;
}

/* Linux 6.1 asks for a new clock on each vCPU that has got another TSC. */
static bool asks_on_one_vcpu(void)
{
	return !host_is_6_1();
}

/* VP 0 gets the TSC of VP 1 and enters first: KVM asks for a new clock on VP 1 alone. */
TEST_KNOWN_IF(page_follows_the_tsc_that_user_space_sets, "K47", asks_on_one_vcpu)
{
	struct vm *vm = vm_with_page(2);
	u64 hz = 1000ULL * get_tsc_khz(vm->vcpus[0]), before;
	u64 offset = get_tsc_offset(vm->vcpus[0]) + JUMP_SEC * hz;

	/* What KVM asks for on all vCPUs some time after their first entry. */
	pass_time(vm);
	before = last_time;
	set_tsc_offset(vm->vcpus[1], offset);
	set_tsc_offset(vm->vcpus[0], offset);
	read_clock(vm->vcpus[0]);
	ASSERT_KNOWN(last_time < before + JUMP_SEC / 2 * REF_PER_SEC, "%llu, then %llu",
		     (unsigned long long)before, (unsigned long long)last_time);
	alternate(vm, 4);
	assert_page_valid(vm->vcpus[0]);
	assert_page_valid(vm->vcpus[1]);
	vm_free(vm);
}
