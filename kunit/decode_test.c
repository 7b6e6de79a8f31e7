// SPDX-License-Identifier: GPL-2.0-only
/*
 * The calling convention: every row x {64, 32 bit} x {memory, registers, registers and XMM} x every
 * way in which a control word can be wrong. Bit positions are written out here on purpose: the
 * masks of tlfs.h are part of what is tested.
 */
#include <kunit/test.h>
#include <linux/kernel.h>
#include <linux/string.h>

#include "khv/hcall.h"

#define ST_SUCCESS   0
#define ST_CODE	     2
#define ST_INPUT     3
#define ST_ALIGNMENT 4

#define FAST	  BIT_ULL(16)
#define VARHDR(n) ((u64)(n) << 17)
#define REPS(n)	  ((u64)(n) << 32)
#define START(n)  ((u64)(n) << 48)

static void hc_desc(const struct khv_hc_row *row, char *desc)
{
	strscpy(desc, row->name, KUNIT_PARAM_DESC_SIZE);
}

KUNIT_ARRAY_PARAM(hc, khv_hcs, hc_desc);

/* Make the call: what a guest does, with rubbish wherever the convention does not look. */
static void make(struct khv_hcall *hc, bool lm, u64 control, u64 in, u64 out)
{
	const u64 rubbish = 0xdeadbeef00000000ULL;
	struct khv_call_regs regs = { .longmode = lm };

	if (lm) {
		regs.cx = control;
		regs.dx = in;
		regs.r8 = out;
		regs.ax = rubbish | 0x5a5a5a5a;
		regs.bx = regs.ax;
		regs.si = regs.ax;
		regs.di = regs.ax;
	} else {
		regs.dx = rubbish | control >> 32;
		regs.ax = rubbish | (u32)control;
		regs.bx = rubbish | in >> 32;
		regs.cx = rubbish | (u32)in;
		regs.di = rubbish | out >> 32;
		regs.si = rubbish | (u32)out;
		regs.r8 = rubbish | 0x5a5a5a5a;
	}
	memset(hc, 0xff, sizeof(*hc));
	khv_hcall_decode(hc, &regs);
}

static u16 check(const struct khv_hc_row *row, bool lm, u64 control, u64 in)
{
	struct khv_hcall hc;

	make(&hc, lm, control, in, 0);
	return khv_hcall_check(&hc, row);
}

/* A row whose form is somebody else's to check: every word without reserved bits passes. */
static bool any_form(struct kunit *test, const struct khv_hc_row *row)
{
	/* clang-format off */
	static const u64 words[] = { 0, FAST, REPS(1), START(1), REPS(2) | START(3), VARHDR(1),
				     FAST | VARHDR(0x3ff) | REPS(0xfff) };
	/* clang-format on */
	int lm;
	unsigned int i;

	if (!(row->flags & KHV_ANY_FORM))
		return false;
	for (lm = 0; lm <= 1; lm++) {
		for (i = 0; i < ARRAY_SIZE(words); i++)
			KUNIT_EXPECT_EQ_MSG(test, check(row, lm, row->code | words[i], 0x1ff9),
					    ST_SUCCESS, "word %u", i);
	}
	return true;
}

/* The simplest well-formed control word of a row. */
static u64 good(const struct khv_hc_row *row)
{
	return row->code | (row->flags & KHV_REP ? REPS(1) : 0);
}

/* Does the fast form of so many reps, with so many units of variable header, fit the registers? */
static bool fits_fast(const struct khv_hc_row *row, bool lm, u32 reps, u32 units)
{
	u32 len = row->hdr + 8 * units + reps * row->rep, out = row->out + reps * row->rep_out;

	if (!(row->flags & KHV_FAST) || (out && !lm))
		return false;
	/* Output begins behind the register pairs that the input takes. */
	if (out)
		len = (len + 15) / 16 * 16 + out;
	return len <= (row->flags & KHV_XMM ? 112 : 16);
}

static void decode_registers(struct kunit *test)
{
	const u64 control = 0x0123456789abcdefULL, in = 0x1122334455667788ULL,
		  out = 0x99aabbccddeeff00ULL;
	struct khv_hcall hc;
	int lm;

	for (lm = 0; lm <= 1; lm++) {
		make(&hc, lm, control, in, out);
		KUNIT_EXPECT_EQ(test, hc.longmode, (bool)lm);
		KUNIT_EXPECT_EQ(test, hc.control, control);
		KUNIT_EXPECT_EQ(test, hc.in, in);
		KUNIT_EXPECT_EQ(test, hc.out, out);
	}
}

/* One bit at a time: it lands in the field that the TLFS says, and in no other. */
static void decode_fields(struct kunit *test)
{
	struct khv_hcall hc;
	int lm, bit;

	for (lm = 0; lm <= 1; lm++) {
		for (bit = 0; bit < 64; bit++) {
			u16 code = 0, varhdr = 0, count = 0, start = 0;
			bool fast = false;

			if (bit <= 15)
				code = 1U << bit;
			else if (bit == 16)
				fast = true;
			else if (bit <= 26)
				varhdr = 1U << (bit - 17);
			else if (bit >= 32 && bit <= 43)
				count = 1U << (bit - 32);
			else if (bit >= 48 && bit <= 59)
				start = 1U << (bit - 48);

			make(&hc, lm, 1ULL << bit, 0, 0);
			KUNIT_EXPECT_EQ_MSG(test, hc.code, code, "bit %d", bit);
			KUNIT_EXPECT_EQ_MSG(test, hc.fast, fast, "bit %d", bit);
			KUNIT_EXPECT_EQ_MSG(test, hc.varhdr, varhdr, "bit %d", bit);
			KUNIT_EXPECT_EQ_MSG(test, hc.rep_count, count, "bit %d", bit);
			KUNIT_EXPECT_EQ_MSG(test, hc.rep_start, start, "bit %d", bit);
			/* Nothing is done until the form was checked. */
			KUNIT_EXPECT_EQ_MSG(test, hc.reps_done, 0, "bit %d", bit);
		}
	}
}

static void result_value(struct kunit *test)
{
	struct khv_hcall hc;

	make(&hc, true, 0x14 | REPS(0xfff) | START(5), 0, 0);
	KUNIT_EXPECT_EQ(test, khv_hcall_result(&hc, 3), 3);
	hc.reps_done = hc.rep_start;
	KUNIT_EXPECT_EQ(test, khv_hcall_result(&hc, 0), 5ULL << 32);
	hc.reps_done = 0xfff;
	KUNIT_EXPECT_EQ(test, khv_hcall_result(&hc, 0), 0xfffULL << 32);
	KUNIT_EXPECT_EQ(test, khv_hcall_result(&hc, 0x13), 0xfffULL << 32 | 0x13);
	make(&hc, false, 0x08, 0, 0);
	KUNIT_EXPECT_EQ(test, khv_hcall_result(&hc, 0xffff), 0xffffULL);
}

static void unknown_code(struct kunit *test)
{
	int lm, bit;

	for (lm = 0; lm <= 1; lm++) {
		KUNIT_EXPECT_EQ(test, check(NULL, lm, 0x7777, 0), ST_CODE);
		KUNIT_EXPECT_EQ(test, check(NULL, lm, 0x7777 | FAST, 0), ST_CODE);
		KUNIT_EXPECT_EQ(test, check(NULL, lm, 0x7777 | REPS(3) | START(9), 1), ST_CODE);
		/* A malformed word is seen before the code is looked up. */
		for (bit = 27; bit <= 31; bit++)
			KUNIT_EXPECT_EQ_MSG(test, check(NULL, lm, 0x7777 | 1ULL << bit, 0),
					    ST_INPUT, "bit %d", bit);
	}
}

static void row_well_formed(struct kunit *test)
{
	const struct khv_hc_row *row = test->param_value;
	int lm;

	if (any_form(test, row))
		return;
	for (lm = 0; lm <= 1; lm++) {
		bool fits = fits_fast(row, lm, row->rep ? 1 : 0, 0);

		KUNIT_EXPECT_EQ(test, check(row, lm, good(row), 0x1000), ST_SUCCESS);
		KUNIT_EXPECT_EQ_MSG(test, check(row, lm, good(row) | FAST, 0x1000),
				    fits ? ST_SUCCESS : ST_INPUT, "fast form");
		/* The first register of a fast call is data: no value of it is misaligned. */
		if (fits)
			KUNIT_EXPECT_EQ(test, check(row, lm, good(row) | FAST, 0x1fff), ST_SUCCESS);
	}
}

static void row_reserved_bits(struct kunit *test)
{
	static const u8 reserved[] = { 27, 28, 29, 30, 31, 44, 45, 46, 47, 60, 61, 62, 63 };
	const struct khv_hc_row *row = test->param_value;
	int lm, fast;
	unsigned int i;

	for (lm = 0; lm <= 1; lm++) {
		for (fast = 0; fast <= 1; fast++) {
			for (i = 0; i < ARRAY_SIZE(reserved); i++) {
				u64 control = good(row) | (fast ? FAST : 0) | 1ULL << reserved[i];

				KUNIT_EXPECT_EQ_MSG(test, check(row, lm, control, 0x1000), ST_INPUT,
						    "bit %u, %s, %d bit", reserved[i],
						    fast ? "fast" : "slow", lm ? 64 : 32);
			}
		}
	}
}

#define at(control) check(row, lm, control, 0x1000)

static void row_reps(struct kunit *test)
{
	const struct khv_hc_row *row = test->param_value;
	int lm, fast;

	if (any_form(test, row))
		return;
	for (lm = 0; lm <= 1; lm++) {
		for (fast = 0; fast <= 1; fast++) {
			u64 base = row->code | (fast ? FAST : 0);
			u32 max = row->rep ? (4096 - row->hdr) / row->rep : 0;

			if (row->rep_out && max > 4096 / row->rep_out)
				max = 4096 / row->rep_out;

			if (!(row->flags & KHV_REP)) {
				KUNIT_EXPECT_EQ(test, at(base | REPS(1)), ST_INPUT);
				KUNIT_EXPECT_EQ(test, at(base | START(1)), ST_INPUT);
				KUNIT_EXPECT_EQ(test, at(base | REPS(0x800)), ST_INPUT);
				KUNIT_EXPECT_EQ(test, at(base | REPS(2) | START(1)), ST_INPUT);
				continue;
			}
			KUNIT_EXPECT_EQ(test, at(base), ST_INPUT);
			KUNIT_EXPECT_EQ(test, at(base | START(1)), ST_INPUT);
			KUNIT_EXPECT_EQ(test, at(base | REPS(2) | START(2)), ST_INPUT);
			KUNIT_EXPECT_EQ(test, at(base | REPS(2) | START(3)), ST_INPUT);
			KUNIT_EXPECT_EQ(test, at(base | REPS(1) | START(0xfff)), ST_INPUT);
			/* A call that goes on from the middle is well formed (K3). */
			KUNIT_EXPECT_EQ(test, at(base | REPS(2) | START(1)),
					!fast || fits_fast(row, lm, 2, 0) ? ST_SUCCESS : ST_INPUT);
			if (fast)
				continue;
			KUNIT_EXPECT_EQ(test, at(base | REPS(max) | START(max - 1)), ST_SUCCESS);
			KUNIT_EXPECT_EQ(test, at(base | REPS(max + 1)), ST_ALIGNMENT);
			KUNIT_EXPECT_EQ(test, at(base | REPS(0xfff)), ST_ALIGNMENT);
		}
	}
}

static void row_variable_header(struct kunit *test)
{
	const struct khv_hc_row *row = test->param_value;
	int lm, fast;
	u32 n;

	if (any_form(test, row))
		return;
	for (lm = 0; lm <= 1; lm++) {
		for (fast = 0; fast <= 1; fast++) {
			u64 base = good(row) | (fast ? FAST : 0);

			for (n = 1; n <= 0x3ff; n++) {
				bool fits = fits_fast(row, lm, row->rep ? 1 : 0, n);
				u16 want;

				/* A VP set has 64 banks; its mask of them may count, too. */
				if (!(row->flags & KHV_VARHDR) || n > (row->code == 0x7e ? 65 : 64))
					want = ST_INPUT;
				else if (fast)
					want = fits ? ST_SUCCESS : ST_INPUT;
				else
					want = ST_SUCCESS;
				KUNIT_ASSERT_EQ_MSG(test, at(base | VARHDR(n)), want,
						    "%u units, %s", n, fast ? "fast" : "slow");
			}
		}
	}
}

/* Reps that do not fit the registers; with XMM there are 112 bytes, without 16. */
static void row_fast_room(struct kunit *test)
{
	const struct khv_hc_row *row = test->param_value;
	int lm;
	u32 n;

	if (!(row->flags & KHV_REP) || !(row->flags & KHV_FAST)) {
		/* Nothing grows: the fixed part fits or the row has no fast form. */
		KUNIT_EXPECT_TRUE(test, !(row->flags & KHV_FAST) || fits_fast(row, true, 0, 0));
		return;
	}
	for (lm = 0; lm <= 1; lm++) {
		for (n = 1; n <= 0xfff; n++) {
			u16 want = fits_fast(row, lm, n, 0) ? ST_SUCCESS : ST_INPUT;

			KUNIT_ASSERT_EQ_MSG(test, at(row->code | FAST | REPS(n)), want, "%u reps",
					    n);
		}
	}
}

static void row_alignment(struct kunit *test)
{
	const struct khv_hc_row *row = test->param_value;
	u32 len = row->hdr + row->rep, off;
	int lm;

	if (any_form(test, row))
		return;
	for (lm = 0; lm <= 1; lm++) {
		for (off = 0; off < 4096; off++) {
			u16 want = ST_SUCCESS;

			/* A call without input has no address to be wrong. */
			if (len && (off % 8 || off + len > 4096))
				want = ST_ALIGNMENT;
			KUNIT_ASSERT_EQ_MSG(test, check(row, lm, good(row), 0x123456000ULL + off),
					    want, "offset 0x%x", off);
		}
	}
}

/* The length is what the gathering reads: exact, and without overflow at the largest word. */
static void row_input_len(struct kunit *test)
{
	const struct khv_hc_row *row = test->param_value;
	struct khv_hcall hc;

	make(&hc, true, row->code | VARHDR(3) | REPS(2), 0, 0);
	KUNIT_EXPECT_EQ(test, khv_hcall_input_len(&hc, row), row->hdr + 24 + 2 * row->rep);
	make(&hc, true, row->code | VARHDR(0x3ff) | REPS(0xfff), 0, 0);
	KUNIT_EXPECT_EQ(test, khv_hcall_input_len(&hc, row), row->hdr + 8184 + 4095 * row->rep);
}

/* Of each element: room for the whole list, wherever the call starts in it. */
static void output_of_elements(struct kunit *test)
{
	const struct khv_hc_row *row = &khv_hcs[KHV_HC_ROW_GET_VP_REGISTERS];
	u32 n;

	/* 16 bytes and 4 of input for each, and 16 of output behind the next 16. */
	for (n = 1; n <= 4; n++)
		KUNIT_EXPECT_EQ(test, check(row, true, FAST | REPS(n), 1), ST_SUCCESS);
	KUNIT_EXPECT_EQ(test, check(row, true, FAST | REPS(5), 1), ST_INPUT);
	KUNIT_EXPECT_EQ(test, check(row, true, FAST | REPS(5) | START(4), 1), ST_INPUT);
	KUNIT_EXPECT_EQ(test, check(row, false, FAST | REPS(1), 1), ST_INPUT);
	row = &khv_hcs[KHV_HC_ROW_GET_VP_INDEX_FROM_APIC_ID];
	KUNIT_EXPECT_EQ(test, check(row, true, FAST | REPS(12), 1), ST_SUCCESS);
	KUNIT_EXPECT_EQ(test, check(row, true, FAST | REPS(13), 1), ST_INPUT);
	row = &khv_hcs[KHV_HC_ROW_GET_VP_CPUID_VALUES];
	KUNIT_EXPECT_EQ(test, check(row, true, FAST | REPS(3), 1), ST_SUCCESS);
	KUNIT_EXPECT_EQ(test, check(row, true, FAST | REPS(4), 1), ST_INPUT);
}

static void output_of_elements_in_memory(struct kunit *test)
{
	const struct khv_hc_row *row = &khv_hcs[KHV_HC_ROW_GET_VP_REGISTERS];
	static const struct {
		u64 control, in, out;
		u16 status;
	} calls[] = {
		{ REPS(256), 0x1000, 0x3000, ST_SUCCESS },
		{ REPS(257), 0x1000, 0x3000, ST_ALIGNMENT },
		{ REPS(2), 0x1000, 0x3fe0, ST_SUCCESS },
		{ REPS(2), 0x1000, 0x3fe8, ST_ALIGNMENT },
		{ REPS(2) | START(1), 0x1000, 0x3fe8, ST_ALIGNMENT },
		{ REPS(1), 0x1000, 0x3004, ST_ALIGNMENT },
		{ REPS(2), 0x1000, 0x1018, ST_SUCCESS },
		{ REPS(3), 0x1000, 0x1018, ST_INPUT },
		{ REPS(2), 0x1020, 0x1000, ST_SUCCESS },
		{ REPS(3), 0x1020, 0x1000, ST_INPUT },
		{ REPS(3) | START(2), 0x1020, 0x1000, ST_INPUT },
	};
	struct khv_hcall hc;
	unsigned int i;
	int lm;

	for (i = 0; i < ARRAY_SIZE(calls); i++) {
		for (lm = 0; lm <= 1; lm++) {
			make(&hc, lm, calls[i].control, calls[i].in, calls[i].out);
			KUNIT_EXPECT_EQ_MSG(test, khv_hcall_check(&hc, row), calls[i].status,
					    "call %u", i);
		}
	}
}

/* Output of the call as a whole: no row has it yet. */
static void output(struct kunit *test)
{
	const struct khv_hc_row row = { .hdr = 8, .out = 16, .flags = KHV_FAST | KHV_XMM };
	const struct khv_hc_row full = { .hdr = 0, .out = 112, .flags = KHV_FAST | KHV_XMM };
	const struct khv_hc_row too_much = { .hdr = 8, .out = 112, .flags = KHV_FAST | KHV_XMM };
	const struct khv_hc_row regs = { .hdr = 0, .out = 16, .flags = KHV_FAST };
	const struct khv_hc_row no_room = { .hdr = 8, .out = 8, .flags = KHV_FAST };
	struct khv_hcall hc;

	KUNIT_EXPECT_EQ(test, khv_fast_output_at(0), 0);
	KUNIT_EXPECT_EQ(test, khv_fast_output_at(1), 16);
	KUNIT_EXPECT_EQ(test, khv_fast_output_at(16), 16);
	KUNIT_EXPECT_EQ(test, khv_fast_output_at(17), 32);

	KUNIT_EXPECT_EQ(test, check(&row, true, FAST, 1), ST_SUCCESS);
	KUNIT_EXPECT_EQ(test, check(&row, false, FAST, 1), ST_INPUT);
	KUNIT_EXPECT_EQ(test, check(&full, true, FAST, 1), ST_SUCCESS);
	KUNIT_EXPECT_EQ(test, check(&too_much, true, FAST, 1), ST_INPUT);
	KUNIT_EXPECT_EQ(test, check(&regs, true, FAST, 1), ST_SUCCESS);
	KUNIT_EXPECT_EQ(test, check(&no_room, true, FAST, 1), ST_INPUT);

	/* In memory: both blocks aligned, each within a page, and apart. */
	make(&hc, true, 0, 0x1000, 0x2000);
	KUNIT_EXPECT_EQ(test, khv_hcall_check(&hc, &row), ST_SUCCESS);
	make(&hc, true, 0, 0x1000, 0x2004);
	KUNIT_EXPECT_EQ(test, khv_hcall_check(&hc, &row), ST_ALIGNMENT);
	make(&hc, true, 0, 0x1000, 0x2ff8);
	KUNIT_EXPECT_EQ(test, khv_hcall_check(&hc, &row), ST_ALIGNMENT);
	make(&hc, true, 0, 0x1000, 0x1008);
	KUNIT_EXPECT_EQ(test, khv_hcall_check(&hc, &row), ST_SUCCESS);
	make(&hc, true, 0, 0x1008, 0x1000);
	KUNIT_EXPECT_EQ(test, khv_hcall_check(&hc, &row), ST_INPUT);
	make(&hc, true, 0, 0x1000, 0x1000);
	KUNIT_EXPECT_EQ(test, khv_hcall_check(&hc, &row), ST_INPUT);
}

static struct kunit_case decode_cases[] = {
	KUNIT_CASE(decode_registers),
	KUNIT_CASE(decode_fields),
	KUNIT_CASE(output),
	KUNIT_CASE(output_of_elements),
	KUNIT_CASE(output_of_elements_in_memory),
	KUNIT_CASE(result_value),
	KUNIT_CASE(unknown_code),
	KUNIT_CASE_PARAM(row_well_formed, hc_gen_params),
	KUNIT_CASE_PARAM(row_reserved_bits, hc_gen_params),
	KUNIT_CASE_PARAM(row_reps, hc_gen_params),
	KUNIT_CASE_PARAM(row_variable_header, hc_gen_params),
	KUNIT_CASE_PARAM(row_fast_room, hc_gen_params),
	KUNIT_CASE_PARAM(row_alignment, hc_gen_params),
	KUNIT_CASE_PARAM(row_input_len, hc_gen_params),
	{},
};

static struct kunit_suite decode_suite = {
	.name = "khv_decode",
	.test_cases = decode_cases,
};

kunit_test_suites(&decode_suite);
