// SPDX-License-Identifier: GPL-2.0-only
/*
 * Host instructions of the module's look-ups at load, where the TSC counts them: a load that
 * fails because a name is missing has compared the kernel contract with BTF, where KVM has BTF,
 * and looked up everything, and has replaced nothing; one that fails at a parameter has done none
 * of it. A load also waits for grace periods, during which an emulated clock jumps, so what counts
 * is the CPU time of this process.
 *
 *   load_cost_test [--module FILE]
 */
#include <errno.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "cost.h"
#include "module.h"
#include "vm.h"

/* KVM has some 9,000 symbols. */
#define LIMIT 3000000

/* The kernel's BTF describes 110,000 types in 5 MB, which are read and gone through. */
#define CONTRACT_LIMIT 20000000

GUEST_CODE(nothing)
{
	cost_measure_nothing();
	GUEST_SYNC(1);
}

static u64 cpu_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return t.tv_sec * 1000000000ULL + t.tv_nsec;
}

/* Instructions in a millisecond of CPU time. */
static u64 instructions_per_ms(void)
{
	u64 ns = cpu_ns(), tsc = rdtsc();

	while (cpu_ns() - ns < 50000000)
		;
	return (rdtsc() - tsc) / 50;
}

static u64 load_cost(const char *params, int error, u64 per_ms)
{
	u64 start = cpu_ns(), cost;
	int ret = __module_load_with(params);

	cost = (cpu_ns() - start) * per_ms / 1000000;
	ASSERT(ret == -error, "insmod with %s: %s, expected %s", params, strerror(-ret),
	       strerror(error));
	return cost;
}

/* The least cost of a few loads: timer ticks and the first touch of the file are no part of it. */
static u64 least_cost(const char *params, int error, u64 per_ms)
{
	u64 least = ~0ULL, cost;
	int i;

	for (i = 0; i < 5; i++) {
		cost = load_cost(params, error, per_ms);
		least = cost < least ? cost : least;
	}
	return least;
}

TEST(lookups_of_the_load_are_cheap)
{
	bool compares = !access("/sys/kernel/btf/kvm", F_OK);
	u64 limit = LIMIT + (compares ? CONTRACT_LIMIT : 0);
	u64 none, all, per_ms;
	struct vm *vm;

	module_start_clean();
	vm = vm_create(1, 0);
	vcpu_entry(vm->vcpus[0], nothing);
	vcpu_run_sync(vm->vcpus[0], 1);
	/* Skips where the TSC counts anything else. */
	cost_check();
	vm_free(vm);
	per_ms = instructions_per_ms();
	none = least_cost("takeover=perhaps", EINVAL, per_ms);
	all = least_cost("require=no_such_function", EOPNOTSUPP, per_ms);
	ktap_log("LOAD %s %llu", compares ? "lookups_and_contract" : "lookups",
		 (unsigned long long)(all - none));
	ASSERT(all - none <= limit, "the look-ups take %llu instructions, not %llu",
	       (unsigned long long)(all - none), (unsigned long long)limit);
}

int main(int argc, char **argv)
{
	int i;

	for (i = 1; i + 1 < argc; i++)
		if (!strcmp(argv[i], "--module"))
			module_option = argv[i + 1];
	return module_ktap_main(argc, argv);
}
