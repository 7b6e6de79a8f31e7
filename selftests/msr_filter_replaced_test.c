// SPDX-License-Identifier: GPL-2.0-only
/*
 * MSR filters: which one is in force, and one that is replaced under running and halted VPs.
 * Every case holds on stock KVM.
 */
#include <errno.h>
#include <sched.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "irqfd.h"
#include "msr_filter.h"
#include "rows.h"

/* --- which filter is in force --------------------------------------------- */

/* A filter that KVM refuses leaves the old one in force. */
TEST(refused_filters)
{
	static const struct access a = R(HV_X64_MSR_VP_INDEX), other = W(HV_X64_MSR_EOM, 0);
	struct ops_page *p;
	struct vm *vm = vm_with_ops(&p, 1);
	struct filter *f;
	u32 i, denied;

	for (denied = 0; denied < 2; denied++) {
		set_filter(vm, denied ? filter_of_one(RD, a.msr) : new_filter(ALLOW));
		for (i = 0; i < 6; i++) {
			int r = -EINVAL;

			/* Each of these would allow one register and deny the other. */
			f = filter_of_one(WR, other.msr);
			switch (i) {
			case 0: /* deny all, and no range */
				f = new_filter(DENY);
				break;
			case 1:
				f->f.flags |= 2;
				break;
			case 2:
				f->f.ranges[0].flags |= 4;
				break;
			case 3:
				f->f.ranges[0].flags = 0;
				break;
			case 4:
				f->f.ranges[0].nmsrs = 8 * KVM_MSR_FILTER_MAX_BITMAP_SIZE + 1;
				break;
			default:
				add_range(f, RDWR, NO_MSR, 64, false);
				f->f.ranges[1].bitmap = (u8 *)16;
				r = -EFAULT;
			}
			ASSERT(__set_filter(vm, &f->f) == r, "filter %u", i);
			ASSERT_EQ(vector_of(vm->vcpus[0], p, &a), denied ? GP_VECTOR : 0);
			ASSERT_EQ(vector_of(vm->vcpus[0], p, &other), 0);
		}
	}
	vm_free(vm);
}

/* The bitmaps are copied: what becomes of them afterwards changes nothing. */
TEST(bitmaps_are_copied)
{
	static const struct access a = R(HV_X64_MSR_VP_INDEX);
	struct filter *f = filter_of_one(RD, a.msr);
	struct ops_page *p;
	struct vm *vm = vm_with_ops(&p, 1);

	set_filter(vm, f);
	ASSERT_EQ(vector_of(vm->vcpus[0], p, &a), GP_VECTOR);
	memset(f->bits, 0xff, sizeof(f->bits));
	ASSERT_EQ(vector_of(vm->vcpus[0], p, &a), GP_VECTOR);
	set_filter(vm, f);
	ASSERT_EQ(vector_of(vm->vcpus[0], p, &a), 0);
	vm_free(vm);
}

/* A vCPU that is created later, and one that gets its Hyper-V CPUID later. */
TEST(filter_before_the_vcpu)
{
	static const struct access a = R(HV_X64_MSR_VP_INDEX);
	struct vm *vm = vm_create(0, 0);
	struct ops_page *p;
	struct vcpu *v;
	u32 i;

	set_filter(vm, filter_of_one(RD, a.msr));
	for (i = 0; i < 3; i++) {
		v = vm_add_vcpu(vm);
		p = vcpu_ops_init(v, 1);
		ASSERT_EQ(vector_of(v, p, &a), GP_VECTOR);
	}
	/* KVM refuses a new CPUID to a vCPU that has run, but takes the same one again. */
	vcpu_set_cpuid(v);
	ASSERT_EQ(vector_of(v, p, &a), GP_VECTOR);
	vm_free(vm);

	vm = vm_create(1, VM_NO_HV);
	v = vm->vcpus[0];
	set_filter(vm, filter_of_one(RD, a.msr));
	vm->flags &= ~VM_NO_HV;
	v = vm_add_vcpu(vm);
	p = vcpu_ops_init(v, 1);
	ASSERT_EQ(vector_of(v, p, &a), GP_VECTOR);
	set_filter(vm, new_filter(ALLOW));
	ASSERT_EQ(vector_of(v, p, &a), 0);
	vm_free(vm);
}

/* Two VMs at a time, and one after the other in the same memory of the kernel's. */
TEST(filters_belong_to_their_vm)
{
	static const struct access a = R(HV_X64_MSR_VP_INDEX);
	struct ops_page *p[2];
	struct vm *vm[2];
	u32 i, j, denied;

	for (i = 0; i < 12; i++) {
		denied = i % 3 == 0;
		for (j = 0; j < 2; j++) {
			vm[j] = vm_create(1, 0);
			p[j] = vcpu_ops_init(vm[j]->vcpus[0], 1);
			set_filter(vm[j],
				   filter_of_one(RD, j == denied ? HV_X64_MSR_RESET : a.msr));
		}
		for (j = 0; j < 8; j++)
			ASSERT_EQ(vector_of(vm[j & 1]->vcpus[0], p[j & 1], &a),
				  (j & 1) == denied ? 0 : GP_VECTOR);
		vm_free(vm[i & 1]);
		vm_free(vm[!(i & 1)]);
	}
}

/* The ioctl as a 32-bit VMM makes it. */
struct filter32 {
	u32 flags;
	struct {
		u32 flags, nmsrs, base, bitmap;
	} ranges[KVM_MSR_FILTER_MAX_RANGES];
};

#define SET_FILTER_32 _IOW(KVMIO, 0xc6, struct filter32)
#define IOCTL_32      54
#define GETPID_32     20

static long syscall32(u32 nr, u32 a, u32 b, u32 c)
{
	long r;

	asm volatile("int $0x80"
		     : "=a"(r)
		     : "0"(nr), "b"(a), "c"(b), "d"(c)
		     : "r8", "r9", "r10", "r11", "memory");
	return r;
}

static bool host_has_32_bit(void)
{
	int status;
	pid_t pid = fork();

	ASSERT(pid >= 0, "fork");
	if (!pid)
		_exit(syscall32(GETPID_32, 0, 0, 0) != getpid());
	ASSERT_EQ(waitpid(pid, &status, 0), pid);
	return WIFEXITED(status) && !WEXITSTATUS(status);
}

TEST(filter_of_a_32_bit_vmm)
{
	static const struct access a = R(HV_X64_MSR_VP_INDEX);
	static u64 bits[1]; /* below 4 GB, as all of this program */
	static struct filter32 f;
	struct ops_page *p;
	struct vm *vm;
	u32 i, allow;

	if (!host_has_32_bit())
		ktap_skip("the host has no 32-bit system calls");
	vm = vm_with_ops(&p, 1);
	f.ranges[0].flags = RD;
	f.ranges[0].nmsrs = 1;
	f.ranges[0].base = a.msr;
	f.ranges[0].bitmap = (u32)(uintptr_t)bits;
	for (i = 0; i < 10; i++) {
		allow = i % 3 == 1;
		bits[0] = allow;
		ASSERT_EQ(syscall32(IOCTL_32, (u32)vm->fd, (u32)SET_FILTER_32, (u32)(uintptr_t)&f),
			  0);
		ASSERT_EQ(vector_of(vm->vcpus[0], p, &a), allow ? 0 : GP_VECTOR);
	}
	vm_free(vm);
}

/* --- filters replaced under running and halted VPs ------------------------ */

#define MIN_RACE 100
#define LOOKS	 4

/* What is denied, by bits, of which the lowest are below: a new filter has a new generation. */
#define STABLE	   BIT64(3)
#define GENERATION 4

static volatile u64 in_force;
static volatile bool stop;
static volatile u64 checks[2];

static u32 try_access(u32 n)
{
	u64 val;

	switch (n) {
	case 0:
		return __rdmsr(HV_X64_MSR_VP_INDEX, &val);
	case 1:
		return __wrmsr(HV_X64_MSR_EOM, 0);
	default:
		return __rdmsr(HV_X64_MSR_TPR, &val);
	}
}

/*
 * The registers that generation @n denies. The pattern does not repeat with the addresses of the
 * filters.
 */
static u32 denied_by(u32 n)
{
	return n * 2654435761u >> 29;
}

/* If the generation is the same before and after the access, that filter was in force. */
GUEST_CODE(follows_filters)
{
	u32 n = 0, vector;
	u64 before;

	while (!stop) {
		before = in_force;
		vector = try_access(n);
		if ((before & STABLE) && in_force == before) {
			checks[this_cpu()->id]++;
			GUEST_ASSERT_EQ(vector, before & BIT64(n) ? GP_VECTOR : 0);
		}
		n = (n + 1) % 3;
	}
}

/* Always of one size, so that the kernel's memory for the last but one is used again. */
static struct filter *filter_number(u32 n)
{
	struct filter *f = new_filter(ALLOW);

	add_range(f, RD, HV_X64_MSR_VP_INDEX, 1, !(denied_by(n) & 1));
	add_range(f, WR, HV_X64_MSR_EOM, 1, !(denied_by(n) & 2));
	add_range(f, RD, HV_X64_MSR_TPR, 1, !(denied_by(n) & 4));
	return f;
}

static void replace_filter(struct vm *vm, u32 n)
{
	in_force = (u64)n << GENERATION;
	set_filter(vm, filter_number(n));
	in_force = (u64)n << GENERATION | STABLE | denied_by(n);
}

static u64 now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (u64)t.tv_sec * 1000 + (u64)t.tv_nsec / 1000000;
}

/*
 * Let each guest look at one filter in 32 for as long as it takes for a few accesses: however
 * little of the processor it gets, it looks at some.
 */
static void replace_and_wait(struct vm *vm, u32 n)
{
	u64 seen[] = { checks[0], checks[1] };
	u32 i;

	replace_filter(vm, n);
	for (i = 0; n % 32 == 0 && i < vm->nr_vcpus; i++)
		while (checks[i] < seen[i] + LOOKS)
			sched_yield();
}

/* On one CPU only a switch between threads is a race, and an emulator with one has a slow clock. */
static u64 race_ms(void)
{
	return sysconf(_SC_NPROCESSORS_ONLN) < 2 ? 500 : 2000;
}

TEST(filters_replaced_under_running_vps)
{
	struct vm *vm = synic_vm(2);
	u64 end = now_ms() + race_ms();
	u32 n = 0, i;

	ktap_timeout(60);
	replace_filter(vm, n++);
	for (i = 0; i < 2; i++) {
		vcpu_entry(vm->vcpus[i], follows_filters);
		vcpu_start(vm->vcpus[i]);
	}
	while (now_ms() < end || n < MIN_RACE || checks[0] < MIN_RACE || checks[1] < MIN_RACE)
		replace_and_wait(vm, n++);
	stop = true;
	for (i = 0; i < 2; i++)
		vcpu_join(vm->vcpus[i]);
	ktap_log("%u filters, %llu and %llu accesses checked", n, (unsigned long long)checks[0],
		 (unsigned long long)checks[1]);
	vm_free(vm);
}

/* The same where user space is asked: the exit and the value are as the filter in force says. */
static volatile u32 race_exits;

static void *answer_exits(void *arg)
{
	struct vcpu *v = arg;
	u32 cmd;

	while ((cmd = synic_run(v)) != GUEST_DONE) {
		ASSERT(cmd == RUN_EXIT(KVM_EXIT_X86_RDMSR), "0x%x", cmd);
		ASSERT_EQ(v->run->msr.reason, FILTERED);
		ASSERT_EQ(v->run->msr.index, HV_X64_MSR_VP_INDEX);
		v->run->msr.error = 0;
		v->run->msr.data = ANSWER;
		race_exits++;
	}
	return NULL;
}

GUEST_CODE(follows_answers)
{
	u64 before, val;

	while (!stop) {
		before = in_force;
		val = rdmsr(HV_X64_MSR_VP_INDEX);
		if ((before & STABLE) && in_force == before) {
			checks[0]++;
			GUEST_ASSERT_EQ(val, before & 1 ? ANSWER : 0);
		}
	}
}

TEST(filters_replaced_under_exits)
{
	struct vm *vm = synic_vm(1);
	u64 end = now_ms() + race_ms();
	u32 n = 0;

	want_exits(vm, FILTERED);
	replace_filter(vm, n++);
	vcpu_entry(vm->vcpus[0], follows_answers);
	ASSERT_EQ(pthread_create(&vm->vcpus[0]->worker, NULL, answer_exits, vm->vcpus[0]), 0);
	while (now_ms() < end || n < MIN_RACE || checks[0] < MIN_RACE || !race_exits)
		replace_and_wait(vm, n++);
	stop = true;
	vcpu_join(vm->vcpus[0]);
	ktap_log("%u filters, %llu accesses checked, %u exits", n, (unsigned long long)checks[0],
		 race_exits);
	vm_free(vm);
}

#define NR_HALTS 100

static volatile u32 woken;

/* The host puts the next filter in force while this VP sleeps, then wakes it. */
GUEST_CODE(halts_under_filters)
{
	u32 n;

	apic_enable();
	wrmsr(HV_X64_MSR_SINT(TEST_SINT), VEC);
	GUEST_SYNC(1);
	while (woken < NR_HALTS) {
		while (guest_irqs[VEC] <= woken)
			irqs_halt();
		for (n = 0; n < 3; n++)
			GUEST_ASSERT_EQ(try_access(n), in_force & BIT64(n) ? GP_VECTOR : 0);
		woken++;
	}
}

TEST(filters_replaced_under_a_halted_vp)
{
	static const u32 sint = TEST_SINT;
	struct vm *vm = synic_vm(1);
	struct vcpu *v = vm->vcpus[0];
	struct kvm_stat blocking = stat_open(v, "blocking");
	u32 n, i;
	int fd;

	guest_irq_handlers[VEC] = guest_irq_count;
	route_sints(vm, 0, &sint, 1);
	fd = irqfd_new(vm, GSI(0), NULL);
	vcpu_entry(v, halts_under_filters);
	synic_run_sync(v, 1);
	vcpu_start(v);
	for (n = 0; n < NR_HALTS; n++) {
		wait_halted(&blocking);
		/* More than one: the last is what counts. */
		for (i = 0; i <= n % 3; i++)
			replace_filter(vm, 3 * n + i);
		eventfd_signal(fd);
		while (woken <= n)
			sched_yield();
	}
	vcpu_join(v);
	stat_close(&blocking);
	vm_free(vm);
}

/* Replace filters while no VP is in KVM_RUN. */
TEST(filters_replaced_while_nobody_runs)
{
	static const struct access a[] = { R(HV_X64_MSR_VP_INDEX), W(HV_X64_MSR_EOM, 0),
					   R(HV_X64_MSR_TPR) };
	struct ops_page *p;
	struct vm *vm = vm_with_ops(&p, 1);
	u32 n, i;

	for (n = 0; n < 300; n++) {
		set_filter(vm, filter_number(n));
		if (n % 5 == 4)
			set_filter(vm, filter_number(++n));
		for (i = 0; i < 3; i++)
			ASSERT_EQ(vector_of(vm->vcpus[0], p, &a[i]),
				  denied_by(n) >> i & 1 ? GP_VECTOR : 0);
	}
	vm_free(vm);
}
