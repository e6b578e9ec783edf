#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause

# What hop relies on must hold on other machines, in containers and under the settings of a service manager: nothing
# here changes a result, and what falls back is told by hop_describe.
#
# Usage: environment.sh [PROGRAM...]
#
# tests/service runs in every setting. Programs of $top_builddir/tests under Check run in those that differ most; with
# PROGRAMs, these in all that a Check program can live in. HOP_ENVIRONMENT=NAME runs one setting only.

set -u

cd "${top_builddir:-.}" || exit 1

programs=("$@")
all=$#
[ $# -gt 0 ] || programs=(parallel hop offload runtime)

: "${CK_TIMEOUT_MULTIPLIER:=2}" # some of these are slow
: "${SANITIZE_FLAGS=}"
export CK_TIMEOUT_MULTIPLIER

passed=0
failed=0
log=$(mktemp) || exit 1
place=$(mktemp -d) || exit 1 # where anybody may run the tools
cleanup() {
    rm -rf "$log" "$place"
    [ -z "${group-}" ] || rmdir "$group" 2>/dev/null
}
trap cleanup EXIT
chmod 755 "$place"
install -m 755 tests/refuse tests/service "$place" || exit 1

wanted() { # name
    [ -z "${HOP_ENVIRONMENT-}" ] || [ "$HOP_ENVIRONMENT" = "$1" ]
}

skip() { # name or group, why
    if wanted "$1"; then echo "environment.sh: left out: $1: $2"; fi
}

report() { # good (0 or not), name, command...
    if [ "$1" -eq 0 ]; then
        passed=$((passed + 1))
        return
    fi
    failed=$((failed + 1))
    shift
    echo "FAIL: $1: ${*:2}"
    sed 's/^/    /' "$log"
}

# Every result is right, and hop_describe says WHAT (a pattern; empty: nothing in particular).
service() { # name, what, command in front..., [:: words for the service...]
    local name=$1 what=$2 good rc
    local -a front=() words=()
    shift 2
    wanted "$name" || return 0
    while [ $# -gt 0 ] && [ "$1" != :: ]; do
        front+=("$1")
        shift
    done
    [ $# -eq 0 ] || words=("${@:2}")
    timeout -k 5 200 "${front[@]}" "$place/service" "${words[@]}" >"$log" 2>&1
    rc=$?
    if [ "$rc" -eq 77 ]; then
        skip "$name" "$(tail -n 1 "$log")"
        return
    fi
    grep -q '^service: all right$' "$log" && grep -qE -e "$what" "$log"
    good=$?
    [ "$rc" -eq 0 ] || good=1
    report "$good" "$name" "${front[@]}" service "${words[@]}"
}

# Right, or told by an error that matches WHY; never an end from inside a library, and no wait without end.
starved() { # name, why, command in front...
    local name=$1 why=$2 rc good=1
    shift 2
    wanted "$name" || return 0
    timeout -k 5 200 "$@" "$place/service" >"$log" 2>&1
    rc=$?
    case $rc in
    0) good=0 ;;
    3 | 4) grep -qE "^service: (refused|failed): ($why)$" "$log" && good=0 ;;
    esac
    report "$good" "$name" "$@" service
}

# The Check programs.
check() { # name, command in front...
    local name=$1 program rc
    shift
    wanted "$name" || return 0
    for program in "${programs[@]}"; do
        "$@" "tests/$program" >"$log" 2>&1
        rc=$?
        [ "$rc" -ne 77 ] || continue
        report "$rc" "$name" "$@" "tests/$program"
    done
}

# Both, or only the service unless programs were named.
both() { # name, what, command in front...
    service "$@"
    [ "$all" -eq 0 ] || check "$1" "${@:3}"
}

runtime=$("$place/service" no-net | sed -n 's/.*team of OpenMP threads (\(.*\)),.*/\1/p') # empty: plain threads

# ---- what OpenMP runtimes are told ----

both one-thread '' env OMP_NUM_THREADS=1
both nested-threads '' env OMP_NUM_THREADS=4,2
service many-threads '' env OMP_NUM_THREADS=100
service bind '' env OMP_PROC_BIND=true
check bind env OMP_PROC_BIND=true
service bind-spread '' env OMP_PROC_BIND=spread,close
both dynamic '' env OMP_DYNAMIC=true
both active-levels '' env OMP_MAX_ACTIVE_LEVELS=2
both no-levels '' env OMP_MAX_ACTIVE_LEVELS=0
both active-wait '' env OMP_WAIT_POLICY=active
service places-cores '' env OMP_PLACES=cores
service places-one '' env 'OMP_PLACES={0}'
service places-nonsense '' env OMP_PLACES=nonsense
service gomp-affinity '' env GOMP_CPU_AFFINITY=0-1
service gomp-affinity-one '' env GOMP_CPU_AFFINITY=0
service tiny-stacks '' env OMP_STACKSIZE=256K
both small-stacks '' env OMP_STACKSIZE=2M # tests/halves forks a whole deque deep
service large-stacks '' env OMP_STACKSIZE=1G
service nonsense-stacks '' env OMP_STACKSIZE=nonsense
for setting in KMP_AFFINITY=compact KMP_AFFINITY=scatter KMP_AFFINITY=disabled KMP_BLOCKTIME=infinite KMP_BLOCKTIME=0 \
    KMP_LIBRARY=turnaround KMP_LIBRARY=serial KMP_DEVICE_THREAD_LIMIT=2 KMP_HW_SUBSET=1c KMP_STACKSIZE=256k; do
    service "${setting,,}" '' env "$setting"
done
if [ -n "$runtime" ] && [ "$(nproc)" -gt 1 ]; then
    service thread-limit 'workers: 1 active of 1,' env OMP_THREAD_LIMIT=1
    service thread-limit-told 'were wanted, the team has no more threads' env OMP_THREAD_LIMIT=1
else
    skip thread-limit "no OpenMP team of several here"
fi

# ---- machines ----

service synthetic 'synthetic, not this machine' env HWLOC_SYNTHETIC="pack:2 core:8 pu:2"
check synthetic env HWLOC_SYNTHETIC="pack:2 core:8 pu:2"
service large 'packages 2, NUMA nodes 2, cores 128, PUs 128' env HWLOC_SYNTHETIC="pack:2 [numa] core:64 pu:1"
service large-this 'workers: [0-9]* active of' env HWLOC_SYNTHETIC="pack:2 [numa] core:64 pu:1" HWLOC_THISSYSTEM=1
service unreadable-synthetic '' env HWLOC_SYNTHETIC=nonsense
service no-such-machine '' env HWLOC_XMLFILE=/nonexistent
service few-components '' env HWLOC_COMPONENTS=no_os,stop
cpu=$(sed -n 's/^Cpus_allowed_list:[[:space:]]*\([0-9]*\).*/\1/p' /proc/self/status 2>/dev/null)
if command -v taskset >/dev/null && [ -n "$cpu" ]; then
    service one-cpu 'budget: 1 of 1 CPUs' taskset -c "$cpu"
    check one-cpu taskset -c "$cpu"
    service one-cpu-bound 'budget: 1 of 1 CPUs' env OMP_PROC_BIND=true taskset -c "$cpu"
    service one-cpu-active 'spinning: off' env OMP_WAIT_POLICY=active KMP_BLOCKTIME=infinite taskset -c "$cpu"
else
    skip one-cpu "no taskset here"
fi

# ---- how the process was started ----

for closed in 0 01 012 12 2; do
    wanted "closed-$closed" || continue
    case $closed in
    0) "$place/service" <&- ;;
    01) "$place/service" to=9 9>&1 <&- >&- ;;
    012) "$place/service" to=9 9>&1 <&- >&- 2>&- ;;
    12) "$place/service" to=9 9>&1 >&- 2>&- ;;
    2) "$place/service" 2>&- ;;
    esac >"$log"
    report $? "closed-$closed" service with these descriptors closed
done
service empty-environment '' env -i
service odd-locale '' env TZ=:nonsense LC_ALL=xx_YY LANGUAGE=a:b
service attached 'the first attached' env :: attached
if env --block-signal true 2>/dev/null; then
    service blocked-signals '' env --block-signal
    service ignored-signals '' env --ignore-signal=PIPE,CHLD,HUP
else
    skip blocked-signals "env does not know --block-signal"
fi
for quality in off mild idle; do
    service "quality-$quality" "quality of service: $quality" env :: "$quality"
done
service quality-realtime 'quality of service: (realtime|.*real-time was refused)' env :: realtime
service nicest '' nice -n 19
if command -v chrt >/dev/null; then
    service batch '' chrt -b 0
    service idle '' chrt -i 0
    if chrt -f 1 true 2>/dev/null; then service realtime '' chrt -f 1; fi
fi

# ---- limits ----

limited=(bash -c 'ulimit "$1" "$2" || { echo "this limit cannot be set"; exit 77; }; shift 2; exec "$@"' limited)
starving='Cannot allocate memory|Resource temporarily unavailable|Too many open files'
nobody=(setpriv --reuid=65534 --regid=65534 --clear-groups --no-new-privs)

service descriptors-64 '' "${limited[@]}" -n 64
check descriptors-64 "${limited[@]}" -n 64
for n in 4 6 8 9 10 12 16; do
    starved "descriptors-$n" 'Too many open files' "${limited[@]}" -n "$n"
done
service no-locked-memory '' "${limited[@]}" -l 0
service stack-256 '' "${limited[@]}" -s 256
service stack-unlimited '' "${limited[@]}" -s unlimited
starved stack-huge "$starving" "${limited[@]}" -s 1073741824
if [ -z "$SANITIZE_FLAGS" ]; then
    service memory-2000000 '' "${limited[@]}" -v 2000000
    for kib in 20000 40000 80000 120000 160000; do
        starved "memory-$kib" "$starving" "${limited[@]}" -v "$kib"
        starved "data-$kib" "$starving" "${limited[@]}" -d "$((kib / 4))"
    done
    if [ "$(id -u)" -eq 0 ] && "${nobody[@]}" "$place/refuse" 38 9999 -- true 2>/dev/null; then
        for n in 1 2 3 4 5 6 8; do
            starved "threads-$n" "$starving" "${nobody[@]}" prlimit --nproc="$n"
        done
    else
        skip threads "needs root, who can become nobody: a limit of threads does not bind root"
    fi
else
    skip memory "a sanitizer needs more"
fi

# ---- calls that a filter refuses ----

numbers() { # call...
    { echo '#include <sys/syscall.h>' && printf 'SYS_%s\n' "$@"; } | ${CC:-cc} -E -P -x c - | grep -E '^[0-9]+$'
}

refused=()
refuse() { # error, call...: the command in front is then in refused
    mapfile -t refused < <(numbers "${@:2}")
    refused=("$place/refuse" "$1" "${refused[@]}" --)
}

ENOSYS=38
EPERM=1
EINVAL=22
if [ -n "$SANITIZE_FLAGS" ]; then
    skip refused "a sanitizer needs the calls"
elif [ -z "$(numbers read)" ]; then
    skip refused "no compiler to ask for the numbers of calls"
else
    # These are not needed.
    for error in $ENOSYS $EPERM $EINVAL; do
        refuse $error membarrier
        both "membarrier-$error" 'no membarrier: full fences' "${refused[@]}"
        refuse $error madvise
        both "madvise-$error" 'guarded by mprotect' "${refused[@]}"
        refuse $error sched_setattr
        service "sched_setattr-$error" 'workers stay ordinary' "${refused[@]}"
        refuse $error sched_getattr sched_setattr sched_setscheduler sched_setparam setpriority
        service "scheduling-$error" 'workers stay ordinary' "${refused[@]}"
        refuse $error sched_setaffinity
        service "sched_setaffinity-$error" 'not pinned \(the kernel refused\)' "${refused[@]}"
        if [ "$runtime" = libomp ] && [ $error -ne $ENOSYS ]; then
            skip "affinity-$error" "libomp ends the process"
        else
            refuse $error sched_getaffinity sched_setaffinity
            service "affinity-$error" 'this system does not let us pin threads' "${refused[@]}"
        fi
        refuse $error getcpu rseq prctl sigaltstack readlink readlinkat uname sysinfo getrandom
        service "lesser-$error" '' "${refused[@]}"
        refuse $error io_uring_setup io_uring_enter io_uring_register epoll_pwait2 mbind set_mempolicy get_mempolicy
        both "modern-$error" '' "${refused[@]}"
        refuse $error getdents64
        service "getdents64-$error" 'topology: packages' "${refused[@]}"
    done
    for error in $ENOSYS $EPERM; do
        refuse $error preadv2 pwritev2
        service "no-wait-$error" '' "${refused[@]}"
        refuse $error socket connect bind listen accept4 sendto recvfrom sendmsg recvmsg setsockopt getsockname
        service "network-$error" '' "${refused[@]}" :: no-net
    done
    refuse $ENOSYS clone3
    service clone3 '' "${refused[@]}"
    # These are: who asks for a runtime is told.
    for call in epoll_create1 epoll_ctl epoll_wait eventfd2 pipe2 timerfd_create timerfd_settime; do
        refuse $EPERM "$call"
        starved "$call-$EPERM" 'Operation not permitted' "${refused[@]}"
        refuse $ENOSYS "$call"
        starved "$call-$ENOSYS" 'Function not implemented' "${refused[@]}"
    done
    refuse $EPERM clone3
    starved threads-refused 'Operation not permitted' "${refused[@]}"

    # A filter that takes away what was granted at the start would break silently what relies on it: so it is told.
    if wanted membarrier-later; then
        # (The outer 2> is for the shell, which would tell of the end too.)
        { "${limited[@]}" -c 0 "$place/service" "refuse=$(numbers membarrier)" >"$log" 2>&1; rc=$?; } 2>/dev/null
        grep -q 'hop: membarrier is refused now' "$log" && [ "$rc" -eq 134 ] ||
            { [ "$rc" -eq 0 ] && grep -q 'full fences' "$log"; }
        report $? membarrier-later service refuse=membarrier
    fi

    # What systemd's directives add up to for a service. Without SystemCallErrorNumber= a filter kills.
    resources=(ioprio_set mbind migrate_pages move_pages sched_setaffinity sched_setattr sched_setparam
        sched_setscheduler set_mempolicy setpriority setrlimit)
    privileged=(adjtimex chown chroot clock_adjtime clock_settime delete_module fanotify_init finit_module init_module
        iopl ioperm kexec_load modify_ldt mount move_mount open_by_handle_at perf_event_open pivot_root process_vm_readv
        ptrace quotactl reboot sethostname setdomainname settimeofday swapoff swapon syslog umount2 unshare setns
        userfaultfd bpf keyctl add_key request_key vhangup acct)
    refuse $EPERM "${resources[@]}" "${privileged[@]}"
    service hardened 'workers stay ordinary' "${refused[@]}"
    refuse kill "${resources[@]}" "${privileged[@]}"
    # (Otherwise libomp sets masks, and for it hop tries whether that is allowed.)
    service hardened-kill 'not pinned \(no_pin\)' env KMP_AFFINITY=disabled "${refused[@]}" :: off no-pin
    service no-executable-memory '' "$place/refuse" wx --
    if [ "$(id -u)" -eq 0 ] && "${nobody[@]}" true 2>/dev/null; then
        refuse $EPERM "${resources[@]}" "${privileged[@]}"
        service dynamic-user '' "${nobody[@]}" --bounding-set=-all "${limited[@]}" -n 64 "${refused[@]}" \
            "$place/refuse" wx --
    fi
fi

# ---- files that are not there ----

private=(unshare -m --)
if [ -n "$SANITIZE_FLAGS" ]; then
    private=()
    skip files "a sanitizer needs /proc"
elif ! "${private[@]}" mount -t tmpfs none /mnt 2>/dev/null; then
    private=(unshare -r -m --)
    if ! "${private[@]}" mount -t tmpfs none /mnt 2>/dev/null; then
        private=()
        skip files "no mount namespace for this user"
    fi
fi

without() { # name, what, commands that take something away, words for the service...
    local name=$1 what=$2 commands=$3
    shift 3
    # shellcheck disable=SC2016
    service "$name" "$what" "${private[@]}" \
        sh -c "$commands"' || { echo "no mount of this kind"; exit 77; }; exec "$@"' without :: "$@"
}

if [ "${#private[@]}" -gt 0 ]; then
    without no-sys '' 'mount -t tmpfs none /sys'
    proc='mount -t tmpfs none /proc'
    # A file that a dead process of the same number left there is a reason for it to read /proc.
    [ "$runtime" != libomp ] || proc="$proc && mount -t tmpfs none /dev/shm"
    without no-proc 'no cgroup was found' "$proc"
    without no-sys-no-proc 'no cgroup was found' "mount -t tmpfs none /sys && $proc"
    without hidden-proc '' 'mount -t proc -o subset=pid,hidepid=2 none /proc'
    without no-cpus-in-sys '' 'mount -t tmpfs none /sys/devices/system/cpu'
    without no-cgroups 'no quota' 'mount -t tmpfs none /sys/fs/cgroup'
    dev='mount -t tmpfs none /dev'
    [ "$runtime" != libomp ] || dev="$dev && mkdir /dev/shm" # it ends the process without
    without no-dev '' "$dev"
    without no-null '' "$dev && : >/dev/null"
    without read-only '' 'mount -o bind,remount,ro /'
    without nothing '' "$dev && mount -t tmpfs none /sys && mount -t tmpfs none /proc"
    check no-sys "${private[@]}" sh -c 'mount -t tmpfs none /sys && exec "$@"' without
fi

# ---- control groups ----

controller() { # name: where version 1 of it is mounted whole
    awk -v name="$1" '{ d = index($0, " - "); split(substr($0, d + 3), r, " "); n = split(r[3], options, ",")
        for (i = 1; i <= n; i++) if (r[1] == "cgroup" && $4 == "/" && options[i] == name) { print $5; exit } }' \
        /proc/self/mountinfo 2>/dev/null
}

# A group of our own: the command that puts what it runs into it is in grouped.
make_group() { # controller
    group=$(controller "$1")
    [ -n "$group" ] || return 1
    group=$group/hop-environment-$$
    mkdir "$group" 2>/dev/null || { group=; return 1; }
    # shellcheck disable=SC2016
    grouped=(bash -c 'echo $$ >"$1/cgroup.procs" || exit 77; shift; exec "$@"' grouped "$group")
}

remove_group() {
    rmdir "$group" 2>/dev/null || { sleep 1 && rmdir "$group"; } # its last process may still be ending
    group=
}

if make_group cpu; then
    echo 50000 >"$group/cpu.cfs_quota_us"
    service quota-0.5 'budget: 1 of .* quota of 0.50 CPUs' "${grouped[@]}"
    echo 150000 >"$group/cpu.cfs_quota_us"
    both quota-1.5 'budget: 2 of .* quota of 1.50 CPUs.* keep below it' "${grouped[@]}"
    echo 1000 >"$group/cpu.cfs_quota_us"
    service quota-0.01 'budget: 1 of .* quota of 0.01 CPUs' "${grouped[@]}"
    remove_group
else
    skip quota "no group of our own in a cpu controller of version 1"
fi
if [ -n "$SANITIZE_FLAGS" ]; then
    skip tasks "a sanitizer starts a task of its own at the end"
elif make_group pids; then
    for n in 1 2 3 4 5 6 7 8; do
        echo "$n" >"$group/pids.max"
        starved "tasks-$n" "$starving" "${grouped[@]}"
    done
    remove_group
else
    skip tasks "no group of our own in a pids controller of version 1"
fi

echo "environment.sh: $passed passed, $failed failed"
[ "$failed" -eq 0 ] && [ "$passed" -gt 0 ]
