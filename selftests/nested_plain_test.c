// SPDX-License-Identifier: GPL-2.0-only
/*
 * A hypervisor in a guest without Hyper-V's CPUID pays for nothing of Hyper-V's: KVM looks for
 * flushes at every switch between L1 and L2 of a vCPU that has Hyper-V's state. Counted by the
 * function that looks, which 6.1 does not have.
 */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "nested.h"
#include "tracefs.h"

#define FUNCTION "kvm_hv_vcpu_flush_tlb"
#define ROUNDS	 50

static bool line_in(const char *path, const char *word)
{
	char line[256];
	bool found = false;
	FILE *f = fopen(path, "re");

	ASSERT(f, "%s cannot be read", path);
	while (!found && fgets(line, sizeof(line), f))
		found = !strncmp(line, word, strlen(word));
	fclose(f);
	return found;
}

/* Calls of FUNCTION, which is traced, while L2 exits to L1 and comes back. */
static u32 looks_for_flushes(u32 flags)
{
	struct vm *vm = vm_create(1, flags);
	struct vcpu *v = vm->vcpus[0];
	char line[512];
	u32 calls = 0, i;
	FILE *f;

	/* Without VPID each switch flushes everything, which answers the request, too. */
	nested_create(v, NESTED_PAGING, 1)->controls2 = PROC2_VPID;
	nested_start(v);
	trace_clear();
	for (i = 0; i < ROUNDS; i++)
		nested_l1_op(v, (struct guest_op){ .op = OP_CPUID });
	f = fopen(TRACING "/trace", "re");
	ASSERT(f, "no trace");
	while (fgets(line, sizeof(line), f))
		calls += line[0] != '#' && strstr(line, FUNCTION " <-");
	fclose(f);
	vm_free(vm);
	return calls;
}

TEST(no_flush_at_a_switch_without_hyperv)
{
	u32 with, without;

	if (!host_has_nested())
		ktap_skip("no nested virtualization");
	if (host_is_amd())
		ktap_skip("each switch flushes everything there, which answers the request, too");
	if (!line_in(TRACING "/available_filter_functions", FUNCTION))
		ktap_skip("this KVM has no " FUNCTION "()");
	file_must_write(TRACING "/set_ftrace_filter", FUNCTION "\n");
	file_must_write(TRACING "/current_tracer", "function\n");
	with = looks_for_flushes(0);
	without = looks_for_flushes(VM_NO_HV);
	file_must_write(TRACING "/current_tracer", "nop\n");
	file_write(TRACING "/set_ftrace_filter", "\n", O_TRUNC);
	/* That they are seen at all. */
	ASSERT(with >= ROUNDS, "only %u calls of " FUNCTION "() with Hyper-V", with);
	ASSERT_EQ(without, 0);
}
