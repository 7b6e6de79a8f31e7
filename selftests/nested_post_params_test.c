// SPDX-License-Identifier: GPL-2.0-only
/*
 * The module parameters nested_posts_direct=, by which direct flush permits an L2 to post to L0,
 * and nested_posts_plain=, by which L1 sees no mark (bit 31) in a call that L0 leaves to it; and
 * hints_eax=0x1000, which tells L1 that its hypervisor is a guest itself. Inserts and removes the
 * module by itself. What L1 permits without any of them: nested_post_test.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "module.h"
#include "nested_post.h"
#include "tracefs.h"

#define PARAMETERS "/sys/module/kvm_hyperv/parameters/"

#define DIRECT_PARAM "nested_posts_direct=1"
#define PLAIN_PARAM  "nested_posts_plain=1"
#define HINT_PARAM   "hints_eax=0x1000"
#define HINT_NESTED  CPUBIT(HV_LEAF_HINTS, EAX, 12)

/* On VMX only an enlightened VMCS has direct flush. */
#define NOT_DIRECT (NESTED_EVMCS | NESTED_PAGING)
#define DIRECT	   (NOT_DIRECT | NESTED_DIRECT)

static void load(const char *params)
{
	module_start_clean();
	if (!host_has_nested())
		ktap_skip("no nested virtualization here");
	module_load_with(params);
}

static void end(struct world *w)
{
	post_world_free(w);
	module_unload();
}

/* --- nested_posts_direct=1 ------------------------------------------------ */

/* No flush call has told before that this L2 has direct flush. */
TEST(direct_flush_permits_the_first_call)
{
	struct world w;

	load(DIRECT_PARAM);
	w = post_world_start(DIRECT, 0);
	handed(&w, L2_POST, NESTED_WINDOW, gpa(w.hidden), ANSWER);
	all_answered(&w, "after a post");
	post_world_free(&w);

	w = post_world_start(DIRECT, 0);
	answered(&w, L2_SIGNAL_FAST, CONN, HV_STATUS_SUCCESS, "first call");
	ASSERT_EQ(eventfd_count(w.fd), 1);
	all_answered(&w, "after a fast signal");
	post_world_free(&w);

	w = post_world_start(DIRECT, 0);
	answered(&w, L2_SIGNAL_SLOW, NESTED_WINDOW, HV_STATUS_SUCCESS, "first call");
	ASSERT_EQ(eventfd_count(w.fd), 1);
	all_answered(&w, "after a slow signal");
	end(&w);
}

TEST(direct_flush_permits_only_marked_posts)
{
	struct world w;

	load(DIRECT_PARAM);
	w = post_world_start(DIRECT, 0);
	all_reflected(&w, 0, "bit 31 clear");
	reflected(&w, HVCALL_NOTIFY_LONG_SPIN_WAIT | HV_CTL_FAST | HV_CTL_NESTED, 1,
		  "another call");
	reflected(&w, HVCALL_SIGNAL_EVENT | 0x100 | HV_CTL_FAST | HV_CTL_NESTED, CONN,
		  "another call");
	all_answered(&w, "bit 31 set");
	end(&w);
}

/* L1 sets the bit of the assist page, and that of the VMCB or eVMCS, and enters L2 again. */
static void set_direct(struct world *w, bool assist, bool vmcs)
{
	w->n->direct = vmcs;
	permit(w, assist, 0);
}

TEST(direct_flush_has_two_enable_bits)
{
	struct world w;

	load(DIRECT_PARAM);
	w = post_world_start(NOT_DIRECT, 0);
	all_reflected(&w, HV_CTL_NESTED, "neither bit");
	set_direct(&w, true, false);
	all_reflected(&w, HV_CTL_NESTED, "the assist page's only");
	set_direct(&w, false, true);
	all_reflected(&w, HV_CTL_NESTED, "the VMCB's or eVMCS's only");
	set_direct(&w, true, true);
	all_answered(&w, "both");
	set_direct(&w, true, false);
	all_reflected(&w, HV_CTL_NESTED, "the VMCB's or eVMCS's taken back");
	set_direct(&w, true, true);
	all_answered(&w, "both again");
	set_direct(&w, false, true);
	all_reflected(&w, HV_CTL_NESTED, "the assist page's taken back");
	end(&w);
}

TEST(plain_vmcs_has_no_direct_flush)
{
	struct world w;

	if (host_is_amd())
		ktap_skip("there is one kind of VMCB");
	load(DIRECT_PARAM);
	w = post_world_start(NESTED_PAGING | NESTED_DIRECT, 0);
	all_reflected(&w, HV_CTL_NESTED, "a plain VMCS");
	end(&w);
}

TEST(permitted_without_direct_flush_still)
{
	static const u32 flags[] = { 0, NESTED_PAGING, NOT_DIRECT };
	struct world w;
	u32 i;

	load(DIRECT_PARAM);
	for (i = 0; i < ARRAY_SIZE(flags); i++) {
		w = post_world_start(flags[i], PERMITTED);
		all_answered(&w, "permitted");
		permit(&w, 0, 0);
		all_reflected(&w, HV_CTL_NESTED, "taken back");
		post_world_free(&w);
	}
	module_unload();
}

TEST(direct_flush_permits_nothing_without_the_parameter)
{
	struct world w;

	load("");
	w = post_world_start(DIRECT, 0);
	all_reflected(&w, HV_CTL_NESTED, "direct flush only");
	permit(&w, 1, PERMITTED);
	all_answered(&w, "permitted");
	permit(&w, 1, 0);
	all_reflected(&w, HV_CTL_NESTED, "direct flush only, again");
	end(&w);
}

/* --- which rule permits --------------------------------------------------- */

static void assert_posts(u32 all, u32 inter_partition, u32 direct)
{
	ASSERT_EQ(module_posts("all"), all);
	ASSERT_EQ(module_posts("with InterPartitionCommunication"), inter_partition);
	ASSERT_EQ(module_posts("with direct flush"), direct);
}

/* Each of all_answered() and all_reflected() makes three posts. */
TEST(posts_are_counted_by_rule)
{
	struct world w;

	load("");
	w = post_world_start(NOT_DIRECT, 0);
	all_reflected(&w, 0, "bit 31 clear");
	assert_posts(0, 0, 0);
	all_reflected(&w, HV_CTL_NESTED, "neither");
	assert_posts(3, 0, 0);
	permit(&w, 0, PERMITTED);
	all_answered(&w, "permitted");
	assert_posts(6, 3, 0);
	post_world_free(&w);
	/* That of a VP that has ended counts still. */
	assert_posts(6, 3, 0);
	module_unload();

	/* From the first post on, an entry tells of direct flush. */
	load("");
	w = post_world_start(DIRECT, 0);
	reflected(&w, L2_SIGNAL_FAST, CONN, "direct flush only");
	permit(&w, 1, PERMITTED);
	all_answered(&w, "both");
	ASSERT_EQ(module_posts("with InterPartitionCommunication"), 3);
	ASSERT(module_posts("with direct flush") >= 3, "an entry does not tell");
	end(&w);

	load(DIRECT_PARAM);
	w = post_world_start(DIRECT, 0);
	all_answered(&w, "direct flush only");
	assert_posts(3, 0, 3);
	permit(&w, 1, PERMITTED);
	all_answered(&w, "both");
	assert_posts(6, 3, 6);
	end(&w);
}

/* --- nested_posts_plain=1 ------------------------------------------------- */

/* L1 gets all three forms without the mark, and all else as L2 made them. */
static void all_plain(struct world *w, const char *why)
{
	reflected_as(w, L2_POST, gpa(w->page), POST_SLOW, why);
	reflected_as(w, L2_SIGNAL_SLOW, gpa(w->page), SIGNAL_SLOW, why);
	reflected_as(w, L2_SIGNAL_FAST, CONN, SIGNAL_FAST, why);
	ASSERT_EQ(eventfd_count(w->fd), 0);
}

TEST(plain_takes_the_mark_away)
{
	static const u32 flags[] = { 0, NESTED_PAGING, NOT_DIRECT, DIRECT };
	struct world w;
	u32 i;

	load(PLAIN_PARAM);
	for (i = 0; i < ARRAY_SIZE(flags); i++) {
		w = post_world_start(flags[i], 0);
		all_plain(&w, "not permitted");
		all_reflected(&w, 0, "bit 31 clear");
		post_world_free(&w);
	}
	module_unload();
}

/* Also those that make the call one that nobody answers. */
TEST(plain_keeps_all_other_bits)
{
	static const u64 codes[] = { HVCALL_POST_MESSAGE, HVCALL_SIGNAL_EVENT };
	static const u64 rest[] = { HV_CTL_FAST, HV_CTL_REP(0xfff) | HV_CTL_START(0xfff),
				    ~0xffffULL };
	struct world w;
	u32 i, j;

	load(PLAIN_PARAM);
	w = post_world_start(NESTED_PAGING, 0);
	for (i = 0; i < ARRAY_SIZE(codes); i++) {
		for (j = 0; j < ARRAY_SIZE(rest); j++) {
			u64 control = codes[i] | rest[j] | HV_CTL_NESTED;

			reflected_as(&w, control, 0xfedcba98fedcba98ULL, control & ~HV_CTL_NESTED,
				     "other bits");
		}
	}
	ASSERT_EQ(eventfd_count(w.fd), 0);
	end(&w);
}

TEST(plain_leaves_other_codes)
{
	struct world w;
	u32 i;

	load(PLAIN_PARAM);
	w = post_world_start(NESTED_PAGING, 0);
	for (i = 0; i < ARRAY_SIZE(post_other_calls); i++)
		reflected(&w, post_other_calls[i] | HV_CTL_NESTED, CONN, "another code");
	end(&w);
}

TEST(plain_answers_what_l1_permits)
{
	struct world w;

	load(PLAIN_PARAM);
	w = post_world_start(NESTED_PAGING, PERMITTED);
	all_answered(&w, "permitted");
	permit(&w, 0, 0);
	all_plain(&w, "taken back");
	permit(&w, 0, PERMITTED);
	all_answered(&w, "permitted again");
	end(&w);
}

#define RAX_INPUT 0xabcdef0123456789ULL

/* L2. RAX is no control word in 64-bit code, whatever it holds. */
static u64 call_with_marked_rax(u64 control)
{
	u64 rax = L2_SIGNAL_FAST, rdx = RAX_INPUT;

	if (guest_use_vmmcall)
		asm volatile("vmmcall"
			     : "+a"(rax), "+c"(control), "+d"(rdx)
			     :
			     : "r8", "r9", "r10", "r11", "memory");
	else
		asm volatile("vmcall"
			     : "+a"(rax), "+c"(control), "+d"(rdx)
			     :
			     : "r8", "r9", "r10", "r11", "memory");
	return rax;
}

static void marked_rax(struct world *w, u64 control, u64 rcx)
{
	struct guest_op op = { .op = OP_CALL,
			       .arg0 = (u64)(uintptr_t)call_with_marked_rax,
			       .arg1 = control };

	op = post_world_op(w, op);
	ASSERT_EQ(op.exits, 0);
	ASSERT_EQ(op.result, NESTED_REFLECTED);
	ASSERT_EQ(w->n->exit, NESTED_HYPERCALL);
	ASSERT_EQ(w->n->call_rax, L2_SIGNAL_FAST);
	ASSERT_EQ(w->n->gpr[L2_RCX], rcx);
	ASSERT_EQ(w->n->gpr[L2_RDX], RAX_INPUT);
}

TEST(plain_leaves_rax_of_64_bit_code)
{
	u64 other = HVCALL_NOTIFY_LONG_SPIN_WAIT | HV_CTL_FAST | HV_CTL_NESTED;
	struct world w;

	load(PLAIN_PARAM);
	w = post_world_start(NESTED_PAGING, 0);
	marked_rax(&w, L2_POST, POST_SLOW);
	marked_rax(&w, other, other);
	end(&w);
}

/* A call of 32-bit code whose input, in EBX:ECX, looks like a marked control word. */
static void reflected32(struct world *w, u64 control, u32 eax)
{
	const u64 in = 0x98765432ULL << 32 | L2_SIGNAL_FAST;
	struct nested *n = w->n;
	u32 exits = n->exits;
	struct guest_op o = post_world_op(w, post_call32_op(control, in));

	ASSERT_EQ(o.exits, 0);
	ASSERT_EQ(o.result, 0);
	ASSERT_EQ(n->exits, exits + 1);
	ASSERT_EQ(n->exit, NESTED_HYPERCALL);
	ASSERT_EQ(l2_regs32.eax, NESTED_REFLECTED);
	ASSERT_EQ((u32)n->call_rax, eax);
	ASSERT_EQ((u32)n->gpr[L2_RDX], control >> 32);
	ASSERT_EQ((u32)n->gpr[L2_RBX], in >> 32);
	ASSERT_EQ((u32)n->gpr[L2_RCX], (u32)in);
}

TEST(plain_clears_eax_of_32_bit_code)
{
	u32 other = HVCALL_NOTIFY_LONG_SPIN_WAIT | HV_CTL_FAST | HV_CTL_NESTED;
	struct world w;

	load(PLAIN_PARAM);
	w = post_world_start(NESTED_PAGING, 0);
	reflected32(&w, L2_POST, POST_SLOW);
	reflected32(&w, L2_SIGNAL_SLOW, SIGNAL_SLOW);
	reflected32(&w, L2_SIGNAL_FAST | HV_CTL_REP(0xabc), SIGNAL_FAST);
	reflected32(&w, SIGNAL_FAST, SIGNAL_FAST);
	reflected32(&w, other, other);
	ASSERT_EQ(eventfd_count(w.fd), 0);
	end(&w);
}

TEST(both_parameters)
{
	struct world w;

	load(DIRECT_PARAM " " PLAIN_PARAM);
	w = post_world_start(DIRECT, 0);
	all_answered(&w, "direct flush");
	set_direct(&w, false, false);
	all_plain(&w, "nothing permits it");
	permit(&w, 0, PERMITTED);
	all_answered(&w, "permitted");
	end(&w);
}

/* --- hints_eax=0x1000 ----------------------------------------------------- */

/* The VMM has set what KVM_GET_SUPPORTED_HV_CPUID offers, and L1 is shown the bit, or not. */
static void check_hint(const char *params, bool shown)
{
	struct guest_op o = { .op = OP_CPUID, .arg0 = HV_LEAF_HINTS };
	struct cpuid_table t;
	struct world w;

	load(params);
	w = post_world_start(NESTED_PAGING, 0);
	ASSERT(!hv_supported(HINT_NESTED), "KVM offers the bit");
	cpuid_hv(w.v, &t);
	ASSERT(!cpuid_test(&t, HINT_NESTED), "the vCPU offers the bit");
	ASSERT(!cpuid_test(&w.v->cpuid, HINT_NESTED), "the VMM has set the bit");
	o = nested_l1_op(w.v, o);
	ASSERT_EQ(!!(o.result & CPUBIT_MASK(HINT_NESTED)), shown);
	end(&w);
}

TEST(hint_is_shown_to_l1)
{
	check_hint(HINT_PARAM, true);
}

TEST(hint_is_not_shown_without_the_parameter)
{
	check_hint("", false);
}

/* --- what sysfs shows ----------------------------------------------------- */

static int read_parameter(const char *path)
{
	FILE *f = fopen(path, "r");
	int c;

	ASSERT(f, "%s: %s", path, strerror(errno));
	c = fgetc(f);
	fclose(f);
	return c;
}

static void check_parameters(const char *params, int direct, int plain)
{
	module_load_with(params);
	ASSERT_EQ(read_parameter(PARAMETERS "nested_posts_direct"), direct);
	ASSERT_EQ(read_parameter(PARAMETERS "nested_posts_plain"), plain);
	/* Constant from load on. */
	ASSERT(file_write(PARAMETERS "nested_posts_direct", "1", 0) < 0, "written");
	ASSERT(file_write(PARAMETERS "nested_posts_plain", "1", 0) < 0, "written");
	module_unload();
}

TEST(parameters_read_back)
{
	module_start_clean();
	check_parameters("", 'N', 'N');
	check_parameters(DIRECT_PARAM, 'Y', 'N');
	check_parameters(PLAIN_PARAM, 'N', 'Y');
}

int main(int argc, char **argv)
{
	if (argc == 3 && !strcmp(argv[1], "--module"))
		module_option = argv[2];
	return module_ktap_main(argc, argv);
}
