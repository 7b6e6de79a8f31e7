// SPDX-License-Identifier: GPL-2.0-only
/* See hypercall_matrix.h. */
#include <errno.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>

#include "hypercall_matrix.h"

struct one matrix_vm(u32 flags, enum debugger debugger, const char *id)
{
	struct one o = { .vm = vm_create(1, flags), .id = id };
	struct kvm_hyperv_eventfd e = { .conn_id = CONN };

	o.vcpu = o.vm->vcpus[0];
	vcpu_set_bit(o.vcpu, HV_S_KERNEL_DEBUG, debugger != NO_DEBUGGER);
	if (!(flags & VM_NO_IRQCHIP)) {
		/* Some calls go to user space only if there is a SynIC. */
		ASSERT_EQ(__vcpu_enable_cap(o.vcpu, KVM_CAP_HYPERV_SYNIC2, 0), 0);
		e.fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
		ASSERT(e.fd >= 0, "eventfd: %s", strerror(errno));
		ASSERT(ioctl(o.vm->fd, KVM_HYPERV_EVENTFD, &e) == 0, "%s", strerror(errno));
	}
	vcpu_set_msr(o.vcpu, HV_X64_MSR_GUEST_OS_ID, 0x8100000000000001ULL);
	if (debugger == DEBUGGER_BY_CALLS)
		vcpu_set_msr(o.vcpu, HV_X64_MSR_SYNDBG_OPTIONS, USE_HCALLS);
	o.ops = vcpu_ops_init(o.vcpu, 1);
	o.input = vm_alloc(o.vm, 2 * PAGE_SIZE);
	o.xmm = vm_alloc(o.vm, sizeof(*o.xmm));
	return o;
}

u64 matrix_issue(struct one *o, u32 form, u64 control, const u64 *block, u32 qwords, u64 at)
{
	struct guest_op op = { .op = OP_HYPERCALL_XMM, .arg0 = control, .xmm = o->xmm };
	u64 base = (u64)(uintptr_t)o->input;

	/* Fill the rest of the pages: it must not matter. */
	memset(o->xmm, 0xff, sizeof(*o->xmm));
	memset(o->input, 0xff, 2 * PAGE_SIZE);
	if (form == FAST) {
		op.arg0 |= HV_CTL_FAST;
		op.arg1 = block[0];
		op.arg2 = qwords > 1 ? block[1] : ~0ULL;
		if (qwords > 2)
			memcpy(o->xmm, block + 2,
			       (qwords < FAST_QWORDS ? qwords - 2 : FAST_QWORDS - 2) * sizeof(u64));
	} else {
		if (at >= base && at + qwords * sizeof(u64) <= base + 2 * PAGE_SIZE)
			memcpy(o->input + (at - base), block, qwords * sizeof(u64));
		op.arg1 = at;
		op.arg2 = ~0xfffULL;
	}
	op = vcpu_op(o->vcpu, o->ops, op);
	ASSERT(!op.vector, "control 0x%llx: vector %u", (unsigned long long)control, op.vector);
	if (!op.exits)
		return op.result;
	ASSERT_EQ(op.exits, 1);
	ASSERT_EQ(op.exit_reason, KVM_EXIT_HYPERV);
	ASSERT_EQ(op.result, 0);
	return USER;
}

void matrix_judge(struct one *o, const char *name, const char *what, u32 form, u64 control, u64 got,
		  const struct answer *a)
{
	u64 want = module_loaded() ? a->right : host_is_6_1() ? a->stock_6_1 : a->stock;

	o->nr++;
	o->wrong += got != a->right;
	if (got == want)
		return;
	o->bad++;
	ktap_log("%s, %s, %s, control 0x%llx: 0x%llx instead of 0x%llx", name,
		 form == FAST ? "fast" : "slow", what, (unsigned long long)control,
		 (unsigned long long)got, (unsigned long long)want);
}

void matrix_verdict(struct one *o)
{
	ASSERT(o->nr, "no such cell");
	ASSERT(!o->bad, "%u of %u answers are not as declared", o->bad, o->nr);
	ASSERT_KNOWN(!o->wrong, "%u of %u answers are wrong", o->wrong, o->nr);
	vm_free(o->vm);
}

bool matrix_in_group(const struct one *o, const struct answer *a)
{
	return a->set && (!a->id || !o->id ? a->id == o->id : !strcmp(a->id, o->id));
}
