// SPDX-License-Identifier: GPL-2.0-only
/*
 * What each row of the module's tables can cost the host at most, in host instructions: the exit,
 * answered in the fast path and in the slow one, how long interrupts are off, how long a thread of
 * real-time priority waits, and how long the module holds a mutex and a spinlock. Each register is
 * read and written and each call made with the input that takes longest, in a VM of 1024 VPs.
 * Calls of extra_calls= are among them: inserts and removes the module by itself.
 * The rows are those of debugfs. One that has no input here is a plain one, with zeros, and named
 * in the log. A number above the limit of its class fails the case.
 * Documentation/threat-model.rst has the table.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "bounds.h"
#include "cost.h"
#include "extra.h"
#include "hold.h"
#include "late.h"
#include "module.h"
#include "rows.h"
#include "synic.h"
#include "tables.h"
#include "tracefs.h"

#define SAMPLES			15
#define LATE_SAMPLES		250
#define SHORT			6000
#define HOLD_SAMPLES		2 /* one of each value: as many events as there are VPs */
#define MAX_ROWS		64
#define MAX_RESULTS		160
#define FASTPATH		"/sys/module/kvm_hyperv/parameters/fastpath"
#define USE_HCALLS		BIT64(2)
#define UNHALTED_ENABLE		BIT64(8)
#define LONG_PERIOD		REF_MS(3600 * 1000)
/* Lists of the longest output, or input. */
#define LIST_OUTPUTS		256 /* of 16 bytes */
#define LIST_VALUES		127 /* of 32 bytes, behind 16 */
#define LIST_IDS		16
#define NAME_FEATURES		0x200
#define NAME_HYPERCALL		0x90001
/* Entries of a list behind the header and @banks of a set. */
#define LIST_MAX(header, banks) ((PAGE_SIZE - (header)) / 8 - (banks))

/* What an access does, and so what it may cost. */
enum class {
	PLAIN, /* a register, or a call without a list */
	USER,  /* ends in user space, which answers at once */
	PAGE,  /* moves an overlay page of the VM */
	SLOTS, /* delivers messages */
	MANY,  /* names as many VPs as there can be */
	WALK,  /* has KVM walk over all VPs, as on stock */
	CLOCK, /* has KVM make a new clock for all VPs */
	LIST,  /* does one thing after the other, with a reschedule point after each */
	STOPS, /* stops all VPs, and does something for each, with a reschedule point after each */
	CLASSES,
};

static const char *const class_names[CLASSES] = { "plain", "user",  "page", "slots", "many",
						  "walk",  "clock", "list", "stops" };

struct numbers {
	u32 fast, slow, irqs, late, sleeping, spinning;
};

static const struct numbers limits[CLASSES] = {
	[PLAIN] = { 4000, 6000, 4000, 20000, 2000, 2000 },
	[USER] = { 4000, 10000, 6000, 20000, 2500, 2500 },
	[PAGE] = { 4000, 60000, 6000, 50000, 50000, 2500 },
	[SLOTS] = { 14000, 15000, 14000, 25000, 2500, 2500 },
	[MANY] = { 25000, 450000, 25000, 120000, 2500, 8000 },
	[WALK] = { 4000, 600000, 6000, 560000, 2500, 2500 },
	[CLOCK] = { 4000, 1300000, 6000, 900000, 320000, 2500 },
	[LIST] = { 4000, 6000000, 6000, 60000, 50000, 2500 },
	[STOPS] = { 4000, 0, 6000, 60000, 2500000, 2500 },
};

/* --- by the guest ------------------------------------------------------------------ */

struct access {
	u32 number; /* of its row */
	enum class class;
	const char *input;     /* that takes longest, if the row does not tell */
	void (*prepare)(void); /* before each sample, not measured */
	u64 value[2];	       /* written by turns */
	bool faults;
	/* Of a call. */
	u64 control;
	u64 *(*memory)(void);
	u16 status;
	bool any_status;
};

static struct vm *vm;
static u8 *pages[2];

/* What the guest is to measure. */
static const struct access *access_now;
static u32 number_now;
static bool reads_now;
static u64 in_now;
static u32 samples_now;

static bool access_once(u32 i)
{
	const struct access *a = access_now;
	u64 value;

	if (reads_now)
		return !__rdmsr(number_now, &value);
	if (!a->memory)
		return !__wrmsr(number_now, a->value[i & 1]);
	value = hypercall(a->control, in_now, in_now + PAGE_SIZE);
	if (a->any_status)
		return true;
	return (u16)value == a->status &&
	       (a->class != LIST || value >> 32 == (a->control >> 32 & 0xfff));
}

static void measure_access(void)
{
	u32 i;

	for (i = 0; i < samples_now; i++) {
		bool done;
		u64 t;

		if (access_now->prepare)
			access_now->prepare();
		t = rdtsc();
		done = access_once(i);
		cost_deltas[i] = (u32)(rdtsc() - t);
		GUEST_ASSERT_EQ(done, !access_now->faults);
	}
}

static void page_is_shown(void)
{
	guest_set_os_id();
	wrmsr(HV_X64_MSR_HYPERCALL, gpa(pages[0]) | HV_HYPERCALL_ENABLE);
}

static void page_is_covered(void)
{
	guest_set_os_id();
	if (rdmsr(HV_X64_MSR_REFERENCE_TSC) != (gpa(pages[0]) | 1))
		wrmsr(HV_X64_MSR_REFERENCE_TSC, gpa(pages[0]) | 1);
}

/* Those of timers come first. */
static void interrupt_in_service(void)
{
	u32 i;

	guest_irq_handlers[VECTOR] = guest_irq_count_no_eoi;
	for (i = 1; i < HV_SYNIC_STIMERS; i++)
		guest_irq_handlers[VECTOR + i] = guest_irq_count;
	wrmsr(HV_X64_MSR_ICR, ICR_SELF | ICR_ASSERT | VECTOR);
	for (i = 0; i < HV_SYNIC_STIMERS; i++)
		irqs_window();
}

static void interrupt_pending(void)
{
	wrmsr(HV_X64_MSR_ICR, ICR_SELF | ICR_ASSERT | VECTOR);
}

static void messages_wait(void)
{
	fill_slots();
	empty_slots(FULL_SLOT);
}

static void no_message(void)
{
	u32 n;

	for (n = 0; n < HV_SYNIC_STIMERS; n++) {
		wrmsr(HV_X64_MSR_STIMER_CONFIG(n), 0);
		synic_messages[0][1 + n].type = HV_MSG_NONE;
	}
	wrmsr(HV_X64_MSR_EOM, 0);
}

static void timer_is_set(void)
{
	no_message();
	wrmsr(HV_X64_MSR_STIMER_COUNT(0), 1);
}

static void timer_waits_for_count(void)
{
	no_message();
	wrmsr(HV_X64_MSR_SINT(1), VECTOR);
	wrmsr(HV_X64_MSR_STIMER_CONFIG(0), HV_STIMER_AUTO_ENABLE | HV_STIMER_SINT(1));
}

static void clock_is_frozen(void)
{
	wrmsr(HV_X64_MSR_TSC_EMULATION_CONTROL, 1);
}

static void debugger_by_calls(void)
{
	wrmsr(HV_X64_MSR_SYNDBG_OPTIONS, USE_HCALLS);
}

static void unhalted_period_is_long(void)
{
	wrmsr(HV_X64_MSR_STIME_UNHALTED_TIMER_COUNT, LONG_PERIOD);
}

/* What the accesses have left behind. */
static void restore(void)
{
	wrmsr(HV_X64_MSR_STIME_UNHALTED_TIMER_CONFIG, 0);
	no_message();
	wrmsr(HV_X64_MSR_TSC_EMULATION_CONTROL, 0);
	wrmsr(HV_X64_MSR_HYPERCALL, 0);
	wrmsr(HV_X64_MSR_REFERENCE_TSC, 0);
	wrmsr(HV_X64_MSR_VP_ASSIST_PAGE, 0);
	guest_set_os_id();
	wrmsr(HV_X64_MSR_SCONTROL, HV_SYNIC_ENABLE);
	wrmsr(HV_X64_MSR_SIMP, synic_simp(0));
	wrmsr(HV_X64_MSR_SIEFP, synic_siefp(0));
	wrmsr(HV_X64_MSR_SINT(2), HV_SINT_MASKED);
	wrmsr(HV_X64_MSR_TPR, 0);
	wrmsr(HV_X64_MSR_EOI, 0);
}

/* --- inputs of calls ---------------------------------------------------------------- */

/* With a page for the output behind it. */
static u64 *zeros(void)
{
	return vm_alloc(vm, 2 * PAGE_SIZE);
}

static u64 *flush_of_all(void)
{
	u64 *input = zeros();

	input[1] = HV_FLUSH_ALL_SPACES | HV_FLUSH_ALL_PROCESSORS;
	return input;
}

static u64 *list_of_all(u32 entries)
{
	u64 *input = flush_of_all();
	u32 i;

	for (i = 0; i < entries; i++)
		input[3 + i] = 0x100000ULL * (i + 1);
	return input;
}

static u64 *short_list_of_all(void)
{
	return list_of_all(16);
}

static u64 *long_list_of_all(void)
{
	return list_of_all(LIST_MAX(24, 0));
}

static u64 *flush_of_banks(void)
{
	return flush_input(vm, ALL_BANKS, 0, 0);
}

static u64 *short_list_of_banks(void)
{
	return flush_input(vm, ALL_BANKS, 16, 0);
}

static u64 *long_list_of_banks(void)
{
	return flush_input(vm, ALL_BANKS, LIST_MAX(32, 64), 0xfff);
}

static u64 *large_list_of_self(void)
{
	return flush_input(vm, 1, 16, 512 / 16 - 1);
}

static u64 *ipi_to_64(void)
{
	u64 *input = zeros();

	input[0] = VECTOR;
	input[1] = ~0ULL;
	return input;
}

static u64 *ipi_to_banks(void)
{
	return ipi_input(vm, ALL_BANKS);
}

static u64 *ipi_to_all(void)
{
	u64 *input = zeros();

	input[0] = VECTOR;
	input[1] = 1;
	return input;
}

static u64 *message(void)
{
	u64 *input = zeros();

	input[0] = CONN_LAST;
	input[1] = 240ULL << 32 | 1;
	return input;
}

static u64 *last_connection(void)
{
	u64 *input = zeros();

	input[0] = CONN_LAST;
	return input;
}

static u64 *no_connection(void)
{
	u64 *input = zeros();

	input[0] = 1;
	return input;
}

static u64 *for_self(void)
{
	u64 *input = zeros();

	input[0] = PARTITION_SELF;
	input[1] = VP_SELF;
	return input;
}

static u64 *names_of_registers(void)
{
	u64 *input = for_self();
	u32 i, *name = (u32 *)(input + 2);

	for (i = 0; i < LIST_OUTPUTS; i++)
		name[i] = NAME_FEATURES;
	return input;
}

static u64 *values_of_registers(void)
{
	u64 *input = for_self();
	u32 i;

	for (i = 0; i < LIST_VALUES; i++) {
		input[2 + 4 * i] = NAME_HYPERCALL;
		input[4 + 4 * i] = gpa(pages[i & 1]) | HV_HYPERCALL_ENABLE;
	}
	return input;
}

/*
 * KVM has no map of the ids, because two VPs have one, and the VP of this id is the last one that
 * is looked at. The longest list takes 1020 / 16 times as long.
 */
static u64 *apic_ids(void)
{
	u64 *input = zeros();
	u32 i, *id = (u32 *)(input + 2);

	input[0] = PARTITION_SELF;
	for (i = 0; i < LIST_IDS; i++)
		id[i] = LAST_APIC_ID;
	return input;
}

static u64 *leaves(void)
{
	u64 *input = for_self();
	u32 i;

	for (i = 0; i < LIST_OUTPUTS; i++)
		input[3 + i] = HV_LEAF_FEATURES;
	return input;
}

static u64 *restored_time(void)
{
	u64 *input = zeros();

	input[0] = PARTITION_SELF;
	input[1] = 1;
	input[2] = REF_MS(3600 * 1000);
	input[3] = BIT64(44);
	return input;
}

/* --- the accesses -------------------------------------------------------------------- */

#define CALL(_code, _class, _input, _memory, _control, ...)                                    \
	{                                                                                      \
		.number = HVCALL_##_code, .class = _class, .input = _input, .memory = _memory, \
		.control = HVCALL_##_code | (_control), __VA_ARGS__                            \
	}
#define WRITE(_msr, _class, ...)                                          \
	{                                                                 \
		.number = HV_X64_MSR_##_msr, .class = _class, __VA_ARGS__ \
	}
#define REFUSED(_msr) WRITE(_msr, PLAIN, .faults = true)

/* Reads take nothing: what is not here is the row's own. */
static const struct access reads[] = {
	WRITE(EOI, PLAIN, .faults = true),
	WRITE(TIME_REF_COUNT, PLAIN, .faults = false),
	/* Else it sleeps. */
	WRITE(GUEST_IDLE, PLAIN, .prepare = interrupt_pending),
};

static struct access writes[] = {
	WRITE(GUEST_OS_ID, PAGE, .input = "0, page on", .prepare = page_is_shown),
	WRITE(HYPERCALL, PAGE, .input = "moved over the TSC page", .prepare = page_is_covered),
	REFUSED(VP_INDEX),
	WRITE(RESET, USER, .value = { 1, 1 }),
	REFUSED(VP_RUNTIME),
	REFUSED(TIME_REF_COUNT),
	WRITE(REFERENCE_TSC, CLOCK, .input = "moved"),
	REFUSED(TSC_FREQUENCY),
	REFUSED(APIC_FREQUENCY),
	WRITE(EOI, PLAIN, .input = "of one in service", .prepare = interrupt_in_service),
	WRITE(ICR, WALK, .input = "to all others",
	      .value = { ICR_OTHERS | ICR_ASSERT | VECTOR, ICR_OTHERS | ICR_ASSERT | VECTOR }),
	WRITE(TPR, PLAIN, .input = "one is pending", .prepare = interrupt_pending,
	      .value = { 0, 0xf0 }),
	WRITE(VP_ASSIST_PAGE, PAGE, .input = "moved"),
	WRITE(SCONTROL, USER, .input = "off, on", .value = { 0, HV_SYNIC_ENABLE }),
	REFUSED(SVERSION),
	WRITE(SIEFP, USER, .input = "moved"),
	WRITE(SIMP, USER, .input = "moved"),
	WRITE(EOM, SLOTS, .input = "four messages", .prepare = messages_wait),
	WRITE(SINT0, MANY, .input = "AutoEOI on, off",
	      .value = { VECTOR | HV_SINT_AUTO_EOI, HV_SINT_MASKED }),
	WRITE(STIMER0_CONFIG, SLOTS, .input = "due at once", .prepare = timer_is_set,
	      .value = { HV_STIMER_ENABLE | HV_STIMER_PERIODIC | HV_STIMER_SINT(1),
			 HV_STIMER_ENABLE | HV_STIMER_PERIODIC | HV_STIMER_DIRECT |
				 HV_STIMER_VECTOR(VECTOR) }),
	WRITE(STIMER0_COUNT, SLOTS, .input = "due at once", .prepare = timer_waits_for_count,
	      .value = { 1, 1 }),
	REFUSED(GUEST_IDLE),
	WRITE(SYNDBG_CONTROL, USER, .value = { 1, 2 }),
	WRITE(SYNDBG_STATUS, PLAIN, .value = { 1, 2 }),
	WRITE(SYNDBG_SEND_BUFFER, PLAIN, .value = { 1, 2 }),
	WRITE(SYNDBG_RECV_BUFFER, PLAIN, .value = { 1, 2 }),
	WRITE(SYNDBG_PENDING_BUFFER, USER, .value = { 1, 2 }),
	WRITE(SYNDBG_OPTIONS, PLAIN, .value = { USE_HCALLS, 0 }),
	WRITE(CRASH_P0, PLAIN, .value = { 1, 2 }),
	WRITE(CRASH_CTL, USER, .value = { HV_CRASH_NOTIFY | HV_CRASH_MESSAGE, HV_CRASH_NOTIFY }),
	WRITE(REENLIGHTENMENT_CONTROL, PLAIN, .value = { VECTOR, 1 << 16 | VECTOR }),
	WRITE(TSC_EMULATION_CONTROL, PLAIN, .input = "0, was 1", .prepare = clock_is_frozen),
	WRITE(TSC_EMULATION_STATUS, PLAIN),
	WRITE(STIME_UNHALTED_TIMER_CONFIG, SLOTS, .input = "runs anew",
	      .prepare = unhalted_period_is_long,
	      .value = { UNHALTED_ENABLE | VECTOR, UNHALTED_ENABLE | VECTOR }),
	WRITE(STIME_UNHALTED_TIMER_COUNT, SLOTS, .input = "runs anew",
	      .value = { LONG_PERIOD, LONG_PERIOD }),
	WRITE(TSC_INVARIANT_CONTROL, PLAIN, .value = { 1, 1 }),
	/* More than 16 entries are a flush of all: both are here. */
	CALL(FLUSH_SPACE, MANY, "all", flush_of_all, 0),
	CALL(FLUSH_LIST, MANY, "all, 16 ranges", short_list_of_all, HV_CTL_REP(16)),
	CALL(FLUSH_LIST, MANY, "all, longest list", long_list_of_all, HV_CTL_REP(LIST_MAX(24, 0))),
	CALL(NOTIFY_LONG_SPIN_WAIT, WALK, "", zeros, HV_CTL_FAST),
	CALL(SEND_IPI, MANY, "64 VPs", ipi_to_64, 0),
	CALL(FLUSH_SPACE_EX, MANY, "4096 VPs", flush_of_banks, HV_CTL_VARHDR(64)),
	CALL(FLUSH_LIST_EX, MANY, "4096 VPs, 16 ranges", short_list_of_banks,
	     HV_CTL_VARHDR(64) | HV_CTL_REP(16)),
	CALL(FLUSH_LIST_EX, MANY, "4096 VPs, longest list", long_list_of_banks,
	     HV_CTL_VARHDR(64) | HV_CTL_REP(LIST_MAX(32, 64))),
	CALL(FLUSH_LIST_EX, MANY, "64 VPs, 512 pages", large_list_of_self,
	     HV_CTL_VARHDR(1) | HV_CTL_REP(16)),
	CALL(SEND_IPI_EX, MANY, "4096 VPs", ipi_to_banks, HV_CTL_VARHDR(64)),
	CALL(SEND_IPI_EX, MANY, "all", ipi_to_all, 0),
	CALL(POST_MESSAGE, USER, "", message, 0),
	CALL(SIGNAL_EVENT, PLAIN, "the last of 4096", last_connection, 0),
	CALL(SIGNAL_EVENT, USER, "to user space", no_connection, 0),
	CALL(POST_DEBUG_DATA, USER, "", zeros, 0, .prepare = debugger_by_calls),
	CALL(RETRIEVE_DEBUG_DATA, USER, "", zeros, 0, .prepare = debugger_by_calls),
	CALL(RESET_DEBUG_SESSION, USER, "", zeros, 0, .prepare = debugger_by_calls),
	CALL(FLUSH_GPA_SPACE, MANY, "", zeros, 0),
	CALL(FLUSH_GPA_LIST, MANY, "longest list", zeros, HV_CTL_REP(LIST_MAX(16, 0))),
	CALL(GET_VP_REGISTERS, LIST, "leaves, longest list", names_of_registers,
	     HV_CTL_REP(LIST_OUTPUTS)),
	CALL(SET_VP_REGISTERS, LIST, "HYPERCALL, longest list", values_of_registers,
	     HV_CTL_REP(LIST_VALUES)),
	CALL(RETARGET_DEVICE_INTERRUPT, USER, "", zeros, 0),
	CALL(GET_VP_INDEX_FROM_APIC_ID, LIST, "16 ids, no map", apic_ids, HV_CTL_REP(LIST_IDS)),
	CALL(GET_VP_CPUID_VALUES, LIST, "longest list", leaves, HV_CTL_REP(LIST_OUTPUTS)),
	CALL(RESTORE_PARTITION_TIME, STOPS, "", restored_time, 0),
	CALL(EXT_QUERY_CAPABILITIES, USER, "", zeros, 0),
};

static const struct access plain_read = { .class = PLAIN };

/* The values that are addresses. */
static void set_pages(void)
{
	static const u32 moved[] = { HV_X64_MSR_HYPERCALL, HV_X64_MSR_REFERENCE_TSC,
				     HV_X64_MSR_VP_ASSIST_PAGE, HV_X64_MSR_SIEFP, HV_X64_MSR_SIMP };
	u32 i, j;

	for (i = 0; i < ARRAY_SIZE(writes); i++) {
		for (j = 0; j < ARRAY_SIZE(moved); j++) {
			if (writes[i].number != moved[j])
				continue;
			/* Bit 0 enables each of them. */
			writes[i].value[0] = gpa(pages[1]) | 1;
			writes[i].value[1] = gpa(pages[0]) | 1;
		}
	}
}

/* --- by the host --------------------------------------------------------------------- */

struct result {
	const struct row *row;
	const struct access *access;
	bool reads;
	u64 in;
	struct numbers n;
	char where[64]; /* which function held a mutex longest */
};

static struct row rows[MAX_ROWS];
static struct result results[MAX_RESULTS];
static u32 nr_rows, nr_results, nothing;

/* User space answers each exit at once. */
static void run(void *unused)
{
	struct vcpu *v = vm->vcpus[0];
	u32 cmd;

	(void)unused;
	for (;;) {
		cmd = vcpu_run(v);
		if (cmd == RUN_EXIT(KVM_EXIT_HYPERV)) {
			if (v->run->hyperv.type == KVM_EXIT_HYPERV_HCALL &&
			    (u16)v->run->hyperv.u.hcall.input != HVCALL_EXT_QUERY_CAPABILITIES)
				v->run->hyperv.u.hcall.result = HV_STATUS_SUCCESS;
		} else if (cmd != RUN_EXIT(KVM_EXIT_SYSTEM_EVENT)) {
			break;
		}
	}
	ASSERT(cmd == GUEST_SYNC_CMD, "ended by 0x%x", cmd);
}

static void choose(const struct result *r, u32 samples)
{
	samples_now = samples;
	access_now = r->access;
	number_now = r->row->number;
	reads_now = r->reads;
	in_now = r->in;
	cost_row = measure_access;
}

static void put_back(void)
{
	cost_row = restore;
	run(NULL);
}

static void add_result(const struct row *row, const struct access *a, bool read)
{
	struct result *r = &results[nr_results++];

	ASSERT(nr_results <= MAX_RESULTS, "more than %u accesses", MAX_RESULTS);
	r->row = row;
	r->access = a;
	r->reads = read;
	r->in = !read && a->memory ? gpa(a->memory()) : 0;
}

/* A row that has no input here: a plain one until somebody says what takes longest. */
static void add_unlisted(const struct row *row)
{
	static struct access unlisted[MAX_ROWS];
	static struct table_row tables[MAX_TABLE_ROWS];
	static u32 n;
	u32 nr = table_rows(tables), i;
	struct access *a = &unlisted[n++];

	for (i = 0; i < nr && (tables[i].call != row->call || tables[i].number != row->number); i++)
		;
	ASSERT(i < nr, "tables has no row %s", row->name);
	*a = (struct access){ .number = row->number, .class = PLAIN, .input = "zeros" };
	a->faults = !row->call && table_flag(&tables[i], "ro");
	if (row->call) {
		a->memory = zeros;
		a->any_status = true;
		a->control = row->number | HV_CTL_REP(table_flag(&tables[i], "rep") ? 1ULL : 0);
	}
	ktap_log("%s, 0x%x: not in the list: taken from the module", row->name, row->number);
	add_result(row, a, false);
}

/* Each access of each row. */
static void find_accesses(void)
{
	u32 i, j, before;

	nr_rows = rows_all(rows, MAX_ROWS);
	ASSERT(nr_rows >= 40, "debugfs has %u rows", nr_rows);
	for (i = 0; i < nr_rows; i++) {
		const struct access *read = &plain_read;

		for (j = 0; j < ARRAY_SIZE(reads); j++) {
			if (reads[j].number == rows[i].number)
				read = &reads[j];
		}
		if (!rows[i].call)
			add_result(&rows[i], read, true);
		before = nr_results;
		for (j = 0; j < ARRAY_SIZE(writes); j++) {
			if (writes[j].number == rows[i].number)
				add_result(&rows[i], &writes[j], false);
		}
		if (nr_results == before)
			add_unlisted(&rows[i]);
	}
	for (j = 0; j < ARRAY_SIZE(writes); j++) {
		for (i = 0; i < nr_rows && rows[i].number != writes[j].number; i++)
			;
		ASSERT(i < nr_rows, "0x%x is not a row of the module", writes[j].number);
	}
}

static u64 answered_fast(const struct row *row)
{
	struct row_counts c = row_counts(row->number);

	return c.fast_reads + c.fast_writes;
}

static void more(u32 *n, u32 value)
{
	if (value > *n)
		*n = value;
}

static void set_fastpath(bool on)
{
	file_must_write(FASTPATH, on ? "1" : "0");
}

/* The exit, interrupts and the thread, with the fast path as it is now. */
static void measure(struct result *r)
{
	/* A call that sets the TSC is not timed by it. */
	bool timed = r->access->class != STOPS;
	u64 fast = answered_fast(r->row);
	struct late late;
	u32 cost;

	choose(r, SAMPLES);
	run(NULL);
	cost = cost_median(SAMPLES) - nothing;
	fast = answered_fast(r->row) - fast;
	if (timed)
		more(fast >= SAMPLES ? &r->n.fast : &r->n.slow, cost);
	/* Nothing in a short exit is longer than the exit. */
	if (timed && cost <= SHORT) {
		put_back();
		return;
	}
	late = late_during(LATE_SAMPLES, run, NULL);
	more(&r->n.irqs, late.irqs);
	more(&r->n.late, late.thread);
	put_back();
}

static void measure_holds(enum hold_kind kind)
{
	u32 i, times = 0, interrupted = 0;

	hold_begin(kind);
	for (i = 0; i < nr_results; i++) {
		struct result *r = &results[i];
		struct hold hold;

		choose(r, HOLD_SAMPLES);
		/* Once before, for what only a first sample prepares. */
		run(NULL);
		hold_clear();
		run(NULL);
		hold = hold_read();
		times += hold.times;
		interrupted += hold.interrupted;
		if (kind == HOLD_SPINNING) {
			more(&r->n.spinning, hold.longest);
		} else if (hold.longest > r->n.sleeping) {
			r->n.sleeping = hold.longest;
			memcpy(r->where, hold.where, sizeof(r->where));
		}
		put_back();
	}
	hold_end();
	ASSERT(times > interrupted, "the probes saw no lock of the module at all");
	ktap_log("%u holds, %u not measured: an interrupt came first", times, interrupted);
}

/* Each number with the sign of one above its limit; "-": not longer than the exit, or not told. */
static u32 cell(char *text, size_t size, u32 value, u32 limit)
{
	snprintf(text, size, value ? "%u%s" : "-", value, value > limit ? "!" : "");
	return value > limit;
}

static u32 judge(const struct result *r)
{
	const struct numbers *limit = &limits[r->access->class];
	char text[6][16];
	u32 bad = 0;

	bad += cell(text[0], sizeof(text[0]), r->n.fast, limit->fast);
	bad += cell(text[1], sizeof(text[1]), r->n.slow, limit->slow);
	bad += cell(text[2], sizeof(text[2]), r->n.irqs, limit->irqs);
	bad += cell(text[3], sizeof(text[3]), r->n.late, limit->late);
	bad += cell(text[4], sizeof(text[4]), r->n.sleeping, limit->sleeping);
	bad += cell(text[5], sizeof(text[5]), r->n.spinning, limit->spinning);
	/* All of an exit in the fast path has interrupts off: most of it must be there to see. */
	if (r->n.fast > SHORT && !r->access->prepare && r->n.irqs < r->n.fast / 2) {
		ktap_log("BOUND %s: interrupts are off for more than that", r->row->name);
		bad++;
	}
	ktap_log("BOUND %-34s %-5s %-25s %-5s %8s %8s %8s %8s %8s %8s %s", r->row->name,
		 r->row->call ? "call" :
		 r->reads     ? "read" :
				"write",
		 r->access->input ?: "", class_names[r->access->class], text[0], text[1], text[2],
		 text[3], text[4], text[5], r->where);
	return bad;
}

TEST(every_row)
{
	u32 i, bad = 0;

	ktap_timeout(580);
	extra_load("extra_calls=all");
	vm = synic_vm(1);
	vcpu_set_bit(vm->vcpus[0], HV_S_KERNEL_DEBUG, true);
	/* Offered by a parameter only. */
	vcpu_set_bit(vm->vcpus[0], HV_F_UNHALTED_TIMER, true);
	pages[0] = vm_alloc(vm, PAGE_SIZE);
	pages[1] = vm_alloc(vm, PAGE_SIZE);
	add_idle(vm, WIDE);
	add_connections(vm);
	set_pages();
	find_accesses();
	vcpu_entry(vm->vcpus[0], cost_measurer);
	cost_row = cost_measure_nothing;
	run(NULL);
	nothing = cost_check();
	put_back();

	for (i = 0; i < nr_results; i++) {
		measure(&results[i]);
		set_fastpath(false);
		measure(&results[i]);
		set_fastpath(true);
	}
	measure_holds(HOLD_SLEEPING);
	measure_holds(HOLD_SPINNING);
	for (i = 0; i < nr_results; i++)
		bad += judge(&results[i]);
	free_wide(vm, WIDE);
	module_unload();
	ASSERT(!bad, "%u numbers above their limits", bad);
}

int main(int argc, char **argv)
{
	if (argc == 3 && !strcmp(argv[1], "--module"))
		module_option = argv[2];
	return module_ktap_main(argc, argv);
}
