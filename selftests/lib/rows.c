// SPDX-License-Identifier: GPL-2.0-only
/* Counts of the module and of KVM: see rows.h. */
#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "module.h"
#include "rows.h"

#define NAME_MAX_BYTES 256

/* Columns: name, number, "r", "w", "rw" or "-", then counts, those of the fast path last. */
static bool parse(const char *line, struct row *row)
{
	unsigned long long count[4];
	int cells = sscanf(line, "%39s 0x%x %7s %llu %llu %llu %llu", row->name, &row->number,
			   row->atomic, &count[0], &count[1], &count[2], &count[3]);

	if (cells != 7 && cells != 5)
		return false;
	row->call = cells == 5;
	if (row->call)
		row->counts = (struct row_counts){ .writes = count[0], .fast_writes = count[1] };
	else
		row->counts = (struct row_counts){ count[0], count[1], count[2], count[3] };
	return true;
}

static FILE *open_rows(void)
{
	FILE *f = fopen(MODULE_DEBUGFS "/rows", "r");

	ASSERT(f, "rows: %s", strerror(errno));
	return f;
}

u32 rows_all(struct row *rows, u32 max)
{
	FILE *f = open_rows();
	char line[256];
	u32 n = 0;

	while (fgets(line, sizeof(line), f)) {
		ASSERT(n < max, "more than %u rows", max);
		n += parse(line, &rows[n]);
	}
	fclose(f);
	return n;
}

static bool find_row(u32 number, struct row *row)
{
	bool found = false;
	char line[256];
	FILE *f;

	if (!module_loaded())
		return false;
	f = open_rows();
	while (!found && fgets(line, sizeof(line), f))
		found = parse(line, row) && row->number == number;
	fclose(f);
	ASSERT(found, "debugfs has no row 0x%x", number);
	return true;
}

struct row_counts row_counts(u32 number)
{
	struct row row;

	return find_row(number, &row) ? row.counts : (struct row_counts){ 0 };
}

bool row_is_atomic(u32 number, bool write)
{
	struct row row;

	return find_row(number, &row) && strchr(row.atomic, write ? 'w' : 'r');
}

struct kvm_stat stat_open(struct vcpu *v, const char *name)
{
	struct kvm_stat s = { .fd = ioctl(v->fd, KVM_GET_STATS_FD, NULL) };
	struct kvm_stats_header h;
	struct {
		struct kvm_stats_desc desc;
		char name[NAME_MAX_BYTES];
	} d;
	size_t size;
	u32 i;

	ASSERT(s.fd >= 0, "KVM_GET_STATS_FD: %s", strerror(errno));
	ASSERT_EQ(pread(s.fd, &h, sizeof(h), 0), sizeof(h));
	size = sizeof(d.desc) + h.name_size;
	ASSERT(size <= sizeof(d), "names of %u bytes", h.name_size);
	for (i = 0; i < h.num_desc; i++) {
		ASSERT_EQ(pread(s.fd, &d, size, (off_t)(h.desc_offset + i * size)), size);
		if (strcmp(d.name, name))
			continue;
		s.offset = h.data_offset + d.desc.offset;
		return s;
	}
	FAIL("no statistic %s", name);
}

u64 stat_read(const struct kvm_stat *s)
{
	u64 value;

	ASSERT_EQ(pread(s->fd, &value, sizeof(value), (off_t)s->offset), sizeof(value));
	return value;
}

void stat_close(struct kvm_stat *s)
{
	close(s->fd);
}

void wait_halted(const struct kvm_stat *s)
{
	while (!stat_read(s))
		sched_yield();
}
