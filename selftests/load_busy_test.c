// SPDX-License-Identifier: GPL-2.0-only
/*
 * The module comes and goes on a host that is at work. VMs of KVM's own run all the time, VMs of
 * the module start and end, and whatever traces KVM's functions (lib/tracer.h) is attached to the
 * very functions that the module replaces, and detached. Inserts and removes the module by itself,
 * and the vendor's.
 *
 * What is legal follows from what the others do at the same time (lib/actors.h). A load is refused
 * if a tracer is on a function's site, and only then; a removal if an owned VM lives, and only
 * then; a tracer is never refused. Where somebody moves just then, either may come. Each case asks
 * for a number of outcomes of each kind, and goes on until it has them.
 *
 * With the module out, all code of KVM is as before the first load of all, and no memory is
 * missing.
 *
 * Options: --loads N; --until-killed 1, which prints "ready" and goes on, for whoever ends the
 * boot.
 */
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "actors.h"
#include "module.h"
#include "random.h"
#include "slab.h"
#include "subject.h"
#include "synic.h"

/* Successful ones, in the case of everything at once; the others have a share of them. */
static u32 loads = 8;

/* More are the long form. */
#define LONG 50

#define ATTEMPTS(n) (20 * (n) + 100)
/* All others let go for a look at KVM's code, each so many of them. */
#define QUIET	    10
/* Loads of the case that looks for what they have not freed, and how long that may take to be. */
#define LEAK_LOADS  16
#define LEAK_S	    10
/* So soon a tracer must have seen a call. */
#define FIRE_S	    20

/* --- VMs of KVM's own, all the time -------------------------------------------- */

#define RUNNERS	 2
#define TICK_VEC 0x71
#define TICK_MS	 50
#define BURST	 10

static struct {
	volatile u64 rounds, last;
} runners[RUNNERS];
static volatile bool runners_stop, sleepless;
static struct vm *runner_vm;

static void on_tick(struct guest_frame *f)
{
	(void)f;
	apic_eoi();
}

/*
 * One that sleeps after each round, and one that works through the other's; in a long run it does
 * not sleep at all until a quarter of the loads are done, which takes a host of two CPUs minutes.
 */
GUEST_CODE(runs)
{
	u32 id = this_cpu()->id;
	u64 now;

	guest_set_os_id();
	apic_enable();
	if (id) {
		wrmsr(HV_X64_MSR_STIMER_COUNT(0), REF_MS(TICK_MS));
		wrmsr(HV_X64_MSR_STIMER_CONFIG(0), HV_STIMER_ENABLE | HV_STIMER_PERIODIC |
							   HV_STIMER_DIRECT |
							   HV_STIMER_VECTOR(TICK_VEC));
	}
	while (!runners_stop) {
		now = ref_now();
		GUEST_ASSERT(now >= runners[id].last);
		runners[id].last = now;
		GUEST_ASSERT_EQ(rdmsr(HV_X64_MSR_VP_INDEX), id);
		GUEST_ASSERT_EQ(hypercall(HVCALL_NOTIFY_LONG_SPIN_WAIT | HV_CTL_FAST, 0, 0), 0);
		GUEST_ASSERT_EQ(hypercall(HVCALL_SEND_IPI | HV_CTL_FAST, TICK_VEC, BIT64(!id)), 0);
		cpuid(0, 0);
		if (id || (!sleepless && runners[id].rounds % BURST == 0))
			irqs_halt();
		else
			irqs_window();
		runners[id].rounds++;
	}
	/* The other one may have gone to sleep before it could see the end. */
	GUEST_ASSERT_EQ(hypercall(HVCALL_SEND_IPI | HV_CTL_FAST, TICK_VEC, BIT64(!id)), 0);
}

static void runners_start(void)
{
	u32 i;

	guest_irq_handlers[TICK_VEC] = on_tick;
	sleepless = loads > LONG;
	runner_vm = synic_vm(RUNNERS);
	for (i = 0; i < RUNNERS; i++) {
		vcpu_entry(runner_vm->vcpus[i], runs);
		vcpu_start(runner_vm->vcpus[i]);
	}
}

/* Wait until each has done something since the last look. */
static void runners_moved(void)
{
	static u64 seen[RUNNERS];
	u32 i;

	for (i = 0; i < RUNNERS; i++) {
		while (runners[i].rounds == seen[i])
			usleep(500);
		seen[i] = runners[i].rounds;
	}
}

static void runners_end(void)
{
	u32 i;

	runners_stop = true;
	for (i = 0; i < RUNNERS; i++)
		vcpu_join(runner_vm->vcpus[i]);
	vm_free(runner_vm);
}

/* --- each case ----------------------------------------------------------------- */

/* What stands still is found by other means, so that a machine that is slow fails nothing. */
static void begin(void)
{
	actors_begin(1800 + 60 * loads);
}

static void expect_ours(bool ours)
{
	struct subject s = subject_new();

	subject_works(&s);
	ASSERT(subject_is_stock(&s) != ours, "a new VM is %s", ours ? "KVM's" : "the module's");
	vm_free(s.vm);
}

/* With the module out: a load is refused if the tracer takes the site. */
static void trace_first(struct slot *s, struct tracer *t, const char *function)
{
	attach(s, t, function);
	ASSERT_EQ(load(), !t->takes_site);
	if (!t->takes_site)
		ASSERT(unload(), "a tracer holds it");
	detach(s);
	code_is_as_before_but_static_keys();
}

/* With the module in: it is let on, and the module goes from under it. */
static void trace_later(struct slot *s, struct tracer *t, const char *function)
{
	ASSERT(load(), "nothing is on it");
	attach(s, t, function);
	expect_ours(true);
	ASSERT(unload(), "a tracer holds it");
	expect_ours(false);
	detach(s);
	code_is_as_before_but_static_keys();
}

/* The guests of the runners make it call all the time. */
#define BUSY_FUNCTION "kvm_hv_hypercall"

static void expect_fires(struct tracer *t, const char *when)
{
	long end = now_seconds() + FIRE_S;

	/* What has come before does not count. */
	t->fired(t);
	while (!t->fired(t)) {
		ASSERT(now_seconds() < end, "%s on %s does not fire %s", t->name, t->function,
		       when);
		usleep(1000);
	}
}

/* It sees each call of KVM's own VMs, whether the module is in, comes or goes. */
static void trace_calls(struct slot *s, struct tracer *t)
{
	attach(s, t, BUSY_FUNCTION);
	expect_fires(t, "with the module out");
	ASSERT_EQ(load(), !t->takes_site);
	expect_fires(t, t->takes_site ? "after a load that was refused" : "over a load");
	if (!t->takes_site)
		ASSERT(unload(), "a tracer holds it");
	detach(s);
	ASSERT(load(), "nothing is on it");
	attach(s, t, BUSY_FUNCTION);
	expect_fires(t, "with the module in");
	ASSERT(unload(), "a tracer holds it");
	expect_fires(t, "after a removal");
	detach(s);
}

TEST(each_tracer_in_each_state)
{
	struct slot *s = &slots[SLOT_A];
	u32 i, n = 0, kinds = 0, on_sites = 0;

	begin();
	runners_start();
	ASSERT(load() && unload(), "nothing is on it");
	for (i = 0; i < nr_tracers; i++) {
		struct tracer *t = &tracers[i];

		if (!tracer_exists(t)) {
			ktap_log("this kernel has no %s", t->name);
			continue;
		}
		kinds++;
		on_sites += t->takes_site;
		trace_first(s, t, hooked[n++ % nr_hooked]);
		if (t->takes_site)
			trace_later(s, t, hooked[n++ % nr_hooked]);
		trace_calls(s, t);
		runners_moved();
	}
	ASSERT(kinds >= 7, "%u tracers", kinds);
	/* Each that takes the site is refused twice, and the others let two loads more in. */
	ASSERT_EQ(met.refused, 2 * on_sites);
	ASSERT_EQ(met.loaded, 1 + 2 * kinds + (kinds - on_sites));
	runners_end();
	code_is_as_before();
}

/* --- VMs of the module, and the removal ---------------------------------------- */

#define OWNED_VMS 3

/* As many are there, and neither the module nor what it needs can go. */
static void expect_kept(u32 vms)
{
	ASSERT_EQ(module_refs(), vms);
	ASSERT(!unload(), "removed under %u VMs", vms);
	ASSERT_EQ(__module_remove(vendor_module()), -EAGAIN);
	ASSERT_EQ(__module_remove("kvm"), -EAGAIN);
}

TEST(removal_is_refused_while_owned_vms_live)
{
	struct subject s[OWNED_VMS];
	u32 round, i, k;

	begin();
	runners_start();
	for (round = 0; round < 1 + loads / 20; round++) {
		ASSERT(load(), "nothing is on it");
		for (i = 0; i < OWNED_VMS; i++) {
			publish(&vm_word, VM_CHANGES);
			s[i] = subject_new();
			publish(&vm_word, OWNED);
			expect_kept(i + 1);
		}
		for (i = 0; i < OWNED_VMS; i++) {
			for (k = i; k < OWNED_VMS; k++) {
				subject_works(&s[k]);
				ASSERT(!subject_is_stock(&s[k]), "VM %u is KVM's", k);
			}
			publish(&vm_word, VM_CHANGES);
			vm_free(s[i].vm);
			publish(&vm_word, i < OWNED_VMS - 1 ? OWNED : NO_VM);
			module_expect_refs(OWNED_VMS - 1 - i);
			if (i < OWNED_VMS - 1)
				expect_kept(OWNED_VMS - 1 - i);
		}
		runners_moved();
		ASSERT(unload(), "no VM is left");
	}
	runners_end();
	code_is_as_before();
}

/* --- the vendor's module ------------------------------------------------------- */

/* An open /dev/kvm holds the vendor's module: only a process that ends lets go of it. */
static pid_t start_child(void (*what)(int fd), int *fd)
{
	int ready[2], go[2];
	char byte;
	pid_t pid;

	ASSERT(!pipe(ready) && !pipe(go), "pipe: %s", strerror(errno));
	fflush(stdout);
	pid = fork();
	ASSERT(pid >= 0, "fork: %s", strerror(errno));
	if (!pid) {
		close(ready[0]);
		close(go[1]);
		dup2(ready[1], STDERR_FILENO);
		what(go[0]);
		_exit(0);
	}
	close(ready[1]);
	close(go[0]);
	ASSERT_EQ(read(ready[0], &byte, 1), 1);
	close(ready[0]);
	*fd = go[1];
	return pid;
}

static void end_child(pid_t pid, int fd)
{
	int status;

	close(fd);
	ASSERT_EQ(waitpid(pid, &status, 0), pid);
	ASSERT(!status, "status 0x%x", status);
}

/* Have a VM until the parent closes its end. */
static void hold_vm(int fd)
{
	struct subject s;
	char byte;

	s = subject_new();
	subject_works(&s);
	ASSERT_EQ(subject_is_stock(&s), !module_loaded());
	ASSERT_EQ(write(STDERR_FILENO, "", 1), 1);
	ASSERT_EQ(read(fd, &byte, 1), 0);
	subject_works(&s);
	vm_free(s.vm);
}

static void with_vm(void)
{
	int fd;
	pid_t pid = start_child(hold_vm, &fd);

	ASSERT_EQ(vendor_remove(), -EAGAIN);
	end_child(pid, fd);
}

/* One of its functions that the module may replace. */
static const char *vendor_function(void)
{
	return host_is_amd() ? "nested_svm_vmrun" : "vmx_load_eoi_exitmap";
}

TEST(vendor_module_goes_and_comes)
{
	struct tracer *kprobe = &tracers[0];
	u32 round, rounds = 2 + loads / 20;
	bool loaded;

	begin();
	for (round = 0; round < rounds; round++) {
		ASSERT(load(), "nothing is on it");
		with_vm();
		ASSERT_EQ(vendor_remove(), -EAGAIN);
		ASSERT(unload(), "no VM is left");
		with_vm();
		code_is_as_before();
		/* A probe goes with the module that it is in, and comes again with it. */
		attach(&slots[SLOT_A], kprobe, vendor_function());
		ASSERT_EQ(vendor_remove(), 0);
		ASSERT(!load(), "loaded");
		vendor_insert();
		loaded = load();
		ASSERT_EQ(loaded, !is_hooked(vendor_function()));
		if (loaded)
			ASSERT(unload(), "no VM is left");
		detach(&slots[SLOT_A]);
		code_is_as_before();
	}
	ASSERT_EQ(met.no_vendor, rounds);
	ASSERT(load(), "nothing is on it");
	with_vm();
	ASSERT(unload(), "no VM is left");
	with_vm();
	code_is_as_before();
}

static volatile bool stop;
static volatile u32 vendor_removed, vendor_kept;

static void *vendor_comes_and_goes(void *unused)
{
	u64 m, v;
	int r;

	while (!stop) {
		m = look(&module_word);
		r = vendor_remove();
		v = look(&module_word);
		if (r) {
			ASSERT(r == -EAGAIN, "rmmod %s: %s", vendor_module(), strerror(-r));
			ASSERT(m != v || state_of(m) != OUT, "%s is held by nobody",
			       vendor_module());
			vendor_kept++;
			usleep(1000);
			continue;
		}
		ASSERT(m != v || state_of(m) != IN, "%s went under the module", vendor_module());
		vendor_removed++;
		usleep((vendor_removed % 4) * 10000);
		vendor_insert();
		usleep((vendor_removed % 5) * 20000);
	}
	return unused;
}

TEST(vendor_module_goes_while_the_module_comes)
{
	u32 wanted = 2 + loads / 10, i;
	pthread_t thread;

	begin();
	ASSERT_EQ(pthread_create(&thread, NULL, vendor_comes_and_goes, NULL), 0);
	for (i = 0; met.loaded < wanted || met.no_vendor < wanted || vendor_kept < wanted ||
		    vendor_removed < wanted;
	     i++) {
		ASSERT(i < ATTEMPTS(wanted), "%u loads, %u without vendor, it stayed %u times",
		       met.loaded, met.no_vendor, vendor_kept);
		if (!load())
			continue;
		usleep((i % 4) * 5000);
		ASSERT(unload(), "no VM is there");
	}
	stop = true;
	pthread_join(thread, NULL);
	ktap_log("%u loads, %u without the vendor's module, which went %u times and stayed %u",
		 met.loaded, met.no_vendor, vendor_removed, vendor_kept);
	code_is_as_before();
	ASSERT(load(), "nothing is on it");
	with_vm();
	ASSERT(unload(), "no VM is left");
	with_vm();
	code_is_as_before();
}

/* --- memory -------------------------------------------------------------------- */

/*
 * What is lost at each load shows after some of them, but a few objects come and go with who was
 * there last. Wait for what is freed late. A kernel that looks for leaks by itself keeps what was
 * freed.
 */
static void expect_no_leak(const struct slab_counts *a, u32 loaded)
{
	static struct slab_counts b;
	long end = now_seconds() + LEAK_S;
	u32 grown;

	if (!access("/sys/kernel/debug/kmemleak", F_OK)) {
		ktap_log("memory is not judged: kmemleak keeps what was freed");
		return;
	}
	do {
		slab_read(&b);
		grown = slab_grown(a, &b, loaded * 3 / 4);
		grown += b.vmalloc_kb - a->vmalloc_kb >= loaded * 4;
		grown += b.large_kb - a->large_kb >= loaded * 4;
	} while (grown && now_seconds() < end);
	ktap_log("memory judged after %u loads:", loaded);
	slab_log(a, &b, loaded * 3 / 4);
	ASSERT(b.nr, "this kernel does not tell what its slabs hold");
	ASSERT(!grown, "memory grows with each load");
}

/* The life of an owned VM, and a load that fails when all is looked up. */
static void all_that_loads_may_leave(void)
{
	ASSERT(load(), "nothing is on it");
	expect_ours(true);
	ASSERT(unload(), "no VM is left");
	ASSERT_EQ(__module_load_with("require=no_such_function"), -EOPNOTSUPP);
}

TEST(no_memory_is_missing)
{
	static struct slab_counts before;
	u32 i;

	begin();
	/* What is allocated once and for all is there after these. */
	for (i = 0; i < 2; i++)
		all_that_loads_may_leave();
	slab_settle(&before);
	for (i = 0; i < LEAK_LOADS; i++)
		all_that_loads_may_leave();
	expect_no_leak(&before, LEAK_LOADS);
	code_is_as_before();
}

/* --- everything at once -------------------------------------------------------- */

static volatile bool hold;
static volatile u32 owned_vms, stock_vms;
static volatile u32 held;

/* A thread that has let go of everything. True as long as it shall go on. */
static bool goes_on(u32 actor)
{
	steps[actor]++;
	if (hold) {
		__atomic_add_fetch(&held, 1, __ATOMIC_SEQ_CST);
		while (hold) {
			steps[actor]++;
			usleep(1000);
		}
		__atomic_sub_fetch(&held, 1, __ATOMIC_SEQ_CST);
	}
	return !stop;
}

/* Each has tracers of its own: the even ones, and the odd ones. */
static void *trace(void *arg)
{
	u32 id = (u32)(uintptr_t)arg, n;
	u64 seed = id;
	struct slot *s = &slots[id];

	for (n = id; goes_on(ACTOR_A + id); n += NR_SLOTS) {
		struct tracer *t;

		if (n >= nr_tracers)
			n = id;
		t = &tracers[n];
		if (!tracer_exists(t))
			continue;
		attach(s, t, hooked[random_below(&seed, nr_hooked)]);
		usleep(random_below(&seed, 20000));
		detach(s);
		usleep(random_below(&seed, 60000));
	}
	return NULL;
}

static void *make_vms(void *unused)
{
	u64 seed = NR_SLOTS;

	while (goes_on(ACTOR_VMS)) {
		struct subject s;
		u64 a, b;
		bool ours;

		publish(&vm_word, VM_CHANGES);
		a = look(&module_word);
		s = subject_new();
		b = look(&module_word);
		ours = !subject_is_stock(&s);
		publish(&vm_word, ours ? OWNED : STOCKS);
		if (a == b && (state_of(a) == IN || state_of(a) == OUT))
			ASSERT_EQ(ours, state_of(a) == IN);
		owned_vms += ours;
		stock_vms += !ours;
		subject_works(&s);
		usleep(random_below(&seed, 10000));
		subject_works(&s);
		ASSERT_EQ(subject_is_stock(&s), !ours);
		publish(&vm_word, VM_CHANGES);
		vm_free(s.vm);
		publish(&vm_word, NO_VM);
		usleep(random_below(&seed, 40000));
	}
	return unused;
}

/* Wait until all others have let go; then the code must be KVM's. */
static void quieten(u32 others)
{
	hold = true;
	while (held < others) {
		steps[ACTOR_MAIN]++;
		usleep(1000);
	}
	code_is_as_before_but_static_keys();
	expect_ours(false);
	runners_moved();
}

/* Times that a tracer was attached with the module in. */
static u32 attached_over_us(void)
{
	u32 i, n = 0;

	for (i = 0; i < nr_tracers; i++)
		n += __atomic_load_n(&attached[i][1], __ATOMIC_SEQ_CST);
	return n;
}

/* Stay in until one more is. */
static void wait_for_a_tracer(void)
{
	u32 n = attached_over_us();

	while (attached_over_us() == n) {
		steps[ACTOR_MAIN]++;
		usleep(1000);
	}
}

static bool met_all(void)
{
	return met.loaded > loads && met.refused >= loads / 4 && met.kept >= loads / 4 &&
	       owned_vms >= loads / 4 && stock_vms >= loads / 4 && attached_over_us() >= loads / 4;
}

static void log_outcomes(void)
{
	u32 i;

	ktap_log("%u loads, %u refused, %u removals refused, %u owned VMs, %u of KVM's", met.loaded,
		 met.refused, met.kept, owned_vms, stock_vms);
	for (i = 0; i < nr_tracers; i++)
		ktap_log("%-16s attached %u times, and %u with the module in", tracers[i].name,
			 attached[i][0], attached[i][1]);
}

TEST(everything_at_once)
{
	static struct slab_counts before;
	pthread_t others[NR_SLOTS + 1];
	u32 i, rounds, first = 0;

	begin();
	runners_start();
	ASSERT(load() && unload(), "nothing is on it");
	for (i = 0; i < NR_SLOTS; i++)
		ASSERT_EQ(pthread_create(&others[i], NULL, trace, (void *)(uintptr_t)i), 0);
	ASSERT_EQ(pthread_create(&others[i], NULL, make_vms, NULL), 0);
	for (rounds = 1; !met_all(); rounds++) {
		if (rounds == ATTEMPTS(loads)) {
			log_outcomes();
			FAIL("not all outcomes in %u rounds", rounds);
		}
		if (rounds % QUIET == 0) {
			quieten(ARRAY_SIZE(others));
			if (!first && met.loaded > loads / 4) {
				first = met.loaded;
				slab_settle(&before);
			}
			ktap_log("%u rounds, %u loads", rounds, met.loaded);
			hold = false;
		}
		sleepless = loads > LONG && met.loaded < loads / 4;
		if (!load())
			continue;
		if (met.loaded % 3)
			runners_moved();
		else
			wait_for_a_tracer();
		while (!unload())
			usleep(500);
	}
	quieten(ARRAY_SIZE(others));
	/* The other threads have objects of their own: these show only after many loads. */
	if (loads > LONG)
		expect_no_leak(&before, met.loaded - first);
	stop = true;
	hold = false;
	for (i = 0; i < ARRAY_SIZE(others); i++)
		pthread_join(others[i], NULL);
	log_outcomes();
	runners_end();
	code_is_as_before();
}

static __attribute__((noreturn)) void until_killed(void)
{
	u32 n = 0;

	runners_start();
	for (;;) {
		module_load();
		runners_moved();
		module_unload();
		if (++n == 3)
			printf("ready\n");
	}
}

int main(int argc, char **argv)
{
	bool forever = false;
	int i, r;

	setvbuf(stdout, NULL, _IOLBF, 0);
	for (i = 1; i + 1 < argc; i++) {
		if (!strcmp(argv[i], "--module"))
			module_option = argv[i + 1];
		if (!strcmp(argv[i], "--loads"))
			loads = (u32)strtoul(argv[i + 1], NULL, 10);
		if (!strcmp(argv[i], "--until-killed"))
			forever = *argv[i + 1] == '1';
	}
	if (module_loaded()) {
		fprintf(stderr,
			"load_busy_test: kvm_hyperv is loaded already; run 'rmmod kvm_hyperv' first, as this test loads it by itself\n");
		return KTAP_EXIT_FAIL;
	}
	if (!vendor_loaded()) {
		fprintf(stderr, "load_busy_test: %s is not loaded; run 'modprobe %s' first\n",
			vendor_module(), vendor_module());
		return KTAP_EXIT_FAIL;
	}
	if (forever)
		until_killed();
	vendor_remember();
	tracers_remember();
	code_remember();
	r = module_ktap_main(argc, argv);
	if (!tracers_reset()) {
		printf("# the host's tracer was not as before: put back\n");
		r = KTAP_EXIT_FAIL;
	}
	/* A case that died may have left it out. */
	if (!vendor_loaded())
		vendor_insert();
	return r;
}
