/* SPDX-License-Identifier: GPL-2.0-only */
/* Files in debugfs; see hyperv/takeover/debugfs.c and debugfs_vm.c. */
#ifndef KHV_DEBUGFS_H
#define KHV_DEBUGFS_H

struct khv_vm;

/* Called by hyperv/takeover/main.c. */
void khv_debugfs_init(void);
void khv_debugfs_exit(void);

/**
 * khv_debugfs_vm_create() - add the folder of a VM
 * @vm: a VM that is complete, but for its vCPUs
 *
 * A folder that cannot be had is left out. Context: may sleep.
 */
void khv_debugfs_vm_create(struct khv_vm *vm);

/**
 * khv_debugfs_vm_remove() - remove the folder of a VM; a no-op if that is done
 * @vm: a VM that ends, with all its vCPUs
 *
 * Waits for those who read a file of it; from then on a file that is open gives EIO.
 *
 * Context: may sleep; no lock held that a reader takes (&khv_vm.vps_lock).
 */
void khv_debugfs_vm_remove(struct khv_vm *vm);

#endif
