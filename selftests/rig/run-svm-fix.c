// SPDX-License-Identifier: GPL-2.0-only
/*
 * Preload object for the emulator of the AMD hosts: takes four faults of SVM out of the running
 * emulator (Documentation/emulator-faults.rst). Works on the memory of its own process only; the
 * packaged file is never touched.
 *
 * An interrupt that VMRUN injects is delivered a second time: one store is taken out.
 * VMRUN does not load the interrupt shadow that #VMEXIT saved, so that a guest that was left
 * between STI and HLT takes its interrupt before the HLT, and then sleeps: a call that loads the
 * shadow, too, takes the place of a load. QEMU 10 loads it by itself.
 * XSETBV is executed although the hypervisor intercepts it, which then enters the guest with its
 * own idea of the guest's XCR0, without what the guest enabled: the check comes before the helper.
 * VMRUN and #VMEXIT change the virtual interrupt's bit of cs->interrupt_request as a word, without
 * a lock, and lose the interrupt that another thread raises meanwhile: they change its byte alone.
 *
 * Places are found by their shape, never by an offset, and there must be exactly one of each. The
 * store: calls of the exported do_interrupt_x86_hardirq(env, vector, 1), and shortly before such a
 * call a 32-bit store of the vector at a small negative offset from the same env register
 * (CPUState lies just below env). The load: of EVENTINJ, whose sign leads to that call; the
 * exported do_vmexit(env), which saves the shadow, tells where CPUState, the VMCB's address and
 * the flags are. The helper of XSETBV: by the exported functions that it calls. The two changes of
 * interrupt_request: by the bit and its complement, at one distance from env.
 * KHV_SVM_FIX=report prints the outcome to stderr.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <link.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define LOOK_BACK    64
#define CPUSTATE_MAX 0x4000 /* at most this far below env CPUState starts */
#define HELPER_SIZE  0x1000 /* so much of VMRUN's helper may lie before the injection */
#define EXIT_HEAD    64	    /* do_vmexit() saves the shadow first of all */
#define XSETBV_SIZE  0x100  /* at least that of XSETBV's helper */
#define JUMP_SIZE    12
#define JMP_RAX	     0xe0
#define CALL_RAX     0xd0

#define VMCB_INT_STATE	 0x68
#define VMCB_EVENT_INJ	 0xa8
#define EVENT_INJ_VALID	 0x80000000u
#define INTERRUPT_SHADOW 1
#define HF_INHIBIT_IRQ	 8
#define INTERRUPT_VIRQ	 0x100
#define EXIT_SIZE	 0x600
#define WORD_CHANGE_SIZE 10
#define SVM_EXIT_XSETBV	 0x8d
#define CR4_OSXSAVE_BYTE 4 /* bit 18, in the third byte */

struct text {
	uint8_t *base;
	size_t len;
};

/* The first object reported is the program itself. */
static int find_text(struct dl_phdr_info *info, size_t size, void *data)
{
	struct text *t = data;

	(void)size;
	for (int i = 0; i < info->dlpi_phnum; i++) {
		const Elf64_Phdr *ph = &info->dlpi_phdr[i];

		if (ph->p_type == PT_LOAD && (ph->p_flags & PF_X)) {
			t->base = (uint8_t *)info->dlpi_addr + ph->p_vaddr;
			t->len = ph->p_memsz;
		}
	}
	return 1;
}

static int32_t get32(const uint8_t *p)
{
	int32_t v;

	memcpy(&v, p, sizeof(v));
	return v;
}

static int is_call(const uint8_t *p, const void *target)
{
	return p[0] == 0xe8 && p + 5 + get32(p + 1) == (const uint8_t *)target;
}

/*
 * mov %reg32,disp32(%base): 89 modrm disp32, mod 10, base without REX or SIB. The same six bytes
 * behind a REX prefix are another instruction: refuse those, a wider store is not the int that is
 * looked for.
 */
static int is_store(const uint8_t *p, int base)
{
	int32_t disp = get32(p + 2);

	return p[0] == 0x89 && (p[1] & 0xc7) == (0x80 | base) && (p[-1] & 0xf0) != 0x40 &&
	       disp < 0 && disp > -CPUSTATE_MAX;
}

/* @call becomes the call that the store belongs to. */
static uint8_t *find_store(const struct text *t, const uint8_t *target, uint8_t **call, int *found)
{
	uint8_t *store = NULL;

	*found = 0;
	for (uint8_t *p = t->base + LOOK_BACK + 8; p + 5 <= t->base + t->len; p++) {
		int base;

		if (!is_call(p, target))
			continue;
		/* mov $1,%edx; mov %base,%rdi; call */
		if (memcmp(p - 8, "\xba\x01\x00\x00\x00\x48\x89", 7) || (p[-1] & 0xc7) != 0xc7)
			continue;
		base = (p[-1] >> 3) & 7;
		if (base == 4)
			continue;
		for (uint8_t *q = p - LOOK_BACK; q < p - 8; q++) {
			if (is_store(q, base)) {
				store = q;
				*call = p;
				(*found)++;
			}
		}
	}
	return store;
}

static void replace(uint8_t *at, const void *bytes, size_t len)
{
	long page = sysconf(_SC_PAGESIZE);
	uintptr_t first = (uintptr_t)at & -page, last = ((uintptr_t)at + len - 1) & -page;

	if (mprotect((void *)first, last - first + page, PROT_READ | PROT_WRITE))
		abort();
	memcpy(at, bytes, len);
	if (mprotect((void *)first, last - first + page, PROT_READ | PROT_EXEC))
		abort();
}

/* mov $to,%rax; jmp *%rax, or call. */
static void far(uint8_t code[JUMP_SIZE], const void *to, uint8_t jmp_or_call)
{
	uint64_t target = (uintptr_t)to;

	code[0] = 0x48;
	code[1] = 0xb8;
	memcpy(code + 2, &target, sizeof(target));
	code[10] = 0xff;
	code[11] = jmp_or_call;
}

/* What the emulator calls x86_ldl_phys(), and where things lie from env. */
static uint32_t (*load)(void *cs, uint64_t addr);
static int32_t cs_at, vmcb_at, hflags_at;

/* In the place of VMRUN's load of EVENTINJ. */
static uint32_t load_event_and_shadow(void *cs)
{
	uint8_t *env = (uint8_t *)cs - cs_at;
	uint64_t vmcb = *(uint64_t *)(env + vmcb_at);
	uint32_t event = load(cs, vmcb + VMCB_EVENT_INJ);

	/* The delivery of an event ends a shadow. */
	if (!(event & EVENT_INJ_VALID) && (load(cs, vmcb + VMCB_INT_STATE) & INTERRUPT_SHADOW))
		*(uint32_t *)(env + hflags_at) |= HF_INHIBIT_IRQ;
	return event;
}

/* do_vmexit(env) begins with the shadow: each of these once, on env in %rdi. */
static int find_layout(const uint8_t *exit)
{
	int cs = 0, vmcb = 0, hflags = 0;

	for (const uint8_t *p = exit; p < exit + EXIT_HEAD; p++) {
		/* lea cs_at(%rdi),%reg */
		if (p[0] == 0x48 && p[1] == 0x8d && (p[2] & 0xc7) == 0x87 && get32(p + 3) < 0 &&
		    get32(p + 3) > -CPUSTATE_MAX) {
			cs_at = get32(p + 3);
			cs++;
		}
		/* mov vmcb_at(%rdi),%rax */
		if (p[0] == 0x48 && p[1] == 0x8b && p[2] == 0x87) {
			vmcb_at = get32(p + 3);
			vmcb++;
		}
		/* testb $HF_INHIBIT_IRQ,hflags_at(%rdi) */
		if (p[0] == 0xf6 && p[1] == 0x87 && p[6] == HF_INHIBIT_IRQ) {
			hflags_at = get32(p + 2);
			hflags++;
		}
	}
	return cs == 1 && vmcb == 1 && hflags == 1;
}

/* Does @p, behind a call, test the result, and does its sign lead to shortly before @injection? */
static int leads_to(const uint8_t *p, const uint8_t *injection)
{
	for (const uint8_t *q = p; q < p + 8; q++) {
		const uint8_t *to = NULL;

		/* test %eax,%eax; js */
		if (q[0] != 0x85 || q[1] != 0xc0)
			continue;
		if (q[2] == 0x78)
			to = q + 4 + (int8_t)q[3];
		else if (q[2] == 0x0f && q[3] == 0x88)
			to = q + 8 + get32(q + 4);
		if (to && to < injection && to >= injection - 4 * LOOK_BACK)
			return 1;
	}
	return 0;
}

static const char *fix_shadow(const struct text *t, uint8_t *injection)
{
	uint8_t *from = injection - HELPER_SIZE, *place = NULL, code[JUMP_SIZE];
	const uint8_t *exit = dlsym(RTLD_DEFAULT, "do_vmexit");
	int found = 0;

	load = dlsym(RTLD_DEFAULT, "x86_ldl_phys");
	if (!load || !exit)
		return ", but the shadow's helpers are not exported";
	if (from < t->base)
		from = t->base;
	for (uint8_t *p = from; p < injection; p++) {
		/* lea disp(%reg),%rsi; call */
		if (p[0] != 0x48 || p[1] != 0x8d)
			continue;
		if ((p[2] & 0xf8) == 0x70 && p[3] == VMCB_INT_STATE && is_call(p + 4, load))
			return "";
		if ((p[2] & 0xf8) == 0xb0 && get32(p + 3) == VMCB_EVENT_INJ &&
		    is_call(p + 7, load) && leads_to(p + 12, injection)) {
			place = p;
			found++;
		}
	}
	if (found != 1)
		return ", but not one load of the injected event";
	if (!find_layout(exit))
		return ", but #VMEXIT does not tell where the shadow is";
	far(code, load_event_and_shadow, CALL_RAX);
	replace(place, code, sizeof(code));
	return "";
}

/* The one change of a word below env by @imm (opcode 81 /@op), in [@from, @to). */
static uint8_t *find_change(uint8_t *from, uint8_t *to, uint8_t op, int32_t imm, int32_t *disp)
{
	uint8_t *place = NULL;

	for (uint8_t *p = from; p < to; p++) {
		/* A base without SIB, and without a REX prefix. */
		if (p[0] != 0x81 || (p[1] & 0xf8) != (0x80 | op << 3) || (p[1] & 7) == 4 ||
		    (p[-1] & 0xf0) == 0x40 || get32(p + 6) != imm || get32(p + 2) >= 0)
			continue;
		if (place)
			return NULL;
		place = p;
		*disp = get32(p + 2);
	}
	return place;
}

/* The same by the second byte of the word alone, locked. */
static void change_byte(uint8_t *place)
{
	uint8_t code[WORD_CHANGE_SIZE] = { 0xf0, 0x80, place[1], [8] = 0x66, [9] = 0x90 };
	int32_t disp = get32(place + 2) + 1;

	memcpy(code + 3, &disp, sizeof(disp));
	code[7] = place[7];
	replace(place, code, sizeof(code));
}

static const char *fix_request(const struct text *t, uint8_t *injection)
{
	uint8_t *from = injection - HELPER_SIZE, *exit = dlsym(RTLD_DEFAULT, "do_vmexit");
	uint8_t *set, *clear;
	int32_t set_at, clear_at;

	if (!exit)
		return ", but #VMEXIT is not exported";
	if (from < t->base + 1)
		from = t->base + 1;
	set = find_change(from, injection + HELPER_SIZE / 4, 1, INTERRUPT_VIRQ, &set_at);
	clear = find_change(exit, exit + EXIT_SIZE, 4, ~INTERRUPT_VIRQ, &clear_at);
	if (!set || !clear || set_at != clear_at)
		return ", but not one change of the interrupt request in each of VMRUN and #VMEXIT";
	change_byte(set);
	change_byte(clear);
	return "";
}

/* What XSETBV's helper is entered by: the check, then its own first instructions, and the rest. */
static void (*check_intercept)(void *env, uint32_t type, uint64_t param, uintptr_t ret);
static int32_t osxsave_at;
__attribute__((used)) static void *xsetbv_itself;

__attribute__((used)) static void xsetbv_exits(uint8_t *env, uintptr_t ret)
{
	/* Where it is an invalid opcode, it is that first. */
	if (env[osxsave_at] & CR4_OSXSAVE_BYTE)
		check_intercept(env, SVM_EXIT_XSETBV, 0, ret);
}

/* (env, ecx, mask): the helper tells by its own return address which instruction it is. */
__attribute__((naked)) static void xsetbv(void)
{
	asm("push %rdi\n"
	    "push %rsi\n"
	    "push %rdx\n"
	    "mov 24(%rsp), %rsi\n"
	    "call xsetbv_exits\n"
	    "pop %rdx\n"
	    "pop %rsi\n"
	    "pop %rdi\n"
	    "jmp *xsetbv_itself(%rip)");
}

/* One movable instruction of a function's head: its length, 0 when it is another one. */
static int movable(const uint8_t *p)
{
	if (!memcmp(p, "\xf3\x0f\x1e\xfa", 4)) /* endbr64 */
		return 4;
	if ((p[0] & 0xf8) == 0x50) /* push %reg */
		return 1;
	if (p[0] == 0x48 && p[1] == 0x89 && p[2] >= 0xc0) /* mov %reg,%reg */
		return 3;
	if (p[0] == 0x48 && p[1] == 0x83 && p[2] == 0xec) /* sub $n,%rsp */
		return 4;
	if (p[0] == 0x64 && p[1] == 0x48 && p[2] == 0x8b && (p[3] & 0xc7) == 0x04 && p[4] == 0x25)
		return 9; /* mov %fs:n,%reg */
	return 0;
}

/* How much of the head of a function at @p to move for a jump of JUMP_SIZE. */
static int head_of(const uint8_t *p)
{
	int len = 0, next;

	while (len < JUMP_SIZE && (next = movable(p + len)))
		len += next;
	return len >= JUMP_SIZE ? len : 0;
}

/*
 * XSETBV's helper is the one that asks for CPUID's leaf and then brings the flags of MPX and AVX
 * in line; it begins where the compiler lets functions begin, with a head that can be moved.
 */
static const char *fix_xsetbv(const struct text *t)
{
	static const uint8_t jmp[6] = { 0xff, 0x25 }; /* jmp *0(%rip) */
	const uint8_t *leaf = dlsym(RTLD_DEFAULT, "cpu_x86_cpuid"), *rest;
	const uint8_t *mpx = dlsym(RTLD_DEFAULT, "cpu_sync_bndcs_hflags");
	const uint8_t *avx = dlsym(RTLD_DEFAULT, "cpu_sync_avx_hflag");
	uint8_t *helper = NULL, *moved, code[JUMP_SIZE];
	int found = 0, checks = 0, len;

	check_intercept = dlsym(RTLD_DEFAULT, "cpu_svm_check_intercept_param");
	if (!leaf || !mpx || !avx || !check_intercept)
		return ", but XSETBV's helpers are not exported";
	for (uint8_t *p = t->base + XSETBV_SIZE; p + XSETBV_SIZE < t->base + t->len; p++) {
		int calls = 0;

		if (!is_call(p, leaf))
			continue;
		for (uint8_t *q = p; q < p + XSETBV_SIZE; q++)
			calls += is_call(q, calls ? avx : mpx);
		if (calls != 2)
			continue;
		for (uint8_t *q = p - XSETBV_SIZE; q < p; q++) {
			if (!((uintptr_t)q % 16) && head_of(q)) {
				helper = q;
				found++;
			}
		}
	}
	if (found != 1)
		return ", but not one helper of XSETBV";
	/* testb $CR4_OSXSAVE_BYTE,osxsave_at(%rdi) */
	for (uint8_t *p = helper; p < helper + XSETBV_SIZE; p++) {
		if (p[0] == 0xf6 && p[1] == 0x87 && p[6] == CR4_OSXSAVE_BYTE) {
			osxsave_at = get32(p + 2);
			checks++;
		}
	}
	if (checks != 1)
		return ", but XSETBV's helper does not look at CR4.OSXSAVE";
	moved = mmap(NULL, sysconf(_SC_PAGESIZE), PROT_READ | PROT_WRITE,
		     MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (moved == MAP_FAILED)
		abort();
	len = head_of(helper);
	rest = helper + len;
	memcpy(moved, helper, len);
	memcpy(moved + len, jmp, sizeof(jmp));
	memcpy(moved + len + sizeof(jmp), &rest, sizeof(rest));
	if (mprotect(moved, sysconf(_SC_PAGESIZE), PROT_READ | PROT_EXEC))
		abort();
	xsetbv_itself = moved;
	far(code, xsetbv, JMP_RAX);
	replace(helper, code, sizeof(code));
	return "";
}

/* "in place", and what of the other mends is not; or "absent". */
static const char *fix(const char **shadow, const char **exits, const char **request)
{
	static const uint8_t nop6[6] = { 0x66, 0x0f, 0x1f, 0x44, 0x00, 0x00 };
	const uint8_t *target = dlsym(RTLD_DEFAULT, "do_interrupt_x86_hardirq");
	struct text t = { 0 };
	uint8_t *store, *call = NULL;
	int found;

	if (!target)
		return "absent: the interrupt helper is not exported";
	dl_iterate_phdr(find_text, &t);
	if (!t.base)
		return "absent: no executable segment";
	store = find_store(&t, target, &call, &found);
	if (found != 1)
		return found ? "absent: more than one candidate" : "absent: no candidate";
	replace(store, nop6, sizeof(nop6));
	*shadow = fix_shadow(&t, call);
	*exits = fix_xsetbv(&t);
	*request = fix_request(&t, call);
	return "in place";
}

__attribute__((constructor)) static void svm_fix(void)
{
	const char *want = getenv("KHV_SVM_FIX");
	const char *outcome, *shadow = "", *exits = "", *request = "";

	/* Only the emulator itself: helpers that it starts inherit the environment. */
	if (!want)
		return;
	outcome = fix(&shadow, &exits, &request);
	if (!strcmp(want, "report"))
		fprintf(stderr, "svm fix: %s%s%s%s\n", outcome, shadow, exits, request);
}
