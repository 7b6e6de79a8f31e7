/* SPDX-License-Identifier: GPL-2.0-only */
/* The kernel log, record by record. */
#ifndef KHV_SELFTEST_KLOG_H
#define KHV_SELFTEST_KLOG_H

#include "uapi.h"

#define KLOG_RECORD 8192

/* From its beginning on; lseek(fd, 0, SEEK_END) to begin behind its end. */
int klog_open(void);
/* The next record, if there is one. */
bool klog_next(int fd, char record[KLOG_RECORD]);
/* Go to the end. Did a record on the way hold @text, and @more, if it is not NULL? */
bool klog_says(int fd, const char *text, const char *more);

#endif
