// SPDX-License-Identifier: GPL-2.0-only
/*
 * VPs as VMMs set them up: the CPUID leaves that each VMM shows, and the order of its
 * KVM_SET_CPUID2, KVM_ENABLE_CAP and registers (Documentation/guests.rst, "Other VMMs"). The guest
 * looks at the leaves and uses what they show, and nothing else; then it does so again in a VM that
 * was restored.
 */
#include <string.h>
#include <sys/ioctl.h>

#include "refclock.h"
#include "stimer.h"
#include "vmm.h"

#define VEC_DIRECT 0x62
#define VEC_IPI	   0x63
#define VEC_SELF   0x64
#define STAGE_SAVE 1

/* --- guest --------------------------------------------------------------- */

static volatile u32 directs, ipis, selfs;
static u64 *call_input;
static u8 *code_page, *vp_page[VMM_VPS];
/* What the guest has used, as bits of the two leaves, for the host to compare. */
static volatile u32 used_features, used_features_edx, used_hints;
/* What the VMM has written there, or ~0 if it has not. */
static u64 scontrol = ~0ULL;

static bool shows(u32 reg, u32 bit)
{
	return reg & (1u << bit);
}

static void on_direct(struct guest_frame *f)
{
	(void)f;
	directs++;
	apic_eoi();
}

static void on_ipi(struct guest_frame *f)
{
	(void)f;
	ipis++;
	apic_eoi();
}

/* Its end by the synthetic register. */
static void on_self(struct guest_frame *f)
{
	(void)f;
	selfs++;
	wrmsr(HV_X64_MSR_EOI, 0);
}

static void uses_calls(struct cpuid_regs hints)
{
	u64 result;

	wrmsr(HV_X64_MSR_HYPERCALL, gpa(code_page) | HV_HYPERCALL_ENABLE);
	GUEST_ASSERT_EQ(rdmsr(HV_X64_MSR_HYPERCALL), gpa(code_page) | HV_HYPERCALL_ENABLE);
	GUEST_ASSERT_EQ(__hypercall_page(code_page, HVCALL_NOTIFY_LONG_SPIN_WAIT | HV_CTL_FAST, 1,
					 0, &result),
			0);
	GUEST_ASSERT_EQ(result, HV_STATUS_SUCCESS);
	used_features |= 1u << 5;

	if (shows(hints.eax, 2)) {
		call_input[0] = 0;
		call_input[1] = HV_FLUSH_ALL_PROCESSORS | HV_FLUSH_ALL_SPACES;
		call_input[2] = 0;
		GUEST_ASSERT_EQ(hypercall(HVCALL_FLUSH_SPACE, gpa(call_input), 0),
				HV_STATUS_SUCCESS);
		used_hints |= 1u << 2;
	}
	if (shows(hints.eax, 1)) {
		/* Its own translations alone. */
		call_input[1] = HV_FLUSH_ALL_SPACES;
		call_input[2] = BIT64(this_cpu()->id);
		GUEST_ASSERT_EQ(hypercall(HVCALL_FLUSH_SPACE, gpa(call_input), 0),
				HV_STATUS_SUCCESS);
		used_hints |= 1u << 1;
	}
}

static void uses_xmm_input(void)
{
	const struct xmm_block xmm = { { BIT64(this_cpu()->id) } };
	u64 result;

	/* Two words in registers, the set of VPs in XMM0. */
	GUEST_ASSERT_EQ(__hypercall_xmm(HVCALL_FLUSH_SPACE | HV_CTL_FAST, 0, HV_FLUSH_ALL_SPACES,
					&xmm, &result),
			0);
	GUEST_ASSERT_EQ(result, HV_STATUS_SUCCESS);
	used_features_edx |= 1u << 4;
}

static void uses_ipi(void)
{
	u32 before = ipis;

	GUEST_ASSERT_EQ(hypercall(HVCALL_SEND_IPI | HV_CTL_FAST, VEC_IPI, BIT64(this_cpu()->id)),
			HV_STATUS_SUCCESS);
	GUEST_ASSERT(guest_wait(&ipis, before + 1, WAIT_MS));
	used_hints |= 1u << 10;
}

static void uses_apic(struct cpuid_regs hints)
{
	u32 id = this_cpu()->id, before = selfs;

	wrmsr(HV_X64_MSR_TPR, 0x20);
	GUEST_ASSERT_EQ(rdmsr(HV_X64_MSR_TPR), 0x20);
	wrmsr(HV_X64_MSR_TPR, 0);
	wrmsr(HV_X64_MSR_VP_ASSIST_PAGE, gpa(vp_page[id]) | 1);
	GUEST_ASSERT_EQ(rdmsr(HV_X64_MSR_VP_ASSIST_PAGE), gpa(vp_page[id]) | 1);
	wrmsr(HV_X64_MSR_ICR, ICR_TO(id, VEC_SELF));
	GUEST_ASSERT(guest_wait(&selfs, before + 1, WAIT_MS));
	GUEST_ASSERT(!apic_vector(APIC_ISR, VEC_SELF));
	used_features |= 1u << 4;
	if (shows(hints.eax, 3))
		used_hints |= 1u << 3;
}

static void uses_time(struct cpuid_regs features)
{
	u64 before, by_page, after;

	before = ref_now();
	GUEST_ASSERT(before);
	used_features |= 1u << 1;
	if (!shows(features.eax, 9))
		return;
	wrmsr(HV_X64_MSR_REFERENCE_TSC, ref_tsc(&ref_page));
	before = ref_now();
	by_page = guest_time(&ref_page);
	after = ref_now();
	GUEST_ASSERT(by_page + 1 >= before);
	GUEST_ASSERT(by_page <= after + 1);
	used_features |= 1u << 9;
}

static void uses_synic(struct cpuid_regs features)
{
	u32 id = this_cpu()->id, messages = nr_taken;

	wrmsr(HV_X64_MSR_SIMP, synic_simp(id));
	wrmsr(HV_X64_MSR_SIEFP, synic_siefp(id));
	wrmsr(HV_X64_MSR_SCONTROL, HV_SYNIC_ENABLE);
	wrmsr(HV_X64_MSR_SINT(SINT), VEC);
	GUEST_ASSERT_EQ(rdmsr(HV_X64_MSR_SVERSION), 1);
	used_features |= 1u << 2;
	if (!shows(features.eax, 3))
		return;
	start(0, ONE_SHOT, ref_now() + REF_MS(1));
	GUEST_ASSERT(guest_wait(&nr_taken, messages + 1, WAIT_MS));
	used_features |= 1u << 3;
	if (!shows(features.edx, 19))
		return;
	messages = directs;
	start(1, ON | HV_STIMER_DIRECT | HV_STIMER_VECTOR(VEC_DIRECT), ref_now() + REF_MS(1));
	GUEST_ASSERT(guest_wait(&directs, messages + 1, WAIT_MS));
	used_features_edx |= 1u << 19;
}

static void use_all(void)
{
	struct cpuid_regs features = cpuid(HV_LEAF_FEATURES, 0), hints = cpuid(HV_LEAF_HINTS, 0);
	u64 value;

	guest_set_os_id();
	apic_enable();
	irqs_on();
	if (shows(features.eax, 1))
		uses_time(features);
	if (shows(features.eax, 5))
		uses_calls(hints);
	if (shows(features.edx, 4))
		uses_xmm_input();
	if (shows(features.eax, 6)) {
		GUEST_ASSERT_EQ(rdmsr(HV_X64_MSR_VP_INDEX), this_cpu()->id);
		used_features |= 1u << 6;
	}
	if (shows(hints.eax, 10))
		uses_ipi();
	if (shows(features.eax, 2))
		uses_synic(features);
	if (shows(features.eax, 4))
		uses_apic(hints);
	if (shows(features.eax, 0)) {
		value = rdmsr(HV_X64_MSR_VP_RUNTIME);
		while (rdmsr(HV_X64_MSR_VP_RUNTIME) == value)
			;
		used_features |= 1u << 0;
	}
	if (shows(features.eax, 11)) {
		GUEST_ASSERT(rdmsr(HV_X64_MSR_TSC_FREQUENCY));
		GUEST_ASSERT(rdmsr(HV_X64_MSR_APIC_FREQUENCY));
		used_features |= 1u << 11;
		used_features_edx |= features.edx & (1u << 8);
	}
	irqs_off();
}

GUEST_CODE(uses_what_it_is_shown)
{
	if (~scontrol)
		GUEST_ASSERT_EQ(rdmsr(HV_X64_MSR_SCONTROL), scontrol);
	use_all();
	GUEST_SYNC(STAGE_SAVE);
	/* Where a restored one goes on. */
	use_all();
}

/* --- the VMMs ------------------------------------------------------------- */

struct shown {
	u32 max;
	const char *vendor; /* 12 characters */
	struct cpuid_regs version, features, hints;
};

static void add_leaf(struct cpuid_table *t, u32 leaf, struct cpuid_regs r)
{
	ASSERT(t->nent < MAX_CPUID, "CPUID table full");
	t->entries[t->nent++] = (struct kvm_cpuid_entry2){
		.function = leaf,
		.eax = r.eax,
		.ebx = r.ebx,
		.ecx = r.ecx,
		.edx = r.edx,
	};
}

/* The leaves of @s, and those behind them, up to the last one, with zeroes. */
static void show(struct vcpu *v, const struct shown *s)
{
	struct cpuid_regs vendor = { .eax = s->max };
	u32 leaf;

	memcpy(&vendor.ebx, s->vendor, 4);
	memcpy(&vendor.ecx, s->vendor + 4, 4);
	memcpy(&vendor.edx, s->vendor + 8, 4);
	add_leaf(&v->cpuid, HV_LEAF_VENDOR, vendor);
	add_leaf(&v->cpuid, HV_LEAF_INTERFACE, (struct cpuid_regs){ .eax = 0x31237648 });
	add_leaf(&v->cpuid, HV_LEAF_VERSION, s->version);
	add_leaf(&v->cpuid, HV_LEAF_FEATURES, s->features);
	add_leaf(&v->cpuid, HV_LEAF_HINTS, s->hints);
	for (leaf = HV_LEAF_LIMITS; leaf <= s->max; leaf++)
		add_leaf(&v->cpuid, leaf, (struct cpuid_regs){});
}

static const struct shown by_cloud_hypervisor = {
	.max = 0x4000000a,
	.vendor = "Linux KVM Hv",
	.version = { .eax = 0x3839, .ebx = 0xa0000 },
	.features = { .eax = 0xa7f, .edx = BIT64(3) | BIT64(4) | BIT64(8) },
	.hints = { .eax = 0x62e, .ebx = 0xfff },
};

static const struct shown by_openvmm = {
	.max = 0x40000005,
	.vendor = "Microsoft Hv",
	.features = { .eax = 0x87f, .edx = BIT64(8) },
	.hints = { .eax = BIT64(9), .ebx = 0xffffffff },
};

/* The flags of the first QEMU line of guests.rst. */
static const struct shown by_qemu = {
	.max = 0x40000005,
	.vendor = "Microsoft Hv",
	.version = { .eax = 0x3839, .ebx = 0xa0000 },
	.features = { .eax = 0xa7f, .edx = BIT64(4) | BIT64(8) | BIT64(14) | BIT64(19) },
	.hints = { .eax = 0xc2c, .ebx = 0x1fff },
};

static void enable_cap(struct vcpu *v, u32 cap, u64 arg)
{
	ASSERT_EQ(__vcpu_enable_cap(v, cap, arg), 0);
}

/* KVM_SET_CPUID2, then the SynIC, then registers. */
static void set_up_as_cloud_hypervisor(struct vm *vm)
{
	u32 i;

	for (i = 0; i < VMM_VPS; i++) {
		struct vcpu *v = vm->vcpus[i];

		show(v, &by_cloud_hypervisor);
		vcpu_set_cpuid(v);
		enable_cap(v, KVM_CAP_HYPERV_SYNIC, 0);
		vcpu_set_msr(v, MSR_IA32_TSC, 0);
	}
}

/* The SynIC and its registers first, CPUID last. */
static void set_up_as_openvmm(struct vm *vm)
{
	u32 i;

	for (i = 0; i < VMM_VPS; i++) {
		struct vcpu *v = vm->vcpus[i];

		enable_cap(v, KVM_CAP_HYPERV_SYNIC2, 0);
		vcpu_set_msr(v, HV_X64_MSR_VP_INDEX, i);
		vcpu_set_msr(v, HV_X64_MSR_SCONTROL, HV_SYNIC_ENABLE);
		show(v, &by_openvmm);
		vcpu_set_cpuid(v);
	}
	scontrol = HV_SYNIC_ENABLE;
}

/* Capabilities, then CPUID, then all registers. */
static void set_up_as_qemu(struct vm *vm, bool enforce)
{
	u32 i;

	for (i = 0; i < VMM_VPS; i++) {
		struct vcpu *v = vm->vcpus[i];

		enable_cap(v, KVM_CAP_HYPERV_SYNIC2, 0);
		if (enforce)
			enable_cap(v, KVM_CAP_HYPERV_ENFORCE_CPUID, 1);
		show(v, &by_qemu);
		vcpu_set_cpuid(v);
	}
	for (i = 0; i < VMM_VPS; i++) {
		vcpu_set_msr(vm->vcpus[i], HV_X64_MSR_VP_INDEX, i);
		vcpu_set_msr(vm->vcpus[i], HV_X64_MSR_SCONTROL, 0);
	}
	scontrol = 0;
}

/* --- the cases ------------------------------------------------------------ */

static struct vm *new_vm(void)
{
	struct vm *vm;
	u32 i;

	timer_prepare();
	guest_irq_handlers[VEC] = on_message;
	guest_irq_handlers[VEC_DIRECT] = on_direct;
	guest_irq_handlers[VEC_IPI] = on_ipi;
	guest_irq_handlers[VEC_SELF] = on_self;
	vm = vm_create(VMM_VPS, VM_NO_HV | VM_NO_CPUID);
	call_input = vm_alloc(vm, PAGE_SIZE);
	code_page = vm_alloc(vm, PAGE_SIZE);
	for (i = 0; i < VMM_VPS; i++) {
		synic_messages[i] = vm_alloc(vm, PAGE_SIZE);
		synic_events[i] = vm_alloc(vm, PAGE_SIZE);
		vp_page[i] = vm_alloc(vm, PAGE_SIZE);
	}
	return vm;
}

static void run_to_save(struct vm *vm)
{
	u32 i;

	for (i = 0; i < VMM_VPS; i++) {
		vcpu_entry(vm->vcpus[i], uses_what_it_is_shown);
		synic_run_sync(vm->vcpus[i], STAGE_SAVE);
	}
}

static void run_on(struct vm *vm)
{
	u32 i;

	for (i = 0; i < VMM_VPS; i++)
		synic_run_done(vm->vcpus[i]);
}

/* What the guest could use, it has used; the rest of the hints are no more than that. */
static void assert_used(const struct shown *s)
{
	u32 edx = s->features.edx & (BIT64(4) | BIT64(8) | BIT64(19));
	u32 hints = s->hints.eax & (BIT64(1) | BIT64(2) | BIT64(3) | BIT64(10));

	ASSERT_EQ(used_features, s->features.eax);
	ASSERT_EQ(used_features_edx, edx);
	ASSERT_EQ(used_hints, hints);
}

/* A new VM of the VMM goes on where the first one was saved. */
static void restored(struct vm *vm, void (*set_up)(struct vm *vm), const struct shown *s,
		     enum vmm order)
{
	static struct vm_state state;

	vmm_save(vm, &state);
	vm_free(vm);
	vm = new_vm();
	set_up(vm);
	memcpy(vm->ram, state.ram, state.ram_used);
	vmm_write_registers[order](vm, &state);
	/* What is shown must be there after the restore as well. */
	used_features = 0;
	used_features_edx = 0;
	used_hints = 0;
	run_on(vm);
	assert_used(s);
	vm_free(vm);
}

static void by_vmm(void (*set_up)(struct vm *vm), const struct shown *s, enum vmm order)
{
	struct vm *vm = new_vm();

	set_up(vm);
	run_to_save(vm);
	assert_used(s);
	restored(vm, set_up, s, order);
}

TEST(cloud_hypervisor)
{
	by_vmm(set_up_as_cloud_hypervisor, &by_cloud_hypervisor, CLOUD_HYPERVISOR);
}

TEST(openvmm)
{
	by_vmm(set_up_as_openvmm, &by_openvmm, OPENVMM);
}

static void set_up_as_qemu_does(struct vm *vm)
{
	set_up_as_qemu(vm, false);
}

static void set_up_as_qemu_enforcing(struct vm *vm)
{
	set_up_as_qemu(vm, true);
}

TEST(qemu)
{
	by_vmm(set_up_as_qemu_does, &by_qemu, QEMU);
}

TEST(qemu_enforcing_cpuid)
{
	by_vmm(set_up_as_qemu_enforcing, &by_qemu, QEMU);
}

GUEST_CODE(is_shown_no_reset)
{
	u64 value;

	GUEST_ASSERT_EQ(__rdmsr(HV_X64_MSR_RESET, &value), GP_VECTOR);
	GUEST_ASSERT_EQ(__rdmsr(HV_X64_MSR_REENLIGHTENMENT_CONTROL, &value), GP_VECTOR);
	GUEST_ASSERT_EQ(__rdmsr(HV_X64_MSR_VP_INDEX, &value), 0);
}

/* The capability came before any CPUID. */
TEST(qemu_enforces_what_it_has_not_shown)
{
	struct vm *vm = new_vm();

	set_up_as_qemu(vm, true);
	vcpu_entry(vm->vcpus[0], is_shown_no_reset);
	synic_run_done(vm->vcpus[0]);
	vm_free(vm);
}

/* --- crosvm --------------------------------------------------------------- */

GUEST_CODE(finds_no_hyperv)
{
	u64 value;

	GUEST_ASSERT(cpuid(HV_LEAF_INTERFACE, 0).eax != 0x31237648);
	GUEST_ASSERT_EQ(__rdmsr(HV_X64_MSR_GUEST_OS_ID, &value), GP_VECTOR);
	GUEST_ASSERT_EQ(__wrmsr(HV_X64_MSR_GUEST_OS_ID, 1), GP_VECTOR);
	GUEST_ASSERT_EQ(__rdmsr(HV_X64_MSR_VP_INDEX, &value), GP_VECTOR);
	GUEST_ASSERT_EQ(__rdmsr(HV_X64_MSR_TIME_REF_COUNT, &value), GP_VECTOR);
}

/* Those of KVM_GET_MSR_INDEX_LIST that are Hyper-V's. */
static u32 synthetic_msrs(struct msr_list *l)
{
	static struct named_msrs named;
	u32 i;

	kvm_msr_list(&named);
	memset(l, 0, sizeof(*l));
	for (i = 0; i < named.hdr.nmsrs; i++)
		if (named.msrs[i] >> 12 == HV_X64_MSR_GUEST_OS_ID >> 12)
			l->entries[l->hdr.nmsrs++].index = named.msrs[i];
	return l->hdr.nmsrs;
}

/* All can be read at once, and what differs later can be written: else crosvm gives up. */
TEST(crosvm)
{
	static struct msr_list saved;
	struct vm *vm = new_vm();
	struct vcpu *v = vm->vcpus[0];
	u32 i, nr;
	u64 value;

	vcpu_set_cpuid(v);
	vcpu_entry(v, finds_no_hyperv);
	vcpu_run_done(v);
	nr = synthetic_msrs(&saved);
	ASSERT(nr > 20, "%u MSRs", nr);
	ASSERT_EQ(__vcpu_ioctl(v, KVM_GET_MSRS, &saved), (int)nr);
	for (i = 0; i < nr; i++) {
		if (__vcpu_get_msr(v, saved.entries[i].index, &value) == 1 &&
		    value == saved.entries[i].data)
			continue;
		ASSERT(__vcpu_set_msr(v, saved.entries[i].index, saved.entries[i].data) == 1,
		       "MSR 0x%x", saved.entries[i].index);
	}
	vcpu_entry(v, finds_no_hyperv);
	vcpu_run_done(v);
	vm_free(vm);
}
