// SPDX-License-Identifier: GPL-2.0-only
/*
 * Preload object for the emulator of the AMD host: mends two faults in the running emulator's
 * VMRUN helper, so that an interrupt injected by VMRUN is not delivered a second time, and one of
 * the host's that comes while VMRUN asks for an interrupt window is not lost (testing-run.md tells
 * the story). Works on the memory of its own process only; the packaged file is never touched.
 *
 * Both places are found by their shape, never by an offset, and each must exist exactly once.
 * Injection: calls of the exported do_interrupt_x86_hardirq(env, vector, 1), and shortly before such
 * a call a 32-bit store of the vector at a small negative offset from the same env register
 * (CPUState lies just below env); the store is taken out. Window: the one instruction that sets the
 * bit CPU_INTERRUPT_VIRQ at such an offset, without the lock that other threads rely on; it gets a
 * lock prefix. KHV_VMRUN_FIX=report prints the outcome to stderr.
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

#define CPU_INTERRUPT_VIRQ 0x100 /* a bit of CPUState's interrupt_request */

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

static uint8_t *find_store(const struct text *t, const uint8_t *target, int *found)
{
	uint8_t *store = NULL;

	*found = 0;
	for (uint8_t *p = t->base + LOOK_BACK + 8; p + 5 <= t->base + t->len; p++) {
		int base;

		if (p[0] != 0xe8 || p + 5 + get32(p + 1) != target)
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
				(*found)++;
			}
		}
	}
	return store;
}

/* orl $CPU_INTERRUPT_VIRQ,disp32(%base): 81 modrm disp32 imm32, mod 10, no REX or SIB. */
static int is_or_virq(const uint8_t *p)
{
	int32_t disp = get32(p + 2);

	return p[0] == 0x81 && (p[1] & 0xf8) == 0x88 && (p[1] & 7) != 4 &&
	       get32(p + 6) == CPU_INTERRUPT_VIRQ && (p[-1] & 0xf0) != 0x40 && disp < 0 &&
	       disp > -CPUSTATE_MAX;
}

static uint8_t *find_or(const struct text *t, int *found)
{
	uint8_t *window = NULL;

	*found = 0;
	for (uint8_t *p = t->base + 1; p + 10 <= t->base + t->len; p++) {
		if (is_or_virq(p)) {
			window = p;
			(*found)++;
		}
	}
	return window;
}

static int patch(uint8_t *place, const uint8_t *bytes, size_t len)
{
	long page = sysconf(_SC_PAGESIZE);
	uintptr_t first = (uintptr_t)place & -page;
	uintptr_t last = ((uintptr_t)place + len - 1) & -page;

	if (mprotect((void *)first, last - first + page, PROT_READ | PROT_WRITE))
		return -1;
	memcpy(place, bytes, len);
	if (mprotect((void *)first, last - first + page, PROT_READ | PROT_EXEC))
		abort();
	return 0;
}

static const char *fix(void)
{
	static const uint8_t nop6[6] = { 0x66, 0x0f, 0x1f, 0x44, 0x00, 0x00 };
	/* lock orb $1,disp32+1(%base); xchg %ax,%ax: the same bit, in as many bytes. */
	uint8_t lock_or[10] = { 0xf0, 0x80, 0, 0, 0, 0, 0, CPU_INTERRUPT_VIRQ >> 8, 0x66, 0x90 };
	const uint8_t *target = dlsym(RTLD_DEFAULT, "do_interrupt_x86_hardirq");
	struct text t = { 0 };
	uint8_t *store, *window;
	int found, disp;

	if (!target)
		return "absent: the interrupt helper is not exported";
	dl_iterate_phdr(find_text, &t);
	if (!t.base)
		return "absent: no executable segment";
	store = find_store(&t, target, &found);
	if (found != 1)
		return found ? "absent: more than one candidate (injection)" :
			       "absent: no candidate (injection)";
	window = find_or(&t, &found);
	if (found != 1)
		return found ? "absent: more than one candidate (window)" :
			       "absent: no candidate (window)";

	disp = get32(window + 2) + 1;
	lock_or[2] = window[1];
	memcpy(lock_or + 3, &disp, sizeof(disp));
	if (patch(store, nop6, sizeof(nop6)) || patch(window, lock_or, sizeof(lock_or)))
		return "absent: text cannot be made writable";
	return "in place";
}

__attribute__((constructor)) static void vmrun_fix(void)
{
	const char *want = getenv("KHV_VMRUN_FIX");
	const char *outcome;

	/* Only the emulator itself: helpers that it starts inherit the environment. */
	if (!want)
		return;
	outcome = fix();
	if (!strcmp(want, "report"))
		fprintf(stderr, "vmrun fix: %s\n", outcome);
}
