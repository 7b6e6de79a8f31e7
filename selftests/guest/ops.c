// SPDX-License-Identifier: GPL-2.0-only
/*
 * The interpreter of ops.h, guest side, and the host's way to drive it.
 * Each vCPU finds its stream through its guest_cpu, so several may run at once.
 */
#include "ops.h"

static void guest_one_op(struct guest_op *o)
{
	struct cpuid_regs r;

	switch (o->op) {
	case OP_RDMSR:
		o->vector = __rdmsr((u32)o->arg0, &o->result);
		break;
	case OP_WRMSR:
		o->vector = __wrmsr((u32)o->arg0, o->arg1);
		break;
	case OP_CPUID:
		r = cpuid((u32)o->arg0, (u32)o->arg1);
		o->result = (u64)r.ebx << 32 | r.eax;
		o->result2 = (u64)r.edx << 32 | r.ecx;
		break;
	case OP_HYPERCALL:
		o->vector = __hypercall(o->arg0, o->arg1, o->arg2, &o->result);
		break;
	case OP_HYPERCALL_XMM:
		o->vector = __hypercall_xmm(o->arg0, o->arg1, o->arg2, o->xmm, &o->result);
		break;
	case OP_LOAD:
		o->result = *(volatile u64 *)(uintptr_t)o->arg0;
		break;
	case OP_STORE:
		*(volatile u64 *)(uintptr_t)o->arg0 = o->arg1;
		break;
	case OP_RDTSC:
		o->result = rdtsc();
		break;
	case OP_CALL:
		o->result = ((u64(*)(u64))(uintptr_t)o->arg0)(o->arg1);
		break;
	default:
		GUEST_ASSERT_EQ(o->op, OP_END);
	}
}

void guest_run_ops(struct ops_page *p)
{
	u32 i;

	for (i = 0; i < p->nr; i++) {
		p->current = i;
		guest_one_op(&p->ops[i]);
		p->ops[i].error = p->ops[i].vector ? (u32)this_cpu()->error : 0;
	}
}

void guest_interpret(void)
{
	for (;;) {
		guest_run_ops(this_cpu()->ops);
		GUEST_SYNC(OPS_STAGE);
	}
}

GUEST_CODE(interpreter)
{
	guest_interpret();
}

struct ops_page *vcpu_ops_init(struct vcpu *v, u32 max)
{
	struct ops_page *p = vm_alloc(v->vm, sizeof(*p) + max * sizeof(p->ops[0]));

	v->cpu->ops = p;
	vcpu_entry(v, interpreter);
	return p;
}

void vcpu_ops_run(struct vcpu *v, struct ops_page *p, u32 nr)
{
	u32 i, cmd;

	for (i = 0; i < nr; i++) {
		p->ops[i].vector = 0;
		p->ops[i].exits = 0;
		p->ops[i].exit_reason = 0;
	}
	p->nr = nr;
	p->current = 0;
	for (;;) {
		struct guest_op *o;

		cmd = vcpu_run(v);
		if (cmd == GUEST_SYNC_CMD && v->cpu->msg.args[0] == OPS_STAGE)
			return;
		o = &p->ops[p->current];
		if (cmd != RUN_EXIT(KVM_EXIT_HYPERV) && cmd != RUN_EXIT(KVM_EXIT_SYSTEM_EVENT)) {
			vcpu_dump(v);
			FAIL("operation %u (%u, 0x%llx 0x%llx 0x%llx) ended with 0x%x", p->current,
			     o->op, (unsigned long long)o->arg0, (unsigned long long)o->arg1,
			     (unsigned long long)o->arg2, cmd);
		}
		o->exits++;
		o->exit_reason = v->run->exit_reason;
		if (v->run->exit_reason == KVM_EXIT_HYPERV &&
		    v->run->hyperv.type == KVM_EXIT_HYPERV_HCALL)
			v->run->hyperv.u.hcall.result = 0;
	}
}

struct guest_op vcpu_op(struct vcpu *v, struct ops_page *p, struct guest_op op)
{
	p->ops[0] = op;
	vcpu_ops_run(v, p, 1);
	return p->ops[0];
}
