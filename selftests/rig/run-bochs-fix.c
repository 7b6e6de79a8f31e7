// SPDX-License-Identifier: GPL-2.0-only
/*
 * Preload object for the hosts in Bochs 3.0: takes its faults out of the running process, so that
 * KVM finds what it finds in a real CPU.
 *
 * 1. VM entry refuses a posted-interrupt descriptor that is not aligned to a page, where hardware
 *    asks for 64 bytes. KVM's is in the middle of its struct vcpu_vmx, so KVM_RUN ends with
 *    KVM_EXIT_FAIL_ENTRY. The mask of that check becomes 63.
 * 2. A virtual interrupt whose delivery meets an EPT violation comes back with vector 0:
 *    VMX_Deliver_Virtual_Interrupt() forgets to keep its vector for the IDT-vectoring
 *    information, as VMexit_Event() does for other events. It is kept, in the place of a call
 *    that only tells an instrumentation.
 * 3. A notification that comes when the descriptor is empty, because the target took what was in
 *    it at its VM entry, is an interrupt 255: "none" is -1. None is none.
 * 4. Entries and exits do not decide anew what RFLAGS.IF holds back. A guest with IF = 0 keeps
 *    the host from its interrupts if IF was 0 there, too (it spins for ever); a guest with IF = 1
 *    does not get a virtual interrupt (V_IRQ) until IF changes; the host can take one behind a VM
 *    exit, with IF = 0. handleInterruptMaskChange() decides at all of them.
 * 5. An interrupt for the host that comes in a guest with IF = 0 makes HandleExtInterrupt()
 *    deliver the guest's virtual one. What is held back is not delivered.
 * 6. A #VMEXIT leaves the guest's pending single step to the host, which dies of a #DB before it
 *    has its GS base back: no guest of KVM on AMD can be single-stepped. It is forgotten at the
 *    #VMEXIT.
 *
 * 4 and 6 are done where the emulator tells an instrumentation, which Debian's has not, of a
 * context switch: the switches of interest tell which they are, and hand their CPU over. 5 calls
 * another function of that instrumentation.
 *
 * Functions are exported, so they are found by name; where their code is not as expected, nothing
 * is changed. Works on the memory of its own process only. KHV_BOCHS_FIX=report prints the
 * outcome to stderr.
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

/* Of BX_CPU_C */
#define ENTRY_CHECKS "_ZN8BX_CPU_C26VMenterLoadCheckVmControlsEv"
#define DELIVER	     "_ZN8BX_CPU_C29VMX_Deliver_Virtual_InterruptEv"
#define EVENT	     "_ZN8BX_CPU_C12VMexit_EventEjjtbm"
#define POSTED	     "_ZN8BX_CPU_C31VMX_Posted_Interrupt_ProcessingEh"
#define VMX_ENTRY    "_ZN8BX_CPU_C26VMenterLoadCheckGuestStateEPm"
#define VMX_EXIT     "_ZN8BX_CPU_C19VMexitLoadHostStateEv"
#define VMLAUNCH     "_ZN8BX_CPU_C8VMLAUNCHEP15bxInstruction_c"
#define SVM_ENTRY    "_ZN8BX_CPU_C27SvmEnterLoadCheckGuestStateEv"
#define SVM_EXIT     "_ZN8BX_CPU_C20SvmExitLoadHostStateEP14SVM_HOST_STATE"
#define VMRUN	     "_ZN8BX_CPU_C5VMRUNEP15bxInstruction_c"
#define ASYNC_EVENT  "_ZN8BX_CPU_C16handleAsyncEventEv"
#define MASK_CHANGE  "_ZN8BX_CPU_C25handleInterruptMaskChangeEv"
#define EXT_INTR     "_ZN8BX_CPU_C18HandleExtInterruptEv"
/* bx_instr_tlb_cntrl(), bx_instr_hwinterrupt(): the number of a CPU comes first. */
#define TELL_SWITCH  "_Z18bx_instr_tlb_cntrljjm"
#define TELL_INTR    "_Z20bx_instr_hwinterruptjjtm"

#define ANY  (-1)
#define ANY4 ANY, ANY, ANY, ANY

static int write_code(void *at, const void *code, size_t len)
{
	uintptr_t page = sysconf(_SC_PAGESIZE), start = (uintptr_t)at & -page;

	if (mprotect((void *)start, 2 * page, PROT_READ | PROT_WRITE | PROT_EXEC))
		return -1;
	memcpy(at, code, len);
	return mprotect((void *)start, 2 * page, PROT_READ | PROT_EXEC);
}

static int matches(const uint8_t *at, const int16_t *pattern, size_t len)
{
	size_t i;

	for (i = 0; i < len; i++) {
		if (pattern[i] != ANY && pattern[i] != at[i])
			return 0;
	}
	return 1;
}

/* Where the pattern is in the code of a function, if it is there once. */
static uint8_t *find(const char *name, const int16_t *pattern, size_t len)
{
	uint8_t *code = dlsym(RTLD_DEFAULT, name), *found = NULL;
	const Elf64_Sym *symbol;
	Dl_info info;
	size_t at;

	if (!code || !dladdr1(code, &info, (void **)&symbol, RTLD_DL_SYMENT) || !symbol)
		return NULL;
	for (at = 0; at + len <= symbol->st_size; at++) {
		if (!matches(code + at, pattern, len))
			continue;
		if (found)
			return NULL;
		found = code + at;
	}
	return found;
}

#define FIND(_name, ...)                                                        \
	({                                                                      \
		static const int16_t __pattern[] = { __VA_ARGS__ };             \
		find(_name, __pattern, sizeof(__pattern) / sizeof(*__pattern)); \
	})

enum { AT_VMX_ENTRY = 0x4b01, AT_VMX_EXIT, AT_SVM_ENTRY, AT_SVM_EXIT };

/* Where in a CPU these are. */
static int32_t in_vmx_guest, debug_trap, pending, masked;
static void (*mask_change)(uint8_t *cpu);

static void tell_switch(uint8_t *cpu, uint32_t what)
{
	switch (what) {
	case AT_VMX_ENTRY:
		cpu[in_vmx_guest] = 1;
		mask_change(cpu);
		break;
	case AT_VMX_EXIT:
	case AT_SVM_ENTRY:
		mask_change(cpu);
		break;
	case AT_SVM_EXIT:
		memset(cpu + debug_trap, 0, 4);
		break;
	}
}

/* mov CPU_ID(%rbx), %edi becomes mov %rbx, %rdi; and what is told. */
static int tell_of(uint8_t *site, size_t what_at, uint32_t what)
{
	static const uint8_t cpu[] = { 0x48, 0x89, 0xdf };

	return write_code(site, cpu, sizeof(cpu)) ||
	       write_code(site + what_at, &what, sizeof(what));
}

/* Is a virtual interrupt pending that is not held back? */
static int tell_intr(uint8_t *cpu)
{
	uint32_t events, held;

	if ((uintptr_t)cpu < 4096)
		return 0;
	memcpy(&events, cpu + pending, sizeof(events));
	memcpy(&held, cpu + masked, sizeof(held));
	return !!(events & ~held & 0x200);
}

/* An empty function has room for a jump. */
static int listen(const char *name, const void *to)
{
	static const uint8_t nothing[] = { 0xf3, 0x0f, 0x1e, 0xfa, 0xc3, 0x66, 0x66, 0x2e,
					   0x0f, 0x1f, 0x84, 0,	   0,	 0,    0,    0 };
	/* movabs $to, %rax; jmp *%rax */
	uint8_t jump[12] = { 0x48, 0xb8, [10] = 0xff, 0xe0 };
	uint8_t *at = dlsym(RTLD_DEFAULT, name);

	if (!at || memcmp(at, nothing, sizeof(nothing)))
		return -1;
	memcpy(jump + 2, &to, sizeof(to));
	return write_code(at, jump, sizeof(jump));
}

/* call TELL_INTR, which leaves room for the rest. */
static int ask_intr(uint8_t *site)
{
	/* call; test %eax, %eax; mov %rbx, %rdi */
	uint8_t ask[10] = { 0xe8, [5] = 0x85, 0xc0, 0x48, 0x89, 0xdf };
	uint8_t *to = dlsym(RTLD_DEFAULT, TELL_INTR);
	int32_t offset = to - (site + 5);

	memcpy(ask + 1, &offset, sizeof(offset));
	return write_code(site, ask, sizeof(ask));
}

#define TOLD 0x8b, 0x7b, 0x30, 0x31, 0xd2 /* mov CPU_ID(%rbx), %edi; xor %edx, %edx */

static const char *patch(void)
{
	static const uint8_t align_64[] = { 0x3f, 0 };
	/* test %eax, %eax; js behind; mov %al, RVI(%rbx); nop */
	uint8_t some[14] = { 0x85, 0xc0, 0x78, 0x0a, [10] = 0x0f, 0x1f, 0x40, 0 };
	/* mov %r13d, VECTOR(%rbx); nop. The type of an external interrupt is 0. */
	uint8_t keep[] = { 0x44, 0x89, 0xab, 0, 0, 0, 0, 0x0f, 0x1f, 0x40, 0 };
	/* movb $1, IN_SVM_GUEST(%rbx); nop */
	uint8_t enter[] = { 0xc6, 0x83, 0, 0, 0, 0, 1, 0x0f, 0x1f, 0 };
	uint8_t *mask, *vector, *deliver, *posted, *trap, *vmx, *svm, *flags;
	uint8_t *vmx_entry, *vmx_exit, *svm_entry, *svm_exit, *intr, *held;

	/* mov $0x2016, %esi; mov %rbx, %rdi; call VMread64; movabs $0xffffff0000000fff, %rdx */
	mask = FIND(ENTRY_CHECKS, 0xbe, 0x16, 0x20, 0, 0, 0x48, 0x89, 0xdf, 0xe8, ANY4, 0x48, 0xba,
		    0xff, 0x0f, 0, 0, 0, 0xff, 0xff, 0xff);
	/* or %ebp, %ebx; mov %ebx, VECTOR(%r12) */
	vector = FIND(EVENT, 0x09, 0xeb, 0x41, 0x89, 0x9c, 0x24, ANY4);
	/* mov %r13d, %esi; mov CPU_ID(%rbx), %edi; call bx_instr_hwinterrupt; xor %r8d, %r8d */
	deliver = FIND(DELIVER, 0x44, 0x89, 0xee, 0x8b, 0x7b, 0x30, 0xe8, ANY4, 0x45, 0x31, 0xc0);
	/* cmp RVI(%rbx), %al; jb behind; mov %al, RVI(%rbx) */
	posted = FIND(POSTED, 0x3a, 0x83, ANY4, 0x72, 0x06, 0x88, 0x83, ANY4);
	/* orl $0x4000, TRAP(%rbx) */
	trap = FIND(ASYNC_EVENT, 0x81, 0x8b, ANY4, 0, 0x40, 0, 0);
	/* movb $1, IN_VMX_GUEST(%rbx) */
	vmx = FIND(VMLAUNCH, 0xc6, 0x83, ANY4, 1);
	/* mov %ax, IN_SVM_GUEST(%rbx): the byte behind it is GIF. */
	svm = FIND(VMRUN, 0x66, 0x89, 0x83, ANY4);
	/*
	 * movl $0, ASYNC_EVENT(%rbx), which VMRUN sets; mov FLAGS(%rsp), %esi; mov %rbx, %rdi;
	 * call setEFlags
	 */
	flags = FIND(SVM_ENTRY, 0xc7, 0x83, ANY4, 0, 0, 0, 0, 0x8b, 0xb4, 0x24, ANY4, 0x48, 0x89,
		     0xdf, 0xe8);
	/* mov $14, %esi: a context switch */
	vmx_entry = FIND(VMX_ENTRY, TOLD, 0x89, 0x83, ANY4, 0xbe, 0x0e, 0, 0, 0);
	vmx_exit = FIND(VMX_EXIT, TOLD, 0xbe, 0x0e, 0, 0, 0);
	svm_entry = FIND(SVM_ENTRY, TOLD, 0xbe, 0x0e, 0, 0, 0);
	svm_exit = FIND(SVM_EXIT, TOLD, 0xbe, 0x0e, 0, 0, 0);
	/* mov %rbx, %rdi, where it is already; testb $2, PENDING + 1(%rbx); jne deliver */
	intr = FIND(EXT_INTR, 0x48, 0x89, 0xdf, 0xf6, 0x83, ANY4, 2, 0x0f, 0x85);
	/* mov %rdi, %rbx; mov MASKED(%rdi), %eax */
	held = FIND(MASK_CHANGE, 0x48, 0x89, 0xfb, 0x8b, 0x87, ANY4);
	mask_change = (void (*)(uint8_t *))dlsym(RTLD_DEFAULT, MASK_CHANGE);
	if (!mask || !vector || !deliver || !posted || !trap || !vmx || !svm || !flags ||
	    !vmx_entry || !vmx_exit || !svm_entry || !svm_exit || !intr || !held || !mask_change)
		return "absent: the emulator's code is another one";
	memcpy(keep + 3, vector + 6, 4);
	memcpy(some + 4, posted + 8, 6);
	memcpy(enter + 2, svm + 3, 4);
	memcpy(&debug_trap, trap + 2, 4);
	memcpy(&in_vmx_guest, vmx + 2, 4);
	memcpy(&pending, intr + 5, 4);
	pending--;
	memcpy(&masked, held + 5, 4);
	if (listen(TELL_SWITCH, tell_switch) || listen(TELL_INTR, tell_intr) || ask_intr(intr) ||
	    write_code(mask + 15, align_64, sizeof(align_64)) ||
	    write_code(deliver, keep, sizeof(keep)) || write_code(posted, some, sizeof(some)) ||
	    write_code(flags, enter, sizeof(enter)) || tell_of(vmx_entry, 12, AT_VMX_ENTRY) ||
	    tell_of(vmx_exit, 6, AT_VMX_EXIT) || tell_of(svm_entry, 6, AT_SVM_ENTRY) ||
	    tell_of(svm_exit, 6, AT_SVM_EXIT))
		return "absent: the code cannot be written";
	return "in place";
}

__attribute__((constructor)) static void start(void)
{
	const char *mode = getenv("KHV_BOCHS_FIX");
	const char *state;

	/* Others on the way to the emulator get the object as well. */
	if (!mode || !dlsym(RTLD_DEFAULT, ENTRY_CHECKS))
		return;
	state = patch();
	if (!strcmp(mode, "report"))
		fprintf(stderr, "bochs fix: %s\n", state);
}
