// SPDX-License-Identifier: GPL-2.0-only
/* What is in the hypercall page. TLFS chapter "Establishing the Hypercall Interface". */
#include <linux/kvm_host.h>

#include "compat/kvm.h"
#include "khv/hypercall_code.h"
#include "khv/port.h"
#include "khv/state.h"

#define INSN_RET	0xc3
#define INSN_INT3	0xcc
#define INSN_VMCALL_LEN 3

void khv_hypercall_code(struct kvm_vcpu *vcpu, u8 *page, u32 len)
{
	/*
	 * or $0x80000000, %eax: distinguishes a Hyper-V hypercall from a Xen one if both are
	 * enabled.
	 */
	static const u8 not_xen[] = { 0x0d, 0x00, 0x00, 0x00, 0x80 };
	u8 *p = page;

	memset(page, INSN_INT3, len);
	if (khv_xen_hypercalls(vcpu->kvm)) {
		memcpy(p, not_xen, sizeof(not_xen));
		p += sizeof(not_xen);
	}
	khv_x86_ops->patch_hypercall(vcpu, p);
	p[INSN_VMCALL_LEN] = INSN_RET;
}

bool khv_is_hypercall_code(struct kvm_vcpu *vcpu, const void *data, u32 len)
{
	u8 code[64];

	if (WARN_ON_ONCE(len < 16 || len > sizeof(code)))
		return false;
	khv_hypercall_code(vcpu, code, len);
	return !memcmp(data, code, len);
}
