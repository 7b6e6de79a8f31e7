// SPDX-License-Identifier: GPL-2.0-only
/* What the exit fast paths of both vendors share out of line: the switch, and the guest's PMU. */
#include <linux/kvm_host.h>
#include <linux/jump_label.h>
#include <linux/static_call.h>

#include "khv/fastpath.h"
#include "khv/pmu.h"

#include "fastpath_exit.h"

/* The module parameter "fastpath", and the static key that follows it. */
bool khv_fastpath = true;
DEFINE_STATIC_KEY_TRUE(khv_answering);

void khv_fastpath_switched(void)
{
	if (khv_fastpath)
		static_branch_enable(&khv_answering);
	else
		static_branch_disable(&khv_answering);
}

const u64 *khv_insn_retired;
DEFINE_STATIC_CALL_NULL(khv_pmu_trigger_event, khv_proto_pmu_trigger_event);

/*
 * Mirrors kvm_skip_emulated_instruction(): the guest's PMU counts the skipped instruction as
 * retired.
 */
void khv_count_skipped(struct kvm_vcpu *vcpu)
{
	if (!khv_pmu_counts(&vcpu->arch.pmu))
		return;
	kvm_vcpu_srcu_read_lock(vcpu);
	static_call(khv_pmu_trigger_event)(vcpu, *khv_insn_retired);
	kvm_vcpu_srcu_read_unlock(vcpu);
}
