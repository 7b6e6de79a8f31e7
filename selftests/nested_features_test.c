// SPDX-License-Identifier: GPL-2.0-only
/*
 * The module parameter nested_features=: bits of CPUID leaf 0x4000000A for guests whose VMM does
 * not know them. Who has the leaf is shown them, and may use them; nobody else, and user space
 * reads back what it has set. Inserts and removes the module by itself.
 */
#include <string.h>

#include "module.h"
#include "ops.h"

#define ADDED	  "nested_features=0x100040000"
#define ADDED_EAX BIT64(18) /* GPA flush */
#define ADDED_EBX BIT64(0)  /* PERF_GLOBAL_CTRL */
#define GPA_CALL  (HVCALL_FLUSH_GPA_SPACE | HV_CTL_FAST)

struct subject {
	struct vm *vm;
	struct vcpu *v;
	struct ops_page *p;
};

/* A VM whose leaf has these bits of EAX and no other. */
static struct subject create(u32 eax)
{
	struct subject s;

	s.vm = vm_create(1, 0);
	s.v = s.vm->vcpus[0];
	cpuid_zero(&s.v->cpuid, HV_LEAF_NESTED);
	cpuid_get(&s.v->cpuid, HV_LEAF_NESTED)->eax = eax;
	vcpu_set_cpuid(s.v);
	s.p = vcpu_ops_init(s.v, 1);
	vcpu_set_msr(s.v, HV_X64_MSR_GUEST_OS_ID, 0x8100000000000001ULL);
	return s;
}

static u64 leaf_of_guest(struct subject *s)
{
	struct guest_op op = { .op = OP_CPUID, .arg0 = HV_LEAF_NESTED };

	/* EBX:EAX */
	return vcpu_op(s->v, s->p, op).result;
}

/* What user space reads back. */
static u64 leaf_of_host(struct subject *s)
{
	struct cpuid_table t = { .nent = ARRAY_SIZE(t.entries) };
	struct kvm_cpuid_entry2 *leaf;

	vcpu_ioctl(s->v, KVM_GET_CPUID2, &t);
	leaf = cpuid_get(&t, HV_LEAF_NESTED);
	return (u64)leaf->ebx << 32 | leaf->eax;
}

static u64 flush_gpa(struct subject *s)
{
	struct guest_op op = vcpu_op(s->v, s->p, OP_HC(GPA_CALL, 0, 0));

	ASSERT_EQ(op.vector, 0);
	return op.result;
}

/* What the guest of a VMM that set @eax is shown, and what it is answered when its gate counts. */
static void check(const char *params, u32 eax, u64 shown, u64 answer)
{
	struct subject s;

	require_module_file();
	module_load_with(params);
	s = create(eax);
	ASSERT_EQ(leaf_of_guest(&s), shown);
	ASSERT_EQ(leaf_of_host(&s), eax);
	vcpu_enforce_cpuid(s.v, true);
	ASSERT_EQ(flush_gpa(&s), answer);
	vm_free(s.vm);
	module_unload();
}

/* As QEMU shows the leaf. */
static const u32 qemu = 1u << 17 | 1u << 19;

TEST(shown_to_who_has_the_leaf)
{
	check(ADDED, qemu, qemu | ADDED_EAX | ADDED_EBX << 32, HV_STATUS_SUCCESS);
}

TEST(not_shown_to_others)
{
	check(ADDED, 0, 0, HV_STATUS_ACCESS_DENIED);
}

TEST(not_shown_without_the_parameter)
{
	check("", qemu, qemu, HV_STATUS_ACCESS_DENIED);
}

int main(int argc, char **argv)
{
	if (argc == 3 && !strcmp(argv[1], "--module"))
		module_option = argv[2];
	return module_ktap_main(argc, argv);
}
