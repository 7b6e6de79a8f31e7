// SPDX-License-Identifier: GPL-2.0-only
/*
 * Steps that compare the code of KVM before and after: every section of code is read through
 * /proc/kcore at text-save and again at text-compare. sysfs says where a section is; the module's
 * file says how long it is and which function is where.
 */
#include <elf.h>
#include <fcntl.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "init.h"

struct code {
	const char *module; /* file */
	const char *name;
	size_t section;
	uint64_t addr;
	size_t len;
	uint8_t *bytes;
};

static struct code codes[64];
static size_t nr_codes;

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
	const Elf64_Ehdr *elf;
	char path[128];
	struct stat st;
	int fd;

	snprintf(path, sizeof(path), "/modules/%s.ko", name);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &st) || st.st_size < (off_t)sizeof(*elf)) {
		close(fd);
		return NULL;
	}
	elf = mmap(NULL, st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
	close(fd);
	return elf == MAP_FAILED || memcmp(elf->e_ident, ELFMAG, SELFMAG) ? NULL : elf;
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

		if ((s->sh_flags & (SHF_ALLOC | SHF_EXECINSTR)) != (SHF_ALLOC | SHF_EXECINSTR) ||
		    !s->sh_size || !strncmp(names + s->sh_name, ".init", 5))
			continue;
		if (nr_codes == ARRAY_SIZE(codes))
			return -1;
		*code = (struct code){
			.module = module,
			.name = names + s->sh_name,
			.section = i,
			.addr = section_address(module, names + s->sh_name),
			.len = s->sh_size,
			.bytes = malloc(s->sh_size),
		};
		if (!code->addr || !code->bytes)
			return -1;
		nr_codes++;
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

void step_text_save(struct step *step)
{
	const char *id = step->words[1];
	long start = now_ms();
	size_t i, sum = 0;
	char **m;
	int fd;

	for (m = step->words + 2; *m; m++) {
		*m = strdup(*m);
		if (!*m || codes_find(*m)) {
			done_error(id, start, "cannot find the code of %s", *m);
			return;
		}
	}
	fd = open("/proc/kcore", O_RDONLY | O_CLOEXEC);
	for (i = 0; i < nr_codes; i++) {
		if (kcore_read(fd, codes[i].addr, codes[i].bytes, codes[i].len)) {
			done_error(id, start, "cannot read %s of %s", codes[i].name,
				   codes[i].module);
			nr_codes = 0;
			close(fd);
			return;
		}
		sum += codes[i].len;
	}
	close(fd);
	report("| %zu bytes in %zu sections", sum, nr_codes);
	done(id, "ok", start);
}

static unsigned int text_differences(bool print)
{
	int fd = open("/proc/kcore", O_RDONLY | O_CLOEXEC);
	unsigned int changed = 0;
	uint8_t *bytes;
	size_t i, at;

	for (i = 0; i < nr_codes; i++) {
		const struct code *code = &codes[i];

		bytes = malloc(code->len);
		if (!bytes || kcore_read(fd, code->addr, bytes, code->len)) {
			changed++;
			if (print)
				report("| cannot read %s of %s", code->name, code->module);
		} else if (memcmp(bytes, code->bytes, code->len)) {
			changed++;
			for (at = 0; bytes[at] == code->bytes[at]; at++)
				;
			if (print)
				report("| %s, %s+0x%zx (%s): code differs from before the load",
				       code->module, code->name, at, function_at(code, at));
		}
		free(bytes);
	}
	close(fd);
	return changed;
}

void step_text_compare(struct step *step)
{
	long start = now_ms(), deadline = start + 5000;
	const char *id = step->words[1];

	if (!nr_codes) {
		done_error(id, start, "nothing was saved");
		return;
	}
	/* KVM turns some of its static keys back a second or so after a VM has ended. */
	while (text_differences(false) && now_ms() < deadline)
		sched_yield();
	if (text_differences(true))
		done_error(id, start, "code of KVM differs from before the load");
	else
		done(id, "ok", start);
}
