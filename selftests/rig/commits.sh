# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=bash
#
# Does each commit of a range build? Sourced by check. Every commit is put, file by file as it changes,
# into the same folders, so that after the first one only what a commit changes is compiled.

# check_commits: for each commit of RANGE the module for both kernels without a warning (W=1), the
# selftests, the unit tests, the programs and modules of the rig, and a row of tests.list for each
# selftest.
check_commits() {
	local range=${RANGE:-} commits commit subject tmp log

	git -C "$KHV_TOP" rev-parse --git-dir >/dev/null 2>&1 ||
		khv_die "check commits: git is not installed, or $KHV_TOP is no checkout of it"
	[ -n "$range" ] || khv_die "check commits: name a range, for example: selftests/rig/check commits origin..HEAD"
	commits=$(git -C "$KHV_TOP" rev-list --reverse "$range") ||
		khv_die "check commits: git does not know the range $range"
	[ -n "$commits" ] || { skip commits "no commit in $range"; return; }
	tmp=$(mktemp -d "${TMPDIR:-/tmp}/khv-commits.XXXXXX")
	# Also when a function of the rig gives up, or the user.
	# shellcheck disable=SC2064
	trap "rm -rf '$tmp'" EXIT
	mkdir "$tmp/selftests" "$tmp/kunit"
	for commit in $commits; do
		subject=$(git -C "$KHV_TOP" log -1 --format='%h %s' "$commit")
		log=$KHV_LOGS/check-commit-${subject%% *}
		khv_say "building $subject"
		rm -rf "$tmp/tree"
		mkdir "$tmp/tree"
		git -C "$KHV_TOP" archive "$commit" | tar -x -C "$tmp/tree"
		build_commit "$tmp" "$log.all" >"$log"
		verdict "builds: $subject" "$log"
	done
	rm -rf "$tmp"
}

# build_commit TMP LOG: build TMP/tree beside it; print what fails, with the errors and warnings.
build_commit() {
	local tmp=$1 log=$2 series kernel dir

	: >"$log"
	for series in 6.12 6.1; do
		kernel=$(khv_kernel "$series")
		dir=$tmp/module-$series
		bring "$tmp/tree/" "$dir/"
		commit_step "the module for $series" make -C "$dir" -j"$KHV_JOBS" KDIR="$kernel/build" \
			CC="$(khv_kernel_cc "$kernel")" W=1 modules
		commit_step "the modules of selftests/rig/ for $series" rig_modules "$dir/selftests/rig" "$series" "$kernel"
	done
	bring "$tmp/tree/" "$tmp/programs/"
	commit_step "selftests/" make -C "$tmp/programs/selftests" -j"$KHV_JOBS" O="$tmp/selftests" all
	commit_step "kunit/" make -C "$tmp/programs/kunit" O="$tmp/kunit" SANITIZE=-fsyntax-only \
		"$tmp/kunit/khv-kunit-new" "$tmp/kunit/khv-kunit-old"
	commit_step "the programs of selftests/rig/" rig_programs "$tmp/programs/selftests/rig"
	if grep -q -e --plan "$tmp/programs/selftests/rig/test"; then
		commit_step "the plan of tests.list" rig_plan "$tmp/programs/selftests/rig/test"
	fi
}

# bring FROM TO: what differs, by content; what make has built there stays, and rsync says so of a folder
# that is no more: stdout is for what fails.
bring() {
	rsync -rlp --checksum --delete --exclude='*.o' --exclude='*.ko' --exclude='*.mod' --exclude='*.mod.c' --exclude='*.gcno' \
		--exclude='.*.cmd' --exclude='*.order' --exclude='*.symvers' --exclude='offsets.[hs]' \
		--exclude='.dispatch.proved' "$1" "$2" >&2
}

# rig_programs RIG: each file of the programs by itself, and not linked. check-kernel.c holds sources of
# the module, which are written without -Wextra, and finds the rest of them as its script tells it.
rig_programs() {
	local file top=$1/../.. flags

	for file in "$1"/*.c "$1"/init/*.c "$1"/run-host/*.c; do
		[ -e "$file" ] || continue
		flags=(-Wextra)
		[[ $file != */check-kernel.c ]] || flags=(-I"$top/kunit/user/include" -I"$top/include" -I"$top")
		gcc -std=gnu11 -D_GNU_SOURCE= -Wall -Werror -fsyntax-only "${flags[@]}" "$file" || return
	done
}

# rig_modules RIG SERIES KERNEL: each folder that is a module, in one build; the meter only for the
# kernel of make bench.
rig_modules() {
	local folders

	folders=$(cd "$1" && find . -mindepth 2 -name Kbuild -printf '%h/\n')
	[ "$2" = 6.12 ] || folders=$(grep -vx ./meter/ <<<"$folders")
	[ -n "$folders" ] || return 0
	echo "obj-m := ${folders//$'\n'/ }" >"$1/Kbuild"
	make -C "$3/build" M="$1" -j"$KHV_JOBS" CC="$(khv_kernel_cc "$3")" modules
}

# Of a commit that can print it: each selftest has a row.
rig_plan() { KHV_LOGS=$KHV_LOGS/plan "$1" --plan >/dev/null; }

# commit_step WHAT COMMAND...: run COMMAND; print WHAT and the reason if it fails or warns.
commit_step() {
	local what=$1 out reason rc=0

	shift
	out=$("$@" 2>&1) || rc=$?
	printf '+ %s\n%s\n' "$*" "$out" >>"$log"
	reason=$(grep -i warning <<<"$out" | grep -v 'Skipping BTF generation' || true)
	if [ "$rc" != 0 ]; then
		reason=$(grep -iE 'error|warning|no rule' <<<"$out" | grep -vE '^make.* Error [0-9]+$' || true)
		[ -n "$reason" ] || reason=$(tail -n 3 <<<"$out")
	fi
	[ -n "$reason" ] || [ "$rc" != 0 ] || return 0
	printf '%s: status %d\n' "$what" "$rc"
	head -n 10 <<<"$reason" | sed "s|$tmp/[^/]*/||g"
}
