// SPDX-License-Identifier: GPL-2.0-only
/*
 * Save and restore of synthetic timers: no expiry and no message may be lost, come twice or come
 * early. TLFS chapter "Timers".
 */
#include "migration.h"

static u64 saved_count, save_time;

GUEST_CODE(arm_and_leave)
{
	setup();
	saved_count = in_ms(40);
	start(0, ONE_SHOT, saved_count);
	start(1, ON | DIRECT, ref_now() + FAR);
	start(2, ON | DIRECT | PERIODIC, FAR);
	start(3, TO_SINT | HV_STIMER_AUTO_ENABLE, 0);
	save_time = ref_now();
}

GUEST_CODE(armed_comes)
{
	GUEST_ASSERT(ref_now() >= save_time);
	GUEST_ASSERT_EQ(apic_read(APIC_SPIV), APIC_SPIV_ON);
	irqs_on();
	GUEST_ASSERT(guest_wait(&nr_taken, 1, WAIT_MS));
	GUEST_ASSERT_EQ(taken[0].index, 0);
	GUEST_ASSERT_EQ(taken[0].expiration, saved_count);
	GUEST_ASSERT_EQ(rdmsr(CONFIG(0)), TO_SINT);
	GUEST_ASSERT_EQ(rdmsr(CONFIG(1)), ON | DIRECT);
	GUEST_ASSERT_EQ(rdmsr(CONFIG(2)), ON | DIRECT | PERIODIC);
	GUEST_ASSERT_EQ(rdmsr(COUNT(2)), FAR);
	GUEST_ASSERT_EQ(rdmsr(CONFIG(3)), TO_SINT | HV_STIMER_AUTO_ENABLE);
	guest_settle(SETTLE_MS);
	GUEST_ASSERT_EQ(guest_irqs[VEC], 1);
	GUEST_ASSERT_EQ(nr_taken, 1);
}

MIGRATE(armed_one_shot, arm_and_leave, armed_comes)

GUEST_CODE(tick_and_leave)
{
	setup();
	irqs_on();
	start(0, ONE_SHOT | PERIODIC, REF_MS(5));
	GUEST_ASSERT(guest_wait(&guest_irqs[VEC], 3, WAIT_MS));
	irqs_off();
	/* Leave no interrupt and no message behind, so that the numbers are clear. */
	irqs_window();
	guest_irqs[VEC] = 0;
	nr_taken = 0;
	save_time = ref_now();
}

GUEST_CODE(ticks_go_on)
{
	u32 i;

	irqs_on();
	GUEST_ASSERT(guest_wait(&guest_irqs[VEC], 10, WAIT_MS));
	irqs_off();
	/* No burst: not more than periods began since the VM was saved. */
	i = guest_irqs[VEC];
	GUEST_ASSERT(i <= (ref_now() - save_time) / REF_MS(5) + 1);
	for (i = 1; i < nr_taken; i++)
		GUEST_ASSERT(taken[i].expiration > taken[i - 1].expiration);
	GUEST_ASSERT_EQ(rdmsr(CONFIG(0)), ONE_SHOT | PERIODIC);
}

MIGRATE(running_periodic, tick_and_leave, ticks_go_on)

/* Direct: no message tells which of two timers it was, so they have vectors of their own. */
#define VEC2 0x62

GUEST_CODE(direct_and_leave)
{
	setup();
	saved_count = in_ms(40);
	start(0, ON | HV_STIMER_DIRECT | HV_STIMER_VECTOR(VEC), saved_count);
	start(1, ON | PERIODIC | HV_STIMER_DIRECT | HV_STIMER_VECTOR(VEC2), REF_MS(10));
	save_time = ref_now();
}

static volatile u64 direct_came;

static void on_direct(struct guest_frame *f)
{
	guest_irqs[f->vector]++;
	if (f->vector == VEC)
		direct_came = ref_now();
	apic_eoi();
}

GUEST_CODE(direct_comes)
{
	guest_irq_handlers[VEC] = on_direct;
	guest_irq_handlers[VEC2] = on_direct;
	irqs_on();
	GUEST_ASSERT(guest_wait(&guest_irqs[VEC], 1, WAIT_MS));
	GUEST_ASSERT(direct_came >= saved_count);
	GUEST_ASSERT(guest_wait(&guest_irqs[VEC2], 5, WAIT_MS));
	irqs_off();
	GUEST_ASSERT(guest_irqs[VEC2] <= (ref_now() - save_time) / REF_MS(10) + 1);
	GUEST_ASSERT_EQ(guest_irqs[VEC], 1);
	GUEST_ASSERT_EQ(rdmsr(CONFIG(0)) & ON, 0);
	GUEST_ASSERT_EQ(slot(SINT)->type, HV_MSG_NONE);
}

MIGRATE(direct, direct_and_leave, direct_comes)

/* Expired, but the slot was busy: enabled and in the past. */
GUEST_CODE(busy_and_leave)
{
	setup();
	start(1, ONE_SHOT, 1);
	GUEST_ASSERT(wait_slot(SINT));
	start(0, ONE_SHOT, 2);
	GUEST_ASSERT(wait_pending_flag(SINT));
	GUEST_ASSERT_EQ(rdmsr(CONFIG(0)), ONE_SHOT);
	GUEST_ASSERT_EQ(rdmsr(CONFIG(1)), TO_SINT);
}

/* The first message came with the page and its interrupt with the APIC; the second follows. */
GUEST_CODE(busy_comes)
{
	GUEST_ASSERT(apic_vector(APIC_IRR, VEC));
	GUEST_ASSERT_EQ(slot(SINT)->timer.index, 1);
	irqs_on();
	GUEST_ASSERT(guest_wait(&nr_taken, 2, WAIT_MS));
	guest_settle(SETTLE_MS);
	GUEST_ASSERT_EQ(nr_taken, 2);
	GUEST_ASSERT_EQ(guest_irqs[VEC], 2);
	GUEST_ASSERT_EQ(taken[0].index, 1);
	GUEST_ASSERT_EQ(taken[0].expiration, 1);
	GUEST_ASSERT_EQ(taken[1].index, 0);
	GUEST_ASSERT_EQ(taken[1].expiration, 2);
	GUEST_ASSERT_EQ(rdmsr(CONFIG(0)), TO_SINT);
}

MIGRATE(busy_slot, busy_and_leave, busy_comes)

/* Periodic: the slot was busy when a tick was due, and still is in the other VM. */
#define PERIOD_MS 5

static u64 armed_time;

GUEST_CODE(owed_and_leave)
{
	setup();
	start(1, ONE_SHOT, 1);
	GUEST_ASSERT(wait_slot(SINT));
	armed_time = ref_now();
	start(0, ONE_SHOT | PERIODIC, REF_MS(PERIOD_MS));
	/* Stock leaves no mark of it, and drops the tick. */
	if (migrated_from == MODULE)
		GUEST_ASSERT(wait_pending_flag(SINT));
	guest_settle(2 * PERIOD_MS);
	GUEST_ASSERT_EQ(slot(SINT)->timer.index, 1);
	GUEST_ASSERT_EQ(rdmsr(CONFIG(0)), ONE_SHOT | PERIODIC);
}

GUEST_CODE(owed_comes)
{
	u64 apart;
	u32 i;

	guest_settle(2 * PERIOD_MS);
	GUEST_ASSERT_EQ(slot(SINT)->timer.index, 1);
	irqs_on();
	GUEST_ASSERT(guest_wait(&nr_taken, 8, WAIT_MS));
	irqs_off();
	GUEST_ASSERT_EQ(taken[0].index, 1);
	GUEST_ASSERT_EQ(taken[0].expiration, 1);
	GUEST_ASSERT_EQ(taken[1].index, 0);
	GUEST_ASSERT(taken[1].expiration >= armed_time + REF_MS(PERIOD_MS));
	for (i = 2; i < nr_taken; i++) {
		GUEST_ASSERT_EQ(taken[i].index, 0);
		apart = taken[i].expiration - taken[i - 1].expiration;
		GUEST_ASSERT(taken[i].expiration > taken[i - 1].expiration);
		GUEST_ASSERT_EQ(apart % REF_MS(PERIOD_MS), 0);
	}
	/* One message is of the other timer. */
	GUEST_ASSERT(nr_taken - 1 <= (ref_now() - armed_time) / REF_MS(PERIOD_MS));
	GUEST_ASSERT_EQ(guest_irqs[VEC], nr_taken);
	GUEST_ASSERT_EQ(rdmsr(CONFIG(0)), ONE_SHOT | PERIODIC);
	GUEST_ASSERT_EQ(rdmsr(COUNT(0)), REF_MS(PERIOD_MS));
}

MIGRATE(busy_slot_periodic, owed_and_leave, owed_comes)

/* Two VPs with timers: number id is one-shot, number 2 + id is periodic and direct. */
static u64 vp_count[MAX_VPS], vp_save_time[MAX_VPS];

static u64 vp_period(u32 id)
{
	return REF_MS(5 + 2 * id);
}

GUEST_CODE(two_and_leave)
{
	u32 id = this_cpu()->id;

	setup();
	vp_count[id] = in_ms(40);
	start(id, ONE_SHOT, vp_count[id]);
	start(2 + id, ON | PERIODIC | HV_STIMER_DIRECT | HV_STIMER_VECTOR(VEC2), vp_period(id));
	vp_save_time[id] = ref_now();
}

GUEST_CODE(two_come)
{
	u32 id = this_cpu()->id;

	GUEST_ASSERT_EQ(rdmsr(HV_X64_MSR_VP_INDEX), id);
	GUEST_ASSERT_EQ(rdmsr(CONFIG(!id)), 0);
	GUEST_ASSERT_EQ(rdmsr(COUNT(2 + id)), vp_period(id));
	GUEST_ASSERT_EQ(rdmsr(COUNT(2 + !id)), 0);
	guest_irq_handlers[VEC2] = on_direct;
	guest_irqs[VEC2] = 0;
	guest_irqs[VEC] = 0;
	nr_taken = 0;
	irqs_on();
	GUEST_ASSERT(guest_wait(&nr_taken, 1, WAIT_MS));
	GUEST_ASSERT(guest_wait(&guest_irqs[VEC2], 5, WAIT_MS));
	guest_settle(SETTLE_MS);
	irqs_off();
	GUEST_ASSERT_EQ(nr_taken, 1);
	GUEST_ASSERT_EQ(guest_irqs[VEC], 1);
	GUEST_ASSERT_EQ(taken[0].index, id);
	GUEST_ASSERT_EQ(taken[0].expiration, vp_count[id]);
	GUEST_ASSERT(guest_irqs[VEC2] <= (ref_now() - vp_save_time[id]) / vp_period(id) + 1);
	GUEST_ASSERT_EQ(rdmsr(CONFIG(id)), TO_SINT);
}

TEST(two_vps)
{
	nr_vps = 2;
	migrate(two_and_leave, two_come, false);
}

TEST(two_vps_in_reverse)
{
	nr_vps = 2;
	migrate(two_and_leave, two_come, true);
}
