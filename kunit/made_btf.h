/* SPDX-License-Identifier: GPL-2.0-only */
/* BTF written word by word, and the small kernel that the suites of BTF and of the contract ask. */
#ifndef KHV_KUNIT_MADE_BTF_H
#define KHV_KUNIT_MADE_BTF_H

#include <kunit/test.h>
#include <linux/types.h>

#include "khv/btf.h"

/* BTF that grows, word by word. */
struct btf_maker {
	const struct khv_btf *base;
	u32 words[512];
	u32 nr_words;
	char strings[512];
	u32 nr_strings;
	u32 next_id;
};

void made_begin(struct btf_maker *m, const struct khv_btf *base);
u32 made_type(struct btf_maker *m, u32 kind, const char *its, u32 vlen, u32 size_or_type);
u32 made_pointer(struct btf_maker *m, u32 to);
u32 made_array(struct btf_maker *m, u32 of, u32 nr);
void made_member(struct btf_maker *m, const char *its, u32 type, u32 bits);
void made_parameter(struct btf_maker *m, const char *its, u32 type);

/* Up to str_len, and what Linux 7.3 appends. */
#define OLD_HEADER 24
#define NEW_HEADER 32

void made_finish_with(const struct btf_maker *m, u32 header);
void made_finish(const struct btf_maker *m);

/* What made_finish() wrote last. */
#define MADE_LEN 4096

extern u8 made_data[MADE_LEN];
extern u32 made_len;
extern u32 made_index[2][MADE_LEN / KHV_BTF_MIN_TYPE];
extern struct btf_maker made_maker;

/* Ids in the kernel of these tests. */
struct made_id {
	u32 u64, u32, s32, boolean, character, vcpu, color, wide, function, pointer;
};

extern struct made_id made_id;

void made_kernel(struct btf_maker *m);
void made_open_kernel(struct kunit *test, struct khv_btf *btf);

#endif /* KHV_KUNIT_MADE_BTF_H */
