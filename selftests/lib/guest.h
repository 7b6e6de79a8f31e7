/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What guest code may use.
 *
 * Guest code lives in the test program itself: the program's image is mapped
 * into the VM at its own addresses, so code, strings and globals are shared
 * between host and guest. Guest code must not call libc and must not use
 * anything outside this header, the test file and guest/.
 *
 * foo() asserts success, __foo() returns the raw result: for an instruction
 * that may fault, the vector of the exception, 0 when there was none.
 */
#ifndef KHV_SELFTEST_GUEST_H
#define KHV_SELFTEST_GUEST_H

#include "uapi.h"

#define GUEST_PORT 0x4b48

/* The reference TSC page. */
struct tsc_page {
	volatile u32 sequence;
	u32 rsvd;
	volatile u64 scale;
	volatile u64 offset; /* signed, and may wrap */
	u64 rest[509];
};

/* Guest to host, the value written to GUEST_PORT. */
enum guest_cmd {
	GUEST_DONE = 1,
	GUEST_SYNC_CMD,
	GUEST_LOG_CMD,
	GUEST_ASSERT_CMD,
	GUEST_KNOWN_CMD,
	GUEST_EXCEPTION_CMD,
};

struct guest_msg {
	const char *file;
	const char *text;
	u32 line;
	u32 nargs;
	u64 args[4];
};

/* One per vCPU, in the VM's RAM, at GS base. Offsets are used by entry.S. */
struct guest_cpu {
	struct guest_cpu *self; /* 0 */
	u64 user_return_rsp;	/* 8 */
	u64 user_rsp;		/* 16 */
	u32 id;
	struct guest_msg msg;
	u64 error;	       /* code of the last exception that continued at its fix-up */
	struct ops_page *ops;  /* guest/ops.h */
	struct nested *nested; /* guest/nested.h */
	struct fuzz_log *log;  /* fuzz/fuzz.h */
};

struct guest_frame {
	u64 r15, r14, r13, r12, r11, r10, r9, r8;
	u64 rbp, rdi, rsi, rdx, rcx, rbx, rax;
	u64 vector, error;
	u64 rip, cs, rflags, rsp, ss;
};

typedef void (*guest_irq_fn)(struct guest_frame *frame);

/* An entry point of a guest, found in the ELF section khv_guest_tests. */
struct guest_test {
	const char *name;
	void (*entry)(void);
	u32 flags;
	const char *known; /* defect id on stock, as for a host case */
} __attribute__((aligned(32)));

#define GUEST_TEST_AUTO 1 /* a whole test: run on one vCPU until done */

#define __GUEST_ENTRY(_name, _flags, _known)                          \
	static const struct guest_test __guest_##_name                \
		__attribute__((section("khv_guest_tests"), used)) = { \
			.name = #_name,                               \
			.entry = _name,                               \
			.flags = _flags,                              \
			.known = _known,                              \
		}
#define __GUEST_TEST(_name, _flags, _known)   \
	static void _name(void);              \
	__GUEST_ENTRY(_name, _flags, _known); \
	static void _name(void)
/* A whole test of its own. */
#define GUEST_TEST(name)	   __GUEST_TEST(name, GUEST_TEST_AUTO, NULL)
#define GUEST_TEST_KNOWN(name, id) __GUEST_TEST(name, GUEST_TEST_AUTO, id)
/* An entry point that a host case uses. */
#define GUEST_CODE(name)	   __GUEST_TEST(name, 0, NULL)
/* The same of a harness, which declares it in its header. */
#define GUEST_CODE_GLOBAL(name)       \
	__GUEST_ENTRY(name, 0, NULL); \
	void name(void)

/* Set by the host before the first guest runs. */
extern u32 guest_use_vmmcall;
extern guest_irq_fn guest_irq_handlers[256];

/* Exception table: an instruction that may fault continues at @fixup, R10 = vector. */
#define GUEST_EXTABLE(insn, fixup)                  \
	".pushsection khv_guest_extable, \"a\"\n\t" \
	".quad " insn ", " fixup "\n\t"             \
	".popsection\n\t"

static inline struct guest_cpu *this_cpu(void)
{
	struct guest_cpu *c;

	asm("mov %%gs:0, %0" : "=r"(c));
	return c;
}

static inline void outl(u16 port, u32 val)
{
	asm volatile("outl %0, %1" : : "a"(val), "d"(port) : "memory");
}

static inline void outb(u16 port, u8 val)
{
	asm volatile("outb %0, %1" : : "a"(val), "d"(port) : "memory");
}

static inline u64 rdtsc(void)
{
	u32 lo, hi;

	asm volatile("rdtsc" : "=a"(lo), "=d"(hi) : : "memory");
	return (u64)hi << 32 | lo;
}

static inline void cpu_relax(void)
{
	asm volatile("pause" : : : "memory");
}

struct cpuid_regs {
	u32 eax, ebx, ecx, edx;
};

static inline struct cpuid_regs cpuid(u32 leaf, u32 index)
{
	struct cpuid_regs r;

	asm volatile("cpuid"
		     : "=a"(r.eax), "=b"(r.ebx), "=c"(r.ecx), "=d"(r.edx)
		     : "0"(leaf), "2"(index));
	return r;
}

static inline u32 __rdmsr(u32 msr, u64 *val)
{
	u32 lo = 0, hi = 0;
	u64 vector;

	asm volatile("xor %%r10d, %%r10d\n"
		     "1: rdmsr\n"
		     "2: mov %%r10, %2\n" GUEST_EXTABLE("1b", "2b")
		     : "+a"(lo), "+d"(hi), "=r"(vector)
		     : "c"(msr)
		     : "r10", "memory");
	*val = (u64)hi << 32 | lo;
	return (u32)vector;
}

static inline u32 __wrmsr(u32 msr, u64 val)
{
	u64 vector;

	asm volatile("xor %%r10d, %%r10d\n"
		     "1: wrmsr\n"
		     "2: mov %%r10, %0\n" GUEST_EXTABLE("1b", "2b")
		     : "=r"(vector)
		     : "a"((u32)val), "d"((u32)(val >> 32)), "c"(msr)
		     : "r10", "memory");
	return (u32)vector;
}

/* Without a fix-up: an exception ends the test with the place it came from. */
static inline u64 rdmsr(u32 msr)
{
	u32 lo, hi;

	asm volatile("rdmsr" : "=a"(lo), "=d"(hi) : "c"(msr) : "memory");
	return (u64)hi << 32 | lo;
}

static inline void wrmsr(u32 msr, u64 val)
{
	asm volatile("wrmsr" : : "a"((u32)val), "d"((u32)(val >> 32)), "c"(msr) : "memory");
}

struct xmm_block {
	u64 q[12]; /* XMM0..XMM5 */
};

/* Hypercall with the 64-bit convention; returns the vector, *@result = RAX. */
u32 __hypercall(u64 control, u64 in, u64 out, u64 *result);
u32 __hypercall_xmm(u64 control, u64 in, u64 out, const struct xmm_block *xmm, u64 *result);
u64 hypercall(u64 control, u64 in, u64 out);
/* The same through a hypercall page at @page. */
u32 __hypercall_page(void *page, u64 control, u64 in, u64 out, u64 *result);

/* The 32-bit convention: EDX:EAX control, EBX:ECX input, EDI:ESI output; result in EDX:EAX. */
struct regs32 {
	u32 eax, ebx, ecx, edx, esi, edi;
};

/* Hypercall from 32-bit code in compatibility mode; returns the vector. */
u32 __hypercall_32(struct regs32 *r, const struct xmm_block *xmm);
/* Code for a vCPU that the host puts into a 32-bit mode, with EBP at a struct regs32. */
void guest_mode32_vmcall(void);
void guest_mode32_vmmcall(void);

/* Run @fn at CPL 3 on the vCPU's user stack, then come back; returns its result. */
u64 guest_call_user(u64 (*fn)(u64 arg), u64 arg);

void guest_exit(enum guest_cmd cmd);
void guest_assert_failed(enum guest_cmd cmd, const char *file, u32 line, const char *text,
			 u32 nargs, u64 a, u64 b);
void guest_sync(u64 stage, u64 a, u64 b);
void guest_log(const char *text, u64 a, u64 b);
void guest_done(void);

#define GUEST_SYNC(stage)	     guest_sync(stage, 0, 0)
#define GUEST_SYNC_ARGS(stage, a, b) guest_sync(stage, (u64)(a), (u64)(b))

#define GUEST_ASSERT(cond)                                                                         \
	do {                                                                                       \
		if (!(cond))                                                                       \
			guest_assert_failed(GUEST_ASSERT_CMD, __FILE__, __LINE__, #cond, 0, 0, 0); \
	} while (0)
#define GUEST_ASSERT_EQ(a, b)                                                                      \
	do {                                                                                       \
		u64 __a = (u64)(a), __b = (u64)(b);                                                \
		if (__a != __b)                                                                    \
			guest_assert_failed(GUEST_ASSERT_CMD, __FILE__, __LINE__, #a " == " #b, 2, \
					    __a, __b);                                             \
	} while (0)
#define GUEST_ASSERT_KNOWN_EQ(a, b)                                                               \
	do {                                                                                      \
		u64 __a = (u64)(a), __b = (u64)(b);                                               \
		if (__a != __b)                                                                   \
			guest_assert_failed(GUEST_KNOWN_CMD, __FILE__, __LINE__, #a " == " #b, 2, \
					    __a, __b);                                            \
	} while (0)

/* Make the guest known, so that hypercalls are Hyper-V's. */
static inline void guest_set_os_id(void)
{
	wrmsr(HV_X64_MSR_GUEST_OS_ID, 0x8100000000000001ULL);
}

#endif
