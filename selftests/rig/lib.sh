# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=bash
#
# The functions that the scripts of the rig share, to be sourced. A function prints its result (a path)
# on stdout and its progress on stderr. Nothing here installs a kernel, and nothing outlives the script
# that sources this file.
#   packages.sh  Debian's packages           kernels.sh  kernels, their modules and sources
#   build.sh     the module and programs     boot.sh     initramfs and emulated hosts

KHV_RIG=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
KHV_TOP=$(cd "$KHV_RIG/../.." && pwd)
KHV_CACHE=${KHV_CACHE:-$HOME/.cache/kvm-hyperv}
KHV_LOGS=${KHV_LOGS:-$KHV_CACHE/logs/$(date +%Y%m%d-%H%M%S)-$$}
KHV_JOBS=${KHV_JOBS:-$(nproc)}
KHV_START=${KHV_START:-$(date +%s)}
V=${V:-0}
# The series of kernels that are built for and booted, newest first.
KHV_ALL_SERIES="7.3 6.12 6.1"
# A security update of the compiler is no reason not to build.
export DEBIAN_KERNEL_NO_CC_VERSION_CHECK=y
export KHV_ALL_SERIES KHV_CACHE KHV_LOGS KHV_JOBS KHV_START V
mkdir -p "$KHV_CACHE" "$KHV_LOGS"

khv_say() { printf '[%4ds] %s\n' $(($(date +%s) - KHV_START)) "$*" >&2; }
khv_die() { printf 'ERROR: %s\n' "$*" >&2; exit 1; }

# khv_quiet NAME COMMAND...: run COMMAND with its output in the log NAME.log; show it with V=1,
# show its last lines when it fails.
khv_quiet() {
	local log=$KHV_LOGS/$1.log rc=0

	shift
	printf '+ %s\n' "$*" >>"$log"
	if [ "$V" = 1 ]; then
		"$@" 2>&1 | tee -a "$log" >&2 || rc=${PIPESTATUS[0]}
	else
		"$@" >>"$log" 2>&1 || rc=$?
	fi
	if [ "$rc" != 0 ]; then
		printf 'failed (%d): %s\n' "$rc" "$*" >&2
		tail -n 30 "$log" | sed 's/^/    /' >&2
		printf '    whole log: %s\n' "$log" >&2
	fi
	return "$rc"
}

# khv_case NAME COMMAND...: run a case of a test that prints KTAP, and print its verdict; with what COMMAND said last if
# it failed. The test begins with nr=0 failed=0, and ends by exit $failed.
khv_case() {
	local name=$1 said

	shift
	nr=$((nr + 1))
	if said=$("$@" 2>&1); then
		echo "ok $nr $name"
	else
		tail -n 100 <<<"$said" | sed 's/^/# /'
		echo "not ok $nr $name"
		# shellcheck disable=SC2034
		failed=1
	fi
}

# khv_locked NAME FUNCTION ARGS...: run FUNCTION under the lock NAME of the cache, which several runs may
# share.
khv_locked() {
	local name=$1

	shift
	( flock 9; "$@" 9>&- ) 9>"$KHV_CACHE/.lock-$name"
}

# khv_once NAME FUNCTION ARGS...: run FUNCTION once in this run, and print that answer again later: apt
# takes seconds for one.
khv_once() {
	local answer=$KHV_LOGS/.answer-$1

	shift
	if [ ! -s "$answer" ]; then
		"$@" >"$answer.$$" || return
		mv "$answer.$$" "$answer"
	fi
	cat "$answer"
}

# khv_key STRING: replace the characters that make does not accept in the name of a folder.
khv_key() { printf '%s' "$1" | tr ':~/ ' '____'; }

# shellcheck source=selftests/rig/packages.sh
. "$KHV_RIG/packages.sh"
# shellcheck source=selftests/rig/kernels.sh
. "$KHV_RIG/kernels.sh"
# shellcheck source=selftests/rig/build.sh
. "$KHV_RIG/build.sh"
# shellcheck source=selftests/rig/boot.sh
. "$KHV_RIG/boot.sh"
