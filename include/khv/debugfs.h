/* SPDX-License-Identifier: GPL-2.0-only */
/* Files in debugfs; see hyperv/takeover/debugfs.c. Called by hyperv/takeover/main.c. */
#ifndef KHV_DEBUGFS_H
#define KHV_DEBUGFS_H

void khv_debugfs_init(void);
void khv_debugfs_exit(void);

#endif
