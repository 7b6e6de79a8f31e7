// SPDX-License-Identifier: GPL-2.0-only
/* See actors.h. */
#include <dirent.h>
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "actors.h"
#include "klog.h"
#include "module.h"
#include "stacks.h"
#include "vm.h"

u32 state_of(u64 word)
{
	return word & 0xff;
}

u64 module_word, vendor_word = IN, vm_word;
struct slot slots[NR_SLOTS];

void publish(u64 *word, u32 state)
{
	__atomic_store_n(word, ((*word >> 8) + 1) << 8 | state, __ATOMIC_SEQ_CST);
}

u64 look(const u64 *word)
{
	return __atomic_load_n(word, __ATOMIC_SEQ_CST);
}

/* --- a host that stands still -------------------------------------------------- */

#define STILL_S 90

static const char *const actor_names[] = { "loads", "tracers A", "tracers B", "VMs" };
volatile u32 steps[NR_ACTORS];

/* Says who does not move, and where it is; the watchdog of the case, or of the rig, ends it. */
static void *watch(void *unused)
{
	u32 seen[NR_ACTORS] = { 0 }, still[NR_ACTORS] = { 0 }, i;

	for (;;) {
		sleep(1);
		for (i = 0; i < NR_ACTORS; i++) {
			still[i] = steps[i] != seen[i] ? 0 : still[i] + 1;
			seen[i] = steps[i];
			/* After one, two, four of them: a host that is silent then is ended. */
			if (!seen[i] || still[i] < STILL_S || still[i] % STILL_S ||
			    (still[i] / STILL_S & (still[i] / STILL_S - 1)))
				continue;
			printf("# %s: still for %u s after %u steps\n", actor_names[i], still[i],
			       seen[i]);
			stacks_print();
		}
	}
	return unused;
}

/* --- the vendor's module ------------------------------------------------------- */

const char *vendor_module(void)
{
	return host_is_amd() ? "kvm_amd" : "kvm_intel";
}

const char *vendor_file(void)
{
	return host_is_amd() ? "kvm-amd" : "kvm-intel";
}

bool vendor_loaded(void)
{
	char path[64];

	snprintf(path, sizeof(path), "/sys/module/%s", vendor_module());
	return !access(path, F_OK);
}

int vendor_remove(void)
{
	int r;

	publish(&vendor_word, GOING);
	r = __module_remove(vendor_module());
	publish(&vendor_word, r ? IN : OUT);
	return r;
}

static struct {
	char name[48], value[48];
} params[64];
static u32 nr_params;

/* The value of a parameter of the vendor's module. False if it is none that insmod could have. */
static bool read_param(const char *name, char *value, size_t size)
{
	char path[128];
	FILE *f;
	bool ok;

	snprintf(path, sizeof(path), "/sys/module/%s/parameters/%s", vendor_module(), name);
	f = fopen(path, "re");
	if (!f)
		return false;
	ok = fgets(value, (int)size, f);
	fclose(f);
	if (!ok)
		return false;
	value[strcspn(value, "\n")] = '\0';
	/* vmentry_l1d_flush may be "not required". */
	return *value && !strpbrk(value, " ()?");
}

void vendor_remember(void)
{
	struct dirent *e;
	char path[64];
	DIR *d;

	snprintf(path, sizeof(path), "/sys/module/%s/parameters", vendor_module());
	d = opendir(path);
	while (d && (e = readdir(d))) {
		if (e->d_name[0] == '.' ||
		    !read_param(e->d_name, params[nr_params].value, sizeof(params[0].value)))
			continue;
		/* To give it at all, even its default, taints the kernel. */
		if (!strcmp(e->d_name, "force_avic") && *params[nr_params].value == 'N')
			continue;
		ASSERT(nr_params < ARRAY_SIZE(params) - 1, "%s has too many parameters",
		       vendor_module());
		snprintf(params[nr_params++].name, sizeof(params[0].name), "%.47s", e->d_name);
	}
	if (d)
		closedir(d);
}

static void expect_params(void)
{
	char value[sizeof(params[0].value)] = "";
	u32 i;

	for (i = 0; i < nr_params; i++) {
		read_param(params[i].name, value, sizeof(value));
		ASSERT(!strcmp(value, params[i].value), "%s came back with %s=%s, it had %s",
		       vendor_module(), params[i].name, value, params[i].value);
	}
}

void vendor_insert(void)
{
	char path[64], text[sizeof(params)] = "";
	size_t len = 0;
	u32 i;
	int r;

	for (i = 0; i < nr_params; i++)
		len += (size_t)snprintf(text + len, sizeof(text) - len, "%s=%s ", params[i].name,
					params[i].value);
	snprintf(path, sizeof(path), "/modules/%s.ko", vendor_file());
	publish(&vendor_word, COMING);
	r = __module_insert(path, text);
	ASSERT(!r, "insmod %s %s: %s", path, text, strerror(-r));
	publish(&vendor_word, IN);
	expect_params();
	ASSERT(!text_moved(vendor_file()), "%s has no sections", vendor_module());
}

/* --- code ---------------------------------------------------------------------- */

static bool code_logged;

static bool log_difference(const struct text_difference *d)
{
	if (code_logged)
		ktap_log("%s, %s+0x%zx (%s): %02x, was %02x", d->module, d->section, d->at,
			 d->function, d->is[d->at], d->was[d->at]);
	return true;
}

/* KVM's static keys change with the VMs that there are, some of them a second late. */
static bool but_static_keys(const struct text_difference *d)
{
	return !text_is_static_key(d) && log_difference(d);
}

/* A probe's jump is taken out by a worker, too. */
#define SOON_S 5

static void code_soon_is(bool (*counts)(const struct text_difference *d))
{
	long end = now_seconds() + SOON_S;

	code_logged = false;
	/* One look that finds it so is enough: a later one may find a static key half written. */
	while (text_compare(counts)) {
		/* The last look tells what it finds. */
		ASSERT(!code_logged, "KVM's code is not as before the first load");
		code_logged = now_seconds() > end;
		usleep(10000);
	}
}

/* A static key that a VM has left on goes off a second later: two looks that far apart agree. */
void code_remember(void)
{
	do {
		text_forget();
		ASSERT(text_remember("kvm") > 0, "cannot read the code of kvm");
		ASSERT(text_remember(vendor_file()) > 0, "cannot read the code of %s",
		       vendor_file());
		usleep(1500000);
	} while (text_compare(NULL));
}

void code_is_as_before(void)
{
	code_soon_is(log_difference);
}

void code_is_as_before_but_static_keys(void)
{
	code_soon_is(but_static_keys);
}

/* --- loads and removals -------------------------------------------------------- */

static int klog = -1;

struct outcomes met;
char hooked[64][64];
u32 nr_hooked;

/* The functions that the module replaces: what its debugfs says. */
static void read_hooked(void)
{
	FILE *f = fopen(MODULE_DEBUGFS "/hooks", "re");
	char line[256];

	ASSERT(f, "%s/hooks: %s", MODULE_DEBUGFS, strerror(errno));
	ASSERT(fgets(line, sizeof(line), f), "no head");
	while (nr_hooked < ARRAY_SIZE(hooked) && fscanf(f, "%63s %*[^\n]", hooked[nr_hooked]) == 1)
		nr_hooked++;
	fclose(f);
	ASSERT(nr_hooked > 10, "%u functions", nr_hooked);
}

struct view {
	u64 vendor, vms, slots[NR_SLOTS];
	/* Of a slot that stays as it is until the next view; else, anything. */
	const struct tracer *tracers[NR_SLOTS];
	const char *functions[NR_SLOTS];
};

static struct view view(void)
{
	struct view v = { .vendor = look(&vendor_word), .vms = look(&vm_word) };
	u32 i;

	for (i = 0; i < NR_SLOTS; i++) {
		/*
		 * The word first: attach() changes the others before it. The slot may go on to
		 * another function before the outcome is judged.
		 */
		v.slots[i] = look(&slots[i].word);
		v.tracers[i] = slots[i].tracer;
		v.functions[i] = slots[i].function;
	}
	return v;
}

/* The slot whose tracer was on its function's site from @a to @b, or -1. */
static int stayed_on(const struct view *a, const struct view *b)
{
	int i;

	for (i = 0; i < NR_SLOTS; i++) {
		if (a->slots[i] == b->slots[i] && state_of(a->slots[i]) == ON_SITE)
			return i;
	}
	return -1;
}

/* No tracer was on any site. */
static bool stayed_off(const struct view *a, const struct view *b)
{
	u32 i;

	for (i = 0; i < NR_SLOTS; i++) {
		if (a->slots[i] != b->slots[i] || state_of(a->slots[i]) != OFF_SITE)
			return false;
	}
	return true;
}

static bool vendor_stayed(const struct view *a, const struct view *b, u32 state)
{
	return a->vendor == b->vendor && state_of(a->vendor) == state;
}

static void judge_refusal(int r, const struct view *a, const struct view *b)
{
	int slot = stayed_on(a, b);
	const char *function = slot < 0 ? NULL : a->functions[slot];

	ASSERT(!module_loaded(), "refused (%s), and there", strerror(-r));
	if (r == -ENODEV) {
		ASSERT(!vendor_stayed(a, b, IN), "ENODEV, and the vendor's module was there");
		ASSERT(klog_says(klog, "kvm_hyperv: kvm is loaded without a vendor module", NULL),
		       "ENODEV without its reason");
		met.no_vendor++;
		return;
	}
	ASSERT(r == -EBUSY, "insmod: %s", strerror(-r));
	ASSERT(!stayed_off(a, b), "refused, and nothing was on a site");
	ASSERT(klog_says(klog, "kvm_hyperv: cannot replace ", function),
	       "refused, and the log does not say that %s is in use", function ?: "any function");
	met.refused++;
}

bool load(void)
{
	struct view a, b;
	int r, on;

	lseek(klog, 0, SEEK_END);
	a = view();
	publish(&module_word, COMING);
	r = __module_load();
	publish(&module_word, r ? OUT : IN);
	b = view();
	steps[ACTOR_MAIN]++;
	if (r) {
		judge_refusal(r, &a, &b);
		return false;
	}
	ASSERT(module_loaded(), "loaded, and not there");
	on = stayed_on(&a, &b);
	ASSERT(on < 0, "loaded over %s on %s", a.tracers[on]->name, a.functions[on]);
	ASSERT(!vendor_stayed(&a, &b, OUT), "loaded without the vendor's module");
	if (!nr_hooked)
		read_hooked();
	met.loaded++;
	return true;
}

bool unload(void)
{
	bool others = false, all = false;
	char record[KLOG_RECORD];
	struct view a, b;
	int r, on;

	lseek(klog, 0, SEEK_END);
	a = view();
	publish(&module_word, GOING);
	r = __module_unload();
	publish(&module_word, r ? IN : OUT);
	b = view();
	steps[ACTOR_MAIN]++;
	if (r) {
		/* The kernel says no more than that. */
		ASSERT(r == -EAGAIN, "rmmod: %s", strerror(-r));
		ASSERT(module_loaded(), "not removed, and not there");
		ASSERT(a.vms != b.vms || state_of(a.vms) == OWNED || state_of(a.vms) == VM_CHANGES,
		       "not removed, without any VM");
		ASSERT(!klog_says(klog, "kvm_hyperv: unloaded", NULL),
		       "not removed, and it says so");
		met.kept++;
		return false;
	}
	ASSERT(!module_loaded(), "removed, and there");
	ASSERT(access(MODULE_DEBUGFS, F_OK), "removed, and its files are there");
	ASSERT(a.vms != b.vms || state_of(a.vms) != OWNED, "removed under a VM");
	while (klog_next(klog, record)) {
		others |= !!strstr(record, "kvm_hyperv: unloaded; another user");
		all |= !!strstr(record, "kvm_hyperv: unloaded; all");
	}
	ASSERT(others != all, "the log does not say what was restored");
	on = stayed_on(&a, &b);
	ASSERT(others || on < 0, "%s on %s went unnoticed", a.tracers[on]->name, a.functions[on]);
	ASSERT(all || !stayed_off(&a, &b), "not all is restored, and nobody was there");
	met.removed++;
	return true;
}

/* --- tracers ------------------------------------------------------------------- */

u32 attached[16][2];

/* Of the vendor's functions, the module replaces some on some hosts only. */
bool is_hooked(const char *function)
{
	u32 i;

	for (i = 0; i < nr_hooked; i++) {
		if (!strcmp(hooked[i], function))
			return true;
	}
	return false;
}

void attach(struct slot *s, struct tracer *t, const char *function)
{
	u32 in;
	int r;

	s->tracer = t;
	s->function = function;
	s->takes_site = t->takes_site && is_hooked(function);
	if (s->takes_site)
		publish(&s->word, SITE_CHANGES);
	t->function = function;
	t->seen = 0;
	r = t->attach(t, function);
	ASSERT(!r, "%s on %s: %s", t->name, function, strerror(-r));
	if (s->takes_site)
		publish(&s->word, ON_SITE);
	/* Some wait in the kernel until a load ends. */
	in = state_of(look(&module_word)) == IN;
	__atomic_add_fetch(&attached[t - tracers][in], 1, __ATOMIC_SEQ_CST);
}

void detach(struct slot *s)
{
	int r;

	if (s->takes_site)
		publish(&s->word, SITE_CHANGES);
	r = s->tracer->detach(s->tracer);
	ASSERT(!r, "%s off %s: %s", s->tracer->name, s->function, strerror(-r));
	if (s->takes_site)
		publish(&s->word, OFF_SITE);
}

void actors_begin(unsigned int seconds)
{
	pthread_t thread;

	require_module_file();
	ktap_timeout(seconds);
	tracers_reset();
	ASSERT_EQ(pthread_create(&thread, NULL, watch, NULL), 0);
	klog = klog_open();
	/* A case that died may have left it out; one that lived may have moved it. */
	if (!vendor_loaded())
		vendor_insert();
	ASSERT(!text_moved(vendor_file()), "%s has no sections", vendor_module());
	code_is_as_before();
}
