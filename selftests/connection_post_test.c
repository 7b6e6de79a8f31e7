// SPDX-License-Identifier: GPL-2.0-only
/*
 * Connections: HvPostMessage, and the privileges of both calls.
 */
#include <sys/mman.h>

#include "connection.h"

/* --- one call, and what became of it ------------------------------------- */

/* The same where stock KVM hands the call to user space. */
static void call_answered_known(struct one *o, u64 control, u64 in, u64 status, const char *what)
{
	struct guest_op r = vcpu_op(o->vcpu, o->ops, OP_HC(control, in, 0));

	ASSERT(!r.vector, "%s: vector %u", what, r.vector);
	ASSERT_KNOWN(!r.exits, "%s: an exit (%s) to user space", what, exit_name(r.exit_reason));
	ASSERT(r.result == status, "%s: status 0x%llx, expected 0x%llx", what,
	       (unsigned long long)r.result, (unsigned long long)status);
}

/* --- HvPostMessage ------------------------------------------------------- */

TEST(post_goes_to_user_space)
{
	static const u32 sizes[] = { 0, 1, 8, PAYLOAD_MAX - 1, PAYLOAD_MAX };
	static const u32 types[] = { 1, 2, 0x7fffffff };
	struct one o = one_vcpu(0, true);
	u32 i;

	for (i = 0; i < ARRAY_SIZE(sizes); i++) {
		*o.post = (struct post_input){ .connection = CONN, .type = 1, .size = sizes[i] };
		handed_over(&o, POST_SLOW, gpa(o.post), OUTPUT + i, HV_STATUS_SUCCESS);
	}
	for (i = 0; i < ARRAY_SIZE(types); i++) {
		*o.post = (struct post_input){ .connection = CONN, .type = types[i], .size = 8 };
		handed_over(&o, POST_SLOW, gpa(o.post), 0, HV_STATUS_INVALID_CONNECTION_ID);
	}
	/* A message to a connection with an eventfd goes to user space. */
	ASSERT_EQ(eventfd_count(connection_new(o.vm, CONN)), 0);
	handed_over(&o, POST_SLOW, gpa(o.post), 0, 0xabcdef0000000013ULL);
	vm_free(o.vm);
}

/* At the end of a page as well: 256 bytes and not one more are read. */
TEST(post_at_the_end_of_memory)
{
	struct one o = one_vcpu(0, true);
	u8 *mem = mmap(NULL, PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	u64 at = GPA_NOWHERE + PAGE_SIZE - sizeof(*o.post);
	struct post_input *p = (void *)(mem + PAGE_SIZE - sizeof(*p));

	ASSERT(mem != MAP_FAILED, "mmap");
	vm_add_memslot(o.vm, GPA_NOWHERE, mem, PAGE_SIZE, 0);
	*p = (struct post_input){ .connection = CONN, .type = 1, .size = PAYLOAD_MAX };
	handed_over(&o, POST_SLOW, at, 0, HV_STATUS_SUCCESS);
	vm_free(o.vm);
}

TEST(post_without_synic)
{
	struct one o = one_vcpu(0, false);

	*o.post = (struct post_input){ .connection = CONN, .type = 1 };
	call_answered(&o, POST_SLOW, gpa(o.post), HV_STATUS_INVALID_HYPERCALL_INPUT, "post");
	vm_free(o.vm);
}

TEST_KNOWN(post_of_a_reserved_type, "D14")
{
	static const u32 types[] = { 0, 0x80000000, 0x80000010, 0xffffffff };
	struct one o = one_vcpu(0, true);
	u32 i;

	for (i = 0; i < ARRAY_SIZE(types); i++) {
		*o.post = (struct post_input){ .connection = CONN, .type = types[i], .size = 8 };
		call_answered_known(&o, POST_SLOW, gpa(o.post), HV_STATUS_INVALID_PARAMETER,
				    "type");
	}
	vm_free(o.vm);
}

TEST_KNOWN(post_of_a_long_message, "D14")
{
	static const u32 sizes[] = { PAYLOAD_MAX + 1, PAYLOAD_MAX + 8, 256,
				     0x10000,	      0x80000000,      0xffffffff };
	struct one o = one_vcpu(0, true);
	u32 i;

	for (i = 0; i < ARRAY_SIZE(sizes); i++) {
		*o.post = (struct post_input){ .connection = CONN, .type = 1, .size = sizes[i] };
		call_answered_known(&o, POST_SLOW, gpa(o.post), HV_STATUS_INVALID_PARAMETER,
				    "size");
	}
	vm_free(o.vm);
}

/* 16 bytes of header do not even fit into the registers with a payload. */
TEST_KNOWN(post_fast, "D14")
{
	struct one o = one_vcpu(0, true);

	call_answered_known(&o, POST_SLOW | HV_CTL_FAST, CONN, HV_STATUS_INVALID_HYPERCALL_INPUT,
			    "fast");
	vm_free(o.vm);
}

TEST_KNOWN(post_misaligned, "D14")
{
	struct one o = one_vcpu(0, true);
	u32 i;

	*o.post = (struct post_input){ .connection = CONN, .type = 1, .size = 8 };
	for (i = 1; i < 8; i++)
		call_answered_known(&o, POST_SLOW, gpa(o.post) + i, HV_STATUS_INVALID_ALIGNMENT,
				    "post");
	vm_free(o.vm);
}

TEST_KNOWN(post_across_a_page, "D14")
{
	struct one o = one_vcpu(0, true);
	u32 offset = PAGE_SIZE - sizeof(*o.post) + 8;

	call_answered_known(&o, POST_SLOW, gpa(o.post) + offset, HV_STATUS_INVALID_ALIGNMENT,
			    "post");
	vm_free(o.vm);
}

TEST_KNOWN(post_unreadable, "D14")
{
	struct one o = one_vcpu(0, true);
	struct guest_op r;
	u32 i;

	for (i = 0; i < ARRAY_SIZE(gpas_nowhere); i++) {
		r = vcpu_op(o.vcpu, o.ops, OP_HC(POST_SLOW, gpas_nowhere[i] & ~0xfffULL, 0));
		ASSERT_KNOWN(!r.exits, "an exit to user space");
		assert_unreadable(r);
	}
	vm_free(o.vm);
}

/* --- privileges ---------------------------------------------------------- */

static void denied(u64 privilege, u64 other, u64 control)
{
	struct one o = one_vcpu(VM_ENFORCE, true);
	int fd = connection_new(o.vm, CONN);

	vcpu_set_bit(o.vcpu, other, true);
	vcpu_set_bit(o.vcpu, privilege, false);
	o.signal[0] = CONN;
	*o.post = (struct post_input){ .connection = CONN, .type = 1, .size = 8 };
	call_answered(&o, control, CONN, HV_STATUS_ACCESS_DENIED, "a number");
	call_answered(&o, control, gpa(o.signal), HV_STATUS_ACCESS_DENIED, "a signal");
	call_answered(&o, control, gpa(o.post), HV_STATUS_ACCESS_DENIED, "a message");
	call_answered(&o, control, GPA_NOWHERE, HV_STATUS_ACCESS_DENIED, "nothing");
	ASSERT_EQ(eventfd_count(fd), 0);
	vm_free(o.vm);
}

TEST(signal_denied)
{
	denied(HV_F_SIGNAL_EVENTS, HV_F_POST_MESSAGES, SIGNAL_FAST);
	denied(HV_F_SIGNAL_EVENTS, HV_F_POST_MESSAGES, SIGNAL_SLOW);
}

TEST(post_denied)
{
	denied(HV_F_POST_MESSAGES, HV_F_SIGNAL_EVENTS, POST_SLOW);
	denied(HV_F_POST_MESSAGES, HV_F_SIGNAL_EVENTS, POST_SLOW | HV_CTL_FAST);
}

/* One privilege is enough for one call. */
TEST(granted_one_by_one)
{
	struct one o = one_vcpu(VM_ENFORCE, true);
	int fd = connection_new(o.vm, CONN);

	vcpu_set_bit(o.vcpu, HV_F_POST_MESSAGES, false);
	call_answered(&o, SIGNAL_FAST, CONN, HV_STATUS_SUCCESS, "signal");
	ASSERT_EQ(eventfd_count(fd), 1);
	vm_free(o.vm);

	o = one_vcpu(VM_ENFORCE, true);
	vcpu_set_bit(o.vcpu, HV_F_SIGNAL_EVENTS, false);
	*o.post = (struct post_input){ .connection = CONN, .type = 1, .size = 8 };
	handed_over(&o, POST_SLOW, gpa(o.post), 0, HV_STATUS_SUCCESS);
	vm_free(o.vm);
}
