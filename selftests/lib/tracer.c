// SPDX-License-Identifier: GPL-2.0-only
/* See tracer.h. */
#include <errno.h>
#include <fcntl.h>
#include <linux/bpf.h>
#include <linux/perf_event.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "ktap.h"
#include "tracefs.h"
#include "tracer.h"

/* --- tracefs: probes as events, and ftrace's own tracers ---------------------------- */

#define INSTANCE TRACING "/instances/khv_tracer"

static int probe_attach(struct tracer *t, const char *function)
{
	char text[128], path[128];
	int r;

	snprintf(text, sizeof(text), "%s:khv_tracer/%s %s", t->form, t->event, function);
	r = file_write(TRACING "/kprobe_events", text, O_APPEND);
	if (r)
		return r;
	snprintf(path, sizeof(path), TRACING "/events/khv_tracer/%s/enable", t->event);
	return file_write(path, "1", 0);
}

static int probe_detach(struct tracer *t)
{
	char text[128];
	int r;

	snprintf(text, sizeof(text), TRACING "/events/khv_tracer/%s/enable", t->event);
	r = file_write(text, "0", 0);
	if (r)
		return r;
	snprintf(text, sizeof(text), "-:khv_tracer/%s", t->event);
	return file_write(TRACING "/kprobe_events", text, O_APPEND);
}

static int set_tracer(const char *folder, const char *tracer)
{
	char path[128];

	snprintf(path, sizeof(path), "%s/current_tracer", folder);
	return file_write(path, tracer, 0);
}

static bool probe_fired(struct tracer *t)
{
	FILE *f = fopen(TRACING "/kprobe_profile", "re");
	unsigned long long hits = 0, n;
	char line[256], name[128];
	bool fired;

	while (f && fgets(line, sizeof(line), f)) {
		if (sscanf(line, "%127s %llu", name, &n) == 2 && !strcmp(name, t->event))
			hits = n;
	}
	if (f)
		fclose(f);
	fired = hits != t->seen;
	t->seen = hits;
	return fired;
}

static int ftrace_attach(const char *folder, const char *function, const char *tracer)
{
	char path[128];
	int r;

	snprintf(path, sizeof(path), "%s/set_ftrace_filter", folder);
	r = file_write(path, function, O_TRUNC);
	if (r)
		return r;
	snprintf(path, sizeof(path), "%s/trace", folder);
	file_write(path, "", O_TRUNC);
	return set_tracer(folder, tracer);
}

/* Does a line of the trace have @function and behind it @more? Forget the trace if so. */
static bool trace_has(const char *folder, const char *function, const char *more)
{
	char path[128], line[512], *at;
	bool has = false;
	FILE *f;

	snprintf(path, sizeof(path), "%s/trace", folder);
	f = fopen(path, "re");
	if (!f)
		return false;
	while (!has && fgets(line, sizeof(line), f)) {
		at = *line == '#' ? NULL : strstr(line, function);
		has = at && strstr(at, more);
	}
	fclose(f);
	if (has)
		file_write(path, "", O_TRUNC);
	return has;
}

static int function_attach(struct tracer *t, const char *function)
{
	(void)t;
	if (mkdir(INSTANCE, 0700) && errno != EEXIST)
		return -errno;
	return ftrace_attach(INSTANCE, function, "function");
}

static int function_detach(struct tracer *t)
{
	(void)t;
	return set_tracer(INSTANCE, "nop");
}

static bool function_fired(struct tracer *t)
{
	return trace_has(INSTANCE, t->function, " <-");
}

/* The host's own tracer and its functions, as the files say it. */
static char host_tracer[64];
static char host_filter[16384];

static void file_read(const char *path, char *text, size_t size)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	size_t len = 0;
	ssize_t n;

	while (fd >= 0 && len < size - 1 && (n = read(fd, text + len, size - 1 - len)) > 0)
		len += (size_t)n;
	text[len] = '\0';
	if (fd >= 0)
		close(fd);
}

/* Lines of set_ftrace_filter are "FUNCTION", "FUNCTION [MODULE]" and, if it is empty, "# ...". */
static int set_filter(const char *lines)
{
	int r = file_write(TRACING "/set_ftrace_filter", "", O_TRUNC);
	char name[128];
	size_t len;

	for (; !r && *lines; lines += strcspn(lines, "\n"), lines += *lines == '\n') {
		len = strcspn(lines, "\n ");
		if (*lines == '#' || len >= sizeof(name))
			continue;
		snprintf(name, sizeof(name), "%.*s", (int)len, lines);
		r = file_write(TRACING "/set_ftrace_filter", name, O_APPEND);
	}
	return r;
}

static int graph_attach(struct tracer *t, const char *function)
{
	(void)t;
	return ftrace_attach(TRACING, function, "function_graph");
}

static int graph_detach(struct tracer *t)
{
	int r;

	(void)t;
	/* The host's tracer must not begin with all functions, or with ours. */
	r = set_tracer(TRACING, "nop");
	if (!r)
		r = set_filter(host_filter);
	return r ?: set_tracer(TRACING, host_tracer);
}

static bool graph_fired(struct tracer *t)
{
	return trace_has(TRACING, t->function, "()");
}

/* --- perf, alone and with a program of BPF ------------------------------------------- */

static int load_program(u32 type)
{
	static const char license[] = "GPL";
	static const struct bpf_insn answers_0[] = {
		{ .code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_0 },
		{ .code = BPF_JMP | BPF_EXIT },
	};
	union bpf_attr attr = {
		.prog_type = type,
		.insns = (u64)(uintptr_t)answers_0,
		.insn_cnt = ARRAY_SIZE(answers_0),
		.license = (u64)(uintptr_t)license,
	};
	int fd = (int)syscall(SYS_bpf, BPF_PROG_LOAD, &attr, sizeof(attr));

	return fd < 0 ? -errno : fd;
}

static int perf_close(struct tracer *t)
{
	int r = close(t->fd) ? -errno : 0;

	if (t->bpf) {
		close(t->program);
		close(t->statistics);
	}
	return r;
}

/* The event counts on the first processor only; a program runs on all. */
static bool perf_fired(struct tracer *t)
{
	struct bpf_prog_info info = { 0 };
	union bpf_attr attr = { 0 };
	u64 hits = 0;
	bool fired;

	if (t->bpf) {
		attr.info.bpf_fd = (u32)t->program;
		attr.info.info_len = sizeof(info);
		attr.info.info = (u64)(uintptr_t)&info;
		if (!syscall(SYS_bpf, BPF_OBJ_GET_INFO_BY_FD, &attr, sizeof(attr)))
			hits = info.run_cnt;
	} else if (read(t->fd, &hits, sizeof(hits)) != sizeof(hits)) {
		hits = 0;
	}
	fired = hits != t->seen;
	t->seen = hits;
	return fired;
}

/* Let the kernel count the runs of programs as long as it is open. */
static int count_runs(void)
{
	union bpf_attr attr = { .enable_stats.type = BPF_STATS_RUN_TIME };

	return (int)syscall(SYS_bpf, BPF_ENABLE_STATS, &attr, sizeof(attr));
}

static int perf_open(struct tracer *t, struct perf_event_attr *attr, u32 type)
{
	attr->size = sizeof(*attr);
	t->fd = (int)syscall(SYS_perf_event_open, attr, -1, 0, -1, PERF_FLAG_FD_CLOEXEC);
	if (t->fd < 0)
		return -errno;
	if (!t->bpf)
		return 0;
	t->statistics = count_runs();
	t->program = load_program(type);
	if (t->program < 0 || ioctl(t->fd, PERF_EVENT_IOC_SET_BPF, t->program)) {
		int r = t->program < 0 ? t->program : -errno;

		perf_close(t);
		return r;
	}
	return 0;
}

/* A number in a file; 0 if it is not there. */
static u64 number_of(const char *path)
{
	unsigned long long n = 0;
	FILE *f = fopen(path, "re");

	if (!f)
		return 0;
	if (fscanf(f, "%llu", &n) != 1)
		n = 0;
	fclose(f);
	return n;
}

static int perf_probe_at(struct tracer *t, const char *function, u64 offset)
{
	struct perf_event_attr attr = {
		.type = (u32)number_of("/sys/bus/event_source/devices/kprobe/type"),
		.kprobe_func = (u64)(uintptr_t)function,
		.probe_offset = offset,
	};

	return attr.type ? perf_open(t, &attr, BPF_PROG_TYPE_KPROBE) : -ENOENT;
}

static int perf_probe_attach(struct tracer *t, const char *function)
{
	return perf_probe_at(t, function, 0);
}

/* At the first instruction that begins behind the site. */
static int inner_attach(struct tracer *t, const char *function)
{
	u64 offset;
	int r = 0;

	for (offset = 10; offset < 40; offset++) {
		r = perf_probe_at(t, function, offset);
		if (r != -EILSEQ && r != -EINVAL)
			break;
	}
	return r;
}

static int perf_event_attach(struct tracer *t, const char *function)
{
	struct perf_event_attr attr = { .type = PERF_TYPE_TRACEPOINT };
	char path[128];

	(void)function;
	snprintf(path, sizeof(path), TRACING "/events/kvm/%s/id", t->event);
	attr.config = number_of(path);
	return attr.config ? perf_open(t, &attr, BPF_PROG_TYPE_TRACEPOINT) : -ENOENT;
}

#define PROBE(_name, _event, _form)                                                                \
	{                                                                                          \
		.name = _name, .takes_site = true, .attach = probe_attach, .detach = probe_detach, \
		.fired = probe_fired, .event = _event, .form = _form                               \
	}
#define FTRACE(_name, _which)                                                 \
	{                                                                     \
		.name = _name, .takes_site = true, .attach = _which##_attach, \
		.detach = _which##_detach, .fired = _which##_fired            \
	}
#define PERF(_name, _takes, _attach, _event, _bpf)                                            \
	{                                                                                     \
		.name = _name, .takes_site = _takes, .attach = _attach, .detach = perf_close, \
		.fired = perf_fired, .event = _event, .bpf = _bpf                             \
	}

struct tracer tracers[] = {
	PROBE("kprobe", "khv_entry", "p"),
	PROBE("kretprobe", "khv_return", "r"),
	FTRACE("function", function),
	FTRACE("function_graph", graph),
	PERF("perf kprobe", true, perf_probe_attach, NULL, false),
	PERF("BPF kprobe", true, perf_probe_attach, NULL, true),
	PERF("inner kprobe", false, inner_attach, NULL, false),
	PERF("perf tracepoint", false, perf_event_attach, "kvm_exit", false),
	PERF("BPF tracepoint", false, perf_event_attach, "kvm_hv_hypercall", true),
};
const u32 nr_tracers = ARRAY_SIZE(tracers);

/* Only BPF is not in all kernels with ftrace. */
bool tracer_exists(struct tracer *t)
{
	if (!t->bpf)
		return true;
	/* The file is there where bpf() is. */
	return !access("/proc/sys/kernel/unprivileged_bpf_disabled", F_OK);
}

void tracers_remember(void)
{
	file_read(TRACING "/current_tracer", host_tracer, sizeof(host_tracer));
	host_tracer[strcspn(host_tracer, "\n")] = '\0';
	file_read(TRACING "/set_ftrace_filter", host_filter, sizeof(host_filter));
}

bool tracers_reset(void)
{
	char tracer[sizeof(host_tracer)], filter[sizeof(host_filter)];
	u32 i;

	for (i = 0; i < nr_tracers; i++) {
		if (tracers[i].attach == probe_attach)
			probe_detach(&tracers[i]);
	}
	function_detach(NULL);
	rmdir(INSTANCE);
	file_read(TRACING "/current_tracer", tracer, sizeof(tracer));
	tracer[strcspn(tracer, "\n")] = '\0';
	file_read(TRACING "/set_ftrace_filter", filter, sizeof(filter));
	if (!strcmp(tracer, host_tracer) && !strcmp(filter, host_filter))
		return true;
	graph_detach(NULL);
	return false;
}
