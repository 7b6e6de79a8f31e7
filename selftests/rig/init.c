// SPDX-License-Identifier: GPL-2.0-only
/*
 * PID 1 of the emulated hosts: mounts, carries out the steps of /etc/steps one by one, reports
 * each on the results channel (ttyS1) and powers the machine off. It judges nothing: whether an
 * outcome is right is decided outside, by report.awk. Owns the machine; never returns.
 *
 * Steps, one a line, words separated by blanks:
 *	load FILE [PARAMETERS]			insert /modules/FILE; the boot ends if it fails
 *	phase NAME				a mark for the report
 *	run ID SECONDS PROGRAM [ARGUMENTS]	a test, in a process group of its own
 *	retry COUNT TEXT			the next test may fail COUNT times if it prints TEXT
 *	insmod ID ERRNO MODULE [PARAMETERS]	insert; ERRNO 0 or a name such as EINVAL
 *	rmmod ID ERRNO MODULE			remove
 *	stay ID MODULE				remove, which never ends; the module stays
 *	log ID TEXT				the last step must have put TEXT into the kernel log
 *	cycle ID COUNT MODULE			insert and remove COUNT times
 *	kunit ID MODULE				insert a KUnit module, report its results, remove it
 *	text-save ID MODULE...			remember the code bytes of these modules
 *	text-compare ID				they must be the same again
 *	kmemleak-clear / kmemleak-scan ID	when the kernel has kmemleak
 *	write PATH VALUE			for example a sysctl
 *	leave ID HOW SECONDS PROGRAM [ARGUMENTS]	once it prints "ready", end the boot by
 *						reboot, poweroff or kexec; the last step
 *
 * Reports, one a line: "@ WORD ..." from here, "| ..." output of a test, "k ..." kernel log.
 *	@ begin RELEASE		@ phase NAME	@ start ID	@ done ID OUTCOME MILLISECONDS
 *	@ retry ID OUTCOME	it failed in the manner foreseen, and runs again
 *	@ kernel TEXT		a complaint of the kernel (oops, warning, lockdep ...)
 *	@ leave ID HOW		the last step; the console and the emulator's end tell the rest
 *	@ end			the last line: without it the log is cut
 * OUTCOME: exit:N, signal:N, timeout, ok, or error:TEXT (blanks as underscores).
 * When an insmod fails that should succeed, the rest of its phase is reported and not run.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/kexec.h>
#include <linux/reboot.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/io.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))
#define MAX_WORDS     64
#define LINE_SIZE     4096
#define STEP_LOG_SIZE (256 * 1024)

static FILE *results;
static int kmsg = -1;

/* The kernel log since the start of the current step. */
static char step_log[STEP_LOG_SIZE];
static size_t step_log_len;
static size_t step_log_reported;
static unsigned int step_complaints;

/* The phase lost its module: nothing in it would mean anything. */
static bool phase_lost;

static void report(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vfprintf(results, format, args);
	va_end(args);
	fputc('\n', results);
	fflush(results);
}

static long now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000L + now.tv_nsec / 1000000;
}

static void __attribute__((noreturn)) power_off(void)
{
	const char *word = "Shutdown";

	report("@ end");
	tcdrain(fileno(results));
	sync();
	/* Bochs has no ACPI power-off that Linux finds; it listens on this port instead. */
	if (!access("/etc/bochs", F_OK) && !iopl(3)) {
		while (*word)
			outb(*word++, 0x8900);
	}
	reboot(RB_POWER_OFF);
	reboot(RB_AUTOBOOT);
	for (;;)
		pause();
}

/* ---- kernel log ---- */

static bool is_complaint(const char *text)
{
	/* clang-format off */
	static const char *const words[] = {
		"BUG:", "BUG ", "kernel BUG at", "WARNING:", "Oops", "Kernel panic", "KASAN:",
		"UBSAN:", "general protection fault", "INFO: task ", "INFO: rcu", "rcu: INFO",
		"possible recursive locking", "possible circular locking",
		"inconsistent lock state", "suspicious RCU usage", "invalid wait context",
		"unchecked MSR access", "list_add corruption", "list_del corruption",
		"refcount_t:", "DEBUG_LOCKS_WARN_ON", "ODEBUG:",
		"bad: scheduling from the idle thread",
	};
	/* clang-format on */
	size_t i;

	/* A test program that died of a signal: its own exit status tells. */
	if (!strncmp(text, "traps:", 6))
		return false;
	for (i = 0; i < ARRAY_SIZE(words); i++) {
		if (strstr(text, words[i]))
			return true;
	}
	return false;
}

static void kmsg_drain(void)
{
	char record[8192];
	ssize_t n;

	for (;;) {
		char *text, *end;

		n = read(kmsg, record, sizeof(record) - 1);
		if (n < 0 && errno == EPIPE) {
			report("@ note kernel log records were lost");
			continue;
		}
		if (n <= 0)
			return;
		record[n] = '\0';
		text = strchr(record, ';');
		if (!text)
			continue;
		text++;
		end = strchr(text, '\n');
		if (end)
			*end = '\0';
		if (is_complaint(text)) {
			/* What came before in this step is no part of the story. */
			if (!step_complaints++)
				step_log_reported = step_log_len;
			if (step_complaints <= 5)
				report("@ kernel %s", text);
		}
		n = strlen(text);
		if (step_log_len + n + 2 > sizeof(step_log))
			continue;
		memcpy(step_log + step_log_len, text, n);
		step_log_len += n;
		step_log[step_log_len++] = '\n';
		step_log[step_log_len] = '\0';
	}
}

/* Forward the current step's part of the kernel log that was not forwarded yet. */
static void kmsg_forward(void)
{
	char *line = step_log + step_log_reported;

	while (*line) {
		char *end = strchrnul(line, '\n');

		report("k %.*s", (int)(end - line), line);
		line = *end ? end + 1 : end;
	}
	step_log_reported = step_log_len;
}

static void step_log_reset(void)
{
	kmsg_drain();
	step_log_len = 0;
	step_log_reported = 0;
	step_log[0] = '\0';
	step_complaints = 0;
}

/* ---- steps ---- */

static void done(const char *id, const char *outcome, long start)
{
	kmsg_drain();
	if (step_complaints ||
	    (strcmp(outcome, "ok") && strcmp(outcome, "exit:0") && strcmp(outcome, "exit:4")))
		kmsg_forward();
	report("@ done %s %s %ld", id, outcome, now_ms() - start);
}

static void done_error(const char *id, long start, const char *format, ...)
{
	char text[512] = "error:";
	va_list args;
	char *c;

	va_start(args, format);
	vsnprintf(text + 6, sizeof(text) - 6, format, args);
	va_end(args);
	for (c = text; *c; c++) {
		if (*c == ' ')
			*c = '_';
	}
	kmsg_drain();
	done(id, text, start);
}

static const char *errno_name(int err)
{
	return err ? strerrorname_np(err) : "0";
}

static int insert(const char *module, const char *parameters)
{
	char path[256];
	int fd, err = 0;

	snprintf(path, sizeof(path), "/modules/%s.ko", module);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return errno;
	if (syscall(SYS_finit_module, fd, parameters, 0))
		err = errno;
	close(fd);
	return err;
}

static int removal(const char *module)
{
	char name[256];
	char *c;

	snprintf(name, sizeof(name), "%s", module);
	for (c = name; *c; c++) {
		if (*c == '-')
			*c = '_';
	}
	return syscall(SYS_delete_module, name, O_NONBLOCK) ? errno : 0;
}

static void join(char *buf, size_t size, char **words)
{
	buf[0] = '\0';
	while (*words) {
		strncat(buf, *words, size - strlen(buf) - 1);
		if (*++words)
			strncat(buf, " ", size - strlen(buf) - 1);
	}
}

/* Forward output line by line, so that a line of ours never lands inside one of a test's. */
struct lines {
	char buf[LINE_SIZE];
	size_t len;
	bool has_retry_text;
};

/* What "retry" said about the next test. */
static long retries;
static char retry_text[256];

static void lines_flush(struct lines *lines)
{
	lines->buf[lines->len] = '\0';
	if (retries && strstr(lines->buf, retry_text))
		lines->has_retry_text = true;
	report("| %s", lines->buf);
	lines->len = 0;
}

static void lines_add(struct lines *lines, const char *data, size_t n)
{
	while (n--) {
		if (*data == '\n' || lines->len == sizeof(lines->buf) - 1)
			lines_flush(lines);
		if (*data != '\n' && *data != '\r')
			lines->buf[lines->len++] = *data;
		data++;
	}
}

static void lines_end(struct lines *lines)
{
	if (lines->len)
		lines_flush(lines);
}

static void reap_orphans(void)
{
	while (waitpid(-1, NULL, WNOHANG) > 0)
		;
}

static void child(char *program, char **argv, int out)
{
	static char *const envp[] = { "PATH=/bin", "HOME=/tmp", "TERM=dumb", NULL };
	int null = open("/dev/null", O_RDONLY);
	sigset_t none;

	setsid();
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	dup2(null, 0);
	dup2(out, 1);
	dup2(out, 2);
	if (chdir("/tmp"))
		_exit(126);
	argv[0] = program;
	execve(program, argv, envp);
	dprintf(2, "cannot execute %s: %s\n", program, strerror(errno));
	_exit(127);
}

/* Returns true when the test is to run again. */
static bool run_once(const char *id, char **words)
{
	long seconds = strtol(words[2], NULL, 0);
	long start = now_ms(), deadline = start + seconds * 1000;
	struct lines lines = { .has_retry_text = false };
	bool timed_out = false, exited = false, eof = false;
	char program[256], outcome[32];
	int fds[2], status = 0;
	long killed = 0;
	pid_t pid;

	/* Upstream's programs open their own ELF file by their first argument. */
	snprintf(program, sizeof(program), "/bin/%s", words[3]);
	if (pipe2(fds, O_CLOEXEC)) {
		done_error(id, start, "pipe: %s", strerror(errno));
		return false;
	}
	fflush(NULL);
	pid = fork();
	if (!pid)
		child(program, words + 3, fds[1]);
	close(fds[1]);

	for (;;) {
		struct pollfd pfd = { .fd = eof ? -1 : fds[0], .events = POLLIN };
		char data[4096];
		ssize_t n;

		if (poll(&pfd, 1, 20) > 0) {
			n = read(fds[0], data, sizeof(data));
			if (n > 0)
				lines_add(&lines, data, n);
			else
				eof = true;
		}
		if (!exited && waitpid(pid, &status, WNOHANG) == pid) {
			exited = true;
			/* What it left behind ends with it, and lets go of the pipe. */
			kill(-pid, SIGKILL);
			killed = now_ms();
		}
		if (exited && (eof || now_ms() > killed + 2000))
			break;
		if (!exited && !timed_out && now_ms() > deadline) {
			timed_out = true;
			kmsg_drain();
			kill(-pid, SIGKILL);
			killed = now_ms();
		}
		if (!exited && timed_out && now_ms() > killed + 20000) {
			lines_end(&lines);
			done_error(id, start, "cannot be killed, giving the boot up");
			power_off();
		}
	}
	lines_end(&lines);
	close(fds[0]);
	reap_orphans();

	if (timed_out)
		snprintf(outcome, sizeof(outcome), "timeout");
	else if (WIFSIGNALED(status))
		snprintf(outcome, sizeof(outcome), "signal:%d", WTERMSIG(status));
	else
		snprintf(outcome, sizeof(outcome), "exit:%d", WEXITSTATUS(status));
	if (lines.has_retry_text && retries && strcmp(outcome, "exit:0")) {
		retries--;
		report("@ retry %s %s", id, outcome);
		return true;
	}
	done(id, outcome, start);
	return false;
}

static void step_run(char **words)
{
	while (run_once(words[1], words))
		;
	retries = 0;
}

static void step_load(char **words)
{
	char parameters[LINE_SIZE];
	int err;

	join(parameters, sizeof(parameters), words + 2);
	err = insert(words[1], parameters);
	if (err) {
		report("@ start load");
		done_error("load", now_ms(), "%s: %s", words[1], strerror(err));
		power_off();
	}
}

static void step_insmod(char **words, bool in)
{
	const char *id = words[1], *expected = words[2];
	char parameters[LINE_SIZE];
	long start = now_ms();
	int err;

	join(parameters, sizeof(parameters), words + 4);
	err = in ? insert(words[3], parameters) : removal(words[3]);
	if (!strcmp(errno_name(err), expected)) {
		done(id, "ok", start);
		return;
	}
	if (in && !strcmp(expected, "0"))
		phase_lost = true;
	if (in && !err)
		removal(words[3]);
	done_error(id, start, "%s %s: %s, expected %s", words[0], words[3], errno_name(err),
		   expected);
}

/* Five seconds, of which a removal that ends takes one. */
static void step_stay(const char *id, const char *module)
{
	long start = now_ms();
	int status;
	pid_t pid;

	fflush(NULL);
	pid = fork();
	if (!pid) {
		removal(module);
		_exit(0);
	}
	while (now_ms() < start + 5000) {
		if (waitpid(pid, &status, WNOHANG) == pid) {
			done_error(id, start, "the removal of %s has ended", module);
			return;
		}
		usleep(20000);
	}
	done(id, "ok", start);
}

/* Read what is left of the line verbatim: a text may hold blanks. */
static void step_log_text(const char *id, const char *text)
{
	long start = now_ms();

	if (strstr(step_log, text))
		done(id, "ok", start);
	else
		done_error(id, start, "the kernel log does not say '%s'", text);
}

static void step_cycle(char **words)
{
	const char *id = words[1], *module = words[3];
	long count = strtol(words[2], NULL, 0), start = now_ms(), i;
	int err;

	for (i = 0; i < count; i++) {
		err = insert(module, "");
		if (err) {
			done_error(id, start, "insmod %ld of %ld: %s", i + 1, count,
				   errno_name(err));
			return;
		}
		err = removal(module);
		if (err) {
			done_error(id, start, "rmmod %ld of %ld: %s", i + 1, count,
				   errno_name(err));
			return;
		}
		kmsg_drain();
		if (step_complaints) {
			done_error(id, start, "the kernel complained in round %ld of %ld", i + 1,
				   count);
			return;
		}
		step_log_len = 0;
		step_log_reported = 0;
		step_log[0] = '\0';
	}
	done(id, "ok", start);
}

static int copy_lines(const char *path)
{
	FILE *file = fopen(path, "r");
	char line[LINE_SIZE];

	if (!file)
		return -1;
	while (fgets(line, sizeof(line), file)) {
		line[strcspn(line, "\n")] = '\0';
		report("| %s", line);
	}
	fclose(file);
	return 0;
}

static void step_kunit(char **words)
{
	const char *id = words[1], *module = words[2];
	long start = now_ms();
	struct dirent *entry;
	char path[512];
	int err, suites = 0;
	DIR *dir;

	err = insert(module, "");
	if (err) {
		done_error(id, start, "insmod %s: %s", module, errno_name(err));
		return;
	}
	dir = opendir("/sys/kernel/debug/kunit");
	while (dir && (entry = readdir(dir))) {
		if (entry->d_name[0] == '.')
			continue;
		snprintf(path, sizeof(path), "/sys/kernel/debug/kunit/%s/results", entry->d_name);
		if (!copy_lines(path))
			suites++;
	}
	if (dir)
		closedir(dir);
	err = removal(module);
	if (err)
		done_error(id, start, "rmmod %s: %s", module, errno_name(err));
	else if (!suites)
		done_error(id, start, "no KUnit suite left results");
	else
		done(id, "exit:0", start);
}

/* ---- code bytes of modules ---- */

/*
 * Every section of code is read through /proc/kcore at text-save and again at text-compare. Where
 * it is says sysfs, how long it is and what is in it the module's file.
 */
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

static void step_text_save(char **words)
{
	const char *id = words[1];
	long start = now_ms();
	size_t i, sum = 0;
	char **m;
	int fd;

	for (m = words + 2; *m; m++) {
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

static void step_text_compare(char **words)
{
	long start = now_ms(), deadline = start + 5000;
	const char *id = words[1];

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

/* ---- kmemleak ---- */

#define KMEMLEAK "/sys/kernel/debug/kmemleak"

static int kmemleak_write(const char *word)
{
	int fd = open(KMEMLEAK, O_WRONLY | O_CLOEXEC);
	int ret = -1;

	if (fd >= 0) {
		ret = write(fd, word, strlen(word)) == (ssize_t)strlen(word) ? 0 : -1;
		close(fd);
	}
	return ret;
}

static void step_kmemleak_clear(void)
{
	if (!access(KMEMLEAK, F_OK) && (kmemleak_write("scan") || kmemleak_write("clear")))
		report("@ note kmemleak: %s", strerror(errno));
}

static void step_kmemleak_scan(const char *id)
{
	/* kmemleak looks only at objects older than five seconds: this wait is its own rule. */
	struct timespec age = { .tv_sec = 6 };
	long start = now_ms();
	char line[LINE_SIZE];
	int leaks = 0;
	FILE *file;

	if (access(KMEMLEAK, F_OK)) {
		done_error(id, start, "this kernel has no kmemleak");
		return;
	}
	nanosleep(&age, NULL);
	if (kmemleak_write("scan") || kmemleak_write("scan")) {
		done_error(id, start, "kmemleak: %s", strerror(errno));
		return;
	}
	file = fopen(KMEMLEAK, "r");
	while (file && fgets(line, sizeof(line), file)) {
		line[strcspn(line, "\n")] = '\0';
		if (!strncmp(line, "unreferenced object", 19))
			leaks++;
		if (leaks && leaks <= 20)
			report("| %s", line);
	}
	if (!file)
		done_error(id, start, "kmemleak: %s", strerror(errno));
	else if (leaks)
		done_error(id, start, "kmemleak: %d objects leaked", leaks);
	else
		done(id, "ok", start);
	if (file)
		fclose(file);
	kmemleak_write("clear");
}

/* ---- the end of a boot under running guests ---- */

/*
 * What kexec enters instead of a kernel: it says so on ttyS1 and turns the machine off, by the port
 * of Bochs and by that of QEMU's q35. Any other kernel would only take time to boot.
 */
extern const char kexec_code[], kexec_code_end[];
/* clang-format off */
asm(".pushsection .rodata\n"
	"kexec_code:\n"
	"	lea 8f(%rip), %rsi\n"
	"1:	mov $0x2fd, %edx\n"
	"	in %dx, %al\n"
	"	test $0x40, %al\n"
	"	jz 1b\n"
	"	mov $0x2f8, %edx\n"
	"	lodsb\n"
	"	out %al, %dx\n"
	"	cmp $'\\n', %al\n"
	"	jne 1b\n"
	"2:	mov $0x2fd, %edx\n"
	"	in %dx, %al\n"
	"	test $0x40, %al\n"
	"	jz 2b\n"
	"	mov $0x8900, %edx\n"
	"3:	lodsb\n"
	"	out %al, %dx\n"
	"	test %al, %al\n"
	"	jnz 3b\n"
	"	mov $0x604, %edx\n"
	"	mov $0x2000, %eax\n"
	"	out %ax, %dx\n"
	"4:	hlt\n"
	"	jmp 4b\n"
	"8:	.ascii \"@ kexec\\n\"\n"
	"	.asciz \"Shutdown\"\n"
	"kexec_code_end:\n"
	".popsection\n");
/* clang-format on */

#define KEXEC_ADDRESS 0x8000000UL

static int load_kexec(void)
{
	struct kexec_segment segment = {
		.buf = kexec_code,
		.bufsz = kexec_code_end - kexec_code,
		.mem = (void *)KEXEC_ADDRESS,
		.memsz = 4096,
	};

	return syscall(SYS_kexec_load, KEXEC_ADDRESS, 1, &segment, KEXEC_ARCH_DEFAULT);
}

/* Start the program; return when it says that it is ready, or with the reason why not. */
static const char *start_until_ready(char **words, long seconds)
{
	long deadline = now_ms() + seconds * 1000;
	char program[256], data[4096];
	size_t len = 0;
	int fds[2];
	ssize_t n;

	snprintf(program, sizeof(program), "/bin/%s", words[0]);
	if (pipe2(fds, O_CLOEXEC | O_NONBLOCK))
		return "pipe";
	fflush(NULL);
	if (!fork())
		child(program, words, fds[1]);
	close(fds[1]);
	while (now_ms() < deadline && len < sizeof(data) - 1) {
		struct pollfd pfd = { .fd = fds[0], .events = POLLIN };

		if (poll(&pfd, 1, 20) <= 0)
			continue;
		n = read(fds[0], data + len, sizeof(data) - 1 - len);
		if (n <= 0)
			break;
		len += n;
		data[len] = '\0';
		if (strstr(data, "ready\n"))
			return NULL;
	}
	if (len)
		report("| %.*s", (int)strcspn(data, "\n"), data);
	return "the program did not get ready";
}

static void step_leave(char **words)
{
	static const struct {
		const char *name;
		unsigned int command;
	} ways[] = {
		{ "reboot", LINUX_REBOOT_CMD_RESTART },
		{ "poweroff", LINUX_REBOOT_CMD_POWER_OFF },
		{ "kexec", LINUX_REBOOT_CMD_KEXEC },
	};
	const char *id = words[1], *how = words[2], *why;
	long start = now_ms();
	size_t i;

	for (i = 0; i < ARRAY_SIZE(ways) && strcmp(how, ways[i].name); i++)
		;
	if (i == ARRAY_SIZE(ways)) {
		done_error(id, start, "no way to leave is called %s", how);
		return;
	}
	if (!strcmp(how, "kexec") && load_kexec()) {
		done_error(id, start, "kexec_load: %s", strerror(errno));
		return;
	}
	why = start_until_ready(words + 4, strtol(words[3], NULL, 0));
	if (why) {
		done_error(id, start, "%s", why);
		return;
	}
	kmsg_drain();
	kmsg_forward();
	report("@ leave %s %s", id, how);
	report("@ end");
	tcdrain(fileno(results));
	sync();
	dprintf(1, "rig: leaving by %s\n", how);
	/* The kernel's own words do not wait for a terminal's. */
	tcdrain(1);
	syscall(SYS_reboot, LINUX_REBOOT_MAGIC1, LINUX_REBOOT_MAGIC2, ways[i].command, NULL);
	dprintf(1, "rig: reboot: %s\n", strerror(errno));
}

static void step_write(const char *path, const char *value)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);

	if (fd < 0 || write(fd, value, strlen(value)) != (ssize_t)strlen(value))
		report("@ note cannot write %s to %s: %s", value, path, strerror(errno));
	if (fd >= 0)
		close(fd);
}

/* ---- the list ---- */

static void step(char *line)
{
	/* clang-format off */
	static const struct {
		const char *name;
		int words;
	} needs[] = {
		{ "load", 2 }, { "phase", 2 }, { "run", 4 }, { "insmod", 4 }, { "rmmod", 4 },
		{ "log", 3 }, { "cycle", 4 }, { "kunit", 3 }, { "text-save", 3 },
		{ "text-compare", 2 }, { "kmemleak-clear", 1 }, { "kmemleak-scan", 2 },
		{ "write", 3 }, { "retry", 3 }, { "leave", 5 }, { "stay", 3 },
	};
	/* clang-format on */
	char copy[LINE_SIZE], *words[MAX_WORDS + 1], *save, *word;
	bool known = false;
	int n = 0;
	size_t i;

	snprintf(copy, sizeof(copy), "%s", line);
	for (word = strtok_r(copy, " \t", &save); word && n < MAX_WORDS;
	     word = strtok_r(NULL, " \t", &save))
		words[n++] = word;
	words[n] = NULL;
	if (!n || words[0][0] == '#')
		return;

	for (i = 0; i < ARRAY_SIZE(needs); i++) {
		if (!strcmp(words[0], needs[i].name) && n >= needs[i].words)
			known = true;
	}
	if (!known) {
		report("@ note unknown step: %s", line);
		report("@ start steps");
		done_error("steps", now_ms(), "unknown step: %s", line);
		power_off();
	}

	dprintf(1, "rig: %s\n", line);
	/* "log" looks back at the step before it. */
	if (strcmp(words[0], "log"))
		step_log_reset();

	if (!strcmp(words[0], "load")) {
		step_load(words);
		return;
	}
	if (!strcmp(words[0], "phase")) {
		phase_lost = false;
		report("@ phase %s", words[1]);
		return;
	}
	if (!strcmp(words[0], "kmemleak-clear")) {
		step_kmemleak_clear();
		return;
	}
	if (!strcmp(words[0], "retry")) {
		retries = strtol(words[1], NULL, 0);
		snprintf(retry_text, sizeof(retry_text), "%s",
			 strstr(strstr(line, words[1]) + strlen(words[1]), words[2]));
		return;
	}
	if (!strcmp(words[0], "write")) {
		step_write(words[1], words[2]);
		return;
	}

	report("@ start %s", words[1]);
	if (phase_lost)
		report("@ done %s error:not_run,_the_module_is_not_there 0", words[1]);
	else if (!strcmp(words[0], "run"))
		step_run(words);
	else if (!strcmp(words[0], "insmod"))
		step_insmod(words, true);
	else if (!strcmp(words[0], "rmmod"))
		step_insmod(words, false);
	else if (!strcmp(words[0], "log"))
		step_log_text(words[1],
			      strstr(strstr(line, words[1]) + strlen(words[1]), words[2]));
	else if (!strcmp(words[0], "cycle"))
		step_cycle(words);
	else if (!strcmp(words[0], "kunit"))
		step_kunit(words);
	else if (!strcmp(words[0], "text-save"))
		step_text_save(words);
	else if (!strcmp(words[0], "text-compare"))
		step_text_compare(words);
	else if (!strcmp(words[0], "stay"))
		step_stay(words[1], words[2]);
	else if (!strcmp(words[0], "leave"))
		step_leave(words);
	else
		step_kmemleak_scan(words[1]);
}

static void open_results(void)
{
	int fd = open("/dev/ttyS1", O_RDWR | O_NOCTTY | O_CLOEXEC);
	struct termios tty;

	if (fd >= 0 && !tcgetattr(fd, &tty)) {
		cfmakeraw(&tty);
		tty.c_cflag |= CLOCAL;
		cfsetspeed(&tty, B115200);
		tcsetattr(fd, TCSANOW, &tty);
	}
	results = fd >= 0 ? fdopen(fd, "w") : NULL;
	if (!results) {
		/* Nobody will see an end marker: that is the failure. */
		dprintf(1, "rig: cannot open ttyS1: %s\n", strerror(errno));
		results = stdout;
	}
}

int main(void)
{
	static const struct {
		const char *type, *where;
	} mounts[] = {
		{ "proc", "/proc" },
		{ "sysfs", "/sys" },
		{ "devtmpfs", "/dev" },
		{ "tmpfs", "/tmp" },
		{ "debugfs", "/sys/kernel/debug" },
		{ "tracefs", "/sys/kernel/tracing" },
	};
	struct utsname uts;
	char line[LINE_SIZE];
	FILE *steps;
	size_t i;
	int fd;

	for (i = 0; i < ARRAY_SIZE(mounts); i++) {
		if (mount(mounts[i].type, mounts[i].where, mounts[i].type, 0, NULL) &&
		    errno != EBUSY)
			dprintf(1, "rig: mount %s: %s\n", mounts[i].where, strerror(errno));
	}
	/* The console exists before /dev does only when the initramfs brings it. */
	fd = open("/dev/console", O_RDWR);
	if (fd >= 0) {
		dup2(fd, 0);
		dup2(fd, 1);
		dup2(fd, 2);
	}
	open_results();
	/* /dev/kmsg must not lose a complaint to its rate limit, nor a program to its core. */
	kmsg = open("/dev/kmsg", O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	uname(&uts);
	report("@ begin %s", uts.release);

	steps = fopen("/etc/steps", "re");
	if (!steps || kmsg < 0) {
		report("@ start boot");
		done_error("boot", now_ms(), "no /etc/steps or no /dev/kmsg: %s", strerror(errno));
		power_off();
	}

	report("@ start boot");
	kmsg_drain();
	done("boot", "ok", now_ms());
	while (fgets(line, sizeof(line), steps)) {
		line[strcspn(line, "\n")] = '\0';
		step(line);
	}
	kmsg_drain();
	power_off();
}
