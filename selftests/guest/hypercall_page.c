// SPDX-License-Identifier: GPL-2.0-only
/* See hypercall_page.h. */
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>

#include "hypercall_page.h"

u8 *hc_page, *hc_page2;

struct vm *vm_with_pages(void)
{
	struct vm *vm = vm_create(1, 0);

	hc_page = vm_alloc(vm, PAGE_SIZE);
	hc_page2 = vm_alloc(vm, PAGE_SIZE);
	return vm;
}

void run_to_end_of(struct vm *vm, struct vcpu *vcpu, void (*entry)(void))
{
	vcpu_entry(vcpu, entry);
	vcpu_run_done(vcpu);
	vm_free(vm);
}

void run_to_end(struct vm *vm, void (*entry)(void))
{
	run_to_end_of(vm, vm->vcpus[0], entry);
}

bool page_has_code(u8 *p)
{
	u8 last = guest_use_vmmcall ? 0xd9 : 0xc1;

	return p[0] == 0x0f && p[1] == 0x01 && p[2] == last && p[3] == 0xc3;
}

void run_read_only(void (*entry)(void))
{
	struct kvm_clock_data clock = {};
	struct vm *vm = vm_with_pages();
	struct vcpu *v = vm->vcpus[0];

	vcpu_entry(v, entry);
	vcpu_run_sync(v, 1);
	ASSERT(!mprotect(hc_page, PAGE_SIZE, PROT_READ), "mprotect");
	vcpu_run_sync(v, 2);
	ASSERT(!mprotect(hc_page, PAGE_SIZE, PROT_READ | PROT_WRITE), "mprotect");
	clock.clock = 1000000000000ULL;
	ASSERT_EQ(ioctl(vm->fd, KVM_SET_CLOCK, &clock), 0);
	vcpu_run_done(v);
	vm_free(vm);
}

void enable_again(bool os_id)
{
	u64 result;

	if (os_id)
		wrmsr(HV_X64_MSR_GUEST_OS_ID, OS_ID);
	wrmsr(HV_X64_MSR_HYPERCALL, gpa(hc_page) | HV_HYPERCALL_ENABLE);
	GUEST_ASSERT(page_has_code(hc_page));
	GUEST_ASSERT_EQ(__hypercall_page(hc_page, HVCALL_NOTIFY_LONG_SPIN_WAIT | HV_CTL_FAST, 0, 0,
					 &result),
			0);
	GUEST_ASSERT_EQ(result, HV_STATUS_SUCCESS);
}

bool page_has_clock(u8 *p)
{
	const struct tsc_page *tsc = (void *)p;
	u64 before, by_page, high, scale = tsc->scale, now;

	if (page_has_code(p))
		return false;
	/* Without a master clock the page says no more than that. */
	if (!tsc->sequence)
		return true;
	before = rdmsr(HV_X64_MSR_TIME_REF_COUNT);
	now = rdtsc();
	asm("mul %2" : "=d"(high), "+a"(now) : "r"(scale) : "cc");
	by_page = high + (u64)tsc->offset;
	return by_page + 1 >= before && by_page <= rdmsr(HV_X64_MSR_TIME_REF_COUNT) + 1;
}

void tsc_page_on(u8 *p)
{
	wrmsr(HV_X64_MSR_REFERENCE_TSC, gpa(p) | 1);
	GUEST_ASSERT(page_has_clock(p));
}
