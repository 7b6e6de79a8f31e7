// SPDX-License-Identifier: GPL-2.0-only
/*
 * A host that gives its VPs no peace: signals, threads that move from CPU to CPU, a CPU that goes
 * and comes back, processes that are killed, file descriptors closed in any order. The guest uses
 * all of the interface meanwhile, and checks that its time goes on and that no timer, message,
 * event or interrupt is early, lost or there twice.
 *
 * Options: --long FACTOR, as many times longer; --seed N, which is drawn and printed otherwise.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "irqfd.h"
#include "module.h"
#include "random.h"
#include "refclock.h"
#include "synic.h"

#define VPS	     2
#define RUN_MS	     1000
#define ENOUGH	     10 /* rounds */
#define HOTPLUGS     4
#define KILLS	     10
#define ORDERS	     10
#define NR_FILES     8
#define CONN	     0x1234u
#define TIMER_SINT   1
#define EVENT_SINT   2
#define MESSAGE_VEC  0x61
#define DIRECT_VEC   0x71
#define EVENT_VEC    0x51
#define IPI_VEC	     0x41
#define CPU1	     "/sys/devices/system/cpu/cpu1/online"
#define PM_TEST	     "/sys/power/pm_test"
#define LONG_TIMEOUT 600

static u32 factor = 1;

/* --- guest ---------------------------------------------------------------- */

struct post_input {
	u32 connection, reserved, type, size;
	u64 payload[30];
};

/* Of each VP. */
static struct {
	volatile u32 messages, directs, events, ipis;
	volatile u64 expiry;
	volatile u64 rounds;
	u64 posted, signalled;
	struct post_input *post;
	u64 *input;
} vps[VPS];

static volatile bool stop;
static volatile u32 lock_word;
static volatile u64 last;

static void on_timer_message(struct guest_frame *f)
{
	u32 id = this_cpu()->id;
	volatile struct hv_message *m = &synic_messages[id][TIMER_SINT];

	(void)f;
	GUEST_ASSERT_EQ(m->type, HV_MSG_TIMER_EXPIRED);
	GUEST_ASSERT_EQ(m->timer.expiration, vps[id].expiry);
	GUEST_ASSERT(m->timer.delivery >= vps[id].expiry);
	GUEST_ASSERT(ref_now() >= m->timer.delivery);
	m->type = HV_MSG_NONE;
	asm volatile("mfence" : : : "memory");
	if (m->flags & HV_MSG_PENDING)
		wrmsr(HV_X64_MSR_EOM, 0);
	vps[id].messages++;
	apic_eoi();
}

static void on_direct(struct guest_frame *f)
{
	u32 id = this_cpu()->id;

	(void)f;
	GUEST_ASSERT(ref_now() >= vps[id].expiry);
	vps[id].directs++;
	apic_eoi();
}

static void on_event(struct guest_frame *f)
{
	(void)f;
	vps[this_cpu()->id].events++;
	apic_eoi();
}

static void on_ipi(struct guest_frame *f)
{
	(void)f;
	vps[this_cpu()->id].ipis++;
	apic_eoi();
}

/* One clock for all, by the register and by the page, that never goes back. */
static void check_time(void)
{
	u64 before, page, after;

	while (__atomic_exchange_n(&lock_word, 1, __ATOMIC_ACQUIRE))
		cpuid(0, 0); /* an exit: a lone CPU can run the other VP */
	before = ref_now();
	page = guest_time(&ref_page);
	after = ref_now();
	GUEST_ASSERT(before >= last);
	GUEST_ASSERT(page >= before);
	GUEST_ASSERT(after >= page);
	last = after;
	__atomic_store_n(&lock_word, 0, __ATOMIC_RELEASE);
}

/* Sleep until timer @n goes off: *@count rises by one. */
static void wait_for_timer(u32 n, u64 config, volatile u32 *count, u64 ticks)
{
	u32 id = this_cpu()->id, was = *count;

	vps[id].expiry = ref_now() + ticks;
	wrmsr(HV_X64_MSR_STIMER_COUNT(n), vps[id].expiry);
	wrmsr(HV_X64_MSR_STIMER_CONFIG(n), HV_STIMER_ENABLE | config);
	while (*count == was)
		irqs_halt();
	GUEST_ASSERT_EQ(*count, was + 1);
	GUEST_ASSERT_EQ(rdmsr(HV_X64_MSR_STIMER_CONFIG(n)), config);
}

static void make_calls(u32 id)
{
	u64 *in = vps[id].input;

	GUEST_ASSERT_EQ(hypercall(HVCALL_POST_MESSAGE, gpa(vps[id].post), 0), 0);
	vps[id].posted++;
	vps[id].post->payload[0] = vps[id].posted;
	GUEST_ASSERT_EQ(hypercall(HVCALL_SIGNAL_EVENT | HV_CTL_FAST, CONN, 0), 0);
	vps[id].signalled++;
	GUEST_ASSERT_EQ(hypercall(HVCALL_SEND_IPI | HV_CTL_FAST, IPI_VEC, BIT64(!id)), 0);
	in[0] = 0;
	in[1] = HV_FLUSH_ALL_SPACES;
	in[2] = 3;
	in[3] = 0x1000;
	GUEST_ASSERT_EQ(hypercall(HVCALL_FLUSH_SPACE, gpa(in), 0), 0);
	GUEST_ASSERT_EQ(hypercall(HVCALL_FLUSH_LIST | HV_CTL_REP(1), gpa(in), 0), HV_CTL_REP(1));
}

GUEST_CODE(busy)
{
	u32 id = this_cpu()->id;

	guest_set_os_id();
	apic_enable();
	wrmsr(HV_X64_MSR_REFERENCE_TSC, ref_tsc(&ref_page));
	wrmsr(HV_X64_MSR_SINT(TIMER_SINT), MESSAGE_VEC);
	wrmsr(HV_X64_MSR_SINT(EVENT_SINT), EVENT_VEC);
	while (!stop) {
		check_time();
		wait_for_timer(0, HV_STIMER_SINT(TIMER_SINT), &vps[id].messages,
			       vps[id].rounds % 5 * 400);
		wait_for_timer(1, HV_STIMER_DIRECT | HV_STIMER_VECTOR(DIRECT_VEC), &vps[id].directs,
			       vps[id].rounds % 7 * 300);
		make_calls(id);
		irqs_window();
		vps[id].rounds++;
	}
	/* What is on its way arrives. */
	irqs_on();
	guest_settle(1);
	irqs_off();
}

/* --- host: the VM ------------------------------------------------------------ */

static struct vm *vm;
static int conn, irq, ack;
static volatile u32 posted[VPS], moves[VPS];

static struct vm *busy_vm(void)
{
	static const u32 sints[] = { EVENT_SINT };
	struct kvm_hyperv_eventfd e = { .conn_id = CONN };
	u32 i;

	guest_irq_handlers[MESSAGE_VEC] = on_timer_message;
	guest_irq_handlers[DIRECT_VEC] = on_direct;
	guest_irq_handlers[EVENT_VEC] = on_event;
	guest_irq_handlers[IPI_VEC] = on_ipi;
	stop = false;
	lock_word = 0;
	last = 0;
	memset((void *)vps, 0, sizeof(vps));
	vm = synic_vm_flags(VPS, VM_FREE_PAUSE);
	conn = eventfd_new();
	e.fd = conn;
	ASSERT(!ioctl(vm->fd, KVM_HYPERV_EVENTFD, &e), "%s", strerror(errno));
	route_sints(vm, 0, sints, 1);
	irq = irqfd_new(vm, GSI(0), &ack);
	for (i = 0; i < VPS; i++) {
		posted[i] = 0;
		moves[i] = 0;
		vps[i].input = vm_alloc(vm, PAGE_SIZE);
		vps[i].post = vm_alloc(vm, PAGE_SIZE);
		vps[i].post->connection = CONN;
		vps[i].post->type = 1;
		vps[i].post->size = 8;
		vcpu_entry(vm->vcpus[i], busy);
	}
	return vm;
}

/* A message, in order and once. */
static void take_post(struct vcpu *v)
{
	struct kvm_hyperv_exit *e = &v->run->hyperv;

	ASSERT_EQ(e->type, KVM_EXIT_HYPERV_HCALL);
	ASSERT_EQ(e->u.hcall.input, HVCALL_POST_MESSAGE);
	ASSERT_EQ(e->u.hcall.params[0], gpa(vps[v->id].post));
	ASSERT_EQ(vps[v->id].post->payload[0], posted[v->id]);
	posted[v->id]++;
	e->u.hcall.result = HV_STATUS_SUCCESS;
}

static void *vp_run(void *arg)
{
	struct vcpu *v = arg;
	int cpu = -1;
	u32 cmd;

	while ((cmd = vcpu_run(v)) == RUN_EXIT(KVM_EXIT_HYPERV)) {
		take_post(v);
		moves[v->id] += cpu >= 0 && sched_getcpu() != cpu;
		cpu = sched_getcpu();
	}
	if (cmd != GUEST_DONE) {
		vcpu_dump(v);
		FAIL("vCPU %u ended with 0x%x", v->id, cmd);
	}
	return NULL;
}

static void start_vps(void *(*run)(void *))
{
	u32 i;

	for (i = 0; i < VPS; i++)
		ASSERT_EQ(pthread_create(&vm->vcpus[i]->worker, NULL, run, vm->vcpus[i]), 0);
}

static void join_vps(void)
{
	u32 i;

	for (i = 0; i < VPS; i++)
		vcpu_join(vm->vcpus[i]);
}

/* Of the whole run, and where each case is from there. */
static u64 first_seed, seed;

static void draw_anew(void)
{
	seed = first_seed;
	ktap_log("--seed 0x%llx", (unsigned long long)first_seed);
}

static u64 now_ms(void)
{
	return host_time() / REF_PER_MS;
}

static bool all_have_moved(void)
{
	u32 i;

	for (i = 0; i < VPS; i++)
		if (vps[i].rounds <= ENOUGH)
			return false;
	return true;
}

/*
 * Both VPs at work, and @disturb meanwhile, again and again: for a while, and on a slow machine
 * until each has got round. One that stands still is the watchdog's.
 */
static void run_busy(void (*disturb)(u32 n), u32 at_least)
{
	u32 n = 0, raised = 0, i;
	u64 end, signals;

	ktap_timeout(factor > 1 ? LONG_TIMEOUT : 60);
	require_tsc_clocksource();
	draw_anew();
	busy_vm();
	start_vps(vp_run);
	end = now_ms() + RUN_MS * factor;
	while (now_ms() < end || n < at_least || !all_have_moved()) {
		eventfd_signal(irq);
		raised++;
		disturb(n++);
	}
	stop = true;
	join_vps();
	signals = eventfd_count(conn);
	for (i = 0; i < VPS; i++) {
		ktap_log("VP %u: %llu rounds, %u messages, %u timers, %u IPIs, %u SINTs", i,
			 (unsigned long long)vps[i].rounds, vps[i].messages, vps[i].directs,
			 vps[i].ipis, vps[i].events);
		ktap_log("      %u signals ended KVM_RUN, %u moves", vm->vcpus[i]->interrupted,
			 moves[i]);
		ASSERT_EQ(vps[i].messages, vps[i].rounds);
		ASSERT_EQ(vps[i].directs, vps[i].rounds);
		ASSERT_EQ(posted[i], vps[i].posted);
		/* Two that come close together are one. */
		ASSERT(vps[i].ipis && vps[i].ipis <= vps[!i].rounds, "%u IPIs", vps[i].ipis);
	}
	ktap_log("%u disturbances, %llu events, SINT raised %u times", n,
		 (unsigned long long)signals, raised);
	ASSERT_EQ(signals, vps[0].signalled + vps[1].signalled);
	ASSERT(vps[0].events && vps[0].events <= raised, "%u SINTs", vps[0].events);
}

static void end_busy(void)
{
	vm_free(vm);
	close(conn);
	close(irq);
	close(ack);
}

/* --- signals, moves, a CPU that goes ------------------------------------------- */

static void send_signals(u32 n)
{
	pthread_kill(vm->vcpus[n % VPS]->worker, SIGUSR1);
	usleep(random_below(&seed, 400));
}

TEST(storm_of_signals)
{
	run_busy(send_signals, 100);
	ASSERT(vm->vcpus[0]->interrupted + vm->vcpus[1]->interrupted > 50, "too few signals");
	end_busy();
}

static void move_threads(u32 n)
{
	cpu_set_t set;
	u32 i;

	for (i = 0; i < VPS; i++) {
		CPU_ZERO(&set);
		CPU_SET((n + i) % 2, &set);
		ASSERT_EQ(pthread_setaffinity_np(vm->vcpus[i]->worker, sizeof(set), &set), 0);
	}
	usleep(random_below(&seed, 3000));
}

TEST(threads_on_the_move)
{
	require_two_cpus();
	run_busy(move_threads, 100);
	ASSERT(moves[0] > 20 && moves[1] > 20, "the threads stayed where they were");
	end_busy();
}

static void set_online(bool online)
{
	int fd = open(CPU1, O_WRONLY | O_CLOEXEC);

	ASSERT(fd >= 0, "%s: %s", CPU1, strerror(errno));
	ASSERT(write(fd, online ? "1" : "0", 1) == 1, "CPU 1 %s: %s", online ? "online" : "offline",
	       strerror(errno));
	close(fd);
}

static bool is_online(void)
{
	char c = '1';
	int fd = open(CPU1, O_RDONLY | O_CLOEXEC);

	if (fd >= 0 && read(fd, &c, 1) != 1)
		c = '1';
	if (fd >= 0)
		close(fd);
	return c == '1';
}

static void toggle_cpu(u32 n)
{
	if (n & 1) {
		set_online(!is_online());
		ktap_log("CPU 1 is %s", is_online() ? "back" : "gone");
	}
	usleep(50000);
}

TEST(cpu_goes_and_comes)
{
	require_two_cpus();
	if (access(CPU1, W_OK))
		ktap_skip("no hotplug of CPUs");
	run_busy(toggle_cpu, 4 * HOTPLUGS * factor);
	set_online(true);
	end_busy();
}

static int __write_file(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC), r;

	if (fd < 0)
		return -errno;
	r = write(fd, text, strlen(text)) < 0 ? -errno : 0;
	close(fd);
	return r;
}

static u32 sleeps;

/* As far as the last step, with the other CPUs off and KVM's hardware disabled, then back. */
static void sleep_host(u32 n)
{
	(void)n;
	ASSERT_EQ(__write_file(PM_TEST, "core"), 0);
	if (!__write_file("/sys/power/state", "mem") || !__write_file("/sys/power/state", "freeze"))
		sleeps++;
	__write_file(PM_TEST, "none");
	usleep(50000);
}

TEST(host_sleeps)
{
	if (factor == 1)
		ktap_skip("in the long form only");
	if (access(PM_TEST, W_OK))
		ktap_skip("this kernel has no %s", PM_TEST);
	if (!module_loaded())
		ktap_skip("stock's clock may go back with the new master clock (K33)");
	__write_file("/sys/module/suspend/parameters/pm_test_delay", "1");
	run_busy(sleep_host, 2);
	ktap_log("%u times", sleeps);
	ASSERT(sleeps, "the host did not sleep");
	end_busy();
}

#define WAKEALARM    "/sys/class/rtc/rtc0/wakealarm"
#define WAKEUP_COUNT "/sys/power/wakeup_count"

static u64 clock_ms(clockid_t clock)
{
	struct timespec t;

	ASSERT_EQ(clock_gettime(clock, &t), 0);
	return (u64)t.tv_sec * 1000 + (u64)t.tv_nsec / 1000000;
}

/* How long the host has been off since its boot. */
static u64 ms_off(void)
{
	return clock_ms(CLOCK_BOOTTIME) - clock_ms(CLOCK_MONOTONIC);
}

/* PMBASE and ACPI_CNTL of the Q35's bridge, in its configuration space. */
#define LPC_CONFIG "/sys/bus/pci/devices/0000:00:1f.0/config"
#define LPC_PM	   0x40

static void read_pm_base(u64 *base)
{
	int fd = open(LPC_CONFIG, O_RDONLY | O_CLOEXEC);

	ASSERT_EQ(pread(fd, base, sizeof(*base), LPC_PM), sizeof(*base));
	close(fd);
}

/*
 * The firmware of the emulated machine leaves the registers of its power management unmapped when
 * it wakes up: the host could neither sleep again nor power off.
 */
static void restore_pm_base(const u64 *base)
{
	int fd = open(LPC_CONFIG, O_WRONLY | O_CLOEXEC);

	ASSERT_EQ(pwrite(fd, base, sizeof(*base), LPC_PM), sizeof(*base));
	close(fd);
}

/*
 * All the way: the machine is off but for its memory until the clock's alarm. An alarm that comes
 * while it goes down must end that: it is a wake-up since the count was written.
 */
static void suspend_host(u32 n)
{
	char count[32] = "";
	int fd = open(WAKEUP_COUNT, O_RDWR | O_CLOEXEC), r;
	u64 base;
	bool counted;

	(void)n;
	ASSERT(fd >= 0, "%s: %s", WAKEUP_COUNT, strerror(errno));
	__write_file(WAKEALARM, "0");
	counted = read(fd, count, sizeof(count) - 1) > 0 &&
		  write(fd, count, strlen(count)) == (ssize_t)strlen(count);
	close(fd);
	if (!counted)
		return;
	ASSERT_EQ(__write_file(WAKEALARM, "+4"), 0);
	read_pm_base(&base);
	r = __write_file("/sys/power/state", "mem");
	ASSERT(!r || r == -EBUSY, "suspend to RAM: %s", strerror(-r));
	restore_pm_base(&base);
	sleeps += !r;
	usleep(50000);
}

TEST(host_is_suspended_to_ram)
{
	u64 before;

	if (factor == 1)
		ktap_skip("in the long form only");
	if (__write_file("/sys/power/mem_sleep", "deep") || access(WAKEALARM, W_OK) ||
	    access(LPC_CONFIG, W_OK))
		ktap_skip("this host has no suspend to RAM, or no alarm that ends it");
	if (!module_loaded())
		ktap_skip("stock's clock may go back with the new master clock (K33)");
	/* Its seconds do not count those in which the host is off. */
	factor = 2;
	before = ms_off();
	run_busy(suspend_host, 5);
	ktap_log("%u times, off for %llu ms", sleeps, (unsigned long long)(ms_off() - before));
	ASSERT(ms_off() - before > sleeps * 1000, "the host was hardly off");
	end_busy();
}

/* --- the end, in any order --------------------------------------------------------- */

TEST(killed_in_the_middle)
{
	long refs = module_refs();
	u32 i, late = 0;
	int ready[2], status;
	char byte;
	pid_t pid;

	ktap_timeout(factor > 1 ? LONG_TIMEOUT : 60);
	draw_anew();
	for (i = 0; i < KILLS * factor; i++) {
		ASSERT_EQ(pipe(ready), 0);
		pid = fork();
		ASSERT(pid >= 0, "fork: %s", strerror(errno));
		if (!pid) {
			busy_vm();
			start_vps(vp_run);
			while (!vps[0].rounds || !vps[1].rounds)
				usleep(100);
			ASSERT_EQ(write(ready[1], "", 1), 1);
			for (;;)
				send_signals(0);
		}
		close(ready[1]);
		ASSERT_EQ(read(ready[0], &byte, 1), 1);
		usleep(random_below(&seed, 20000));
		kill(pid, SIGKILL);
		ASSERT_EQ(waitpid(pid, &status, 0), pid);
		ASSERT(WIFSIGNALED(status), "status 0x%x", status);
		close(ready[0]);
		late += module_refs() != refs;
		module_expect_refs(refs);
	}
	ktap_log("%u processes killed, %u VMs ended a little later", i, late);
}

/* Until its file is closed: the guest's posts bring it out of KVM_RUN. */
static void *vp_run_until_closed(void *arg)
{
	struct vcpu *v = arg;

	for (;;) {
		if (!ioctl(v->fd, KVM_RUN, 0)) {
			if (v->run->exit_reason != KVM_EXIT_HYPERV)
				break;
			v->run->hyperv.u.hcall.result = HV_STATUS_SUCCESS;
			continue;
		}
		if (errno == EBADF)
			return NULL;
		ASSERT(errno == EINTR || errno == EAGAIN, "KVM_RUN: %s", strerror(errno));
	}
	if (v->run->exit_reason != KVM_EXIT_IO ||
	    *(u32 *)((u8 *)v->run + v->run->io.data_offset) != GUEST_DONE) {
		vcpu_dump(v);
		FAIL("vCPU %u: exit %s: %s", v->id, exit_name(v->run->exit_reason),
		     v->cpu->msg.text);
	}
	return NULL;
}

static void shuffle(int *fds, u32 nr)
{
	u32 i, j;
	int fd;

	for (i = nr - 1; i; i--) {
		j = random_below(&seed, i + 1);
		fd = fds[i];
		fds[i] = fds[j];
		fds[j] = fd;
	}
}

static int statistics(int fd)
{
	int r = ioctl(fd, KVM_GET_STATS_FD, NULL);

	ASSERT(r >= 0, "KVM_GET_STATS_FD: %s", strerror(errno));
	return r;
}

TEST(closed_in_any_order)
{
	long refs = module_refs();
	u32 i, k;

	ktap_timeout(factor > 1 ? LONG_TIMEOUT : 60);
	draw_anew();
	for (i = 0; i < ORDERS * factor; i++) {
		int fds[NR_FILES];

		busy_vm();
		start_vps(vp_run_until_closed);
		while (!vps[0].rounds || !vps[1].rounds)
			usleep(100);
		fds[0] = vm->fd;
		fds[1] = vm->vcpus[0]->fd;
		fds[2] = vm->vcpus[1]->fd;
		fds[3] = conn;
		fds[4] = irq;
		fds[5] = ack;
		/* Each of these holds the VM, or a vCPU of it, by itself. */
		fds[6] = statistics(vm->fd);
		fds[7] = statistics(vm->vcpus[1]->fd);
		shuffle(fds, ARRAY_SIZE(fds));
		for (k = 0; k < ARRAY_SIZE(fds); k++) {
			usleep(random_below(&seed, 2000));
			ASSERT_EQ(close(fds[k]), 0);
		}
		stop = true;
		for (k = 0; k < VPS; k++) {
			vm->vcpus[k]->run->immediate_exit = 1;
			while (pthread_tryjoin_np(vm->vcpus[k]->worker, NULL)) {
				pthread_kill(vm->vcpus[k]->worker, SIGUSR1);
				usleep(200);
			}
		}
		vm_free(vm);
		module_expect_refs(refs);
	}
	ktap_log("%u orders of %u files", i, NR_FILES);
}

int main(int argc, char **argv)
{
	int i, r;

	ASSERT_EQ(getrandom(&first_seed, sizeof(first_seed), 0), sizeof(first_seed));
	for (i = 1; i + 1 < argc; i++) {
		if (!strcmp(argv[i], "--long"))
			factor = (u32)strtoul(argv[i + 1], NULL, 10);
		if (!strcmp(argv[i], "--seed"))
			first_seed = strtoull(argv[i + 1], NULL, 0);
	}
	r = ktap_main(argc, argv);
	/* Leave the host as it was, even when a case died half-way. */
	if (!is_online()) {
		printf("# CPU 1 was left offline\n");
		set_online(true);
		r = KTAP_EXIT_FAIL;
	}
	return r;
}
