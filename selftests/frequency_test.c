// SPDX-License-Identifier: GPL-2.0-only
/* TSC_FREQUENCY and APIC_FREQUENCY: values in Hz, read-only. */
#include <errno.h>
#include <string.h>

#include "vm.h"

static u64 expected_tsc, expected_apic;

GUEST_CODE(read_both)
{
	GUEST_ASSERT_EQ(rdmsr(HV_X64_MSR_TSC_FREQUENCY), expected_tsc);
	GUEST_ASSERT_EQ(rdmsr(HV_X64_MSR_APIC_FREQUENCY), expected_apic);
}

static u64 tsc_hz(struct vcpu *v)
{
	int khz = __vcpu_ioctl(v, KVM_GET_TSC_KHZ, NULL);

	ASSERT(khz > 0, "KVM_GET_TSC_KHZ %d", khz);
	return (u64)khz * 1000;
}

TEST(frequencies_are_kvms)
{
	struct vm *vm = vm_create(2, 0);
	u32 i;

	expected_tsc = tsc_hz(vm->vcpus[0]);
	expected_apic = 1000000000;
	ktap_log("TSC %llu Hz", (unsigned long long)expected_tsc);
	for (i = 0; i < 2; i++) {
		ASSERT_EQ(vcpu_get_msr(vm->vcpus[i], HV_X64_MSR_TSC_FREQUENCY), expected_tsc);
		ASSERT_EQ(vcpu_get_msr(vm->vcpus[i], HV_X64_MSR_APIC_FREQUENCY), expected_apic);
		vcpu_entry(vm->vcpus[i], read_both);
		vcpu_run_done(vm->vcpus[i]);
	}
	vm_free(vm);
}

GUEST_TEST(write_faults)
{
	u64 tsc = rdmsr(HV_X64_MSR_TSC_FREQUENCY), apic = rdmsr(HV_X64_MSR_APIC_FREQUENCY);

	GUEST_ASSERT_EQ(__wrmsr(HV_X64_MSR_TSC_FREQUENCY, tsc), GP_VECTOR);
	GUEST_ASSERT_EQ(__wrmsr(HV_X64_MSR_APIC_FREQUENCY, apic), GP_VECTOR);
	GUEST_ASSERT_EQ(rdmsr(HV_X64_MSR_TSC_FREQUENCY), tsc);
	GUEST_ASSERT_EQ(rdmsr(HV_X64_MSR_APIC_FREQUENCY), apic);
}

/* A restore writes back what it saved; the value does not move. */
TEST(host_write_is_ignored)
{
	struct vm *vm = vm_create(1, 0);
	struct vcpu *v = vm->vcpus[0];

	vcpu_set_msr(v, HV_X64_MSR_TSC_FREQUENCY, 12345);
	vcpu_set_msr(v, HV_X64_MSR_APIC_FREQUENCY, 12345);
	ASSERT_EQ(vcpu_get_msr(v, HV_X64_MSR_TSC_FREQUENCY), tsc_hz(v));
	ASSERT_EQ(vcpu_get_msr(v, HV_X64_MSR_APIC_FREQUENCY), 1000000000);
	vm_free(vm);
}

TEST(tsc_follows_set_tsc_khz)
{
	struct vm *vm = vm_create(1, 0);
	struct vcpu *v = vm->vcpus[0];
	u64 khz = tsc_hz(v) / 1000;
	int r;

	/* Without TSC scaling KVM takes a higher frequency and catches up in software. */
	r = __vcpu_ioctl(v, KVM_SET_TSC_KHZ, (void *)(uintptr_t)(khz * 2));
	if (r == -EINVAL)
		ktap_skip("KVM_SET_TSC_KHZ refuses another frequency on this host");
	ASSERT(r == 0, "KVM_SET_TSC_KHZ: %s", strerror(-r));
	ASSERT_EQ(tsc_hz(v), khz * 2000);
	expected_tsc = khz * 2000;
	expected_apic = 1000000000;
	ASSERT_EQ(vcpu_get_msr(v, HV_X64_MSR_TSC_FREQUENCY), expected_tsc);
	vcpu_entry(v, read_both);
	vcpu_run_done(v);
	vm_free(vm);
}

TEST(apic_follows_bus_frequency)
{
	struct vm *vm;
	struct vcpu *v;
	int r;

	if (!kvm_check_cap(KVM_CAP_X86_APIC_BUS_CYCLES_NS))
		ktap_skip("this kernel has no KVM_CAP_X86_APIC_BUS_CYCLES_NS");
	/* The capability must be set after the irqchip and before any vCPU. */
	vm = vm_create(0, 0);
	/* A second is divided by it. */
	ASSERT_EQ(__vm_enable_cap(vm, KVM_CAP_X86_APIC_BUS_CYCLES_NS, 0), -EINVAL);
	r = __vm_enable_cap(vm, KVM_CAP_X86_APIC_BUS_CYCLES_NS, 40);
	ASSERT(r == 0, "%s", strerror(-r));
	v = vm_add_vcpu(vm);
	expected_tsc = tsc_hz(v);
	expected_apic = 25000000;
	ASSERT_EQ(vcpu_get_msr(v, HV_X64_MSR_APIC_FREQUENCY), expected_apic);
	vcpu_entry(v, read_both);
	vcpu_run_done(v);
	vm_free(vm);
}
