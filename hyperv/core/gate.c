// SPDX-License-Identifier: GPL-2.0-only
/*
 * Computes from a VP's CPUID the rows that it may use (KVM_CAP_HYPERV_ENFORCE_CPUID). Pure. The
 * result is two masks, so that a check on a hot path is a single bit test.
 */
#include <linux/kernel.h>

#include "khv/tables.h"

static bool privs_held(const struct khv_cpuid *cpuid, const struct khv_priv *need)
{
	unsigned int i;

	for (i = 0; i < KHV_MAX_PRIVS; i++) {
		if (!khv_priv_held(cpuid, need[i]))
			return false;
	}
	return true;
}

static bool any_held(const struct khv_cpuid *cpuid, const struct khv_priv *need)
{
	unsigned int i;

	for (i = 0; i < KHV_MAX_PRIVS && need[i].reg; i++) {
		if (khv_priv_held(cpuid, need[i]))
			return true;
	}
	return false;
}

static bool hc_allowed(const struct khv_cpuid *cpuid, const struct khv_hc_row *row)
{
	static const struct khv_priv syndbg = KHV_PRIV(SYNDBG_EAX, ALLOW_KERNEL_DEBUGGING);

	/* With the debugger disabled the call must return "invalid code", not "access denied". */
	if ((row->flags & KHV_NEED_IF_SYNDBG) && !khv_priv_held(cpuid, syndbg))
		return true;
	if (row->flags & KHV_NEED_ANY)
		return any_held(cpuid, row->need);
	return privs_held(cpuid, row->need);
}

void khv_gate_compute(struct khv_gate *gate, const struct khv_cpuid *cpuid, bool enforce)
{
	static const struct khv_priv xmm = KHV_PRIV(FEATURES_EDX, XMM_INPUT);
	/* The feature, and the privilege. */
	static const struct khv_priv fast_output[KHV_MAX_PRIVS] = {
		KHV_PRIV(FEATURES_EDX, XMM_OUTPUT),
		KHV_PRIV(FEATURES_EBX, FAST_OUTPUT),
	};
	static const struct khv_priv lock = KHV_PRIV(FEATURES_EDX, HYPERCALL_LOCK);
	static const struct khv_priv ext_ranges = KHV_PRIV(FEATURES_EDX, EXT_GVA_RANGES);
	unsigned int i;

	*gate = (struct khv_gate){};
	if (!cpuid->present)
		return;

	for (i = 0; i < KHV_NR_MSR_ROWS; i++) {
		bool asks = enforce || (khv_msrs[i].flags & KHV_MSR_SHOWN);

		if (!asks || privs_held(cpuid, khv_msrs[i].need))
			gate->msr |= BIT_ULL(i);
	}
	for (i = 0; i < KHV_NR_HC_ROWS; i++) {
		if (!enforce || hc_allowed(cpuid, &khv_hcs[i]))
			gate->hc |= BIT_ULL(i);
	}
	gate->xmm = !enforce || khv_priv_held(cpuid, xmm);
	gate->fast_output = !enforce || privs_held(cpuid, fast_output);
	gate->lock = !enforce || khv_priv_held(cpuid, lock);
	gate->ext_ranges = !enforce || khv_priv_held(cpuid, ext_ranges);
}
