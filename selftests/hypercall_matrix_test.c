// SPDX-License-Identifier: GPL-2.0-only
/*
 * The status matrix: every call in its slow and its register form, with each way to
 * get the form or a parameter wrong, against the answer of the TLFS (chapter "Hypercall
 * Interface" and each call's page) and, where it differs, against that of stock KVM.
 * A cell with a defect's id must be as declared on stock, too. Privileges are
 * enforce_cpuid_test's; what a flush or an IPI does, flush_*_test and ipi_test show.
 */
#include <errno.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>

#include "ops.h"

#define MAX_QWORDS  64
#define FAST_QWORDS 14
#define CONN	    0x1234u
#define VECTOR	    0x40ull
#define EXT_LAST    0x8041
#define USE_HCALLS  BIT64(2) /* in SYNDBG_OPTIONS */

/* Answers that are no status: user space gets the call; all of a list was done. */
#define USER	BIT64(63)
#define REPS(n) ((u64)(n) << 32)
#define OK	HV_STATUS_SUCCESS
#define CODE	HV_STATUS_INVALID_HYPERCALL_CODE
#define INPUT	HV_STATUS_INVALID_HYPERCALL_INPUT
#define ALIGN	HV_STATUS_INVALID_ALIGNMENT
#define PARAM	HV_STATUS_INVALID_PARAMETER
#define DENIED	HV_STATUS_OPERATION_DENIED

#define FLUSH_NON_GLOBAL BIT64(2)
#define SPARSE		 0ull
#define ALL		 1ull

struct answer {
	bool set;
	u64 right, stock, stock_6_1;
	const char *id;
};

#define SAME(a)                     \
	{                           \
		true, a, a, a, NULL \
	}
#define DIFF(id, a, stock)                \
	{                                 \
		true, a, stock, stock, id \
	}
#define DIFF2(id, a, s_612, s_61)        \
	{                                \
		true, a, s_612, s_61, id \
	}

enum { SLOW = 1, FAST = 2 };

/* What is wrong with a call; several variants each, see variants(). */
enum answers {
	GOOD,
	RESERVED,     /* 30:27, 47:44, 63:60 of the control word */
	NESTED,	      /* bit 31 */
	REP,	      /* a simple call with a rep count */
	START,	      /* a simple call with a rep start */
	COUNT_0,      /* a rep call without a count */
	START_END,    /* start at or behind the count */
	START_INSIDE, /* nothing is wrong with it */
	VARHDR,	      /* where there is none, or of the wrong size */
	UNALIGNED,
	ACROSS, /* aligned, but across the end of a page */
	OUTSIDE,
	COLUMNS
};

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

struct row {
	const char *name;
	u32 forms;
	u64 control;
	u32 qwords;
	u64 block[MAX_QWORDS];
	struct answer answer;
};

/* --- one VM, one call ---------------------------------------------------- */

enum debugger { NO_DEBUGGER, DEBUGGER_BY_MSRS, DEBUGGER_BY_CALLS };

struct one {
	struct vm *vm;
	struct vcpu *vcpu;
	struct ops_page *ops;
	u8 *input; /* two pages */
	struct xmm_block *xmm;
	const char *id; /* the group that is checked */
	u32 nr, bad, wrong;
};

static struct one one_vm(u32 flags, enum debugger debugger, const char *id)
{
	struct one o = { .vm = vm_create(1, flags), .id = id };
	struct kvm_hyperv_eventfd e = { .conn_id = CONN };

	o.vcpu = o.vm->vcpus[0];
	vcpu_set_bit(o.vcpu, HV_S_KERNEL_DEBUG, debugger != NO_DEBUGGER);
	if (!(flags & VM_NO_IRQCHIP)) {
		/* For what goes to user space only if there is a SynIC. */
		ASSERT_EQ(__vcpu_enable_cap(o.vcpu, KVM_CAP_HYPERV_SYNIC2, 0), 0);
		e.fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
		ASSERT(e.fd >= 0, "eventfd: %s", strerror(errno));
		ASSERT(ioctl(o.vm->fd, KVM_HYPERV_EVENTFD, &e) == 0, "%s", strerror(errno));
	}
	vcpu_set_msr(o.vcpu, HV_X64_MSR_GUEST_OS_ID, 0x8100000000000001ULL);
	if (debugger == DEBUGGER_BY_CALLS)
		vcpu_set_msr(o.vcpu, HV_X64_MSR_SYNDBG_OPTIONS, USE_HCALLS);
	o.ops = vcpu_ops_init(o.vcpu, 1);
	o.input = vm_alloc(o.vm, 2 * PAGE_SIZE);
	o.xmm = vm_alloc(o.vm, sizeof(*o.xmm));
	return o;
}

static u64 issue(struct one *o, u32 form, u64 control, const u64 *block, u32 qwords, u64 at)
{
	struct guest_op op = { .op = OP_HYPERCALL_XMM, .arg0 = control, .xmm = o->xmm };
	u64 base = (u64)(uintptr_t)o->input;

	/* Whatever is no input must not matter. */
	memset(o->xmm, 0xff, sizeof(*o->xmm));
	memset(o->input, 0xff, 2 * PAGE_SIZE);
	if (form == FAST) {
		op.arg0 |= HV_CTL_FAST;
		op.arg1 = block[0];
		op.arg2 = qwords > 1 ? block[1] : ~0ULL;
		if (qwords > 2)
			memcpy(o->xmm, block + 2,
			       (qwords < FAST_QWORDS ? qwords - 2 : FAST_QWORDS - 2) * sizeof(u64));
	} else {
		if (at >= base && at + qwords * sizeof(u64) <= base + 2 * PAGE_SIZE)
			memcpy(o->input + (at - base), block, qwords * sizeof(u64));
		op.arg1 = at;
		op.arg2 = ~0xfffULL;
	}
	op = vcpu_op(o->vcpu, o->ops, op);
	ASSERT(!op.vector, "control 0x%llx: vector %u", (unsigned long long)control, op.vector);
	if (!op.exits)
		return op.result;
	ASSERT_EQ(op.exits, 1);
	ASSERT_EQ(op.exit_reason, KVM_EXIT_HYPERV);
	ASSERT_EQ(op.result, 0);
	return USER;
}

static void judge(struct one *o, const char *name, const char *what, u32 form, u64 control, u64 got,
		  const struct answer *a)
{
	u64 want = module_loaded() ? a->right : host_is_6_1() ? a->stock_6_1 : a->stock;

	o->nr++;
	o->wrong += got != a->right;
	if (got == want)
		return;
	o->bad++;
	ktap_log("%s, %s, %s, control 0x%llx: 0x%llx instead of 0x%llx", name,
		 form == FAST ? "fast" : "slow", what, (unsigned long long)control,
		 (unsigned long long)got, (unsigned long long)want);
}

static void verdict(struct one *o)
{
	ASSERT(o->nr, "no such cell");
	ASSERT(!o->bad, "%u of %u answers are not as declared", o->bad, o->nr);
	ASSERT_KNOWN(!o->wrong, "%u of %u answers are wrong", o->wrong, o->nr);
	vm_free(o->vm);
}

static bool in_group(const struct one *o, const struct answer *a)
{
	return a->set && (!a->id || !o->id ? a->id == o->id : !strcmp(a->id, o->id));
}

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
		if (!in_group(o, &cells[column]))
			continue;
		n = variants(o, c, column, v);
		for (i = 0; i < n; i++)
			judge(o, c->name, column_names[column], form, v[i].control,
			      issue(o, form, v[i].control, c->block, c->qwords, v[i].at),
			      &cells[column]);
	}
}

static void check_calls_of(enum debugger debugger, const struct call *c, u32 n, const char *id)
{
	struct one o = one_vm(0, debugger, id);
	u32 i;

	for (i = 0; i < n; i++) {
		check_form(&o, &c[i], SLOW, c[i].slow);
		check_form(&o, &c[i], FAST, c[i].fast);
	}
	verdict(&o);
}

static void check_calls(const struct call *c, u32 n, const char *id)
{
	check_calls_of(NO_DEBUGGER, c, n, id);
}

static void check_row(struct one *o, const struct row *r, u64 at)
{
	u32 form;

	if (!in_group(o, &r->answer))
		return;
	for (form = SLOW; form <= FAST; form++)
		if (r->forms & form)
			judge(o, "row", r->name, form, r->control,
			      issue(o, form, r->control, r->block, r->qwords, at), &r->answer);
}

static void check_rows(const struct row *r, u32 n, const char *id)
{
	struct one o = one_vm(0, NO_DEBUGGER, id);
	u32 i;

	for (i = 0; i < n; i++)
		check_row(&o, &r[i], (u64)(uintptr_t)o.input);
	verdict(&o);
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

/* Stock asks user space whatever comes, and has another status for what it cannot read. */
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

/* Their input is for user space to find and to judge; stock does not look at their form. */
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

/* All of it is user space's, in the slow form only; 6.1 does not know them. */
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

/* No form is wrong for a call that nobody knows, but for the reserved bits. */
#define UNKNOWN_FORM \
	[GOOD] = SAME(CODE), CONTROL_WORD, [REP] = SAME(CODE), [START] = SAME(CODE), \
	[VARHDR] = SAME(CODE)
#define UNKNOWN(code) \
	{ #code, code, 1, { 0 }, .slow = { UNKNOWN_FORM, NO_INPUT(CODE) }, \
	  .fast = { UNKNOWN_FORM } }

static const struct call unknown_calls[] = {
	UNKNOWN(0x0000), UNKNOWN(0x0007), UNKNOWN(0x003f), UNKNOWN(0x00ff), UNKNOWN(0x7777),
	UNKNOWN(0x8000), UNKNOWN(0x8042), UNKNOWN(0x9000), UNKNOWN(0xffff),
};

/* clang-format on */

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
	check_calls(unknown_calls, ARRAY_SIZE(unknown_calls), NULL);
}

/* --- two things wrong: which of them is told ----------------------------- */

/* clang-format off */

#define BOTH (SLOW | FAST)
#define SPIN HVCALL_NOTIFY_LONG_SPIN_WAIT

static const struct row order_rows[] = {
	{ "reserved bits, rep count", BOTH, SPIN | BIT64(27) | HV_CTL_REP(1), 1, { 0 },
	  SAME(INPUT) },
	{ "unknown, reserved bits", BOTH, 0x3f | BIT64(63), 1, { 0 }, SAME(INPUT) },
	{ "unknown, nested", BOTH, 0x3f | BIT64(31), 1, { 0 }, SAME(INPUT) },
	{ "unknown, rep, variable header", BOTH, 0x3f | HV_CTL_START(1) | HV_CTL_VARHDR(1), 1,
	  { 0 }, SAME(CODE) },
	{ "rep count, bad flags", BOTH, HVCALL_FLUSH_SPACE | HV_CTL_REP(1), 3, { 0, BIT64(4), 1 },
	  SAME(INPUT) },
	{ "variable header, bad vector", BOTH, HVCALL_SEND_IPI | HV_CTL_VARHDR(1), 2, { 5, 1 },
	  SAME(INPUT) },
	{ "banks and variable header differ, bad vector", BOTH,
	  HVCALL_SEND_IPI_EX | HV_CTL_VARHDR(1), 4, { 5, SPARSE, 3, 1 }, SAME(INPUT) },
	{ "reserved byte, bad vector", BOTH, HVCALL_SEND_IPI, 2, { 5 | BIT64(63), 1 },
	  SAME(INPUT) },
};

/* The input's address is at fault, and something before or after it. */
static const struct row address_order_rows[] = {
	{ "rep count", SLOW, HVCALL_FLUSH_SPACE | HV_CTL_REP(1), 3, { 0, 0, 1 }, SAME(INPUT) },
	{ "reserved bits", SLOW, HVCALL_SEND_IPI | BIT64(44), 2, { VECTOR, 1 }, SAME(INPUT) },
	{ "unknown", SLOW, 0x3f, 2, { VECTOR, 1 }, SAME(CODE) },
	{ "variable header", SLOW, HVCALL_SIGNAL_EVENT | HV_CTL_VARHDR(1), 1, { CONN },
	  SAME(INPUT) },
	{ "bad flags", SLOW, HVCALL_FLUSH_SPACE, 3, { 0, BIT64(4), 1 }, DIFF("K3", ALIGN, OK) },
	{ "bad vector", SLOW, HVCALL_SEND_IPI, 2, { 5, 1 }, DIFF("K3", ALIGN, INPUT) },
	{ "banks and variable header differ", SLOW, HVCALL_SEND_IPI_EX | HV_CTL_VARHDR(1), 4,
	  { VECTOR, SPARSE, 3, 1 }, DIFF("K3", ALIGN, INPUT) },
	{ "bad connection", SLOW, HVCALL_SIGNAL_EVENT, 1, { ~0ULL }, SAME(ALIGN) },
};

/* --- parameters ---------------------------------------------------------- */

#define SPACE	 HVCALL_FLUSH_SPACE
#define SPACE_EX HVCALL_FLUSH_SPACE_EX
#define LIST	 HVCALL_FLUSH_LIST
#define LIST_EX	 HVCALL_FLUSH_LIST_EX
#define VARHDR_N HV_CTL_VARHDR
#define REP_N	 HV_CTL_REP

static const struct row flush_rows[] = {
	/* Whom */
	{ "nobody: all", BOTH, SPACE, 3, { 0, 0, 0 }, SAME(OK) },
	{ "nobody, list", BOTH, LIST | REP_N(2), 5, { 0, 0, 0, 0x1000, 0x2000 }, SAME(REPS(2)) },
	{ "VPs that do not exist", BOTH, SPACE, 3, { 0, 0, BIT64(63) | BIT64(1) }, SAME(OK) },
	{ "all", BOTH, SPACE, 3, { 0, HV_FLUSH_ALL_PROCESSORS, 0 }, SAME(OK) },
	{ "empty set", BOTH, SPACE_EX, 4, { 0, 0, SPARSE, 0 }, SAME(OK) },
	{ "empty set, list", BOTH, LIST_EX | REP_N(2), 6, { 0, 0, SPARSE, 0, 0x1000, 0x2000 },
	  SAME(REPS(2)) },
	{ "empty bank", BOTH, SPACE_EX | VARHDR_N(1), 5, { 0, 0, SPARSE, 1, 0 }, SAME(OK) },
	{ "all of nobody", BOTH, SPACE_EX, 4, { 0, HV_FLUSH_ALL_PROCESSORS, SPARSE }, SAME(OK) },
	{ "set of all", BOTH, SPACE_EX, 4, { 0, 0, ALL, 0 }, SAME(OK) },
	{ "set of all, list", BOTH, LIST_EX | REP_N(2), 6, { 0, 0, ALL, 0, 0x1000, 0x2000 },
	  SAME(REPS(2)) },
	{ "set of all with banks", BOTH, SPACE_EX | VARHDR_N(1), 5, { 0, 0, ALL, BIT64(9), 1 },
	  SAME(OK) },
	{ "set of all, banks differ", BOTH, SPACE_EX, 4, { 0, 0, ALL, 1 }, SAME(INPUT) },
	{ "set of all, banks differ, list", BOTH, LIST_EX | REP_N(1) | VARHDR_N(1), 6,
	  { 0, 0, ALL, 0, 1, 0x1000 }, SAME(INPUT) },
	{ "VPs of the highest bank", BOTH, SPACE_EX | VARHDR_N(1), 5,
	  { 0, 0, SPARSE, BIT64(63), ~0ULL }, SAME(OK) },
	{ "as many banks as fit", BOTH, SPACE_EX | VARHDR_N(10), 14, { 0, 0, SPARSE, 0x3ff },
	  SAME(OK) },
	{ "one bank too many", FAST, SPACE_EX | VARHDR_N(11), 15, { 0, 0, SPARSE, 0x7ff },
	  SAME(INPUT) },
	/* The flag of each set, with and without list. */
	{ "format 2", BOTH, SPACE_EX, 4, { 0, 0, 2, 0 }, DIFF("K15", PARAM, OK) },
	{ "format 2 with a bank", BOTH, SPACE_EX | VARHDR_N(1), 5, { 0, 0, 2, 1, 1 },
	  DIFF("K15", PARAM, OK) },
	{ "format 2^32", BOTH, SPACE_EX, 4, { 0, 0, BIT64(32), 0 }, DIFF("K15", PARAM, OK) },
	{ "format -1, list", BOTH, LIST_EX | REP_N(1), 5, { 0, 0, ~0ULL, 0, 0x1000 },
	  DIFF("K15", PARAM, REPS(1)) },
	/* What */
	{ "known flags", BOTH, SPACE, 3, { ~0ULL, 0xf, 1 }, SAME(OK) },
	{ "known flags, Ex", BOTH, SPACE_EX, 4, { ~0ULL, 0xf, ALL, 0 }, SAME(OK) },
	{ "flags of a list", BOTH, LIST | REP_N(1), 4,
	  { 0, HV_FLUSH_ALL_PROCESSORS | HV_FLUSH_ALL_SPACES | HV_FLUSH_EXTENDED, 0, 0x1000 },
	  SAME(REPS(1)) },
	{ "flags of a list, Ex", BOTH, LIST_EX | REP_N(1), 5,
	  { 0, HV_FLUSH_ALL_PROCESSORS | HV_FLUSH_ALL_SPACES | HV_FLUSH_EXTENDED, ALL, 0, 0x1000 },
	  SAME(REPS(1)) },
	{ "flag 4", BOTH, SPACE, 3, { 0, BIT64(4), 1 }, DIFF("K3", PARAM, OK) },
	{ "flag 31", BOTH, SPACE, 3, { 0, BIT64(31), 1 }, DIFF("K3", PARAM, OK) },
	{ "flag 32", BOTH, SPACE, 3, { 0, BIT64(32) | 3, 1 }, DIFF("K3", PARAM, OK) },
	{ "flag 63", BOTH, SPACE, 3, { 0, BIT64(63), 1 }, DIFF("K3", PARAM, OK) },
	{ "flag 4, Ex", BOTH, SPACE_EX, 4, { 0, BIT64(4), ALL, 0 }, DIFF("K3", PARAM, OK) },
	{ "flag 63, Ex", BOTH, SPACE_EX, 4, { 0, BIT64(63), SPARSE, 0 }, DIFF("K3", PARAM, OK) },
	{ "flag 4, list", BOTH, LIST | REP_N(1), 4, { 0, BIT64(4), 1, 0x1000 },
	  DIFF("K3", PARAM, REPS(1)) },
	{ "flag 63, list Ex", BOTH, LIST_EX | REP_N(1), 5, { 0, BIT64(63), ALL, 0, 0x1000 },
	  DIFF("K3", PARAM, REPS(1)) },
	{ "non-global only, list", BOTH, LIST | REP_N(1), 4, { 0, FLUSH_NON_GLOBAL, 1, 0x1000 },
	  DIFF("K3", PARAM, REPS(1)) },
	{ "non-global only, list Ex", BOTH, LIST_EX | REP_N(1), 5,
	  { 0, FLUSH_NON_GLOBAL, ALL, 0, 0x1000 }, DIFF("K3", PARAM, REPS(1)) },
	/* How much. Stock takes what is too long for all there is. */
	{ "start in the middle", BOTH, LIST | REP_N(10) | HV_CTL_START(5), 13, { 0, 0, 1 },
	  DIFF("K3", REPS(10), INPUT) },
	{ "longest fast list", BOTH, LIST | REP_N(11), 14, { 0, 0, 1 }, SAME(REPS(11)) },
	{ "longest fast list, Ex", BOTH, LIST_EX | VARHDR_N(1) | REP_N(9), 14,
	  { 0, 0, SPARSE, 1, 1 }, SAME(REPS(9)) },
	{ "fast list, one entry too long", FAST, LIST | REP_N(12), 15, { 0, 0, 1 },
	  DIFF2("K3", INPUT, INPUT, REPS(12)) },
	{ "fast list, one entry too long, Ex", FAST, LIST_EX | VARHDR_N(1) | REP_N(10), 15,
	  { 0, 0, SPARSE, 1, 1 }, DIFF2("K3", INPUT, INPUT, REPS(10)) },
	{ "fast list, much too long", FAST, LIST | REP_N(16), 19, { 0, 0, 1 },
	  DIFF("K3", INPUT, REPS(16)) },
	{ "fast list, longest count", FAST, LIST | REP_N(0xfff), 19, { 0, 0, 1 },
	  DIFF("K3", INPUT, REPS(0xfff)) },
	{ "list longer than a page", SLOW, LIST | REP_N(0xfff), 3, { 0, 0, 1 },
	  DIFF("K3", ALIGN, REPS(0xfff)) },
	{ "list longer than a page by one", SLOW, LIST | REP_N(510), 3, { 0, 0, 1 },
	  DIFF("K3", ALIGN, REPS(510)) },
};

#define IPI	  HVCALL_SEND_IPI
#define IPI_EX	  HVCALL_SEND_IPI_EX
#define VTL(n)	  ((u64)(n) << 32)
#define PADDING(n) ((u64)(n) << 40)

static const struct row ipi_rows[] = {
	{ "lowest vector", BOTH, IPI, 2, { 0x10, 1 }, SAME(OK) },
	{ "highest vector", BOTH, IPI, 2, { 0xff, 1 }, SAME(OK) },
	{ "nobody", BOTH, IPI, 2, { VECTOR, 0 }, SAME(OK) },
	{ "VPs that do not exist", BOTH, IPI, 2, { VECTOR, ~1ULL }, SAME(OK) },
	{ "vector 15", BOTH, IPI, 2, { 0x0f, 1 }, DIFF("K14", PARAM, INPUT) },
	{ "vector 2", BOTH, IPI, 2, { 0x02, 1 }, DIFF("K14", PARAM, INPUT) },
	{ "vector 256", BOTH, IPI, 2, { 0x100, 1 }, DIFF("K14", PARAM, INPUT) },
	{ "vector 0x140", BOTH, IPI, 2, { 0x140, 1 }, DIFF("K14", PARAM, INPUT) },
	{ "vector -1", BOTH, IPI, 2, { 0xffffffff, 1 }, DIFF("K14", PARAM, INPUT) },
	{ "vector 1, nobody", BOTH, IPI, 2, { 1, 0 }, DIFF("K14", PARAM, INPUT) },
	{ "vector 0", BOTH, IPI, 2, { 0, 1 }, SAME(INPUT) },
	{ "vector 0, nobody", BOTH, IPI, 2, { 0, 0 }, SAME(INPUT) },
	/* Stock looks at these in one form only. */
	{ "TargetVtl", FAST, IPI, 2, { VECTOR | VTL(1), 1 }, SAME(INPUT) },
	{ "TargetVtl", SLOW, IPI, 2, { VECTOR | VTL(1), 1 }, DIFF("K14", INPUT, OK) },
	{ "use of TargetVtl", SLOW, IPI, 2, { VECTOR | VTL(0x10), 1 }, DIFF("K14", INPUT, OK) },
	{ "padding", FAST, IPI, 2, { VECTOR | PADDING(1), 1 }, SAME(INPUT) },
	{ "padding", SLOW, IPI, 2, { VECTOR | PADDING(1), 1 }, DIFF("K14", INPUT, OK) },
	{ "last padding", SLOW, IPI, 2, { VECTOR | BIT64(63), 1 }, DIFF("K14", INPUT, OK) },

	{ "lowest vector, Ex", BOTH, IPI_EX | VARHDR_N(1), 4, { 0x10, SPARSE, 1, 1 }, SAME(OK) },
	{ "highest vector, Ex", BOTH, IPI_EX, 3, { 0xff, ALL, 0 }, SAME(OK) },
	{ "empty set", BOTH, IPI_EX, 3, { VECTOR, SPARSE, 0 }, SAME(OK) },
	{ "empty bank", BOTH, IPI_EX | VARHDR_N(1), 4, { VECTOR, SPARSE, 1, 0 }, SAME(OK) },
	{ "VPs that do not exist, Ex", BOTH, IPI_EX | VARHDR_N(2), 5,
	  { VECTOR, SPARSE, BIT64(17) | BIT64(63), ~0ULL, ~0ULL }, SAME(OK) },
	{ "all with banks", BOTH, IPI_EX | VARHDR_N(1), 4, { VECTOR, ALL, BIT64(9), 1 }, SAME(OK) },
	{ "all, banks differ", BOTH, IPI_EX, 3, { VECTOR, ALL, 1 }, SAME(INPUT) },
	{ "all, banks differ, too", BOTH, IPI_EX | VARHDR_N(1), 4, { VECTOR, ALL, 0, 1 },
	  SAME(INPUT) },
	{ "as many banks as fit", BOTH, IPI_EX | VARHDR_N(11), 14, { VECTOR, SPARSE, 0x7ff },
	  SAME(OK) },
	{ "one bank too many", FAST, IPI_EX | VARHDR_N(12), 15, { VECTOR, SPARSE, 0xfff },
	  SAME(INPUT) },
	{ "one bank too many, of all", FAST, IPI_EX | VARHDR_N(12), 15, { VECTOR, ALL, 0xfff },
	  DIFF("K3", INPUT, OK) },
	{ "format 2", BOTH, IPI_EX | VARHDR_N(1), 4, { VECTOR, 2, 1, 1 }, DIFF("K15", PARAM, OK) },
	{ "format 2, empty", BOTH, IPI_EX, 3, { VECTOR, 2, 0 }, DIFF("K15", PARAM, OK) },
	{ "format 2^32", BOTH, IPI_EX, 3, { VECTOR, BIT64(32), 0 }, DIFF("K15", PARAM, OK) },
	{ "vector 15, Ex", BOTH, IPI_EX | VARHDR_N(1), 4, { 0x0f, SPARSE, 1, 1 },
	  DIFF("K14", PARAM, INPUT) },
	{ "vector 256, all", BOTH, IPI_EX, 3, { 0x100, ALL, 0 }, DIFF("K14", PARAM, INPUT) },
	{ "vector 15, empty set", BOTH, IPI_EX, 3, { 0x0f, SPARSE, 0 }, DIFF("K14", PARAM, OK) },
	{ "vector 0, Ex", BOTH, IPI_EX | VARHDR_N(1), 4, { 0, SPARSE, 1, 1 },
	  DIFF("K14", PARAM, INPUT) },
	{ "vector 0, all", BOTH, IPI_EX, 3, { 0, ALL, 0 }, DIFF("K14", PARAM, INPUT) },
	{ "vector 0, empty set", BOTH, IPI_EX, 3, { 0, SPARSE, 0 }, SAME(OK) },
	{ "TargetVtl, Ex", BOTH, IPI_EX | VARHDR_N(1), 4, { VECTOR | VTL(1), SPARSE, 1, 1 },
	  DIFF("K14", INPUT, OK) },
	{ "padding, all", BOTH, IPI_EX, 3, { VECTOR | PADDING(1), ALL, 0 },
	  DIFF("K14", INPUT, OK) },
	{ "last padding, empty set", BOTH, IPI_EX, 3, { VECTOR | BIT64(63), SPARSE, 0 },
	  DIFF("K14", INPUT, OK) },
};

/* Without a local APIC in the kernel there is nobody to interrupt. */
static const struct row no_apic_rows[] = {
	{ "good", BOTH, IPI, 2, { VECTOR, 1 }, SAME(INPUT) },
	{ "nobody", BOTH, IPI, 2, { VECTOR, 0 }, SAME(INPUT) },
	{ "bad vector", BOTH, IPI, 2, { 5, 1 }, SAME(INPUT) },
	{ "good, Ex", BOTH, IPI_EX | VARHDR_N(1), 4, { VECTOR, SPARSE, 1, 1 }, SAME(INPUT) },
	{ "all", BOTH, IPI_EX, 3, { VECTOR, ALL, 0 }, SAME(INPUT) },
	{ "empty set", BOTH, IPI_EX, 3, { VECTOR, SPARSE, 0 }, SAME(INPUT) },
	{ "a flush is no IPI", BOTH, SPACE, 3, { 0, 0, 0 }, SAME(OK) },
};

/* clang-format on */

TEST(order_of_checks)
{
	check_rows(order_rows, ARRAY_SIZE(order_rows), NULL);
}

static void check_address_order(const char *id)
{
	struct one o = one_vm(0, NO_DEBUGGER, id);
	u32 i;

	for (i = 0; i < ARRAY_SIZE(address_order_rows); i++)
		check_row(&o, &address_order_rows[i], (u64)(uintptr_t)o.input + 4);
	verdict(&o);
}

TEST(order_of_checks_unaligned)
{
	check_address_order(NULL);
}

TEST_KNOWN(order_of_checks_unaligned_k3, "K3")
{
	check_address_order("K3");
}

/* Alignment comes before existence. */
TEST_KNOWN(unaligned_outside_memory, "K3")
{
	static const struct row row = {
		"unaligned", SLOW, SPACE, 3, { 0 }, DIFF("K3", ALIGN, INPUT)
	};
	static const u64 at[] = { GPA_NOWHERE + 1, GPA_NOWHERE + PAGE_SIZE - 8 };
	struct one o = one_vm(0, NO_DEBUGGER, "K3");
	u32 i;

	for (i = 0; i < ARRAY_SIZE(at); i++)
		check_row(&o, &row, at[i]);
	verdict(&o);
}

TEST(flush_parameters)
{
	check_rows(flush_rows, ARRAY_SIZE(flush_rows), NULL);
}

TEST_KNOWN(flush_parameters_k3, "K3")
{
	check_rows(flush_rows, ARRAY_SIZE(flush_rows), "K3");
}

TEST_KNOWN(flush_parameters_k15, "K15")
{
	check_rows(flush_rows, ARRAY_SIZE(flush_rows), "K15");
}

TEST(ipi_parameters)
{
	check_rows(ipi_rows, ARRAY_SIZE(ipi_rows), NULL);
}

TEST_KNOWN(ipi_parameters_k3, "K3")
{
	check_rows(ipi_rows, ARRAY_SIZE(ipi_rows), "K3");
}

TEST_KNOWN(ipi_parameters_k14, "K14")
{
	check_rows(ipi_rows, ARRAY_SIZE(ipi_rows), "K14");
}

TEST_KNOWN(ipi_parameters_k15, "K15")
{
	check_rows(ipi_rows, ARRAY_SIZE(ipi_rows), "K15");
}

TEST(without_local_apic)
{
	struct one o = one_vm(VM_NO_IRQCHIP, NO_DEBUGGER, NULL);
	u32 i;

	for (i = 0; i < ARRAY_SIZE(no_apic_rows); i++)
		check_row(&o, &no_apic_rows[i], (u64)(uintptr_t)o.input);
	verdict(&o);
}

/* The most banks and the longest list that a page holds, each in a page of its own. */
TEST(whole_page_of_input)
{
	struct one o = one_vm(0, NO_DEBUGGER, NULL);
	u64 *block = (u64 *)o.input;
	struct guest_op op;
	u32 i;

	block[0] = VECTOR;
	block[1] = SPARSE;
	block[2] = ~0ULL;
	for (i = 0; i < 64; i++)
		block[3 + i] = 0;
	op = vcpu_op(o.vcpu, o.ops, OP_HC(IPI_EX | VARHDR_N(64), (u64)(uintptr_t)block, 0));
	ASSERT_EQ(op.result, OK);

	memset(block, 0, PAGE_SIZE);
	op = vcpu_op(o.vcpu, o.ops, OP_HC(LIST | REP_N(509), (u64)(uintptr_t)block, 0));
	ASSERT_EQ(op.result, REPS(509));
	block[2] = ALL;
	op = vcpu_op(o.vcpu, o.ops, OP_HC(LIST_EX | REP_N(508), (u64)(uintptr_t)block, 0));
	ASSERT_EQ(op.result, REPS(508));
	vm_free(o.vm);
}

/* --- extended calls: user space's answers --------------------------------- */

#define QUERY  ((u64)HVCALL_EXT_QUERY_CAPABILITIES)
#define CANARY 0x5a5a5a5a5a5a5a5aULL

/* One call to user space, which answers @answer; the guest's result. */
static u64 answered(struct one *o, u64 control, u64 in, u64 out, u64 answer)
{
	struct kvm_run *run = o->vcpu->run;
	u32 cmd;

	o->ops->ops[0] = OP_HC(control, in, out);
	o->ops->nr = 1;
	cmd = vcpu_run(o->vcpu);
	if (cmd == GUEST_SYNC_CMD)
		return o->ops->ops[0].result;
	ASSERT_EQ(cmd, RUN_EXIT(KVM_EXIT_HYPERV));
	ASSERT_EQ(run->hyperv.type, KVM_EXIT_HYPERV_HCALL);
	ASSERT_EQ(run->hyperv.u.hcall.input, control);
	ASSERT_EQ(run->hyperv.u.hcall.params[0], in);
	ASSERT_EQ(run->hyperv.u.hcall.params[1], out);
	run->hyperv.u.hcall.result = answer;
	ASSERT_EQ(vcpu_run(o->vcpu), GUEST_SYNC_CMD);
	ASSERT_EQ(o->ops->ops[0].vector, 0);
	return o->ops->ops[0].result;
}

TEST_KNOWN_IF(extended_calls_get_user_space_answers, "D11", host_is_6_1)
{
	static const u64 answers[] = { OK,
				       INPUT,
				       ALIGN,
				       PARAM,
				       HV_STATUS_ACCESS_DENIED,
				       DENIED,
				       REPS(7) | PARAM,
				       0x123456789abcdef0ULL };
	static const u64 controls[] = { QUERY, QUERY + 1, EXT_LAST,
					(QUERY + 1) | REP_N(3) | VARHDR_N(2) };
	struct one o = one_vm(0, NO_DEBUGGER, NULL);
	u64 *out = (u64 *)o.input, got;
	u32 i, j;

	out[1] = CANARY;
	for (i = 0; i < ARRAY_SIZE(controls); i++) {
		for (j = 0; j < ARRAY_SIZE(answers); j++) {
			got = answered(&o, controls[i], 0x1234567890abcdefULL,
				       (u64)(uintptr_t)&out[1], answers[j]);
			ASSERT_KNOWN(got == answers[j], "0x%llx instead of 0x%llx",
				     (unsigned long long)got, (unsigned long long)answers[j]);
		}
	}
	/* "Unknown" is passed on as well, except for the query. */
	for (i = 1; i < ARRAY_SIZE(controls); i++)
		ASSERT_EQ(answered(&o, controls[i], ~0ULL, (u64)(uintptr_t)&out[1], CODE), CODE);
	ASSERT_EQ(out[1], CANARY);
	vm_free(o.vm);
}

/* User space that does not know the query: there are no capabilities. */
TEST_KNOWN(query_that_user_space_does_not_know, "D24")
{
	struct one o = one_vm(0, NO_DEBUGGER, NULL);
	u64 *out = (u64 *)o.input, got;
	u32 i;

	/* The output may lie anywhere in a page. */
	for (i = 1; i < 512; i += 510) {
		out[i - 1] = CANARY;
		out[i] = CANARY;
		out[i + 1] = CANARY;
		got = answered(&o, QUERY, 0, (u64)(uintptr_t)&out[i], CODE);
		ASSERT_KNOWN(got == OK, "status 0x%llx", (unsigned long long)got);
		ASSERT_EQ(out[i], 0);
		ASSERT_EQ(out[i - 1], CANARY);
		ASSERT_EQ(out[i + 1], CANARY);
	}
	vm_free(o.vm);
}

TEST_KNOWN(query_with_a_bad_output_address, "D24")
{
	static const struct {
		u64 offset, status;
	} rows[] = { { 4, ALIGN }, { PAGE_SIZE - 4, ALIGN }, { 1, ALIGN } };
	struct one o = one_vm(0, NO_DEBUGGER, NULL);
	u64 base = (u64)(uintptr_t)o.input, got;
	u32 i;

	for (i = 0; i < ARRAY_SIZE(rows); i++) {
		got = answered(&o, QUERY, 0, base + rows[i].offset, CODE);
		ASSERT_KNOWN(got == rows[i].status, "status 0x%llx", (unsigned long long)got);
	}
	ASSERT_EQ(answered(&o, QUERY, 0, GPA_NOWHERE, CODE), INPUT);
	ASSERT_EQ(answered(&o, QUERY, 0, 0xfffffffffffff000ULL, CODE), INPUT);
	vm_free(o.vm);
}
