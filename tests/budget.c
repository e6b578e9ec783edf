/* SPDX-License-Identifier: BSD-3-Clause */

/* The CPU budget, read from a made-up /proc and /sys below a temporary directory. */
#define _GNU_SOURCE 1
#include "compute/budget.h"
#include "compute/pace.h"

#include <check.h>
#include <errno.h>
#include <ftw.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#define V2_MOUNT "30 1 0:28 / /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate\n"
#define V1_MOUNT "31 1 0:29 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n"
#define OTHER_MOUNTS "27 1 254:0 / / rw,relatime - ext4 /dev/vda rw\n" \
                     "28 1 0:30 / /sys/fs/cgroup/cpuset rw - cgroup cgroup rw,cpuset\n"

static char root[64];
static struct hop__budget budget;

static void make_root(void)
{
    snprintf(root, sizeof root, "/tmp/hop-budget-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(root));
    budget = (struct hop__budget){ 0 };
}

static int remove_one(const char *path, const struct stat *st, int kind, struct FTW *where)
{
    (void)st, (void)kind, (void)where;
    return remove(path);
}

static void remove_root(void)
{
    nftw(root, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

static void make_parents(char *path)
{
    for (char *at = path + strlen(root) + 1; (at = strchr(at, '/')); *at++ = '/') {
        *at = '\0';
        ck_assert(mkdir(path, 0700) == 0 || errno == EEXIST);
    }
}

__attribute__((format(printf, 2, 3))) static void put(const char *name, const char *format, ...)
{
    char path[4096];
    FILE *file;
    va_list args;

    snprintf(path, sizeof path, "%s%s", root, name);
    make_parents(path);
    ck_assert_ptr_nonnull(file = fopen(path, "w"));
    va_start(args, format);
    vfprintf(file, format, args);
    va_end(args);
    fclose(file);
}

static void put_link(const char *name, const char *target)
{
    char path[4096];

    snprintf(path, sizeof path, "%s%s", root, name);
    make_parents(path);
    ck_assert_int_eq(symlink(target, path), 0);
}

static void use_v2(const char *own)
{
    put("/proc/self/mountinfo", "%s", OTHER_MOUNTS V2_MOUNT);
    put("/proc/self/cgroup", "0::%s\n", own);
}

static void use_v1(const char *own)
{
    put("/proc/self/mountinfo", "%s", OTHER_MOUNTS V1_MOUNT);
    put("/proc/self/cgroup", "9:cpuset:/elsewhere\n4:cpu,cpuacct:%s\n1:name=systemd:/x\n", own);
}

static void expect(int cpus, double quota, int width)
{
    ck_assert_int_eq(hop__budget_read(&budget, cpus, root), 0);
    ck_assert_int_eq(budget.cpus, cpus);
    ck_assert_msg(fabs(budget.quota - quota) < 1e-9, "quota %f, not %f: %s", budget.quota, quota, budget.source);
    ck_assert_int_eq(budget.width, width);
    ck_assert_ptr_nonnull(strstr(budget.source, quota > 0 ? "quota of" : "no quota"));
}

START_TEST(nothing_mounted_is_no_quota)
{
    expect(8, 0, 8);
    ck_assert_ptr_nonnull(strstr(budget.source, "no cgroup was found"));
    ck_assert(!hop__budget_own_cgroup(root));
}
END_TEST

START_TEST(this_machine_is_readable)
{
    ck_assert_int_eq(hop__budget_read(&budget, 4, ""), 0);
    ck_assert_int_ge(budget.width, 1);
    ck_assert_int_le(budget.width, 4);
    (void)hop__budget_own_cgroup("");
}
END_TEST

START_TEST(no_cpus_count_as_one)
{
    ck_assert_int_eq(hop__budget_read(&budget, 0, root), 0);
    ck_assert_int_eq(budget.cpus, 1);
    ck_assert_int_eq(budget.width, 1);
}
END_TEST

static const struct { long quota; double cpus; int width; } rounding[] = {
    { 50000, 0.5, 1 }, { 150000, 1.5, 2 }, { 200000, 2, 2 }, { 250000, 2.5, 3 }, { 300000, 3, 3 }, { 1600000, 16, 8 },
};

START_TEST(v2_rounds_up)
{
    use_v2("/app");
    put("/sys/fs/cgroup/app/cpu.max", "%ld 100000\n", rounding[_i].quota);
    expect(8, rounding[_i].cpus, rounding[_i].width);
    ck_assert_ptr_nonnull(strstr(budget.source, "cgroup v2"));
    ck_assert_ptr_nonnull(strstr(budget.source, "/sys/fs/cgroup/app"));
}
END_TEST

START_TEST(v1_rounds_up)
{
    use_v1("/app");
    put("/sys/fs/cgroup/cpu,cpuacct/app/cpu.cfs_quota_us", "%ld\n", rounding[_i].quota);
    put("/sys/fs/cgroup/cpu,cpuacct/app/cpu.cfs_period_us", "100000\n");
    expect(8, rounding[_i].cpus, rounding[_i].width);
    ck_assert_ptr_nonnull(strstr(budget.source, "cgroup v1"));
}
END_TEST

START_TEST(max_is_no_quota)
{
    use_v2("/app");
    put("/sys/fs/cgroup/app/cpu.max", "max 100000\n");
    expect(8, 0, 8);
    use_v1("/app");
    put("/sys/fs/cgroup/cpu,cpuacct/app/cpu.cfs_quota_us", "-1\n");
    put("/sys/fs/cgroup/cpu,cpuacct/app/cpu.cfs_period_us", "100000\n");
    expect(8, 0, 8);
}
END_TEST

START_TEST(v2_parent_may_be_tighter)
{
    use_v2("/a/b/c");
    put("/sys/fs/cgroup/a/b/c/cpu.max", "600000 100000\n");
    put("/sys/fs/cgroup/a/b/cpu.max", "max 100000\n");
    put("/sys/fs/cgroup/a/cpu.max", "300000 100000\n");
    expect(8, 3, 3);
    ck_assert_str_eq(budget.source + strlen(budget.source) - 2, "/a");
}
END_TEST

START_TEST(v1_parent_may_be_tighter)
{
    use_v1("/a/b");
    put("/sys/fs/cgroup/cpu,cpuacct/a/b/cpu.cfs_quota_us", "-1\n");
    put("/sys/fs/cgroup/cpu,cpuacct/a/b/cpu.cfs_period_us", "100000\n");
    put("/sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us", "20000\n");
    put("/sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us", "10000\n");
    expect(8, 2, 2);
}
END_TEST

START_TEST(hybrid_takes_the_tighter_version)
{
    put("/proc/self/mountinfo", "%s",
        V1_MOUNT "40 1 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n");
    put("/proc/self/cgroup", "1:cpu,cpuacct:/one\n0::/two\n");
    put("/sys/fs/cgroup/unified/two/cpu.max", "500000 100000\n");
    put("/sys/fs/cgroup/cpu,cpuacct/one/cpu.cfs_quota_us", "400000\n");
    put("/sys/fs/cgroup/cpu,cpuacct/one/cpu.cfs_period_us", "100000\n");
    expect(8, 4, 4);
    put("/sys/fs/cgroup/unified/two/cpu.max", "250000 100000\n");
    expect(8, 2.5, 3);
}
END_TEST

/* A container without a cgroup namespace: the mount shows only the lower part of the tree that our path names. */
START_TEST(container_mount_hides_the_upper_part)
{
    put("/proc/self/mountinfo", "30 1 0:28 /docker/12 /sys/fs/cgroup ro - cgroup2 cgroup rw\n");
    put("/proc/self/cgroup", "0::/docker/12/inner\n");
    put("/sys/fs/cgroup/inner/cpu.max", "max 100000\n");
    put("/sys/fs/cgroup/cpu.max", "150000 100000\n");
    expect(8, 1.5, 2);
}
END_TEST

START_TEST(path_out_of_sight_falls_back_to_the_mount)
{
    use_v2("/../../outside");
    put("/sys/fs/cgroup/cpu.max", "150000 100000\n");
    expect(8, 1.5, 2);
}
END_TEST

START_TEST(mount_that_shows_our_cgroup_wins)
{
    put("/proc/self/mountinfo", "%s",
        "29 1 0:28 /other /mnt/wrong rw - cgroup2 cgroup rw\n"
        "30 1 0:28 / /mnt/with\\040blank rw - cgroup2 cgroup rw\n");
    put("/proc/self/cgroup", "0::/app\n");
    put("/mnt/wrong/cpu.max", "100000 100000\n");
    put("/mnt/with blank/app/cpu.max", "300000 100000\n");
    expect(8, 3, 3);
}
END_TEST

static const char *const malformed[] = {
    "100000", /* in version 1 this is as it should be */
    "", "\n", "max", "100000 0\n", "0 100000\n", "-5 100000\n", "1e5 100000\n", "100000 100000 7\n",
    "100000x 100000\n", "99999999999999999999999 100000\n", "\377\376\1\2", "  100000 100000\n",
};

START_TEST(malformed_is_no_quota)
{
    use_v2("/app");
    put("/sys/fs/cgroup/app/cpu.max", "%s", malformed[_i]);
    expect(8, 0, 8);
}
END_TEST

START_TEST(malformed_v1_is_no_quota)
{
    use_v1("/app");
    put("/sys/fs/cgroup/cpu,cpuacct/app/cpu.cfs_quota_us", "150000\n");
    put("/sys/fs/cgroup/cpu,cpuacct/app/cpu.cfs_period_us", "%s", malformed[_i]);
    expect(8, 0, 8);
}
END_TEST

static const char *const nonsense[] = {
    "", "\n\n", ":", "::", "0:", "0::", "0::app\n", "0:::/", " - ", "a - b", "1 2 3 4 5 - ", "1 2 3 / /m - cgroup2",
    "1 2 3 / /m - cgroup2 x", "1 2 3 \\ \\04 - cgroup2 x rw", "- - - - - - - cgroup2 cgroup2 cgroup2",
};

START_TEST(nonsense_in_proc_is_survived)
{
    for (size_t i = 0; i < sizeof nonsense / sizeof nonsense[0]; i++) {
        put("/proc/self/mountinfo", "%s", nonsense[_i]);
        put("/proc/self/cgroup", "%s", nonsense[i]);
        expect(8, 0, 8);
        put("/proc/self/cgroup", "0::/x\n1:cpu:/x\n");
        expect(8, 0, 8);
    }
}
END_TEST

START_TEST(overlong_paths_are_survived)
{
    char path[3000] = "/";

    memset(path + 1, 'x', sizeof path - 2);
    for (size_t i = 200; i < sizeof path - 1; i += 200)
        path[i] = '/';
    path[sizeof path - 1] = '\0';
    use_v2(path);
    expect(8, 0, 8);
    path[900] = '\0';
    use_v2(path);
    put("/sys/fs/cgroup/cpu.max", "150000 100000\n");
    expect(8, 1.5, 2);
}
END_TEST

START_TEST(long_source_is_cut_in_front)
{
    char path[400], name[500];

    snprintf(path, sizeof path, "/%0200d/leaf", 0);
    use_v2(path);
    snprintf(name, sizeof name, "/sys/fs/cgroup%s/cpu.max", path);
    put(name, "150000 100000\n");
    expect(8, 1.5, 2);
    ck_assert_str_eq(budget.source + strlen(budget.source) - 5, "/leaf");
    ck_assert_ptr_nonnull(strstr(budget.source, "..."));
}
END_TEST

START_TEST(reread_notices_a_change)
{
    struct hop__budget_files files;

    use_v2("/app");
    put("/sys/fs/cgroup/app/cpu.max", "max 100000\n");
    ck_assert_int_eq(hop__budget_find(&files, root), 0);
    ck_assert_int_eq(hop__budget_reread(&budget, &files, 8), 1);
    ck_assert_int_eq(hop__budget_reread(&budget, &files, 8), 0);
    put("/sys/fs/cgroup/app/cpu.max", "200000 100000\n");
    ck_assert_int_eq(hop__budget_reread(&budget, &files, 8), 1);
    ck_assert_int_eq(budget.width, 2);
    ck_assert_int_eq(hop__budget_reread(&budget, &files, 1), 1);
    put("/sys/fs/cgroup/app/cpu.max", "max 100000\n");
    ck_assert_int_eq(hop__budget_reread(&budget, &files, 8), 1);
    ck_assert_int_eq(budget.width, 8);
    ck_assert(!(budget.quota > 0));
}
END_TEST

/* A server at its file limit must not take every CPU because it cannot read its quota. */
START_TEST(quota_holds_at_the_file_limit)
{
    struct hop__budget_files files;
    struct rlimit limit;
    int version;

    for (version = 1; version <= 2; version++) {
        version == 1 ? use_v1("/app") : use_v2("/app");
        put("/sys/fs/cgroup/app/cpu.max", "200000 100000\n");
        put("/sys/fs/cgroup/cpu,cpuacct/app/cpu.cfs_quota_us", "200000\n");
        put("/sys/fs/cgroup/cpu,cpuacct/app/cpu.cfs_period_us", "100000\n");
        budget = (struct hop__budget){ 0 };
        ck_assert_int_eq(hop__budget_find(&files, root), 0);
        ck_assert_int_eq(hop__budget_reread(&budget, &files, 8), 1);
        ck_assert_int_eq(budget.width, 2);
        ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &limit), 0);
        ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &(struct rlimit){ 0, limit.rlim_max }), 0);
        ck_assert_int_eq(hop__budget_reread(&budget, &files, 8), 0);
        ck_assert_int_eq(budget.width, 2);
        ck_assert_ptr_nonnull(strstr(budget.source, "quota of 2.00 CPUs"));
        ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
        ck_assert_int_eq(hop__budget_reread(&budget, &files, 8), 0);
    }
}
END_TEST

/* ---- Whose cgroup ---- */

enum { SHELL = 400000001, CHILD, GRANDCHILD, STRANGER, WORKQUEUE }; /* pids that the kernel never gives out */

static void put_process(int pid, int parent, unsigned flags)
{
    char name[64];

    snprintf(name, sizeof name, "/proc/%d/stat", pid);
    put(name, "%d (a ) name) S %d 1 1 0 -1 %u 0 0\n", pid, parent, flags);
}

static void use_family(void)
{
    put_process(1, 0, 0);
    put_process(SHELL, 1, 0);
    put_process(getpid(), SHELL, 0);
    put_process(CHILD, getpid(), 0);
    put_process(GRANDCHILD, CHILD, 0);
    put_process(STRANGER, SHELL, 0);
    put_process(WORKQUEUE, 2, 0x00208040);
}

START_TEST(family_alone_owns_the_cgroup)
{
    use_v2("/app");
    use_family();
    put("/sys/fs/cgroup/app/cpu.weight", "100\n");
    put("/sys/fs/cgroup/app/cgroup.procs", "1\n%d\n%d\n%d\n%d\n", SHELL, getpid(), CHILD, GRANDCHILD);
    ck_assert(hop__budget_own_cgroup(root));
    put("/sys/fs/cgroup/app/cgroup.procs", "%d\n%d\n", getpid(), STRANGER);
    ck_assert(!hop__budget_own_cgroup(root));
    put("/sys/fs/cgroup/app/cgroup.procs", "%d\n0\n", getpid());
    ck_assert(!hop__budget_own_cgroup(root));
    put("/sys/fs/cgroup/app/cgroup.procs", "%d\n%d\n", getpid(), WORKQUEUE + 1);
    ck_assert(!hop__budget_own_cgroup(root));
    put("/sys/fs/cgroup/app/cgroup.procs", "%s", "");
    ck_assert(!hop__budget_own_cgroup(root));
    put("/sys/fs/cgroup/app/cgroup.procs", "%d\ngarbage\n", getpid());
    ck_assert(!hop__budget_own_cgroup(root));
}
END_TEST

START_TEST(v2_without_cpu_controller_is_shared)
{
    use_v2("/app");
    use_family();
    put("/sys/fs/cgroup/app/cgroup.procs", "%d\n", getpid());
    ck_assert(!hop__budget_own_cgroup(root));
}
END_TEST

START_TEST(v1_cpu_controller_decides)
{
    use_v1("/app");
    use_family();
    put("/sys/fs/cgroup/cpu,cpuacct/app/cgroup.procs", "%d\n", getpid());
    ck_assert(hop__budget_own_cgroup(root));
    put("/sys/fs/cgroup/cpu,cpuacct/app/cgroup.procs", "%d\n%d\n", STRANGER, getpid());
    ck_assert(!hop__budget_own_cgroup(root));
}
END_TEST

START_TEST(parent_loop_ends)
{
    use_v1("/app");
    put_process(getpid(), SHELL, 0);
    put_process(SHELL, getpid(), 0);
    put_process(STRANGER, CHILD, 0);
    put_process(CHILD, STRANGER, 0);
    put("/sys/fs/cgroup/cpu,cpuacct/app/cgroup.procs", "%d\n%d\n", SHELL, STRANGER);
    ck_assert(!hop__budget_own_cgroup(root));
}
END_TEST

/* In the root cgroup of the machine: only if the process list is the machine's, and nobody else is in it. */
START_TEST(machine_root_asks_all_processes)
{
    char stranger[128];

    snprintf(stranger, sizeof stranger, "%s/proc/%d/stat", root, STRANGER);
    use_v2("/");
    use_family();
    put("/sys/fs/cgroup/cgroup.procs", "%d\n", getpid());
    ck_assert(!hop__budget_own_cgroup(root));
    put_process(STRANGER, 1, 0x00200000); /* now a kernel thread */
    ck_assert(hop__budget_own_cgroup(root));
    unlink(stranger); /* a process that hides is a stranger */
    ck_assert(!hop__budget_own_cgroup(root));
    put_process(STRANGER, getpid(), 0);
    ck_assert(hop__budget_own_cgroup(root));
    put_process(WORKQUEUE, getpid(), 0); /* no kernel thread in sight: a pid namespace */
    ck_assert(!hop__budget_own_cgroup(root));
}
END_TEST

START_TEST(container_root_asks_its_members)
{
    use_v2("/");
    use_family();
    put_link("/proc/self/ns/cgroup", "cgroup:[4026532777]");
    put("/sys/fs/cgroup/cpu.weight", "100\n");
    put("/sys/fs/cgroup/cgroup.procs", "1\n%d\n", getpid());
    ck_assert(hop__budget_own_cgroup(root));
}
END_TEST

START_TEST(cgroup_out_of_sight_is_shared)
{
    use_v2("/../../outside");
    use_family();
    put("/sys/fs/cgroup/cpu.weight", "100\n");
    put("/sys/fs/cgroup/cgroup.procs", "%d\n", getpid());
    ck_assert(!hop__budget_own_cgroup(root));
}
END_TEST

/* --- pace --- */

static struct hop__pace pace;

static void make_pace(void)
{
    hop__pace_init(&pace);
    hop__pace_set(&pace, 1.5, 100 * HOP_MS);
}

static void free_pace(void)
{
    hop__pace_free(&pace);
}

/* Two workers that compute whenever they may, a loop that uses so much of a CPU; asked each millisecond. */
static hop_ns used_in_a_period(hop_ns from, double loop)
{
    static hop_ns used;
    hop_ns start = used, until = from, now;

    for (now = from; now < from + 100 * HOP_MS; now += HOP_MS) {
        used += (hop_ns)(loop * HOP_MS);
        if (now < until)
            continue;
        used += 2 * HOP_MS;
        until = now + hop__pace_ask(&pace, now, used);
    }
    return used - start;
}

START_TEST(pace_keeps_below_the_quota)
{
    int i;

    make_pace();
    for (i = 0; i < 20; i++) {
        hop_ns used = used_in_a_period(i * 100 * HOP_MS, _i / 4.0);

        ck_assert_msg(used <= 150 * HOP_MS, "%d: %lld ns", i, (long long)used);
        ck_assert_msg(used >= 130 * HOP_MS, "%d: %lld ns", i, (long long)used);
    }
    free_pace();
}
END_TEST

START_TEST(pace_lets_a_debt_be_paid_by_waiting)
{
    make_pace();
    ck_assert_int_eq(hop__pace_ask(&pace, 0, 0), 0);
    /* A job of 40 ms on each of two workers: 80 ms less what came in. */
    ck_assert_int_eq(hop__pace_ask(&pace, 40 * HOP_MS, 80 * HOP_MS) / HOP_MS, (80 - 40 * 1.425) / 1.425);
    ck_assert_int_gt(hop__pace_ask(&pace, 56 * HOP_MS, 80 * HOP_MS), 0);
    ck_assert_int_eq(hop__pace_ask(&pace, 57 * HOP_MS, 80 * HOP_MS), 0);
    free_pace();
}
END_TEST

/* Loops that use more than all of it, for an hour. */
START_TEST(pace_never_waits_longer_than_a_period)
{
    int i;

    make_pace();
    for (i = 1; i < 36000; i++)
        ck_assert_int_le(hop__pace_ask(&pace, i * 100 * HOP_MS, i * 200 * HOP_MS), 100 * HOP_MS);
    free_pace();
}
END_TEST

START_TEST(pace_forgets_time_in_which_nobody_asked)
{
    make_pace();
    ck_assert_int_eq(hop__pace_ask(&pace, 0, 0), 0);
    ck_assert_int_eq(hop__pace_ask(&pace, HOP_SEC, 2 * HOP_SEC), 0); /* the kernel has settled that */
    ck_assert_int_gt(hop__pace_ask(&pace, HOP_SEC + 10 * HOP_MS, 2 * HOP_SEC + 40 * HOP_MS), 0); /* saved nothing */
    ck_assert_int_eq(hop__pace_ask(&pace, HOP_SEC, 2 * HOP_SEC) > 0, 1); /* its clocks were read earlier */
    hop__pace_set(&pace, 0, 0);
    ck_assert_int_eq(hop__pace_ask(&pace, HOP_SEC + 20 * HOP_MS, 9 * HOP_SEC), 0);
    free_pace();
}
END_TEST

#define COUNT(array) ((int)(sizeof(array) / sizeof((array)[0])))

static Suite *suite(void)
{
    Suite *s = suite_create("budget");
    TCase *quota = tcase_create("quota"), *owner = tcase_create("owner"), *keep = tcase_create("pace");

    tcase_add_checked_fixture(quota, make_root, remove_root);
    tcase_set_timeout(quota, 20);
    tcase_add_test(quota, nothing_mounted_is_no_quota);
    tcase_add_test(quota, this_machine_is_readable);
    tcase_add_test(quota, no_cpus_count_as_one);
    tcase_add_loop_test(quota, v2_rounds_up, 0, COUNT(rounding));
    tcase_add_loop_test(quota, v1_rounds_up, 0, COUNT(rounding));
    tcase_add_test(quota, max_is_no_quota);
    tcase_add_test(quota, v2_parent_may_be_tighter);
    tcase_add_test(quota, v1_parent_may_be_tighter);
    tcase_add_test(quota, hybrid_takes_the_tighter_version);
    tcase_add_test(quota, container_mount_hides_the_upper_part);
    tcase_add_test(quota, path_out_of_sight_falls_back_to_the_mount);
    tcase_add_test(quota, mount_that_shows_our_cgroup_wins);
    tcase_add_loop_test(quota, malformed_is_no_quota, 0, COUNT(malformed));
    tcase_add_loop_test(quota, malformed_v1_is_no_quota, 1, COUNT(malformed));
    tcase_add_loop_test(quota, nonsense_in_proc_is_survived, 0, COUNT(nonsense));
    tcase_add_test(quota, overlong_paths_are_survived);
    tcase_add_test(quota, long_source_is_cut_in_front);
    tcase_add_test(quota, reread_notices_a_change);
    tcase_add_test(quota, quota_holds_at_the_file_limit);
    suite_add_tcase(s, quota);

    tcase_add_checked_fixture(owner, make_root, remove_root);
    tcase_set_timeout(owner, 20);
    tcase_add_test(owner, family_alone_owns_the_cgroup);
    tcase_add_test(owner, v2_without_cpu_controller_is_shared);
    tcase_add_test(owner, v1_cpu_controller_decides);
    tcase_add_test(owner, parent_loop_ends);
    tcase_add_test(owner, machine_root_asks_all_processes);
    tcase_add_test(owner, container_root_asks_its_members);
    tcase_add_test(owner, cgroup_out_of_sight_is_shared);
    suite_add_tcase(s, owner);

    tcase_add_loop_test(keep, pace_keeps_below_the_quota, 0, 5);
    tcase_add_test(keep, pace_lets_a_debt_be_paid_by_waiting);
    tcase_add_test(keep, pace_never_waits_longer_than_a_period);
    tcase_add_test(keep, pace_forgets_time_in_which_nobody_asked);
    suite_add_tcase(s, keep);
    return s;
}

int main(void)
{
    SRunner *runner = srunner_create(suite());
    int failed;

    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
