// SPDX-License-Identifier: GPL-2.0-only
/*
 * Linked into upstream's selftests with -Wl,--wrap=ioctl, so that the 6.12 suite also runs on a
 * 6.1 host: a host without KVM_SET_USER_MEMORY_REGION2 is served by the older call, which has the
 * same fields in front. Where the host has the newer call, nothing is changed.
 */
#include <errno.h>
#include <stdarg.h>
#include <string.h>
#include <linux/kvm.h>

#ifndef KVM_SET_USER_MEMORY_REGION2
/* A suite older than the call never makes it. */
#define KVM_SET_USER_MEMORY_REGION2 0
#define KVM_CAP_USER_MEMORY2	    (-1L)
#endif

int __real_ioctl(int fd, unsigned long request, void *arg);
int __wrap_ioctl(int fd, unsigned long request, ...);

int __wrap_ioctl(int fd, unsigned long request, ...)
{
	struct kvm_userspace_memory_region region;
	va_list args;
	void *arg;
	int ret;

	va_start(args, request);
	arg = va_arg(args, void *);
	va_end(args);

	ret = __real_ioctl(fd, request, arg);

	if (request == KVM_CHECK_EXTENSION && !ret && (long)arg == KVM_CAP_USER_MEMORY2)
		return 1;

	if (request && request == KVM_SET_USER_MEMORY_REGION2 && ret < 0 && errno == ENOTTY) {
		memcpy(&region, arg, sizeof(region));
		return __real_ioctl(fd, KVM_SET_USER_MEMORY_REGION, &region);
	}
	return ret;
}
