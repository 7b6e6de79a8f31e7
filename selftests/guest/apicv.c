// SPDX-License-Identifier: GPL-2.0-only
/* See apicv.h. */
#include <errno.h>
#include <sched.h>
#include <string.h>
#include <sys/ioctl.h>

#include "apicv.h"

void eoi(enum eoi_by how)
{
	if (how == BY_MSR)
		wrmsr(HV_X64_MSR_EOI, 0);
	else if (how == BY_REGISTER)
		reg_write(APIC_EOI, 0);
}

/* The input of calls in memory, one for each VP. */
static u64 call_input[2][8] __attribute__((aligned(64)));

void send_interrupt(u32 dest, u32 vector, enum send_by how)
{
	u64 *in = call_input[this_cpu()->id];
	u64 icr = icr_to(dest, vector);

	switch (how) {
	case BY_ICR_REGISTER:
		if (x2apic) {
			wrmsr(MSR_X2APIC + APIC_ICR / 16, icr);
		} else {
			apic_write(APIC_ICR + 0x10, dest << 24);
			apic_write(APIC_ICR, ICR_ASSERT | vector);
		}
		break;
	case BY_CALL:
		GUEST_ASSERT_EQ(hypercall(IPI_FAST, vector, BIT64(dest)), 0);
		break;
	case BY_CALL_IN_MEMORY:
		in[0] = vector;
		in[1] = BIT64(dest);
		GUEST_ASSERT_EQ(hypercall(HVCALL_SEND_IPI, gpa(in), 0), 0);
		break;
	case BY_EX_CALL:
		in[0] = vector;
		in[1] = 0;
		in[2] = 1;
		in[3] = BIT64(dest);
		GUEST_ASSERT_EQ(hypercall(HVCALL_SEND_IPI_EX | HV_CTL_VARHDR(1), gpa(in), 0), 0);
		break;
	case BY_SHORTHAND:
		wrmsr(HV_X64_MSR_ICR, ICR_SELF | ICR_ASSERT | vector);
		break;
	case BY_SELF_IPI:
		wrmsr(x2apic ? MSR_X2APIC_SELF_IPI : HV_X64_MSR_ICR, x2apic ? vector : icr);
		break;
	default:
		wrmsr(HV_X64_MSR_ICR, icr);
	}
}

void handle(u32 vector, guest_irq_fn fn)
{
	guest_irq_handlers[vector] = fn;
}

static struct vm *apic_vm_flags(u32 nr, u32 flags)
{
	struct vm *vm = synic_vm_flags(nr, flags);

	vcpu_set_msr(vm->vcpus[0], HV_X64_MSR_GUEST_OS_ID, 0x8100000000000001ULL);
	return vm;
}

struct vm *apic_vm(u32 nr)
{
	return apic_vm_flags(nr, 0);
}

void run_one(void (*entry)(void))
{
	struct vm *vm = apic_vm(1);

	vcpu_entry(vm->vcpus[0], entry);
	synic_run_done(vm->vcpus[0]);
	vm_free(vm);
}

volatile bool targets_stop;

volatile u32 targets_got[2][256], targets_up[2];

enum eoi_by target_eoi;

void count_mine(struct guest_frame *f)
{
	eoi(target_eoi);
	targets_got[this_cpu()->id][f->vector]++;
}

GUEST_CODE_GLOBAL(spins)
{
	apic_start();
	irqs_on();
	targets_up[this_cpu()->id] = 1;
	while (!targets_stop)
		cpu_relax();
}

GUEST_CODE_GLOBAL(sleeps)
{
	apic_start();
	targets_up[this_cpu()->id] = 1;
	while (!targets_stop)
		irqs_halt();
}

struct vm *two_vps(void)
{
	return apic_vm_flags(2, VM_FREE_PAUSE);
}

void start_target(struct vm *vm, void (*entry)(void))
{
	handle(LOW, count_mine);
	vcpu_entry(vm->vcpus[1], entry);
	vcpu_start(vm->vcpus[1]);
	while (!targets_up[1])
		sched_yield();
}

void stop_target(struct vm *vm)
{
	struct kvm_msi msi = { .address_lo = 0xfee00000u | 1 << 12, .data = LOW };

	targets_stop = true;
	ASSERT(ioctl(vm->fd, KVM_SIGNAL_MSI, &msi) >= 0, "KVM_SIGNAL_MSI: %s", strerror(errno));
	vcpu_join(vm->vcpus[1]);
}

GUEST_CODE_GLOBAL(sleeps_for_sint)
{
	wrmsr(HV_X64_MSR_SINT(TEST_SINT), LOW);
	sleeps();
}

GUEST_CODE_GLOBAL(spins_for_sint)
{
	wrmsr(HV_X64_MSR_SINT(TEST_SINT), LOW);
	spins();
}

void raise_and_wait(int fd, u32 nr)
{
	eventfd_signal(fd);
	while (targets_got[1][LOW] < nr)
		sched_yield();
	ASSERT_EQ(targets_got[1][LOW], nr);
}
