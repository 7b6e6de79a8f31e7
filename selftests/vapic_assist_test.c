// SPDX-License-Identifier: GPL-2.0-only
/*
 * The VP assist page, and the end of an interrupt without an EOI.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "vapic.h"

/* --- VP_ASSIST_PAGE: the register ---------------------------------------- */

GUEST_TEST(assist_reads_back)
{
	const u64 values[] = {
		gpa(&assist) | ASSIST_ENABLE,
		gpa(&assist) | ASSIST_RSVD | ASSIST_ENABLE,
		gpa(&assist) | ASSIST_RSVD,
		gpa(&assist2),
		gpa(&assist2) | ASSIST_ENABLE,
		GPA_NOWHERE,
		GPA_NOWHERE | ASSIST_RSVD,
		~ASSIST_ENABLE,
		0,
	};
	u32 i;

	GUEST_ASSERT_EQ(rdmsr(HV_X64_MSR_VP_ASSIST_PAGE), 0);
	for (i = 0; i < ARRAY_SIZE(values); i++) {
		GUEST_ASSERT_EQ(__wrmsr(HV_X64_MSR_VP_ASSIST_PAGE, values[i]), 0);
		GUEST_ASSERT_EQ(rdmsr(HV_X64_MSR_VP_ASSIST_PAGE), values[i]);
	}
}

static void assert_page(struct assist_page *p, u32 apic, u8 rest)
{
	u32 i;

	GUEST_ASSERT_EQ(p->apic, apic);
	for (i = 0; i < sizeof(p->rest); i++)
		GUEST_ASSERT_EQ(p->rest[i], rest);
}

static void fill_page(struct assist_page *p, u8 val)
{
	u32 i;

	p->apic = val * 0x01010101u;
	for (i = 0; i < sizeof(p->rest); i++)
		p->rest[i] = val;
}

/* What is behind the first word may be worth keeping, on a restore above all. */
GUEST_TEST(assist_clears_one_word)
{
	fill_page(&assist, 0xff);
	fill_page(&assist2, 0xff);
	wrmsr(HV_X64_MSR_VP_ASSIST_PAGE, gpa(&assist));
	assert_page(&assist, 0xffffffff, 0xff);
	wrmsr(HV_X64_MSR_VP_ASSIST_PAGE, gpa(&assist) | ASSIST_ENABLE);
	assert_page(&assist, 0, 0xff);
	/* Moved: the new page is cleared likewise, the old one stays as it is. */
	assist.apic = 0x12345678;
	wrmsr(HV_X64_MSR_VP_ASSIST_PAGE, gpa(&assist2) | ASSIST_ENABLE);
	assert_page(&assist, 0x12345678, 0xff);
	assert_page(&assist2, 0, 0xff);
	wrmsr(HV_X64_MSR_VP_ASSIST_PAGE, 0);
	assert_page(&assist2, 0, 0xff);
}

static void refused(u64 val)
{
	u64 before = rdmsr(HV_X64_MSR_VP_ASSIST_PAGE);

	GUEST_ASSERT_EQ(__wrmsr(HV_X64_MSR_VP_ASSIST_PAGE, val), GP_VECTOR);
	GUEST_ASSERT_EQ(rdmsr(HV_X64_MSR_VP_ASSIST_PAGE), before);
}

GUEST_CODE(assist_nowhere)
{
	refused(GPA_NOWHERE | ASSIST_ENABLE);
	refused((GPA_NOWHERE + PAGE_SIZE) | ASSIST_ENABLE); /* read-only, see below */
	refused(0xfffffffffffff000ULL | ASSIST_ENABLE);
	wrmsr(HV_X64_MSR_VP_ASSIST_PAGE, gpa(&assist) | ASSIST_RSVD | ASSIST_ENABLE);
	assist.apic = 0x12345678;
	refused(GPA_NOWHERE | ASSIST_ENABLE);
	refused((GPA_NOWHERE + PAGE_SIZE) | ASSIST_ENABLE);
	refused(0xfffffffffffff000ULL | ASSIST_ENABLE);
	GUEST_ASSERT_EQ(assist.apic, 0x12345678);
}

TEST(assist_outside_memory_faults)
{
	struct vm *vm = vm_create(1, 0);
	struct vcpu *v = vm->vcpus[0];
	u32 *ro = mmap(NULL, PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	u64 before;

	ASSERT(ro != MAP_FAILED, "mmap");
	*ro = 0x5a5a5a5a;
	vm_add_memslot(vm, GPA_NOWHERE + PAGE_SIZE, ro, PAGE_SIZE, KVM_MEM_READONLY);
	vcpu_entry(v, assist_nowhere);
	vcpu_run_done(v);
	ASSERT_EQ(*ro, 0x5a5a5a5a);

	before = vcpu_get_msr(v, HV_X64_MSR_VP_ASSIST_PAGE);
	ASSERT_EQ(__vcpu_set_msr(v, HV_X64_MSR_VP_ASSIST_PAGE, GPA_NOWHERE | ASSIST_ENABLE), 0);
	ASSERT_EQ(vcpu_get_msr(v, HV_X64_MSR_VP_ASSIST_PAGE), before);
	vm_free(vm);
}

GUEST_CODE(set_assist)
{
	wrmsr(HV_X64_MSR_VP_ASSIST_PAGE, gpa(&assist) | ASSIST_ENABLE);
}

TEST(assist_belongs_to_the_vp)
{
	struct vm *vm = vm_create(2, 0);

	vcpu_entry(vm->vcpus[1], set_assist);
	vcpu_run_done(vm->vcpus[1]);
	ASSERT_EQ(vcpu_get_msr(vm->vcpus[0], HV_X64_MSR_VP_ASSIST_PAGE), 0);
	ASSERT_EQ(vcpu_get_msr(vm->vcpus[1], HV_X64_MSR_VP_ASSIST_PAGE),
		  gpa(&assist) | ASSIST_ENABLE);
	vm_free(vm);
}

/* --- PV EOI -------------------------------------------------------------- */

/* APICv and AVIC end interrupts without an exit, so KVM has no use for the bit then. */
static void require_pv_eoi(void)
{
	static const char *const files[] = {
		"/sys/module/kvm_intel/parameters/enable_apicv",
		"/sys/module/kvm_amd/parameters/avic",
	};
	char c;
	u32 i;

	for (i = 0; i < ARRAY_SIZE(files); i++) {
		int fd = open(files[i], O_RDONLY | O_CLOEXEC);

		if (fd < 0)
			continue;
		c = 0;
		ASSERT_EQ(read(fd, &c, 1), 1);
		close(fd);
		if (c == 'Y' || c == '1')
			ktap_skip("the APIC of this host needs no exit for an EOI");
	}
}

static volatile u32 without_eoi; /* how often the bit spared one */

/* As the TLFS says: EOI, unless the bit says that none is required. */
static void lazy_eoi(struct guest_frame *f)
{
	guest_irqs[f->vector]++;
	if (test_and_clear_no_eoi(&assist))
		without_eoi++;
	else
		wrmsr(HV_X64_MSR_EOI, 0);
}

#define PV_EOIS 100

/*
 * An exit between delivery and handler takes the bit back, so not every one
 * counts; but a guest that relies on it never loses an interrupt.
 */
GUEST_CODE(ends_without_eoi)
{
	u32 i;

	guest_irq_handlers[LOW] = lazy_eoi;
	apic_start();
	wrmsr(HV_X64_MSR_VP_ASSIST_PAGE, gpa(&assist) | ASSIST_ENABLE);
	for (i = 1; i <= PV_EOIS; i++) {
		self_ipi(LOW);
		irqs_window();
		GUEST_ASSERT_EQ(guest_irqs[LOW], i);
		GUEST_ASSERT(!in_service(LOW));
		GUEST_ASSERT_EQ(assist.apic, 0);
	}
	guest_log("without EOI, of", without_eoi, PV_EOIS);
	GUEST_ASSERT(without_eoi > PV_EOIS / 2);

	/* Off: each one needs its EOI, and the page is left alone. */
	wrmsr(HV_X64_MSR_VP_ASSIST_PAGE, gpa(&assist));
	without_eoi = 0;
	for (i = 1; i <= PV_EOIS; i++) {
		self_ipi(LOW);
		irqs_window();
		GUEST_ASSERT_EQ(guest_irqs[LOW], PV_EOIS + i);
		GUEST_ASSERT(!in_service(LOW));
	}
	GUEST_ASSERT_EQ(without_eoi, 0);
	GUEST_ASSERT_EQ(assist.apic, 0);
}

IN_BOTH_MODES(pv_eoi)
{
	require_pv_eoi();
	vapic_run(ends_without_eoi);
}

/* In the page that is enabled now, and in no other. */
static void lazy_eoi2(struct guest_frame *f)
{
	guest_irqs[f->vector]++;
	GUEST_ASSERT_EQ(assist.apic, 0);
	if (test_and_clear_no_eoi(&assist2))
		without_eoi++;
	else
		wrmsr(HV_X64_MSR_EOI, 0);
}

GUEST_CODE(pv_eoi_moved)
{
	u32 i;

	guest_irq_handlers[LOW] = lazy_eoi2;
	apic_start();
	wrmsr(HV_X64_MSR_VP_ASSIST_PAGE, gpa(&assist) | ASSIST_ENABLE);
	wrmsr(HV_X64_MSR_VP_ASSIST_PAGE, gpa(&assist2) | ASSIST_RSVD | ASSIST_ENABLE);
	/* The write is refused, so the old page stays in use. */
	GUEST_ASSERT_EQ(__wrmsr(HV_X64_MSR_VP_ASSIST_PAGE, GPA_NOWHERE | ASSIST_ENABLE), GP_VECTOR);
	for (i = 1; i <= PV_EOIS; i++) {
		self_ipi(LOW);
		irqs_window();
		GUEST_ASSERT_EQ(guest_irqs[LOW], i);
		GUEST_ASSERT(!in_service(LOW));
	}
	GUEST_ASSERT(without_eoi > PV_EOIS / 2);
}

TEST(pv_eoi_in_a_moved_page)
{
	require_pv_eoi();
	vapic_run(pv_eoi_moved);
}

/* Another one is waiting: its delivery hangs on the EOI. */
static void expect_no_bit(struct guest_frame *f)
{
	guest_irqs[f->vector]++;
	GUEST_ASSERT_EQ(assist.apic & NO_EOI, 0);
	wrmsr(HV_X64_MSR_EOI, 0);
}

GUEST_CODE(pv_eoi_pending)
{
	u32 i;

	guest_irq_handlers[HIGH] = expect_no_bit;
	guest_irq_handlers[LOW] = lazy_eoi;
	apic_start();
	wrmsr(HV_X64_MSR_VP_ASSIST_PAGE, gpa(&assist) | ASSIST_ENABLE);
	for (i = 1; i <= 20; i++) {
		self_ipi(LOW);
		self_ipi(HIGH);
		irqs_window();
		irqs_window();
		GUEST_ASSERT_EQ(guest_irqs[HIGH], i);
		GUEST_ASSERT_EQ(guest_irqs[LOW], i);
		GUEST_ASSERT(!in_service(LOW) && !in_service(HIGH));
	}
}

TEST(pv_eoi_not_with_another_pending)
{
	vapic_run(pv_eoi_pending);
}

/* Another interrupt arrives while the handler runs: the bit must be cleared again. */
static void send_then_eoi(struct guest_frame *f)
{
	guest_irqs[f->vector]++;
	self_ipi(LOW);
	GUEST_ASSERT_EQ(assist.apic & NO_EOI, 0);
	wrmsr(HV_X64_MSR_EOI, 0);
}

GUEST_CODE(pv_eoi_taken_back)
{
	u32 i;

	guest_irq_handlers[HIGH] = send_then_eoi;
	guest_irq_handlers[LOW] = lazy_eoi;
	apic_start();
	wrmsr(HV_X64_MSR_VP_ASSIST_PAGE, gpa(&assist) | ASSIST_ENABLE);
	for (i = 1; i <= 20; i++) {
		self_ipi(HIGH);
		irqs_window();
		irqs_window();
		GUEST_ASSERT_EQ(guest_irqs[HIGH], i);
		GUEST_ASSERT_EQ(guest_irqs[LOW], i);
		GUEST_ASSERT(!in_service(LOW) && !in_service(HIGH));
	}
}

TEST(pv_eoi_is_taken_back)
{
	vapic_run(pv_eoi_taken_back);
}

/* --- save and restore ---------------------------------------------------- */

struct image {
	struct kvm_regs regs;
	struct kvm_sregs sregs;
	struct kvm_lapic_state lapic;
	struct kvm_vcpu_events events;
	u64 assist;
	u8 ram[];
};

/* Stop the VM as a VMM does and start another one from what it was. */
static struct vm *move_vm(struct vm *vm)
{
	struct vcpu *v = vm->vcpus[0];
	u64 size = vm->ram_size;
	struct image *m;

	/* Finish the instruction that the last exit belongs to. */
	v->run->immediate_exit = 1;
	ASSERT_EQ(__vcpu_ioctl(v, KVM_RUN, NULL), -EINTR);
	m = mmap(NULL, sizeof(*m) + size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1,
		 0);
	ASSERT(m != MAP_FAILED, "mmap");
	vcpu_ioctl(v, KVM_GET_REGS, &m->regs);
	vcpu_ioctl(v, KVM_GET_SREGS, &m->sregs);
	vcpu_ioctl(v, KVM_GET_LAPIC, &m->lapic);
	vcpu_ioctl(v, KVM_GET_VCPU_EVENTS, &m->events);
	m->assist = vcpu_get_msr(v, HV_X64_MSR_VP_ASSIST_PAGE);
	memcpy(m->ram, vm->ram, size);
	vm_free(vm);

	vm = vm_create(1, 0);
	v = vm->vcpus[0];
	ASSERT_EQ(vm->ram_size, size);
	memcpy(vm->ram, m->ram, size);
	vcpu_ioctl(v, KVM_SET_SREGS, &m->sregs);
	vcpu_ioctl(v, KVM_SET_REGS, &m->regs);
	vcpu_ioctl(v, KVM_SET_LAPIC, &m->lapic);
	vcpu_ioctl(v, KVM_SET_VCPU_EVENTS, &m->events);
	vcpu_set_msr(v, HV_X64_MSR_VP_ASSIST_PAGE, m->assist);
	ASSERT_EQ(vcpu_get_msr(v, HV_X64_MSR_VP_ASSIST_PAGE), m->assist);
	munmap(m, sizeof(*m) + size);
	return vm;
}

GUEST_CODE(set_and_check_assist)
{
	fill_page(&assist, 0xee);
	wrmsr(HV_X64_MSR_VP_ASSIST_PAGE, gpa(&assist) | ASSIST_RSVD | ASSIST_ENABLE);
	GUEST_SYNC(1);
	GUEST_ASSERT_EQ(rdmsr(HV_X64_MSR_VP_ASSIST_PAGE),
			gpa(&assist) | ASSIST_RSVD | ASSIST_ENABLE);
	assert_page(&assist, 0, 0xee);
}

TEST(assist_save_and_restore)
{
	struct vm *vm = vm_create(1, 0);

	vcpu_entry(vm->vcpus[0], set_and_check_assist);
	vcpu_run_sync(vm->vcpus[0], 1);
	vm = move_vm(vm);
	vcpu_run_done(vm->vcpus[0]);
	vm_free(vm);
}

/* A VMM restores both registers of one vCPU, in this order. */
TEST_KNOWN(assist_that_is_off_leaves_kvms_pv_eoi, "K44")
{
	struct vm *vm = vm_create(1, 0);
	u64 word = gpa(&assist) | 1, other = (gpa(&assist) + 64) | 1;
	struct vcpu *v = vm->vcpus[0];

	vcpu_set_msr(v, MSR_KVM_PV_EOI_EN, word);
	vcpu_set_msr(v, HV_X64_MSR_VP_ASSIST_PAGE, 0);
	ASSERT_KNOWN(vcpu_get_msr(v, MSR_KVM_PV_EOI_EN) == word, "it is off");
	/* One that is on takes its place, and off is off. */
	vcpu_set_msr(v, HV_X64_MSR_VP_ASSIST_PAGE, gpa(&assist) | ASSIST_ENABLE);
	vcpu_set_msr(v, HV_X64_MSR_VP_ASSIST_PAGE, 0);
	ASSERT_EQ(vcpu_get_msr(v, MSR_KVM_PV_EOI_EN), 0);
	/* Restored over a page that was on. */
	vcpu_set_msr(v, HV_X64_MSR_VP_ASSIST_PAGE, gpa(&assist) | ASSIST_ENABLE);
	vcpu_set_msr(v, MSR_KVM_PV_EOI_EN, other);
	vcpu_set_msr(v, HV_X64_MSR_VP_ASSIST_PAGE, 0);
	ASSERT_EQ(vcpu_get_msr(v, MSR_KVM_PV_EOI_EN), other);
	vm_free(vm);
}

/* Moved in the middle of a handler, with another interrupt waiting or not. */
static volatile bool leave_pending;

static void move_then_lazy_eoi(struct guest_frame *f)
{
	if (leave_pending)
		self_ipi(LOW);
	GUEST_SYNC(2);
	GUEST_ASSERT(in_service(HIGH));
	lazy_eoi(f);
}

GUEST_CODE(moved_in_handler)
{
	u32 i;

	guest_irq_handlers[HIGH] = move_then_lazy_eoi;
	guest_irq_handlers[LOW] = lazy_eoi;
	apic_start();
	wrmsr(HV_X64_MSR_VP_ASSIST_PAGE, gpa(&assist) | ASSIST_ENABLE);
	for (i = 1; i <= 4; i++) {
		leave_pending = i & 1;
		self_ipi(HIGH);
		irqs_window();
		irqs_window();
		GUEST_ASSERT_EQ(guest_irqs[HIGH], i);
		GUEST_ASSERT_EQ(guest_irqs[LOW], (i + 1) / 2);
		GUEST_ASSERT(!in_service(LOW) && !in_service(HIGH));
	}
}

IN_BOTH_MODES(restore_in_a_handler)
{
	struct vm *vm = vm_create(1, 0);
	u32 i;

	vcpu_entry(vm->vcpus[0], moved_in_handler);
	for (i = 0; i < 4; i++) {
		vcpu_run_sync(vm->vcpus[0], 2);
		vm = move_vm(vm);
	}
	vcpu_run_done(vm->vcpus[0]);
	vm_free(vm);
}
