// SPDX-License-Identifier: GPL-2.0-only
/* The operations of a stream that are ioctls. */
#include <errno.h>
#include <string.h>
#include <sys/ioctl.h>

#include "fuzz.h"
#include "irqfd.h"
#include "msr_filter.h"

/* Connection @n has an eventfd of its own, which fuzz_look() counts. */
static int set_eventfd(struct fuzz_vm *f, u32 n, bool on)
{
	struct kvm_hyperv_eventfd e = {
		.conn_id = n,
		.flags = on ? 0 : KVM_HYPERV_EVENTFD_DEASSIGN,
	};
	int r;

	if (f->eventfd[n] < 0)
		f->eventfd[n] = eventfd_new();
	e.fd = f->eventfd[n];
	r = ioctl(f->vm->fd, KVM_HYPERV_EVENTFD, &e) ? -errno : 0;
	if (!r)
		f->connected[n] = on;
	return r;
}

/* KVM refuses most changes once the vCPU has run. */
static int set_bit(struct fuzz_vm *f, u64 bit, bool on)
{
	struct cpuid_table before = f->v->cpuid;
	int r;

	cpuid_assign(&f->v->cpuid, bit, on);
	r = __vcpu_set_cpuid(f->v);
	if (r)
		f->v->cpuid = before;
	return r;
}

static int route(struct fuzz_vm *f, u32 gsi, u32 sint)
{
	struct {
		struct kvm_irq_routing r;
		struct kvm_irq_routing_entry e[FUZZ_EVENTFDS];
	} t = { .r.nr = FUZZ_EVENTFDS };
	u32 i;

	for (i = 0; i < FUZZ_EVENTFDS; i++) {
		t.e[i].gsi = GSI(i);
		t.e[i].type = KVM_IRQ_ROUTING_HV_SINT;
		t.e[i].u.hv_sint.sint = i == gsi ? sint : i + 1;
	}
	return ioctl(f->vm->fd, KVM_SET_GSI_ROUTING, &t) ? -errno : 0;
}

static int raise_gsi(struct fuzz_vm *f, u32 gsi)
{
	struct kvm_irq_level irq = { .irq = GSI(gsi), .level = 1 };
	int r = ioctl(f->vm->fd, KVM_IRQ_LINE_STATUS, &irq) ? -errno : 0;

	return r ? r : (int)irq.status;
}

void fuzz_run_host(struct fuzz_vm *f, const struct fuzz_op *o, struct fuzz_out *out)
{
	memset(out, 0, sizeof(*out));
	switch (o->kind) {
	case FUZZ_GET_MSR:
		out->ret = __vcpu_get_msr(f->v, (u32)o->w[0], &out->result);
		break;
	case FUZZ_SET_MSR:
		out->ret = __vcpu_set_msr(f->v, (u32)o->w[0], o->w[1]);
		break;
	case FUZZ_CPUID_BIT:
		out->ret = set_bit(f, o->w[0], o->w[1]);
		break;
	case FUZZ_ENFORCE:
		out->ret = __vcpu_enable_cap(f->v, KVM_CAP_HYPERV_ENFORCE_CPUID, o->w[0]);
		break;
	case FUZZ_SYNIC:
		out->ret = __vcpu_enable_cap(f->v,
					     o->w[0] == 2 ? KVM_CAP_HYPERV_SYNIC2 :
							    KVM_CAP_HYPERV_SYNIC,
					     0);
		break;
	case FUZZ_ROUTE:
		out->ret = route(f, (u32)o->w[0] % FUZZ_EVENTFDS, (u32)o->w[1]);
		break;
	case FUZZ_IRQ:
		out->ret = raise_gsi(f, (u32)o->w[0] % FUZZ_EVENTFDS);
		break;
	case FUZZ_EVENTFD:
		out->ret = set_eventfd(f, (u32)o->w[0] % FUZZ_EVENTFDS, o->w[1] != 0);
		break;
	default:
		FAIL("operation %u is none of the host's", o->kind);
	}
}
