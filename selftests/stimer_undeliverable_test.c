// SPDX-License-Identifier: GPL-2.0-only
/*
 * Synthetic timers: an expiry that cannot be delivered (K1), because the message slot is taken,
 * SIMP or the local APIC is disabled, the SINT is masked, or the SynIC is off.
 */
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "stimer.h"

/* --- the message slot is taken ------------------------------------------- */

/* All four on one SINT: each message arrives once, by flag and EOM. */
STIMER_TEST(four_timers_share_a_slot)
{
	u32 seen = 0, i, n;

	setup();
	for (n = 0; n < HV_SYNIC_STIMERS; n++)
		start(n, ONE_SHOT, 1 + n);
	guest_settle(SETTLE_MS);
	for (i = 0; i < HV_SYNIC_STIMERS; i++) {
		GUEST_ASSERT(wait_slot(SINT));
		GUEST_ASSERT_EQ(!!(slot(SINT)->flags & HV_MSG_PENDING), i < HV_SYNIC_STIMERS - 1);
		n = slot(SINT)->timer.index;
		GUEST_ASSERT(!(seen & 1u << n));
		seen |= 1u << n;
		GUEST_ASSERT_EQ(slot(SINT)->timer.expiration, 1 + n);
		GUEST_ASSERT(take(SINT));
		GUEST_ASSERT_EQ(rdmsr(CONFIG(n)), TO_SINT);
		guest_settle(SETTLE_MS);
	}
	GUEST_ASSERT_EQ(seen, 0xf);
	GUEST_ASSERT_EQ(slot(SINT)->type, HV_MSG_NONE);
}

/* Somebody else's message in the slot. */
static void occupy(void)
{
	slot(SINT)->size = 0;
	slot(SINT)->flags = 0;
	slot(SINT)->type = 1;
}

STIMER_TEST(busy_slot_one_shot_then_eom)
{
	setup();
	occupy();
	start(0, ONE_SHOT, 1);
	GUEST_ASSERT(wait_pending_flag(SINT));
	GUEST_ASSERT_EQ(slot(SINT)->type, 1);
	GUEST_ASSERT_EQ(slot(SINT)->flags, HV_MSG_PENDING);
	/* Not delivered yet: still enabled, no interrupt. */
	GUEST_ASSERT_EQ(rdmsr(CONFIG(0)), ONE_SHOT);
	GUEST_ASSERT(!apic_vector(APIC_IRR, VEC));
	slot(SINT)->type = HV_MSG_NONE;
	wrmsr(HV_X64_MSR_EOM, 0);
	GUEST_ASSERT(wait_slot(SINT));
	GUEST_ASSERT(apic_vector(APIC_IRR, VEC));
	GUEST_ASSERT(take(SINT));
	GUEST_ASSERT_EQ(last_flags, 0);
	GUEST_ASSERT_EQ(rdmsr(CONFIG(0)), TO_SINT);
	wrmsr(HV_X64_MSR_EOM, 0);
	guest_settle(SETTLE_MS);
	GUEST_ASSERT_EQ(slot(SINT)->type, HV_MSG_NONE);
}

/* An EOM while the slot is still busy changes nothing. */
STIMER_TEST(busy_slot_early_eom)
{
	setup();
	occupy();
	start(0, ONE_SHOT, 1);
	GUEST_ASSERT(wait_pending_flag(SINT));
	slot(SINT)->flags = 0;
	wrmsr(HV_X64_MSR_EOM, 0);
	/* The message is tried again, and MessagePending is set again. */
	GUEST_ASSERT(wait_pending_flag(SINT));
	GUEST_ASSERT_EQ(slot(SINT)->type, 1);
	slot(SINT)->type = HV_MSG_NONE;
	wrmsr(HV_X64_MSR_EOM, 0);
	GUEST_ASSERT(wait_slot(SINT));
	GUEST_ASSERT(take(SINT));
	guest_settle(SETTLE_MS);
	GUEST_ASSERT_EQ(slot(SINT)->type, HV_MSG_NONE);
}

/* The busy message is the one whose interrupt is in service: its EOI frees the queue. */
static void busy_slot_then_eoi(u64 config)
{
	setup();
	guest_irq_handlers[VEC] = guest_irq_count_no_eoi;
	start(1, ONE_SHOT, 1);
	GUEST_ASSERT(wait_slot(SINT));
	irqs_window();
	GUEST_ASSERT_EQ(guest_irqs[VEC], 1);
	/* The slot is not freed yet. */
	start(0, config, config & PERIODIC ? REF_MS(50) : 1);
	GUEST_ASSERT_KNOWN_EQ(wait_pending_flag(SINT), true);
	GUEST_ASSERT_EQ(slot(SINT)->timer.index, 1);
	slot(SINT)->type = HV_MSG_NONE;
	apic_eoi();
	GUEST_ASSERT(wait_slot(SINT));
	GUEST_ASSERT_EQ(slot(SINT)->timer.index, 0);
	GUEST_ASSERT(take(SINT));
	irqs_window();
	GUEST_ASSERT_EQ(guest_irqs[VEC], 2);
}

STIMER_TEST(busy_slot_one_shot_then_eoi)
{
	busy_slot_then_eoi(ONE_SHOT);
}

STIMER_TEST_KNOWN(busy_slot_periodic_then_eoi, "K1")
{
	busy_slot_then_eoi(ONE_SHOT | PERIODIC);
}

/* A tick that finds the slot busy must say so, or the guest has no reason to write EOM. */
STIMER_TEST_KNOWN(busy_slot_periodic_then_eom, "K1")
{
	u64 begin = ref_now(), period = REF_MS(50);
	u32 i;

	setup();
	occupy();
	start(0, ONE_SHOT | PERIODIC, period);
	GUEST_ASSERT_KNOWN_EQ(wait_pending_flag(SINT), true);
	GUEST_ASSERT_EQ(slot(SINT)->type, 1);
	GUEST_ASSERT(ref_now() >= begin + period);
	slot(SINT)->type = HV_MSG_NONE;
	wrmsr(HV_X64_MSR_EOM, 0);
	GUEST_ASSERT(wait_slot(SINT));
	GUEST_ASSERT(apic_vector(APIC_IRR, VEC));
	/* The timer continues. */
	irqs_on();
	for (i = 0; i < 3; i++)
		GUEST_ASSERT(guest_wait(&nr_taken, i + 1, WAIT_MS));
}

/*
 * The guest frees the slot and forgets EOM; interrupts are off, so there is no
 * EOI either. The next message to this SINT must bring the queue along.
 */
STIMER_TEST_KNOWN(busy_slot_then_later_message, "K1")
{
	setup();
	occupy();
	start(0, ONE_SHOT, 1);
	GUEST_ASSERT(wait_pending_flag(SINT));
	slot(SINT)->flags = 0;
	slot(SINT)->type = HV_MSG_NONE;
	start(1, ONE_SHOT, 2);
	GUEST_ASSERT(wait_slot(SINT));
	/* One of the two is there, the other one is pending. */
	GUEST_ASSERT_KNOWN_EQ(wait_pending_flag(SINT), true);
	GUEST_ASSERT(take(SINT));
	GUEST_ASSERT(wait_slot(SINT));
	GUEST_ASSERT(take(SINT));
	GUEST_ASSERT_EQ(last_flags, 0);
	GUEST_ASSERT_EQ(taken[0].index + taken[1].index, 1);
	guest_settle(SETTLE_MS);
	GUEST_ASSERT_EQ(slot(SINT)->type, HV_MSG_NONE);
}

/*
 * With KVM_CAP_HYPERV_SYNIC2 user space zeroes the page. If it does not, the slots are taken, and a
 * timer's message waits as behind any other message; it is not lost.
 */
GUEST_CODE(slots_of_stale_bytes)
{
	setup();
	irqs_on();
	start(0, ONE_SHOT, 1);
	guest_settle(SETTLE_MS);
	GUEST_ASSERT_EQ(guest_irqs[VEC], 0);
	GUEST_ASSERT_EQ(slot(SINT)->type, 0xaaaaaaaa);
	GUEST_ASSERT(slot(SINT)->flags & HV_MSG_PENDING);
	GUEST_SYNC(1);
	wrmsr(HV_X64_MSR_EOM, 0);
	GUEST_ASSERT(guest_wait(&guest_irqs[VEC], 1, WAIT_MS));
	GUEST_ASSERT_EQ(nr_taken, 1);
	GUEST_ASSERT_EQ(rdmsr(CONFIG(0)), TO_SINT);
}

TEST(synic2_page_of_stale_bytes)
{
	struct vm *vm = timer_vm();

	memset(synic_messages[0], 0xaa, PAGE_SIZE);
	vcpu_entry(vm->vcpus[0], slots_of_stale_bytes);
	synic_run_sync(vm->vcpus[0], 1);
	memset(synic_messages[0], 0, PAGE_SIZE);
	synic_run_done(vm->vcpus[0]);
	vm_free(vm);
}

/* --- an expiry that cannot be delivered --------------------------------- */

/* The obstacle blocks the message itself, not only its interrupt. */
static bool keeps_message(enum obstacle what)
{
	return what == SIMP_OFF || what == SIMP_NOWHERE || what == SYNIC_OFF;
}

/* Expire with the obstacle in place, then take it away: an interrupt comes, once. */
static void blocked_one_shot(enum obstacle what, u64 config)
{
	bool direct = config & HV_STIMER_DIRECT;

	setup();
	irqs_on();
	block(what);
	start(0, config, in_ms(2));
	timer_pause(10);
	GUEST_ASSERT_KNOWN_EQ(guest_irqs[VEC], 0);
	if (keeps_message(what))
		GUEST_ASSERT_KNOWN_EQ(slot(SINT)->type, HV_MSG_NONE);
	unblock(what);
	GUEST_ASSERT_KNOWN_EQ(guest_wait(&guest_irqs[VEC], 1, known_ms), true);
	GUEST_ASSERT_EQ(nr_taken, direct ? 0 : 1);
	GUEST_ASSERT_EQ(rdmsr(CONFIG(0)), config & ~ON);
	/* No duplicate, not even for an EOM. */
	wrmsr(HV_X64_MSR_EOM, 0);
	guest_settle(SETTLE_MS);
	GUEST_ASSERT_EQ(guest_irqs[VEC], 1);
	GUEST_ASSERT_EQ(slot(SINT)->type, HV_MSG_NONE);
}

static void blocked_periodic(enum obstacle what, u64 config)
{
	setup();
	irqs_on();
	start(0, config, REF_MS(3));
	GUEST_ASSERT(guest_wait(&guest_irqs[VEC], 2, WAIT_MS));
	irqs_off();
	block(what);
	irqs_window();
	take(SINT);
	guest_irqs[VEC] = 0;
	irqs_on();
	timer_pause(10);
	GUEST_ASSERT_KNOWN_EQ(guest_irqs[VEC], 0);
	if (keeps_message(what))
		GUEST_ASSERT_KNOWN_EQ(slot(SINT)->type, HV_MSG_NONE);
	unblock(what);
	GUEST_ASSERT_KNOWN_EQ(guest_wait(&guest_irqs[VEC], 5, known_ms), true);
	GUEST_ASSERT_EQ(rdmsr(CONFIG(0)), config);
}

STIMER_TEST_KNOWN(simp_off_one_shot, "K1")
{
	blocked_one_shot(SIMP_OFF, ONE_SHOT);
}

STIMER_TEST_KNOWN(simp_off_periodic, "K1")
{
	blocked_periodic(SIMP_OFF, ONE_SHOT | PERIODIC);
}

/* The same where enabling zeroes the page: the message comes after that. */
TEST_KNOWN(simp_off_one_shot_zeroed_page, "K1")
{
	struct vm *vm = synic_vm_bare(1, KVM_CAP_HYPERV_SYNIC);

	timer_prepare();
	guest_irq_handlers[VEC] = on_message;
	memset(synic_messages[0], 0xee, PAGE_SIZE);
	/* Read the slot while SIMP is disabled. */
	synic_messages[0][SINT].type = HV_MSG_NONE;
	vcpu_entry(vm->vcpus[0], simp_off_one_shot_guest);
	timer_run_to_end(vm->vcpus[0]);
	vm_free(vm);
}

STIMER_TEST_KNOWN(simp_outside_memory_one_shot, "K1")
{
	blocked_one_shot(SIMP_NOWHERE, ONE_SHOT);
}

STIMER_TEST_KNOWN(simp_outside_memory_periodic, "K1")
{
	blocked_periodic(SIMP_NOWHERE, ONE_SHOT | PERIODIC);
}

/* A guest that waits for interrupts needs one: the message alone would never be noticed. */
STIMER_TEST_KNOWN(sint_masked_one_shot, "K1")
{
	blocked_one_shot(SINT_MASKED, ONE_SHOT);
}

STIMER_TEST_KNOWN(sint_masked_periodic, "K1")
{
	blocked_periodic(SINT_MASKED, ONE_SHOT | PERIODIC);
}

/* A guest that polls the slot: one message, and the timer is done. */
STIMER_TEST_KNOWN(sint_masked_no_duplicate, "K1")
{
	setup();
	block(SINT_MASKED);
	start(0, ONE_SHOT, 1);
	guest_settle(SETTLE_MS);
	unblock(SINT_MASKED);
	GUEST_ASSERT(wait_slot(SINT));
	GUEST_ASSERT(take(SINT));
	GUEST_ASSERT_KNOWN_EQ(rdmsr(CONFIG(0)), TO_SINT);
	wrmsr(HV_X64_MSR_EOM, 0);
	guest_settle(SETTLE_MS);
	GUEST_ASSERT_EQ(slot(SINT)->type, HV_MSG_NONE);
}

STIMER_TEST_KNOWN(sint_masked_eom_no_duplicate, "K1")
{
	setup();
	block(SINT_MASKED);
	start(0, ONE_SHOT, 1);
	guest_settle(SETTLE_MS);
	unblock(SINT_MASKED);
	GUEST_ASSERT(wait_slot(SINT));
	GUEST_ASSERT(take(SINT));
	wrmsr(HV_X64_MSR_EOM, 0);
	guest_settle(SETTLE_MS);
	GUEST_ASSERT_KNOWN_EQ(slot(SINT)->type, HV_MSG_NONE);
	GUEST_ASSERT_EQ(nr_taken, 1);
}

STIMER_TEST_KNOWN(apic_off_message_one_shot, "K1")
{
	blocked_one_shot(APIC_OFF, ONE_SHOT);
}

STIMER_TEST_KNOWN(apic_off_message_periodic, "K1")
{
	blocked_periodic(APIC_OFF, ONE_SHOT | PERIODIC);
}

STIMER_TEST_KNOWN(apic_off_direct_one_shot, "K1")
{
	blocked_one_shot(APIC_OFF, ON | DIRECT);
}

STIMER_TEST_KNOWN(apic_off_direct_periodic, "K1")
{
	blocked_periodic(APIC_OFF, ON | PERIODIC | DIRECT);
}

STIMER_TEST_KNOWN(scontrol_zero_one_shot, "K5")
{
	blocked_one_shot(SYNIC_OFF, ONE_SHOT);
}

STIMER_TEST_KNOWN(scontrol_zero_periodic, "K5")
{
	blocked_periodic(SYNIC_OFF, ONE_SHOT | PERIODIC);
}

/* A timer that is disabled while it is blocked never expires, whatever the obstacle. */
STIMER_TEST(disabled_while_blocked_never_expires)
{
	setup();
	irqs_on();
	block(SIMP_OFF);
	start(0, ONE_SHOT, 1);
	start(1, ONE_SHOT, 1);
	guest_settle(SETTLE_MS);
	wrmsr(CONFIG(0), TO_SINT);
	wrmsr(COUNT(1), 0);
	unblock(SIMP_OFF);
	wrmsr(HV_X64_MSR_EOM, 0);
	guest_settle(SETTLE_MS);
	assert_quiet();
}

/* --- the message page has no memory for a while (K49) ------------------------ */

#define GPA_AWAY  0x60000000ULL
#define EXPIRED	  0x70 /* of a timer behind the first one */
#define CLOSING	  0x71 /* of the timer that closes the case */
/* Within seconds something else has the VP look: an update of KVM's clock, say. */
#define MEMORY_MS 1500

static volatile u64 came;

static void note_time(struct guest_frame *f)
{
	came = rdmsr(HV_X64_MSR_TIME_REF_COUNT);
	guest_irq_count(f);
}

/* Halted until the closing timer, unless the message comes before. */
GUEST_CODE(waits_for_memory)
{
	u64 end;

	setup();
	wrmsr(HV_X64_MSR_SIMP, GPA_AWAY | HV_SYNIC_ENABLE);
	GUEST_SYNC(1);
	start(0, ONE_SHOT, in_ms(1));
	start(1, ON | HV_STIMER_DIRECT | HV_STIMER_VECTOR(EXPIRED), in_ms(5));
	end = in_ms(MEMORY_MS);
	start(3, ON | HV_STIMER_DIRECT | HV_STIMER_VECTOR(CLOSING), end);
	while (!guest_irqs[CLOSING] && !guest_irqs[VEC])
		irqs_halt();
	GUEST_ASSERT_KNOWN_EQ(came && came < end, true);
}

/* The page, as the VM has it and for the test alone. */
static u8 *simp, *simp_alias;
static u32 simp_slot;

static volatile struct hv_message *message(void)
{
	return (volatile struct hv_message *)simp_alias + SINT;
}

static u8 *map_page(int fd)
{
	u8 *page = mmap(NULL, PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	ASSERT(page != MAP_FAILED, "mmap");
	return page;
}

static void run_without_memory(void (*away)(struct vm *vm), void (*back)(struct vm *vm))
{
	const struct timespec pause = { .tv_nsec = 5000000 };
	struct vm *vm = timer_vm();
	struct vcpu *v = vm->vcpus[0];
	int fd = memfd_create("simp", MFD_CLOEXEC);

	ASSERT(fd >= 0 && !ftruncate(fd, PAGE_SIZE), "memfd");
	simp_slot = vm->nr_slots;
	simp = map_page(fd);
	simp_alias = map_page(fd);
	guest_irq_handlers[VEC] = note_time;
	guest_irq_handlers[EXPIRED] = guest_irq_count;
	guest_irq_handlers[CLOSING] = guest_irq_count;
	vm_set_page(vm, simp_slot, GPA_AWAY, simp);
	vcpu_entry(v, waits_for_memory);
	synic_run_sync(v, 1);
	away(vm);
	vcpu_start(v);
	/* Timers expire in their order. */
	while (!guest_irqs[EXPIRED])
		nanosleep(&pause, NULL);
	back(vm);
	vcpu_join(v);
	vm_free(vm);
}

static void take_memory(struct vm *vm)
{
	vm_set_page(vm, simp_slot, GPA_AWAY, NULL);
}

static void give_memory(struct vm *vm)
{
	vm_set_page(vm, simp_slot, GPA_AWAY, simp);
}

/* As user space does that splits a memslot while the VP is halted. */
TEST_KNOWN(memory_comes_back_under_a_halted_vp, "K49")
{
	run_without_memory(take_memory, give_memory);
}

/* An unread message is in the slot, and nobody can be told that another one waits. */
static void protect_full_slot(struct vm *vm)
{
	(void)vm;
	message()->type = HV_MSG_TIMER_EXPIRED;
	ASSERT(!mprotect(simp, PAGE_SIZE, PROT_READ), "mprotect");
}

/* Whoever reads that message now has no reason to write EOM. */
static void empty_and_unprotect(struct vm *vm)
{
	(void)vm;
	ASSERT_EQ(message()->flags, 0);
	message()->type = HV_MSG_NONE;
	ASSERT(!mprotect(simp, PAGE_SIZE, PROT_READ | PROT_WRITE), "mprotect");
}

TEST_KNOWN(full_slot_is_read_only_for_a_while, "K49")
{
	run_without_memory(protect_full_slot, empty_and_unprotect);
}
