/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Connections: what the kernel answers by itself, and what user space gets to see of the rest: a
 * message exactly as the guest posted it, an event in its fast form.
 */
#ifndef KHV_SELFTEST_CONNECTION_H
#define KHV_SELFTEST_CONNECTION_H

#include "irqfd.h"
#include "ops.h"

#define CONN	     0x1234u
#define CONN_MAX     0xffffffu
#define CONN_TOO_BIG 0x1000000u
#define FLAG(n)	     ((u64)(n) << 32)

#define SIGNAL_FAST (HVCALL_SIGNAL_EVENT | HV_CTL_FAST)
#define SIGNAL_SLOW ((u64)HVCALL_SIGNAL_EVENT)
#define POST_SLOW   ((u64)HVCALL_POST_MESSAGE)
#define OUTPUT	    0x123456789000ULL /* R8 of a call that has no output */

#define PAYLOAD_MAX 240
#define NR_NOWHERE  3

/* The input of HvPostMessage. */
struct post_input {
	u32 connection;
	u32 reserved;
	u32 type;
	u32 size;
	u8 payload[PAYLOAD_MAX];
};

/* One vCPU, and pages for what it calls with. */
struct one {
	struct vm *vm;
	struct vcpu *vcpu;
	struct ops_page *ops;
	u64 *signal; /* a page of the guest */
	struct post_input *post;
};

struct one one_vcpu(u32 flags, bool synic);

/* KVM_HYPERV_EVENTFD. */
int __connection_ioctl(struct vm *vm, u32 conn, int fd, u32 flags);
int __connection_assign(struct vm *vm, u32 conn, int fd);
/* A new eventfd, assigned to @conn. */
int connection_new(struct vm *vm, u32 conn);

/* Let the guest call. The kernel answers; user space sees nothing. */
void call_answered(struct one *o, u64 control, u64 in, u64 status, const char *what);
/* Run to the exit that hands the call to user space. */
void run_to_user(struct one *o, u64 control, u64 in, u64 out);
/* Complete it with @result, and see that this is what the guest gets. */
void end_of_exit(struct one *o, u64 result);
/* Let the guest make a call that goes to user space as the guest made it. */
void handed_over(struct one *o, u64 control, u64 in, u64 out, u64 result);

/*
 * Assert the answer to input that is not in memory.
 * To the TLFS this is a memory intercept, not a status. Stock says alignment
 * here and invalid input for every other call: either will do.
 */
void assert_unreadable(struct guest_op r);

/* Addresses without memory. */
extern const u64 gpas_nowhere[NR_NOWHERE];

#endif
