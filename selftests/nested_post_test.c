// SPDX-License-Identifier: GPL-2.0-only
/*
 * HvPostMessage and HvSignalEvent of an L2, with IsNested (bit 31) set in the control word. If L1
 * permits it in the VP assist page, L0 answers them as calls of L1's VP; else they go to L1. TLFS
 * chapter "Nested Virtualization". Stock reflects all of them (D62).
 */
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "nested_post.h"
#include "tracefs.h"

#define PARAM "/sys/module/kvm_hyperv/parameters/fastpath"

/* L1 permits, and enters L2. */
static struct world world_start(u32 flags)
{
	return post_world_start(flags, PERMITTED);
}

static void l1_writes(struct world *w, u32 msr, u64 value)
{
	ASSERT_EQ(nested_l1_op(w->v, OP_WR(msr, value)).vector, 0);
}

/* --- bit 31, and L1's permission ------------------------------------------ */

static void check_reflected(u32 flags)
{
	struct world w = world_start(flags);

	all_reflected(&w, 0, "permitted, bit 31 clear");
	permit(&w, 0, 0);
	all_reflected(&w, 0, "not permitted, bit 31 clear");
	all_reflected(&w, HV_CTL_NESTED, "not permitted, bit 31 set");
	post_world_free(&w);
}

TEST(reflected_unless_permitted_and_nested)
{
	check_reflected(NESTED_PAGING);
}

TEST(reflected_without_nested_paging)
{
	check_reflected(0);
}

static void require_evmcs(void)
{
	if (host_is_amd())
		ktap_skip("there is one kind of VMCB");
}

TEST(reflected_with_evmcs)
{
	require_evmcs();
	check_reflected(NESTED_EVMCS | NESTED_PAGING);
}

static void check_answered(u32 flags)
{
	struct world w = world_start(flags);

	all_answered(&w, "permitted, bit 31 set");
	post_world_free(&w);
}

TEST_KNOWN(answered_if_permitted_and_nested, "D62")
{
	check_answered(NESTED_PAGING);
}

TEST_KNOWN(answered_without_nested_paging, "D62")
{
	check_answered(0);
}

TEST_KNOWN(answered_with_evmcs, "D62")
{
	require_evmcs();
	check_answered(NESTED_EVMCS | NESTED_PAGING);
}

TEST(other_calls_are_reflected)
{
	struct world w = world_start(NESTED_PAGING);
	u32 i;

	for (i = 0; i < ARRAY_SIZE(post_other_calls); i++)
		reflected(&w, post_other_calls[i] | HV_CTL_NESTED, CONN, "another call");
	ASSERT_EQ(eventfd_count(w.fd), 0);
	post_world_free(&w);
}

/* Neither Features nor another bit of HypercallControls. */
TEST(other_permissions_do_not_count)
{
	struct world w = world_start(NESTED_PAGING);

	permit(&w, 1, 0);
	all_reflected(&w, HV_CTL_NESTED, "DirectHypercall only");
	permit(&w, ~0u, ~PERMITTED);
	all_reflected(&w, HV_CTL_NESTED, "all but the one bit");
	post_world_free(&w);
}

TEST_KNOWN(other_permissions_do_not_matter, "D62")
{
	struct world w = world_start(NESTED_PAGING);

	permit(&w, 0, PERMITTED);
	all_answered(&w, "the one bit only");
	permit(&w, 0, ~0u);
	all_answered(&w, "all calls");
	permit(&w, ~0u, PERMITTED);
	all_answered(&w, "all features");
	post_world_free(&w);
}

TEST_KNOWN(follows_l1_from_entry_to_entry, "D62")
{
	struct world w = world_start(NESTED_EVMCS | NESTED_PAGING);
	u32 i;

	for (i = 0; i < 3; i++) {
		all_answered(&w, "permitted");
		permit(&w, 0, 0);
		all_reflected(&w, HV_CTL_NESTED, "taken back");
		permit(&w, 0, PERMITTED);
	}
	post_world_free(&w);
}

/* Without an entry in between: another VP of L1 may write the page. */
TEST_KNOWN(permission_counts_at_the_time_of_the_call, "D62")
{
	struct world w = world_start(NESTED_PAGING);
	u32 i;

	for (i = 0; i < 3; i++) {
		all_answered(&w, "permitted");
		put32(w.n->assist, ASSIST_CALLS, 0);
		reflected(&w, L2_SIGNAL_FAST, CONN, "taken back");
		put32(w.n->assist, ASSIST_CALLS, PERMITTED);
		all_answered(&w, "permitted after the entry");
		put32(w.n->assist, ASSIST_CALLS, 0);
		all_reflected(&w, HV_CTL_NESTED, "taken back");
		put32(w.n->assist, ASSIST_CALLS, PERMITTED);
	}
	post_world_free(&w);
}

TEST(reflected_without_assist_page)
{
	struct world w = world_start(NESTED_PAGING);

	l1_writes(&w, HV_X64_MSR_VP_ASSIST_PAGE, 0);
	all_reflected(&w, HV_CTL_NESTED, "the assist page is disabled");
	l1_writes(&w, HV_X64_MSR_VP_ASSIST_PAGE, gpa(w.n->assist));
	all_reflected(&w, HV_CTL_NESTED, "the enable bit is clear");
	post_world_free(&w);
}

TEST(reflected_without_identity)
{
	struct world w = world_start(NESTED_PAGING);

	l1_writes(&w, HV_X64_MSR_GUEST_OS_ID, 0);
	all_reflected(&w, HV_CTL_NESTED, "GUEST_OS_ID is 0");
	post_world_free(&w);
}

TEST_KNOWN(follows_the_registers_of_l1, "D62")
{
	struct world w = world_start(NESTED_PAGING);
	u8 *other = vm_alloc(w.vm, PAGE_SIZE);

	all_answered(&w, "permitted");
	l1_writes(&w, HV_X64_MSR_VP_ASSIST_PAGE, 0);
	all_reflected(&w, HV_CTL_NESTED, "the assist page is disabled");
	l1_writes(&w, HV_X64_MSR_VP_ASSIST_PAGE, gpa(other) | ASSIST_ENABLE);
	all_reflected(&w, HV_CTL_NESTED, "the other page permits nothing");
	put32(other, ASSIST_CALLS, PERMITTED);
	nested_reenter(w.v);
	all_answered(&w, "the other page");
	l1_writes(&w, HV_X64_MSR_GUEST_OS_ID, 0);
	all_reflected(&w, HV_CTL_NESTED, "GUEST_OS_ID is 0");
	l1_writes(&w, HV_X64_MSR_GUEST_OS_ID, 0x8100000000000001ULL);
	all_answered(&w, "known again");
	post_world_free(&w);
}

TEST_KNOWN(permission_is_of_one_vp, "D62")
{
	struct world w = post_world_create(2, 0, NESTED_PAGING, true), other = w;

	other.v = w.vm->vcpus[1];
	ASSERT_EQ(__vcpu_enable_cap(other.v, KVM_CAP_HYPERV_SYNIC2, 0), 0);
	other.n = nested_create(other.v, NESTED_PAGING, 1);
	put32(w.n->assist, ASSIST_CALLS, PERMITTED);
	nested_start(w.v);
	nested_start(other.v);
	all_answered(&w, "permitted");
	all_reflected(&other, HV_CTL_NESTED, "only the other VP's page permits it");
	all_answered(&w, "permitted");
	post_world_free(&w);
}

/* In a call of L1 itself the bit is reserved, whatever its L2 may do. */
TEST(nested_bit_of_l1_is_reserved)
{
	static const u64 calls[] = { L2_POST, L2_SIGNAL_SLOW, L2_SIGNAL_FAST };
	struct world w = world_start(NESTED_PAGING);
	struct guest_op o;
	u32 i;

	for (i = 0; i < ARRAY_SIZE(calls); i++) {
		o = nested_l1_op(w.v, OP_HC(calls[i], calls[i] & HV_CTL_FAST ? CONN : gpa(w.page),
					    OUTPUT));
		ASSERT_EQ(o.vector, 0);
		ASSERT_EQ(o.result, HV_STATUS_INVALID_HYPERCALL_INPUT);
	}
	ASSERT_EQ(eventfd_count(w.fd), 0);
	post_world_free(&w);
}

/* --- what user space gets ------------------------------------------------- */

TEST_KNOWN(post_goes_to_user_space, "D62")
{
	static const u32 sizes[] = { 0, 1, PAYLOAD_MAX };
	static const u64 results[] = { HV_STATUS_SUCCESS, HV_STATUS_INVALID_CONNECTION_ID, ANSWER };
	struct world w = world_start(NESTED_PAGING);
	struct post_input *p = (void *)w.page;
	u32 i;

	for (i = 0; i < ARRAY_SIZE(sizes); i++) {
		p->size = sizes[i];
		handed(&w, L2_POST, gpa(p), gpa(p), results[i]);
	}
	p->connection = CONN + 1;
	handed(&w, L2_POST, gpa(p), gpa(p), HV_STATUS_SUCCESS);
	ASSERT_EQ(eventfd_count(w.fd), 0);
	post_world_free(&w);
}

TEST_KNOWN(unknown_connection_fast, "D62")
{
	struct world w = world_start(NESTED_PAGING);

	handed(&w, L2_SIGNAL_FAST, CONN + 1, CONN + 1, HV_STATUS_INVALID_CONNECTION_ID);
	handed(&w, L2_SIGNAL_FAST, 0, 0, HV_STATUS_SUCCESS);
	handed(&w, L2_SIGNAL_FAST, CONN_MAX, CONN_MAX, ANSWER);
	ASSERT_EQ(eventfd_count(w.fd), 0);
	post_world_free(&w);
}

TEST_KNOWN(unknown_connection_slow, "D62")
{
	struct world w = world_start(NESTED_PAGING);
	u64 *event = (u64 *)w.page;

	*event = CONN + 1;
	handed(&w, L2_SIGNAL_SLOW, gpa(event), CONN + 1, HV_STATUS_INVALID_CONNECTION_ID);
	event = (u64 *)(w.page + PAGE_SIZE) - 1;
	*event = CONN_MAX;
	handed(&w, L2_SIGNAL_SLOW, gpa(event), CONN_MAX, ANSWER);
	ASSERT_EQ(*event, CONN_MAX);
	ASSERT_EQ(eventfd_count(w.fd), 0);
	post_world_free(&w);
}

/* An eventfd stands for flag 0. */
TEST_KNOWN(flag_above_zero, "D62")
{
	struct world w = world_start(NESTED_PAGING);
	u64 *event = (u64 *)w.page, conn;

	for (conn = CONN; conn <= CONN + 1; conn++) {
		*event = conn | FLAG(5);
		handed(&w, L2_SIGNAL_FAST, *event, *event, HV_STATUS_SUCCESS);
		handed(&w, L2_SIGNAL_SLOW, gpa(event), *event, HV_STATUS_INVALID_PARAMETER);
	}
	ASSERT_EQ(eventfd_count(w.fd), 0);
	post_world_free(&w);
}

/* User space that does not know the exit, and runs the VP again. */
static void not_answered(struct world *w, u64 control, u64 in, u64 param)
{
	memset(&w->v->run->hyperv, 0, sizeof(w->v->run->hyperv));
	call_to_user(w, control, in, param);
	assert_goes_on(w, HV_STATUS_INVALID_HYPERCALL_CODE);
}

TEST_KNOWN(call_that_user_space_does_not_answer, "D62")
{
	struct world w = world_start(NESTED_PAGING);

	not_answered(&w, L2_POST, gpa(w.page), gpa(w.page));
	not_answered(&w, L2_SIGNAL_FAST, CONN + 1, CONN + 1);
	post_world_free(&w);
}

/* L2. Return a bit for each register that is not as expected: all but RAX are unchanged. */
static u64 changed_registers(u64 in)
{
	u64 rax = 0, rcx = L2_POST, rdx = in, rbx = 0xb, rsi = 0x51, rdi = 0xd1;
	register u64 r8 asm("r8") = OUTPUT;

	if (guest_use_vmmcall)
		asm volatile("vmmcall"
			     : "+a"(rax), "+c"(rcx), "+d"(rdx), "+b"(rbx), "+S"(rsi), "+D"(rdi),
			       "+r"(r8)
			     :
			     : "r9", "r10", "r11", "memory");
	else
		asm volatile("vmcall"
			     : "+a"(rax), "+c"(rcx), "+d"(rdx), "+b"(rbx), "+S"(rsi), "+D"(rdi),
			       "+r"(r8)
			     :
			     : "r9", "r10", "r11", "memory");
	return (u64)(rax != ANSWER) | (u64)(rcx != L2_POST) << 1 | (u64)(rdx != in) << 2 |
	       (u64)(rbx != 0xb) << 3 | (u64)(rsi != 0x51) << 4 | (u64)(rdi != 0xd1) << 5 |
	       (u64)(r8 != OUTPUT) << 6;
}

TEST_KNOWN(only_rax_changes, "D62")
{
	struct world w = world_start(NESTED_PAGING);

	run_op_to_user(&w, (struct guest_op){ .op = OP_CALL,
					      .arg0 = (u64)(uintptr_t)changed_registers,
					      .arg1 = gpa(w.page) });
	w.v->run->hyperv.u.hcall.result = ANSWER;
	assert_goes_on(&w, 0);
	post_world_free(&w);
}

/* TlbLockCount asks for a synthetic exit after a flush, not after these calls. */
TEST_KNOWN(tlb_lock_makes_no_synthetic_exit, "D62")
{
	struct world w = world_start(NESTED_EVMCS | NESTED_DIRECT | NESTED_PAGING);

	*w.n->lock_page = 1;
	answered(&w, L2_SIGNAL_FAST, CONN, HV_STATUS_SUCCESS, "fast");
	answered(&w, L2_SIGNAL_SLOW, gpa(w.page), HV_STATUS_SUCCESS, "slow");
	handed(&w, L2_POST, gpa(w.page), gpa(w.page), HV_STATUS_SUCCESS);
	post_world_free(&w);
}

/* --- eventfds ------------------------------------------------------------- */

TEST_KNOWN(eventfd_is_signalled_fast, "D62")
{
	struct world w = world_start(NESTED_PAGING);
	int fd0 = connection_new(w.vm, 0), max = connection_new(w.vm, CONN_MAX);
	u32 i;

	for (i = 0; i < 20; i++)
		answered(&w, L2_SIGNAL_FAST, CONN, HV_STATUS_SUCCESS, "signal");
	ASSERT_EQ(eventfd_count(w.fd), 20);
	answered(&w, L2_SIGNAL_FAST, 0, HV_STATUS_SUCCESS, "connection 0");
	answered(&w, L2_SIGNAL_FAST, CONN_MAX, HV_STATUS_SUCCESS, "the highest connection");
	ASSERT_EQ(eventfd_count(fd0), 1);
	ASSERT_EQ(eventfd_count(max), 1);
	ASSERT_EQ(eventfd_count(w.fd), 0);
	post_world_free(&w);
}

TEST_KNOWN(eventfd_is_signalled_slow, "D62")
{
	struct world w = world_start(NESTED_PAGING);
	u64 *last = (u64 *)(w.page + PAGE_SIZE) - 1;

	*last = CONN;
	answered(&w, L2_SIGNAL_SLOW, gpa(w.page), HV_STATUS_SUCCESS, "signal");
	ASSERT_EQ(eventfd_count(w.fd), 1);
	answered(&w, L2_SIGNAL_SLOW, gpa(last), HV_STATUS_SUCCESS, "end of a page");
	ASSERT_EQ(eventfd_count(w.fd), 1);
	/* The input is read, not written. */
	ASSERT_EQ(*last, CONN);
	post_world_free(&w);
}

TEST_KNOWN(eventfd_is_signalled_without_the_fast_path, "D62")
{
	struct world w = world_start(NESTED_PAGING);
	struct guest_op o;
	u32 exits;

	/* On stock the case ends here. */
	answered(&w, L2_SIGNAL_FAST, CONN, HV_STATUS_SUCCESS, "signal");
	exits = w.n->exits;
	file_must_write(PARAM, "0");
	o = post_world_op(&w, OP_HC(L2_SIGNAL_FAST, CONN, OUTPUT));
	file_must_write(PARAM, "1");
	ASSERT_EQ(w.n->exits, exits);
	ASSERT_EQ(o.exits, 0);
	ASSERT_EQ(o.vector, 0);
	ASSERT_EQ(o.result, HV_STATUS_SUCCESS);
	ASSERT_EQ(eventfd_count(w.fd), 2);
	post_world_free(&w);
}

/* --- where the input is --------------------------------------------------- */

/* L1 has other memory at L2's address. */
TEST_KNOWN(input_at_another_address_of_l1, "D62")
{
	struct world w = world_start(NESTED_PAGING);
	u8 *decoy =
		mmap(NULL, PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	u32 end = PAGE_SIZE - sizeof(struct post_input);

	ASSERT(decoy != MAP_FAILED, "mmap");
	vm_add_memslot(w.vm, NESTED_WINDOW, decoy, PAGE_SIZE, 0);
	write_post_input(decoy, CONN + 1);
	write_post_input(decoy + end, CONN + 1);
	write_post_input(w.hidden + end, CONN);

	handed(&w, L2_POST, NESTED_WINDOW, gpa(w.hidden), ANSWER);
	handed(&w, L2_POST, NESTED_WINDOW + end, gpa(w.hidden) + end, ANSWER);
	answered(&w, L2_SIGNAL_SLOW, NESTED_WINDOW, HV_STATUS_SUCCESS, "signal");
	answered(&w, L2_SIGNAL_SLOW, NESTED_WINDOW + end, HV_STATUS_SUCCESS, "signal");
	ASSERT_EQ(eventfd_count(w.fd), 2);
	write_post_input(w.hidden, CONN + 2);
	handed(&w, L2_SIGNAL_SLOW, NESTED_WINDOW, CONN + 2, ANSWER);
	post_world_free(&w);
}

static void both_answered(struct world *w, u64 in, u64 status, const char *what)
{
	answered(w, L2_POST, in, status, what);
	answered(w, L2_SIGNAL_SLOW, in, status, what);
	ASSERT_EQ(eventfd_count(w->fd), 0);
}

TEST_KNOWN(input_that_l1_does_not_map, "D62")
{
	static const u64 unmapped[] = { NESTED_WINDOW + PAGE_SIZE, BIT64(32), 0xfffffffffffff000 };
	struct world w = world_start(NESTED_PAGING);
	u32 i;

	for (i = 0; i < ARRAY_SIZE(unmapped); i++)
		both_answered(&w, unmapped[i], HV_STATUS_INVALID_HYPERCALL_INPUT, "unmapped");
	/* What was not present needs no flush. */
	w.n->window[1] = gpa(w.page) | w.n->leaf;
	handed(&w, L2_POST, NESTED_WINDOW + PAGE_SIZE, gpa(w.page), ANSWER);
	post_world_free(&w);
}

/* L1 maps it to an address where it has no memory. */
TEST_KNOWN(input_outside_of_memory, "D62")
{
	struct world w = world_start(NESTED_PAGING);

	w.n->window[1] = GPA_NOWHERE | w.n->leaf;
	both_answered(&w, NESTED_WINDOW + PAGE_SIZE, HV_STATUS_INVALID_HYPERCALL_INPUT, "window");
	both_answered(&w, GPA_NOWHERE, HV_STATUS_INVALID_HYPERCALL_INPUT, "the same address");
	post_world_free(&w);
}

TEST_KNOWN(input_outside_of_memory_without_nested_paging, "D62")
{
	struct world w = world_start(0);

	both_answered(&w, GPA_NOWHERE, HV_STATUS_INVALID_HYPERCALL_INPUT, "nowhere");
	post_world_free(&w);
}

/* --- the form of a call --------------------------------------------------- */

TEST_KNOWN(input_misaligned, "D62")
{
	struct world w = world_start(NESTED_PAGING);
	u32 i;

	for (i = 1; i < 8; i++) {
		both_answered(&w, gpa(w.page) + i, HV_STATUS_INVALID_ALIGNMENT, "same address");
		both_answered(&w, NESTED_WINDOW + i, HV_STATUS_INVALID_ALIGNMENT, "window");
	}
	post_world_free(&w);
}

/* L2 has memory on both sides. */
TEST_KNOWN(input_across_a_page, "D62")
{
	struct world w = world_start(NESTED_PAGING);
	u64 end = NESTED_WINDOW + PAGE_SIZE;
	u32 i;

	w.n->window[1] = gpa(w.page) | w.n->leaf;
	for (i = 8; i < sizeof(struct post_input); i += 8)
		answered(&w, L2_POST, end - i, HV_STATUS_INVALID_ALIGNMENT, "post");
	for (i = 1; i < 8; i++)
		answered(&w, L2_SIGNAL_SLOW, end - i, HV_STATUS_INVALID_ALIGNMENT, "signal");
	ASSERT_EQ(eventfd_count(w.fd), 0);
	post_world_free(&w);
}

/* All three forms, with @bits in the control word. */
static void bad_control(struct world *w, u64 bits, const char *what)
{
	answered(w, L2_POST | bits, gpa(w->page), HV_STATUS_INVALID_HYPERCALL_INPUT, what);
	answered(w, L2_SIGNAL_SLOW | bits, gpa(w->page), HV_STATUS_INVALID_HYPERCALL_INPUT, what);
	answered(w, L2_SIGNAL_FAST | bits, CONN, HV_STATUS_INVALID_HYPERCALL_INPUT, what);
	ASSERT_EQ(eventfd_count(w->fd), 0);
}

TEST_KNOWN(reserved_bits_of_the_control_word, "D62")
{
	static const u64 bad[] = {
		BIT64(27), BIT64(28), BIT64(29), BIT64(30),	   BIT64(44),
		BIT64(47), BIT64(60), BIT64(63), HV_CTL_VARHDR(1),
	};
	struct world w = world_start(NESTED_PAGING);
	u32 i;

	for (i = 0; i < ARRAY_SIZE(bad); i++)
		bad_control(&w, bad[i], "a reserved bit");
	post_world_free(&w);
}

TEST_KNOWN(rep_count, "D62")
{
	struct world w = world_start(NESTED_PAGING);

	bad_control(&w, HV_CTL_REP(1), "a count");
	bad_control(&w, HV_CTL_START(1), "a start");
	bad_control(&w, HV_CTL_REP(2) | HV_CTL_START(1), "both");
	post_world_free(&w);
}

/* 31:24 and 63:48 of an event. */
TEST_KNOWN(reserved_bits_of_the_input, "D62")
{
	struct world w = world_start(NESTED_PAGING);
	u64 *event = (u64 *)w.page;
	u32 bit;

	for (bit = 24; bit < 64; bit++) {
		if (bit >= 32 && bit < 48)
			continue;
		*event = CONN | BIT64(bit);
		answered(&w, L2_SIGNAL_FAST, *event, HV_STATUS_INVALID_HYPERCALL_INPUT, "fast");
		answered(&w, L2_SIGNAL_SLOW, gpa(event), HV_STATUS_INVALID_HYPERCALL_INPUT, "slow");
	}
	ASSERT_EQ(eventfd_count(w.fd), 0);
	post_world_free(&w);
}

TEST_KNOWN(post_fast, "D62")
{
	struct world w = world_start(NESTED_PAGING);

	answered(&w, L2_POST | HV_CTL_FAST, CONN, HV_STATUS_INVALID_HYPERCALL_INPUT, "fast");
	answered(&w, L2_POST | HV_CTL_FAST, gpa(w.page), HV_STATUS_INVALID_HYPERCALL_INPUT, "fast");
	post_world_free(&w);
}

TEST_KNOWN(post_type_and_size, "D62")
{
	struct world w = world_start(NESTED_PAGING);
	struct post_input *p = (void *)w.hidden;

	p->type = 0;
	answered(&w, L2_POST, NESTED_WINDOW, HV_STATUS_INVALID_PARAMETER, "type 0");
	p->type = 0x80000000;
	answered(&w, L2_POST, NESTED_WINDOW, HV_STATUS_INVALID_PARAMETER, "the hypervisor's type");
	p->type = 1;
	p->size = PAYLOAD_MAX + 1;
	answered(&w, L2_POST, NESTED_WINDOW, HV_STATUS_INVALID_PARAMETER, "size");
	post_world_free(&w);
}

/* --- SynIC and privileges: L1's ------------------------------------------- */

static struct world world_without_synic(void)
{
	struct world w = post_world_create(1, 0, NESTED_PAGING, false);

	put32(w.n->assist, ASSIST_CALLS, PERMITTED);
	nested_start(w.v);
	return w;
}

TEST_KNOWN(post_without_synic, "D62")
{
	struct world w = world_without_synic();

	answered(&w, L2_POST, gpa(w.page), HV_STATUS_INVALID_HYPERCALL_INPUT, "post");
	post_world_free(&w);
}

TEST_KNOWN(unknown_connection_without_synic, "D62")
{
	struct world w = world_without_synic();

	write_post_input(w.page, CONN + 1);
	answered(&w, L2_SIGNAL_FAST, CONN + 1, HV_STATUS_INVALID_HYPERCALL_INPUT, "fast");
	answered(&w, L2_SIGNAL_SLOW, gpa(w.page), HV_STATUS_INVALID_HYPERCALL_INPUT, "slow");
	post_world_free(&w);
}

/* As of L1: a registered connection needs no SynIC of the caller. */
TEST_KNOWN(eventfd_is_signalled_without_synic, "D62")
{
	struct world w = world_without_synic();

	answered(&w, L2_SIGNAL_FAST, CONN, HV_STATUS_SUCCESS, "fast");
	answered(&w, L2_SIGNAL_SLOW, gpa(w.page), HV_STATUS_SUCCESS, "slow");
	ASSERT_EQ(eventfd_count(w.fd), 2);
	post_world_free(&w);
}

/* L1 has all privileges but @privilege. */
static struct world world_without(u64 privilege)
{
	struct world w = post_world_create(1, VM_ENFORCE, NESTED_PAGING, true);

	cpuid_assign(&w.v->cpuid, HV_F_POST_MESSAGES, true);
	cpuid_assign(&w.v->cpuid, HV_F_SIGNAL_EVENTS, true);
	vcpu_set_bit(w.v, privilege, false);
	put32(w.n->assist, ASSIST_CALLS, PERMITTED);
	nested_start(w.v);
	return w;
}

TEST_KNOWN(post_denied, "D62")
{
	struct world w = world_without(HV_F_POST_MESSAGES);

	answered(&w, L2_POST, gpa(w.page), HV_STATUS_ACCESS_DENIED, "a message");
	answered(&w, L2_POST, NESTED_WINDOW + PAGE_SIZE, HV_STATUS_ACCESS_DENIED, "unmapped");
	answered(&w, L2_POST | HV_CTL_FAST, CONN, HV_STATUS_ACCESS_DENIED, "fast");
	post_world_free(&w);
}

TEST_KNOWN(signal_denied, "D62")
{
	struct world w = world_without(HV_F_SIGNAL_EVENTS);

	answered(&w, L2_SIGNAL_FAST, CONN, HV_STATUS_ACCESS_DENIED, "fast");
	answered(&w, L2_SIGNAL_FAST, CONN + 1, HV_STATUS_ACCESS_DENIED, "unknown");
	answered(&w, L2_SIGNAL_SLOW, gpa(w.page), HV_STATUS_ACCESS_DENIED, "slow");
	ASSERT_EQ(eventfd_count(w.fd), 0);
	post_world_free(&w);
}

/* One privilege is enough for one call. */
TEST_KNOWN(granted_one_by_one, "D62")
{
	struct world w = world_without(HV_F_POST_MESSAGES);

	answered(&w, L2_SIGNAL_FAST, CONN, HV_STATUS_SUCCESS, "signal");
	ASSERT_EQ(eventfd_count(w.fd), 1);
	post_world_free(&w);

	w = world_without(HV_F_SIGNAL_EVENTS);
	handed(&w, L2_POST, NESTED_WINDOW, gpa(w.hidden), ANSWER);
	post_world_free(&w);
}

/* Reflecting a call needs no privilege. */
TEST(reflected_without_privilege)
{
	struct world w = world_without(HV_F_POST_MESSAGES);

	permit(&w, 0, 0);
	reflected(&w, L2_POST, gpa(w.page), "not permitted");
	post_world_free(&w);
}

/* --- AMD: an L1 that does not intercept VMMCALL --------------------------- */

static struct world world_unintercepted(void)
{
	struct world w;

	if (!host_is_amd())
		ktap_skip("VMCALL always exits");
	w = world_start(NESTED_PAGING);
	/* With the quirk, stock 6.1 runs the VMMCALL again and again. */
	ASSERT_EQ(__vm_enable_cap(w.vm, KVM_CAP_DISABLE_QUIRKS2, KVM_X86_QUIRK_FIX_HYPERCALL_INSN),
		  0);
	put32(w.n->vmcb, VMCB_INTERCEPT4, 1);
	nested_reenter(w.v);
	return w;
}

static void faults(struct world *w, u64 control, u64 in, const char *what)
{
	u32 exits = w->n->exits;
	struct guest_op o = post_world_op(w, OP_HC(control, in, OUTPUT));

	ASSERT(o.vector == UD_VECTOR && !o.exits && w->n->exits == exits,
	       "%s: vector %u, result 0x%llx, %u exits to user space, %u to L1", what, o.vector,
	       (unsigned long long)o.result, o.exits, w->n->exits - exits);
}

TEST(unintercepted_call_is_ud)
{
	struct world w = world_unintercepted();

	faults(&w, POST_SLOW, gpa(w.page), "bit 31 clear");
	faults(&w, SIGNAL_FAST, CONN, "bit 31 clear");
	faults(&w, HVCALL_NOTIFY_LONG_SPIN_WAIT | HV_CTL_FAST | HV_CTL_NESTED, 1, "another call");
	permit(&w, 0, 0);
	faults(&w, L2_POST, gpa(w.page), "not permitted");
	faults(&w, L2_SIGNAL_FAST, CONN, "not permitted");
	ASSERT_EQ(eventfd_count(w.fd), 0);
	post_world_free(&w);
}

TEST_KNOWN(unintercepted_call_is_answered, "D62")
{
	struct world w;

	if (host_is_6_1())
		ktap_skip("KVM intercepts the instruction of L2 only if L1 does");
	w = world_unintercepted();
	all_answered(&w, "permitted");
	faults(&w, SIGNAL_FAST, CONN, "bit 31 clear");
	all_answered(&w, "permitted");
	post_world_free(&w);
}

/* --- 32-bit code ---------------------------------------------------------- */

TEST_KNOWN(post_of_32_bit_code, "D62")
{
	const struct kvm_hyperv_exit *exit;
	struct world w = world_start(NESTED_PAGING);

	exit = &w.v->run->hyperv;
	run_op_to_user(&w, post_call32_op(L2_POST, NESTED_WINDOW));
	ASSERT_EQ(exit->u.hcall.input, POST_SLOW);
	ASSERT_EQ(exit->u.hcall.params[0], gpa(w.hidden));
	w.v->run->hyperv.u.hcall.result = ANSWER;
	assert_goes_on(&w, 0);
	ASSERT_EQ((u64)l2_regs32.edx << 32 | l2_regs32.eax, ANSWER);
	post_world_free(&w);
}

static u64 status32(struct world *w, u64 control, u64 in)
{
	u32 exits = w->n->exits;
	struct guest_op o = post_world_op(w, post_call32_op(control, in));

	assert_kept(w, exits, (u32)o.result, "32-bit code");
	ASSERT_EQ(o.exits, 0);
	return (u64)l2_regs32.edx << 32 | l2_regs32.eax;
}

TEST_KNOWN(signal_of_32_bit_code, "D62")
{
	struct world w = world_start(NESTED_PAGING);

	ASSERT_EQ(status32(&w, L2_SIGNAL_FAST, CONN), HV_STATUS_SUCCESS);
	ASSERT_EQ(status32(&w, L2_SIGNAL_SLOW, NESTED_WINDOW), HV_STATUS_SUCCESS);
	ASSERT_EQ(eventfd_count(w.fd), 2);
	ASSERT_EQ(status32(&w, L2_SIGNAL_FAST | HV_CTL_REP(1), CONN),
		  HV_STATUS_INVALID_HYPERCALL_INPUT);
	ASSERT_EQ(eventfd_count(w.fd), 0);
	post_world_free(&w);
}

/* The control word is EDX:EAX. ECX is input, here with the value of a permitted control word. */
TEST(reflected_call_of_32_bit_code)
{
	struct world w = world_start(NESTED_PAGING);
	u32 exits = w.n->exits;
	struct guest_op o = post_world_op(&w, post_call32_op(SIGNAL_FAST, L2_SIGNAL_FAST));

	ASSERT_EQ(o.exits, 0);
	ASSERT_EQ(o.result, 0);
	ASSERT_EQ(w.n->exits, exits + 1);
	ASSERT_EQ(w.n->exit, NESTED_HYPERCALL);
	ASSERT_EQ(l2_regs32.eax, NESTED_REFLECTED);
	ASSERT_EQ(w.n->gpr[L2_RCX], L2_SIGNAL_FAST);
	post_world_free(&w);
}

/* --- the state of a VP that is in L2 -------------------------------------- */

/* The result is read once. */
TEST_KNOWN(immediate_exit_completes_the_call, "D62")
{
	struct world w = world_start(NESTED_PAGING);

	call_to_user(&w, L2_POST, gpa(w.page), gpa(w.page));
	w.v->run->hyperv.u.hcall.result = ANSWER;
	ASSERT_EQ(vcpu_finish_exit(w.v), -EINTR);
	w.v->run->hyperv.u.hcall.result = HV_STATUS_ACCESS_DENIED;
	ASSERT_EQ(vcpu_finish_exit(w.v), -EINTR);
	assert_goes_on(&w, ANSWER);
	post_world_free(&w);
}

static void move(struct world *w)
{
	w->vm = nested_move(w->vm);
	w->v = w->vm->vcpus[0];
	/* Not among the state that is moved. */
	ASSERT_EQ(__vcpu_enable_cap(w->v, KVM_CAP_HYPERV_SYNIC2, 0), 0);
	w->fd = connection_new(w->vm, CONN);
}

static void check_migration(u32 flags, u64 control, u64 in, u64 param)
{
	struct world w = world_start(flags);

	call_to_user(&w, control, in, param ? param : gpa(w.hidden));
	w.v->run->hyperv.u.hcall.result = ANSWER;
	move(&w);
	assert_goes_on(&w, ANSWER);
	post_world_free(&w);
}

TEST_KNOWN(answer_survives_migration, "D62")
{
	check_migration(NESTED_PAGING, L2_POST, NESTED_WINDOW, 0);
	check_migration(NESTED_PAGING, L2_SIGNAL_FAST, CONN + 1, CONN + 1);
}

TEST_KNOWN(answer_survives_migration_with_evmcs, "D62")
{
	require_evmcs();
	check_migration(NESTED_EVMCS | NESTED_PAGING, L2_POST, NESTED_WINDOW, 0);
}

static void check_after_migration(u32 flags)
{
	struct world w = world_start(flags);

	all_answered(&w, "before");
	move(&w);
	/* Without an entry in between. */
	handed(&w, L2_POST, NESTED_WINDOW, gpa(w.hidden), ANSWER);
	all_answered(&w, "after");
	permit(&w, 0, 0);
	all_reflected(&w, HV_CTL_NESTED, "taken back after migration");
	post_world_free(&w);
}

TEST_KNOWN(answered_after_migration, "D62")
{
	check_after_migration(NESTED_PAGING);
}

TEST_KNOWN(answered_after_migration_with_evmcs, "D62")
{
	require_evmcs();
	check_after_migration(NESTED_EVMCS | NESTED_PAGING);
}

/* --- signals that interrupt KVM_RUN --------------------------------------- */

#define INTERRUPTS 10

static volatile bool stop;

/* L2: user space numbers its answers. Return: how many there were. */
static u64 post_until_stop(u64 in)
{
	u64 i;

	for (i = 0; !stop; i++)
		GUEST_ASSERT_EQ(hypercall(L2_POST, in, 0), i);
	return i;
}

static u64 signal_until_stop(u64 connection)
{
	u64 i;

	for (i = 0; !stop; i++)
		GUEST_ASSERT_EQ(hypercall(L2_SIGNAL_FAST, connection, 0), HV_STATUS_SUCCESS);
	return i;
}

static void *interrupt_run(void *arg)
{
	struct vcpu *v = arg;
	u32 before = v->interrupted;

	while (v->interrupted - before < INTERRUPTS) {
		if (v->running)
			pthread_kill(v->thread, SIGUSR1);
		usleep(1000);
	}
	stop = true;
	return NULL;
}

/* Let L2 call until KVM_RUN was interrupted often enough. Return: exits to user space. */
static u64 interrupt_l2(struct world *w, u64 (*fn)(u64), u64 arg)
{
	const struct kvm_hyperv_exit *exit = &w->v->run->hyperv;
	u32 exits = w->n->exits, cmd;
	pthread_t thread;
	u64 i;

	w->n->l2->ops[0] =
		(struct guest_op){ .op = OP_CALL, .arg0 = (u64)(uintptr_t)fn, .arg1 = arg };
	w->n->l2->nr = 1;
	w->v->thread = pthread_self();
	ASSERT_EQ(pthread_create(&thread, NULL, interrupt_run, w->v), 0);
	for (i = 0; (cmd = vcpu_run(w->v)) == RUN_EXIT(KVM_EXIT_HYPERV); i++) {
		ASSERT_EQ(exit->type, KVM_EXIT_HYPERV_HCALL);
		ASSERT_EQ(exit->u.hcall.input, POST_SLOW);
		ASSERT_EQ(exit->u.hcall.params[0], gpa(w->hidden));
		w->v->run->hyperv.u.hcall.result = i;
	}
	ASSERT(cmd == GUEST_SYNC_CMD && w->v->cpu->msg.args[0] == OPS_STAGE, "0x%x", cmd);
	ASSERT_EQ(pthread_join(thread, NULL), 0);
	ASSERT_EQ(w->n->exits, exits);
	return i;
}

TEST_KNOWN(signals_interrupt_posts_of_l2, "D62")
{
	struct world w = world_start(NESTED_PAGING);
	u64 calls;

	/* On stock the case ends here. */
	handed(&w, L2_POST, NESTED_WINDOW, gpa(w.hidden), ANSWER);
	calls = interrupt_l2(&w, post_until_stop, NESTED_WINDOW);
	ASSERT_EQ(w.n->l2->ops[0].result, calls);
	ktap_log("%llu messages", (unsigned long long)calls);
	post_world_free(&w);
}

TEST_KNOWN(signals_interrupt_events_of_l2, "D62")
{
	struct world w = world_start(NESTED_PAGING);
	u64 calls;

	answered(&w, L2_SIGNAL_FAST, CONN, HV_STATUS_SUCCESS, "signal");
	ASSERT_EQ(eventfd_count(w.fd), 1);
	ASSERT_EQ(interrupt_l2(&w, signal_until_stop, CONN), 0);
	calls = w.n->l2->ops[0].result;
	ASSERT_EQ(eventfd_count(w.fd), calls);
	ktap_log("%llu events", (unsigned long long)calls);
	post_world_free(&w);
}
