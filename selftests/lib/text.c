// SPDX-License-Identifier: GPL-2.0-only
/*
 * Every section of code is read through /proc/kcore. sysfs says where a section is; the module's
 * file says how long it is and which function is where. See text.h.
 */
#include <elf.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "text.h"

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))

struct code {
	char module[32]; /* file */
	const char *name;
	size_t section;
	uint64_t addr, was_addr; /* now, and when it was remembered */
	size_t len;
	uint8_t *bytes;
};

static struct code codes[64];
static size_t nr_codes;

/*
 * All sections of the modules: code refers to data, too, and alternatives that were not taken to
 * the code of the module's start, which is gone.
 */
static struct place {
	char module[32];
	const char *section;
	uint64_t was, is;
	size_t len;
} places[256];
static size_t nr_places;

static int kcore_read(int fd, uint64_t addr, void *buf, size_t len)
{
	static Elf64_Phdr *segments;
	static int nr_segments;
	int i;

	if (!segments) {
		Elf64_Ehdr head;

		if (pread(fd, &head, sizeof(head), 0) != sizeof(head))
			return -1;
		segments = calloc(head.e_phnum, sizeof(*segments));
		for (i = 0; segments && i < head.e_phnum; i++) {
			if (pread(fd, &segments[i], sizeof(*segments),
				  head.e_phoff + i * sizeof(*segments)) != sizeof(*segments))
				return -1;
		}
		nr_segments = segments ? head.e_phnum : 0;
	}
	for (i = 0; i < nr_segments; i++) {
		Elf64_Phdr *s = &segments[i];

		if (s->p_type != PT_LOAD || addr < s->p_vaddr ||
		    addr + len > s->p_vaddr + s->p_memsz)
			continue;
		if (pread(fd, buf, len, s->p_offset + (addr - s->p_vaddr)) != (ssize_t)len)
			return -1;
		return 0;
	}
	return -1;
}

/* A module's file, which stays in memory: NULL if it is none. */
static const Elf64_Ehdr *module_file(const char *name)
{
	static struct {
		char name[32];
		const Elf64_Ehdr *elf;
	} files[4];
	const Elf64_Ehdr *elf;
	char path[128];
	struct stat st;
	size_t i;
	int fd;

	for (i = 0; i < ARRAY_SIZE(files) && files[i].elf; i++) {
		if (!strcmp(files[i].name, name))
			return files[i].elf;
	}
	if (i == ARRAY_SIZE(files))
		return NULL;
	snprintf(path, sizeof(path), "/modules/%s.ko", name);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &st) || st.st_size < (off_t)sizeof(*elf)) {
		close(fd);
		return NULL;
	}
	elf = mmap(NULL, st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
	close(fd);
	if (elf == MAP_FAILED || memcmp(elf->e_ident, ELFMAG, SELFMAG))
		return NULL;
	snprintf(files[i].name, sizeof(files[i].name), "%s", name);
	files[i].elf = elf;
	return elf;
}

static const Elf64_Shdr *sections_of(const Elf64_Ehdr *elf)
{
	return (const void *)((const char *)elf + elf->e_shoff);
}

static uint64_t section_address(const char *module, const char *section)
{
	unsigned long long addr = 0;
	char path[192], *c;
	FILE *file;

	snprintf(path, sizeof(path), "/sys/module/%s/sections/%s", module, section);
	for (c = path; *c && strncmp(c, "/sections/", 10); c++) {
		if (*c == '-')
			*c = '_';
	}
	file = fopen(path, "re");
	if (file && fscanf(file, "%llx", &addr) != 1)
		addr = 0;
	if (file)
		fclose(file);
	return addr;
}

static int places_add(const char *module, const char *section, size_t len)
{
	struct place *p = &places[nr_places];

	if (nr_places == ARRAY_SIZE(places))
		return -1;
	snprintf(p->module, sizeof(p->module), "%s", module);
	p->section = section;
	p->was = section_address(module, section);
	p->is = p->was;
	p->len = len;
	nr_places++;
	return 0;
}

/* The sections of code that stay after the module's start. */
static int codes_find(const char *module)
{
	const Elf64_Ehdr *elf = module_file(module);
	const Elf64_Shdr *sections;
	const char *names;
	size_t i;

	if (!elf)
		return -1;
	sections = sections_of(elf);
	names = (const char *)elf + sections[elf->e_shstrndx].sh_offset;
	for (i = 0; i < elf->e_shnum; i++) {
		const Elf64_Shdr *s = &sections[i];
		struct code *code = &codes[nr_codes];

		if (!(s->sh_flags & SHF_ALLOC) || !s->sh_size)
			continue;
		if (places_add(module, names + s->sh_name, s->sh_size))
			return -1;
		if (!(s->sh_flags & SHF_EXECINSTR) || !strncmp(names + s->sh_name, ".init", 5))
			continue;
		if (nr_codes == ARRAY_SIZE(codes))
			return -1;
		*code = (struct code){
			.name = names + s->sh_name,
			.section = i,
			.addr = section_address(module, names + s->sh_name),
			.was_addr = section_address(module, names + s->sh_name),
			.len = s->sh_size,
			.bytes = malloc(s->sh_size),
		};
		snprintf(code->module, sizeof(code->module), "%s", module);
		nr_codes++;
		if (!code->addr || !code->bytes)
			return -1;
	}
	return 0;
}

static const char *function_at(const struct code *code, size_t at)
{
	const Elf64_Ehdr *elf = module_file(code->module);
	const Elf64_Shdr *sections = sections_of(elf);
	const Elf64_Sym *sym;
	size_t i, n;

	for (i = 0; i < elf->e_shnum; i++) {
		if (sections[i].sh_type != SHT_SYMTAB)
			continue;
		sym = (const void *)((const char *)elf + sections[i].sh_offset);
		for (n = sections[i].sh_size / sizeof(*sym); n; n--, sym++) {
			if (ELF64_ST_TYPE(sym->st_info) == STT_FUNC &&
			    sym->st_shndx == code->section && at >= sym->st_value &&
			    at - sym->st_value < sym->st_size)
				return (const char *)elf + sections[sections[i].sh_link].sh_offset +
				       sym->st_name;
		}
	}
	return "?";
}

void text_forget(void)
{
	while (nr_codes)
		free(codes[--nr_codes].bytes);
	nr_places = 0;
}

int text_moved(const char *module)
{
	size_t i;

	for (i = 0; i < nr_places; i++) {
		struct place *p = &places[i];

		if (strcmp(p->module, module))
			continue;
		p->is = section_address(module, p->section);
		if (p->was && !p->is)
			return -1;
	}
	for (i = 0; i < nr_codes; i++) {
		if (!strcmp(codes[i].module, module))
			codes[i].addr = section_address(module, codes[i].name);
	}
	return 0;
}

long text_remember(const char *module)
{
	size_t i = nr_codes;
	long sum = 0;
	int fd;

	if (codes_find(module))
		return -1;
	fd = open("/proc/kcore", O_RDONLY | O_CLOEXEC);
	for (; i < nr_codes && sum >= 0; i++) {
		if (kcore_read(fd, codes[i].addr, codes[i].bytes, codes[i].len))
			sum = -1;
		else
			sum += codes[i].len;
	}
	close(fd);
	return sum;
}

/* Where an address of then is now. */
static uint64_t now_at(uint64_t addr)
{
	size_t i;

	for (i = 0; i < nr_places; i++) {
		if (addr >= places[i].was && addr - places[i].was < places[i].len)
			return addr - places[i].was + places[i].is;
	}
	return addr;
}

/*
 * Bytes differ at @at: are they part of a number of @len bytes at @start, an address or the
 * distance to one, that means the same place as before?
 */
static bool means_the_same(const struct code *code, const uint8_t *is, size_t start, size_t len)
{
	int64_t was = 0, now = 0;
	int32_t was32, now32;
	uint64_t behind;

	if (start + len > code->len)
		return false;
	if (len == sizeof(was)) {
		memcpy(&was, code->bytes + start, len);
		memcpy(&now, is + start, len);
		return now_at(was) == (uint64_t)now;
	}
	memcpy(&was32, code->bytes + start, len);
	memcpy(&now32, is + start, len);
	if (now_at((int64_t)was32) == (uint64_t)(int64_t)now32)
		return true;
	/* The distance is from the next instruction: an operand of up to four bytes may follow. */
	for (behind = len; behind <= 2 * len; behind++) {
		if (now_at(code->was_addr + start + behind + was32) ==
		    code->addr + start + behind + now32)
			return true;
	}
	return false;
}

/* How many bytes from @at on refer to what they did, or 0. */
static size_t refers_as_before(const struct code *code, const uint8_t *is, size_t at)
{
	size_t back;

	for (back = 0; back < sizeof(int64_t) && back <= at; back++) {
		if (back < sizeof(int32_t) && means_the_same(code, is, at - back, sizeof(int32_t)))
			return sizeof(int32_t) - back;
		if (means_the_same(code, is, at - back, sizeof(int64_t)))
			return sizeof(int64_t) - back;
	}
	return 0;
}

static unsigned int compare_code(const struct code *code, const uint8_t *is,
				 bool (*counts)(const struct text_difference *d))
{
	struct text_difference d = {
		.module = code->module,
		.section = code->name,
		.was = code->bytes,
		.is = is,
		.len = code->len,
	};
	unsigned int n = 0;
	size_t same;

	while (d.at < d.len) {
		if (d.was[d.at] != d.is[d.at]) {
			same = refers_as_before(code, is, d.at);
			if (same) {
				d.at += same;
				continue;
			}
			d.function = function_at(code, d.at);
			n += !counts || counts(&d);
			while (d.at < d.len && d.was[d.at] != d.is[d.at])
				d.at++;
		}
		d.at++;
	}
	return n;
}

unsigned int text_compare(bool (*counts)(const struct text_difference *d))
{
	int fd = open("/proc/kcore", O_RDONLY | O_CLOEXEC);
	unsigned int n = 0;
	uint8_t *bytes;
	size_t i;

	for (i = 0; i < nr_codes; i++) {
		const struct code *code = &codes[i];

		bytes = malloc(code->len);
		if (!bytes || kcore_read(fd, code->addr, bytes, code->len))
			n++;
		else if (memcmp(bytes, code->bytes, code->len))
			n += compare_code(code, bytes, counts);
		free(bytes);
	}
	close(fd);
	return n;
}

/* Is there a no-operation of @len bytes in one, and a jump of the same length in the other? */
static bool toggled(const uint8_t *a, const uint8_t *b, const uint8_t *nop, uint8_t jump,
		    size_t len)
{
	return (!memcmp(a, nop, len) && b[0] == jump) || (!memcmp(b, nop, len) && a[0] == jump);
}

bool text_is_static_key(const struct text_difference *d)
{
	static const uint8_t nop5[] = { 0x0f, 0x1f, 0x44, 0x00, 0x00 }, nop2[] = { 0x66, 0x90 };
	size_t i, at;

	for (i = 0; i < sizeof(nop5) && i <= d->at; i++) {
		at = d->at - i;
		if (at + sizeof(nop5) <= d->len &&
		    toggled(d->was + at, d->is + at, nop5, 0xe9, sizeof(nop5)))
			return true;
		if (i < sizeof(nop2) && at + sizeof(nop2) <= d->len &&
		    toggled(d->was + at, d->is + at, nop2, 0xeb, sizeof(nop2)))
			return true;
	}
	return false;
}
