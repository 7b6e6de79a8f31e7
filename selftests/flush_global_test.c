// SPDX-License-Identifier: GPL-2.0-only
/*
 * HV_FLUSH_NON_GLOBAL_MAPPINGS_ONLY: the host tells the CPU to keep global entries, as long as no
 * other flush that waits for the same VP includes them. That they stay is not looked at: an
 * emulated CPU forgets everything when it enters a guest. Stock KVM flushes them, too, which is
 * allowed.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "flush_pair.h"

#define NON_GLOBAL BIT64(2)

static const struct page stale = { PAGE_4K, 5 };

static struct world *pinned_world(void)
{
	probes_require();
	/* On another CPU than it has run on, a VP on Intel is flushed as a whole. */
	pin_thread(pthread_self(), 0);
	return world_create();
}

/* Have vCPU @vp, which has not run since, see the new page; look at what the host did for that. */
static void enters(struct world *w, u32 vp)
{
	struct guest_op load = { .op = OP_LOAD, .arg0 = page_read_at(stale) };

	ASSERT_EQ(vcpu_op(w->vm->vcpus[vp], w->ops[vp], load).result, NEW_VALUE);
	probes_read();
}

static void calls(struct world *w, const struct call *c)
{
	ASSERT_EQ(vcpu_op(w->vm->vcpus[0], w->ops[0], call_op(w, c)).result, HV_CTL_REP(c->nr));
}

/* An AMD CPU must be able to flush one guest's translations at all. */
static bool cpu_can(void)
{
	static char line[8192];
	bool can = !host_is_amd();
	FILE *f = fopen("/proc/cpuinfo", "re");

	ASSERT(f, "/proc/cpuinfo: %s", strerror(errno));
	while (!can && fgets(line, sizeof(line), f))
		can = !strncmp(line, "flags", 5) && strstr(line, " flushbyasid");
	fclose(f);
	return can;
}

static void expect(struct world *w, u32 vp, bool all, bool non_global)
{
	/* If the CPU cannot, the module flushes everything. */
	ASSERT_EQ(!!nr_kept, non_global && cpu_can());
	all |= non_global && !cpu_can();
	ASSERT_EQ(!!invalidated_all(w->address[vp]), all);
	ASSERT_EQ(!!invalidated_non_global(w->address[vp]), non_global);
}

static const struct call forms[] = {
	{ .code = HVCALL_FLUSH_SPACE },
	{ .code = HVCALL_FLUSH_SPACE, .fast = true },
	{ .code = HVCALL_FLUSH_SPACE_EX },
	{ .code = HVCALL_FLUSH_SPACE_EX, .fast = true },
};

/* One call of each form, of @flags, for @vp. */
static void each_form(u32 vp, u64 flags, bool all, bool non_global)
{
	struct world *w = pinned_world();
	u32 i;

	for (i = 0; i < ARRAY_SIZE(forms); i++) {
		struct call c = forms[i];

		c.targets = 1u << vp;
		c.flags = flags;
		make_stale(w, vp, &stale, 1);
		probes_read();
		calls(w, &c);
		enters(w, vp);
		expect(w, vp, all, non_global);
	}
	world_free(w);
}

TEST(another_vp_keeps_global_entries)
{
	each_form(1, NON_GLOBAL, false, true);
}

TEST(caller_keeps_global_entries)
{
	each_form(0, NON_GLOBAL, false, true);
}

TEST(all_address_spaces)
{
	each_form(1, NON_GLOBAL | HV_FLUSH_ALL_SPACES, false, true);
}

TEST(without_the_flag)
{
	each_form(1, 0, true, false);
}

TEST(caller_without_the_flag)
{
	each_form(0, HV_FLUSH_ALL_SPACES, true, false);
}

/* What several calls ask of a VP that does not run meanwhile. */
static void several(const struct call *c, u32 nr, bool all, bool non_global)
{
	struct world *w = pinned_world();
	u64 entry = page_gva(stale);
	u32 i;

	make_stale(w, 1, &stale, 1);
	probes_read();
	for (i = 0; i < nr; i++) {
		struct call one = c[i];

		one.targets = 1u << 1;
		one.list = &entry;
		calls(w, &one);
	}
	enters(w, 1);
	expect(w, 1, all, non_global);
	world_free(w);
}

TEST(two_with_the_flag)
{
	static const struct call c[] = {
		{ .code = HVCALL_FLUSH_SPACE, .flags = NON_GLOBAL },
		{ .code = HVCALL_FLUSH_SPACE_EX, .flags = NON_GLOBAL, .fast = true },
	};

	several(c, ARRAY_SIZE(c), false, true);
}

TEST(one_with_the_flag_then_one_without)
{
	static const struct call c[] = {
		{ .code = HVCALL_FLUSH_SPACE, .flags = NON_GLOBAL },
		{ .code = HVCALL_FLUSH_SPACE },
		{ .code = HVCALL_FLUSH_SPACE, .flags = NON_GLOBAL },
	};

	several(c, ARRAY_SIZE(c), true, false);
}

TEST(one_without_the_flag_then_one_with)
{
	static const struct call c[] = {
		{ .code = HVCALL_FLUSH_SPACE },
		{ .code = HVCALL_FLUSH_SPACE, .flags = NON_GLOBAL },
	};

	several(c, ARRAY_SIZE(c), true, false);
}

/* The page of the list may be global. */
TEST(list_then_one_with_the_flag)
{
	static const struct call c[] = {
		{ .code = HVCALL_FLUSH_LIST, .nr = 1 },
		{ .code = HVCALL_FLUSH_SPACE, .flags = NON_GLOBAL },
	};

	several(c, ARRAY_SIZE(c), true, false);
}

TEST(one_with_the_flag_then_list)
{
	static const struct call c[] = {
		{ .code = HVCALL_FLUSH_SPACE, .flags = NON_GLOBAL },
		{ .code = HVCALL_FLUSH_LIST, .nr = 1 },
	};

	several(c, ARRAY_SIZE(c), true, false);
}

/* One that is over does not count any more. */
TEST(full_one_before_the_last_entry)
{
	struct call full = { .code = HVCALL_FLUSH_SPACE, .targets = 2 };
	struct call c = { .code = HVCALL_FLUSH_SPACE, .targets = 2, .flags = NON_GLOBAL };
	struct world *w = pinned_world();

	make_stale(w, 1, &stale, 1);
	calls(w, &full);
	enters(w, 1);
	make_stale(w, 1, &stale, 1);
	probes_read();
	calls(w, &c);
	enters(w, 1);
	expect(w, 1, false, true);
	world_free(w);
}

int main(int argc, char **argv)
{
	return probes_main(argc, argv);
}
