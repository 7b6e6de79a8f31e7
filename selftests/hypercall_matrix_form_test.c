// SPDX-License-Identifier: GPL-2.0-only
/*
 * The status matrix: the form of each call.
 */
#include "hypercall_matrix.h"
#include "tables.h"

static const char *const column_names[COLUMNS] = {
	"good",
	"reserved bits",
	"nested",
	"rep count on a simple call",
	"rep start on a simple call",
	"rep count 0",
	"rep start behind the count",
	"rep start inside",
	"variable header",
	"unaligned",
	"across a page",
	"outside memory",
};

struct call {
	const char *name;
	u64 control;
	u32 qwords; /* of input; the first two are RDX and R8, the next XMM0.. */
	u64 block[MAX_QWORDS];
	struct answer slow[COLUMNS], fast[COLUMNS];
};

/* --- the matrix ---------------------------------------------------------- */

struct variant {
	u64 control, at;
};

static u32 variants(const struct one *o, const struct call *c, enum answers column,
		    struct variant v[16])
{
	u64 at = (u64)(uintptr_t)o->input, count = c->control & HV_CTL_REP(0xfff);
	u32 i, n = 0, varhdr = (u32)(c->control >> 17) & 0x3ff;

	for (i = 0; i < 16; i++)
		v[i] = (struct variant){ c->control, at };
	switch (column) {
	case RESERVED:
		for (i = 0; i < 4; i++) {
			v[n++].control |= BIT64(27 + i);
			v[n++].control |= BIT64(44 + i);
			v[n++].control |= BIT64(60 + i);
		}
		return n;
	case NESTED:
		v[n++].control |= BIT64(31);
		return n;
	case REP:
		v[n++].control |= HV_CTL_REP(1);
		v[n++].control |= HV_CTL_REP(0xfff);
		return n;
	case START:
		v[n++].control |= HV_CTL_START(1);
		v[n++].control |= HV_CTL_START(0xfff);
		return n;
	case COUNT_0:
		v[n++].control &= ~count;
		v[n].control &= ~count;
		v[n++].control |= HV_CTL_START(1);
		return n;
	case START_END:
		v[n++].control |= count << 16;
		v[n++].control |= HV_CTL_START(0xfff);
		return n;
	case START_INSIDE:
		v[n++].control |= HV_CTL_START(1);
		v[n++].control |= (count - HV_CTL_REP(1)) << 16;
		return n;
	case VARHDR:
		v[n++].control += HV_CTL_VARHDR(1);
		if (varhdr)
			v[n++].control -= HV_CTL_VARHDR(1);
		/* More than there are banks, and than fits into a page. */
		v[n++].control |= HV_CTL_VARHDR(0x1ff);
		v[n++].control |= HV_CTL_VARHDR(0x3ff);
		return n;
	case UNALIGNED:
		v[n++].at += 1;
		v[n++].at += 4;
		v[n++].at += PAGE_SIZE - 1;
		return n;
	case ACROSS:
		v[n++].at += PAGE_SIZE - 8;
		return n;
	case OUTSIDE:
		v[n++].at = GPA_NOWHERE;
		v[n++].at = 0xfffffffffffff000ULL;
		return n;
	default:
		return 1;
	}
}

static void check_form(struct one *o, const struct call *c, u32 form, const struct answer *cells)
{
	struct variant v[16];
	enum answers column;
	u32 i, n;

	for (column = GOOD; column < COLUMNS; column++) {
		if (!matrix_in_group(o, &cells[column]))
			continue;
		n = variants(o, c, column, v);
		for (i = 0; i < n; i++)
			matrix_judge(o, c->name, column_names[column], form, v[i].control,
				     matrix_issue(o, form, v[i].control, c->block, c->qwords,
						  v[i].at),
				     &cells[column]);
	}
}

static void check_calls_of(enum debugger debugger, const struct call *c, u32 n, const char *id)
{
	struct one o = matrix_vm(0, debugger, id);
	u32 i;

	for (i = 0; i < n; i++) {
		check_form(&o, &c[i], SLOW, c[i].slow);
		check_form(&o, &c[i], FAST, c[i].fast);
	}
	matrix_verdict(&o);
}

static void check_calls(const struct call *c, u32 n, const char *id)
{
	check_calls_of(NO_DEBUGGER, c, n, id);
}

/* clang-format off */

#define CONTROL_WORD [RESERVED] = SAME(INPUT), [NESTED] = SAME(INPUT)
#define SIMPLE	     [REP] = SAME(INPUT), [START] = SAME(INPUT), [VARHDR] = SAME(INPUT)
#define BAD_LIST     [COUNT_0] = SAME(INPUT), [START_END] = SAME(INPUT), [VARHDR] = SAME(INPUT)
/* The address of an input that stock reads wherever it is. */
#define ADDRESS(stock) \
	[UNALIGNED] = DIFF("K3", ALIGN, stock), [ACROSS] = DIFF("K3", ALIGN, stock), \
	[OUTSIDE] = SAME(INPUT)
/* The address of a call without input. */
#define NO_INPUT(answer) [UNALIGNED] = SAME(answer), [OUTSIDE] = SAME(answer)

static const struct call flushes[] = {
	{ "FLUSH_SPACE", HVCALL_FLUSH_SPACE, 3, { 0, HV_FLUSH_ALL_SPACES, 1 },
	  .slow = { [GOOD] = SAME(OK), CONTROL_WORD, SIMPLE, ADDRESS(OK) },
	  .fast = { [GOOD] = SAME(OK), CONTROL_WORD, SIMPLE } },
	{ "FLUSH_SPACE_EX", HVCALL_FLUSH_SPACE_EX | HV_CTL_VARHDR(1), 5,
	  { 0, HV_FLUSH_ALL_SPACES, SPARSE, BIT64(0), 1 },
	  .slow = { [GOOD] = SAME(OK), CONTROL_WORD, SIMPLE, ADDRESS(OK) },
	  .fast = { [GOOD] = SAME(OK), CONTROL_WORD, SIMPLE } },
	{ "FLUSH_LIST", HVCALL_FLUSH_LIST | HV_CTL_REP(10), 13,
	  { 0, HV_FLUSH_ALL_SPACES, 1, 0x1000, 0x2000, 0x3000, 0x4000, 0x5000, 0x6000, 0x7000,
	    0x8000, 0x9000, 0xa000 },
	  .slow = { [GOOD] = SAME(REPS(10)), CONTROL_WORD, BAD_LIST, ADDRESS(REPS(10)),
		    [START_INSIDE] = DIFF("K3", REPS(10), INPUT) },
	  .fast = { [GOOD] = SAME(REPS(10)), CONTROL_WORD, BAD_LIST,
		    [START_INSIDE] = DIFF("K3", REPS(10), INPUT) } },
	{ "FLUSH_LIST_EX", HVCALL_FLUSH_LIST_EX | HV_CTL_VARHDR(2) | HV_CTL_REP(5), 11,
	  { 0, HV_FLUSH_ALL_SPACES, SPARSE, BIT64(0) | BIT64(3), 1, 1, 0x1000, 0x2000, 0x3000,
	    0x4000, 0x5000 },
	  .slow = { [GOOD] = SAME(REPS(5)), CONTROL_WORD, BAD_LIST, ADDRESS(REPS(5)),
		    [START_INSIDE] = DIFF("K3", REPS(5), INPUT) },
	  .fast = { [GOOD] = SAME(REPS(5)), CONTROL_WORD, BAD_LIST,
		    [START_INSIDE] = DIFF("K3", REPS(5), INPUT) } },
};

static const struct call ipis[] = {
	{ "SEND_IPI", HVCALL_SEND_IPI, 2, { VECTOR, 1 },
	  .slow = { [GOOD] = SAME(OK), CONTROL_WORD, SIMPLE, ADDRESS(OK) },
	  .fast = { [GOOD] = SAME(OK), CONTROL_WORD, SIMPLE } },
	{ "SEND_IPI_EX", HVCALL_SEND_IPI_EX | HV_CTL_VARHDR(1), 4, { VECTOR, SPARSE, BIT64(0), 1 },
	  .slow = { [GOOD] = SAME(OK), CONTROL_WORD, SIMPLE, ADDRESS(OK) },
	  .fast = { [GOOD] = SAME(OK), CONTROL_WORD, SIMPLE } },
};

static const struct call spin_waits[] = {
	{ "NOTIFY_LONG_SPIN_WAIT", HVCALL_NOTIFY_LONG_SPIN_WAIT, 1, { 1000 },
	  .slow = { [GOOD] = SAME(OK), CONTROL_WORD, SIMPLE, NO_INPUT(OK) },
	  .fast = { [GOOD] = SAME(OK), CONTROL_WORD, SIMPLE } },
};

/* Stock hands every post to user space, and has another status for input that it cannot read. */
static const struct call connections[] = {
	{ "POST_MESSAGE", HVCALL_POST_MESSAGE, 32, { CONN, 1 | 8ull << 32 },
	  .slow = { [GOOD] = SAME(USER), CONTROL_WORD, SIMPLE,
		    [UNALIGNED] = DIFF("D14", ALIGN, USER), [ACROSS] = DIFF("D14", ALIGN, USER),
		    [OUTSIDE] = DIFF("D14", INPUT, USER) },
	  .fast = { [GOOD] = DIFF("D14", INPUT, USER), CONTROL_WORD, SIMPLE } },
	{ "SIGNAL_EVENT", HVCALL_SIGNAL_EVENT, 1, { CONN },
	  .slow = { [GOOD] = SAME(OK), CONTROL_WORD, SIMPLE, [UNALIGNED] = SAME(ALIGN),
		    [OUTSIDE] = DIFF("K3", INPUT, ALIGN) },
	  .fast = { [GOOD] = SAME(OK), CONTROL_WORD, SIMPLE } },
};

/* User space reads and checks their input; stock does not check their form. */
#define DEBUG_FORM(answer) \
	[GOOD] = SAME(answer), CONTROL_WORD, [REP] = DIFF("K3", INPUT, answer), \
	[START] = DIFF("K3", INPUT, answer), [VARHDR] = DIFF("K3", INPUT, answer)
#define DEBUG_CALLS(answer) { \
	{ "POST_DEBUG_DATA", HVCALL_POST_DEBUG_DATA, 1, { 0 }, \
	  .slow = { DEBUG_FORM(answer), NO_INPUT(answer) }, .fast = { DEBUG_FORM(PARAM) } }, \
	{ "RETRIEVE_DEBUG_DATA", HVCALL_RETRIEVE_DEBUG_DATA, 1, { 0 }, \
	  .slow = { DEBUG_FORM(answer), NO_INPUT(answer) }, .fast = { DEBUG_FORM(PARAM) } }, \
	{ "RESET_DEBUG_SESSION", HVCALL_RESET_DEBUG_SESSION, 1, { 0 }, \
	  .slow = { DEBUG_FORM(answer), NO_INPUT(answer) }, .fast = { DEBUG_FORM(answer) } }, \
}

static const struct call debug_calls[][3] = {
	[NO_DEBUGGER] = DEBUG_CALLS(CODE),
	[DEBUGGER_BY_MSRS] = DEBUG_CALLS(DENIED),
	[DEBUGGER_BY_CALLS] = DEBUG_CALLS(USER),
};

/* User space handles these calls, in the slow form only; stock 6.1 does not know them. */
#define EXT(answer) DIFF2("D11", answer, answer, CODE)
#define EXT_FORM(answer) \
	[GOOD] = EXT(answer), CONTROL_WORD, [REP] = EXT(answer), [START] = EXT(answer), \
	[VARHDR] = EXT(answer)
#define EXT_CALL(name, code) \
	{ name, code, 1, { 0 }, \
	  .slow = { EXT_FORM(USER), [UNALIGNED] = EXT(USER), [OUTSIDE] = EXT(USER) }, \
	  .fast = { EXT_FORM(PARAM) } }

static const struct call ext_calls[] = {
	EXT_CALL("EXT_QUERY_CAPABILITIES", HVCALL_EXT_QUERY_CAPABILITIES),
	EXT_CALL("extended call 2", HVCALL_EXT_QUERY_CAPABILITIES + 1),
	EXT_CALL("the last extended call", EXT_LAST),
};

/* For an unknown call only the reserved bits are checked. */
#define UNKNOWN_FORM \
	[GOOD] = SAME(CODE), CONTROL_WORD, [REP] = SAME(CODE), [START] = SAME(CODE), \
	[VARHDR] = SAME(CODE)
#define UNKNOWN(code) \
	{ #code, code, 1, { 0 }, .slow = { UNKNOWN_FORM, NO_INPUT(CODE) }, \
	  .fast = { UNKNOWN_FORM } }

static const struct call unknown_calls[] = {
	UNKNOWN(0x0000), UNKNOWN(0x0007), UNKNOWN(0x003f), UNKNOWN(0x00ff), UNKNOWN(0x7777),
	UNKNOWN(0x8000), UNKNOWN(0x8042), UNKNOWN(0x9000), UNKNOWN(0xffff),
	/* Hidden without the module parameter extra_calls=. */
	UNKNOWN(HVCALL_GET_VP_REGISTERS), UNKNOWN(HVCALL_SET_VP_REGISTERS),
	UNKNOWN(HVCALL_RETARGET_DEVICE_INTERRUPT), UNKNOWN(HVCALL_GET_VP_INDEX_FROM_APIC_ID),
	UNKNOWN(HVCALL_GET_VP_CPUID_VALUES), UNKNOWN(HVCALL_RESTORE_PARTITION_TIME),
};

/* Calls that no KVM has: bytes of the input and of an element. */
static const struct table_row new_calls[] = {
	{ .name = "FLUSH_GPA_SPACE", .number = HVCALL_FLUSH_GPA_SPACE, .input = 16,
	  .flags = "fast" },
	{ .name = "FLUSH_GPA_LIST", .number = HVCALL_FLUSH_GPA_LIST, .input = 16, .element = 8,
	  .flags = "fast,xmm,rep" },
};

/* clang-format on */

#define KNOWN_CALLS(calls)               \
	{                                \
		calls, ARRAY_SIZE(calls) \
	}

static bool in_list(u32 code)
{
	static const struct {
		const struct call *calls;
		u32 nr;
	} lists[] = {
		KNOWN_CALLS(flushes),	  KNOWN_CALLS(ipis),	       KNOWN_CALLS(spin_waits),
		KNOWN_CALLS(connections), KNOWN_CALLS(debug_calls[0]), KNOWN_CALLS(ext_calls),
	};
	u32 i, j;

	for (i = 0; i < ARRAY_SIZE(lists); i++) {
		for (j = 0; j < lists[i].nr; j++) {
			if ((lists[i].calls[j].control & 0xffff) == code)
				return true;
		}
	}
	for (i = 0; i < ARRAY_SIZE(new_calls); i++) {
		if (new_calls[i].number == code)
			return true;
	}
	return false;
}

static void refuse(struct answer *cells, enum answers column, u64 status)
{
	cells[column] = (struct answer)SAME(status);
}

static void refuse_control_words(struct answer *cells, const struct table_row *r)
{
	bool rep = table_flag(r, "rep");

	refuse(cells, RESERVED, INPUT);
	refuse(cells, NESTED, INPUT);
	if (table_flag(r, "any-form"))
		return;
	refuse(cells, rep ? COUNT_0 : REP, INPUT);
	refuse(cells, rep ? START_END : START, INPUT);
	if (!table_flag(r, "varhdr"))
		refuse(cells, VARHDR, INPUT);
}

/* Whatever the call does, its form is refused as its row tells. */
static struct call call_of_row(const struct table_row *r)
{
	u64 reps = table_flag(r, "rep") ? 2 : 0;
	u32 bytes = r->input + (u32)reps * r->element;
	struct call c = {
		.name = r->name,
		.control = r->number | HV_CTL_REP(reps),
		.qwords = (bytes + 7) / 8,
	};

	ASSERT(c.qwords <= MAX_QWORDS, "%s has more input than MAX_QWORDS", r->name);
	refuse_control_words(c.slow, r);
	refuse_control_words(c.fast, r);
	if (!table_flag(r, "any-form") && !table_flag(r, "fast"))
		refuse(c.fast, GOOD, INPUT);
	if (bytes) {
		refuse(c.slow, UNALIGNED, ALIGN);
		refuse(c.slow, OUTSIDE, INPUT);
	}
	if (bytes > 8)
		refuse(c.slow, ACROSS, ALIGN);
	return c;
}

TEST(form_of_calls_that_no_kvm_has)
{
	static struct call calls[ARRAY_SIZE(new_calls)];
	u32 i;

	if (!module_loaded())
		ktap_skip("the rows are the module's");
	for (i = 0; i < ARRAY_SIZE(new_calls); i++)
		calls[i] = call_of_row(&new_calls[i]);
	check_calls(calls, ARRAY_SIZE(calls), NULL);
}

TEST(form_of_rows_that_are_not_listed)
{
	static struct table_row rows[MAX_TABLE_ROWS];
	static struct call calls[MAX_TABLE_ROWS];
	u32 n = table_unlisted(rows, true, in_list), i;

	if (!module_loaded())
		ktap_skip("the rows are the module's");
	for (i = 0; i < n; i++)
		calls[i] = call_of_row(&rows[i]);
	if (n)
		check_calls(calls, n, NULL);
}

TEST(form_of_flushes)
{
	check_calls(flushes, ARRAY_SIZE(flushes), NULL);
}

TEST_KNOWN(form_of_flushes_k3, "K3")
{
	check_calls(flushes, ARRAY_SIZE(flushes), "K3");
}

TEST(form_of_ipis)
{
	check_calls(ipis, ARRAY_SIZE(ipis), NULL);
}

TEST_KNOWN(form_of_ipis_k3, "K3")
{
	check_calls(ipis, ARRAY_SIZE(ipis), "K3");
}

TEST(form_of_spin_waits)
{
	check_calls(spin_waits, ARRAY_SIZE(spin_waits), NULL);
}

TEST(form_of_connections)
{
	check_calls(connections, ARRAY_SIZE(connections), NULL);
}

TEST_KNOWN(form_of_connections_k3, "K3")
{
	check_calls(connections, ARRAY_SIZE(connections), "K3");
}

TEST_KNOWN(form_of_connections_d14, "D14")
{
	check_calls(connections, ARRAY_SIZE(connections), "D14");
}

TEST(form_of_debug_calls_without_debugger)
{
	check_calls(debug_calls[NO_DEBUGGER], 3, NULL);
}

TEST_KNOWN(form_of_debug_calls_without_debugger_k3, "K3")
{
	check_calls(debug_calls[NO_DEBUGGER], 3, "K3");
}

TEST(form_of_debug_calls_not_chosen)
{
	check_calls_of(DEBUGGER_BY_MSRS, debug_calls[DEBUGGER_BY_MSRS], 3, NULL);
}

TEST_KNOWN(form_of_debug_calls_not_chosen_k3, "K3")
{
	check_calls_of(DEBUGGER_BY_MSRS, debug_calls[DEBUGGER_BY_MSRS], 3, "K3");
}

TEST(form_of_debug_calls)
{
	check_calls_of(DEBUGGER_BY_CALLS, debug_calls[DEBUGGER_BY_CALLS], 3, NULL);
}

TEST_KNOWN(form_of_debug_calls_k3, "K3")
{
	check_calls_of(DEBUGGER_BY_CALLS, debug_calls[DEBUGGER_BY_CALLS], 3, "K3");
}

TEST(control_word_of_extended_calls)
{
	check_calls(ext_calls, ARRAY_SIZE(ext_calls), NULL);
}

TEST_KNOWN_IF(form_of_extended_calls, "D11", host_is_6_1)
{
	check_calls(ext_calls, ARRAY_SIZE(ext_calls), "D11");
}

TEST(form_of_unknown_calls)
{
	static struct call calls[ARRAY_SIZE(unknown_calls)];
	u32 i, n = 0;

	for (i = 0; i < ARRAY_SIZE(unknown_calls); i++) {
		if (table_has(unknown_calls[i].control & 0xffff, true))
			ktap_log("%s has a row now", unknown_calls[i].name);
		else
			calls[n++] = unknown_calls[i];
	}
	check_calls(calls, n, NULL);
}
