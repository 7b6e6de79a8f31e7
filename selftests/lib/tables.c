// SPDX-License-Identifier: GPL-2.0-only
/* See tables.h. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "module.h"
#include "tables.h"

/* "3.EAX.5": leaf, register, bit; 4.EBX has none. */
static u64 need_of(const char *text)
{
	u32 leaf, bit, reg;
	char letter;

	if (!strcmp(text, "4.EBX"))
		return NEED_SPIN_COUNT;
	ASSERT(sscanf(text, "%x.E%cX.%u", &leaf, &letter, &bit) == 3 && bit < 32, "need %s", text);
	switch (letter) {
	case 'A':
		reg = KHV_EAX;
		break;
	case 'B':
		reg = KHV_EBX;
		break;
	default:
		ASSERT(letter == 'D', "need %s", text);
		reg = KHV_EDX;
	}
	return (u64)(0x40000000 + leaf) << 32 | reg << 8 | bit;
}

static void parse_needs(struct table_row *r, char *text)
{
	char *save, *part;
	u32 n = 0;

	if (!strcmp(text, "-"))
		return;
	for (part = strtok_r(text, ",", &save); part; part = strtok_r(NULL, ",", &save)) {
		ASSERT(n < MAX_NEEDS, "%s: more needs than %u", r->name, MAX_NEEDS);
		r->needs[n++] = need_of(part);
	}
}

static bool parse(char *line, struct table_row *r)
{
	u32 high, low;
	char needs[96];

	memset(r, 0, sizeof(*r));
	if (sscanf(line, "%39s 0x%x %u %u %x:%x %39s %95s %95s", r->name, &r->number, &r->count,
		   &r->stride, &high, &low, r->enlightenment, r->flags, needs) == 9) {
		r->reserved = (u64)high << 32 | low;
	} else if (sscanf(line, "%39s 0x%x %u %u %u %u %u %39s %95s %95s", r->name, &r->number,
			  &r->count, &r->input, &r->element, &r->output, &r->element_output,
			  r->enlightenment, r->flags, needs) == 10) {
		r->call = true;
		r->stride = 1;
	} else {
		/* The two heads. */
		ASSERT(!strncmp(line, "register ", 9) || !strncmp(line, "hypercall ", 10),
		       "tables: %s", line);
		return false;
	}
	parse_needs(r, needs);
	return true;
}

u32 table_rows(struct table_row rows[MAX_TABLE_ROWS])
{
	char line[512];
	u32 n = 0;
	FILE *f;

	if (!module_loaded())
		return 0;
	f = fopen(MODULE_DEBUGFS "/tables", "r");
	ASSERT(f, "tables: %s", strerror(errno));
	while (fgets(line, sizeof(line), f)) {
		ASSERT(n < MAX_TABLE_ROWS, "more than %u rows", MAX_TABLE_ROWS);
		n += parse(line, &rows[n]);
	}
	fclose(f);
	ASSERT(n, "tables has no rows");
	return n;
}

u32 table_unlisted(struct table_row rows[MAX_TABLE_ROWS], bool calls, bool (*listed)(u32 number))
{
	u32 nr = table_rows(rows), n = 0, i;

	for (i = 0; i < nr; i++) {
		if (rows[i].call != calls || listed(rows[i].number))
			continue;
		rows[n] = rows[i];
		ktap_log("%s, 0x%x: not in the list: taken from the module", rows[n].name,
			 rows[n].number);
		n++;
	}
	return n;
}

bool table_flag(const struct table_row *row, const char *flag)
{
	const char *at = row->flags;
	size_t len = strlen(flag);

	for (; *at; at += strcspn(at, ","), at += *at == ',') {
		if (strcspn(at, ",") == len && !strncmp(at, flag, len))
			return true;
	}
	return false;
}

bool table_has(u32 number, bool call)
{
	static struct table_row rows[MAX_TABLE_ROWS];
	u32 nr = table_rows(rows), i;

	for (i = 0; i < nr; i++) {
		u32 at = number - rows[i].number;

		if (rows[i].call == call && number >= rows[i].number && !(at % rows[i].stride) &&
		    at / rows[i].stride < rows[i].count)
			return true;
	}
	return false;
}

void table_show_one(struct vcpu *v, const struct table_row *row, u32 which, bool on)
{
	u64 need = row->needs[which];

	if (need == NEED_SPIN_COUNT)
		cpuid_get(&v->cpuid, HV_LEAF_HINTS)->ebx = on ? 0xfff : 0;
	else
		cpuid_assign(&v->cpuid, need, on);
}

void table_show(struct vcpu *v, const struct table_row *row, bool on)
{
	u32 i;

	for (i = 0; i < MAX_NEEDS && row->needs[i]; i++)
		table_show_one(v, row, i, on);
}
