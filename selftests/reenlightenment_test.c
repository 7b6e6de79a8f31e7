// SPDX-License-Identifier: GPL-2.0-only
/*
 * The reenlightenment interrupt (K13): a guest that has enabled it is told once that its VM was
 * restored. TLFS chapter "Nested Virtualization", "Reenlightenment".
 */
#include <errno.h>
#include <string.h>
#include <sys/ioctl.h>

#include "apic.h"
#include "vm.h"

#define CONTROL	   HV_X64_MSR_REENLIGHTENMENT_CONTROL
#define VEC	   0xee
#define OTHER_VEC  0x91
#define ENABLE	   BIT64(16)
#define TARGET(vp) ((u64)(vp) << 32)

#define CLOSE_MS    300
#define CLOSE_TICKS (CLOSE_MS * 1000000u) /* of KVM's APIC timer, 1 GHz */

#define TELL(vp) (VEC | ENABLE | TARGET(vp))

/* --- guest ---------------------------------------------------------------- */

static volatile u32 in_guest;

/* Take what has come; the host looks at the counts after each stage. */
GUEST_CODE(takes_what_comes)
{
	u64 stage;

	apic_enable();
	for (stage = 1;; stage++) {
		irqs_window();
		GUEST_SYNC(stage);
	}
}

/* The timer ends what nothing else does, on stock. */
GUEST_CODE(waits_with_irqs_on)
{
	apic_enable();
	apic_write(APIC_LVTT, OTHER_VEC);
	apic_write(APIC_TDCR, APIC_DIVIDE_BY_1);
	apic_write(APIC_TMICT, CLOSE_TICKS);
	irqs_on();
	GUEST_SYNC(1);
	while (!guest_irqs[VEC] && !guest_irqs[OTHER_VEC])
		cpu_relax();
	irqs_off();
}

GUEST_CODE(enables_the_apic_late)
{
	GUEST_ASSERT(!apic_vector(APIC_IRR, VEC));
	irqs_window();
	GUEST_ASSERT_EQ(guest_irqs[VEC], 0);
	apic_enable();
	irqs_window();
}

GUEST_CODE(disables_before_the_apic_is_on)
{
	wrmsr(CONTROL, VEC);
	apic_enable();
	irqs_window();
}

GUEST_CODE(enables_anew)
{
	wrmsr(CONTROL, TELL(0));
	apic_enable();
	irqs_window();
}

static u64 moves_to;

GUEST_CODE(moves_the_target)
{
	apic_enable();
	irqs_window();
	GUEST_ASSERT_EQ(guest_irqs[VEC], 0);
	wrmsr(CONTROL, moves_to);
	irqs_window();
}

GUEST_CODE(stays_in_the_guest)
{
	u64 end;

	apic_enable();
	irqs_on();
	end = rdmsr(HV_X64_MSR_TIME_REF_COUNT) + CLOSE_MS * 10000;
	in_guest = 1;
	while (!guest_irqs[VEC] && rdmsr(HV_X64_MSR_TIME_REF_COUNT) < end)
		cpu_relax();
	irqs_off();
}

GUEST_CODE(moves_it_to_a_running_vp)
{
	while (!in_guest)
		cpu_relax();
	wrmsr(CONTROL, TELL(1));
}

/* --- host ----------------------------------------------------------------- */

static struct vm *create(u32 vps)
{
	memset((void *)guest_irqs, 0, sizeof(guest_irqs));
	in_guest = 0;
	guest_irq_handlers[VEC] = guest_irq_count;
	guest_irq_handlers[OTHER_VEC] = guest_irq_count;
	return vm_create(vps, 0);
}

/* A VP that has run: its APIC is on. */
static struct vcpu *started(struct vm *vm, u32 vp)
{
	struct vcpu *v = vm->vcpus[vp];

	vcpu_entry(v, takes_what_comes);
	vcpu_run_sync(v, 1);
	return v;
}

static void set_control(struct vm *vm, u64 control)
{
	vcpu_set_msr(vm->vcpus[0], CONTROL, control);
}

static bool irr_has(struct vcpu *v, u32 vector)
{
	struct kvm_lapic_state lapic;
	u32 word;

	vcpu_ioctl(v, KVM_GET_LAPIC, &lapic);
	memcpy(&word, lapic.regs + APIC_IRR + vector / 32 * 0x10, sizeof(word));
	return word >> (vector % 32) & 1;
}

static void told(u32 times)
{
	ASSERT_KNOWN(guest_irqs[VEC] == times, "%u interrupts, not %u", guest_irqs[VEC], times);
}

TEST_KNOWN(restored_guest_is_told_once, "K13")
{
	struct vm *vm = create(2);
	struct vcpu *v = started(vm, 1);

	set_control(vm, TELL(1));
	vcpu_run_sync(v, 2);
	told(1);
	vcpu_run_sync(v, 3);
	ASSERT_EQ(guest_irqs[VEC], 1);
	vm_free(vm);
}

/* VMMs restore the register of the VM with each VP. */
TEST_KNOWN(written_for_each_vp, "K13")
{
	struct vm *vm = create(3);
	struct vcpu *v = started(vm, 1);
	u32 i;

	for (i = 0; i < 3; i++)
		vcpu_set_msr(vm->vcpus[i], CONTROL, TELL(1));
	vcpu_run_sync(v, 2);
	told(1);
	vcpu_run_sync(v, 3);
	ASSERT_EQ(guest_irqs[VEC], 1);
	vm_free(vm);
}

TEST_KNOWN(each_restore_is_told, "K13")
{
	struct vm *vm = create(1);
	struct vcpu *v = started(vm, 0);
	u32 i;

	for (i = 1; i <= 3; i++) {
		set_control(vm, TELL(0));
		vcpu_run_sync(v, 1 + i);
		told(i);
	}
	vm_free(vm);
}

/* The others run before the target does. */
TEST_KNOWN(only_the_target_is_told, "K13")
{
	struct vm *vm = create(2);
	struct vcpu *other = started(vm, 0), *target = started(vm, 1);

	set_control(vm, TELL(1));
	vcpu_run_sync(other, 2);
	vcpu_run_sync(other, 3);
	ASSERT_EQ(guest_irqs[VEC], 0);
	vcpu_run_sync(target, 2);
	told(1);
	vm_free(vm);
}

/* The target is a VP index, not the number of a vCPU. */
TEST_KNOWN(target_is_a_vp_index, "K13")
{
	struct vm *vm = create(2);
	struct vcpu *a = started(vm, 0), *b = started(vm, 1);

	vcpu_set_msr(a, HV_X64_MSR_VP_INDEX, 7);
	set_control(vm, TELL(7));
	vcpu_run_sync(b, 2);
	ASSERT_EQ(guest_irqs[VEC], 0);
	vcpu_run_sync(a, 2);
	told(1);
	vm_free(vm);
}

static void not_told(u64 control)
{
	struct vm *vm = create(1);
	struct vcpu *v = started(vm, 0);

	set_control(vm, control);
	vcpu_run_sync(v, 2);
	ASSERT_EQ(guest_irqs[VEC], 0);
	vm_free(vm);
}

TEST(disabled_control)
{
	not_told(VEC);
}

/* What QEMU writes at a reset. */
TEST(zero)
{
	not_told(0);
}

TEST(target_does_not_exist)
{
	not_told(TELL(5));
}

/* No hypervisor delivers a fixed interrupt with such a vector. */
TEST(vector_below_16)
{
	struct vm *vm = create(1);
	struct vcpu *v = started(vm, 0);

	set_control(vm, 3 | ENABLE);
	vcpu_run_sync(v, 2);
	ASSERT(!irr_has(v, 3), "it waits for ever");
	vm_free(vm);
}

/* A restore of a VM whose guest has disabled it takes the one before back. */
TEST(last_restore_counts)
{
	struct vm *vm = create(1);
	struct vcpu *v = started(vm, 0);

	set_control(vm, TELL(0));
	set_control(vm, VEC);
	vcpu_run_sync(v, 2);
	ASSERT_EQ(guest_irqs[VEC], 0);
	vm_free(vm);
}

GUEST_CODE(enables_and_goes_on)
{
	u64 stage;

	apic_enable();
	wrmsr(CONTROL, TELL(0));
	for (stage = 1;; stage++) {
		irqs_window();
		GUEST_SYNC(stage);
	}
}

/* The guest itself writes the register: nothing has happened to its VM. */
TEST(not_by_the_guests_write)
{
	struct vm *vm = create(1);
	struct vcpu *v = vm->vcpus[0];

	vcpu_entry(v, enables_and_goes_on);
	vcpu_run_sync(v, 1);
	vcpu_run_sync(v, 2);
	ASSERT_EQ(guest_irqs[VEC], 0);
	vm_free(vm);
}

/* What a VMM does around a pause. */
TEST(not_by_a_pause)
{
	struct vm *vm = create(1);
	struct vcpu *v = vm->vcpus[0];
	struct kvm_clock_data clock;
	struct kvm_lapic_state lapic;

	vcpu_entry(v, enables_and_goes_on);
	vcpu_run_sync(v, 1);
	ASSERT(!ioctl(vm->fd, KVM_GET_CLOCK, &clock), "KVM_GET_CLOCK: %s", strerror(errno));
	clock.flags = 0;
	ASSERT(!ioctl(vm->fd, KVM_SET_CLOCK, &clock), "KVM_SET_CLOCK: %s", strerror(errno));
	vcpu_ioctl(v, KVM_GET_LAPIC, &lapic);
	vcpu_ioctl(v, KVM_SET_LAPIC, &lapic);
	vcpu_set_msr(v, 0x10, vcpu_get_msr(v, 0x10));
	vcpu_run_sync(v, 2);
	ASSERT_EQ(guest_irqs[VEC], 0);
	vm_free(vm);
}

/* The order of most VMMs: the local APIC is restored after the MSRs, and its IRR with it. */
TEST_KNOWN(apic_is_restored_later, "K13")
{
	struct vm *vm = create(1);
	struct vcpu *v = started(vm, 0);
	struct kvm_lapic_state lapic;

	vcpu_ioctl(v, KVM_GET_LAPIC, &lapic);
	set_control(vm, TELL(0));
	vcpu_ioctl(v, KVM_SET_LAPIC, &lapic);
	vcpu_run_sync(v, 2);
	told(1);
	vm_free(vm);
}

/* A VMM may have KVM complete an exit before it restores the rest. */
TEST_KNOWN(a_run_that_enters_no_guest_tells_nobody, "K13")
{
	struct vm *vm = create(1);
	struct vcpu *v = started(vm, 0);

	set_control(vm, TELL(0));
	ASSERT_EQ(vcpu_finish_exit(v), -EINTR);
	ASSERT(!irr_has(v, VEC), "it came with a KVM_RUN that does not run");
	vcpu_run_sync(v, 2);
	told(1);
	vm_free(vm);
}

/* Run a guest that enables its local APIC itself, with the interrupt to be told since before. */
static void run_until_apic_is_on(void (*entry)(void))
{
	struct vm *vm = create(1);
	struct vcpu *v = vm->vcpus[0];

	set_control(vm, TELL(0));
	vcpu_entry(v, entry);
	vcpu_run_done(v);
	vm_free(vm);
}

TEST_KNOWN(waits_for_the_apic, "K13")
{
	run_until_apic_is_on(enables_the_apic_late);
	told(1);
}

TEST(guest_disables_it_before_its_apic_is_on)
{
	run_until_apic_is_on(disables_before_the_apic_is_on);
	ASSERT_EQ(guest_irqs[VEC], 0);
}

/* The guest has lost nothing: it still waits. */
TEST_KNOWN(guest_enables_it_again_before_its_apic_is_on, "K13")
{
	run_until_apic_is_on(enables_anew);
	told(1);
}

TEST_KNOWN(guest_moves_it_to_itself, "K13")
{
	struct vm *vm = create(2);
	struct vcpu *v = vm->vcpus[0];

	set_control(vm, TELL(1));
	moves_to = TELL(0);
	vcpu_entry(v, moves_the_target);
	vcpu_run_done(v);
	told(1);
	vm_free(vm);
}

TEST(guest_disables_it_for_another)
{
	struct vm *vm = create(2);
	struct vcpu *v = vm->vcpus[0], *target = started(vm, 1);

	set_control(vm, TELL(1));
	moves_to = VEC | TARGET(1);
	vcpu_entry(v, moves_the_target);
	vcpu_run_done(v);
	vcpu_run_sync(target, 2);
	ASSERT_EQ(guest_irqs[VEC], 0);
	vm_free(vm);
}

TEST_KNOWN(guest_moves_it_to_a_running_vp, "K13")
{
	struct vm *vm = create(2);

	require_two_cpus();
	set_control(vm, TELL(7));
	vcpu_entry(vm->vcpus[1], stays_in_the_guest);
	vcpu_entry(vm->vcpus[0], moves_it_to_a_running_vp);
	vcpu_start(vm->vcpus[1]);
	vcpu_run_done(vm->vcpus[0]);
	vcpu_join(vm->vcpus[1]);
	told(1);
	vm_free(vm);
}

TEST_KNOWN(halted_target_wakes, "K13")
{
	struct kvm_mp_state halted = { .mp_state = KVM_MP_STATE_HALTED };
	struct vm *vm = create(1);
	struct vcpu *v = vm->vcpus[0];

	vcpu_entry(v, waits_with_irqs_on);
	vcpu_run_sync(v, 1);
	ASSERT_EQ(vcpu_finish_exit(v), -EINTR);
	vcpu_ioctl(v, KVM_SET_MP_STATE, &halted);
	set_control(vm, TELL(0));
	vcpu_run_done(v);
	told(1);
	ASSERT_EQ(guest_irqs[OTHER_VEC], 0);
	vm_free(vm);
}

int main(int argc, char **argv)
{
	return ktap_main(argc, argv);
}
