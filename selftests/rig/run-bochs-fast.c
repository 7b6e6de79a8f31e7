// SPDX-License-Identifier: GPL-2.0-only
/*
 * Preload object for the emulator of the Intel host: Debian builds Bochs with its debugger and with
 * hooks for instrumentation, which are asked after each instruction and each memory access whether
 * somebody wants to be told. Nobody does here, and asking is a quarter of the time. The functions
 * are exported, so they are found by name; they return at once instead, and the loop over
 * instructions does not call them. Works on the memory of its own process only.
 * KHV_BOCHS_FAST=report prints the outcome to stderr.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <elf.h>
#include <link.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define NOP5                           \
	{                              \
		0x0f, 0x1f, 0x44, 0, 0 \
	}
#define CPU_LOOP "_ZN8BX_CPU_C8cpu_loopEv" /* BX_CPU_C::cpu_loop() */

static const struct {
	const char *name;
	uint8_t at_once[3]; /* instead of its first bytes */
	uint8_t called[5];  /* instead of a call in the loop */
} functions[] = {
	/* BX_CPU_C::dbg_instruction_epilog(): xor %eax,%eax is "no" */
	{ "_ZN8BX_CPU_C22dbg_instruction_epilogEv",
	  { 0x31, 0xc0, 0xc3 },
	  { 0x31, 0xc0, 0x0f, 0x1f, 0 } },
	/* bx_dbg_lin_memory_access(), bx_dbg_phy_memory_access() */
	{ "_Z24bx_dbg_lin_memory_accessjmmjjjPh", { 0xc3 }, NOP5 },
	{ "_Z24bx_dbg_phy_memory_accessjmjjjjPh", { 0xc3 }, NOP5 },
	/* bx_instr_before_execution(), bx_instr_after_execution() */
	{ "_Z25bx_instr_before_executionjP15bxInstruction_c", { 0xc3 }, NOP5 },
	{ "_Z24bx_instr_after_executionjP15bxInstruction_c", { 0xc3 }, NOP5 },
};

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))

static int write_code(void *at, const uint8_t *code, size_t len)
{
	uintptr_t page = sysconf(_SC_PAGESIZE), start = (uintptr_t)at & -page;

	if (mprotect((void *)start, 2 * page, PROT_READ | PROT_WRITE | PROT_EXEC))
		return -1;
	memcpy(at, code, len);
	return mprotect((void *)start, 2 * page, PROT_READ | PROT_EXEC);
}

/* The calls of the loop, by their targets; a byte that only looks like one has another target. */
static int patch_loop(uint8_t *loop, size_t len, void *const *targets)
{
	size_t at, i;
	int32_t offset;

	for (at = 0; at + 5 <= len; at++) {
		if (loop[at] != 0xe8)
			continue;
		memcpy(&offset, loop + at + 1, sizeof(offset));
		for (i = 0; i < ARRAY_SIZE(functions); i++) {
			if (loop + at + 5 + offset == targets[i] &&
			    write_code(loop + at, functions[i].called, sizeof(functions[i].called)))
				return -1;
		}
	}
	return 0;
}

static const char *patch(uint8_t *loop)
{
	void *targets[ARRAY_SIZE(functions)];
	const Elf64_Sym *symbol;
	Dl_info info;
	size_t i;

	for (i = 0; i < ARRAY_SIZE(functions); i++) {
		targets[i] = dlsym(RTLD_DEFAULT, functions[i].name);
		if (!targets[i])
			return "absent: a function of the debugger is not exported";
	}
	if (!dladdr1(loop, &info, (void **)&symbol, RTLD_DL_SYMENT) || !symbol)
		return "absent: the length of the loop is not known";
	for (i = 0; i < ARRAY_SIZE(functions); i++) {
		const uint8_t *code = functions[i].at_once;

		if (write_code(targets[i], code, code[0] == 0xc3 ? 1 : 3))
			return "absent: the code cannot be written";
	}
	if (patch_loop(loop, symbol->st_size, targets))
		return "absent: the code cannot be written";
	return "in place";
}

__attribute__((constructor)) static void start(void)
{
	const char *mode = getenv("KHV_BOCHS_FAST");
	const char *state;
	void *loop;

	/* The wrapper and its shell get the object as well. */
	loop = mode ? dlsym(RTLD_DEFAULT, CPU_LOOP) : NULL;
	if (!loop)
		return;
	state = patch(loop);
	if (!strcmp(mode, "report"))
		fprintf(stderr, "bochs fast: %s\n", state);
}
