/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Hypercalls with their input in memory that only the host touches by its own mappings.
 */
#ifndef KHV_SELFTEST_MEMORY_CALL_H
#define KHV_SELFTEST_MEMORY_CALL_H

#include "ops.h"

#define TRIES	   8 /* a single call may find that it has to wait */
#define OS_ID	   0x8100000000000001ULL
#define VECTOR	   0x41ull
#define CONN	   0x1234ull
#define OTHER_CONN 0x1235ull
#define NR_VPS	   4
#define TARGETS	   0xeu /* all but the caller */
#define SPARSE	   0ull
#define ALL	   1ull

/* Two pages of input, which only the host touches by its own mappings. */
#define INPUT	   0x60000000ULL
#define INPUT_SIZE (2 * PAGE_SIZE)

#define OK	HV_STATUS_SUCCESS
#define INVALID HV_STATUS_INVALID_HYPERCALL_INPUT
#define ALIGN	HV_STATUS_INVALID_ALIGNMENT
#define PARAM	HV_STATUS_INVALID_PARAMETER
#define REPS(n) ((u64)(n) << 32)

#define SPACE	 HVCALL_FLUSH_SPACE
#define SPACE_EX HVCALL_FLUSH_SPACE_EX
#define LIST	 HVCALL_FLUSH_LIST
#define LIST_EX	 HVCALL_FLUSH_LIST_EX
#define IPI	 HVCALL_SEND_IPI
#define IPI_EX	 HVCALL_SEND_IPI_EX
#define SIGNAL	 HVCALL_SIGNAL_EVENT
#define VARHDR	 HV_CTL_VARHDR
#define REP	 HV_CTL_REP
#define START	 HV_CTL_START

/* A call, its right answer and that of stock, and what it does. */
struct call {
	const char *name;
	u64 control;
	u32 qwords;
	u64 block[8];
	u64 right, stock;
	const char *id; /* of the difference */
	u32 targets;	/* vCPUs that get VECTOR */
	u32 signals;	/* of CONN */
};

#define SAME(status)		status, status, NULL
#define DIFF(id, status, stock) status, stock, id

/* The memslot's memory, and how the host writes what is in it. */
struct input {
	int memfd;
	u8 *view; /* a second mapping of the same pages */
	u8 *hva;  /* the memslot's */
};

/* One VM and its input. */
struct one {
	struct vm *vm;
	struct vcpu *vcpu;
	struct ops_page *ops;
	struct input in;
	int conn;
	u32 nr_vps;
	struct kvm_lapic_state *clean; /* each VP's local APIC: enabled, and nothing pending */
	u32 nr, wrong;
};

void set_memslot(struct vm *vm, u32 slot, void *hva, u64 size, u32 flags);
void *map(int fd, int prot);
/* Take the pages out of the memslot's page table; what is in them stays. */
void drop(struct one *o);
/* Let the host read both pages. */
void touch(struct one *o);
struct one one_vm(u32 nr_vps, u32 slot_flags);
void one_free(struct one *o);
/* Interrupts that wait for the VP: how many, and whether @vector is one of them. */
u32 pending(struct vcpu *v, u32 vector, bool *is);
/* Assert that exactly the VPs of @targets have exactly VECTOR; nobody has it afterwards. */
void expect_targets(struct one *o, u32 targets, const char *name);
/* Let the guest call, with its input at @at: the status. */
u64 call_at(struct one *o, u64 control, u64 at);
void write_input(struct one *o, const struct call *c, u64 offset);
/* The status must be as declared, on stock, too; a wrong one there is the row's id. */
void judge_status(struct one *o, const struct call *c, u64 got, const char *what);
/* Assert what the call does, if it succeeded. */
void expect_effect(struct one *o, const struct call *c, const char *what);
/* At the end: every status was right, or wrong as known. Frees the VM. */
void verdict(struct one *o);
/* Does the row have this id? */
bool in_group(const struct call *c, const char *id);
/* How many calls of its code were answered in the fast path. */
u64 fast_calls(const struct call *c);

/* Calls that succeed; the last one is SIGNAL_EVENT. */
#define NR_GOOD_CALLS 9
extern const struct call good_calls[NR_GOOD_CALLS];

enum where { PRESENT, DROPPED, WHERES };

extern const char *const where_names[WHERES];
void check_call(struct one *o, const struct call *c, u64 offset, enum where where);
/* The slot's memory is replaced by @hva. */
void replace_memory(struct one *o, void *hva, u32 flags);
void fresh_memory(struct one *o);

#endif
