// SPDX-License-Identifier: GPL-2.0-only
/* The operations of a stream that are ioctls. */
#include <errno.h>
#include <string.h>
#include <sys/ioctl.h>

#include "fuzz.h"
#include "irqfd.h"
#include "msr_filter.h"

enum eventfd_action {
	EVENTFD_OFF,
	EVENTFD_ON,
	EVENTFD_BAD_FLAG,
	EVENTFD_BAD_ID,
	EVENTFD_BAD_FD,
	EVENTFD_EOM = FUZZ_EOM_EVENT
};

/* VP 0 has one eventfd for its EOMs, which stock refuses; what it counts is not compared. */
static int set_eom_event(struct fuzz_vm *f)
{
	struct kvm_hyperv_eventfd e = { .flags = EOM_EVENT };

	if (f->eomfd < 0)
		f->eomfd = eventfd_new();
	e.fd = f->eomfd;
	return ioctl(f->vm->fd, KVM_HYPERV_EVENTFD, &e) ? -errno : 0;
}

/* Connection @n has an eventfd of its own, which fuzz_look() counts. */
static int set_eventfd(struct fuzz_vm *f, u32 n, u32 action)
{
	struct kvm_hyperv_eventfd e = {
		.conn_id = n,
		.flags = action == EVENTFD_OFF ? KVM_HYPERV_EVENTFD_DEASSIGN : 0,
	};
	int r;

	if (action == EVENTFD_EOM)
		return set_eom_event(f);
	if (f->eventfd[n] < 0)
		f->eventfd[n] = eventfd_new();
	e.fd = f->eventfd[n];
	if (action == EVENTFD_BAD_FLAG)
		e.flags = KVM_HYPERV_EVENTFD_DEASSIGN << 1;
	if (action == EVENTFD_BAD_ID)
		e.conn_id |= 1U << 24;
	if (action == EVENTFD_BAD_FD)
		e.fd = -1;
	r = ioctl(f->vm->fd, KVM_HYPERV_EVENTFD, &e) ? -errno : 0;
	if (!r)
		f->connected[n] = action == EVENTFD_ON;
	return r;
}

enum irqfd_action { IRQFD_OFF, IRQFD_ON, IRQFD_RESAMPLE };

/* GSI @n has an eventfd of its own that raises it, and one that tells of the end, if asked for. */
static int set_irqfd(struct fuzz_vm *f, u32 n, u32 action)
{
	struct kvm_irqfd i = {
		.gsi = GSI(n),
		.flags = action == IRQFD_OFF	  ? KVM_IRQFD_FLAG_DEASSIGN :
			 action == IRQFD_RESAMPLE ? KVM_IRQFD_FLAG_RESAMPLE :
						    0,
	};

	if (f->irqfd[n] < 0)
		f->irqfd[n] = eventfd_new();
	if (action == IRQFD_RESAMPLE && f->resamplefd[n] < 0)
		f->resamplefd[n] = eventfd_new();
	i.fd = (u32)f->irqfd[n];
	i.resamplefd = action == IRQFD_RESAMPLE ? (u32)f->resamplefd[n] : 0;
	if (ioctl(f->vm->fd, KVM_IRQFD, &i))
		return -errno;
	f->raises[n] = action != IRQFD_OFF;
	return 0;
}

/*
 * Signal that eventfd. Without a route, and for a signal that was there before the irqfd, a worker
 * of KVM's raises the GSI, at any time.
 */
static int kick(struct fuzz_vm *f, u32 n)
{
	if (!f->routed || !f->raises[n])
		return 0;
	eventfd_signal(f->irqfd[n]);
	return 1;
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
	if (ioctl(f->vm->fd, KVM_SET_GSI_ROUTING, &t))
		return -errno;
	f->routed = true;
	return 0;
}

static int raise_gsi(struct fuzz_vm *f, u32 gsi)
{
	struct kvm_irq_level irq = { .irq = GSI(gsi), .level = 1 };
	int r = ioctl(f->vm->fd, KVM_IRQ_LINE_STATUS, &irq) ? -errno : 0;

	return r ? r : (int)irq.status;
}

enum slot_action { SLOT_HOME, SLOT_DELETE, SLOT_MOVE, SLOT_READONLY };

static int set_region(struct fuzz_vm *f, u32 slot, u64 at, u64 size, u32 flags)
{
	struct kvm_userspace_memory_region r = {
		.slot = f->slot_id[slot],
		.flags = flags,
		.guest_phys_addr = at,
		.memory_size = size,
		.userspace_addr = (u64)(uintptr_t)(f->pages + slot * FUZZ_SLOT_PAGES * PAGE_SIZE),
	};

	return ioctl(f->vm->fd, KVM_SET_USER_MEMORY_REGION, &r) ? -errno : 0;
}

/*
 * A slot cannot be made read-only, or writable, as it is: it goes and comes back. One that is
 * and stays writable is moved in one step (KVM_MR_MOVE).
 */
static int set_slot(struct fuzz_vm *f, u32 slot, u32 action)
{
	u64 size = FUZZ_SLOT_PAGES * PAGE_SIZE, home = FUZZ_PAGE(slot * FUZZ_SLOT_PAGES);
	u64 to = action == SLOT_MOVE ? FUZZ_MOVED + slot * size : home;
	bool stays = (action == SLOT_MOVE || action == SLOT_HOME) && !f->slot_readonly[slot];
	int r = 0;

	if (f->slot_at[slot] && !stays)
		r = set_region(f, slot, 0, 0, 0);
	if (r || action == SLOT_DELETE) {
		f->slot_at[slot] = 0;
		return r;
	}
	r = set_region(f, slot, to, size, action == SLOT_READONLY ? KVM_MEM_READONLY : 0);
	if (!stays || !r)
		f->slot_at[slot] = r ? 0 : to;
	f->slot_readonly[slot] = action == SLOT_READONLY;
	return r;
}

/*
 * Deny the guest one register, and so many more behind it: @how is KVM_MSR_FILTER_READ, _WRITE or
 * both, 0 allows all again.
 */
static int set_msr_filter(struct fuzz_vm *f, u32 msr, u32 how, u32 more)
{
	struct filter *filter = new_filter(ALLOW);

	if (how)
		add_range(filter, how, msr, 1 + more, false);
	return __set_filter(f->vm, &filter->f);
}

static int set_clock(struct fuzz_vm *f, u64 ns)
{
	struct kvm_clock_data c = { .clock = ns };

	return ioctl(f->vm->fd, KVM_SET_CLOCK, &c) ? -errno : 0;
}

/* The rate that it has, or another one. */
static int set_tsc_khz(struct fuzz_vm *f, u32 percent)
{
	int khz = ioctl(f->v->fd, KVM_GET_TSC_KHZ, 0);

	if (khz <= 0)
		return -EINVAL;
	return ioctl(f->v->fd, KVM_SET_TSC_KHZ, (unsigned long)khz * percent / 100) ? -errno : 0;
}

/* Back what it has, with another register @reg. */
static int set_lapic(struct fuzz_vm *f, u32 reg, u32 value)
{
	struct kvm_lapic_state apic;
	int r = __vcpu_ioctl(f->v, KVM_GET_LAPIC, &apic);

	if (r)
		return r;
	if (reg)
		memcpy(apic.regs + reg, &value, sizeof(value));
	return __vcpu_ioctl(f->v, KVM_SET_LAPIC, &apic);
}

/* Back what it has, as a VMM does that saves and restores a VM in place. */
static int set_nested_state(struct fuzz_vm *f, struct fuzz_out *out)
{
	static union {
		struct kvm_nested_state s;
		u8 room[16384];
	} n;
	int r;

	if (!f->nested)
		return 0;
	r = vcpu_finish_exit(f->v);
	if (r != -EINTR)
		return r;
	memset(&n, 0, sizeof(n));
	n.s.size = sizeof(n);
	r = __vcpu_ioctl(f->v, KVM_GET_NESTED_STATE, &n);
	if (r < 0)
		return r;
	out->result = (u64)n.s.size << 32 | n.s.flags;
	return __vcpu_ioctl(f->v, KVM_SET_NESTED_STATE, &n);
}

/* One leaf of what KVM offers: both words, 0 when it has no such leaf. */
static int offered(struct fuzz_vm *f, u32 leaf, struct fuzz_out *out)
{
	static struct cpuid_table t;
	struct kvm_cpuid_entry2 *e;
	int r = __cpuid_hv(f->v, &t, MAX_CPUID);

	e = r ? NULL : cpuid_find(&t, leaf, 0);
	if (e) {
		out->result = (u64)e->ebx << 32 | e->eax;
		out->result2 = (u64)e->edx << 32 | e->ecx;
	}
	return r;
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
	case FUZZ_FILTER:
		out->ret = set_msr_filter(f, (u32)o->w[0], (u32)o->w[1] & RDWR,
					  (u32)(o->w[1] >> 8) & 0xff);
		break;
	case FUZZ_CLOCK:
		out->ret = set_clock(f, o->w[0]);
		break;
	case FUZZ_TSC_KHZ:
		out->ret = set_tsc_khz(f, (u32)o->w[0]);
		break;
	case FUZZ_LAPIC:
		out->ret = set_lapic(f, (u32)o->w[0] & 0x3f0, (u32)o->w[1]);
		break;
	case FUZZ_SLOT:
		out->ret = set_slot(f, (u32)o->w[0] % FUZZ_SLOTS, (u32)o->w[1] & 3);
		break;
	case FUZZ_SMI:
		out->ret = f->setup.smm ? __vcpu_ioctl(f->v, KVM_SMI, NULL) : 0;
		break;
	case FUZZ_OFFERED:
		out->ret = offered(f, (u32)o->w[0], out);
		break;
	case FUZZ_NESTED_STATE:
		out->ret = set_nested_state(f, out);
		break;
	case FUZZ_ROUTE:
		out->ret = route(f, (u32)o->w[0] % FUZZ_EVENTFDS, (u32)o->w[1]);
		break;
	case FUZZ_IRQ:
		out->ret = raise_gsi(f, (u32)o->w[0] % FUZZ_EVENTFDS);
		break;
	case FUZZ_EVENTFD:
		out->ret = set_eventfd(f, (u32)o->w[0] % FUZZ_EVENTFDS, (u32)o->w[1]);
		break;
	case FUZZ_IRQFD:
		out->ret = set_irqfd(f, (u32)o->w[0] % FUZZ_EVENTFDS, (u32)o->w[1]);
		break;
	case FUZZ_KICK:
		out->ret = kick(f, (u32)o->w[0] % FUZZ_EVENTFDS);
		break;
	default:
		FAIL("operation %u is none of the host's", o->kind);
	}
}
