// SPDX-License-Identifier: GPL-2.0-only
/*
 * Preload object for the emulator of the AMD host: takes one store out of the running emulator's
 * VMRUN helper, so that an interrupt injected by VMRUN is not delivered a second time
 * (testing-run.md tells the story). Works on the memory of its own process only; the packaged file
 * is never touched.
 *
 * The place is found by its shape, never by an offset: calls of the exported
 * do_interrupt_x86_hardirq(env, vector, 1), and shortly before such a call a 32-bit store of the
 * vector at a small negative offset from the same env register (CPUState lies just below env).
 * Exactly one such store must exist. KHV_VMRUN_FIX=report prints the outcome to stderr.
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

static const char *fix(void)
{
	static const uint8_t nop6[6] = { 0x66, 0x0f, 0x1f, 0x44, 0x00, 0x00 };
	const uint8_t *target = dlsym(RTLD_DEFAULT, "do_interrupt_x86_hardirq");
	long page = sysconf(_SC_PAGESIZE);
	struct text t = { 0 };
	uintptr_t first, last;
	uint8_t *store;
	int found;

	if (!target)
		return "absent: the interrupt helper is not exported";
	dl_iterate_phdr(find_text, &t);
	if (!t.base)
		return "absent: no executable segment";
	store = find_store(&t, target, &found);
	if (found != 1)
		return found ? "absent: more than one candidate" : "absent: no candidate";

	first = (uintptr_t)store & -page;
	last = ((uintptr_t)store + sizeof(nop6) - 1) & -page;
	if (mprotect((void *)first, last - first + page, PROT_READ | PROT_WRITE))
		return "absent: text cannot be made writable";
	memcpy(store, nop6, sizeof(nop6));
	if (mprotect((void *)first, last - first + page, PROT_READ | PROT_EXEC))
		abort();
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
