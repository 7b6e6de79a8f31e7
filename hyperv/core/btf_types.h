/* SPDX-License-Identifier: GPL-2.0-only */
/* Types and names in BTF, for the files that read it. Every id and offset may be passed. */
#ifndef KHV_BTF_TYPES_H
#define KHV_BTF_TYPES_H

#include <uapi/linux/btf.h>

#include "khv/btf.h"

/*
 * Fields of btf_type.info as Linux 7.3 has them. Bits that older kernels do not use are 0 in their
 * BTF, and the macros of their headers would cut what a newer tool wrote.
 */
static inline u32 khv_btf_kind(const struct btf_type *t)
{
	return t->info >> 24 & 0x7f;
}

static inline u32 khv_btf_vlen(const struct btf_type *t)
{
	return t->info & 0xffffff;
}

/* Return: the type, or NULL for void and for an id that does not exist. */
const struct btf_type *khv_btf_type(const struct khv_btf *btf, u32 id);

/* Return: the name, "" for a type without one. */
const char *khv_btf_name(const struct khv_btf *btf, u32 offset);

/* Look through typedefs and qualifiers; @id becomes that of the type behind them. */
const struct btf_type *khv_btf_resolve(const struct khv_btf *btf, u32 *id);

#endif
