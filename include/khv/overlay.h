/* SPDX-License-Identifier: GPL-2.0-only */
/* Pages that a register lays over guest memory. */
#ifndef KHV_OVERLAY_H
#define KHV_OVERLAY_H

#include "khv/state.h"

/**
 * khv_overlay_map() - write an image over a guest page, replacing an earlier image
 * @kvm: an owned VM, kvm->srcu held
 * @o: the overlay, either not mapped or mapped at @gpa
 * @gpa: page-aligned address in address space 0
 * @image: PAGE_SIZE bytes
 * @keep: save the RAM's contents, to restore them on unmap
 * @skip: bytes at the beginning of the page where another overlay may lie over @o: they do not tell
 *	whether the guest has changed the image
 *
 * Return: 0, -EFAULT for a page outside guest memory, -ENOMEM; nothing is changed on error.
 * Context: the register's lock held, may sleep.
 */
int khv_overlay_map(struct kvm *kvm, struct khv_overlay *o, gpa_t gpa, const u8 *image, bool keep,
		    u32 skip);

/**
 * khv_overlay_show() - write the image of a mapped overlay again
 * @kvm: an owned VM, kvm->srcu held
 * @o: overlay of a register, mapped
 * @from: bytes at the beginning of the page that stay as they are: another overlay lies there
 *
 * Context: the register's lock held, may sleep.
 */
void khv_overlay_show(struct kvm *kvm, const struct khv_overlay *o, u32 from);

/**
 * khv_overlay_unmap() - remove the image from guest memory
 * @kvm: an owned VM, kvm->srcu held
 * @o: overlay of a register; nothing happens unless it is mapped
 * @restore: write back the saved contents if the guest has not changed the image
 * @skip: as for khv_overlay_map()
 * @from: as for khv_overlay_show(), at most @skip
 *
 * Context: the register's lock held, may sleep.
 */
void khv_overlay_unmap(struct kvm *kvm, struct khv_overlay *o, bool restore, u32 skip, u32 from);

/**
 * khv_overlay_free() - free an overlay's buffers without touching guest memory
 * @o: mapped or not; an image stays in guest memory
 *
 * Context: the register's lock held, or no other user left.
 */
void khv_overlay_free(struct khv_overlay *o);

#endif
