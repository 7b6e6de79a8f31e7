// SPDX-License-Identifier: GPL-2.0-only
/* Instantiates the tracepoints of include/khv/trace.h. */
#include <linux/kvm_host.h>

#define CREATE_TRACE_POINTS
#include "khv/trace.h"
