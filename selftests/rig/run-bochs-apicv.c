// SPDX-License-Identifier: GPL-2.0-only
/*
 * Preload object for the emulator of the APICv host: takes two faults of Bochs 3.0 out of the running
 * process. The CPU that it shows is then what KVM expects of one:
 *
 * 1. VM entry refuses a posted-interrupt descriptor that is not aligned to a page, where hardware asks
 *    for 64 bytes. KVM's is in the middle of its struct vcpu_vmx, so KVM_RUN ends with
 *    KVM_EXIT_FAIL_ENTRY. In VMenterLoadCheckVmControls(), the mask that is loaded after the VMREAD of
 *    field 0x2016 becomes 63.
 * 2. A virtual interrupt whose delivery meets an EPT violation is reported with vector 0:
 *    VMX_Deliver_Virtual_Interrupt() forgets to keep the vector for the IDT-vectoring information,
 *    which other events leave in VMexit_Event(). It is kept in the place of a call that only tells
 *    an instrumentation of the interrupt, which Debian's has not.
 *
 * The functions are exported, so they are found by name; where one of them is not as expected, nothing
 * is changed. Works on the memory of its own process only. KHV_BOCHS_APICV=report prints the outcome
 * to stderr.
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

/* BX_CPU_C's */
#define ENTRY_CHECKS "_ZN8BX_CPU_C26VMenterLoadCheckVmControlsEv"
#define DELIVER	     "_ZN8BX_CPU_C29VMX_Deliver_Virtual_InterruptEv"
#define EVENT	     "_ZN8BX_CPU_C12VMexit_EventEjjtbm"
/* bx_instr_hwinterrupt() */
#define TELL	     "_Z20bx_instr_hwinterruptjjtm"

struct code {
	uint8_t *at;
	size_t len;
};

static int write_code(void *at, const void *code, size_t len)
{
	uintptr_t page = sysconf(_SC_PAGESIZE), start = (uintptr_t)at & -page;

	if (mprotect((void *)start, 2 * page, PROT_READ | PROT_WRITE | PROT_EXEC))
		return -1;
	memcpy(at, code, len);
	return mprotect((void *)start, 2 * page, PROT_READ | PROT_EXEC);
}

static struct code function(const char *name)
{
	struct code code = { .at = dlsym(RTLD_DEFAULT, name) };
	const Elf64_Sym *symbol;
	Dl_info info;

	if (code.at && dladdr1(code.at, &info, (void **)&symbol, RTLD_DL_SYMENT) && symbol)
		code.len = symbol->st_size;
	return code;
}

/* What follows these bytes, which are in the code once. */
static uint8_t *after(struct code code, const void *bytes, size_t len)
{
	uint8_t *found = memmem(code.at, code.len, bytes, len), *next;

	if (!found)
		return NULL;
	next = found + len;
	return memmem(next, code.at + code.len - next, bytes, len) ? NULL : next;
}

static uint8_t *descriptor_mask(void)
{
	/* mov $0x2016, %esi */
	static const uint8_t field[] = { 0xbe, 0x16, 0x20, 0, 0 };
	/* movabs $0xffffff0000000fff, %rdx */
	static const uint8_t mask[] = { 0x48, 0xba, 0xff, 0x0f, 0, 0, 0, 0xff, 0xff, 0xff };
	struct code code = function(ENTRY_CHECKS);
	uint8_t *at = after(code, field, sizeof(field));

	if (!at || at + 40 > code.at + code.len)
		return NULL;
	at = memmem(at, 40, mask, sizeof(mask));
	return at ? at + 2 : NULL;
}

/* Where in a CPU the vector and the type of the event under delivery are kept: or; mov %ebx, N(%r12). */
static uint8_t *event_offset(void)
{
	static const uint8_t keep[] = { 0x09, 0xeb, 0x41, 0x89, 0x9c, 0x24 };

	return after(function(EVENT), keep, sizeof(keep));
}

/* mov %r13d, %esi; mov 0x30(%rbx), %edi; call TELL: the vector is in R13, the CPU in RBX. */
static uint8_t *tell(void)
{
	static const uint8_t arguments[] = { 0x44, 0x89, 0xee, 0x8b, 0x7b, 0x30, 0xe8 };
	uint8_t *at = after(function(DELIVER), arguments, sizeof(arguments));
	int32_t offset;

	if (!at)
		return NULL;
	memcpy(&offset, at, sizeof(offset));
	return at + 4 + offset == dlsym(RTLD_DEFAULT, TELL) ? at - sizeof(arguments) : NULL;
}

static const char *patch(void)
{
	static const uint8_t aligned_to_64[] = { 0x3f, 0 };
	/* mov %r13d, N(%rbx); nop. An external interrupt is of type 0. */
	uint8_t keep[] = { 0x44, 0x89, 0xab, 0, 0, 0, 0, 0x0f, 0x1f, 0x40, 0 };
	uint8_t *mask = descriptor_mask(), *offset = event_offset(), *at = tell();

	if (!mask || !offset || !at)
		return "absent: the emulator's code is another one";
	memcpy(keep + 3, offset, 4);
	if (write_code(mask, aligned_to_64, sizeof(aligned_to_64)) ||
	    write_code(at, keep, sizeof(keep)))
		return "absent: the code cannot be written";
	return "in place";
}

__attribute__((constructor)) static void start(void)
{
	const char *mode = getenv("KHV_BOCHS_APICV");
	const char *state;

	/* Others on the way to the emulator get the object as well. */
	if (!mode || !dlsym(RTLD_DEFAULT, ENTRY_CHECKS))
		return;
	state = patch();
	if (!strcmp(mode, "report"))
		fprintf(stderr, "bochs apicv: %s\n", state);
}
