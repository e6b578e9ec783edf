/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * A host that changes its mind: CPUs and quota are taken from a program at work, and given back. The pool follows, the
 * results stay right, and hop_describe tells it. What needs privilege says so where it cannot be had, and passes empty.
 */
#include "harness.h"

#include <fcntl.h>
#include <limits.h>
#include <sched.h>
#include <stdarg.h>
#include <stdbool.h>
#include <sys/mount.h>
#include <sys/stat.h>

enum { TEXT_BYTES = 4096 };

static pid_t program; /* the one that runs the tests: names what they make */

/* --- a program at work --- */

static int add_up(size_t lo, size_t hi, void *into, void *arg)
{
    (void)arg;
    for (; lo < hi; lo++)
        *(long *)into += (long)lo;
    return 0;
}

static void add_sums(void *into, const void *from, void *arg)
{
    (void)arg;
    *(long *)into += *(const long *)from;
}

static int fibonacci(void *arg)
{
    int *n = arg, a = *n - 1, b = *n - 2;

    if (*n < 2)
        return 0;
    must_eq(hop_join(fibonacci, &a, fibonacci, &b), 0);
    *n = a + b;
    return 0;
}

static int work_in_task(void *arg)
{
    int n = 12;

    must_eq(hop_offload(fibonacci, &n), 0);
    must_eq(n, 144);
    hop_on_cpu {
        n = 7;
        must_eq(fibonacci(&n), 0);
        must_eq(n, 13);
    }
    hop_on_team
        n++;
    must_eq(n, 14);
    return count_it(arg);
}

static void work(void)
{
    enum { TASKS = 8 };
    atomic_int done = 0;
    long sum = 0;
    hop_scope scope;
    int i;

    must_eq(hop_parallel_reduce(0, 100000, add_up, add_sums, NULL, &sum, sizeof sum, NULL), 0);
    must_eq(sum, 4999950000L);
    must_eq(hop_scope_open(&scope), 0);
    for (i = 0; i < TASKS; i++)
        must_eq(hop_spawn(&scope, work_in_task, &done, NULL), 0);
    must_eq(hop_scope_close(&scope), 0);
    must_eq(atomic_load(&done), TASKS);
}

static bool describes(const char *text)
{
    char all[TEXT_BYTES] = "";
    FILE *to = fmemopen(all, sizeof all, "w");

    must(to != NULL);
    must_eq(hop_describe(to), 0);
    fclose(to);
    return strstr(all, text) != NULL;
}

/* Goes on working until it is so; the time limit of the test says that it never was. */
static void work_until(bool so, const char *format, ...) __attribute__((format(printf, 2, 3)));

static void work_until(bool so, const char *format, ...)
{
    char text[200];
    va_list args;

    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    printf("until %s\"%s\"\n", so ? "" : "not ", text);
    fflush(stdout);
    do
        work();
    while (describes(text) != so);
}

static void must_be_active(int n)
{
    hop_stats s;

    must_eq(hop_stats_read(&s), 0);
    must_eq(s.workers_active, n);
}

/* --- masks --- */

static cpu_set_t own_mask(void)
{
    cpu_set_t set;

    must_eq(sched_getaffinity(0, sizeof set, &set), 0);
    return set;
}

static int nth_cpu(const cpu_set_t *set, int n)
{
    int cpu = 0;

    for (;; cpu++)
        if (CPU_ISSET(cpu, set) && n-- == 0)
            return cpu;
}

static cpu_set_t only(int cpu)
{
    cpu_set_t set;

    CPU_ZERO(&set);
    CPU_SET(cpu, &set);
    return set;
}

/* Calls each with the number of every thread of this process. */
static void for_each_thread(void (*each)(pid_t, const cpu_set_t *), const cpu_set_t *set)
{
    DIR *threads = opendir("/proc/self/task");
    struct dirent *entry;

    must(threads != NULL);
    while ((entry = readdir(threads)))
        if (atoi(entry->d_name) > 0)
            each(atoi(entry->d_name), set);
    closedir(threads);
}

/* (A thread of the blocking lane may have ended meanwhile.) */
static void give_mask(pid_t thread, const cpu_set_t *set)
{
    must(sched_setaffinity(thread, sizeof *set, set) == 0 || errno == ESRCH);
}

static void must_keep_to(pid_t thread, const cpu_set_t *set)
{
    cpu_set_t mask, both;

    if (sched_getaffinity(thread, sizeof mask, &mask) < 0)
        return;
    CPU_AND(&both, &mask, set);
    must(CPU_EQUAL(&both, &mask));
}

/* As taskset -a does from outside. What it was given a program keeps to: it does not take the rest again. */
START_TEST(masks_narrow_and_widen)
{
    cpu_set_t all = own_mask(), one;
    int n = CPU_COUNT(&all), i;
    hop_runtime *rt;

    if (n < 2) {
        printf("follow: masks: one CPU has nothing to take away\n");
        return;
    }
    must_eq(hop_runtime_new(&rt, NULL), 0);
    must_be_active(n);
    must(describes(", pinned\n"));
    work(); /* the loop's thread has begun too, which is given the whole mask then */
    for (i = 0; i < 2; i++) {
        one = only(nth_cpu(&all, i ? n - 1 : 0));
        for_each_thread(give_mask, &one);
        work_until(true, "budget: 1 of 1 CPUs");
        must_be_active(1);
        work_until(true, "pinned, but for");
        for_each_thread(must_keep_to, &one);
        for_each_thread(give_mask, &all);
        work_until(true, "budget: %d of %d CPUs", n, n);
        must_be_active(n);
        work_until(true, ", pinned\n");
    }
    must_eq(hop_runtime_free(rt), 0);
}
END_TEST

/* --- control groups --- */

struct group {
    char home[PATH_MAX]; /* where the process was */
    char path[PATH_MAX]; /* where it is: a child of that */
};

static bool write_text(const char *dir, const char *name, const char *text)
{
    char path[PATH_MAX + 64];
    ssize_t n = (ssize_t)strlen(text);
    int fd;

    snprintf(path, sizeof path, "%s/%s", dir, name);
    fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    n -= write(fd, text, (size_t)n);
    close(fd);
    return n == 0;
}

static bool copy_text(const char *from, const char *to, const char *name)
{
    char path[PATH_MAX + 64], text[256];
    FILE *file;
    bool got;

    snprintf(path, sizeof path, "%s/%s", from, name);
    file = fopen(path, "r");
    got = file && fgets(text, sizeof text, file);
    if (file)
        fclose(file);
    return got && write_text(to, name, text);
}

static bool is_listed(const char *list, const char *word)
{
    size_t n = strlen(word);

    for (const char *at = list; at; at = strchr(at, ','), at = at ? at + 1 : NULL)
        if (!strncmp(at, word, n) && (at[n] == ',' || at[n] == '\0' || at[n] == '\n' || at[n] == ' '))
            return true;
    return false;
}

/* "12 3 0:4 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu": where the controller ("": version 2) is mounted whole. */
static bool find_mount(const char *controller, char point[PATH_MAX])
{
    FILE *file = fopen("/proc/self/mountinfo", "r");
    char line[4096], root[256], type[64], options[512];
    bool found = false;

    while (file && !found && fgets(line, sizeof line, file)) {
        char *dash = strstr(line, " - ");

        if (!dash || sscanf(dash, " - %63s %*s %511s", type, options) != 2 ||
            sscanf(line, "%*d %*d %*s %255s %4095s", root, point) != 2 || strcmp(root, "/"))
            continue;
        found = *controller ? !strcmp(type, "cgroup") && is_listed(options, controller) : !strcmp(type, "cgroup2");
    }
    if (file)
        fclose(file);
    return found;
}

/* The own path in that hierarchy. */
static bool find_own(const char *controller, char path[PATH_MAX])
{
    FILE *file = fopen("/proc/self/cgroup", "r");
    char line[PATH_MAX + 256];
    bool found = false;

    while (file && !found && fgets(line, sizeof line, file)) {
        char *names = strchr(line, ':'), *own = names ? strchr(names + 1, ':') : NULL;

        if (!own)
            continue;
        *own++ = '\0';
        own[strcspn(own, "\n")] = '\0';
        found = *controller ? is_listed(names + 1, controller) : !names[1];
        if (found)
            snprintf(path, PATH_MAX, "%s", strcmp(own, "/") ? own : "");
    }
    if (file)
        fclose(file);
    return found;
}

static void name_group(struct group *g, const char *controller)
{
    char point[PATH_MAX / 2] = "", own[PATH_MAX / 4] = "", long_point[PATH_MAX], long_own[PATH_MAX];

    if (find_mount(controller, long_point) && find_own(controller, long_own)) {
        snprintf(point, sizeof point, "%.2000s", long_point);
        snprintf(own, sizeof own, "%.1000s", long_own);
    }
    snprintf(g->home, sizeof g->home, "%s%s", point, own);
    snprintf(g->path, sizeof g->path, "%s%s/hop-follow-%d", point, own, (int)program);
}

static bool enter_group(const char *path)
{
    char pid[16];

    snprintf(pid, sizeof pid, "%d", (int)getpid());
    return write_text(path, "cgroup.procs", pid);
}

static void remove_groups(void)
{
    static const char *const controllers[] = { "cpu", "cpuset" };
    struct group g;
    size_t i;

    for (i = 0; i < sizeof controllers / sizeof *controllers; i++) {
        name_group(&g, controllers[i]);
        rmdir(g.path);
    }
}

static bool leave_group(const struct group *g)
{
    return enter_group(g->home) && rmdir(g->path) == 0;
}

/* Version 1: a group of our own that this process is in. */
static bool make_group(struct group *g, const char *controller)
{
    name_group(g, controller);
    if (mkdir(g->path, 0700) == 0) {
        if (!strcmp(controller, "cpuset")) {
            copy_text(g->home, g->path, "cpuset.cpus");
            copy_text(g->home, g->path, "cpuset.mems");
        }
        if (enter_group(g->path))
            return true;
        rmdir(g->path);
    }
    printf("follow: no group of our own for the controller %s: %s\n", controller, strerror(errno));
    return false;
}

START_TEST(cpuset_shrinks_and_grows)
{
    cpu_set_t all = own_mask();
    int n = CPU_COUNT(&all), i;
    char cpu[16];
    struct group g;
    hop_runtime *rt;

    if (n < 2 || !make_group(&g, "cpuset"))
        return;
    must_eq(hop_runtime_new(&rt, NULL), 0);
    must_be_active(n);
    for (i = 0; i < 2; i++) {
        snprintf(cpu, sizeof cpu, "%d", nth_cpu(&all, i ? n - 1 : 0));
        must(write_text(g.path, "cpuset.cpus", cpu));
        work_until(true, "budget: 1 of 1 CPUs");
        must_be_active(1);
        work_until(true, "pinned, but for");
        must(copy_text(g.home, g.path, "cpuset.cpus"));
        work_until(true, "budget: %d of %d CPUs", n, n);
        must_be_active(n);
        work_until(true, ", pinned\n");
    }
    must_eq(hop_runtime_free(rt), 0);
    must(leave_group(&g));
}
END_TEST

/* What a quota of so many hundredths of a CPU leaves of n CPUs. */
static int width(int hundredths, int n)
{
    int cpus = (hundredths + 99) / 100;

    return hundredths > 0 && cpus < n ? cpus : n;
}

static void set_quota_v1(const char *dir, int hundredths)
{
    char text[16];

    snprintf(text, sizeof text, "%d", hundredths > 0 ? hundredths * 1000 : -1);
    must(write_text(dir, "cpu.cfs_quota_us", text));
}

static void set_quota_v2(const char *dir, int hundredths)
{
    char text[32];

    snprintf(text, sizeof text, hundredths > 0 ? "%d 100000\n" : "max 100000\n", hundredths * 1000);
    must(write_text(dir, "cpu.max", text));
}

static int count_to(size_t lo, size_t hi, void *arg)
{
    volatile size_t n;

    (void)arg;
    for (n = lo * 20000; n < hi * 20000; n++)
        ;
    return 0;
}

/* Computes all the time: whether its workers had to wait for the quota's sake. */
static bool waits_for_quota(void)
{
    hop_stats before, after;

    must_eq(hop_stats_read(&before), 0);
    must_eq(hop_parallel_for(0, 3000, count_to, NULL, NULL), 0);
    must_eq(hop_stats_read(&after), 0);
    return after.pauses > before.pauses;
}

/* 0.1 CPUs, 1.5, none, 1, in a directory that can be written. */
static void follow_quota(const char *dir, void (*set)(const char *, int), const char *version)
{
    static const int quotas[] = { 10, 150, 0, 100 };
    cpu_set_t all = own_mask();
    int n = CPU_COUNT(&all), i;
    hop_runtime *rt;

    set(dir, quotas[0]);
    must_eq(hop_runtime_new(&rt, NULL), 0);
    must_be_active(1);
    for (i = 0; i < 4; i++) {
        set(dir, quotas[i]);
        if (quotas[i])
            work_until(true, "cgroup %s quota of %.2f CPUs", version, quotas[i] / 100.0);
        else
            work_until(false, "cgroup %s quota", version);
        must_be_active(width(quotas[i], n));
        must(describes("not pinned") == (width(quotas[i], n) < n));
        must(describes("keep below it") == (quotas[i] > 0 && quotas[i] < n * 100));
        if (quotas[i] <= 10) /* of more than that a busy machine may leave too little to have to wait */
            must(waits_for_quota() == (quotas[i] > 0));
    }
    must_eq(hop_runtime_free(rt), 0);
}

START_TEST(quota_of_version_1_changes)
{
    struct group g;

    if (!make_group(&g, "cpu"))
        return;
    must(write_text(g.path, "cpu.cfs_period_us", "100000"));
    follow_quota(g.path, set_quota_v1, "v1");
    must(leave_group(&g));
}
END_TEST

/* Files in the place where this process would find the kernel's, in a mount namespace of its own. */
START_TEST(quota_of_version_2_changes)
{
    char point[PATH_MAX], own[PATH_MAX], path[PATH_MAX + 16];
    char *at;
    int fd;

    if (!find_mount("", point) || !find_own("", own) || unshare(CLONE_NEWNS) < 0 ||
        mount("none", "/", "none", MS_REC | MS_PRIVATE, "") < 0 || mount("tmpfs", point, "tmpfs", 0, "mode=700") < 0) {
        printf("follow: version 2: not here: %s\n", strerror(errno));
        return;
    }
    must(chdir(point) == 0);
    for (at = own; *at; at++)
        if (at > own && *at == '/') {
            *at = '\0';
            mkdir(own + 1, 0700);
            *at = '/';
        }
    if (*own)
        must(mkdir(own + 1, 0700) == 0);
    must_eq(snprintf(path, sizeof path, "%s/cpu.max", *own ? own + 1 : "."), (int)strlen(path));
    fd = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
    must(fd >= 0);
    close(fd);
    follow_quota(*own ? own + 1 : ".", set_quota_v2, "v2");
}
END_TEST

int main(void)
{
    const TTest *const tests[] = { masks_narrow_and_widen, cpuset_shrinks_and_grows, quota_of_version_1_changes,
                                   quota_of_version_2_changes };
    Suite *suite = suite_create("follow");
    TCase *all = tcase_create("follow");
    SRunner *runner = srunner_create(suite);
    int failed;

    program = getpid();
    tcase_set_timeout(all, 2 * TEST_SECONDS);
    for (size_t i = 0; i < sizeof tests / sizeof *tests; i++)
        tcase_add_test(all, tests[i]);
    suite_add_tcase(suite, all);
    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    remove_groups(); /* what a test that failed has left */
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
