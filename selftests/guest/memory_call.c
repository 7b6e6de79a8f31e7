// SPDX-License-Identifier: GPL-2.0-only
/* See memory_call.h. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "apic.h"
#include "irqfd.h"
#include "memory_call.h"
#include "rows.h"

void set_memslot(struct vm *vm, u32 slot, void *hva, u64 size, u32 flags)
{
	struct kvm_userspace_memory_region r = {
		.slot = slot,
		.flags = flags,
		.guest_phys_addr = INPUT,
		.memory_size = size,
		.userspace_addr = (u64)(uintptr_t)hva,
	};

	ASSERT(!ioctl(vm->fd, KVM_SET_USER_MEMORY_REGION, &r), "memslot: %s", strerror(errno));
}

void *map(int fd, int prot)
{
	int flags = fd < 0 ? MAP_PRIVATE | MAP_ANONYMOUS : MAP_SHARED;
	void *p = mmap(NULL, INPUT_SIZE, prot, flags, fd, 0);

	ASSERT(p != MAP_FAILED, "mmap: %s", strerror(errno));
	/* A transparent huge page would make all of it present at once. */
	madvise(p, INPUT_SIZE, MADV_NOHUGEPAGE);
	return p;
}

static struct input shared_input(void)
{
	struct input in = { .memfd = (int)syscall(SYS_memfd_create, "input", 0) };

	ASSERT(in.memfd >= 0, "memfd_create: %s", strerror(errno));
	ASSERT_EQ(ftruncate(in.memfd, (off_t)INPUT_SIZE), 0);
	in.view = map(in.memfd, PROT_READ | PROT_WRITE);
	in.hva = map(in.memfd, PROT_READ | PROT_WRITE);
	return in;
}

void drop(struct one *o)
{
	ASSERT_EQ(madvise(o->in.hva, INPUT_SIZE, MADV_DONTNEED), 0);
}

void touch(struct one *o)
{
	(void)*(volatile u8 *)o->in.hva;
	(void)*(volatile u8 *)(o->in.hva + PAGE_SIZE);
}

static void enable_apic(struct vcpu *v, struct kvm_lapic_state *clean)
{
	vcpu_ioctl(v, KVM_GET_LAPIC, clean);
	*(u32 *)(clean->regs + APIC_SPIV) = APIC_SPIV_ON;
	vcpu_ioctl(v, KVM_SET_LAPIC, clean);
}

struct one one_vm(u32 nr_vps, u32 slot_flags)
{
	struct one o = { .vm = vm_create(nr_vps, VM_FREE_PAUSE),
			 .in = shared_input(),
			 .nr_vps = nr_vps };
	struct kvm_hyperv_eventfd e = { .conn_id = CONN };
	u32 i;

	o.vcpu = o.vm->vcpus[0];
	o.conn = eventfd_new();
	e.fd = o.conn;
	ASSERT(!ioctl(o.vm->fd, KVM_HYPERV_EVENTFD, &e), "%s", strerror(errno));
	vcpu_set_msr(o.vcpu, HV_X64_MSR_GUEST_OS_ID, OS_ID);
	o.ops = vcpu_ops_init(o.vcpu, TRIES);
	o.clean = calloc(nr_vps, sizeof(*o.clean));
	ASSERT(o.clean, "memory");
	for (i = 0; i < nr_vps; i++)
		enable_apic(o.vm->vcpus[i], &o.clean[i]);
	vm_add_memslot(o.vm, INPUT, o.in.hva, INPUT_SIZE, slot_flags);
	return o;
}

void one_free(struct one *o)
{
	vm_free(o->vm);
	munmap(o->in.hva, INPUT_SIZE);
	if (o->in.view)
		munmap(o->in.view, INPUT_SIZE);
	close(o->in.memfd);
	free(o->clean);
}

u32 pending(struct vcpu *v, u32 vector, bool *is)
{
	struct kvm_lapic_state s;
	u32 i, n = 0;

	vcpu_ioctl(v, KVM_GET_LAPIC, &s);
	for (i = 0; i < 8; i++)
		n += (u32)__builtin_popcount(*(u32 *)(s.regs + APIC_IRR + 0x10 * i));
	*is = s.regs[APIC_IRR + vector / 32 * 0x10 + vector % 32 / 8] >> vector % 8 & 1;
	return n;
}

void expect_targets(struct one *o, u32 targets, const char *name)
{
	u32 i, n;
	bool is;

	for (i = 0; i < o->nr_vps && i < 32; i++) {
		n = pending(o->vm->vcpus[i], VECTOR, &is);
		ASSERT(n == (targets >> i & 1) && is == (targets >> i & 1),
		       "%s: vCPU %u has %u interrupts", name, i, n);
		if (n)
			vcpu_ioctl(o->vm->vcpus[i], KVM_SET_LAPIC, &o->clean[i]);
	}
}

u64 call_at(struct one *o, u64 control, u64 at)
{
	struct guest_op op = vcpu_op(o->vcpu, o->ops, OP_HC(control, at, ~0xfffULL));

	ASSERT_EQ(op.vector, 0);
	ASSERT_EQ(op.exits, 0);
	return op.result;
}

void write_input(struct one *o, const struct call *c, u64 offset)
{
	u64 fits = INPUT_SIZE - offset;

	/* Fill the rest of the pages: it must not matter. */
	memset(o->in.view, 0xff, INPUT_SIZE);
	memcpy(o->in.view + offset, c->block, c->qwords * 8 < fits ? c->qwords * 8 : fits);
}

static u64 want(const struct call *c)
{
	return module_loaded() ? c->right : c->stock;
}

void judge_status(struct one *o, const struct call *c, u64 got, const char *what)
{
	ASSERT(got == want(c), "%s, %s: status 0x%llx, not 0x%llx", c->name, what,
	       (unsigned long long)got, (unsigned long long)want(c));
	o->wrong += got != c->right;
	o->nr++;
}

void expect_effect(struct one *o, const struct call *c, const char *what)
{
	bool done = !(want(c) & 0xffff);
	u64 n;

	expect_targets(o, done ? c->targets : 0, c->name);
	n = eventfd_count(o->conn);
	ASSERT(n == (done ? c->signals : 0), "%s, %s: %llu signals", c->name, what,
	       (unsigned long long)n);
}

void verdict(struct one *o)
{
	ASSERT(o->nr, "no such call");
	ASSERT_KNOWN(!o->wrong, "%u of %u answers are wrong", o->wrong, o->nr);
	one_free(o);
}

bool in_group(const struct call *c, const char *id)
{
	return !c->id || !id ? c->id == id : !strcmp(c->id, id);
}

u64 fast_calls(const struct call *c)
{
	return row_counts((u32)(c->control & 0xffff)).fast_writes;
}

/* clang-format off */
const struct call good_calls[NR_GOOD_CALLS] = {
	{ "SEND_IPI", IPI, 2, { VECTOR, TARGETS }, SAME(OK), TARGETS, 0 },
	{ "SEND_IPI to itself", IPI, 2, { VECTOR, 1 }, SAME(OK), 1, 0 },
	{ "SEND_IPI_EX", IPI_EX | VARHDR(1), 4, { VECTOR, SPARSE, 1, 0xa }, SAME(OK), 0xa, 0 },
	{ "SEND_IPI_EX to all", IPI_EX, 3, { VECTOR, ALL, 0 }, SAME(OK), 0xf, 0 },
	{ "FLUSH_SPACE", SPACE, 3, { 0, HV_FLUSH_ALL_SPACES, 0xf }, SAME(OK), 0, 0 },
	{ "FLUSH_SPACE_EX", SPACE_EX | VARHDR(1), 5, { 0, 0, SPARSE, 1, 0xf }, SAME(OK), 0, 0 },
	{ "FLUSH_LIST", LIST | REP(4), 7, { 0, 0, 0xf, 0x1000, 0x2000, 0x3007, 0x9000 },
	  SAME(REPS(4)), 0, 0 },
	{ "FLUSH_LIST_EX", LIST_EX | VARHDR(1) | REP(3), 8, { 0, 0, SPARSE, 1, 0xf, 0x1000,
	  0x2000, 0x3000 }, SAME(REPS(3)), 0, 0 },
	{ "SIGNAL_EVENT", SIGNAL, 1, { CONN }, SAME(OK), 0, 1 },
};
/* clang-format on */

const char *const where_names[WHERES] = { "present", "dropped" };

void check_call(struct one *o, const struct call *c, u64 offset, enum where where)
{
	write_input(o, c, offset);
	if (where == PRESENT)
		touch(o);
	else
		drop(o);
	judge_status(o, c, call_at(o, c->control, INPUT + offset), where_names[where]);
	expect_effect(o, c, where_names[where]);
}

void replace_memory(struct one *o, void *hva, u32 flags)
{
	u32 slot = o->vm->nr_slots - 1;

	set_memslot(o->vm, slot, o->in.hva, 0, 0);
	if (hva)
		set_memslot(o->vm, slot, hva, INPUT_SIZE, flags);
}

void fresh_memory(struct one *o)
{
	void *fresh = map(-1, PROT_READ | PROT_WRITE);

	replace_memory(o, fresh, 0);
	munmap(o->in.hva, INPUT_SIZE);
	o->in.hva = fresh;
}
