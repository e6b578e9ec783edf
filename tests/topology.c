/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * The topology: placement on synthetic machines, masks and pins on this one, and the repair of what OpenMP runtimes do
 * to the initial thread. They do it before main, so that the last kind runs this very program again ("probe") with the
 * variables set.
 */
#define _GNU_SOURCE 1
#include "compute/topology.h"

#include <check.h>
#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

enum { PROBE_OK = 0, PROBE_CPUS = 11, PROBE_MASK, PROBE_THREAD, PROBE_NOTE, PROBE_PIN, PROBE_REGION, PROBE_OPEN };

static int affinity_error; /* what sched_getaffinity fails with; 0: it works */

/* Stands in for libc's, also for hwloc, and fails on demand. */
int sched_getaffinity(pid_t pid, size_t size, cpu_set_t *set)
{
    long n;

    if (affinity_error) {
        errno = affinity_error;
        return -1;
    }
    n = syscall(SYS_sched_getaffinity, pid, size, set);
    if (n < 0)
        return -1;
    memset((char *)set + n, 0, size - (size_t)n);
    return 0;
}

/* Empty when the call fails. No ck_assert here or in describe: the probe is no Check test. */
static cpu_set_t mask_now(void)
{
    cpu_set_t set;

    CPU_ZERO(&set);
    (void)sched_getaffinity(0, sizeof set, &set);
    return set;
}

static int cpus_now(void)
{
    cpu_set_t set = mask_now();

    return CPU_COUNT(&set);
}

/* A synthetic machine names its memory: hwloc adds it otherwise, by a memmove that valgrind takes for a memcpy. */
static struct hop__topology *open_topology(const char *synthetic)
{
    struct hop__topology *t = NULL;

    if (synthetic)
        ck_assert_int_eq(setenv("HWLOC_SYNTHETIC", synthetic, 1), 0);
    else
        unsetenv("HWLOC_SYNTHETIC");
    ck_assert_int_eq(hop__topology_open(&t), 0);
    ck_assert_ptr_nonnull(t);
    return t;
}

static char *describe(const struct hop__topology *t)
{
    static char text[2048];
    FILE *to;

    memset(text, 0, sizeof text);
    if ((to = fmemopen(text, sizeof text - 1, "w"))) {
        hop__topology_describe(t, to);
        fclose(to);
    }
    return text;
}

/* ---- Placement ---- */

START_TEST(cores_come_before_hyperthreads)
{
    struct hop__topology *t = open_topology("[numa] pack:2 core:8 pu:2");
    struct hop__place place[64];

    ck_assert_int_eq(hop__topology_cpus(t), 32);
    ck_assert_int_eq(hop__topology_places(t, place, 64), 64);
    for (int i = 0; i < 64; i++) {
        ck_assert_int_eq(place[i].cpu, i % 16 * 2 + (i % 32 >= 16));
        ck_assert_int_eq(place[i].core, i % 16);
        ck_assert_int_eq(place[i].pack, i % 16 / 8);
        ck_assert(!place[i].bindable);
    }
    hop__topology_close(t);
}
END_TEST

START_TEST(numa_nodes_are_filled_in_turn)
{
    struct hop__topology *t = open_topology("pack:2 [numa] l3:2 core:3 pu:1");
    struct hop__place place[12];

    ck_assert_int_eq(hop__topology_places(t, place, 12), 12);
    for (int i = 0; i < 12; i++) {
        ck_assert_int_eq(place[i].core, i);
        ck_assert_int_eq(place[i].numa, i / 6);
        ck_assert_int_eq(place[i].pack, i / 6);
    }
    hop__topology_close(t);
}
END_TEST

/* The kernel of such a machine numbers all first hardware threads, then all second ones. */
START_TEST(kernel_numbers_are_reported)
{
    struct hop__topology *t = open_topology("[numa] pack:1 core:2 pu:2(indexes=0,2,1,3)");
    static const int expected[] = { 0, 1, 2, 3 };
    struct hop__place place[4];

    ck_assert_int_eq(hop__topology_places(t, place, 4), 4);
    for (int i = 0; i < 4; i++)
        ck_assert_int_eq(place[i].cpu, expected[i]);
    hop__topology_close(t);
}
END_TEST

START_TEST(machine_without_cores_works)
{
    struct hop__topology *t = open_topology("[numa] pu:3");
    struct hop__place place[3];

    ck_assert_int_eq(hop__topology_places(t, place, 3), 3);
    for (int i = 0; i < 3; i++) {
        ck_assert_int_eq(place[i].cpu, i);
        ck_assert_int_eq(place[i].core, -1);
        ck_assert_int_eq(place[i].pack, -1);
    }
    hop__topology_close(t);
}
END_TEST

START_TEST(small_team_is_the_head_of_a_large_one)
{
    struct hop__topology *t = open_topology("[numa] pack:4 core:5 pu:4");
    struct hop__place large[80], small[80];

    ck_assert_int_eq(hop__topology_places(t, large, 80), 80);
    for (int n = 0; n < 80; n++) {
        ck_assert_int_eq(hop__topology_places(t, small, n), n);
        ck_assert_int_eq(memcmp(small, large, (size_t)n * sizeof *small), 0);
    }
    hop__topology_close(t);
}
END_TEST

START_TEST(places_refuses_nonsense)
{
    struct hop__topology *t = open_topology("[numa] pu:2");
    struct hop__place place;

    ck_assert_int_eq(hop__topology_places(t, &place, -1), -EINVAL);
    ck_assert_int_eq(hop__topology_places(t, NULL, 1), -EINVAL);
    ck_assert_int_eq(hop__topology_places(t, NULL, 0), 0);
    hop__topology_close(t);
    hop__topology_close(NULL);
}
END_TEST

START_TEST(synthetic_machine_is_harmless)
{
    cpu_set_t before = mask_now(), after;
    struct hop__topology *t = open_topology("[numa] pack:2 core:8 pu:2");
    struct hop__place place;

    hop__topology_places(t, &place, 1);
    ck_assert_int_eq(hop__topology_pin(t, &place), -ENOTSUP);
    ck_assert_int_eq(hop__topology_pinned(t, &place), -ENOTSUP);
    ck_assert_int_eq(hop__topology_unpin(t), 0);
    after = mask_now();
    ck_assert(CPU_EQUAL(&before, &after));
    ck_assert_ptr_nonnull(strstr(describe(t), "synthetic"));
    ck_assert_ptr_nonnull(strstr(describe(t), "packages 2"));
    ck_assert_ptr_nonnull(strstr(describe(t), "cores 16, PUs 32; allowed 32: 0-31"));
    hop__topology_close(t);
}
END_TEST

START_TEST(unreadable_synthetic_does_not_crash)
{
    struct hop__topology *t = NULL;
    int rc;

    setenv("HWLOC_SYNTHETIC", "pack:none of this", 1);
    rc = hop__topology_open(&t);
    ck_assert(rc < 0 ? t == NULL : hop__topology_cpus(t) >= 1);
    hop__topology_close(t);
}
END_TEST

/* ---- This machine ---- */

START_TEST(cpus_are_those_of_the_mask)
{
    cpu_set_t before = mask_now();
    struct hop__topology *t = open_topology(NULL);
    struct hop__place place[CPU_SETSIZE];
    int n = hop__topology_cpus(t);

    ck_assert_int_eq(n, CPU_COUNT(&before));
    ck_assert_int_eq(hop__topology_places(t, place, n), n);
    for (int i = 0; i < n; i++) {
        ck_assert_msg(CPU_ISSET(place[i].cpu, &before), "CPU %d is not ours, or comes twice", place[i].cpu);
        CPU_CLR(place[i].cpu, &before);
    }
    hop__topology_close(t);
}
END_TEST

static void *pin_everywhere(void *arg)
{
    struct hop__topology *t = arg;
    cpu_set_t before = mask_now(), after;
    struct hop__place place[CPU_SETSIZE];
    int n = hop__topology_places(t, place, hop__topology_cpus(t));

    for (int i = 0; i < n; i++) {
        ck_assert_int_eq(hop__topology_pin(t, &place[i]), 0);
        ck_assert_int_eq(sched_getcpu(), place[i].cpu);
        ck_assert_int_eq(hop__topology_pinned(t, &place[i]), 1);
        ck_assert_int_eq(hop__topology_pinned(t, &place[(i + 1) % n]), n == 1 ? 1 : -EXDEV);
    }
    ck_assert_int_eq(hop__topology_unpin(t), 0);
    after = mask_now();
    ck_assert(CPU_EQUAL(&before, &after));
    ck_assert_int_eq(hop__topology_pinned(t, &place[0]), n == 1);
    return NULL;
}

START_TEST(threads_pin_and_unpin_at_once)
{
    struct hop__topology *t = open_topology(NULL);
    pthread_t thread[4];

    for (int i = 0; i < 4; i++)
        ck_assert_int_eq(pthread_create(&thread[i], NULL, pin_everywhere, t), 0);
    for (int i = 0; i < 4; i++)
        ck_assert_int_eq(pthread_join(thread[i], NULL), 0);
    hop__topology_close(t);
}
END_TEST

static void *unpin_inherited(void *arg)
{
    hop__topology_unpin(arg);
    ck_assert_int_eq(cpus_now(), hop__topology_cpus(arg));
    return NULL;
}

START_TEST(unpin_heals_an_inherited_pin)
{
    struct hop__topology *t = open_topology(NULL);
    struct hop__place place;
    pthread_t thread;

    hop__topology_places(t, &place, 1);
    ck_assert_int_eq(hop__topology_pin(t, &place), 0);
    ck_assert_int_eq(pthread_create(&thread, NULL, unpin_inherited, t), 0);
    ck_assert_int_eq(pthread_join(thread, NULL), 0);
    hop__topology_close(t);
}
END_TEST

START_TEST(restricted_mask_is_obeyed)
{
    cpu_set_t whole = mask_now(), one;
    struct hop__topology *t;
    struct hop__place place[3];
    int cpu = CPU_SETSIZE;

    while (!CPU_ISSET(--cpu, &whole))
        ;
    CPU_ZERO(&one);
    CPU_SET(cpu, &one);
    ck_assert_int_eq(sched_setaffinity(0, sizeof one, &one), 0);
    t = open_topology(NULL);
    ck_assert_int_eq(hop__topology_cpus(t), 1);
    ck_assert_int_eq(hop__topology_places(t, place, 3), 3);
    for (int i = 0; i < 3; i++)
        ck_assert_int_eq(place[i].cpu, cpu);
    ck_assert_int_eq(hop__topology_unpin(t), 0);
    ck_assert_int_eq(cpus_now(), 1);
    hop__topology_close(t);
}
END_TEST

START_TEST(place_that_is_not_there_is_refused)
{
    struct hop__topology *t = open_topology(NULL);
    struct hop__place place;

    hop__topology_places(t, &place, 1);
    place.cpu = -1;
    ck_assert_int_eq(hop__topology_pin(t, &place), -EINVAL);
    place.cpu = 100000;
    ck_assert_int_lt(hop__topology_pin(t, &place), 0);
    hop__topology_close(t);
}
END_TEST

static const int affinity_errors[] = { EPERM, ENOSYS, EINVAL, EFAULT };

/* A kernel, filter or emulator that does not tell masks: we plan, and pin nothing that we could not undo. */
START_TEST(system_without_masks_is_survived)
{
    struct hop__topology *t = NULL;
    struct hop__place place;
    int rc;

    unsetenv("HWLOC_SYNTHETIC");
    affinity_error = affinity_errors[_i];
    rc = hop__topology_open(&t);
    ck_assert_int_eq(rc, 0);
    ck_assert_int_ge(hop__topology_cpus(t), 1);
    ck_assert_int_eq(hop__topology_places(t, &place, 1), 1);
    ck_assert(!place.bindable);
    ck_assert_int_eq(hop__topology_pin(t, &place), -ENOTSUP);
    ck_assert_int_eq(hop__topology_unpin(t), -ENOTSUP);
    ck_assert_ptr_nonnull(strstr(describe(t), "does not let us"));
    hop__topology_close(t);
}
END_TEST

/* ---- What OpenMP does to the initial thread ---- */

static void *count_cpus(void *out)
{
    *(int *)out = cpus_now();
    return NULL;
}

/* A region, for what it does to this thread's mask. It shares nothing, since TSan does not see OpenMP's barriers. */
static int probe_region(int cpus)
{
#ifdef _OPENMP
#pragma omp parallel
    {
        (void)cpus_now();
    }
#endif
    return cpus_now() == cpus ? PROBE_OK : PROBE_REGION;
}

static int probe_topology(struct hop__topology *t, int cpus, bool early_region)
{
    struct hop__place place;
    pthread_t thread;
    int inherited = 0;

    if (hop__topology_cpus(t) != cpus)
        return PROBE_CPUS;
    if (cpus_now() != cpus)
        return PROBE_MASK;
    if (pthread_create(&thread, NULL, count_cpus, &inherited) || pthread_join(thread, NULL) || inherited != cpus)
        return PROBE_THREAD;
    if (early_region && cpus > 1 && access("/sys/devices/system/cpu", F_OK) == 0 && !strstr(describe(t), "gave back"))
        return PROBE_NOTE;
    hop__topology_places(t, &place, 1);
    if (hop__topology_pin(t, &place) < 0 || hop__topology_unpin(t) < 0)
        return PROBE_PIN;
    return probe_region(cpus);
}

/* The other program: "probe N before|after" expects N CPUs, and opens a region before the topology or only after. */
static int probe(int cpus, bool early_region)
{
    struct hop__topology *t;
    int rc;

    if (early_region)
        probe_region(cpus);
    if (hop__topology_open(&t) < 0)
        return PROBE_OPEN;
    rc = probe_topology(t, cpus, early_region);
    if (rc != PROBE_OK) {
        fprintf(stderr, "probe %d failed: ", rc);
        hop__topology_describe(t, stderr);
    }
    hop__topology_close(t);
    return rc;
}

static int run_probe(const char *assignment, int cpus, const char *when)
{
    char count[16], program[PATH_MAX] = "", *copy = strdup(assignment);
    int status = 0;
    pid_t child;

    ck_assert_int_gt(readlink("/proc/self/exe", program, sizeof program - 1), 0); /* which under valgrind is valgrind */
    snprintf(count, sizeof count, "%d", cpus);
    child = fork();
    ck_assert_int_ge(child, 0);
    if (child == 0) {
        unsetenv("HWLOC_SYNTHETIC");
        putenv(copy);
        execl(program, "topology", "probe", count, when, (char *)NULL);
        _exit(127);
    }
    free(copy);
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static const char *const bindings[] = {
    "OMP_PROC_BIND=true", "OMP_PROC_BIND=close", "OMP_PROC_BIND=spread", "OMP_PROC_BIND=master", "OMP_PLACES=threads",
    "OMP_PLACES=cores",
};

START_TEST(openmp_binding_is_undone)
{
    int cpus = cpus_now();

#ifdef _OPENMP
    ck_assert_int_eq(run_probe(bindings[_i], cpus, "before"), PROBE_OK);
#endif
    ck_assert_int_eq(run_probe(bindings[_i], cpus, "after"), PROBE_OK);
}
END_TEST

START_TEST(without_binding_nothing_is_repaired)
{
    int cpus = cpus_now();

    ck_assert_int_eq(run_probe("HOP_UNUSED=1", cpus, "after"), PROBE_OK);
    ck_assert_int_eq(run_probe("OMP_PROC_BIND=false", cpus, "after"), PROBE_OK);
}
END_TEST

/* taskset -c N with OMP_PROC_BIND: one CPU is what the user wanted. */
START_TEST(openmp_binding_inside_taskset_stays)
{
    cpu_set_t whole = mask_now(), one;
    int cpu = CPU_SETSIZE;

    while (!CPU_ISSET(--cpu, &whole))
        ;
    CPU_ZERO(&one);
    CPU_SET(cpu, &one);
    ck_assert_int_eq(sched_setaffinity(0, sizeof one, &one), 0);
    ck_assert_int_eq(run_probe(bindings[_i], 1, "after"), PROBE_OK);
}
END_TEST

#define COUNT(array) ((int)(sizeof(array) / sizeof((array)[0])))

static Suite *suite(void)
{
    Suite *s = suite_create("topology");
    TCase *place = tcase_create("placement"), *here = tcase_create("this machine"), *omp = tcase_create("openmp");

    tcase_set_timeout(place, 20);
    tcase_add_test(place, cores_come_before_hyperthreads);
    tcase_add_test(place, numa_nodes_are_filled_in_turn);
    tcase_add_test(place, kernel_numbers_are_reported);
    tcase_add_test(place, machine_without_cores_works);
    tcase_add_test(place, small_team_is_the_head_of_a_large_one);
    tcase_add_test(place, places_refuses_nonsense);
    tcase_add_test(place, synthetic_machine_is_harmless);
    tcase_add_test(place, unreadable_synthetic_does_not_crash);
    suite_add_tcase(s, place);

    tcase_set_timeout(here, 20);
    tcase_add_test(here, cpus_are_those_of_the_mask);
    tcase_add_test(here, threads_pin_and_unpin_at_once);
    tcase_add_test(here, unpin_heals_an_inherited_pin);
    tcase_add_test(here, restricted_mask_is_obeyed);
    tcase_add_test(here, place_that_is_not_there_is_refused);
    tcase_add_loop_test(here, system_without_masks_is_survived, 0, COUNT(affinity_errors));
    suite_add_tcase(s, here);

    tcase_set_timeout(omp, 60);
    tcase_add_loop_test(omp, openmp_binding_is_undone, 0, COUNT(bindings));
    tcase_add_test(omp, without_binding_nothing_is_repaired);
    tcase_add_loop_test(omp, openmp_binding_inside_taskset_stays, 0, COUNT(bindings));
    suite_add_tcase(s, omp);
    return s;
}

int main(int argc, char **argv)
{
    SRunner *runner;
    int failed;

    if (argc == 4 && !strcmp(argv[1], "probe"))
        return probe(atoi(argv[2]), !strcmp(argv[3], "before"));
    runner = srunner_create(suite());
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
