// SPDX-License-Identifier: GPL-2.0-only
/*
 * The pure core as one unit of khv-kunit.ko: its objects must not be those of the module, which
 * may be built in the same tree at the same time. A new pure file of hyperv/ belongs here too.
 */
#include <linux/module.h>

#include "hyperv/core/tables.c"
#include "hyperv/core/decode.c"
#include "hyperv/core/gate.c"
#include "hyperv/core/vpset.c"
#include "hyperv/core/flush.c"
#include "hyperv/core/refclock.c"
#include "hyperv/core/stimer_math.c"
#include "hyperv/core/walk.c"
#include "hyperv/core/btf.c"
#include "hyperv/core/prototype.c"
#include "hyperv/core/contract.c"

MODULE_DESCRIPTION("KUnit suites of kvm-hyperv's pure core");
MODULE_LICENSE("GPL");
