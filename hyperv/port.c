// SPDX-License-Identifier: GPL-2.0-only
/*
 * The few pieces of KVM's register handling that are inline there and have no
 * function to import.
 */
#include <linux/kvm_host.h>
#include <asm/fpu/api.h>

#include "khv/port.h"

void khv_read_xmm(u8 *buf)
{
	/* The guest's vectors live in the registers while this thread may use them. */
	fpregs_lock();
	if (test_thread_flag(TIF_NEED_FPU_LOAD))
		switch_fpu_return();
	asm volatile("movdqu %%xmm0, 0(%0)\n\t"
		     "movdqu %%xmm1, 16(%0)\n\t"
		     "movdqu %%xmm2, 32(%0)\n\t"
		     "movdqu %%xmm3, 48(%0)\n\t"
		     "movdqu %%xmm4, 64(%0)\n\t"
		     "movdqu %%xmm5, 80(%0)"
		     :
		     : "r"(buf)
		     : "memory");
	fpregs_unlock();
}
