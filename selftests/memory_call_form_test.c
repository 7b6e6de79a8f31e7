// SPDX-License-Identifier: GPL-2.0-only
/*
 * Hypercalls with their input in memory: malformed ones, which answer the same whether the input
 * is there or not, calls of 32-bit code, and sets of more than 64 VPs.
 */
#include <errno.h>
#include <string.h>
#include <sys/ioctl.h>

#include "memory_call.h"

/* --- malformed calls, whether their input is there or not ----------------- */

#define VTL(n)	   ((u64)(n) << 32)
#define PADDING(n) ((u64)(n) << 40)

/* clang-format off */
static const struct call malformed[] = {
	/* Whom */
	{ "no such bank", IPI_EX | VARHDR(1), 4, { VECTOR, SPARSE, BIT64(63), ~0ULL }, SAME(OK),
	  0, 0 },
	{ "no such banks", IPI_EX | VARHDR(3), 6, { VECTOR, SPARSE, BIT64(0) | BIT64(17) |
	  BIT64(63), 4, ~0ULL, ~0ULL }, SAME(OK), 4, 0 },
	{ "no such bank to flush", SPACE_EX | VARHDR(1), 5, { 0, 0, SPARSE, BIT64(63), ~0ULL },
	  SAME(OK), 0, 0 },
	{ "VPs that do not exist", IPI, 2, { VECTOR, ~TARGETS & ~1ULL }, SAME(OK), 0, 0 },
	{ "too few banks", IPI_EX, 3, { VECTOR, SPARSE, 1 }, SAME(INVALID), 0, 0 },
	{ "too many banks", IPI_EX | VARHDR(2), 5, { VECTOR, SPARSE, 1, 0xf, 0xf }, SAME(INVALID),
	  0, 0 },
	{ "all, too few banks", IPI_EX, 3, { VECTOR, ALL, 1 }, SAME(INVALID), 0, 0 },
	{ "all, too many banks", IPI_EX | VARHDR(1), 4, { VECTOR, ALL, 0, 0xf }, SAME(INVALID), 0,
	  0 },
	{ "banks of a page", IPI_EX | VARHDR(0x1ff), 4, { VECTOR, SPARSE, 1, 1 }, SAME(INVALID),
	  0, 0 },
	{ "most banks", IPI_EX | VARHDR(0x3ff), 4, { VECTOR, SPARSE, 1, 1 }, SAME(INVALID), 0, 0 },
	{ "most banks to flush", SPACE_EX | VARHDR(0x3ff), 5, { 0, 0, SPARSE, 1, 1 },
	  SAME(INVALID), 0, 0 },
	{ "most banks of a list", LIST_EX | VARHDR(0x3ff) | REP(1), 6, { 0, 0, SPARSE, 1, 1,
	  0x1000 }, SAME(INVALID), 0, 0 },
	{ "format 2", IPI_EX | VARHDR(1), 4, { VECTOR, 2, 1, 0xe }, DIFF("K15", PARAM, OK), 0xe,
	  0 },
	{ "format 2 to flush", SPACE_EX, 4, { 0, 0, 2, 0 }, DIFF("K15", PARAM, OK), 0, 0 },
	/* A variable header, for a call that has none. */
	{ "header of an IPI", IPI | VARHDR(1), 2, { VECTOR, 1 }, SAME(INVALID), 0, 0 },
	{ "header of a flush", SPACE | VARHDR(1), 3, { 0, 0, 1 }, SAME(INVALID), 0, 0 },
	{ "header of a list", LIST | VARHDR(1) | REP(1), 4, { 0, 0, 1, 0x1000 }, SAME(INVALID), 0,
	  0 },
	{ "header of a signal", SIGNAL | VARHDR(1), 1, { CONN }, SAME(INVALID), 0, 0 },
	/* Repetitions */
	{ "count of an IPI", IPI | REP(1), 2, { VECTOR, 1 }, SAME(INVALID), 0, 0 },
	{ "start of an IPI", IPI | START(1), 2, { VECTOR, 1 }, SAME(INVALID), 0, 0 },
	{ "count of an IPI_EX", IPI_EX | REP(1), 3, { VECTOR, ALL, 0 }, SAME(INVALID), 0, 0 },
	{ "count of a flush", SPACE | REP(2), 3, { 0, 0, 1 }, SAME(INVALID), 0, 0 },
	{ "count of a signal", SIGNAL | REP(1), 1, { CONN }, SAME(INVALID), 0, 0 },
	{ "start of a signal", SIGNAL | START(1), 1, { CONN }, SAME(INVALID), 0, 0 },
	{ "no count", LIST, 4, { 0, 0, 1, 0x1000 }, SAME(INVALID), 0, 0 },
	{ "no count, Ex", LIST_EX | VARHDR(1), 6, { 0, 0, SPARSE, 1, 1, 0x1000 }, SAME(INVALID),
	  0, 0 },
	{ "start at the end", LIST | REP(2) | START(2), 5, { 0, 0, 1, 0x1000, 0x2000 },
	  SAME(INVALID), 0, 0 },
	{ "start behind the end", LIST | REP(2) | START(0xfff), 5, { 0, 0, 1, 0x1000, 0x2000 },
	  SAME(INVALID), 0, 0 },
	{ "start inside", LIST | REP(2) | START(1), 5, { 0, 0, 1, 0x1000, 0x2000 }, DIFF("K3",
	  REPS(2), INVALID), 0, 0 },
	{ "start inside, Ex", LIST_EX | VARHDR(1) | REP(2) | START(1), 7, { 0, 0, SPARSE, 1, 1,
	  0x1000, 0x2000 }, DIFF("K3", REPS(2), INVALID), 0, 0 },
	{ "longer than the page", LIST | REP(510), 3, { 0, 0, 1 }, DIFF("K3", ALIGN, REPS(510)),
	  0, 0 },
	/* Reserved fields */
	{ "flag 4", SPACE, 3, { 0, BIT64(4), 1 }, DIFF("K3", PARAM, OK), 0, 0 },
	{ "flag 63 of a list", LIST | REP(1), 4, { 0, BIT64(63), 1, 0x1000 }, DIFF("K3", PARAM,
	  REPS(1)), 0, 0 },
	{ "TargetVtl", IPI, 2, { VECTOR | VTL(1), TARGETS }, DIFF("K14", INVALID, OK), TARGETS, 0 },
	{ "padding", IPI, 2, { VECTOR | PADDING(1), TARGETS }, DIFF("K14", INVALID, OK), TARGETS,
	  0 },
	{ "last padding", IPI, 2, { VECTOR | BIT64(63), TARGETS }, DIFF("K14", INVALID, OK),
	  TARGETS, 0 },
	{ "TargetVtl, Ex", IPI_EX | VARHDR(1), 4, { VECTOR | VTL(1), SPARSE, 1, 0xf }, DIFF("K14",
	  INVALID, OK), 0xf, 0 },
	{ "vector 0", IPI, 2, { 0, TARGETS }, SAME(INVALID), 0, 0 },
	{ "vector 15", IPI, 2, { 15, TARGETS }, DIFF("K14", PARAM, INVALID), 0, 0 },
	{ "vector 256", IPI, 2, { 256, TARGETS }, DIFF("K14", PARAM, INVALID), 0, 0 },
	{ "vector 256, Ex", IPI_EX, 3, { 256, ALL, 0 }, DIFF("K14", PARAM, INVALID), 0, 0 },
	{ "connection above 24 bits", SIGNAL, 1, { CONN | BIT64(24) }, SAME(INVALID), 0, 0 },
	{ "flags above 16 bits", SIGNAL, 1, { CONN | BIT64(48) }, SAME(INVALID), 0, 0 },
	{ "last bit", SIGNAL, 1, { CONN | BIT64(63) }, SAME(INVALID), 0, 0 },
};
/* clang-format on */

static void check_malformed(const char *id)
{
	struct one o = one_vm(NR_VPS, 0);
	u32 i, where;

	for (i = 0; i < ARRAY_SIZE(malformed); i++)
		for (where = 0; where < WHERES && in_group(&malformed[i], id); where++)
			check_call(&o, &malformed[i], 0, where);
	verdict(&o);
}

TEST(malformed_calls)
{
	check_malformed(NULL);
}

TEST_KNOWN(malformed_calls_k3, "K3")
{
	check_malformed("K3");
}

TEST_KNOWN(malformed_calls_k14, "K14")
{
	check_malformed("K14");
}

TEST_KNOWN(malformed_calls_k15, "K15")
{
	check_malformed("K15");
}

/* Bits 27 to 31, 44 to 47 and 60 to 63, whatever the call. */
TEST(reserved_bits_of_the_control_word)
{
	static const u32 bits[] = { 27, 28, 29, 30, 31, 44, 45, 46, 47, 60, 61, 62, 63 };
	struct one o = one_vm(NR_VPS, 0);
	u32 i, j;

	for (i = 0; i < ARRAY_SIZE(good_calls); i++) {
		for (j = 0; j < ARRAY_SIZE(bits); j++) {
			struct call c = good_calls[i];

			c.control |= BIT64(bits[j]);
			c.right = INVALID;
			c.stock = INVALID;
			check_call(&o, &c, 0, j % WHERES);
		}
	}
	verdict(&o);
}

/* The input is read: a dirty log that shows it would cost migration a page each time. */
TEST(input_is_not_dirtied)
{
	u64 bits[1];
	struct kvm_dirty_log log = { .dirty_bitmap = bits };
	struct one o = one_vm(NR_VPS, KVM_MEM_LOG_DIRTY_PAGES);
	u32 i, where;

	for (i = 0; i < ARRAY_SIZE(good_calls); i++)
		for (where = 0; where < WHERES; where++)
			check_call(&o, &good_calls[i], 0, where);
	log.slot = o.vm->nr_slots - 1;
	bits[0] = ~0ULL;
	ASSERT(!ioctl(o.vm->fd, KVM_GET_DIRTY_LOG, &log), "KVM_GET_DIRTY_LOG: %s", strerror(errno));
	ASSERT_EQ(bits[0], 0);
	verdict(&o);
}

/* --- 32-bit code --------------------------------------------------------------- */

GUEST_CODE(has_run)
{
}

static struct regs32 call32(struct vcpu *v, struct regs32 *block, u64 control, u64 at)
{
	void (*code)(void) = guest_use_vmmcall ? guest_mode32_vmmcall : guest_mode32_vmcall;

	*block = (struct regs32){ .eax = (u32)control,
				  .edx = (u32)(control >> 32),
				  .ebx = (u32)(at >> 32),
				  .ecx = (u32)at };
	vcpu_enter_compatibility_mode(v, (u64)(uintptr_t)code, (u64)(uintptr_t)block);
	vcpu_run_done(v);
	return *block;
}

TEST(compatibility_mode)
{
	struct one o = one_vm(NR_VPS, 0);
	struct regs32 *block = vm_alloc(o.vm, sizeof(*block)), r;
	u32 i, where, slow = 0;

	vcpu_entry(o.vcpu, has_run);
	vcpu_run_done(o.vcpu);
	for (i = 0; i < ARRAY_SIZE(good_calls); i++) {
		const struct call *c = &good_calls[i];

		for (where = 0; where < WHERES; where++) {
			u64 fast = fast_calls(c);

			write_input(&o, c, 0);
			if (where == PRESENT)
				touch(&o);
			else
				drop(&o);
			r = call32(o.vcpu, block, c->control, INPUT);
			judge_status(&o, c, (u64)r.edx << 32 | r.eax, where_names[where]);
			expect_effect(&o, c, where_names[where]);
			slow += where == PRESENT && module_loaded() && fast_calls(c) == fast;
		}
	}
	/* The upper half of the input GPA counts. */
	r = call32(o.vcpu, block, IPI, INPUT | BIT64(32));
	ASSERT_EQ(r.eax, INVALID);
	ASSERT(slow < o.nr / 4, "%u of %u calls were slow", slow, o.nr / 2);
	verdict(&o);
}

/* --- more than 64 VPs ----------------------------------------------------- */

#define MANY_VPS 130

/* As many vCPUs as the mask of bits says, in 64-bit words; all by number. */
static void expect_set(struct one *o, const u64 set[3], u32 vector, const char *name)
{
	u32 i, n, yes;
	bool is;

	for (i = 0; i < o->nr_vps; i++) {
		yes = set[i / 64] >> i % 64 & 1;
		n = pending(o->vm->vcpus[i], vector, &is);
		ASSERT(n == yes && is == yes, "%s: vCPU %u has %u interrupts", name, i, n);
		if (n)
			vcpu_ioctl(o->vm->vcpus[i], KVM_SET_LAPIC, &o->clean[i]);
	}
}

static const struct many {
	const char *name;
	u64 format, banks, content[3];
	u64 set[3]; /* who gets it */
} many[] = {
	{ "bank 0", SPARSE, 1, { 0x8000000000000005ULL }, { 0x8000000000000005ULL } },
	{ "bank 1", SPARSE, 2, { 0x5a5a }, { 0, 0x5a5a } },
	{ "bank 2", SPARSE, 4, { 3 }, { 0, 0, 3 } },
	{ "bank 2 beyond the last VP", SPARSE, 4, { ~1ULL }, { 0, 0, 2 } },
	{ "banks 0 and 1", SPARSE, 3, { 2, BIT64(63) }, { 2, BIT64(63) } },
	{ "banks 0 and 2", SPARSE, 5, { 4, 1 }, { 4, 0, 1 } },
	{ "three banks", SPARSE, 7, { ~0ULL, 0x10, 2 }, { ~0ULL, 0x10, 2 } },
	{ "three full banks", SPARSE, 7, { ~0ULL, ~0ULL, ~0ULL }, { ~0ULL, ~0ULL, 3 } },
	{ "an empty bank", SPARSE, 7, { 1, 0, 1 }, { 1, 0, 1 } },
	{ "banks 1 and 63", SPARSE, 2 | BIT64(63), { 6, ~0ULL }, { 0, 6 } },
	{ "all", ALL, 0, { 0 }, { ~0ULL, ~0ULL, 3 } },
};

static struct call many_call(const struct many *m, bool ipi)
{
	struct call c = { .name = m->name, .control = ipi ? IPI_EX : SPACE_EX };
	u32 n = 0, i, banks = (u32)__builtin_popcountll(m->banks);

	if (ipi) {
		c.block[n++] = VECTOR;
	} else {
		c.block[n++] = 0;
		c.block[n++] = 0;
	}
	c.block[n++] = m->format;
	c.block[n++] = m->banks;
	for (i = 0; i < banks; i++)
		c.block[n++] = m->content[i];
	c.control |= VARHDR(banks);
	c.qwords = n;
	return c;
}

TEST(more_than_64_vps)
{
	struct one o = one_vm(MANY_VPS, 0);
	u32 i, where;

	ktap_timeout(60);
	for (i = 0; i < ARRAY_SIZE(many); i++) {
		for (where = 0; where < WHERES; where++) {
			struct call c = many_call(&many[i], true);

			write_input(&o, &c, 0);
			if (where == PRESENT)
				touch(&o);
			else
				drop(&o);
			ASSERT_EQ(call_at(&o, c.control, INPUT), OK);
			expect_set(&o, many[i].set, VECTOR, many[i].name);
			c = many_call(&many[i], false);
			write_input(&o, &c, 0);
			ASSERT_EQ(call_at(&o, c.control, INPUT), OK);
		}
	}
	one_free(&o);
}

/* The whole page: all 64 banks, of which three have VPs; too many to walk with interrupts off. */
TEST(sixty_four_banks)
{
	static const u64 set[] = { 0x10, 0x20, 1 };
	struct call c = { .control = IPI_EX };
	struct one o = one_vm(MANY_VPS, 0);
	u64 *block = (u64 *)o.in.view;
	u64 fast = fast_calls(&c);
	u32 i, where;

	for (where = 0; where < WHERES; where++) {
		block[0] = VECTOR;
		block[1] = SPARSE;
		block[2] = ~0ULL;
		for (i = 0; i < 64; i++)
			block[3 + i] = i < 3 ? set[i] : ~0ULL;
		if (where == PRESENT)
			touch(&o);
		else
			drop(&o);
		ASSERT_EQ(call_at(&o, IPI_EX | VARHDR(64), INPUT), OK);
		expect_set(&o, set, VECTOR, where_names[where]);
	}
	ASSERT_EQ(fast_calls(&c), fast);
	one_free(&o);
}

/* Windows and Linux send these for each IPI and each flush once there are more than 64 VPs. */
TEST(more_than_64_vps_at_once)
{
	struct one o = one_vm(MANY_VPS, 0);
	u32 i, j, ipi, slow = 0;
	u64 fast;

	for (i = 0; i < ARRAY_SIZE(many); i++) {
		for (ipi = 0; ipi < 2; ipi++) {
			struct call c = many_call(&many[i], ipi);

			write_input(&o, &c, 0);
			touch(&o);
			fast = fast_calls(&c);
			for (j = 0; j < TRIES; j++)
				ASSERT_EQ(call_at(&o, c.control, INPUT), OK);
			if (ipi)
				expect_set(&o, many[i].set, VECTOR, many[i].name);
			fast = fast_calls(&c) - fast;
			if (!module_loaded() || fast >= TRIES / 2)
				continue;
			ktap_log("%s, %s: %llu of %u fast", many[i].name, ipi ? "IPI" : "flush",
				 (unsigned long long)fast, TRIES);
			slow++;
		}
	}
	ASSERT_EQ(slow, 0);
	one_free(&o);
}
