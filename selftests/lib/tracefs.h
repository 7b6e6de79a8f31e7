/* SPDX-License-Identifier: GPL-2.0-only */
/* The host's tracefs: switch an event on, read what it told. */
#ifndef KHV_SELFTEST_TRACEFS_H
#define KHV_SELFTEST_TRACEFS_H

#include "uapi.h"

#define TRACING "/sys/kernel/tracing"

/* Write @text to @path, opened with @flags besides: 0 or -errno. */
int file_write(const char *path, const char *text, int flags);
/* The same; a failure is the test's. */
void file_must_write(const char *path, const char *text);
/* Forget what was traced so far. */
void trace_clear(void);
/* Lines of the trace for which @match. */
u32 trace_count(bool (*match)(const char *line));
/* Does Hyper-V's AutoEOI inhibit APICv, by the kvm_apicv_inhibit_changed traced so far? */
bool trace_hyperv_inhibits_apicv(void);

#endif
