// SPDX-License-Identifier: GPL-2.0-only
/* Nothing but the name: see Kbuild. */
#include <linux/module.h>

MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("A module with the name of a vendor module of KVM and none of its functions");
