// SPDX-License-Identifier: GPL-2.0-only
/* See fastpath.h. */
#include "fastpath.h"
#include "module.h"

u64 counted(const char *name)
{
	return module_loaded() ? module_count(name) : 0;
}

void expect_counted(const char *name, u64 before, u64 nr)
{
	u64 now = counted(name);

	ASSERT(!module_loaded() || now - before >= nr, "%s: %llu, expected %llu", name,
	       (unsigned long long)(now - before), (unsigned long long)nr);
}

struct vm *reader(struct ops_page **p)
{
	struct vm *vm = vm_create(1, 0);

	*p = vcpu_ops_init(vm->vcpus[0], READS);
	return vm;
}

void read_vp_index(struct vcpu *v, struct ops_page *p)
{
	u32 i;

	for (i = 0; i < READS; i++)
		p->ops[i] = OP_RD(HV_X64_MSR_VP_INDEX);
	vcpu_ops_run(v, p, READS);
	for (i = 0; i < READS; i++) {
		ASSERT_EQ(p->ops[i].vector, 0);
		ASSERT_EQ(p->ops[i].result, 0);
	}
}

u64 exits_by(const char *name, struct vcpu *v, struct ops_page *p)
{
	u64 before = counted(name);

	read_vp_index(v, p);
	return module_loaded() ? counted(name) - before : READS;
}
