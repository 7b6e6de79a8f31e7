// SPDX-License-Identifier: GPL-2.0-only
/*
 * What an IPI, a flush and a spin-wait cost the host by their targets (guest/cost.h), in
 * VMs of growing size of which all vCPUs but the caller never run: on stock KVM, then with
 * the module, in one boot. The cost of a number of targets must not grow with the VM,
 * and must be below stock's. TLFS chapter "Virtual Processors".
 *
 *   target_cost_test [--module FILE]
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include "cost.h"
#include "module.h"
#include "vm.h"

#define SAMPLES	   101
#define MAX_VPS	   1024
#define MAX_GROWTH 110 /* percent of the cost in the smallest VM */
/* Percent of stock for as many targets as one bank has, in a VM of as many. */
#define MANY	   64
#define MANY_LIMIT (host_tells_next_rip() ? 55 : 68)

static const u32 vm_sizes[] = { 2, 8, 64, 240, 256, 1000, 1024 };
static const u32 target_counts[] = { 1, 8, 64 };
#define SIZES	ARRAY_SIZE(vm_sizes)
#define TARGETS ARRAY_SIZE(target_counts)

enum {
	CALL_IPI,	 /* processor mask, registers */
	CALL_IPI_EX,	 /* VP set, memory */
	CALL_FLUSH,	 /* processor mask, everything */
	CALL_FLUSH_EX,	 /* VP set, everything */
	CALL_FLUSH_LIST, /* VP set, one page */
	CALL_SPIN,	 /* names nobody: counted as one target */
	CALLS,
};

static const char *const call_names[CALLS] = {
	[CALL_IPI] = "HC_SendSyntheticClusterIpi",
	[CALL_IPI_EX] = "HC_SendSyntheticClusterIpiEx_memory",
	[CALL_FLUSH] = "HC_FlushSpace_memory",
	[CALL_FLUSH_EX] = "HC_FlushSpaceEx_memory",
	[CALL_FLUSH_LIST] = "HC_FlushListEx_memory_one_page",
	[CALL_SPIN] = "HC_NotifyLongSpinWait",
};

struct costs {
	u32 of[CALLS][SIZES][TARGETS]; /* 0: more targets than vCPUs */
};

/* The call that the guest is to measure; no control word: measure nothing. */
static u64 call_control, call_in, call_out;

GUEST_CODE(caller)
{
	guest_set_os_id();
	for (;;) {
		if (call_control) {
			GUEST_ASSERT_EQ((u32)hypercall(call_control, call_in, call_out) & 0xffff,
					0);
			COST_MEASURE(SAMPLES, hypercall(call_control, call_in, call_out));
		} else {
			cost_measure_nothing();
		}
		GUEST_SYNC(1);
	}
}

/* The last @n VPs of a VM of @size, as a set of which one bank is enough or a mask. */
static void make_call(u32 call, u64 *input, u32 size, u32 n)
{
	u64 mask = n == 64 ? ~0ULL : (1ULL << n) - 1;
	u32 bank = (size - n) / 64;
	u64 *set = input;

	mask <<= (size - n) % 64;
	memset(input, 0, PAGE_SIZE);
	call_in = (u64)(uintptr_t)input;
	call_out = 0;
	switch (call) {
	case CALL_IPI:
		call_control = HVCALL_SEND_IPI | HV_CTL_FAST;
		call_in = 0x40;
		/* The mask reaches the first 64 VPs only. */
		call_out = n == 64 ? ~0ULL : (1ULL << n) - 1;
		return;
	case CALL_SPIN:
		call_control = HVCALL_NOTIFY_LONG_SPIN_WAIT | HV_CTL_FAST;
		call_in = 0;
		return;
	case CALL_IPI_EX:
		call_control = HVCALL_SEND_IPI_EX | HV_CTL_VARHDR(1);
		*set++ = 0x40;
		break;
	case CALL_FLUSH:
		call_control = HVCALL_FLUSH_SPACE;
		input[1] = HV_FLUSH_ALL_SPACES;
		input[2] = n == 64 ? ~0ULL : (1ULL << n) - 1;
		return;
	case CALL_FLUSH_EX:
		call_control = HVCALL_FLUSH_SPACE_EX | HV_CTL_VARHDR(1);
		set[1] = HV_FLUSH_ALL_SPACES;
		set += 2;
		break;
	case CALL_FLUSH_LIST:
		call_control = HVCALL_FLUSH_LIST_EX | HV_CTL_VARHDR(1) | HV_CTL_REP(1);
		input[5] = (u64)(uintptr_t)input; /* a page of the guest */
		set += 2;
		break;
	}
	set[1] = 1ULL << bank;
	set[2] = mask;
}

/* vCPUs that exist and have Hyper-V's CPUID, and are never run. */
static void add_idle(struct vm *vm, int *fds, u32 size)
{
	struct kvm_lapic_state lapic;
	u32 i;

	for (i = vm->nr_vcpus; i < size; i++) {
		fds[i] = ioctl(vm->fd, KVM_CREATE_VCPU, i);
		ASSERT(fds[i] >= 0, "vCPU %u: %s", i, strerror(errno));
		ASSERT(!ioctl(fds[i], KVM_SET_CPUID2, &vm->vcpus[0]->cpuid), "CPUID of vCPU %u: %s",
		       i, strerror(errno));
		/* Enabled, so that an IPI has all the work of one that arrives. */
		ASSERT(!ioctl(fds[i], KVM_GET_LAPIC, &lapic), "LAPIC: %s", strerror(errno));
		*(u32 *)&lapic.regs[0xf0] = 0x1ff;
		ASSERT(!ioctl(fds[i], KVM_SET_LAPIC, &lapic), "LAPIC: %s", strerror(errno));
	}
}

static void measure_vm(struct costs *c, u32 size_at)
{
	u32 size = vm_sizes[size_at], call, t, i, nothing;
	struct vm *vm = vm_create(1, 0);
	u64 *input = vm_alloc(vm, PAGE_SIZE);
	static int fds[MAX_VPS];

	add_idle(vm, fds, size);
	vcpu_entry(vm->vcpus[0], caller);
	call_control = 0;
	vcpu_run_sync(vm->vcpus[0], 1);
	nothing = cost_check();
	for (call = 0; call < CALLS; call++) {
		for (t = 0; t < TARGETS && target_counts[t] <= size; t++) {
			if (call == CALL_SPIN && t)
				break;
			make_call(call, input, size, target_counts[t]);
			vcpu_run_sync(vm->vcpus[0], 1);
			c->of[call][size_at][t] = cost_median(SAMPLES) - nothing;
		}
	}
	for (i = vm->nr_vcpus; i < size; i++)
		close(fds[i]);
	vm_free(vm);
}

static void measure(struct costs *c)
{
	u32 i;

	memset(c, 0, sizeof(*c));
	for (i = 0; i < SIZES; i++)
		measure_vm(c, i);
}

/* Rows that cost more than stock, or more in a large VM than in a small one. */
static u32 print_compared(const struct costs *stock, const struct costs *ours)
{
	u32 call, s, t, bad = 0;

	ktap_log("host instructions, median of %u: targets, vCPUs, stock, module", SAMPLES);
	for (call = 0; call < CALLS; call++) {
		for (t = 0; t < TARGETS; t++) {
			u32 least = 0;

			for (s = 0; s < SIZES; s++) {
				u32 was = stock->of[call][s][t], is = ours->of[call][s][t];
				const char *what = "";

				if (!is)
					continue;
				if (!least)
					least = is;
				if (is >= was)
					what = "  MORE THAN STOCK";
				else if (target_counts[t] == MANY && vm_sizes[s] == MANY &&
					 is * 100ULL > was * (u64)MANY_LIMIT)
					what = "  ABOVE ITS MARK";
				else if ((u64)is * 100 > (u64)least * MAX_GROWTH)
					what = "  GROWS WITH THE VM";
				/* rig/bench reads it. */
				ktap_log("SCALE %s %u %u %u %u%s", call_names[call],
					 target_counts[t], vm_sizes[s], was, is, what);
				bad += *what != 0;
			}
		}
	}
	return bad;
}

TEST(cost_follows_the_targets)
{
	struct rlimit files = { MAX_VPS + 64, MAX_VPS + 64 };
	struct costs stock, ours;
	u32 bad;

	ktap_timeout(220);
	ASSERT(!setrlimit(RLIMIT_NOFILE, &files), "RLIMIT_NOFILE: %s", strerror(errno));
	module_start_clean();
	measure(&stock);
	module_load();
	measure(&ours);
	module_unload();
	bad = print_compared(&stock, &ours);
	ASSERT(!bad, "%u rows are too expensive", bad);
}

int main(int argc, char **argv)
{
	if (argc == 3 && !strcmp(argv[1], "--module"))
		module_option = argv[2];
	return module_ktap_main(argc, argv);
}
