// SPDX-License-Identifier: GPL-2.0-only
/*
 * Host instructions per exit (guest/cost.h).
 *
 *   exit_cost_test --save FILE                  measure, write the table
 *   exit_cost_test --compare FILE [--limit N]   measure, compare with the table
 *   exit_cost_test [--module FILE] [--limit N]  measure, insert the module, measure the
 *                                               same VM (not ours) and a new one (ours)
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cost.h"
#include "module.h"
#include "vm.h"

#define DEFAULT_LIMIT 150

static const char *save_file, *compare_file;
static u32 limit = DEFAULT_LIMIT;
static bool module_at_start;

static u64 *flush_input;
static u32 row; /* what the guest is to measure */

enum {
	ROW_NONE,
	ROW_CPUID,
	ROW_PIC,
	ROW_VP_INDEX,
	ROW_TIME_REF,
	ROW_EOI,
	ROW_EOM,
	ROW_STIMER,
	ROW_SPIN,
	ROW_IPI,
	ROW_FLUSH,
	ROW_COUNT
};

static const char *const row_names[ROW_COUNT] = {
	[ROW_NONE] = "(nothing)",
	[ROW_CPUID] = "CPUID",
	[ROW_PIC] = "IN_PIC",
	[ROW_VP_INDEX] = "RDMSR_VP_INDEX",
	[ROW_TIME_REF] = "RDMSR_TIME_REF_COUNT",
	[ROW_EOI] = "WRMSR_EOI",
	[ROW_EOM] = "WRMSR_EOM",
	[ROW_STIMER] = "WRMSR_STIMER0_COUNT",
	[ROW_SPIN] = "HC_NotifyLongSpinWait",
	[ROW_IPI] = "HC_SendSyntheticClusterIpi",
	[ROW_FLUSH] = "HC_FlushVirtualAddressSpace",
};

struct table {
	u32 cost[ROW_COUNT];
};

#define MEASURE(stmt) COST_MEASURE(COST_SAMPLES, stmt)

static u8 inb(u16 port)
{
	u8 v;

	asm volatile("inb %1, %0" : "=a"(v) : "d"(port));
	return v;
}

GUEST_CODE(measure_row)
{
	guest_set_os_id();
	for (;;) {
		switch (row) {
		case ROW_NONE:
			cost_measure_nothing();
			break;
		case ROW_CPUID:
			MEASURE(cpuid(0, 0));
			break;
		case ROW_PIC:
			MEASURE(inb(0x21));
			break;
		case ROW_VP_INDEX:
			MEASURE(rdmsr(HV_X64_MSR_VP_INDEX));
			break;
		case ROW_TIME_REF:
			MEASURE(rdmsr(HV_X64_MSR_TIME_REF_COUNT));
			break;
		case ROW_EOI:
			MEASURE(wrmsr(HV_X64_MSR_EOI, 0));
			break;
		case ROW_EOM:
			MEASURE(wrmsr(HV_X64_MSR_EOM, 0));
			break;
		case ROW_STIMER:
			MEASURE(wrmsr(HV_X64_MSR_STIMER0_COUNT, 0));
			break;
		case ROW_SPIN:
			GUEST_ASSERT_EQ(hypercall(HVCALL_NOTIFY_LONG_SPIN_WAIT | HV_CTL_FAST, 0, 0),
					0);
			MEASURE(hypercall(HVCALL_NOTIFY_LONG_SPIN_WAIT | HV_CTL_FAST, 0, 0));
			break;
		case ROW_IPI:
			GUEST_ASSERT_EQ(hypercall(HVCALL_SEND_IPI | HV_CTL_FAST, 0x40, 2), 0);
			MEASURE(hypercall(HVCALL_SEND_IPI | HV_CTL_FAST, 0x40, 2));
			break;
		case ROW_FLUSH:
			GUEST_ASSERT_EQ(hypercall(HVCALL_FLUSH_SPACE, (u64)(uintptr_t)flush_input,
						  0),
					0);
			MEASURE(hypercall(HVCALL_FLUSH_SPACE, (u64)(uintptr_t)flush_input, 0));
			break;
		}
		GUEST_SYNC(1);
	}
}

static u32 median(struct vcpu *v, u32 what)
{
	row = what;
	vcpu_run_sync(v, 1);
	return cost_median(COST_SAMPLES);
}

struct subject {
	struct vm *vm;
	u64 *flush_input;
};

static struct subject new_subject(void)
{
	struct subject s = { .vm = vm_create(2, 0) };

	ASSERT_EQ(__vcpu_enable_cap(s.vm->vcpus[0], KVM_CAP_HYPERV_SYNIC2, 0), 0);
	s.flush_input = vm_alloc(s.vm, PAGE_SIZE);
	s.flush_input[1] = HV_FLUSH_ALL_SPACES;
	s.flush_input[2] = 2;
	vcpu_entry(s.vm->vcpus[0], measure_row);
	return s;
}

static struct table measure(struct subject *s)
{
	struct vcpu *v = s->vm->vcpus[0];
	struct table t = { { 0 } };
	u32 i;

	flush_input = s->flush_input;
	row = ROW_NONE;
	vcpu_run_sync(v, 1);
	t.cost[ROW_NONE] = cost_check();
	for (i = ROW_NONE + 1; i < ROW_COUNT; i++)
		t.cost[i] = median(v, i) - t.cost[ROW_NONE];
	return t;
}

static void print_table(const char *title, const struct table *t)
{
	u32 i;

	ktap_log("%s: host instructions per exit, median of %u", title, COST_SAMPLES);
	for (i = ROW_NONE + 1; i < ROW_COUNT; i++)
		ktap_log("  %-30s %6u", row_names[i], t->cost[i]);
}

static u32 print_compared(const char *title, const struct table *base, const struct table *t)
{
	u32 i, bad = 0;

	ktap_log("%s, against stock; limit %u more", title, limit);
	for (i = ROW_NONE + 1; i < ROW_COUNT; i++) {
		int more = (int)t->cost[i] - (int)base->cost[i];

		ktap_log("  %-30s %6u -> %6u  %+5d%s", row_names[i], base->cost[i], t->cost[i],
			 more, more > (int)limit ? "  TOO MUCH" : "");
		bad += more > (int)limit;
	}
	return bad;
}

static void write_table(const char *file, const struct table *t)
{
	FILE *f = fopen(file, "w");
	u32 i;

	ASSERT(f, "%s: %s", file, strerror(errno));
	for (i = ROW_NONE + 1; i < ROW_COUNT; i++)
		fprintf(f, "%s %u\n", row_names[i], t->cost[i]);
	ASSERT(!fclose(f), "%s: %s", file, strerror(errno));
}

static struct table read_table(const char *file)
{
	struct table t = { { 0 } };
	FILE *f = fopen(file, "r");
	u32 i, val, n = 0;
	char name[64];

	ASSERT(f, "%s: %s", file, strerror(errno));
	while (fscanf(f, "%63s %u", name, &val) == 2) {
		for (i = ROW_NONE + 1; i < ROW_COUNT; i++) {
			if (!strcmp(name, row_names[i])) {
				t.cost[i] = val;
				n++;
			}
		}
	}
	fclose(f);
	ASSERT(n == ROW_COUNT - 1, "%s has %u of %u rows", file, n, ROW_COUNT - 1);
	return t;
}

TEST(exit_cost)
{
	struct subject s = new_subject();
	struct table t = measure(&s), base;
	u32 i;

	if (compare_file) {
		base = read_table(compare_file);
		ASSERT(!print_compared("a VM", &base, &t), "too expensive");
		return;
	}
	print_table(module_loaded() ? "with the module" : "stock", &t);
	if (save_file)
		write_table(save_file, &t);
	/* An exit costs at least what it takes to leave and enter the guest. */
	for (i = ROW_NONE + 1; i < ROW_COUNT; i++)
		ASSERT(t.cost[i] > 200, "%s costs %u: not an exit", row_names[i], t.cost[i]);
}

TEST(vms_before_and_after_load)
{
	struct table stock, not_ours, ours;
	struct subject old, own;
	u32 bad;

	if (save_file || compare_file)
		ktap_skip("not together with --save or --compare");
	if (module_loaded() && !module_at_start)
		module_unload();
	require_module_file();
	old = new_subject();
	stock = measure(&old);
	module_load();
	not_ours = measure(&old);
	own = new_subject();
	ours = measure(&own);
	bad = print_compared("a VM that is not ours", &stock, &not_ours);
	bad += print_compared("a VM that is ours", &stock, &ours);
	vm_free(own.vm);
	module_unload();
	/* Nothing stays behind. */
	not_ours = measure(&old);
	bad += print_compared("after removal", &stock, &not_ours);
	vm_free(old.vm);
	ASSERT(!bad, "%u rows are too expensive", bad);
}

int main(int argc, char **argv)
{
	int i, r;

	for (i = 1; i + 1 < argc; i++) {
		if (!strcmp(argv[i], "--save"))
			save_file = argv[i + 1];
		else if (!strcmp(argv[i], "--compare"))
			compare_file = argv[i + 1];
		else if (!strcmp(argv[i], "--limit"))
			limit = (u32)strtoul(argv[i + 1], NULL, 10);
		else if (!strcmp(argv[i], "--module"))
			module_option = argv[i + 1];
	}
	module_at_start = module_loaded();
	r = ktap_main(argc, argv);
	if (!module_at_start && module_loaded()) {
		printf("# the module was left in: removing it: %d\n", __module_unload());
		r = KTAP_EXIT_FAIL;
	}
	return r;
}
