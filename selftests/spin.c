// SPDX-License-Identifier: GPL-2.0-only
/*
 * Guests that make exits without end, one vCPU of each kind on each CPU, for whoever pulls the host
 * from under them: rig/init/ leaves a boot while they run. Prints "ready" once all of them do.
 * Judges nothing; ends when it is killed. With "--idle" as its last argument the VMs are there, and
 * none of them runs; other arguments are for those who look at its command line.
 */
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "vm.h"

/* More than the fast path answers in one go. */
#define ROUNDS 1000

static volatile u64 rounds[2][MAX_VCPUS];

GUEST_CODE(reads)
{
	u32 id = this_cpu()->id;

	for (;;) {
		rdmsr(HV_X64_MSR_VP_INDEX);
		rounds[0][id]++;
	}
}

/* The register that stands in the VMCS under APICv, a call, and an exit that is KVM's. */
GUEST_CODE(mixes)
{
	u32 id = this_cpu()->id;

	guest_set_os_id();
	for (;;) {
		wrmsr(HV_X64_MSR_EOI, 0);
		hypercall(HVCALL_NOTIFY_LONG_SPIN_WAIT | HV_CTL_FAST, 0, 0);
		cpuid(0, 0);
		rounds[1][id]++;
	}
}

static void *run(void *vcpu)
{
	vcpu_run(vcpu);
	printf("a guest has stopped\n");
	return NULL;
}

int main(int argc, char **argv)
{
	static void (*const entry[])(void) = { reads, mixes };
	u32 cpus = (u32)sysconf(_SC_NPROCESSORS_ONLN), i, n;
	bool idle = !strcmp(argv[argc - 1], "--idle");
	cpu_set_t set;

	setvbuf(stdout, NULL, _IOLBF, 0);
	for (n = 0; n < ARRAY_SIZE(entry); n++) {
		struct vm *vm = vm_create(cpus, 0);

		for (i = 0; i < cpus && !idle; i++) {
			struct vcpu *v = vm->vcpus[i];

			vcpu_entry(v, entry[n]);
			CPU_ZERO(&set);
			CPU_SET(i, &set);
			ASSERT_EQ(pthread_create(&v->worker, NULL, run, v), 0);
			ASSERT_EQ(pthread_setaffinity_np(v->worker, sizeof(set), &set), 0);
		}
	}
	for (n = 0; n < ARRAY_SIZE(entry); n++) {
		for (i = 0; i < cpus && !idle; i++) {
			while (rounds[n][i] < ROUNDS)
				sched_yield();
		}
	}
	printf("ready\n");
	for (;;)
		pause();
}
