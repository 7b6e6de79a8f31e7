/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Inserting and removing the module from within a test. Only for tests of the
 * module's life: everything else runs the same with and without it.
 */
#ifndef KHV_SELFTEST_MODULE_H
#define KHV_SELFTEST_MODULE_H

#include <stdbool.h>

#define MODULE_DEBUGFS "/sys/kernel/debug/kvm-hyperv"

/* Program option "--module FILE", else $KHV_MODULE, else the rig's places; NULL = none. */
extern const char *module_option;
const char *module_path(void);

/* 0 or -errno. */
int __module_load(void);
int __module_load_with(const char *params);
int __module_unload(void);
/* Any other module, by its file and by its name. */
int __module_insert(const char *path, const char *params);
int __module_remove(const char *name);
void module_insert(const char *path);
void module_remove(const char *name);
void module_load(void);
void module_load_with(const char *params);
void module_unload(void);

/* Skip the case unless the module is out and its file is at hand. */
void require_module_file(void);
/* The same, after a case that died: remove what it has left in. Needs module_ktap_main(). */
void module_start_clean(void);
/*
 * ktap_main() of a program that inserts and removes the module. If a case that died has left the
 * module in, remove it and fail. A module that was in before stays.
 */
int module_ktap_main(int argc, char **argv);
/* References on the module, one for each VM of its own; 0 on stock. */
long module_refs(void);
/* Assert that there are @refs again: VMs end a little after their files are closed. */
void module_expect_refs(long refs);
/* The number after "created" in debugfs: VMs taken over since load. */
unsigned int module_vms_created(void);
/* The last number of the line of debugfs' rows that begins with @name. */
unsigned long long module_count(const char *name);
/* The number of the line of debugfs' posts that begins with @name. */
unsigned long long module_posts(const char *name);
/* Uses of an enlightenment, by the name of QEMU's flag and a blank. */
unsigned long long module_uses(const char *name);

#endif
