// SPDX-License-Identifier: GPL-2.0-only
/* See nested_post.h. */
#include "nested_post.h"

#define L2_R8 7 /* in nested.gpr */

const u64 post_other_calls[] = {
	0,
	HVCALL_FLUSH_SPACE | HV_CTL_FAST,
	HVCALL_NOTIFY_LONG_SPIN_WAIT | HV_CTL_FAST,
	HVCALL_SEND_IPI | HV_CTL_FAST,
	HVCALL_POST_MESSAGE - 1,
	HVCALL_SIGNAL_EVENT + 1,
	HVCALL_POST_DEBUG_DATA,
	HVCALL_SIGNAL_EVENT | 0x100 | HV_CTL_FAST,
	HVCALL_POST_MESSAGE | 0x8000,
	HVCALL_EXT_QUERY_CAPABILITIES,
	0xffff,
};

void write_post_input(void *at, u32 conn)
{
	*(struct post_input *)at = (struct post_input){ .connection = conn, .type = 1, .size = 8 };
}

struct world post_world_create(u32 vcpus, u32 vm_flags, u32 flags, bool synic)
{
	struct world w = { .vm = vm_create(vcpus, vm_flags) };

	w.v = w.vm->vcpus[0];
	if (synic)
		ASSERT_EQ(__vcpu_enable_cap(w.v, KVM_CAP_HYPERV_SYNIC2, 0), 0);
	w.n = nested_create(w.v, flags, 1);
	w.fd = connection_new(w.vm, CONN);
	w.page = vm_alloc(w.vm, PAGE_SIZE);
	w.hidden = vm_alloc(w.vm, PAGE_SIZE);
	write_post_input(w.page, CONN);
	write_post_input(w.hidden, CONN);
	w.n->window[0] = gpa(w.hidden) | w.n->leaf;
	return w;
}

struct world post_world_start(u32 flags, u32 calls)
{
	struct world w = post_world_create(1, 0, flags, true);

	put32(w.n->assist, ASSIST_CALLS, calls);
	nested_start(w.v);
	return w;
}

void post_world_free(struct world *w)
{
	vm_free(w->vm);
}

void permit(struct world *w, u32 features, u32 calls)
{
	put32(w->n->assist, ASSIST_DIRECT, features);
	put32(w->n->assist, ASSIST_CALLS, calls);
	nested_reenter(w->v);
}

struct guest_op post_world_op(struct world *w, struct guest_op op)
{
	return vcpu_op(w->v, w->n->l2, op);
}

void assert_kept(struct world *w, u32 exits, u32 vector, const char *what)
{
	ASSERT_KNOWN(w->n->exits == exits && !vector, "%s: %u exits to L1, vector %u", what,
		     w->n->exits - exits, vector);
}

void answered(struct world *w, u64 control, u64 in, u64 status, const char *what)
{
	u32 exits = w->n->exits;
	struct guest_op o = post_world_op(w, OP_HC(control, in, OUTPUT));

	assert_kept(w, exits, o.vector, what);
	ASSERT(!o.exits, "%s: an exit (%s) to user space", what, exit_name(o.exit_reason));
	ASSERT(o.result == status, "%s: call 0x%llx: status 0x%llx, expected 0x%llx", what,
	       (unsigned long long)control, (unsigned long long)o.result,
	       (unsigned long long)status);
}

void run_op_to_user(struct world *w, struct guest_op op)
{
	u32 exits = w->n->exits, cmd;

	w->n->l2->ops[0] = op;
	w->n->l2->nr = 1;
	cmd = vcpu_run(w->v);
	assert_kept(w, exits, w->n->l2->ops[0].vector, "to user space");
	ASSERT(cmd == RUN_EXIT(KVM_EXIT_HYPERV), "call 0x%llx: 0x%x, result 0x%llx",
	       (unsigned long long)op.arg0, cmd, (unsigned long long)w->n->l2->ops[0].result);
	ASSERT_EQ(w->v->run->hyperv.type, KVM_EXIT_HYPERV_HCALL);
}

void call_to_user(struct world *w, u64 control, u64 in, u64 param)
{
	const struct kvm_hyperv_exit *exit = &w->v->run->hyperv;
	bool post = (control & 0xffff) == HVCALL_POST_MESSAGE;

	run_op_to_user(w, OP_HC(control, in, OUTPUT));
	ASSERT_EQ(exit->u.hcall.input, post ? POST_SLOW : SIGNAL_FAST);
	ASSERT_EQ(exit->u.hcall.params[0], param);
}

void assert_goes_on(struct world *w, u64 result)
{
	u32 exits = w->n->exits;

	vcpu_run_sync(w->v, OPS_STAGE);
	ASSERT_EQ(w->n->exits, exits);
	ASSERT_EQ(w->n->l2->ops[0].vector, 0);
	ASSERT_EQ(w->n->l2->ops[0].result, result);
}

void handed(struct world *w, u64 control, u64 in, u64 param, u64 result)
{
	call_to_user(w, control, in, param);
	w->v->run->hyperv.u.hcall.result = result;
	assert_goes_on(w, result);
}

void reflected_as(struct world *w, u64 control, u64 in, u64 rcx, const char *why)
{
	struct nested *n = w->n;
	u32 exits = n->exits;
	struct guest_op o = post_world_op(w, OP_HC(control, in, OUTPUT));

	ASSERT(!o.exits, "%s: an exit (%s) to user space", why, exit_name(o.exit_reason));
	ASSERT(n->exits == exits + 1 && n->exit == NESTED_HYPERCALL && o.result == NESTED_REFLECTED,
	       "%s: call 0x%llx: %u exits to L1, result 0x%llx", why, (unsigned long long)control,
	       n->exits - exits, (unsigned long long)o.result);
	ASSERT_EQ(n->gpr[L2_RCX], rcx);
	ASSERT_EQ(n->gpr[L2_RDX], in);
	ASSERT_EQ(n->gpr[L2_R8], OUTPUT);
}

void reflected(struct world *w, u64 control, u64 in, const char *why)
{
	reflected_as(w, control, in, control, why);
}

void all_reflected(struct world *w, u64 nested, const char *why)
{
	reflected(w, POST_SLOW | nested, gpa(w->page), why);
	reflected(w, SIGNAL_SLOW | nested, gpa(w->page), why);
	reflected(w, SIGNAL_FAST | nested, CONN, why);
	ASSERT_EQ(eventfd_count(w->fd), 0);
}

void all_answered(struct world *w, const char *why)
{
	answered(w, L2_SIGNAL_FAST, CONN, HV_STATUS_SUCCESS, why);
	ASSERT_EQ(eventfd_count(w->fd), 1);
	answered(w, L2_SIGNAL_SLOW, gpa(w->page), HV_STATUS_SUCCESS, why);
	ASSERT_EQ(eventfd_count(w->fd), 1);
	handed(w, L2_POST, gpa(w->page), gpa(w->page), ANSWER);
}

struct regs32 l2_regs32;
static struct xmm_block no_xmm;

static u64 call32(u64 unused)
{
	(void)unused;
	return __hypercall_32(&l2_regs32, &no_xmm);
}

struct guest_op post_call32_op(u64 control, u64 in)
{
	l2_regs32 = (struct regs32){ .edx = (u32)(control >> 32),
				     .eax = (u32)control,
				     .ebx = (u32)(in >> 32),
				     .ecx = (u32)in };
	return (struct guest_op){ .op = OP_CALL, .arg0 = (u64)(uintptr_t)call32 };
}
