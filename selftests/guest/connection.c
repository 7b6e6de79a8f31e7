// SPDX-License-Identifier: GPL-2.0-only
/* See connection.h. */
#include <errno.h>
#include <sys/ioctl.h>

#include "connection.h"

struct one one_vcpu(u32 flags, bool synic)
{
	struct one o = { .vm = vm_create(1, flags) };

	o.vcpu = o.vm->vcpus[0];
	/* Without a SynIC, nothing here is handed to user space. */
	if (synic)
		ASSERT_EQ(__vcpu_enable_cap(o.vcpu, KVM_CAP_HYPERV_SYNIC2, 0), 0);
	vcpu_set_msr(o.vcpu, HV_X64_MSR_GUEST_OS_ID, 0x8100000000000001ULL);
	o.ops = vcpu_ops_init(o.vcpu, 1);
	o.signal = vm_alloc(o.vm, PAGE_SIZE);
	o.post = vm_alloc(o.vm, PAGE_SIZE);
	return o;
}

int __connection_ioctl(struct vm *vm, u32 conn, int fd, u32 flags)
{
	struct kvm_hyperv_eventfd e = { .conn_id = conn, .fd = fd, .flags = flags };

	return ioctl(vm->fd, KVM_HYPERV_EVENTFD, &e) < 0 ? -errno : 0;
}

int __connection_assign(struct vm *vm, u32 conn, int fd)
{
	return __connection_ioctl(vm, conn, fd, 0);
}

int connection_new(struct vm *vm, u32 conn)
{
	int fd = eventfd_new();

	ASSERT_EQ(__connection_assign(vm, conn, fd), 0);
	return fd;
}

void call_answered(struct one *o, u64 control, u64 in, u64 status, const char *what)
{
	struct guest_op r = vcpu_op(o->vcpu, o->ops, OP_HC(control, in, 0));

	ASSERT(!r.vector, "%s: vector %u", what, r.vector);
	ASSERT(!r.exits, "%s: an exit (%s) to user space", what, exit_name(r.exit_reason));
	ASSERT(r.result == status, "%s: status 0x%llx, expected 0x%llx", what,
	       (unsigned long long)r.result, (unsigned long long)status);
}

void run_to_user(struct one *o, u64 control, u64 in, u64 out)
{
	o->ops->ops[0] = OP_HC(control, in, out);
	o->ops->nr = 1;
	vcpu_run_exit(o->vcpu, KVM_EXIT_HYPERV);
	ASSERT_EQ(o->vcpu->run->hyperv.type, KVM_EXIT_HYPERV_HCALL);
}

void end_of_exit(struct one *o, u64 result)
{
	o->vcpu->run->hyperv.u.hcall.result = result;
	ASSERT_EQ(vcpu_run(o->vcpu), GUEST_SYNC_CMD);
	ASSERT_EQ(o->ops->ops[0].vector, 0);
	ASSERT_EQ(o->ops->ops[0].result, result);
}

void handed_over(struct one *o, u64 control, u64 in, u64 out, u64 result)
{
	const struct kvm_hyperv_exit *exit = &o->vcpu->run->hyperv;

	run_to_user(o, control, in, out);
	ASSERT_EQ(exit->u.hcall.input, control);
	ASSERT_EQ(exit->u.hcall.params[0], in);
	ASSERT_EQ(exit->u.hcall.params[1], out);
	end_of_exit(o, result);
}

void assert_unreadable(struct guest_op r)
{
	ASSERT(r.result == HV_STATUS_INVALID_ALIGNMENT ||
		       r.result == HV_STATUS_INVALID_HYPERCALL_INPUT,
	       "status 0x%llx", (unsigned long long)r.result);
}

const u64 gpas_nowhere[NR_NOWHERE] = { GPA_NOWHERE, 0xfffffffffffff000ULL, 0x7ffffffffffffff8ULL };
