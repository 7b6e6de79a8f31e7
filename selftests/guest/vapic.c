// SPDX-License-Identifier: GPL-2.0-only
/* See vapic.h. */
#include "vapic.h"

struct assist_page assist __attribute__((aligned(4096)));
struct assist_page assist2 __attribute__((aligned(4096)));

void self_ipi(u32 vector)
{
	wrmsr(HV_X64_MSR_ICR, ICR_SELF | ICR_ASSERT | vector);
}

void count_and_eoi(struct guest_frame *f)
{
	GUEST_ASSERT(in_service(f->vector));
	guest_irqs[f->vector]++;
	wrmsr(HV_X64_MSR_EOI, 0);
}

void vapic_run(void (*entry)(void))
{
	struct vm *vm = vm_create(1, 0);

	vcpu_entry(vm->vcpus[0], entry);
	vcpu_run_done(vm->vcpus[0]);
	vm_free(vm);
}
