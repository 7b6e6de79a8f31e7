// SPDX-License-Identifier: GPL-2.0-only
/*
 * The Hyper-V leaves: what KVM_GET_SUPPORTED_HV_CPUID reports (hv-passthrough),
 * its error forms, and what the guest sees of a VMM's own leaves.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "vm.h"

/* clang-format off */
static const u32 leaves[] = {
	HV_LEAF_VENDOR, HV_LEAF_INTERFACE, HV_LEAF_VERSION, HV_LEAF_FEATURES, HV_LEAF_HINTS,
	HV_LEAF_LIMITS, HV_LEAF_SYNDBG_VENDOR, HV_LEAF_SYNDBG_IFACE, HV_LEAF_SYNDBG_CAPS,
	HV_LEAF_NESTED,
};
/* clang-format on */

/* Without SMT, or with it switched off for good, no two VPs share a core unseen. */
static bool smt_impossible(void)
{
	char buf[32] = "";
	int fd = open("/sys/devices/system/cpu/smt/control", O_RDONLY);

	ASSERT(fd >= 0, "smt/control: %s", strerror(errno));
	ASSERT(read(fd, buf, sizeof(buf) - 1) > 0, "smt/control");
	close(fd);
	return !strncmp(buf, "forceoff", 8) || !strncmp(buf, "notsupported", 12);
}

TEST(every_leaf_is_there_once)
{
	struct cpuid_table t;
	u32 i, j;

	cpuid_hv(NULL, &t);
	ASSERT(t.nent >= ARRAY_SIZE(leaves), "%u leaves", t.nent);
	for (i = 0; i < ARRAY_SIZE(leaves); i++)
		cpuid_get(&t, leaves[i]);
	for (i = 0; i < t.nent; i++) {
		struct kvm_cpuid_entry2 *e = &t.entries[i];

		ASSERT((e->function & 0xffffff00) == 0x40000000, "leaf 0x%x", e->function);
		ASSERT_EQ(e->index, 0);
		ASSERT_EQ(e->flags, 0);
		for (j = 0; j < 3; j++)
			ASSERT_EQ(e->padding[j], 0);
		for (j = 0; j < i; j++)
			ASSERT(t.entries[j].function != e->function, "leaf 0x%x twice",
			       e->function);
	}
}

TEST(vendor_and_limits)
{
	struct cpuid_table t;
	struct kvm_cpuid_entry2 *e;
	u32 i, max = 0;

	cpuid_hv(NULL, &t);
	for (i = 0; i < t.nent; i++)
		max = t.entries[i].function > max ? t.entries[i].function : max;
	e = cpuid_get(&t, HV_LEAF_VENDOR);
	ASSERT(e->eax >= max, "leaf 0 says 0x%x, the last leaf is 0x%x", e->eax, max);
	ASSERT_EQ(e->ebx, 0x756e694c); /* "Linux KVM Hv" */
	ASSERT_EQ(e->ecx, 0x564b2078);
	ASSERT_EQ(e->edx, 0x7648204d);
	e = cpuid_get(&t, HV_LEAF_INTERFACE);
	ASSERT_EQ(e->eax, HV_SIGNATURE);
	e = cpuid_get(&t, HV_LEAF_VERSION);
	ASSERT_EQ(e->eax, 0x3839);
	ASSERT_EQ(e->ebx >> 16, 10);
	e = cpuid_get(&t, HV_LEAF_LIMITS);
	ASSERT_EQ(e->eax, kvm_check_cap(KVM_CAP_MAX_VCPUS));
	ASSERT(e->ebx >= 64, "logical processors %u", e->ebx);
}

TEST(features_of_every_kernel)
{
	/* clang-format off */
	static const u64 bits[] = {
		HV_F_VP_RUNTIME, HV_F_TIME_REF, HV_F_SYNIC, HV_F_STIMER, HV_F_APIC,
		HV_F_HYPERCALL, HV_F_VP_INDEX, HV_F_RESET, HV_F_REF_TSC, HV_F_FREQUENCY,
		HV_F_REENLIGHTENMENT, HV_F_POST_MESSAGES, HV_F_SIGNAL_EVENTS, HV_F_DEBUGGING,
		HV_F_XMM_INPUT, HV_F_FREQ_MSRS, HV_F_CRASH, HV_F_SYNDBG, HV_F_STIMER_DIRECT,
		HV_H_TLBFLUSH, HV_H_APIC, HV_H_RELAXED, HV_H_NO_AEOI, HV_H_IPI, HV_H_EX_MASKS,
		HV_S_KERNEL_DEBUG,
	};
	/* clang-format on */
	struct cpuid_table t;
	u32 i;

	cpuid_hv(NULL, &t);
	for (i = 0; i < ARRAY_SIZE(bits); i++)
		ASSERT(cpuid_test(&t, bits[i]), "0x%x.%u.0x%x missing", CPUBIT_LEAF(bits[i]),
		       CPUBIT_REG(bits[i]), CPUBIT_MASK(bits[i]));
	/* The spin count that Hyper-V 2016 recommends. */
	ASSERT_EQ(cpuid_get(&t, HV_LEAF_HINTS)->ebx, 0xfff);
}

TEST_KNOWN_IF(tsc_invariant_offered, "D7", host_is_6_1)
{
	struct cpuid_table t;

	cpuid_hv(NULL, &t);
	ASSERT_KNOWN(cpuid_test(&t, HV_F_TSC_INVARIANT), "3.EAX.15");
}

TEST_KNOWN(hypercall_lock_offered, "K4")
{
	struct cpuid_table t;

	cpuid_hv(NULL, &t);
	ASSERT_KNOWN(cpuid_test(&t, HV_F_HYPERCALL_LOCK), "3.EDX.18");
}

TEST(no_nonarch_coresharing_without_smt)
{
	struct cpuid_table t;

	cpuid_hv(NULL, &t);
	ktap_log("SMT is %spossible", smt_impossible() ? "im" : "");
	ASSERT_EQ(cpuid_test(&t, HV_H_NO_CORESHARING), smt_impossible());
}

/* Too small a buffer is E2BIG; a larger one comes back with the count. */
static void count_forms(struct vcpu *v)
{
	struct cpuid_table t, full;
	u32 n;

	cpuid_hv(v, &full);
	for (n = 0; n < full.nent; n++)
		ASSERT_EQ(__cpuid_hv(v, &t, n), -E2BIG);
	ASSERT_EQ(__cpuid_hv(v, &t, full.nent), 0);
	ASSERT_EQ(t.nent, full.nent);
	ASSERT(!memcmp(t.entries, full.entries, full.nent * sizeof(t.entries[0])),
	       "the result depends on the size of the buffer");
	ASSERT_EQ(__cpuid_hv(v, &t, MAX_CPUID), 0);
	ASSERT_EQ(t.nent, full.nent);
}

TEST(system_ioctl_counts_entries)
{
	ASSERT(kvm_check_cap(KVM_CAP_SYS_HYPERV_CPUID), "no system ioctl");
	count_forms(NULL);
}

TEST(vcpu_ioctl_counts_entries)
{
	struct vm *vm = vm_create(1, 0);

	ASSERT(kvm_check_cap(KVM_CAP_HYPERV_CPUID), "no ioctl");
	count_forms(vm->vcpus[0]);
	vm_free(vm);
}

TEST(bad_buffer_is_efault)
{
	struct vm *vm = vm_create(1, 0);

	ASSERT_EQ(__vcpu_ioctl(vm->vcpus[0], KVM_GET_SUPPORTED_HV_CPUID, NULL), -EFAULT);
	vm_free(vm);
}

/*
 * The system ioctl tells what a vCPU could have. eVMCS is opt-in: the vCPU tells
 * of it when the VMM has asked for it.
 */
static void enable_evmcs(struct vcpu *v)
{
	u16 version = 0;
	struct kvm_enable_cap c = {
		.cap = KVM_CAP_HYPERV_ENLIGHTENED_VMCS,
		.args = { (u64)(uintptr_t)&version },
	};

	if (hv_supported(HV_H_EVMCS)) {
		ASSERT_EQ(__vcpu_ioctl(v, KVM_ENABLE_CAP, &c), 0);
		ASSERT_EQ(version, 0x101);
	}
}

static void same_tables(struct cpuid_table *a, struct cpuid_table *b)
{
	u32 i;

	ASSERT_EQ(a->nent, b->nent);
	for (i = 0; i < a->nent; i++)
		ASSERT(!memcmp(&a->entries[i], &b->entries[i], sizeof(a->entries[i])),
		       "leaf 0x%x: %x %x %x %x, %x %x %x %x", a->entries[i].function,
		       a->entries[i].eax, a->entries[i].ebx, a->entries[i].ecx, a->entries[i].edx,
		       b->entries[i].eax, b->entries[i].ebx, b->entries[i].ecx, b->entries[i].edx);
}

TEST(system_and_vcpu_agree)
{
	struct vm *vm = vm_create(1, 0);
	struct cpuid_table sys, own;

	enable_evmcs(vm->vcpus[0]);
	cpuid_hv(NULL, &sys);
	cpuid_hv(vm->vcpus[0], &own);
	same_tables(&sys, &own);
	vm_free(vm);
}

TEST(no_lapic_no_direct_timers_and_ipis)
{
	struct vm *vm = vm_create(1, VM_NO_IRQCHIP);
	struct cpuid_table sys, own;

	enable_evmcs(vm->vcpus[0]);
	cpuid_hv(NULL, &sys);
	cpuid_hv(vm->vcpus[0], &own);
	ASSERT(!cpuid_test(&own, HV_F_STIMER_DIRECT), "direct timers without LAPIC");
	ASSERT(!cpuid_test(&own, HV_H_IPI), "IPIs without LAPIC");
	ASSERT(!cpuid_test(&own, HV_F_GUEST_IDLE), "idle without LAPIC");
	cpuid_assign(&own, HV_F_STIMER_DIRECT, true);
	cpuid_assign(&own, HV_F_GUEST_IDLE, cpuid_test(&sys, HV_F_GUEST_IDLE));
	cpuid_assign(&own, HV_F_IDLE_AVAILABLE, cpuid_test(&sys, HV_F_IDLE_AVAILABLE));
	cpuid_assign(&own, HV_H_IPI, true);
	same_tables(&sys, &own);
	vm_free(vm);
}

TEST(evmcs_is_opt_in)
{
	struct vm *vm = vm_create(1, 0);
	struct cpuid_table own;

	if (!hv_supported(HV_H_EVMCS))
		ktap_skip("no eVMCS on this host: not Intel, or nested is off");
	cpuid_hv(vm->vcpus[0], &own);
	ASSERT(!cpuid_test(&own, HV_H_EVMCS), "offered before the VMM asked");
	ASSERT_EQ(cpuid_get(&own, HV_LEAF_NESTED)->eax & 0xffff, 0);
	enable_evmcs(vm->vcpus[0]);
	cpuid_hv(vm->vcpus[0], &own);
	ASSERT(cpuid_test(&own, HV_H_EVMCS), "not offered after the VMM asked");
	/* Version 1 is both the lowest and the highest. */
	ASSERT_EQ(cpuid_get(&own, HV_LEAF_NESTED)->eax & 0xffff, 0x101);
	vm_free(vm);
}

static struct kvm_cpuid_entry2 expected[] = {
	{ .function = HV_LEAF_VENDOR,
	  .eax = HV_LEAF_LIMITS,
	  .ebx = 0x7263694d,
	  .ecx = 0x666f736f,
	  .edx = 0x76482074 }, /* "Microsoft Hv" */
	{ .function = HV_LEAF_INTERFACE, .eax = HV_SIGNATURE },
	{ .function = HV_LEAF_VERSION,
	  .eax = 0x4f7c,
	  .ebx = 0x000a0000,
	  .ecx = 0x11,
	  .edx = 0x01000022 },
	{ .function = HV_LEAF_FEATURES, .eax = 0x20, .edx = 0x8 },
	{ .function = HV_LEAF_HINTS, .eax = 0x20, .ebx = 0x1fff },
	{ .function = HV_LEAF_LIMITS, .eax = 0xffffffff, .ebx = 0x40 },
};

GUEST_CODE(compare_leaves)
{
	u32 i;

	for (i = 0; i < ARRAY_SIZE(expected); i++) {
		struct cpuid_regs r = cpuid(expected[i].function, 0);

		GUEST_ASSERT_EQ(r.eax, expected[i].eax);
		GUEST_ASSERT_EQ(r.ebx, expected[i].ebx);
		GUEST_ASSERT_EQ(r.ecx, expected[i].ecx);
		GUEST_ASSERT_EQ(r.edx, expected[i].edx);
	}
}

/* hv-vendor-id, hv-version-id-*, hv-relaxed, hv-spinlocks: the VMM's word counts. */
TEST(guest_sees_vmm_leaves)
{
	struct vm *vm = vm_create(1, 0);
	struct vcpu *v = vm->vcpus[0];

	cpuid_remove_hv(&v->cpuid);
	memcpy(&v->cpuid.entries[v->cpuid.nent], expected, sizeof(expected));
	v->cpuid.nent += ARRAY_SIZE(expected);
	vcpu_set_cpuid(v);
	vcpu_entry(v, compare_leaves);
	vcpu_run_done(v);
	vm_free(vm);
}

GUEST_CODE(no_interface)
{
	u64 val;

	GUEST_ASSERT_EQ(__rdmsr(HV_X64_MSR_GUEST_OS_ID, &val), GP_VECTOR);
	GUEST_ASSERT_EQ(__wrmsr(HV_X64_MSR_GUEST_OS_ID, 1), GP_VECTOR);
	GUEST_ASSERT_EQ(__rdmsr(HV_X64_MSR_VP_INDEX, &val), GP_VECTOR);
	GUEST_ASSERT(hypercall(HVCALL_NOTIFY_LONG_SPIN_WAIT | HV_CTL_FAST, 0, 0) != 0);
}

/* "Hv#1" is the switch: with another signature nothing is there. */
TEST(nothing_without_signature)
{
	struct vm *vm = vm_create(1, 0);
	struct vcpu *v = vm->vcpus[0];

	cpuid_get(&v->cpuid, HV_LEAF_INTERFACE)->eax = HV_SIGNATURE ^ 1;
	vcpu_set_cpuid(v);
	vcpu_entry(v, no_interface);
	vcpu_run_done(v);
	vm_free(vm);
}

TEST(nothing_without_leaves)
{
	struct vm *vm = vm_create(1, VM_NO_HV);

	vcpu_entry(vm->vcpus[0], no_interface);
	vcpu_run_done(vm->vcpus[0]);
	vm_free(vm);
}

/* KVM_SET_CPUID knows no subleaves. */
static void set_cpuid_by_old_ioctl(struct vcpu *v, const struct cpuid_table *t)
{
	struct {
		struct kvm_cpuid head;
		struct kvm_cpuid_entry entries[MAX_CPUID];
	} old = {};
	u32 i;

	for (i = 0; i < t->nent; i++) {
		const struct kvm_cpuid_entry2 *e = &t->entries[i];

		if (!e->index)
			old.entries[old.head.nent++] = (struct kvm_cpuid_entry){
				.function = e->function,
				.eax = e->eax,
				.ebx = e->ebx,
				.ecx = e->ecx,
				.edx = e->edx,
			};
	}
	vcpu_ioctl(v, KVM_SET_CPUID, &old);
}

GUEST_CODE(whole_interface)
{
	guest_set_os_id();
	GUEST_ASSERT_EQ(rdmsr(HV_X64_MSR_VP_INDEX), 0);
	GUEST_ASSERT_EQ(cpuid(HV_LEAF_INTERFACE, 0).eax, HV_SIGNATURE);
	GUEST_ASSERT_EQ(hypercall(HVCALL_NOTIFY_LONG_SPIN_WAIT | HV_CTL_FAST, 0, 0), 0);
}

TEST(leaves_by_the_old_ioctl)
{
	struct vm *vm = vm_create(1, 0);
	struct vcpu *v = vm->vcpus[0];
	struct cpuid_table leaves = v->cpuid;

	vm_free(vm);
	vm = vm_create(2, VM_NO_HV);
	v = vm->vcpus[0];
	set_cpuid_by_old_ioctl(v, &leaves);
	vcpu_entry(v, whole_interface);
	vcpu_run_done(v);
	/* Given, and taken back before the vCPU runs. */
	v = vm->vcpus[1];
	set_cpuid_by_old_ioctl(v, &leaves);
	set_cpuid_by_old_ioctl(v, &v->cpuid);
	vcpu_entry(v, no_interface);
	vcpu_run_done(v);
	vm_free(vm);
}

/*
 * hv-passthrough together with hv-enforce-cpuid: whatever is advertised can be
 * used. One register for each bit; enforce_cpuid_msrs_test has them all.
 */
GUEST_CODE(use_everything)
{
	/* clang-format off */
	static const u32 msrs[] = {
		HV_X64_MSR_VP_RUNTIME, HV_X64_MSR_TIME_REF_COUNT, HV_X64_MSR_STIMER0_CONFIG,
		HV_X64_MSR_TPR, HV_X64_MSR_HYPERCALL, HV_X64_MSR_VP_INDEX, HV_X64_MSR_RESET,
		HV_X64_MSR_REFERENCE_TSC, HV_X64_MSR_TSC_FREQUENCY,
		HV_X64_MSR_REENLIGHTENMENT_CONTROL, HV_X64_MSR_CRASH_CTL,
		HV_X64_MSR_SYNDBG_OPTIONS,
	};
	/* clang-format on */
	u64 val;
	u32 i;

	guest_set_os_id();
	for (i = 0; i < ARRAY_SIZE(msrs); i++)
		if (__rdmsr(msrs[i], &val))
			GUEST_ASSERT_EQ(msrs[i], 0);
	if (cpuid(HV_LEAF_FEATURES, 0).eax & (1u << 15))
		GUEST_ASSERT_EQ(__rdmsr(HV_X64_MSR_TSC_INVARIANT_CONTROL, &val), 0);
	GUEST_ASSERT_EQ(hypercall(HVCALL_NOTIFY_LONG_SPIN_WAIT | HV_CTL_FAST, 0, 0), 0);
	GUEST_ASSERT_EQ(hypercall(HVCALL_SEND_IPI | HV_CTL_FAST, 0x40, 0), 0);
}

TEST(advertised_is_usable)
{
	struct vm *vm = vm_create(1, VM_ENFORCE);

	vcpu_entry(vm->vcpus[0], use_everything);
	vcpu_run_done(vm->vcpus[0]);
	vm_free(vm);
}
