// SPDX-License-Identifier: GPL-2.0-only
/*
 * The pure core, compiled once more into khv-kunit.ko. If both modules linked the same objects,
 * two builds in one tree, of kvm-hyperv.ko and of khv-kunit.ko, would overwrite each other's. Add
 * each new file of hyperv/core/ here.
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
