// SPDX-License-Identifier: GPL-2.0-only
/* Probes on what KVM tells the CPU to invalidate: see probe.h. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "ktap.h"
#include "probe.h"
#include "tracefs.h"
#include "vm.h"

#define INSTANCE      TRACING "/instances/khv_probe"
#define INVALIDATIONS 16384

static const char *const counted[NR_HITS] = { "vmx_flush_tlb_current", "vmx_flush_tlb_all" };

struct invalidation invalidations[INVALIDATIONS];
u32 nr_invalidations, nr_kept;
static char no_probes[256]; /* why there are none */

static void probes_remove(void)
{
	char text[64];
	u32 i;

	file_write(TRACING "/events/khv_count/enable", "0", 0);
	for (i = 0; i < NR_HITS; i++) {
		snprintf(text, sizeof(text), "-:khv_count/%s", counted[i]);
		file_write(TRACING "/kprobe_events", text, O_APPEND);
	}
	file_write(INSTANCE "/events/khv_probe/enable", "0", 0);
	rmdir(INSTANCE);
	file_write(TRACING "/kprobe_events", "-:khv_probe/page", O_APPEND);
	file_write(TRACING "/kprobe_events", "-:khv_probe/all", O_APPEND);
	file_write(TRACING "/kprobe_events", "-:khv_probe/non_global", O_APPEND);
	file_write(TRACING "/kprobe_events", "-:khv_probe/kept", O_APPEND);
}

static int probes_install(void)
{
	const char *vendor = host_is_amd() ? "svm" : "vmx";
	char text[128];
	u32 i;
	int r;

	probes_remove(); /* of a run that was killed */
	snprintf(text, sizeof(text), "p:khv_probe/page %s_flush_tlb_gva vcpu=%%di gva=%%si",
		 vendor);
	r = file_write(TRACING "/kprobe_events", text, O_APPEND);
	if (!r) {
		snprintf(text, sizeof(text), "p:khv_probe/all %s vcpu=%%di",
			 host_is_amd() ? "svm_flush_tlb_asid" : "vmx_flush_tlb_guest");
		r = file_write(TRACING "/kprobe_events", text, O_APPEND);
	}
	/* Of a module that may not be loaded. */
	if (!r && !access("/sys/module/kvm_hyperv", F_OK)) {
		snprintf(text, sizeof(text),
			 "p:khv_probe/non_global kvm_hyperv:khv_flush_non_global vcpu=%%di");
		r = file_write(TRACING "/kprobe_events", text, O_APPEND);
		if (!r) {
			snprintf(text, sizeof(text),
				 "r:khv_probe/kept kvm_hyperv:khv_flush_non_global kept=$retval:u8");
			r = file_write(TRACING "/kprobe_events", text, O_APPEND);
		}
	}
	for (i = 0; !r && i < NR_HITS && !host_is_amd(); i++) {
		snprintf(text, sizeof(text), "p:khv_count/%s %s", counted[i], counted[i]);
		r = file_write(TRACING "/kprobe_events", text, O_APPEND);
	}
	if (!r && !host_is_amd())
		r = file_write(TRACING "/events/khv_count/enable", "1", 0);
	if (!r && mkdir(INSTANCE, 0700))
		r = -errno;
	if (!r)
		r = file_write(INSTANCE "/events/khv_probe/enable", "1", 0);
	if (r)
		snprintf(no_probes, sizeof(no_probes), "%s: %s", text, strerror(-r));
	return r;
}

void probes_read(void)
{
	static char text[1 << 16];
	static int fd = -1;
	size_t have = 0;
	char *line, *end;
	ssize_t r;

	if (fd < 0)
		fd = open(INSTANCE "/trace_pipe", O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	ASSERT(fd >= 0, "trace_pipe: %s", strerror(errno));
	nr_invalidations = 0;
	nr_kept = 0;
	for (;;) {
		r = read(fd, text + have, sizeof(text) - 1 - have);
		if (r <= 0)
			break;
		have += (size_t)r;
		text[have] = '\0';
		for (line = text; (end = strchr(line, '\n')); line = end + 1) {
			struct invalidation *inv = &invalidations[nr_invalidations];
			const char *vcpu, *page, *cpu, *kept;

			*end = '\0';
			kept = strstr(line, " kept=");
			if (kept) {
				nr_kept += kept[6] == '1';
				continue;
			}
			nr_invalidations++;
			vcpu = strstr(line, "vcpu=");
			page = strstr(line, "gva=");
			cpu = strchr(line, '[');
			ASSERT(vcpu && cpu, "a line without a vCPU: %s", line);
			ASSERT(nr_invalidations < INVALIDATIONS, "too many events");
			inv->vcpu = strtoull(vcpu + 5, NULL, 16);
			inv->cpu = (u32)strtoul(cpu + 1, NULL, 10);
			inv->non_global = strstr(line, ": non_global:");
			inv->all = !page && !inv->non_global;
			inv->gva = page ? strtoull(page + 4, NULL, 16) : 0;
		}
		have = strlen(line);
		memmove(text, line, have);
	}
	ASSERT(r < 0 && errno == EAGAIN, "trace_pipe: %s", r ? strerror(errno) : "no more");
}

void probes_require(void)
{
	if (no_probes[0])
		ktap_skip("no probes on the host's invalidations: %s", no_probes);
}

void probes_hits(u64 hits[NR_HITS])
{
	unsigned long long n;
	char name[64];
	u32 i, found = 0;
	FILE *f;

	memset(hits, 0, NR_HITS * sizeof(hits[0]));
	if (host_is_amd())
		return;
	f = fopen(TRACING "/kprobe_profile", "r");
	ASSERT(f, "kprobe_profile: %s", strerror(errno));
	while (fscanf(f, "%63s %llu %*u", name, &n) == 2) {
		for (i = 0; i < NR_HITS; i++) {
			if (strcmp(name, counted[i]))
				continue;
			hits[i] = n;
			found++;
		}
	}
	fclose(f);
	ASSERT_EQ(found, NR_HITS);
}

bool invalidated_page(u64 vcpu, u64 gva, u32 shift)
{
	u32 i;

	for (i = 0; i < nr_invalidations; i++) {
		const struct invalidation *inv = &invalidations[i];

		/* Any address of a large page will do. */
		if (inv->vcpu == vcpu &&
		    (inv->all || inv->non_global || inv->gva >> shift == gva >> shift))
			return true;
	}
	return false;
}

u32 invalidated_all(u64 vcpu)
{
	u32 i, n = 0;

	for (i = 0; i < nr_invalidations; i++)
		n += invalidations[i].vcpu == vcpu && invalidations[i].all;
	return n;
}

u32 invalidated_non_global(u64 vcpu)
{
	u32 i, n = 0;

	for (i = 0; i < nr_invalidations; i++)
		n += invalidations[i].vcpu == vcpu && invalidations[i].non_global;
	return n;
}

int probes_main(int argc, char **argv)
{
	int r;

	if (kvm_fd() < 0)
		return KTAP_EXIT_FAIL;
	probes_install();
	r = ktap_main(argc, argv);
	probes_remove();
	return r;
}
