/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The differential fuzzer: one stream of operations runs on a VM of stock KVM and on a VM of the
 * module, and what came of each operation is compared. Documentation/fuzzing.rst.
 */
#ifndef KHV_SELFTEST_FUZZ_H
#define KHV_SELFTEST_FUZZ_H

#include <stdio.h>

#include "nested.h"
#include "rows.h"

/* --- memory, the same addresses in both VMs ------------------------------ */

/* Pages that registers may name: in two memslots, which may be deleted, moved or made read-only. */
#define FUZZ_GPA	 0x50000000ULL
#define FUZZ_SLOT_PAGES	 4u
#define FUZZ_SLOTS	 2u
/* Of them, where the VP assist page of a stream begins. */
#define FUZZ_ASSIST_PAGE 2u
/* Behind them the pages of input and output, in a slot that stays. */
#define FUZZ_IN_PAGE	 8u
#define FUZZ_OUT_PAGE	 11u
#define FUZZ_PAGES	 12u
#define FUZZ_PAGE(n)	 (FUZZ_GPA + PAGE_SIZE * (n))
/* Where a slot goes that is moved: the second one behind the first. */
#define FUZZ_MOVED	 0x50100000ULL
/* What a VP sees in SMM besides: its SMRAM, with a handler that returns. */
#define FUZZ_SMRAM	 0x30000ULL
#define FUZZ_SMRAM_SIZE	 0x10000UL
/* The enlightened VMCS: its state holds addresses of L1, so it is not compared. */
#define FUZZ_EVMCS	 0x8000ULL

/* An absolute reference time that no stream lives to see, and one that is over when it begins. */
#define FUZZ_FAR  36000000000ULL
#define FUZZ_PAST 1ULL

/* --- operations ---------------------------------------------------------- */

#define FUZZ_WORDS 16

/* X(name, words that are written to a file, what it is) */
#define FUZZ_GUEST_OPS(X) \
	X(RDMSR, 1)       \
	X(WRMSR, 2)       \
	X(CPUID, 2)       \
	X(LOAD, 1)        \
	X(STORE, 2)       \
	X(CALL, 16)       \
	X(WINDOW, 0)      \
	X(HALT, 0)        \
	X(TIMER, 4)       \
	X(TAKE, 1)        \
	X(TIME, 0)        \
	X(APIC, 3)        \
	X(CR, 2)          \
	X(EOI_BY, 1)      \
	X(NESTED, 1)      \
	X(TSC, 1)
#define FUZZ_HOST_OPS(X) \
	X(GET_MSR, 1)    \
	X(SET_MSR, 2)    \
	X(CPUID_BIT, 2)  \
	X(ENFORCE, 1)    \
	X(SYNIC, 1)      \
	X(FILTER, 2)     \
	X(ROUTE, 2)      \
	X(IRQ, 1)        \
	X(EVENTFD, 2)    \
	X(IRQFD, 2)      \
	X(KICK, 1)       \
	X(CLOCK, 1)      \
	X(TSC_KHZ, 1)    \
	X(LAPIC, 2)      \
	X(SLOT, 2)       \
	X(SMI, 0)        \
	X(OFFERED, 1)    \
	X(NESTED_STATE, 0)

#define FUZZ_ENUM(name, words) FUZZ_##name,
enum fuzz_kind {
	FUZZ_GUEST_OPS(FUZZ_ENUM)
	/* clang-format off */
	FUZZ_GUEST_KINDS,
	FUZZ_FIRST_HOST_KIND = FUZZ_GUEST_KINDS - 1,
	FUZZ_HOST_OPS(FUZZ_ENUM)
	/* clang-format on */
	FUZZ_KINDS,
};

/* Forms of FUZZ_CALL, in w[0]; w[1] control, w[2] and w[3] RDX and R8, w[4] on: the input. */
enum fuzz_form {
	FUZZ_MEMORY,
	FUZZ_REGISTERS,
	FUZZ_XMM,
	FUZZ_BY_PAGE,
	FUZZ_CPL3,   /* from CPL 3; in memory or fast, as control says, with XMM registers */
	FUZZ_32_BIT, /* from 32-bit code, with its registers; else the same */
	FUZZ_FORMS,
};
#define FUZZ_INPUT_WORDS (FUZZ_WORDS - 4)
/* The result of FUZZ_BY_PAGE when there is no code to call. */
#define FUZZ_NO_PAGE	 0x6e6f20636f6465ULL
#define FUZZ_NO_CALL	 -1000ULL /* KVM_ENOSYS, of KVM's own calls */

/* w[1] of FUZZ_EVENTFD for the eventfd of EOM; host_ops.c has the other actions. */
#define FUZZ_EOM_EVENT 5

struct fuzz_op {
	u32 kind;
	u32 answer; /* what user space answers, if the operation asks it */
	bool l1;    /* of a nested VM: in L1, while the others are in L2 */
	u64 w[FUZZ_WORDS];
};

#define FUZZ_WITHOUT 3

/* Is the guest an L1, and the interpreter its L2? */
enum fuzz_nested {
	FUZZ_NO_L1,
	FUZZ_L1, /* on Intel with the enlightened VMCS */
	FUZZ_L1_PLAIN_VMCS,
	FUZZ_L1_KINDS,
};

/* How the VMs of a stream are made. */
struct fuzz_setup {
	bool x2apic;
	bool fast; /* module parameter fastpath */
	u32 synic; /* 0: without SynIC, else KVM_CAP_HYPERV_SYNIC(2) */
	bool enforce;
	bool debugger; /* CPUID has the debugger's leaves */
	bool shown;    /* CPUID has what stock does not know */
	bool smm;      /* there is SMRAM, so that an SMI returns */
	bool exits;    /* accesses that the MSR filter denies go to user space */
	enum fuzz_nested nested;
	u32 without[FUZZ_WITHOUT]; /* numbers of fuzz_cpuid_bits[], 0: none */
};

/* Bits of the Hyper-V leaves that a stream may do without; the first one stands for none. */
extern const u64 fuzz_cpuid_bits[];
extern const u32 fuzz_nr_cpuid_bits;
/* A bit that the signature "Hv#1" has: without it there is no Hyper-V. */
#define FUZZ_INTERFACE_BIT CPUBIT(HV_LEAF_INTERFACE, EAX, 3)

#define FUZZ_MAX_OPS 512
#define FUZZ_BATCH   32 /* operations of the guest between two looks at the state */

struct fuzz_stream {
	u64 seed;
	struct fuzz_setup setup;
	u32 nr;
	struct fuzz_op ops[FUZZ_MAX_OPS];
};

/* --- what came of it ----------------------------------------------------- */

#define FUZZ_EXITS	2
#define FUZZ_FIELDS	6
#define FUZZ_TAKEN	64
/* Reasons that are none of KVM's: KVM_RUN failed, by its errno; the guest has an exception. */
#define FUZZ_RUN_FAILED 0x1000u
#define FUZZ_FAULTED	0x2000u

struct fuzz_exit {
	u32 reason, type;
	u64 field[FUZZ_FIELDS];
};

struct fuzz_out {
	u32 vector, error;
	u64 result, result2;
	s64 ret;	      /* of an ioctl */
	u32 irqs;	      /* taken during the operation */
	u64 vectors;	      /* the last eight of them, and a checksum of those before */
	u8 taken[FUZZ_TAKEN]; /* the first of them */
	u32 nr_exits;
	struct fuzz_exit exits[FUZZ_EXITS];
};

#define FUZZ_MSRS	  96
#define FUZZ_APIC_WORDS	  64
#define FUZZ_EVENTFDS	  4
#define FUZZ_EVENTS	  (2 * FUZZ_EVENTFDS) /* of connections, then of resamplefds */
#define FUZZ_NESTED_WORDS 5 /* exits of L2 to L1: number, then kind, failure, reason, information */

/* The state between two batches. */
struct fuzz_state {
	u64 msr[FUZZ_MSRS];
	u8 msr_ok[FUZZ_MSRS];
	u32 apic[FUZZ_APIC_WORDS];
	u64 events[FUZZ_EVENTS];
	u64 nested[FUZZ_NESTED_WORDS];
	u64 tsc;
};

enum fuzz_who { FUZZ_STOCK, FUZZ_MODULE, FUZZ_WHO };

/* One of the two VMs of a stream. */
struct fuzz_vm {
	enum fuzz_who who;
	struct fuzz_setup setup;
	struct vm *vm;
	struct vcpu *v;
	struct ops_page *ops;
	struct nested *nested;
	struct fuzz_arg *args;
	struct fuzz_log *log;
	u8 *pages;
	u64 slot_at[FUZZ_SLOTS]; /* 0: deleted */
	bool slot_readonly[FUZZ_SLOTS];
	u32 slot_id[FUZZ_SLOTS];
	int eventfd[FUZZ_EVENTFDS];
	int eomfd;
	bool connected[FUZZ_EVENTFDS];
	int irqfd[FUZZ_EVENTFDS], resamplefd[FUZZ_EVENTFDS];
	bool raises[FUZZ_EVENTFDS]; /* the irqfd is one */
	bool routed;		    /* each GSI has a route */
	bool ended;		    /* hung, or ended by an exit that it cannot go on from */
	struct fuzz_state state;
};

/* --- guest.c: what the guest and the host share -------------------------- */

#define FUZZ_LOG 512

struct fuzz_log {
	volatile u32 nr;
	u32 op;	    /* of the running batch */
	u32 eoi_by; /* enum fuzz_eoi */
	u32 x2apic;
	u32 no_cr8; /* QEMU's SVM ends at a write while an interrupt waits */
	volatile u32 woken;
	u64 first_irq; /* TSC */
	struct {
		u32 op, vector;
	} entry[FUZZ_LOG];
};

enum fuzz_eoi { FUZZ_EOI_APIC, FUZZ_EOI_MSR, FUZZ_EOI_NONE };

struct fuzz_arg {
	u64 w[FUZZ_WORDS];
	u64 result, result2;
	u32 vector, error;
	struct xmm_block xmm;
	struct guest_op inner; /* what L1 is to do */
};

/* Results of fuzz_guest_timer(), and of fuzz_guest_time() and fuzz_guest_tsc(). */
enum fuzz_timer {
	FUZZ_TIMER_FAULTED,
	FUZZ_TIMER_NOTHING,
	FUZZ_TIMER_ONE,
	FUZZ_TIMER_SEVERAL,
	FUZZ_TIMER_EARLY = 16,
};
enum fuzz_time {
	FUZZ_TIME_BY_REGISTER,
	FUZZ_TIME_NONE,
	FUZZ_TIME_BACK,
	FUZZ_TIME_TWO_CLOCKS,
	FUZZ_TIME_BY_PAGE,
};

/* OP_CALL of ops.h. */
u64 fuzz_guest_call(u64 arg);
u64 fuzz_guest_window(u64 arg);
u64 fuzz_guest_halt(u64 arg);
u64 fuzz_guest_idle(u64 arg);
u64 fuzz_guest_timer(u64 arg);
u64 fuzz_guest_take(u64 arg);
u64 fuzz_guest_time(u64 arg);
u64 fuzz_guest_tsc(u64 how);
u64 fuzz_guest_apic(u64 arg);
u64 fuzz_guest_cr(u64 arg);
u64 fuzz_guest_eoi_by(u64 arg);
u64 fuzz_guest_in_l1(u64 arg);
u64 fuzz_guest_nested(u64 arg);
void fuzz_guest_irq(struct guest_frame *frame);
/* What FUZZ_TSC sets the TSC to. */
enum fuzz_tsc { FUZZ_TSC_AHEAD, FUZZ_TSC_ZERO, FUZZ_TSC_WRAP, FUZZ_TSCS };
/* Bits of FUZZ_NESTED. */
#define FUZZ_NESTED_DIRECT  1u
#define FUZZ_NESTED_BITMAP  2u
#define FUZZ_NESTED_NPT	    4u
#define FUZZ_NESTED_LOCK    8u	/* TlbLockCount */
#define FUZZ_NESTED_ALLOWED 16u /* direct calls, in the VP assist page */
#define FUZZ_NESTED_VP_ID   32u
#define FUZZ_NESTED_VM_ID   64u
#define FUZZ_NESTED_NO_ID   128u /* VmId 0: it has none */
#define FUZZ_NESTED_POSTS   256u /* inter-partition communication, in the VP assist page */
/* The vector with which fuzz_guest_halt() is woken up. */
#define FUZZ_WAKE_VECTOR    0xfe

/* --- exec.c, host_ops.c -------------------------------------------------- */

/* The exit fast path, of all VMs. */
void fuzz_set_fast(bool on);
/* The VM @side (0 or 1) of a stream. */
struct fuzz_vm *fuzz_vm_create(enum fuzz_who who, u32 side, const struct fuzz_setup *setup);
void fuzz_vm_free(struct fuzz_vm *f);
/* Log what a guest that has ended said last. */
void fuzz_tell_end(const struct fuzz_vm *f);
/* Run up to FUZZ_BATCH operations of the guest. */
void fuzz_run_guest(struct fuzz_vm *f, const struct fuzz_op *ops, u32 nr, struct fuzz_out *out);
void fuzz_run_host(struct fuzz_vm *f, const struct fuzz_op *op, struct fuzz_out *out);
/* Page of fuzz_vm.pages at an address of the guest, -1 when there is none. */
int fuzz_page_at(const struct fuzz_vm *f, u64 at);
/* Read the state into f->state. */
void fuzz_look(struct fuzz_vm *f);

/* --- gen.c --------------------------------------------------------------- */

struct fuzz_random {
	u64 s;
	bool apart; /* the hypercall page and the reference TSC page have pages of their own */
	u32 filtered, nr_filtered; /* registers that the MSR filter denies */
};

u64 fuzz_random(struct fuzz_random *r);
void fuzz_generate(struct fuzz_stream *s, u64 seed, u32 nr);
/* Draw some pieces of @s again, and replace others by what @other has. */
void fuzz_mutate(struct fuzz_stream *s, const struct fuzz_stream *other, u64 seed);

/* --- text.c -------------------------------------------------------------- */

const char *fuzz_kind_name(u32 kind);
bool fuzz_is_host(u32 kind);
void fuzz_print_op(char *buf, size_t size, const struct fuzz_op *op);
void fuzz_print(FILE *f, const struct fuzz_stream *s);
/* The next stream of @f, up to another setup. NULL, or what is wrong with line *@line. */
const char *fuzz_load(struct fuzz_stream *s, FILE *f, u32 *line);

/* --- compare.c ----------------------------------------------------------- */

enum fuzz_what {
	FUZZ_OF_VECTOR,
	FUZZ_OF_RESULT,
	FUZZ_OF_RET,
	FUZZ_OF_EXITS,
	FUZZ_OF_IRQS,
	FUZZ_OF_MSR,
	FUZZ_OF_APIC,
	FUZZ_OF_EVENTS,
	FUZZ_OF_NESTED,
	FUZZ_OF_PAGE,
	FUZZ_OF_TIME, /* index: the VM in which it is wrong */
	FUZZ_OF_END,
	FUZZ_OF_DEMAND, /* of the module alone: what it must do whatever stock does */
};

struct fuzz_difference {
	enum fuzz_what what;
	u32 at;	   /* operation; of the state: the last one before */
	u32 index; /* register of fuzz_state.msr, APIC register, page, field of an exit */
	u32 offset;
	u64 a, b;	/* stock, module; of a demand: what it must be, and is */
	const char *id; /* of a demand */
};

struct fuzz_verdict {
	bool differs; /* in a way that is not known */
	struct fuzz_difference d;
	u32 done; /* operations that were compared */
};

/* Streams that ended before their last operation, and what they did not run. */
struct fuzz_lost {
	u64 cut, ended, ops;
};

extern struct fuzz_lost fuzz_lost;
/* Print what came of each operation. */
extern bool fuzz_tells;

/* Run @s on both, and compare. */
void fuzz_run(const struct fuzz_stream *s, const enum fuzz_who who[2], struct fuzz_verdict *v);
/* What the PPR must be, from the TPR and what is in service. */
u32 fuzz_ppr(const struct fuzz_state *s);
void fuzz_describe(char *buf, size_t size, const struct fuzz_difference *d);

/* --- shadow.c, known.c --------------------------------------------------- */

/* What a page has been since the stream began. */
enum fuzz_role {
	FUZZ_AS_HYPERCALL = 1,
	FUZZ_AS_TSC = 2,
	FUZZ_AS_SIMP = 4,
	FUZZ_AS_SIEFP = 8,
	FUZZ_AS_ASSIST = 16,
};

/* A register whose values differ, by this id, and what each of them holds. */
struct fuzz_taint {
	const char *id; /* NULL: the values are equal */
	bool any;	/* that of stock may be anything */
	bool loose;	/* it may have been written since */
	u64 is[2];
};

/*
 * What may raise an interrupt in one of them only, by this id, and what it leaves behind: the
 * timers, then ICR on the side of stock and on that of the module.
 */
#define FUZZ_ICR    HV_SYNIC_STIMERS
#define FUZZ_RAISES (FUZZ_ICR + 2)
struct fuzz_raise {
	const char *id; /* NULL: it may not */
	u64 vectors[4]; /* one bit each */
	u32 sints;
	bool short_period; /* when its ticks come depends on the host */
	u32 sides;	   /* one bit each: that of stock, that of the module */
};

/* Why the reference TSC page of the two may differ: what it was when a register named it. */
enum fuzz_tsc_mark {
	FUZZ_TSC_LATE = 1,  /* it could not be written */
	FUZZ_TSC_RATED = 2, /* the TSC had another rate */
	FUZZ_TSC_ALONE = 4, /* stock alone had frozen it */
};

#define FUZZ_OVER_CODE 8

/* What the stream has done so far, as far as known differences depend on it. */
struct fuzz_shadow {
	const struct fuzz_stream *s;
	const struct fuzz_vm *f[2];
	u64 msr[2][FUZZ_MSRS];
	struct fuzz_taint tainted[FUZZ_MSRS];
	struct fuzz_out out[2]; /* of the operation that was noted last */
	u32 role[FUZZ_PAGES];
	u32 tsc[FUZZ_PAGES];	  /* enum fuzz_tsc_mark */
	bool left[FUZZ_PAGES];	  /* what the hypercall page lay over may not have come back */
	bool changed[FUZZ_PAGES]; /* the code there may not be what the module wrote last */
	/* What the guest has written over the code, the last ones. */
	struct {
		u64 at, value;
	} over_code[FUZZ_OVER_CODE];
	u32 nr_over_code;
	u64 hypercall[2];  /* the register, by D2 and D41 */
	bool locked;	   /* that of the module was, before the operation */
	bool entered, met; /* the guest has run, and the state was looked at since */
	u64 crash_ctl[2];  /* what each guest reads, by D6 */
	u64 crash_notice;  /* what the guest has written last, if it has */
	u64 icr[2];	   /* the upper half of HV_X64_MSR_ICR, by D52 */
	u64 icr2[2];	   /* and that of the APIC in xAPIC mode */
	u64 debug_status;  /* SYNDBG_STATUS of the module */
	u64 shown_status;  /* the same, before the operation */
	bool cr8; /* the guest has written CR8, or the TPR by MSR, since the PPRs were equal */
	bool enforce;
	bool apic_off;
	bool rate;	    /* user space has given the TSC another rate */
	bool steps[2];	    /* the time may take steps, by the TSC or the page */
	u64 polled_auto[4]; /* vectors that a polled SINT with AutoEOI had */
	u32 twins;	    /* SINTs that had the vector of a polled one with AutoEOI */
	u64 hz;		    /* of the TSC when the guest ran last */
	u32 told; /* vector of a reenlightenment interrupt, user space restored its register */
	bool restored_vm;	    /* user space restored an enabled REENLIGHTENMENT_CONTROL */
	bool rate_kept;		    /* and the module may keep the rate of the TSC, D69 */
	bool rate_over;		    /* and the guest has let go of it */
	bool restored_tsc;	    /* stock has taken for its clock what lay in a frozen page */
	u32 let_go;		    /* page + 1 that was frozen, and is not any more */
	bool clock_set;		    /* user space has set the clock, the guest not run since */
	bool foreign_tsc;	    /* the reference TSC page is not what the module has written */
	bool synic;		    /* the SynIC is enabled */
	int gsi[2][HV_SYNIC_SINTS]; /* that is told of the end of the SINT's interrupt, + 1 */
	const char *l2_refused;	    /* a call of L2 had another result, by this id */
	bool assist_set;	    /* user space has set the VP assist page, L1 not run since */
	bool faulted_in_l1;	    /* the module alone has injected a fault into L1 */
	bool restored_l2;	    /* user space has restored L2, which L1 has not entered since */
	u32 bared;		    /* page + 1 where the guest has taken the clock off the code */
	u32 timed_messages;	    /* SINTs of which FUZZ_TIMER may have armed a timer */
	u64 eois;		    /* of the guest, as far as it has written them to the APIC */
	bool hushed;		    /* a disabled SynIC had these types of messages in its slots */
	u32 slots[HV_SYNIC_SINTS];
	s64 gap[FUZZ_EVENTFDS];	 /* of the signals of resamplefds, stock's less the module's */
	bool routed;		 /* user space has set routes */
	u32 sint[FUZZ_EVENTFDS]; /* that the GSI is routed to */
	struct fuzz_raise raises[FUZZ_RAISES];
	u64 ticks[4]; /* of timers that the guest has waited for */
};

struct fuzz_known {
	const char *id; /* NULL: unknown */
	bool cut;	/* the VMs cannot be compared from here on */
};

/* Once f[] and s are set. */
void fuzz_shadow_begin(struct fuzz_shadow *sh);
/* Before the results of @op are compared, and after. */
void fuzz_shadow_op(struct fuzz_shadow *sh, const struct fuzz_op *op, const struct fuzz_out out[2]);
void fuzz_shadow_look(struct fuzz_shadow *sh);
/* Is it an operation of L2? */
bool fuzz_in_l2(const struct fuzz_shadow *sh, const struct fuzz_op *o);
/* Does it write this register? */
bool fuzz_writes(const struct fuzz_op *o, u32 msr);
/* The call instruction and RET, as KVM writes them, and what the module fills the page with. */
u32 fuzz_call_code(void);
#define FUZZ_CODE_FILL	   0xccccccccU
/* Of the reference TSC page: sequence, scale and offset. */
#define FUZZ_TSC_PAGE_SIZE 24
/* Is the hypercall page of the module enabled at this address? */
bool fuzz_is_code(const struct fuzz_shadow *sh, u64 at);
/* The address of a page now, 0 when it has none. */
u64 fuzz_page_address(const struct fuzz_vm *f, u32 page);
/* What the page at this address has been, 0 also where there is none. */
u32 fuzz_role_of(const struct fuzz_shadow *sh, u64 at);
/* The register has these values from here on, until it is written again, or they are equal. */
void fuzz_taint(struct fuzz_shadow *sh, u32 msr, const char *id, u64 stock, u64 module);
/* The expiry of timer @n with this CONFIG may differ from here on. */
void fuzz_note_timer(struct fuzz_shadow *sh, u32 n, u64 config, const char *id);
/* The same, if only this side has expired. */
void fuzz_note_timer_of(struct fuzz_shadow *sh, u32 side, u32 n, u64 config, const char *id);
/* May the page of the reference TSC of the module hold something else than it has written? */
bool fuzz_tsc_is_foreign(const struct fuzz_shadow *sh);
/* The page of the module stays as it is, whatever becomes of the clock. */
bool fuzz_tsc_is_frozen(const struct fuzz_shadow *sh);
bool fuzz_tsc_is_frozen_in(const struct fuzz_shadow *sh, u32 side);
/* Does KVM scale the TSC, or have it catch up? */
bool fuzz_scales_tsc(const struct fuzz_shadow *sh);
u64 fuzz_shadow_msr(const struct fuzz_shadow *sh, u32 side, u32 msr);
struct fuzz_known fuzz_known(struct fuzz_shadow *sh, const struct fuzz_op *op,
			     const struct fuzz_difference *d);
/* Return: the number of known differences that are seen often, and were not. */
u32 fuzz_known_report(void);
/* Is it a CONFIG of a timer? */
bool fuzz_is_config(u32 msr);
/* Bits of a register that what comes in between may have changed: expiries, and writes of COUNT. */
u64 fuzz_volatile_bits(u32 msr, u64 value);

/* --- demand.c ------------------------------------------------------------- */

/*
 * Does the module do what Documentation/divergences.rst says, after an operation and in the state
 * (before fuzz_shadow_look())? Else fill in @d. Equality shows nothing where stock does as a module
 * that is wrong.
 */
bool fuzz_demands_op(const struct fuzz_shadow *sh, const struct fuzz_op *o,
		     struct fuzz_difference *d);
bool fuzz_demands_state(const struct fuzz_shadow *sh, struct fuzz_difference *d);
/* Is user space asked? It may also be told of a reset, which came before the call. */
bool fuzz_asks_user(const struct fuzz_out *out);

/* --- steer.c -------------------------------------------------------------- */

/* Steer by what the module's code runs. Return: false if it was built without COVERAGE=1. */
bool fuzz_steer_begin(void);
/* A stream as fuzz_generate() draws it, or a variant of one that was kept. */
void fuzz_steer_draw(struct fuzz_stream *s, u64 seed, u32 nr);
/* @s has run and nobody else: keep it if it ran what no other one did. */
void fuzz_steer_judge(const struct fuzz_stream *s);
/* The runs since the last one judged do not count. */
void fuzz_steer_forget(void);
void fuzz_steer_report(void);

/* --- shrink.c, cover.c --------------------------------------------------- */

void fuzz_shrink(struct fuzz_stream *s, const enum fuzz_who who[2], struct fuzz_verdict *v);

/* @l2: registers and calls have been answered by L1, or could have been. */
void fuzz_cover(const struct fuzz_op *op, const struct fuzz_out *out, bool l2);
/* Print row by outcome; the number of those that can be reached and were not. */
u32 fuzz_cover_report(bool print);
/* What the guests of the module did, and what of it the exit fast path answered, row by row. */
void fuzz_fast_report(void);

#endif
