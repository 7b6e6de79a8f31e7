// SPDX-License-Identifier: GPL-2.0-only
/* See image.h. */
#include <stdlib.h>
#include <string.h>

#include "image.h"
#include "ktap.h"

#define CHUNK 64 /* bytes of a line */

static u64 add_to_sum(u64 sum, u64 offset, const u8 *bytes, size_t n)
{
	size_t i;

	sum = (sum ^ offset) * 0x100000001b3ULL;
	for (i = 0; i < n; i++)
		sum = (sum ^ bytes[i]) * 0x100000001b3ULL;
	return sum;
}

static bool is_zero(const u8 *bytes, size_t n)
{
	size_t i;

	for (i = 0; i < n; i++)
		if (bytes[i])
			return false;
	return true;
}

static u64 print_part(const char *name, const struct image_part *part, u64 sum)
{
	size_t at, n, i;

	for (at = 0; at < part->size; at += n) {
		const u8 *bytes = (const u8 *)part->at + at;

		n = part->size - at < CHUNK ? part->size - at : CHUNK;
		if (is_zero(bytes, n))
			continue;
		printf("state %s %s %zx ", name, part->name, at);
		for (i = 0; i < n; i++)
			printf("%02x", bytes[i]);
		putchar('\n');
		sum = add_to_sum(sum, at, bytes, n);
	}
	return sum;
}

void image_print(const char *name, const struct image_part *parts, u32 nr)
{
	u64 sum = 0;
	u32 i;

	for (i = 0; i < nr; i++)
		sum = print_part(name, &parts[i], sum);
	printf("state %s end %llx\n", name, (unsigned long long)sum);
	fflush(stdout);
}

static const struct image_part *find(const char *name, const struct image_part *parts, u32 nr)
{
	u32 i;

	for (i = 0; i < nr; i++)
		if (!strcmp(parts[i].name, name))
			return &parts[i];
	FAIL("there is no part %s", name);
}

static size_t from_hex(u8 *bytes, const char *text)
{
	unsigned int byte;
	size_t n = 0;

	while (n < CHUNK && sscanf(text + 2 * n, "%2x", &byte) == 1)
		bytes[n++] = (u8)byte;
	return n;
}

void image_load(FILE *f, const char *name, const struct image_part *parts, u32 nr)
{
	char line[512], who[32], part_name[32], rest[2 * CHUNK + 1];
	const struct image_part *part;
	u64 sum = 0;
	unsigned long long offset;
	u8 bytes[CHUNK];
	size_t n;
	u32 i;

	for (i = 0; i < nr; i++)
		memset(parts[i].at, 0, parts[i].size);
	while (fgets(line, sizeof(line), f)) {
		if (sscanf(line, "state %31s %31s %llx %128s", who, part_name, &offset, rest) < 3 ||
		    strcmp(who, name))
			continue;
		if (!strcmp(part_name, "end")) {
			ASSERT(offset == sum, "%s: the sum is %llx, not %llx", name,
			       (unsigned long long)sum, offset);
			return;
		}
		part = find(part_name, parts, nr);
		n = from_hex(bytes, rest);
		ASSERT(offset <= part->size && n <= part->size - offset, "%s %s: at %llx", name,
		       part_name, offset);
		memcpy((u8 *)part->at + offset, bytes, n);
		sum = add_to_sum(sum, offset, bytes, n);
	}
	FAIL("the file has no end of %s", name);
}
