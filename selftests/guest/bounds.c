// SPDX-License-Identifier: GPL-2.0-only
/* See bounds.h. */
#include <errno.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include "bounds.h"
#include "synic.h"

#define ID_STEP 4 /* the ids of most of WIDE vCPUs are above what an xAPIC has */

int idle[WIDE];

void add_idle(struct vm *vm, u32 size)
{
	struct rlimit files = { WIDE + 256, WIDE + 256 };
	struct kvm_lapic_state lapic;
	u32 i;

	ASSERT(!setrlimit(RLIMIT_NOFILE, &files), "RLIMIT_NOFILE: %s", strerror(errno));
	for (i = vm->nr_vcpus; i < size; i++) {
		idle[i] = ioctl(vm->fd, KVM_CREATE_VCPU,
				(unsigned long)i * (size == WIDE ? ID_STEP : 1));
		ASSERT(idle[i] >= 0, "vCPU %u: %s", i, strerror(errno));
		ASSERT(!ioctl(idle[i], KVM_SET_CPUID2, &vm->vcpus[0]->cpuid),
		       "CPUID of vCPU %u: %s", i, strerror(errno));
		ASSERT(!ioctl(idle[i], KVM_GET_LAPIC, &lapic), "LAPIC: %s", strerror(errno));
		*(u32 *)&lapic.regs[APIC_SPIV] = APIC_SPIV_ON;
		if (i == WIDE - 1)
			*(u32 *)&lapic.regs[APIC_ID] = (u32)LAST_APIC_ID << 24;
		ASSERT(!ioctl(idle[i], KVM_SET_LAPIC, &lapic), "LAPIC: %s", strerror(errno));
	}
}

void free_wide(struct vm *vm, u32 size)
{
	u32 i;

	for (i = vm->nr_vcpus; i < size; i++)
		close(idle[i]);
	vm_free(vm);
}

/* A VP set of the banks in @banks, each full, behind @words other words of @input. */
static void full_banks(u64 *input, u32 words, u64 banks)
{
	u64 *set = input + words;
	u32 i, n = (u32)__builtin_popcountll(banks);

	set[0] = 0;
	set[1] = banks;
	for (i = 0; i < n; i++)
		set[2 + i] = ~0ULL;
}

u64 *ipi_input(struct vm *vm, u64 banks)
{
	u64 *input = vm_alloc(vm, PAGE_SIZE);

	input[0] = VECTOR;
	full_banks(input, 1, banks);
	return input;
}

u64 *flush_input(struct vm *vm, u64 banks, u32 entries, u32 more)
{
	u64 *input = vm_alloc(vm, PAGE_SIZE);
	u32 i, at = 4 + (u32)__builtin_popcountll(banks);

	input[1] = HV_FLUSH_ALL_SPACES;
	full_banks(input, 2, banks);
	for (i = 0; i < entries; i++)
		input[at + i] = 0x100000ULL * (i + 1) | more;
	return input;
}

void add_connections(struct vm *vm)
{
	struct kvm_hyperv_eventfd event = { .fd = (u32)eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC) };
	u32 i;

	for (i = 0; i < CONNECTIONS; i++) {
		event.conn_id = CONN_LAST - i;
		ASSERT(!ioctl(vm->fd, KVM_HYPERV_EVENTFD, &event), "connection %u: %s", i,
		       strerror(errno));
	}
}

/* --- guest code ------------------------------------------------------------------- */

void fill_slots(void)
{
	u32 n;

	for (n = 0; n < HV_SYNIC_STIMERS; n++) {
		u64 config = HV_STIMER_ENABLE | HV_STIMER_SINT(1 + n);

		wrmsr(HV_X64_MSR_SINT(1 + n), VECTOR + n);
		synic_messages[0][1 + n].type = FULL_SLOT;
		/* Else it is delayed as one that is due too often. */
		wrmsr(HV_X64_MSR_STIMER_COUNT(n), ~0ULL >> 1);
		wrmsr(HV_X64_MSR_STIMER_CONFIG(n), config);
		wrmsr(HV_X64_MSR_STIMER_CONFIG(n), 0);
		wrmsr(HV_X64_MSR_STIMER_COUNT(n), 1);
		wrmsr(HV_X64_MSR_STIMER_CONFIG(n), config);
	}
}

void empty_slots(u32 type)
{
	u32 n;

	for (n = 0; n < HV_SYNIC_STIMERS; n++) {
		GUEST_ASSERT_EQ(synic_messages[0][1 + n].type, type);
		synic_messages[0][1 + n].type = HV_MSG_NONE;
		synic_messages[0][1 + n].flags = 0;
	}
}
