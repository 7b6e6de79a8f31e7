/* SPDX-License-Identifier: GPL-2.0-only */
/* What the files of the module and those of a VM share. Context: process, no lock held. */
#ifndef KHV_TAKEOVER_DEBUGFS_H
#define KHV_TAKEOVER_DEBUGFS_H

#include "khv/counts.h"

struct dentry;
struct khv_vm;

/* Create the folder that has one for each VM, in that of the module. */
void khv_debugfs_vms_init(struct dentry *root);

/* What became of an exit that the fast path examined, by &enum khv_fast_result. */
extern const char *const khv_fast_result[KHV_NR_FAST_RESULTS];

/* Add up the counts of @vm, or, if it is NULL, of all VMs, also those that have ended. */
void khv_counts_collect(struct khv_vm *vm, struct khv_counts *counts, u64 *shown);

/* Create the files "enlightenments" and "rows" of @vm, or, if it is NULL, of all VMs. */
void khv_debugfs_add_counts(struct dentry *folder, struct khv_vm *vm);

#endif
