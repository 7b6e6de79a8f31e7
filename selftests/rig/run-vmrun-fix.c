// SPDX-License-Identifier: GPL-2.0-only
/*
 * Preload object for the emulator of the AMD hosts: takes two faults of VMRUN out of the running
 * emulator (testing-run.md tells their stories). Works on the memory of its own process only; the
 * packaged file is never touched.
 *
 * An interrupt that VMRUN injects is delivered a second time: one store is taken out.
 * VMRUN does not load the interrupt shadow that #VMEXIT saved, so that a guest that was left
 * between STI and HLT takes its interrupt before the HLT, and then sleeps: a call that loads the
 * shadow, too, takes the place of a load. QEMU 10 loads it by itself.
 *
 * Places are found by their shape, never by an offset, and there must be exactly one of each. The
 * store: calls of the exported do_interrupt_x86_hardirq(env, vector, 1), and shortly before such a
 * call a 32-bit store of the vector at a small negative offset from the same env register
 * (CPUState lies just below env). The load: of EVENTINJ, whose sign leads to that call; the
 * exported do_vmexit(env), which saves the shadow, tells where CPUState, the VMCB's address and
 * the flags are.
 * KHV_VMRUN_FIX=report prints the outcome to stderr.
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
#define JUMP_SIZE    12
#define CALL_RAX     0xd0

#define VMCB_INT_STATE	 0x68
#define VMCB_EVENT_INJ	 0xa8
#define EVENT_INJ_VALID	 0x80000000u
#define INTERRUPT_SHADOW 1
#define HF_INHIBIT_IRQ	 8

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

/* "in place", and what of the second mend is not; or "absent". */
static const char *fix(const char **shadow)
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
	return "in place";
}

__attribute__((constructor)) static void vmrun_fix(void)
{
	const char *want = getenv("KHV_VMRUN_FIX");
	const char *outcome, *shadow = "";

	/* Only the emulator itself: helpers that it starts inherit the environment. */
	if (!want)
		return;
	outcome = fix(&shadow);
	if (!strcmp(want, "report"))
		fprintf(stderr, "vmrun fix: %s%s\n", outcome, shadow);
}
