// SPDX-License-Identifier: GPL-2.0-only
/* The minimal hypervisor, host side: creating, driving and moving it. See nested.h. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>

#include "nested.h"
#include "nested_private.h"

#define EPT_LEAF_WB 0x30
#define TABLE	    7 /* present, all accesses, in either format */
#define LARGE	    BIT64(7)
#define L2_STACK    (4 * PAGE_SIZE)

bool host_has_nested(void)
{
	struct cpuid_table t = { .nent = MAX_CPUID };
	struct kvm_cpuid_entry2 *e;

	if (ioctl(kvm_fd(), KVM_GET_SUPPORTED_CPUID, &t) < 0)
		return false;
	e = cpuid_find(&t, host_is_amd() ? 0x80000001 : 1, 0);
	return e && e->ecx & (host_is_amd() ? BIT64(2) : BIT64(5));
}

void nested_reload_cpuid(struct vcpu *v)
{
	struct cpuid_table *hv = calloc(1, sizeof(*hv)), *t = &v->cpuid;

	ASSERT(hv, "memory");
	cpuid_hv(v, hv);
	cpuid_remove_hv(t);
	ASSERT(t->nent + hv->nent <= MAX_CPUID, "too many CPUID entries");
	memcpy(&t->entries[t->nent], hv->entries, hv->nent * sizeof(hv->entries[0]));
	t->nent += hv->nent;
	free(hv);
	vcpu_set_cpuid(v);
}

/* Identity map of the low 4 GB in 2 MB pages, except for the window, which is empty. */
static void build_paging(struct nested *n, struct vm *vm)
{
	u64 *pdpt = vm_alloc(vm, PAGE_SIZE), *pd, i, j;

	n->leaf = TABLE | (host_is_amd() ? 0 : EPT_LEAF_WB);
	n->root = vm_alloc(vm, PAGE_SIZE);
	n->window = vm_alloc(vm, PAGE_SIZE);
	n->root[0] = gpa(pdpt) | TABLE;
	for (i = 0; i < 4; i++) {
		pd = vm_alloc(vm, PAGE_SIZE);
		pdpt[i] = gpa(pd) | TABLE;
		for (j = 0; j < 512; j++)
			pd[j] = i << 30 | j << 21 | LARGE | n->leaf;
		if (i == NESTED_WINDOW >> 30)
			pd[NESTED_WINDOW >> 21 & 511] = gpa(n->window) | TABLE;
	}
}

void nested_share_paging(struct nested *to, struct nested *from)
{
	to->root = from->root;
	to->window = from->window;
}

static void enable_evmcs(struct vcpu *v)
{
	u16 version = 0;

	ASSERT_EQ(__vcpu_enable_cap(v, KVM_CAP_HYPERV_ENLIGHTENED_VMCS, gpa(&version)), 0);
	ASSERT_EQ(version, 0x101);
	nested_reload_cpuid(v);
}

struct nested *nested_create(struct vcpu *v, u32 flags, u32 max)
{
	struct vm *vm = v->vm;
	struct nested *n;

	if (!host_has_nested())
		ktap_skip("no nested virtualization here");
	n = vm_alloc(vm, sizeof(*n));
	if (host_is_amd())
		flags &= ~NESTED_EVMCS;
	n->flags = flags;
	n->direct = flags & NESTED_DIRECT;
	n->no_hv = vm->flags & VM_NO_HV;
	n->vp_id = v->id;
	n->vm_id = 1;
	n->vmcb = vm_alloc(vm, PAGE_SIZE);
	n->hsave = vm_alloc(vm, PAGE_SIZE);
	n->vmxon = vm_alloc(vm, PAGE_SIZE);
	n->vmcs = vm_alloc(vm, PAGE_SIZE);
	n->evmcs = vm_alloc(vm, PAGE_SIZE);
	n->assist = vm_alloc(vm, PAGE_SIZE);
	n->lock_page = vm_alloc(vm, PAGE_SIZE);
	n->msrs = vm_alloc(vm, 2 * PAGE_SIZE);
	n->l1 = vm_alloc(vm, sizeof(*n->l1) + max * sizeof(n->l1->ops[0]));
	/* As a call leaves it. */
	n->stack_top = gpa(vm_alloc(vm, L2_STACK)) + L2_STACK - 8;
	n->assist[ASSIST_DIRECT] = n->direct;
	build_paging(n, vm);
	if (flags & NESTED_EVMCS)
		enable_evmcs(v);
	n->l2 = vcpu_ops_init(v, max);
	v->cpu->nested = n;
	vcpu_entry(v, nested_l1);
	vcpu_ioctl(v, KVM_GET_SREGS, &n->sregs);
	return n;
}

void nested_start(struct vcpu *v)
{
	vcpu_ops_run(v, v->cpu->nested->l2, 0);
}

void nested_reenter(struct vcpu *v)
{
	v->cpu->nested->l1->nr = 0;
	vcpu_op(v, v->cpu->nested->l2, OP_L1);
}

struct guest_op nested_l1_op(struct vcpu *v, struct guest_op op)
{
	struct nested *n = v->cpu->nested;

	op.vector = 0;
	n->l1->ops[0] = op;
	n->l1->nr = 1;
	vcpu_op(v, n->l2, OP_L1);
	return n->l1->ops[0];
}

/* --- host: save and restore ------------------------------------------------ */

/* The identity first, VP_ASSIST_PAGE and FEATURE_CONTROL before the nested state. */
static const u32 moved_msrs[] = {
	HV_X64_MSR_GUEST_OS_ID,
	HV_X64_MSR_VP_INDEX,
	HV_X64_MSR_VP_ASSIST_PAGE,
};

struct moved_vcpu {
	u64 msrs[ARRAY_SIZE(moved_msrs)], vendor_msr;
	struct kvm_regs regs;
	struct kvm_sregs sregs;
	struct kvm_vcpu_events events;
	struct kvm_mp_state mp;
	struct cpuid_table cpuid;
	union {
		struct kvm_nested_state nested;
		u8 space[4 * PAGE_SIZE];
	};
	void (*entry)(void);
};

static u32 vendor_msr(void)
{
	return host_is_amd() ? MSR_VM_HSAVE_PA : MSR_FEATURE_CONTROL;
}

static void save_vcpu(struct vcpu *v, struct moved_vcpu *m)
{
	u32 i;

	ASSERT_EQ(vcpu_finish_exit(v), -EINTR);
	for (i = 0; i < ARRAY_SIZE(moved_msrs); i++)
		m->msrs[i] = vcpu_get_msr(v, moved_msrs[i]);
	m->vendor_msr = vcpu_get_msr(v, vendor_msr());
	m->nested.size = sizeof(m->space);
	vcpu_ioctl(v, KVM_GET_NESTED_STATE, &m->nested);
	vcpu_ioctl(v, KVM_GET_VCPU_EVENTS, &m->events);
	vcpu_ioctl(v, KVM_GET_MP_STATE, &m->mp);
	vcpu_ioctl(v, KVM_GET_REGS, &m->regs);
	vcpu_ioctl(v, KVM_GET_SREGS, &m->sregs);
	m->cpuid = v->cpuid;
	m->entry = v->entry;
}

static void restore_state(struct vcpu *v, struct moved_vcpu *m)
{
	u32 i;

	vcpu_ioctl(v, KVM_SET_SREGS, &m->sregs);
	for (i = 0; i < ARRAY_SIZE(moved_msrs); i++)
		vcpu_set_msr(v, moved_msrs[i], m->msrs[i]);
	vcpu_set_msr(v, vendor_msr(), m->vendor_msr);
	vcpu_ioctl(v, KVM_SET_MP_STATE, &m->mp);
	vcpu_ioctl(v, KVM_SET_VCPU_EVENTS, &m->events);
	vcpu_ioctl(v, KVM_SET_REGS, &m->regs);
	vcpu_ioctl(v, KVM_SET_NESTED_STATE, &m->nested);
}

static void restore_vcpu(struct vcpu *v, struct moved_vcpu *m)
{
	u16 version;

	if (v->cpu->nested && v->cpu->nested->flags & NESTED_EVMCS)
		ASSERT_EQ(__vcpu_enable_cap(v, KVM_CAP_HYPERV_ENLIGHTENED_VMCS, gpa(&version)), 0);
	v->cpuid = m->cpuid;
	v->entry = m->entry;
	vcpu_set_cpuid(v);
	restore_state(v, m);
}

void nested_restore_in_place(struct vcpu *v)
{
	struct moved_vcpu *m = calloc(1, sizeof(*m));

	ASSERT(m, "memory");
	save_vcpu(v, m);
	restore_state(v, m);
	free(m);
}

struct vm *nested_move(struct vm *vm)
{
	u32 nr = vm->nr_vcpus, flags = vm->flags, i;
	u64 size = vm->ram_size, used = vm->ram_used, cr3 = vm->cr3;
	struct moved_vcpu *m = calloc(nr, sizeof(*m));
	u8 *ram = malloc(size), *old = vm->ram;

	ASSERT(m && ram, "memory");
	for (i = 0; i < nr; i++)
		save_vcpu(vm->vcpus[i], &m[i]);
	memcpy(ram, vm->ram, size);
	vm_free(vm);

	vm = vm_create(nr, flags);
	ASSERT(vm->ram == old && vm->ram_size == size && vm->cr3 == cr3, "a VM of another form");
	memcpy(vm->ram, ram, size);
	vm->ram_used = used;
	for (i = 0; i < nr; i++)
		restore_vcpu(vm->vcpus[i], &m[i]);
	free(ram);
	free(m);
	return vm;
}

void nested_go_on(struct vcpu *v, struct nested_memory *m)
{
	struct guest_op o =
		nested_l1_op(v, (struct guest_op){ .op = OP_LOAD, .arg0 = gpa(&m->cell) });

	ASSERT_EQ(o.result, m->number);
	o = (struct guest_op){ .op = OP_STORE, .arg0 = gpa(&m->cell), .arg1 = ++m->number };
	vcpu_op(v, v->cpu->nested->l2, o);
	o = nested_l1_op(v, OP_RD(HV_X64_MSR_VP_INDEX));
	ASSERT_EQ(o.result, v->id);
	o = nested_l1_op(v, OP_RD(HV_X64_MSR_VP_ASSIST_PAGE));
	ASSERT_EQ(o.result, gpa(v->cpu->nested->assist) | ASSIST_ENABLE);
	o = nested_l1_op(v, OP_HC(HVCALL_NOTIFY_LONG_SPIN_WAIT | HV_CTL_FAST, 1, 0));
	ASSERT_EQ(o.vector, 0);
	ASSERT_EQ(o.result, HV_STATUS_SUCCESS);
	o = nested_l1_op(v, OP_RD(HV_X64_MSR_TIME_REF_COUNT));
	ASSERT(o.result >= m->last_time, "time went back from %llu to %llu",
	       (unsigned long long)m->last_time, (unsigned long long)o.result);
	m->last_time = o.result;
}
