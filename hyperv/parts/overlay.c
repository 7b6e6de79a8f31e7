// SPDX-License-Identifier: GPL-2.0-only
/*
 * Overlay pages: guest pages that a register lays over the guest's RAM. A module cannot hide RAM,
 * because user space owns the memslots. So write the image into the RAM, and restore the RAM's
 * contents afterwards; Documentation/divergences.rst, D1. The caller holds the register's lock.
 */
#include <linux/kvm_host.h>
#include <linux/slab.h>

#include "khv/overlay.h"
#include "khv/port.h"
#include "khv/state.h"

int khv_overlay_map(struct kvm *kvm, struct khv_overlay *o, gpa_t gpa, const u8 *image, bool keep,
		    u32 skip)
{
	struct khv_overlay new = { .gpa = gpa, .mapped = true };
	bool unchanged = false;
	int ret = -ENOMEM;

	new.image = kmemdup(image, PAGE_SIZE, GFP_KERNEL_ACCOUNT);
	if (!new.image)
		return ret;
	if (keep) {
		new.saved = kmalloc(PAGE_SIZE, GFP_KERNEL_ACCOUNT);
		if (!new.saved)
			goto err_free;
		ret = khv_kvm_read_guest(kvm, gpa, new.saved, PAGE_SIZE);
		if (ret)
			goto err_free;
		unchanged = o->mapped &&
			    !memcmp(new.saved + skip, o->image + skip, PAGE_SIZE - skip);
	}
	ret = khv_kvm_write_guest(kvm, gpa, image, PAGE_SIZE);
	if (ret)
		goto err_free;
	/* The old image was there: keep the contents that were saved below it. */
	if (unchanged)
		swap(new.saved, o->saved);
	khv_overlay_free(o);
	*o = new;
	return 0;

err_free:
	khv_overlay_free(&new);
	return ret;
}

void khv_overlay_show(struct kvm *kvm, const struct khv_overlay *o, u32 from)
{
	khv_kvm_write_guest(kvm, o->gpa + from, o->image + from, PAGE_SIZE - from);
}

/*
 * Does the RAM still hold the image from @at on? Compare it in pieces: a buffer for the whole page
 * might not be had, and the RAM's own contents would be lost.
 */
static bool still_shows(struct kvm *kvm, const struct khv_overlay *o, u32 at)
{
	u8 now[256];
	u32 len;

	for (; at < PAGE_SIZE; at += len) {
		len = min_t(u32, sizeof(now), PAGE_SIZE - at);
		if (khv_kvm_read_guest(kvm, o->gpa + at, now, len) ||
		    memcmp(now, o->image + at, len))
			return false;
	}
	return true;
}

void khv_overlay_unmap(struct kvm *kvm, struct khv_overlay *o, bool restore, u32 skip, u32 from)
{
	if (!o->mapped)
		return;
	/*
	 * The guest can write to the page, which a true overlay would prevent. Keep what it wrote
	 * rather than restore what the page hid.
	 */
	if (restore && o->saved && still_shows(kvm, o, skip))
		khv_kvm_write_guest(kvm, o->gpa + from, o->saved + from, PAGE_SIZE - from);
	khv_overlay_free(o);
}

void khv_overlay_free(struct khv_overlay *o)
{
	kfree(o->saved);
	kfree(o->image);
	*o = (struct khv_overlay){};
}
