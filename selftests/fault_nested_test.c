// SPDX-License-Identifier: GPL-2.0-only
/*
 * Pages of a nested guest's hypervisor that are not there when the host reads them: the VP assist
 * page at a nested VM-Entry, the partition assist page and the input of L2's flush, and that of
 * L1's flush of guest physical addresses. User space pages them in; the entry and the call end as
 * if they had been there.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <pthread.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "nested_flush.h"

static struct {
	int uffd;
	pthread_t thread;
	u8 *page;
	u8 content[PAGE_SIZE];
	volatile u32 faults;
} pager;

static void *pager_run(void *arg)
{
	struct uffdio_copy copy = {
		.dst = gpa(pager.page),
		.src = gpa(pager.content),
		.len = PAGE_SIZE,
	};
	struct uffd_msg msg;

	(void)arg;
	ASSERT_EQ(read(pager.uffd, &msg, sizeof(msg)), sizeof(msg));
	ASSERT_EQ(msg.event, UFFD_EVENT_PAGEFAULT);
	ASSERT_EQ(msg.arg.pagefault.address & ~(PAGE_SIZE - 1), gpa(pager.page));
	pager.faults++;
	ASSERT(!ioctl(pager.uffd, UFFDIO_COPY, &copy), "UFFDIO_COPY: %s", strerror(errno));
	return NULL;
}

/* The page that holds @at goes, and comes back when somebody looks at it. */
static void take_away(const void *at)
{
	struct uffdio_api api = { .api = UFFD_API };
	struct uffdio_register reg = { .mode = UFFDIO_REGISTER_MODE_MISSING };

	pager.page = (u8 *)(uintptr_t)(gpa(at) & ~(PAGE_SIZE - 1));
	memcpy(pager.content, pager.page, PAGE_SIZE);
	pager.uffd = (int)syscall(SYS_userfaultfd, O_CLOEXEC);
	if (pager.uffd < 0)
		ktap_skip("no userfaultfd: %s", strerror(errno));
	ASSERT(!ioctl(pager.uffd, UFFDIO_API, &api), "UFFDIO_API: %s", strerror(errno));
	reg.range.start = gpa(pager.page);
	reg.range.len = PAGE_SIZE;
	/* A huge page would be missing as a whole. */
	madvise(pager.page, PAGE_SIZE, MADV_NOHUGEPAGE);
	ASSERT(!ioctl(pager.uffd, UFFDIO_REGISTER, &reg), "UFFDIO_REGISTER: %s", strerror(errno));
	ASSERT_EQ(madvise(pager.page, PAGE_SIZE, MADV_DONTNEED), 0);
	pager.faults = 0;
	ASSERT_EQ(pthread_create(&pager.thread, NULL, pager_run, NULL), 0);
}

/* It was looked at, and is what it was. */
static void expect_back(const char *what)
{
	ASSERT(pager.faults == 1, "%s: nobody looked at the page", what);
	ASSERT_EQ(pthread_join(pager.thread, NULL), 0);
	ASSERT(!memcmp(pager.page, pager.content, PAGE_SIZE), "%s: the page differs", what);
	close(pager.uffd);
}

static void paged(u32 flags)
{
	struct guest_op o;
	struct nested *n;
	struct world *w;
	u32 i, provided = 0;

	if (!module_loaded() && host_is_6_1())
		ktap_skip("stock 6.1 has no direct flush");
	w = direct_world_create(NESTED_EVMCS | NESTED_DIRECT | flags);
	n = w->n[0];
	nested_start(w->vm->vcpus[0]);
	for (i = 0; i < ARRAY_SIZE(direct_codes); i++) {
		struct call c = { .code = direct_codes[i], .mask = MASK(0) };
		const void *const pages[] = { n->lock_page, w->input };
		u32 k;

		take_away(n->assist);
		nested_reenter(w->vm->vcpus[0]);
		expect_back("VP assist page");
		provided++;
		for (k = 0; k < ARRAY_SIZE(pages); k++) {
			o = l2_call_op(w, &c);
			take_away(pages[k]);
			o = l2_op(w, 0, o);
			ASSERT_EQ(o.result, success_of(&o));
			expect_back(k ? "input" : "partition assist page");
			provided++;
		}
	}
	ktap_log("%u pages provided", provided);
	direct_world_free(w);
}

TEST(pages_of_l1_come_late)
{
	paged(0);
}

TEST(pages_of_l1_come_late_with_nested_paging)
{
	paged(NESTED_PAGING);
}

/* Of the L2 that is there, so that the call has what it may flush. */
TEST(input_of_a_gpa_flush_comes_late)
{
	static const u64 calls[] = { HVCALL_FLUSH_GPA_SPACE,
				     HVCALL_FLUSH_GPA_LIST | HV_CTL_REP(1) };
	struct guest_op o;
	struct world *w;
	u32 i;

	if (!module_loaded())
		ktap_skip("stock does not know the calls (N0)");
	w = direct_world_create(NESTED_PAGING);
	nested_start(w->vm->vcpus[0]);
	for (i = 0; i < ARRAY_SIZE(calls); i++) {
		w->input[0] = gpa(w->n[0]->root);
		w->input[1] = 0;
		w->input[2] = NESTED_WINDOW;
		take_away(w->input);
		o = nested_l1_op(w->vm->vcpus[0], OP_HC(calls[i], gpa(w->input), 0));
		ASSERT_EQ(o.vector, 0);
		ASSERT_EQ(o.result, success_of(&o));
		expect_back("input");
	}
	direct_world_free(w);
}

int main(int argc, char **argv)
{
	return probes_main(argc, argv);
}
