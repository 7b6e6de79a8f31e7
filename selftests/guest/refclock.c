// SPDX-License-Identifier: GPL-2.0-only
/* See refclock.h. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>

#include "refclock.h"

struct tsc_page ref_page __attribute__((aligned(4096)));
struct tsc_page ref_page2 __attribute__((aligned(4096)));

void require_tsc_clocksource(void)
{
	char name[32] = "";
	FILE *f = fopen("/sys/devices/system/clocksource/clocksource0/current_clocksource", "r");

	if (!f || !fgets(name, sizeof(name), f))
		FAIL("cannot read the clocksource: %s", strerror(errno));
	fclose(f);
	if (strcmp(name, "tsc\n"))
		ktap_skip("the clocksource of this host is not the TSC");
}

static u64 mul_high(u64 a, u64 b)
{
	u64 lo, hi;

	asm("mulq %3" : "=a"(lo), "=d"(hi) : "0"(a), "r"(b));
	return hi;
}

bool page_time(const struct tsc_page *p, u64 *t)
{
	u32 seq;

	do {
		seq = p->sequence;
		if (!seq)
			return false;
		GUEST_ASSERT(seq != SEQ_INVALID_OLD);
		asm volatile("lfence" : : : "memory");
		*t = mul_high(rdtsc(), p->scale) + p->offset;
		asm volatile("" : : : "memory");
	} while (p->sequence != seq);
	return true;
}

u64 guest_time(const struct tsc_page *p)
{
	u64 t;

	return page_time(p, &t) ? t : rdmsr(HV_X64_MSR_TIME_REF_COUNT);
}

volatile struct reading readings[3];

/* A write that the next vCPU to run does first. */
static volatile struct {
	u32 msr;
	u64 val;
} todo;

GUEST_CODE(reader)
{
	volatile struct reading *r = &readings[this_cpu()->id];

	for (;;) {
		u64 t = 0;

		if (todo.msr) {
			wrmsr(todo.msr, todo.val);
			GUEST_ASSERT_EQ(rdmsr(todo.msr), todo.val);
			todo.msr = 0;
		}
		r->before = rdmsr(HV_X64_MSR_TIME_REF_COUNT);
		r->valid = page_time(&ref_page, &t);
		r->page = t;
		r->after = rdmsr(HV_X64_MSR_TIME_REF_COUNT);
		GUEST_SYNC(1);
	}
}

u64 last_time;

void start_reader(struct vcpu *v)
{
	vcpu_entry(v, reader);
}

volatile struct reading *read_clock(struct vcpu *v)
{
	volatile struct reading *r = &readings[v->id];

	vcpu_run_sync(v, 1);
	ASSERT(r->before >= last_time, "time went back from %llu to %llu on vCPU %u",
	       (unsigned long long)last_time, (unsigned long long)r->before, v->id);
	if (r->valid)
		ASSERT(r->before <= r->page && r->page <= r->after,
		       "register %llu, page %llu, register %llu", (unsigned long long)r->before,
		       (unsigned long long)r->page, (unsigned long long)r->after);
	ASSERT(r->before <= r->after, "register %llu, then %llu", (unsigned long long)r->before,
	       (unsigned long long)r->after);
	last_time = r->after;
	return r;
}

void guest_write(struct vcpu *v, u32 msr, u64 val)
{
	todo.val = val;
	todo.msr = msr;
	read_clock(v);
}

bool seq_valid(u32 seq)
{
	return seq && seq != SEQ_INVALID_OLD;
}

void assert_page_valid(struct vcpu *v)
{
	ASSERT(read_clock(v)->valid && seq_valid(ref_page.sequence), "sequence 0x%x",
	       ref_page.sequence);
}

struct vm *vm_with_page(u32 nr_vcpus)
{
	struct vm *vm = vm_create(nr_vcpus, 0);
	u32 i;

	require_tsc_clocksource();
	for (i = 0; i < nr_vcpus; i++)
		start_reader(vm->vcpus[i]);
	last_time = 0;
	guest_write(vm->vcpus[0], HV_X64_MSR_REFERENCE_TSC, ref_tsc(&ref_page));
	for (i = 0; i < nr_vcpus; i++)
		assert_page_valid(vm->vcpus[i]);
	return vm;
}

struct kvm_clock_data get_clock(struct vm *vm)
{
	struct kvm_clock_data c = { 0 };

	if (ioctl(vm->fd, KVM_GET_CLOCK, &c) < 0)
		FAIL("KVM_GET_CLOCK: %s", strerror(errno));
	return c;
}

void set_clock(struct vm *vm, u64 ns)
{
	struct kvm_clock_data c = { .clock = ns };

	if (ioctl(vm->fd, KVM_SET_CLOCK, &c) < 0)
		FAIL("KVM_SET_CLOCK: %s", strerror(errno));
}

void advance_clock(struct vm *vm, u64 seconds)
{
	set_clock(vm, get_clock(vm).clock + seconds * NS_PER_SEC);
}

u64 host_time(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (u64)t.tv_sec * REF_PER_SEC + (u64)t.tv_nsec / 100;
}

void alternate(struct vm *vm, u32 rounds)
{
	u32 i;

	for (i = 0; i < rounds; i++)
		read_clock(vm->vcpus[i % 2]);
}

void assert_master_clock(struct vm *vm, bool on)
{
	ASSERT_EQ(!!(get_clock(vm).flags & KVM_CLOCK_TSC_STABLE), on);
}

void lose_master_clock(struct vm *vm)
{
	u64 hz = 1000ULL * (u64)__vcpu_ioctl(vm->vcpus[1], KVM_GET_TSC_KHZ, NULL);

	vcpu_set_msr(vm->vcpus[1], MSR_IA32_TSC,
		     vcpu_get_msr(vm->vcpus[1], MSR_IA32_TSC) + 100 * hz);
	/* The write takes effect when the vCPU it went to runs. */
	read_clock(vm->vcpus[1]);
	alternate(vm, 4);
	assert_master_clock(vm, false);
}
