// SPDX-License-Identifier: GPL-2.0-only
/*
 * The end of a SINT's interrupt: AutoEOI, a vector that SINTs share, and the acknowledgment by EOI
 * and by EOM that a resample eventfd is told of.
 */
#include "ops.h"
#include "sint.h"
#include "tracefs.h"

/* --- the end of an interrupt ---------------------------------------------- */

static u64 test_sint;

/* The same vector twice while the first is in service: the second waits for the EOI. */
GUEST_CODE(second_while_in_service)
{
	apic_enable();
	wrmsr(HV_X64_MSR_SINT(TEST_SINT), test_sint);
	GUEST_SYNC(1);
	irqs_on();
	GUEST_ASSERT(guest_wait(&guest_irqs[VEC], 1, WAIT_MS));
	if (test_sint & HV_SINT_AUTO_EOI)
		GUEST_ASSERT(!apic_vector(APIC_ISR, VEC));
	else
		GUEST_ASSERT(apic_vector(APIC_ISR, VEC));
	GUEST_SYNC(2);
	if (test_sint & HV_SINT_AUTO_EOI) {
		GUEST_ASSERT(guest_wait(&guest_irqs[VEC], 2, WAIT_MS));
		GUEST_ASSERT(!apic_vector(APIC_ISR, VEC));
	} else {
		guest_settle(2);
		GUEST_ASSERT_EQ(guest_irqs[VEC], 1);
		GUEST_ASSERT(apic_vector(APIC_IRR, VEC));
		apic_eoi();
		GUEST_ASSERT(guest_wait(&guest_irqs[VEC], 2, WAIT_MS));
		apic_eoi();
	}
	GUEST_SYNC(3);
	GUEST_ASSERT(guest_wait(&guest_irqs[VEC], 3, WAIT_MS));
	GUEST_ASSERT_EQ(guest_irqs[VEC], 3);
}

static void raise_twice(u64 sint)
{
	struct vm *vm = sint_vm(1);
	struct vcpu *v = vm->vcpus[0];
	u64 stage;
	int fd;

	test_sint = sint;
	guest_irq_handlers[VEC] = guest_irq_count_no_eoi;
	route_all_sints(vm, 0);
	fd = irqfd_new(vm, GSI(TEST_SINT), NULL);
	vcpu_entry(v, second_while_in_service);
	for (stage = 1; stage <= 3; stage++) {
		synic_run_sync(v, stage);
		eventfd_signal(fd);
	}
	synic_run_done(v);
	vm_free(vm);
}

TEST(auto_eoi_does_not_stay_in_service)
{
	raise_twice(VEC | HV_SINT_AUTO_EOI);
}

TEST(without_auto_eoi_stays_in_service)
{
	raise_twice(VEC);
}

/* AutoEOI taken away again: the vector is an ordinary one. */
GUEST_CODE(auto_eoi_off)
{
	apic_enable();
	wrmsr(HV_X64_MSR_SINT(TEST_SINT), VEC | HV_SINT_AUTO_EOI);
	GUEST_SYNC(1);
	irqs_on();
	GUEST_ASSERT(guest_wait(&guest_irqs[VEC], 1, WAIT_MS));
	GUEST_ASSERT(!apic_vector(APIC_ISR, VEC));
	wrmsr(HV_X64_MSR_SINT(TEST_SINT), VEC);
	GUEST_SYNC(2);
	GUEST_ASSERT(guest_wait(&guest_irqs[VEC], 2, WAIT_MS));
	GUEST_ASSERT(apic_vector(APIC_ISR, VEC));
	apic_eoi();
	GUEST_ASSERT(!apic_vector(APIC_ISR, VEC));
}

TEST(auto_eoi_can_be_taken_back)
{
	struct vm *vm = sint_vm(1);
	struct vcpu *v = vm->vcpus[0];
	int fd;

	guest_irq_handlers[VEC] = guest_irq_count_no_eoi;
	route_all_sints(vm, 0);
	fd = irqfd_new(vm, GSI(TEST_SINT), NULL);
	vcpu_entry(v, auto_eoi_off);
	synic_run_sync(v, 1);
	eventfd_signal(fd);
	synic_run_sync(v, 2);
	eventfd_signal(fd);
	synic_run_done(v);
	vm_free(vm);
}

/*
 * KVM must see the delivery of an AutoEOI vector, so it inhibits APICv for the VM while a SINT of
 * any VP has AutoEOI. The tracepoint shows this with and without APICv hardware.
 */
TEST(auto_eoi_inhibits_apicv)
{
	struct vm *vm = synic_vm(2);
	struct ops_page *p[2];
	const struct {
		u32 vp, sint;
		u64 val;
		bool host, inhibited;
	} steps[] = {
		{ 0, 2, VEC, false, false },
		{ 0, 2, VEC | HV_SINT_AUTO_EOI | HV_SINT_MASKED, false, false },
		{ 0, 2, VEC | HV_SINT_AUTO_EOI, false, true },
		{ 0, 3, FENCE | HV_SINT_AUTO_EOI, false, true },
		{ 1, 2, VEC | HV_SINT_AUTO_EOI, true, true },
		{ 0, 2, VEC, false, true },
		{ 0, 3, FENCE | HV_SINT_AUTO_EOI | HV_SINT_MASKED, false, true },
		{ 1, 2, VEC, true, false },
		{ 1, 2, VEC | HV_SINT_AUTO_EOI, false, true },
		{ 1, 2, VEC | HV_SINT_AUTO_EOI, true, true },
		{ 1, 2, HV_SINT_MASKED, false, false },
	};
	u32 i;

	if (!module_loaded() && !host_has_apicv())
		ktap_skip("stock does not count without APICv hardware");
	trace_clear();
	for (i = 0; i < 2; i++)
		p[i] = vcpu_ops_init(vm->vcpus[i], 1);
	file_must_write(TRACING "/events/kvm/kvm_apicv_inhibit_changed/enable", "1");
	for (i = 0; i < ARRAY_SIZE(steps); i++) {
		struct vcpu *v = vm->vcpus[steps[i].vp];
		u32 msr = HV_X64_MSR_SINT(steps[i].sint);

		if (steps[i].host)
			vcpu_set_msr(v, msr, steps[i].val);
		else
			ASSERT_EQ(vcpu_op(v, p[steps[i].vp], OP_WR(msr, steps[i].val)).vector, 0);
		ASSERT(trace_hyperv_inhibits_apicv() == steps[i].inhibited, "step %u", i);
	}
	file_must_write(TRACING "/events/kvm/kvm_apicv_inhibit_changed/enable", "0");
	vm_free(vm);
}

/* Two SINTs with one vector; one is masked, then moved to another vector. */
GUEST_CODE(shared_vector)
{
	apic_enable();
	wrmsr(HV_X64_MSR_SINT(TEST_SINT), VEC);
	wrmsr(HV_X64_MSR_SINT(5), VEC);
	irqs_on();
	GUEST_SYNC(1); /* 2 */
	GUEST_ASSERT(guest_wait(&guest_irqs[VEC], 1, WAIT_MS));
	GUEST_SYNC(2); /* 5 */
	GUEST_ASSERT(guest_wait(&guest_irqs[VEC], 2, WAIT_MS));
	wrmsr(HV_X64_MSR_SINT(TEST_SINT), VEC | HV_SINT_MASKED);
	GUEST_SYNC(3); /* 2, which must not arrive, and 5 */
	GUEST_ASSERT(guest_wait(&guest_irqs[VEC], 3, WAIT_MS));
	wrmsr(HV_X64_MSR_SINT(5), FENCE);
	wrmsr(HV_X64_MSR_SINT(TEST_SINT), VEC);
	GUEST_SYNC(4); /* 5, then 2 */
	GUEST_ASSERT(guest_wait(&guest_irqs[FENCE], 1, WAIT_MS));
	GUEST_ASSERT(guest_wait(&guest_irqs[VEC], 4, WAIT_MS));
	irqs_off();
	GUEST_ASSERT_EQ(guest_irqs[VEC], 4);
	GUEST_ASSERT_EQ(guest_irqs[FENCE], 1);
	GUEST_ASSERT(!apic_vector(APIC_IRR, VEC));
}

TEST(sints_share_a_vector)
{
	struct vm *vm = sint_vm(1);
	struct vcpu *v = vm->vcpus[0];
	int fd2, fd5;

	route_all_sints(vm, 0);
	fd2 = irqfd_new(vm, GSI(TEST_SINT), NULL);
	fd5 = irqfd_new(vm, GSI(5), NULL);
	vcpu_entry(v, shared_vector);
	synic_run_sync(v, 1);
	eventfd_signal(fd2);
	synic_run_sync(v, 2);
	eventfd_signal(fd5);
	synic_run_sync(v, 3);
	eventfd_signal(fd2);
	eventfd_signal(fd5);
	synic_run_sync(v, 4);
	eventfd_signal(fd5);
	eventfd_signal(fd2);
	synic_run_done(v);
	vm_free(vm);
}

/* --- acknowledgment ---------------------------------------------------- */

GUEST_CODE(ack)
{
	apic_enable();
	wrmsr(HV_X64_MSR_SINT(TEST_SINT), VEC);
	wrmsr(HV_X64_MSR_SINT(FENCE_SINT), FENCE);
	wrmsr(HV_X64_MSR_SINT(5), VEC);
	irqs_on();
	GUEST_SYNC(1);
	/* A line with a resampler is raised by a worker of the host's. */
	GUEST_ASSERT(guest_wait(&guest_irqs[VEC], 1, WAIT_MS));
	GUEST_SYNC(2); /* in service, no ack */
	apic_eoi();
	GUEST_SYNC(3); /* acked: 2, and 5 for the same vector */
	GUEST_ASSERT(guest_wait(&guest_irqs[FENCE], 1, WAIT_MS));
	GUEST_SYNC(4); /* an EOI of another vector acks only its own */
	wrmsr(HV_X64_MSR_EOM, 0);
	GUEST_SYNC(5); /* all of them */
	wrmsr(HV_X64_MSR_SINT(TEST_SINT), VEC | HV_SINT_MASKED);
	wrmsr(HV_X64_MSR_EOM, ~0ULL);
	GUEST_SYNC(6); /* a masked one too: user space's queue may be waiting */
}

TEST(resamplefd_on_eoi_and_eom)
{
	struct vm *vm = sint_vm(1);
	struct vcpu *v = vm->vcpus[0];
	int fd2, ack2, fd3, ack3, fd5, ack5;

	guest_irq_handlers[VEC] = guest_irq_count_no_eoi;
	route_all_sints(vm, 0);
	fd2 = irqfd_new(vm, GSI(TEST_SINT), &ack2);
	fd3 = irqfd_new(vm, GSI(FENCE_SINT), &ack3);
	fd5 = irqfd_new(vm, GSI(5), &ack5);
	(void)fd5;
	vcpu_entry(v, ack);
	synic_run_sync(v, 1);
	ASSERT_EQ(eventfd_count(ack2) + eventfd_count(ack3) + eventfd_count(ack5), 0);
	eventfd_signal(fd2);
	synic_run_sync(v, 2);
	ASSERT_EQ(eventfd_count(ack2) + eventfd_count(ack3) + eventfd_count(ack5), 0);
	synic_run_sync(v, 3);
	ASSERT_EQ(eventfd_count(ack2), 1);
	ASSERT_EQ(eventfd_count(ack3), 0);
	ASSERT_EQ(eventfd_count(ack5), 1);
	eventfd_signal(fd3);
	synic_run_sync(v, 4);
	ASSERT_EQ(eventfd_count(ack2), 0);
	ASSERT_EQ(eventfd_count(ack3), 1);
	ASSERT_EQ(eventfd_count(ack5), 0);
	synic_run_sync(v, 5);
	ASSERT_EQ(eventfd_count(ack2), 1);
	ASSERT_EQ(eventfd_count(ack3), 1);
	ASSERT_EQ(eventfd_count(ack5), 1);
	synic_run_sync(v, 6);
	ASSERT_EQ(eventfd_count(ack2), 1);
	synic_run_done(v);
	vm_free(vm);
}

/* Whatever GSI raises it: by EOI, and by EOM. */
GUEST_CODE(ack_of_two_routes)
{
	apic_enable();
	wrmsr(HV_X64_MSR_SINT(TEST_SINT), VEC);
	wrmsr(HV_X64_MSR_SINT(FENCE_SINT), FENCE);
	irqs_on();
	GUEST_SYNC(1);
	GUEST_ASSERT(guest_wait(&guest_irqs[VEC], 1, WAIT_MS));
	wrmsr(HV_X64_MSR_EOM, 0);
	GUEST_SYNC(2);
	GUEST_ASSERT(guest_wait(&guest_irqs[FENCE], 1, WAIT_MS));
	GUEST_SYNC(3);
	wrmsr(HV_X64_MSR_EOM, 0);
	GUEST_SYNC(4);
}

TEST_KNOWN(route_that_is_gone_tells_nobody, "K40")
{
	struct vm *vm = sint_vm(1);
	struct vcpu *v = vm->vcpus[0];
	u32 sint = TEST_SINT;
	int fd, told;
	u64 n;

	route_sints(vm, 0, &sint, 1);
	fd = irqfd_new(vm, GSI(0), &told);
	vcpu_entry(v, ack_of_two_routes);
	synic_run_sync(v, 1);
	eventfd_signal(fd);
	synic_run_sync(v, 2);
	/* One EOI, one EOM. */
	ASSERT_EQ(eventfd_count(told), 2);
	sint = FENCE_SINT;
	route_sints(vm, 0, &sint, 1);
	eventfd_signal(fd);
	synic_run_sync(v, 3);
	ASSERT_EQ(eventfd_count(told), 1);
	synic_run_sync(v, 4);
	/* EOM is for all SINTs, and one of them is that of the GSI. */
	n = eventfd_count(told);
	ASSERT_KNOWN(n == 1, "told %llu times", (unsigned long long)n);
	synic_run_done(v);
	vm_free(vm);
}

/* --- routes before the SynIC ---------------------------------------------- */

GUEST_CODE(one_interrupt)
{
	apic_enable();
	wrmsr(HV_X64_MSR_SINT(TEST_SINT), VEC);
	irqs_on();
	GUEST_SYNC(1);
	GUEST_ASSERT(guest_wait(&guest_irqs[VEC], 1, WAIT_MS));
	GUEST_SYNC(2);
}

/* The VP's SynIC comes now: @told hears of the end of the one interrupt that @fd raises. */
static void tell_of_the_end(struct vcpu *v, int fd, int told)
{
	u64 n;

	ASSERT_EQ(__vcpu_enable_cap(v, KVM_CAP_HYPERV_SYNIC2, 0), 0);
	vcpu_entry(v, one_interrupt);
	synic_run_sync(v, 1);
	eventfd_signal(fd);
	synic_run_sync(v, 2);
	n = eventfd_count(told);
	ASSERT_KNOWN(n == 1, "told %llu times", (unsigned long long)n);
	synic_run_done(v);
}

/* A VMM may set the routes of all VPs before it enables the SynIC of the last one. */
TEST_KNOWN(route_before_the_synic_is_enabled, "K45")
{
	struct vm *vm = vm_create(1, 0);
	struct vcpu *v = vm->vcpus[0];
	u32 sint = TEST_SINT;
	int fd, told;

	guest_irq_handlers[VEC] = guest_irq_count;
	route_sints(vm, 0, &sint, 1);
	fd = irqfd_new(vm, GSI(0), &told);
	tell_of_the_end(v, fd, told);
	vm_free(vm);
}

/* The same for all of a vCPU. */
TEST_KNOWN(route_before_the_vp_is_there, "K45")
{
	struct vm *vm = sint_vm(1);
	u32 sint = TEST_SINT;
	struct vcpu *v;
	int fd, told;

	route_sints(vm, 1, &sint, 1);
	fd = irqfd_new(vm, GSI(0), &told);
	v = vm_add_vcpu(vm);
	tell_of_the_end(v, fd, told);
	vm_free(vm);
}

/* A VMM may give the VPs their indices last: the route goes with the index. */
TEST_KNOWN(route_before_the_vp_index, "K45")
{
	struct vm *vm = sint_vm(2);
	struct vcpu *v = vm->vcpus[1];
	u32 sint = TEST_SINT;
	int fd, told;

	route_sints(vm, 5, &sint, 1);
	fd = irqfd_new(vm, GSI(0), &told);
	vcpu_set_msr(v, HV_X64_MSR_VP_INDEX, 5);
	tell_of_the_end(v, fd, told);
	/* Another VP gets the same index: it has the route, whichever VP had it first. */
	vcpu_set_msr(vm->vcpus[0], HV_X64_MSR_VP_INDEX, 5);
	vcpu_set_msr(v, HV_X64_MSR_EOM, 0);
	ASSERT_EQ(eventfd_count(told), 0);
	vcpu_set_msr(vm->vcpus[0], HV_X64_MSR_VP_INDEX, 0);
	tell_of_the_end(v, fd, told);
	/* VP 1 is another one from now on, and the route is not its own. */
	vcpu_set_msr(v, HV_X64_MSR_VP_INDEX, 1);
	vcpu_set_msr(v, HV_X64_MSR_EOM, 0);
	ASSERT_EQ(eventfd_count(told), 0);
	vm_free(vm);
}

/* A VMM restores EOM with all other registers. */
TEST(eom_without_a_synic_tells_nobody)
{
	struct vm *vm = vm_create(1, 0);
	u32 sint = TEST_SINT;
	int told;

	route_sints(vm, 0, &sint, 1);
	irqfd_new(vm, GSI(0), &told);
	vcpu_set_msr(vm->vcpus[0], HV_X64_MSR_EOM, 0);
	ASSERT_EQ(eventfd_count(told), 0);
	vm_free(vm);
}

/* Level and back: as long as user space raises it again on the ack, it comes again. */
GUEST_CODE(resample_again)
{
	u32 i;

	apic_enable();
	wrmsr(HV_X64_MSR_SINT(TEST_SINT), VEC);
	irqs_on();
	for (i = 0; i < 5; i++) {
		GUEST_SYNC(1);
		GUEST_ASSERT(guest_wait(&guest_irqs[VEC], i + 1, WAIT_MS));
	}
	GUEST_SYNC(2);
	GUEST_ASSERT_EQ(guest_irqs[VEC], 5);
}

TEST(resampled_interrupt_comes_again)
{
	struct vm *vm = sint_vm(1);
	struct vcpu *v = vm->vcpus[0];
	int fd, ack_fd;
	u32 i;

	route_all_sints(vm, 0);
	fd = irqfd_new(vm, GSI(TEST_SINT), &ack_fd);
	vcpu_entry(v, resample_again);
	for (i = 0; i < 5; i++) {
		synic_run_sync(v, 1);
		ASSERT_EQ(eventfd_count(ack_fd), i > 0);
		eventfd_signal(fd);
	}
	synic_run_sync(v, 2);
	ASSERT_EQ(eventfd_count(ack_fd), 1);
	synic_run_done(v);
	vm_free(vm);
}
