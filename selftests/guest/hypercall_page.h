/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * GUEST_OS_ID and HYPERCALL, and two pages of the VM's RAM for the hypercall page and others.
 */
#ifndef KHV_SELFTEST_HYPERCALL_PAGE_H
#define KHV_SELFTEST_HYPERCALL_PAGE_H

#include "vm.h"

#define OS_ID	  0x8100000612340000ULL
#define RSVD_BITS 0xffcULL /* 11:2, RsvdP */
#define MAGIC	  0x5a5aa5a50badcafeULL

extern u8 *hc_page, *hc_page2; /* two pages of the VM's RAM */

struct vm *vm_with_pages(void);
/* @entry asks for it (1) and for the end of it (2): hc_page is read-only in between. */
void run_read_only(void (*entry)(void));
/* Run @entry to the end, and free the VM. */
void run_to_end_of(struct vm *vm, struct vcpu *vcpu, void (*entry)(void));
void run_to_end(struct vm *vm, void (*entry)(void));

/* Guest: vmcall (0F 01 C1) or vmmcall (0F 01 D9), then ret, somewhere near the start. */
bool page_has_code(u8 *p);
/* Guest: enable the hypercall page at hc_page, and call through it. */
void enable_again(bool os_id);
/* Guest: the reference TSC page, valid if it has a sequence. */
bool page_has_clock(u8 *p);
/* Guest: enable the reference TSC page there. */
void tsc_page_on(u8 *p);

#endif
