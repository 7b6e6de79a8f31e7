// SPDX-License-Identifier: GPL-2.0-only
/*
 * The pure core as one unit of khv-kunit.ko: its objects must not be those of the module, which
 * may be built in the same tree at the same time. A new pure file of hyperv/ belongs here too.
 */
#include <linux/module.h>

#include "hyperv/tables.c"
#include "hyperv/decode.c"
#include "hyperv/gate.c"
#include "hyperv/vpset.c"
#include "hyperv/flush.c"
#include "hyperv/refclock.c"
#include "hyperv/stimer_math.c"
#include "hyperv/walk.c"

MODULE_DESCRIPTION("KUnit suites of kvm-hyperv's pure core");
MODULE_LICENSE("GPL");
