// SPDX-License-Identifier: GPL-2.0-only
/* See hypercall_page.h. */
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
