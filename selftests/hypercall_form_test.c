// SPDX-License-Identifier: GPL-2.0-only
/*
 * The calling convention, whatever the call: registers, CPU mode, privilege level.
 * What malformed calls answer, hypercall_matrix_form_test shows.
 */
#include <errno.h>
#include <string.h>
#include <sys/ioctl.h>

#include "vm.h"

#define SPIN	((u64)HVCALL_NOTIFY_LONG_SPIN_WAIT)
#define UNKNOWN 0x7777ULL

/* No parameters and no GPA to look at: both forms succeed. */
GUEST_TEST(spin_wait_fast_and_slow)
{
	guest_set_os_id();
	GUEST_ASSERT_EQ(hypercall(SPIN | HV_CTL_FAST, 0, 0), HV_STATUS_SUCCESS);
	GUEST_ASSERT_EQ(hypercall(SPIN | HV_CTL_FAST, ~0ULL, ~0ULL), HV_STATUS_SUCCESS);
	GUEST_ASSERT_EQ(hypercall(SPIN, 0, 0), HV_STATUS_SUCCESS);
	GUEST_ASSERT_EQ(hypercall(SPIN, (u64)(uintptr_t)this_cpu(), 0), HV_STATUS_SUCCESS);
}

/* Only RAX carries the result; RDX, R8 and the XMM registers stay as they were. */
GUEST_TEST(registers_preserved)
{
	u64 control = SPIN | HV_CTL_FAST, rdx = 0x1122334455667788ULL;
	u64 r8 = 0x99aabbccddeeff00ULL, rbx = 0xb, rsi = 0x51, rdi = 0xd1, rax = 0;

	guest_set_os_id();
	if (guest_use_vmmcall)
		asm volatile("mov %[r8], %%r8\n vmmcall\n mov %%r8, %[r8]"
			     : "+a"(rax), "+c"(control), "+d"(rdx), "+b"(rbx), "+S"(rsi),
			       "+D"(rdi), [r8] "+r"(r8)
			     :
			     : "r8", "r9", "r10", "r11", "memory");
	else
		asm volatile("mov %[r8], %%r8\n vmcall\n mov %%r8, %[r8]"
			     : "+a"(rax), "+c"(control), "+d"(rdx), "+b"(rbx), "+S"(rsi),
			       "+D"(rdi), [r8] "+r"(r8)
			     :
			     : "r8", "r9", "r10", "r11", "memory");
	GUEST_ASSERT_EQ(rax, HV_STATUS_SUCCESS);
	GUEST_ASSERT_EQ(rdx, 0x1122334455667788ULL);
	GUEST_ASSERT_EQ(r8, 0x99aabbccddeeff00ULL);
	GUEST_ASSERT_EQ(rbx, 0xb);
	GUEST_ASSERT_EQ(rsi, 0x51);
	GUEST_ASSERT_EQ(rdi, 0xd1);
}

static u64 call_from_user(u64 control)
{
	u64 result = 0x1234;

	return __hypercall(control, 0, 0, &result);
}

GUEST_TEST(cpl3_is_ud)
{
	guest_set_os_id();
	GUEST_ASSERT_EQ(guest_call_user(call_from_user, SPIN | HV_CTL_FAST), UD_VECTOR);
	GUEST_ASSERT_EQ(guest_call_user(call_from_user, UNKNOWN | HV_CTL_FAST), UD_VECTOR);
	/* Back at CPL 0 all is well. */
	GUEST_ASSERT_EQ(hypercall(SPIN | HV_CTL_FAST, 0, 0), HV_STATUS_SUCCESS);
}

/* --- other modes, set up by the host ------------------------------------ */

extern u8 guest_real_mode[], guest_real_mode_end[];

enum mode { PROTECTED_32, COMPATIBILITY };

GUEST_CODE(set_identity)
{
	guest_set_os_id();
}

static struct vm *vm_with_identity(void)
{
	struct vm *vm = vm_create(1, 0);

	vcpu_entry(vm->vcpus[0], set_identity);
	vcpu_run_done(vm->vcpus[0]);
	return vm;
}

/* EDX:EAX control, EBX:ECX input, EDI:ESI output; result in EDX:EAX. */
static struct regs32 *enter32(struct vcpu *v, enum mode how, struct regs32 in)
{
	void (*code)(void) = guest_use_vmmcall ? guest_mode32_vmmcall : guest_mode32_vmcall;
	struct regs32 *block = vm_alloc(v->vm, sizeof(*block));
	struct kvm_regs r = { .rflags = 2 };
	struct kvm_sregs s;

	*block = in;
	vcpu_ioctl(v, KVM_GET_SREGS, &s);
	s.cs.l = 0;
	s.cs.db = 1;
	s.cs.selector = 0x28;
	if (how == PROTECTED_32) {
		s.cr0 &= ~0x80000000ULL;
		s.efer = 0;
		s.tr.type = 11;
		s.cr4 &= ~0x20ULL;
	}
	vcpu_ioctl(v, KVM_SET_SREGS, &s);
	r.rip = (u64)(uintptr_t)code;
	r.rbp = (u64)(uintptr_t)block;
	vcpu_ioctl(v, KVM_SET_REGS, &r);
	return block;
}

static struct regs32 call32(struct vcpu *v, enum mode how, struct regs32 in)
{
	struct regs32 *block = enter32(v, how, in);

	vcpu_run_done(v);
	return *block;
}

static void check_mode32(enum mode mode)
{
	struct vm *vm = vm_with_identity();
	struct vcpu *v = vm->vcpus[0];
	struct regs32 r;

	r = call32(v, mode, (struct regs32){ .eax = SPIN | HV_CTL_FAST, .edx = 0 });
	ASSERT_EQ(r.eax, HV_STATUS_SUCCESS);
	ASSERT_EQ(r.edx, 0);

	/* The high half of the control word comes from EDX: a rep count. */
	r = call32(v, mode, (struct regs32){ .eax = SPIN | HV_CTL_FAST, .edx = 1 });
	ASSERT_EQ(r.eax, HV_STATUS_INVALID_HYPERCALL_INPUT);
	ASSERT_EQ(r.edx, 0);

	r = call32(v, mode,
		   (struct regs32){ .eax = UNKNOWN | HV_CTL_FAST,
				    .edx = 0,
				    .ebx = 1,
				    .ecx = 2,
				    .esi = 3,
				    .edi = 4 });
	ASSERT_EQ(r.eax, HV_STATUS_INVALID_HYPERCALL_CODE);
	ASSERT_EQ(r.edx, 0);
	ASSERT_EQ(r.ebx, 1);
	ASSERT_EQ(r.ecx, 2);
	ASSERT_EQ(r.esi, 3);
	ASSERT_EQ(r.edi, 4);

	/* Input in EBX:ECX: the high half must be zero for a fast IPI. */
	r = call32(v, mode,
		   (struct regs32){ .eax = HVCALL_SEND_IPI | HV_CTL_FAST, .ecx = 0x40, .esi = 1 });
	ASSERT_EQ(r.eax, HV_STATUS_SUCCESS);
	r = call32(v, mode,
		   (struct regs32){
			   .eax = HVCALL_SEND_IPI | HV_CTL_FAST, .ebx = 1, .ecx = 0x40, .esi = 1 });
	ASSERT(r.eax != HV_STATUS_SUCCESS, "EBX is not part of the input");

	/* Slow, input page in EBX:ECX. */
	r = call32(v, mode, (struct regs32){ .eax = HVCALL_SEND_IPI, .ecx = GPA_NOWHERE });
	ASSERT_EQ(r.eax, HV_STATUS_INVALID_HYPERCALL_INPUT);
	vm_free(vm);
}

/* A call that user space answers shows each register, in and out. */
static void check_registers32(enum mode mode)
{
	struct vm *vm = vm_create(1, 0);
	struct vcpu *v = vm->vcpus[0];
	struct kvm_run *run = v->run;
	struct regs32 *block;
	u64 *message;
	u32 in;

	ASSERT_EQ(__vcpu_enable_cap(v, KVM_CAP_HYPERV_SYNIC2, 0), 0);
	vcpu_entry(v, set_identity);
	vcpu_run_done(v);
	message = vm_alloc(vm, PAGE_SIZE);
	message[1] = 1 | 8ULL << 32; /* type, size */
	in = (u32)(uintptr_t)message;
	block = enter32(v, mode,
			(struct regs32){ .eax = HVCALL_POST_MESSAGE,
					 .ecx = in,
					 .edi = 0x12345678,
					 .esi = 0x9abcdef0 });
	vcpu_run_exit(v, KVM_EXIT_HYPERV);
	ASSERT_EQ(run->hyperv.type, KVM_EXIT_HYPERV_HCALL);
	ASSERT_EQ(run->hyperv.u.hcall.input, HVCALL_POST_MESSAGE);
	ASSERT_EQ(run->hyperv.u.hcall.params[0], in);
	ASSERT_EQ(run->hyperv.u.hcall.params[1], 0x123456789abcdef0ULL);
	run->hyperv.u.hcall.result = 0x0000000700000012ULL;
	vcpu_run_done(v);
	ASSERT_EQ(block->eax, 0x12);
	ASSERT_EQ(block->edx, 7);
	ASSERT_EQ(block->ebx, 0);
	ASSERT_EQ(block->ecx, in);
	ASSERT_EQ(block->edi, 0x12345678);
	ASSERT_EQ(block->esi, 0x9abcdef0);
	vm_free(vm);
}

TEST(protected_mode_32_bit)
{
	check_mode32(PROTECTED_32);
}

TEST(compatibility_mode)
{
	check_mode32(COMPATIBILITY);
}

TEST(protected_mode_registers)
{
	check_registers32(PROTECTED_32);
}

TEST(compatibility_mode_registers)
{
	check_registers32(COMPATIBILITY);
}

/*
 * Beside Xen's hypercalls, bit 31 of EAX tells which ones are whose: the hypercall page sets it. In
 * 32-bit modes it lies in the control word.
 */
static u64 call_beside_xen(u64 control)
{
	u64 result = BIT64(31);
	register u64 r8 asm("r8") = 0;

	if (guest_use_vmmcall)
		asm volatile("vmmcall"
			     : "+a"(result), "+c"(control), "+r"(r8)
			     : "d"(0ULL)
			     : "memory");
	else
		asm volatile("vmcall"
			     : "+a"(result), "+c"(control), "+r"(r8)
			     : "d"(0ULL)
			     : "memory");
	return result;
}

GUEST_CODE(calls_beside_xen)
{
	guest_set_os_id();
	GUEST_ASSERT_EQ(call_beside_xen(SPIN | HV_CTL_FAST), HV_STATUS_SUCCESS);
	GUEST_ASSERT_EQ(call_beside_xen(UNKNOWN | HV_CTL_FAST), HV_STATUS_INVALID_HYPERCALL_CODE);
	/* Here it is none of the bits that make room for Xen's. */
	GUEST_ASSERT_EQ(call_beside_xen(SPIN | HV_CTL_FAST | BIT64(31)),
			HV_STATUS_INVALID_HYPERCALL_INPUT);
}

static void check_beside_xen(enum mode mode)
{
	struct kvm_xen_hvm_config xen = { .flags = KVM_XEN_HVM_CONFIG_INTERCEPT_HCALL,
					  .msr = 0x40000200 };
	struct vm *vm = vm_create(1, 0);
	struct vcpu *v = vm->vcpus[0];
	struct regs32 r;

	if (!(ioctl(kvm_fd(), KVM_CHECK_EXTENSION, KVM_CAP_XEN_HVM) &
	      KVM_XEN_HVM_CONFIG_INTERCEPT_HCALL))
		ktap_skip("this KVM has no Xen");
	ASSERT(!ioctl(vm->fd, KVM_XEN_HVM_CONFIG, &xen), "KVM_XEN_HVM_CONFIG: %s", strerror(errno));
	vcpu_entry(v, calls_beside_xen);
	vcpu_run_done(v);
	r = call32(v, mode, (struct regs32){ .eax = SPIN | HV_CTL_FAST | 1u << 31 });
	ASSERT_KNOWN(r.eax == HV_STATUS_SUCCESS, "status 0x%x", r.eax);
	ASSERT_EQ(r.edx, 0);
	r = call32(v, mode, (struct regs32){ .eax = UNKNOWN | HV_CTL_FAST | 1u << 31 });
	ASSERT_EQ(r.eax, HV_STATUS_INVALID_HYPERCALL_CODE);
	/* Its reserved bits still are. */
	r = call32(v, mode, (struct regs32){ .eax = SPIN | HV_CTL_FAST | 3u << 30 });
	ASSERT_EQ(r.eax, HV_STATUS_INVALID_HYPERCALL_INPUT);
	vm_free(vm);
}

TEST_KNOWN(beside_xen_protected_mode, "K42")
{
	check_beside_xen(PROTECTED_32);
}

TEST_KNOWN(beside_xen_compatibility_mode, "K42")
{
	check_beside_xen(COMPATIBILITY);
}

TEST(real_mode_is_ud)
{
	struct vm *vm = vm_with_identity();
	struct vcpu *v = vm->vcpus[0];
	struct kvm_regs r = { .rflags = 2 };
	struct kvm_sregs s;
	struct kvm_segment *seg;
	u32 cmd;

	vm_add_low(vm);
	memcpy(vm->low + 0x2000, guest_real_mode, (size_t)(guest_real_mode_end - guest_real_mode));
	*(u32 *)(vm->low + 4 * UD_VECTOR) = 0x0200u << 16 | 64;

	vcpu_ioctl(v, KVM_GET_SREGS, &s);
	s.cr0 = 0x10;
	s.cr4 = 0;
	s.efer = 0;
	s.idt.base = 0;
	s.idt.limit = 0x3ff;
	for (seg = &s.cs; seg <= &s.ss; seg++)
		*seg = (struct kvm_segment){ .limit = 0xffff, .type = 3, .present = 1, .s = 1 };
	s.cs.type = 11;
	s.cs.selector = 0x200;
	s.cs.base = 0x2000;
	vcpu_ioctl(v, KVM_SET_SREGS, &s);
	r.rsp = 0x1000;
	r.rbx = guest_use_vmmcall;
	r.rcx = SPIN | HV_CTL_FAST;
	r.rax = SPIN | HV_CTL_FAST;
	vcpu_ioctl(v, KVM_SET_REGS, &r);
	cmd = vcpu_run(v);
	if (cmd != (0x100 | UD_VECTOR)) {
		vcpu_dump(v);
		FAIL("real mode ended with 0x%x", cmd);
	}
	vm_free(vm);
}
