// SPDX-License-Identifier: GPL-2.0-only
/*
 * IPIs by hypercall: which VPs get them, by their indices.
 */
#include <stdio.h>
#include <string.h>

#include "ipi.h"
#include "tracefs.h"

#define EVENTS	 TRACING "/events/kvm_hyperv/enable"
#define FASTPATH "/sys/module/kvm_hyperv/parameters/fastpath"
#define TRIES	 8 /* a single exit may find that it has to wait */

TEST(default_indices)
{
	static const struct row rows[] = {
		{ "VP 0", ANY, SPARSE, 1, { 1 }, CPU(0) },
		{ "VP 1", ANY, SPARSE, 1, { 2 }, CPU(1) },
		{ "VP 3", ANY, SPARSE, 1, { 8 }, CPU(3) },
		{ "two VPs", ANY, SPARSE, 1, { 0xa }, CPU(1) | CPU(3) },
		{ "all four", ANY, SPARSE, 1, { 0xf }, 0xf },
		{ "nobody", ANY, SPARSE, 1, { 0 }, 0 },
		{ "behind the last VP", ANY, SPARSE, 1, { ~0xfULL }, 0 },
		{ "64 VPs", ANY, SPARSE, 1, { ~0ULL }, 0xf },
		{ "no bank", EX, SPARSE, 0, { 0 }, 0 },
		{ "all", EX, ALL, 0, { 0 }, 0xf },
		{ "all, whatever the banks", EX, ALL, 3, { 2, 0 }, 0xf },
	};
	struct vm *vm = vm_with_indices(NULL);

	send_rows(vm, rows, ARRAY_SIZE(rows));
	vm_free(vm);
}

TEST(indices_above_64)
{
	static const struct row rows[] = {
		{ "VP 0", ANY, SPARSE, 1, { 1 }, CPU(0) },
		{ "VP 3", ANY, SPARSE, 1, { 8 }, CPU(3) },
		{ "numbers of vCPUs that are no VP", ANY, SPARSE, 1, { 6 }, 0 },
		{ "64 VPs", ANY, SPARSE, 1, { ~0ULL }, CPU(0) | CPU(3) },
		{ "VP 70", EX, SPARSE, BIT64(1), { BIT64(6) }, CPU(1) },
		{ "VP 129", EX, SPARSE, BIT64(2), { BIT64(1) }, CPU(2) },
		{ "VPs 70 and 129", EX, SPARSE, 6, { BIT64(6), BIT64(1) }, CPU(1) | CPU(2) },
		{ "all four", EX, SPARSE, 7, { 9, BIT64(6), BIT64(1) }, 0xf },
		{ "bank 1 without VP 70", EX, SPARSE, BIT64(1), { ~BIT64(6) }, 0 },
		{ "bank 2 with VP 128 and 130", EX, SPARSE, BIT64(2), { 5 }, 0 },
		{ "full bank 1", EX, SPARSE, BIT64(1), { ~0ULL }, CPU(1) },
		{ "empty bank 0", EX, SPARSE, 5, { 0, BIT64(1) }, CPU(2) },
		{ "banks 0 and 2", EX, SPARSE, 5, { 8, ~0ULL }, CPU(2) | CPU(3) },
		{ "all", EX, ALL, 0, { 0 }, 0xf },
	};
	struct vm *vm = vm_with_indices(spread_indices);

	send_rows(vm, rows, ARRAY_SIZE(rows));
	vm_free(vm);
}

/* More banks than VPs can have: VPs that exist get their interrupts. */
TEST(banks_behind_the_last_vp)
{
	static const struct row rows[] = {
		{ "bank 3", EX, SPARSE, BIT64(3), { ~0ULL }, 0 },
		{ "bank 15", EX, SPARSE, BIT64(15), { ~0ULL }, 0 },
		{ "bank 16", EX, SPARSE, BIT64(16), { ~0ULL }, 0 },
		{ "bank 63", EX, SPARSE, BIT64(63), { ~0ULL }, 0 },
		{ "banks 2 and 63", EX, SPARSE, BIT64(2) | BIT64(63), { 2, ~0ULL }, CPU(2) },
		{ "banks 0, 17, 40, 63",
		  EX,
		  SPARSE,
		  1 | BIT64(17) | BIT64(40) | BIT64(63),
		  { 1, ~0ULL, ~0ULL, ~0ULL },
		  CPU(0) },
		{ "banks 1 and all from 54",
		  EX,
		  SPARSE,
		  2 | ~0ULL << 54,
		  { ~0ULL, ~0ULL, ~0ULL, ~0ULL },
		  CPU(1) },
		{ "all banks, full", SLOW_EX, SPARSE, ~0ULL, { ~0ULL, ~0ULL, ~0ULL, ~0ULL }, 0xf },
		{ "all banks, empty", SLOW_EX, SPARSE, ~0ULL, { 0 }, 0 },
		{ "all banks but 0",
		  SLOW_EX,
		  SPARSE,
		  ~1ULL,
		  { ~0ULL, ~0ULL, ~0ULL, ~0ULL },
		  CPU(1) | CPU(2) },
		{ "all banks but 1",
		  SLOW_EX,
		  SPARSE,
		  ~2ULL,
		  { 1, 2, ~0ULL, ~0ULL },
		  CPU(0) | CPU(2) },
		{ "all with all banks", SLOW_EX, ALL, ~0ULL, { 0 }, 0xf },
	};
	struct vm *vm = vm_with_indices(spread_indices);

	send_rows(vm, rows, ARRAY_SIZE(rows));
	vm_free(vm);
}

TEST(highest_index)
{
	u32 last = (u32)kvm_check_cap(KVM_CAP_MAX_VCPUS) - 1, bank = last / 64;
	u32 vp_index[NR_VPS] = { last, 1, 2, 64 };
	struct row rows[] = {
		{ "the highest VP", EX, SPARSE, BIT64(bank), { BIT64(last % 64) }, CPU(0) },
		{ "its neighbours", EX, SPARSE, BIT64(bank), { ~BIT64(last % 64) }, 0 },
		{ "its bank and bank 1",
		  EX,
		  SPARSE,
		  BIT64(bank) | 2,
		  { ~0ULL, ~0ULL },
		  CPU(0) | CPU(3) },
		{ "bank 0", ANY, SPARSE, 1, { ~0ULL }, CPU(1) | CPU(2) },
	};
	struct vm *vm;

	ASSERT(bank > 1 && bank < 64, "KVM_CAP_MAX_VCPUS %u", last + 1);
	vm = vm_with_indices(vp_index);
	send_rows(vm, rows, ARRAY_SIZE(rows));
	vm_free(vm);
}

static void set_indices(struct vm *vm, u32 a, u32 b, u32 c, u32 d)
{
	const u32 index[NR_VPS] = { a, b, c, d };
	u32 i;

	for (i = 0; i < NR_VPS; i++)
		vcpu_set_msr(vm->vcpus[i], HV_X64_MSR_VP_INDEX, index[i]);
}

/* While they change, two vCPUs have the same index. */
TEST(swapped_indices)
{
	static const u32 same[] = { 0, 1, 2, 3 }, outer[] = { 3, 1, 2, 0 },
			 pairs[] = { 1, 0, 3, 2 };
	static const u32 turned[] = { 3, 0, 1, 2 };
	struct vm *vm = vm_with_indices(NULL);

	set_indices(vm, 3, 1, 2, 0);
	each_has(vm, outer);
	set_indices(vm, 0, 1, 2, 3);
	each_has(vm, same);
	set_indices(vm, 1, 0, 3, 2);
	each_has(vm, pairs);
	set_indices(vm, 1, 2, 3, 0);
	each_has(vm, turned);
	vm_free(vm);
}

TEST(index_changed_and_changed_back)
{
	static const u32 same[] = { 0, 1, 2, 3 };
	static const struct row away[] = {
		{ "its old index", ANY, SPARSE, 1, { 2 }, 0 },
		{ "its new index", EX, SPARSE, BIT64(3), { BIT64(8) }, CPU(1) },
		{ "the others", ANY, SPARSE, 1, { ~0ULL }, CPU(0) | CPU(2) | CPU(3) },
	};
	static const struct row back[] = {
		{ "the index that is free again", EX, SPARSE, BIT64(3), { ~0ULL }, 0 },
	};
	struct vm *vm = vm_with_indices(NULL);
	u32 i;

	for (i = 0; i < 2; i++) {
		vcpu_set_msr(vm->vcpus[1], HV_X64_MSR_VP_INDEX, 200);
		send_rows(vm, away, ARRAY_SIZE(away));
		vcpu_set_msr(vm->vcpus[1], HV_X64_MSR_VP_INDEX, 1);
		send_rows(vm, back, ARRAY_SIZE(back));
		each_has(vm, same);
	}
	vm_free(vm);
}

/* Two VPs with one index: an IPI finds the one whose index was set last. */
TEST_KNOWN(two_vps_with_one_index, "D23")
{
	static const struct row row = { "VP 3", ANY, SPARSE, 1, { 8 }, CPU(1) };
	struct vm *vm = vm_with_indices(NULL);
	u64 *page = vm_alloc(vm, PAGE_SIZE);
	u32 form;

	vcpu_set_msr(vm->vcpus[1], HV_X64_MSR_VP_INDEX, 3);
	for (form = 0; form < NR_FORMS; form++)
		ASSERT_KNOWN(send_once(vm, 0, &row, form, FIRST, page) ||
				     send_once(vm, 0, &row, form, FIRST, page),
			     "%s", ipi_form_names[form]);
	vm_free(vm);
}

/* When one of the two gives it up, the other one has it. */
TEST(one_index_of_two_given_up)
{
	static const u32 same[] = { 0, 1, 2, 3 }, other[] = { 0, 3, 2, 1 };
	struct vm *vm = vm_with_indices(NULL);

	vcpu_set_msr(vm->vcpus[1], HV_X64_MSR_VP_INDEX, 3);
	vcpu_set_msr(vm->vcpus[1], HV_X64_MSR_VP_INDEX, 1);
	each_has(vm, same);
	vcpu_set_msr(vm->vcpus[1], HV_X64_MSR_VP_INDEX, 3);
	vcpu_set_msr(vm->vcpus[3], HV_X64_MSR_VP_INDEX, 1);
	each_has(vm, other);
	vm_free(vm);
}

/* A vCPU that is plugged in has the index that user space gave to another VP, for a while. */
TEST(hot_plugged_vcpu_leaves_the_index_alone)
{
	static const struct row row = { "VP 4", ANY, SPARSE, 1, { 0x10 }, CPU(2) };
	struct vm *vm = vm_with_indices(NULL);

	vcpu_set_msr(vm->vcpus[2], HV_X64_MSR_VP_INDEX, 4);
	send_rows(vm, &row, 1);
	ASSERT_EQ(vcpu_get_msr(vm_add_vcpu(vm), HV_X64_MSR_VP_INDEX), 4);
	send_rows(vm, &row, 1);
	vcpu_set_msr(vm->vcpus[4], HV_X64_MSR_VP_INDEX, 2);
	send_rows(vm, &row, 1);
	vm_free(vm);
}

/* --- the events ---------------------------------------------------------------------- */

static char call_text[32], targets_text[128];

static bool is_call(const char *line)
{
	return strstr(line, "khv_hypercall: ") && strstr(line, call_text);
}

static bool is_fast_call(const char *line)
{
	return is_call(line) && strstr(line, " fastpath");
}

static bool is_targets(const char *line)
{
	return strstr(line, "khv_targets: ") && strstr(line, targets_text);
}

/* The events tell @targets of a call in @form, and the path that was switched on. */
static void expect_events(struct vm *vm, const struct row *row, enum hc_form form, bool fast,
			  const char *targets, u64 *page)
{
	u32 code = form <= MASK_FAST ? HVCALL_SEND_IPI : HVCALL_SEND_IPI_EX, i, was_fast = 0;

	snprintf(call_text, sizeof(call_text), "code 0x%x control", code);
	snprintf(targets_text, sizeof(targets_text), "vcpu 0 code 0x%x vector 0x%x to %s", code,
		 FIRST, targets);
	file_must_write(FASTPATH, fast ? "1" : "0");
	for (i = 0; i < TRIES && was_fast != 1; i++) {
		trace_clear();
		file_must_write(EVENTS, "1");
		/* What it delivers is the other cases'. */
		send_once(vm, 0, row, form, FIRST, page);
		file_must_write(EVENTS, "0");
		ASSERT_EQ(trace_count(is_call), 1);
		ASSERT(trace_count(is_targets) == 1, "%s, %s: no \"%s\"", row->name,
		       ipi_form_names[form], targets_text);
		was_fast = trace_count(is_fast_call);
		ASSERT(fast || !was_fast, "%s, %s: fast, and switched off", row->name,
		       ipi_form_names[form]);
	}
	ASSERT(!fast || was_fast == 1, "%s, %s: never fast", row->name, ipi_form_names[form]);
}

TEST(events_tell_targets_and_path)
{
	static const struct {
		struct row row;
		const char *targets;
	} cases[] = {
		{ { "VP 3", MASKS, SPARSE, 1, { 8 }, CPU(3) }, "some banks 0x1 first 0 mask 0x8" },
		{ { "nobody", MASKS, SPARSE, 1, { 0 }, 0 }, "some banks 0x0 first 0 mask 0x0" },
		{ { "bank 1 alone", EX, SPARSE, BIT64(1), { BIT64(6) }, CPU(1) },
		  "some banks 0x2 first 64 mask 0x40" },
		{ { "all", EX, ALL, 0, { 0 }, 0xf }, "all banks 0x0 first 0 mask 0x0" },
	};
	struct vm *vm;
	u32 i, form;
	u64 *page;

	if (!module_loaded())
		ktap_skip("the events are the module's");
	vm = vm_with_indices(spread_indices);
	page = vm_alloc(vm, PAGE_SIZE);
	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		for (form = 0; form < NR_FORMS; form++) {
			if (!(cases[i].row.forms & 1u << form))
				continue;
			expect_events(vm, &cases[i].row, form, false, cases[i].targets, page);
			expect_events(vm, &cases[i].row, form, true, cases[i].targets, page);
		}
	}
	vm_free(vm);
}
