// SPDX-License-Identifier: GPL-2.0-only
/*
 * The module parameters features_eax=, features_ebx=, features_edx= and hints_eax=: bits of CPUID
 * leaves 0x40000003 and 0x40000004 for guests whose VMM does not know them. Each guest with Hyper-V
 * is shown them, and may use what they stand for; user space reads back what it has set. Inserts
 * and removes the module by itself.
 */
#include <string.h>

#include "module.h"
#include "ops.h"

/* What no VMM shows, GUEST_IDLE, and what this one does not. */
#define HYPERCALLS   BIT64(5)
#define GUEST_IDLE   BIT64(10)
#define VP_INDEX     BIT64(6)
#define FREQUENCIES  BIT64(8) /* EDX */
#define POST_MESSAGE BIT64(4) /* EBX */
#define CLUSTER_IPI  BIT64(10)
#define ALL_FOUR     "features_eax=0x440 features_ebx=0x10 features_edx=0x100 hints_eax=0x400"

struct leaf {
	u32 eax, ebx, ecx, edx;
};

/* A VM whose two leaves have but the bit for hypercalls, as every VMM shows it. */
static struct vm *create(u32 flags)
{
	struct vm *vm = vm_create(1, flags);
	struct vcpu *v = vm->vcpus[0];

	if (flags & VM_NO_HV)
		return vm;
	cpuid_zero(&v->cpuid, HV_LEAF_FEATURES);
	cpuid_zero(&v->cpuid, HV_LEAF_HINTS);
	cpuid_get(&v->cpuid, HV_LEAF_FEATURES)->eax = HYPERCALLS;
	vcpu_set_cpuid(v);
	return vm;
}

static struct leaf shown;

GUEST_CODE(reads_leaf_3)
{
	struct cpuid_regs r = cpuid(HV_LEAF_FEATURES, 0);

	shown = (struct leaf){ r.eax, r.ebx, r.ecx, r.edx };
}

GUEST_CODE(reads_leaf_4)
{
	struct cpuid_regs r = cpuid(HV_LEAF_HINTS, 0);

	shown = (struct leaf){ r.eax, r.ebx, r.ecx, r.edx };
}

static struct leaf read_leaf(struct vm *vm, void (*reader)(void))
{
	vcpu_entry(vm->vcpus[0], reader);
	vcpu_run_done(vm->vcpus[0]);
	return shown;
}

static void load(const char *params)
{
	require_module_file();
	module_load_with(params);
}

static void end(struct vm *vm)
{
	vm_free(vm);
	module_unload();
}

TEST(all_registers_show_them)
{
	struct leaf is;
	struct vm *vm;

	load(ALL_FOUR);
	vm = create(0);
	is = read_leaf(vm, reads_leaf_3);
	ASSERT_EQ(is.eax, HYPERCALLS | GUEST_IDLE | VP_INDEX);
	ASSERT_EQ(is.ebx, POST_MESSAGE);
	ASSERT_EQ(is.edx, FREQUENCIES);
	is = read_leaf(vm, reads_leaf_4);
	ASSERT_EQ(is.eax, CLUSTER_IPI);
	end(vm);
}

TEST(user_space_reads_what_it_has_set)
{
	struct cpuid_table t = { .nent = ARRAY_SIZE(t.entries) };
	struct vm *vm;

	load(ALL_FOUR);
	vm = create(0);
	vcpu_ioctl(vm->vcpus[0], KVM_GET_CPUID2, &t);
	ASSERT_EQ(cpuid_get(&t, HV_LEAF_FEATURES)->eax, HYPERCALLS);
	ASSERT_EQ(cpuid_get(&t, HV_LEAF_FEATURES)->ebx, 0);
	ASSERT_EQ(cpuid_get(&t, HV_LEAF_FEATURES)->edx, 0);
	ASSERT_EQ(cpuid_get(&t, HV_LEAF_HINTS)->eax, 0);
	end(vm);
}

GUEST_CODE(reads_vp_index)
{
	u64 value;

	GUEST_ASSERT_EQ(__rdmsr(HV_X64_MSR_VP_INDEX, &value), 0);
	GUEST_ASSERT_EQ(value, 0);
}

GUEST_CODE(faults_at_vp_index)
{
	u64 value;

	GUEST_ASSERT_EQ(__rdmsr(HV_X64_MSR_VP_INDEX, &value), GP_VECTOR);
}

/* Where the gate counts, who is shown the bit has the register, and nobody else. */
static void gated(const char *params, void (*entry)(void))
{
	struct vm *vm;

	load(params);
	vm = create(VM_ENFORCE);
	vcpu_entry(vm->vcpus[0], entry);
	vcpu_run_done(vm->vcpus[0]);
	end(vm);
}

TEST(gate_follows)
{
	gated("features_eax=0x40", reads_vp_index);
}

TEST(gate_without_the_parameter)
{
	gated("", faults_at_vp_index);
}

TEST(gate_of_another_bit)
{
	gated("features_eax=0x400", faults_at_vp_index);
}

/* Such a VM is not offered it. */
TEST(not_without_an_in_kernel_apic)
{
	struct vm *vm;

	load("features_eax=0x440 features_edx=0x20");
	vm = create(VM_NO_IRQCHIP);
	ASSERT_EQ(read_leaf(vm, reads_leaf_3).eax, HYPERCALLS | VP_INDEX);
	ASSERT_EQ(shown.edx, 0);
	end(vm);
}

/* User space sets CPUID as often as it likes before the guest runs: the last table counts. */
TEST(set_again)
{
	struct vm *vm;
	u32 i;

	load("features_eax=0x40");
	vm = create(0);
	for (i = 0; i < 3; i++) {
		cpuid_get(&vm->vcpus[0]->cpuid, HV_LEAF_FEATURES)->eax = HYPERCALLS |
									 (i == 1 ? GUEST_IDLE : 0);
		vcpu_set_cpuid(vm->vcpus[0]);
	}
	ASSERT_EQ(read_leaf(vm, reads_leaf_3).eax, HYPERCALLS | VP_INDEX);
	end(vm);
}

/* Hyper-V's leaves are somebody else's there, or nobody's: KVM's own signature, say. */
TEST(not_without_hyperv)
{
	struct cpuid_table t = { .nent = ARRAY_SIZE(t.entries) };
	struct leaf with, without;
	struct vm *vm;

	load("");
	vm = create(VM_NO_HV);
	without = read_leaf(vm, reads_leaf_3);
	end(vm);
	load(ALL_FOUR);
	vm = create(VM_NO_HV);
	with = read_leaf(vm, reads_leaf_3);
	ASSERT(!memcmp(&with, &without, sizeof(with)), "EAX 0x%x, not 0x%x", with.eax, without.eax);
	vcpu_ioctl(vm->vcpus[0], KVM_GET_CPUID2, &t);
	ASSERT(!cpuid_find(&t, HV_LEAF_FEATURES, 0), "a leaf came");
	end(vm);
}

int main(int argc, char **argv)
{
	if (argc == 3 && !strcmp(argv[1], "--module"))
		module_option = argv[2];
	return module_ktap_main(argc, argv);
}
