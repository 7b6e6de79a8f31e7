// SPDX-License-Identifier: GPL-2.0-only
/* See vmm.h. */
#include <errno.h>
#include <string.h>
#include <sys/ioctl.h>

#include "nested.h"
#include "synic.h"
#include "vmm.h"

#define MSR_TSC		    0x10u
#define MSR_FEATURE_CONTROL 0x3au

static bool has(const struct msr_list *l, u32 msr)
{
	u32 i;

	for (i = 0; i < l->hdr.nmsrs; i++)
		if (l->entries[i].index == msr)
			return true;
	return false;
}

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

static struct named_msrs named;

static void save_msrs(struct vcpu *v, struct msr_list *l)
{
	u64 val;
	u32 i;

	kvm_msr_list(&named);
	all_msrs(l);
	ASSERT_EQ(__vcpu_ioctl(v, KVM_GET_MSRS, l), (int)l->hdr.nmsrs);
	/* Not every vCPU has all that KVM names. */
	for (i = 0; i < named.hdr.nmsrs; i++) {
		if (has(l, named.msrs[i]) || __vcpu_get_msr(v, named.msrs[i], &val) != 1)
			continue;
		add(l, named.msrs[i]);
		l->entries[l->hdr.nmsrs - 1].data = val;
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
		vp->cpuid = v->cpuid;
		vp->entry = v->entry;
		vcpu_ioctl(v, KVM_GET_REGS, &vp->regs);
		vcpu_ioctl(v, KVM_GET_SREGS, &vp->sregs);
		vcpu_ioctl(v, KVM_GET_SREGS2, &vp->sregs2);
		vcpu_ioctl(v, KVM_GET_XSAVE, &vp->xsave);
		if (kvm_check_cap(KVM_CAP_XCRS))
			vcpu_ioctl(v, KVM_GET_XCRS, &vp->xcrs);
		vcpu_ioctl(v, KVM_GET_DEBUGREGS, &vp->debugregs);
		vcpu_ioctl(v, KVM_GET_LAPIC, &vp->lapic);
		vcpu_ioctl(v, KVM_GET_MP_STATE, &vp->mp);
		vcpu_ioctl(v, KVM_GET_VCPU_EVENTS, &vp->events);
		vp->nested.size = 0;
		if (kvm_check_cap(KVM_CAP_NESTED_STATE)) {
			vp->nested.size = sizeof(vp->space);
			vcpu_ioctl(v, KVM_GET_NESTED_STATE, &vp->nested);
		}
		save_msrs(v, &vp->msrs);
	}
	ASSERT_EQ(ioctl(vm->fd, KVM_GET_CLOCK, &s->clock), 0);
	ASSERT(vm->ram_used <= sizeof(s->ram), "RAM");
	s->ram_used = vm->ram_used;
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

/* What is named, in its order. */
static void put_named(const struct vp_state *vp)
{
	u32 i;

	for (i = 0; i < named.hdr.nmsrs; i++)
		if (has(&vp->msrs, named.msrs[i]) && !has(&out, named.msrs[i]))
			put(vp, named.msrs[i]);
}

/* The vCPU's registers that are not Hyper-V's. */
static void put_others(const struct vp_state *vp)
{
	u32 i, msr;

	for (i = 0; i < vp->msrs.hdr.nmsrs; i++) {
		msr = vp->msrs.entries[i].index;
		if (msr >> 12 != HV_X64_MSR_GUEST_OS_ID >> 12 && !has(&out, msr))
			put(vp, msr);
	}
}

static void put_rest(const struct vp_state *vp)
{
	u32 i;

	for (i = 0; i < vp->msrs.hdr.nmsrs; i++)
		if (!has(&out, vp->msrs.entries[i].index))
			put(vp, vp->msrs.entries[i].index);
}

/*
 * A register that does not take its value is right if it has it already; so is one that only the
 * other host has, if it is not in use.
 */
static bool has_value(struct vcpu *v, const struct kvm_msr_entry *e)
{
	u64 val = 0;

	if (__vcpu_get_msr(v, e->index, &val) != 1)
		val = 0;
	return val == e->data;
}

static void write_msrs(struct vcpu *v)
{
	const struct kvm_msr_entry *e;
	int n;

	while (out.hdr.nmsrs) {
		n = __vcpu_ioctl(v, KVM_SET_MSRS, &out);
		ASSERT(n >= 0, "KVM_SET_MSRS: %d", n);
		if (n == (int)out.hdr.nmsrs)
			break;
		e = &out.entries[n++];
		ASSERT(has_value(v, e), "MSR 0x%x = 0x%llx", e->index, (unsigned long long)e->data);
		out.hdr.nmsrs -= (u32)n;
		memmove(out.entries, out.entries + n, out.hdr.nmsrs * sizeof(out.entries[0]));
	}
	memset(&out, 0, sizeof(out));
}

/* The registers of the FPU. */
static void write_xsave(struct vcpu *v, const struct vp_state *vp)
{
	vcpu_ioctl(v, KVM_SET_XSAVE, (void *)&vp->xsave);
	if (vp->xcrs.nr_xcrs)
		vcpu_ioctl(v, KVM_SET_XCRS, (void *)&vp->xcrs);
}

static void write_nested(struct vcpu *v, const struct vp_state *vp)
{
	if (vp->nested.size)
		vcpu_ioctl(v, KVM_SET_NESTED_STATE, (void *)&vp->nested);
}

static void write_clock(struct vm *vm, const struct vm_state *s)
{
	struct kvm_clock_data clock = { .clock = s->clock.clock };

	ASSERT_EQ(ioctl(vm->fd, KVM_SET_CLOCK, &clock), 0);
}

/*
 * The local APIC first, as a device; nested state behind what it needs; the MSRs in one go, those
 * of the VM by the first VP alone, all timers' CONFIG before all COUNT; the clock when the VM
 * starts.
 */
static void write_as_qemu(struct vm *vm, const struct vm_state *s)
{
	u32 i, t;

	for (i = 0; i < VMM_VPS; i++)
		vcpu_ioctl(vm->vcpus[i], KVM_SET_LAPIC, (void *)&s->vps[i].lapic);
	for (i = 0; i < VMM_VPS; i++) {
		const struct vp_state *vp = &s->vps[i];
		struct vcpu *v = vm->vcpus[i];

		if (has(&vp->msrs, MSR_FEATURE_CONTROL)) {
			put(vp, MSR_FEATURE_CONTROL);
			write_msrs(v);
		}
		vcpu_ioctl(v, KVM_SET_SREGS2, (void *)&vp->sregs2);
		write_nested(v, vp);
		vcpu_ioctl(v, KVM_SET_REGS, (void *)&vp->regs);
		write_xsave(v, vp);
		put(vp, MSR_TSC);
		if (!i)
			put_list(vp, vm_msrs, ARRAY_SIZE(vm_msrs));
		put_list(vp, vp_msrs, ARRAY_SIZE(vp_msrs));
		put_sints(vp);
		for (t = 0; t < HV_SYNIC_STIMERS; t++)
			put(vp, HV_X64_MSR_STIMER_CONFIG(t));
		for (t = 0; t < HV_SYNIC_STIMERS; t++)
			put(vp, HV_X64_MSR_STIMER_COUNT(t));
		put_others(vp);
		write_msrs(v);
		vcpu_ioctl(v, KVM_SET_VCPU_EVENTS, (void *)&vp->events);
		vcpu_ioctl(v, KVM_SET_MP_STATE, (void *)&vp->mp);
		vcpu_ioctl(v, KVM_SET_DEBUGREGS, (void *)&vp->debugregs);
	}
	write_clock(vm, s);
}

/*
 * What KVM_GET_MSR_INDEX_LIST names, in its order and on each VP. It does not name all: the rest
 * here behind it, by number.
 */
static void write_as_cloud_hypervisor(struct vm *vm, const struct vm_state *s)
{
	u32 i;

	kvm_msr_list(&named);
	for (i = 0; i < VMM_VPS; i++) {
		const struct vp_state *vp = &s->vps[i];
		struct vcpu *v = vm->vcpus[i];

		vcpu_ioctl(v, KVM_SET_MP_STATE, (void *)&vp->mp);
		vcpu_ioctl(v, KVM_SET_REGS, (void *)&vp->regs);
		vcpu_ioctl(v, KVM_SET_SREGS, (void *)&vp->sregs);
		write_xsave(v, vp);
		vcpu_ioctl(v, KVM_SET_LAPIC, (void *)&vp->lapic);
		put_named(vp);
		put_rest(vp);
		write_msrs(v);
		vcpu_ioctl(v, KVM_SET_VCPU_EVENTS, (void *)&vp->events);
		vcpu_ioctl(v, KVM_SET_DEBUGREGS, (void *)&vp->debugregs);
		write_nested(v, vp);
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

void vmm_restore(struct vm *vm, const struct vm_state *s, enum vmm order)
{
	u16 version;
	u32 i;

	memcpy(vm->ram, s->ram, s->ram_used);
	vm->ram_used = s->ram_used;
	for (i = 0; i < VMM_VPS; i++) {
		struct vcpu *v = vm->vcpus[i];

		if (v->cpu->nested && v->cpu->nested->flags & NESTED_EVMCS)
			ASSERT_EQ(__vcpu_enable_cap(v, KVM_CAP_HYPERV_ENLIGHTENED_VMCS,
						    gpa(&version)),
				  0);
		v->cpuid = s->vps[i].cpuid;
		v->entry = s->vps[i].entry;
		vcpu_set_cpuid(v);
	}
	vmm_write_registers[order](vm, s);
}
