// SPDX-License-Identifier: GPL-2.0-only
/* See irqfd.h. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "irqfd.h"

int eventfd_new(void)
{
	int fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);

	ASSERT(fd >= 0, "eventfd: %s", strerror(errno));
	return fd;
}

void eventfd_signal(int fd)
{
	u64 one = 1;

	ASSERT_EQ(write(fd, &one, sizeof(one)), (ssize_t)sizeof(one));
}

u64 eventfd_count(int fd)
{
	u64 n = 0;

	if (read(fd, &n, sizeof(n)) < 0)
		ASSERT(errno == EAGAIN, "read of an eventfd: %s", strerror(errno));
	return n;
}

void route_sints(struct vm *vm, u32 vp, const u32 *sints, u32 nr)
{
	struct kvm_irq_routing *r = calloc(1, sizeof(*r) + nr * sizeof(r->entries[0]));
	u32 i;

	ASSERT(r, "memory");
	r->nr = nr;
	for (i = 0; i < nr; i++) {
		r->entries[i].gsi = GSI(i);
		r->entries[i].type = KVM_IRQ_ROUTING_HV_SINT;
		r->entries[i].u.hv_sint.vcpu = vp;
		r->entries[i].u.hv_sint.sint = sints[i];
	}
	if (ioctl(vm->fd, KVM_SET_GSI_ROUTING, r))
		FAIL("KVM_SET_GSI_ROUTING: %s", strerror(errno));
	free(r);
}

int irqfd_new(struct vm *vm, u32 gsi, int *resample)
{
	struct kvm_irqfd f = { .gsi = gsi };
	int fd = eventfd_new();

	f.fd = (u32)fd;
	if (resample) {
		*resample = eventfd_new();
		f.resamplefd = (u32)*resample;
		f.flags = KVM_IRQFD_FLAG_RESAMPLE;
	}
	if (ioctl(vm->fd, KVM_IRQFD, &f))
		FAIL("KVM_IRQFD: %s", strerror(errno));
	return fd;
}

void irqfd_remove(struct vm *vm, u32 gsi, int fd)
{
	struct kvm_irqfd f = { .gsi = gsi, .fd = (u32)fd, .flags = KVM_IRQFD_FLAG_DEASSIGN };

	ASSERT(!ioctl(vm->fd, KVM_IRQFD, &f), "KVM_IRQFD: %s", strerror(errno));
}
