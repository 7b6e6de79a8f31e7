// SPDX-License-Identifier: GPL-2.0-only
/*
 * HV_X64_MSR_VP_RUNTIME: time the VP ran, in 100 ns. It must not contain what
 * the VMM's thread spends outside the guest (K12).
 */
#include <time.h>
#include <unistd.h>
#include <sys/syscall.h>

#include "vm.h"

#define MS_100NS 10000ULL
#define BURN_MS	 150

static u64 spin_cycles;

static u64 clock_100ns(clockid_t id)
{
	struct timespec t;

	clock_gettime(id, &t);
	return (u64)t.tv_sec * 10000000 + (u64)t.tv_nsec / 100;
}

GUEST_TEST(write_faults)
{
	GUEST_ASSERT_EQ(__wrmsr(HV_X64_MSR_VP_RUNTIME, 0), GP_VECTOR);
	GUEST_ASSERT_EQ(__wrmsr(HV_X64_MSR_VP_RUNTIME, ~0ULL), GP_VECTOR);
}

GUEST_TEST(never_goes_back)
{
	u64 last = rdmsr(HV_X64_MSR_VP_RUNTIME), now;
	u32 i;

	for (i = 0; i < 2000; i++) {
		now = rdmsr(HV_X64_MSR_VP_RUNTIME);
		GUEST_ASSERT(now >= last);
		last = now;
	}
}

/* Report the register, spin for spin_cycles, report again, and again. */
GUEST_CODE(report)
{
	for (;;) {
		u64 start, now;

		start = rdmsr(HV_X64_MSR_VP_RUNTIME);
		now = rdtsc();
		while (rdtsc() - now < spin_cycles)
			cpu_relax();
		GUEST_SYNC_ARGS(1, start, rdmsr(HV_X64_MSR_VP_RUNTIME));
	}
}

static u64 tsc_khz(struct vm *vm)
{
	return (u64)__vcpu_ioctl(vm->vcpus[0], KVM_GET_TSC_KHZ, NULL);
}

TEST(grows_with_guest_time)
{
	struct vm *vm = vm_create(1, 0);
	struct vcpu *v = vm->vcpus[0];
	u64 wall, grown;

	spin_cycles = tsc_khz(vm) * 40;
	vcpu_entry(v, report);
	wall = clock_100ns(CLOCK_MONOTONIC);
	vcpu_run_sync(v, 1);
	wall = clock_100ns(CLOCK_MONOTONIC) - wall;
	grown = v->cpu->msg.args[2] - v->cpu->msg.args[1];
	ktap_log("40 ms of spinning: runtime grew %llu us, wall clock %llu us",
		 (unsigned long long)grown / 10, (unsigned long long)wall / 10);
	/* Another task may have had the CPU for part of the time. */
	ASSERT(grown >= 10 * MS_100NS, "grew only by %llu", (unsigned long long)grown);
	/* Stock counts a thread's ticks, of 4 ms. */
	ASSERT(grown <= wall + (module_loaded() ? 1 : 5) * MS_100NS,
	       "grew by more than the wall clock");
	vm_free(vm);
}

static void burn_user(void)
{
	u64 start = clock_100ns(CLOCK_THREAD_CPUTIME_ID);

	while (clock_100ns(CLOCK_THREAD_CPUTIME_ID) - start < BURN_MS * MS_100NS)
		;
}

static void burn_syscalls(void)
{
	u64 start = clock_100ns(CLOCK_THREAD_CPUTIME_ID);

	while (clock_100ns(CLOCK_THREAD_CPUTIME_ID) - start < BURN_MS * MS_100NS)
		syscall(SYS_getppid);
}

static void vmm_time(void (*burn)(void))
{
	struct vm *vm = vm_create(1, 0);
	struct vcpu *v = vm->vcpus[0];
	u64 before, grown;

	vcpu_entry(v, report);
	spin_cycles = 0;
	vcpu_run_sync(v, 1);
	before = v->cpu->msg.args[2];
	burn();
	vcpu_run_sync(v, 1);
	grown = v->cpu->msg.args[1] - before;
	ktap_log("%u ms in the VMM: runtime grew %llu us", BURN_MS, (unsigned long long)grown / 10);
	ASSERT_KNOWN(grown < BURN_MS * MS_100NS / 5, "grew by %llu us",
		     (unsigned long long)grown / 10);
	vm_free(vm);
}

TEST_KNOWN(vmm_user_time_does_not_count, "K12")
{
	vmm_time(burn_user);
}

TEST_KNOWN(vmm_system_time_does_not_count, "K12")
{
	vmm_time(burn_syscalls);
}

/* Restore: the register continues from what the host wrote. */
TEST(host_write_continues)
{
	struct vm *vm = vm_create(1, 0);
	struct vcpu *v = vm->vcpus[0];
	const u64 base = 123456789012ULL;
	u64 val;

	vcpu_set_msr(v, HV_X64_MSR_VP_RUNTIME, base);
	val = vcpu_get_msr(v, HV_X64_MSR_VP_RUNTIME);
	ASSERT(val >= base && val < base + 50000 * MS_100NS, "host reads %llu",
	       (unsigned long long)val);
	vcpu_entry(v, report);
	/* Stock moves the register with the scheduler's tick only. */
	spin_cycles = tsc_khz(vm) * 40;
	vcpu_run_sync(v, 1);
	ASSERT(v->cpu->msg.args[1] >= base, "guest reads %llu",
	       (unsigned long long)v->cpu->msg.args[1]);
	ASSERT(v->cpu->msg.args[2] > v->cpu->msg.args[1], "does not grow");
	ASSERT(v->cpu->msg.args[2] < base + 50000 * MS_100NS, "guest reads %llu",
	       (unsigned long long)v->cpu->msg.args[2]);
	/* Back to an earlier value as well. */
	vcpu_set_msr(v, HV_X64_MSR_VP_RUNTIME, 0);
	ASSERT(vcpu_get_msr(v, HV_X64_MSR_VP_RUNTIME) < base, "0 is not taken");
	vm_free(vm);
}

/* A vCPU that has not run has no runtime of its own to show another. */
GUEST_CODE(spin_and_read)
{
	u64 now = rdtsc();

	while (rdtsc() - now < spin_cycles)
		cpu_relax();
	GUEST_SYNC_ARGS(1, rdmsr(HV_X64_MSR_VP_RUNTIME), 0);
}

TEST_KNOWN(each_vcpu_has_its_own, "K12")
{
	struct vm *vm = vm_create(2, 0);
	struct vcpu *a = vm->vcpus[0], *b = vm->vcpus[1];
	u64 wall;

	/* Both run in this one thread: stock counts the thread, not the VP. */
	spin_cycles = tsc_khz(vm) * 60;
	vcpu_entry(a, spin_and_read);
	vcpu_run_sync(a, 1);
	spin_cycles = 0;
	vcpu_entry(b, spin_and_read);
	wall = clock_100ns(CLOCK_MONOTONIC);
	vcpu_run_sync(b, 1);
	wall = clock_100ns(CLOCK_MONOTONIC) - wall;
	ASSERT_KNOWN(b->cpu->msg.args[1] <= wall + MS_100NS, "shows %llu us after %llu us",
		     (unsigned long long)b->cpu->msg.args[1] / 10, (unsigned long long)wall / 10);
	vm_free(vm);
}
