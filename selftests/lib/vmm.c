// SPDX-License-Identifier: GPL-2.0-only
/* See vmm.h. */
#include <errno.h>
#include <string.h>
#include <sys/ioctl.h>

#include "synic.h"
#include "vmm.h"

#define MSR_TSC 0x10u

static void add(struct msr_list *l, u32 msr)
{
	ASSERT(l->hdr.nmsrs < MAX_MSRS, "too many MSRs");
	l->entries[l->hdr.nmsrs++].index = msr;
}

static const u32 vm_msrs[] = {
	HV_X64_MSR_GUEST_OS_ID,		  HV_X64_MSR_HYPERCALL,
	HV_X64_MSR_REFERENCE_TSC,	  HV_X64_MSR_REENLIGHTENMENT_CONTROL,
	HV_X64_MSR_TSC_EMULATION_CONTROL, HV_X64_MSR_TSC_EMULATION_STATUS,
};

static const u32 vp_msrs[] = {
	HV_X64_MSR_VP_ASSIST_PAGE, HV_X64_MSR_VP_RUNTIME, HV_X64_MSR_VP_INDEX, HV_X64_MSR_SVERSION,
	HV_X64_MSR_SCONTROL,	   HV_X64_MSR_SIEFP,	  HV_X64_MSR_SIMP,
};

static void all_msrs(struct msr_list *l)
{
	u32 i;

	memset(l, 0, sizeof(*l));
	add(l, MSR_TSC);
	for (i = 0; i < ARRAY_SIZE(vm_msrs); i++)
		add(l, vm_msrs[i]);
	for (i = 0; i < ARRAY_SIZE(vp_msrs); i++)
		add(l, vp_msrs[i]);
	for (i = 0; i < 16; i++)
		add(l, HV_X64_MSR_SINT(i));
	for (i = 0; i < HV_SYNIC_STIMERS; i++) {
		add(l, HV_X64_MSR_STIMER_CONFIG(i));
		add(l, HV_X64_MSR_STIMER_COUNT(i));
	}
}

void vmm_complete(struct vcpu *v)
{
	v->run->immediate_exit = 1;
	ASSERT(ioctl(v->fd, KVM_RUN, 0) < 0 && errno == EINTR, "KVM_RUN");
	v->run->immediate_exit = 0;
}

void vmm_save(struct vm *vm, struct vm_state *s)
{
	u32 i;

	for (i = 0; i < VMM_VPS; i++) {
		struct vcpu *v = vm->vcpus[i];
		struct vp_state *vp = &s->vps[i];

		vmm_complete(v);
		vcpu_ioctl(v, KVM_GET_REGS, &vp->regs);
		vcpu_ioctl(v, KVM_GET_SREGS, &vp->sregs);
		vcpu_ioctl(v, KVM_GET_LAPIC, &vp->lapic);
		vcpu_ioctl(v, KVM_GET_MP_STATE, &vp->mp);
		vcpu_ioctl(v, KVM_GET_VCPU_EVENTS, &vp->events);
		all_msrs(&vp->msrs);
		ASSERT_EQ(__vcpu_ioctl(v, KVM_GET_MSRS, &vp->msrs), (int)vp->msrs.hdr.nmsrs);
	}
	ASSERT_EQ(ioctl(vm->fd, KVM_GET_CLOCK, &s->clock), 0);
	ASSERT(vm->ram_used <= sizeof(s->ram), "RAM");
	memcpy(s->ram, vm->ram, vm->ram_used);
}

static u64 value(const struct vp_state *vp, u32 msr)
{
	u32 i;

	for (i = 0; i < vp->msrs.hdr.nmsrs; i++)
		if (vp->msrs.entries[i].index == msr)
			return vp->msrs.entries[i].data;
	FAIL("MSR 0x%x was not saved", msr);
}

static bool saved(const struct vp_state *vp, u32 msr)
{
	u32 i;

	for (i = 0; i < vp->msrs.hdr.nmsrs; i++)
		if (vp->msrs.entries[i].index == msr)
			return true;
	return false;
}

static struct msr_list out; /* what is written next */

static void put(const struct vp_state *vp, u32 msr)
{
	add(&out, msr);
	out.entries[out.hdr.nmsrs - 1].data = value(vp, msr);
}

static void put_list(const struct vp_state *vp, const u32 *msrs, u32 nr)
{
	u32 i;

	for (i = 0; i < nr; i++)
		put(vp, msrs[i]);
}

static void put_sints(const struct vp_state *vp)
{
	u32 i;

	for (i = 0; i < 16; i++)
		put(vp, HV_X64_MSR_SINT(i));
}

static void write_msrs(struct vcpu *v)
{
	int n = __vcpu_ioctl(v, KVM_SET_MSRS, &out);

	ASSERT(n == (int)out.hdr.nmsrs, "MSR 0x%x was refused", out.entries[n < 0 ? 0 : n].index);
	memset(&out, 0, sizeof(out));
}

static void write_clock(struct vm *vm, const struct vm_state *s)
{
	struct kvm_clock_data clock = { .clock = s->clock.clock };

	ASSERT_EQ(ioctl(vm->fd, KVM_SET_CLOCK, &clock), 0);
}

/*
 * The local APIC first, as a device; the MSRs in one go, those of the VM by the first VP alone, all
 * timers' CONFIG before all COUNT; the clock when the VM starts.
 */
static void write_as_qemu(struct vm *vm, const struct vm_state *s)
{
	u32 i, t;

	for (i = 0; i < VMM_VPS; i++)
		vcpu_ioctl(vm->vcpus[i], KVM_SET_LAPIC, (void *)&s->vps[i].lapic);
	for (i = 0; i < VMM_VPS; i++) {
		const struct vp_state *vp = &s->vps[i];
		struct vcpu *v = vm->vcpus[i];

		vcpu_ioctl(v, KVM_SET_SREGS, (void *)&vp->sregs);
		vcpu_ioctl(v, KVM_SET_REGS, (void *)&vp->regs);
		put(vp, MSR_TSC);
		if (!i)
			put_list(vp, vm_msrs, ARRAY_SIZE(vm_msrs));
		put_list(vp, vp_msrs, ARRAY_SIZE(vp_msrs));
		put_sints(vp);
		for (t = 0; t < HV_SYNIC_STIMERS; t++)
			put(vp, HV_X64_MSR_STIMER_CONFIG(t));
		for (t = 0; t < HV_SYNIC_STIMERS; t++)
			put(vp, HV_X64_MSR_STIMER_COUNT(t));
		write_msrs(v);
		vcpu_ioctl(v, KVM_SET_VCPU_EVENTS, (void *)&vp->events);
		vcpu_ioctl(v, KVM_SET_MP_STATE, (void *)&vp->mp);
	}
	write_clock(vm, s);
}

/*
 * What KVM_GET_MSR_INDEX_LIST names, in its order and on each VP. It does not name all: the rest
 * here behind it, by number.
 */
static void write_as_cloud_hypervisor(struct vm *vm, const struct vm_state *s)
{
	static struct {
		struct kvm_msr_list hdr;
		u32 indices[1024];
	} list;
	u32 i, j, k;

	list.hdr.nmsrs = ARRAY_SIZE(list.indices);
	ASSERT_EQ(ioctl(kvm_fd(), KVM_GET_MSR_INDEX_LIST, &list), 0);
	for (i = 0; i < VMM_VPS; i++) {
		const struct vp_state *vp = &s->vps[i];
		struct vcpu *v = vm->vcpus[i];

		vcpu_ioctl(v, KVM_SET_MP_STATE, (void *)&vp->mp);
		vcpu_ioctl(v, KVM_SET_REGS, (void *)&vp->regs);
		vcpu_ioctl(v, KVM_SET_SREGS, (void *)&vp->sregs);
		vcpu_ioctl(v, KVM_SET_LAPIC, (void *)&vp->lapic);
		for (j = 0; j < list.hdr.nmsrs; j++)
			if (saved(vp, list.indices[j]))
				put(vp, list.indices[j]);
		for (j = 0; j < vp->msrs.hdr.nmsrs; j++) {
			for (k = 0; k < out.hdr.nmsrs; k++)
				if (out.entries[k].index == vp->msrs.entries[j].index)
					break;
			if (k == out.hdr.nmsrs)
				put(vp, vp->msrs.entries[j].index);
		}
		write_msrs(v);
		vcpu_ioctl(v, KVM_SET_VCPU_EVENTS, (void *)&vp->events);
	}
	write_clock(vm, s);
}

/*
 * The VM's registers first, HYPERCALL between two identities; the clock before the page; then each
 * VP: its APIC, its SynIC, the contents of the SynIC's pages once more, and timer by timer.
 */
static void write_as_openvmm(struct vm *vm, const struct vm_state *s)
{
	const struct vp_state *first = &s->vps[0];
	u32 i, t;

	vcpu_set_msr(vm->vcpus[0], HV_X64_MSR_GUEST_OS_ID, 1);
	put(first, HV_X64_MSR_HYPERCALL);
	put(first, HV_X64_MSR_GUEST_OS_ID);
	write_msrs(vm->vcpus[0]);
	write_clock(vm, s);
	put(first, HV_X64_MSR_REFERENCE_TSC);
	write_msrs(vm->vcpus[0]);
	for (i = 0; i < VMM_VPS; i++) {
		const struct vp_state *vp = &s->vps[i];
		struct vcpu *v = vm->vcpus[i];
		u64 at = gpa(synic_messages[i]) - gpa(vm->ram);

		vcpu_ioctl(v, KVM_SET_REGS, (void *)&vp->regs);
		vcpu_ioctl(v, KVM_SET_SREGS, (void *)&vp->sregs);
		vcpu_ioctl(v, KVM_SET_MP_STATE, (void *)&vp->mp);
		vcpu_ioctl(v, KVM_SET_VCPU_EVENTS, (void *)&vp->events);
		vcpu_ioctl(v, KVM_SET_LAPIC, (void *)&vp->lapic);
		put(vp, MSR_TSC);
		put(vp, HV_X64_MSR_VP_ASSIST_PAGE);
		put(vp, HV_X64_MSR_SCONTROL);
		put(vp, HV_X64_MSR_SIEFP);
		put(vp, HV_X64_MSR_SIMP);
		put_sints(vp);
		write_msrs(v);
		memcpy(synic_messages[i], s->ram + at, PAGE_SIZE);
		for (t = 0; t < HV_SYNIC_STIMERS; t++) {
			put(vp, HV_X64_MSR_STIMER_CONFIG(t));
			put(vp, HV_X64_MSR_STIMER_COUNT(t));
		}
		write_msrs(v);
	}
}

void (*const vmm_write_registers[NR_VMMS])(struct vm *vm, const struct vm_state *s) = {
	[QEMU] = write_as_qemu,
	[CLOUD_HYPERVISOR] = write_as_cloud_hypervisor,
	[OPENVMM] = write_as_openvmm,
};
