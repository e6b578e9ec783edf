/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * Two masks are kept apart. `mask` is what the kernel lets the thread that opened us run on, after the repair below:
 * real even when the topology is a synthetic one. `allowed` is the set of PUs of the topology that we plan with: the
 * mask cut to the cpuset on this machine, every PU of a synthetic one.
 *
 * The repair. With OMP_PROC_BIND (or a relative) in the environment a runtime confines the initial thread to one place:
 * libgomp 12 in a constructor, before main; libomp 14 at the first region or at the first question about places (so our
 * question itself does it, and the mask has to be read before it). Seen in both: the union of the places is the mask
 * from before, cut by taskset where there was one; and a mask that we give back is left alone by later regions.
 * With an explicit OMP_PLACES under libgomp the union is what was listed, and the rest of the mask cannot be known; the
 * list is what the user asked for. We never widen to all CPUs of the cpuset: that would overrule taskset.
 */
#define _GNU_SOURCE 1
#include "compute/topology.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <unistd.h>

#include <hwloc.h>
#include <hwloc/linux.h>

#ifdef _OPENMP
#include <omp.h>
#else
/* Built without OpenMP: the program may still have brought a runtime, and then these resolve to it. */
extern int omp_get_num_places(void) __attribute__((weak));
extern int omp_get_place_num_procs(int place) __attribute__((weak));
extern void omp_get_place_proc_ids(int place, int *ids) __attribute__((weak));
#endif

enum { NOTE_MAX = 192, LIST_MAX = 256 };

struct hop__topology {
    hwloc_topology_t hw;
    hwloc_bitmap_t mask;      /* kernel CPU numbers to give back in unpin; meaningful when mask_known */
    hwloc_bitmap_t allowed;   /* PUs of hw that the plan uses; never empty after open */
    bool mask_known;          /* the kernel told us the mask; without it we pin nothing, since we could not undo it */
    bool this_system;         /* false: HWLOC_SYNTHETIC or HWLOC_XMLFILE describes another machine */
    bool bindable;            /* copied into every place */
    int cpus;                 /* length of seats, at least 1 */
    struct hop__place *seats; /* the placement order, one for each allowed PU */
    char note[NOTE_MAX];      /* what was repaired, empty if nothing */
};

static int read_machine(struct hop__topology *t);
static void undo_openmp_binding(struct hop__topology *t);
static int choose_allowed(struct hop__topology *t);
static int seat_everyone(struct hop__topology *t);

/* One at a time: hwloc keeps sizes that it has found out in variables of its own, and writes them without a lock. */
static int look_around(struct hop__topology *t)
{
    static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
    int rc;

    pthread_mutex_lock(&lock);
    rc = read_machine(t);
    if (rc == 0) {
        undo_openmp_binding(t);
        rc = choose_allowed(t);
    }
    pthread_mutex_unlock(&lock);
    return rc;
}

int hop__topology_open(struct hop__topology **out)
{
    struct hop__topology *t = calloc(1, sizeof *t);
    int rc;

    *out = NULL;
    if (!t)
        return -ENOMEM;
    rc = look_around(t);
    if (rc == 0)
        rc = seat_everyone(t);
    if (rc < 0)
        hop__topology_close(t);
    else
        *out = t;
    return rc;
}

void hop__topology_close(struct hop__topology *t)
{
    if (!t)
        return;
    free(t->seats);
    hwloc_bitmap_free(t->allowed);
    hwloc_bitmap_free(t->mask);
    if (t->hw)
        hwloc_topology_destroy(t->hw);
    free(t);
}

int hop__topology_cpus(const struct hop__topology *t)
{
    return t->cpus;
}

int hop__topology_places(const struct hop__topology *t, struct hop__place *out, int n)
{
    if (n < 0 || (n > 0 && !out))
        return -EINVAL;
    for (int i = 0; i < n; i++)
        out[i] = t->seats[i % t->cpus];
    return n;
}

int hop__topology_pin(const struct hop__topology *t, const struct hop__place *place)
{
    hwloc_bitmap_t set;
    int rc = 0;

    if (!t->bindable || !place->bindable)
        return -ENOTSUP;
    if (place->cpu < 0)
        return -EINVAL;
    if (!(set = hwloc_bitmap_alloc()))
        return -ENOMEM;
    if (hwloc_bitmap_only(set, (unsigned)place->cpu) < 0)
        rc = -ENOMEM;
    else if (hwloc_set_cpubind(t->hw, set, HWLOC_CPUBIND_THREAD) < 0)
        rc = errno ? -errno : -ENOTSUP;
    hwloc_bitmap_free(set);
    return rc;
}

int hop__topology_pinned(const struct hop__topology *t, const struct hop__place *place)
{
    hwloc_bitmap_t set;
    int rc;

    if (!t->bindable || !place->bindable || place->cpu < 0)
        return -ENOTSUP;
    if (!(set = hwloc_bitmap_alloc()))
        return -ENOMEM;
    if (hwloc_get_cpubind(t->hw, set, HWLOC_CPUBIND_THREAD) < 0)
        rc = errno ? -errno : -ENOTSUP;
    else if (!hwloc_bitmap_isset(set, (unsigned)place->cpu))
        rc = -EXDEV;
    else
        rc = hwloc_bitmap_weight(set) == 1;
    hwloc_bitmap_free(set);
    return rc;
}

/* Whether set could be united with the mask of the thread. */
static bool unite(const struct hop__topology *t, hwloc_bitmap_t set, hwloc_bitmap_t scratch, int thread)
{
    return thread && hwloc_linux_get_tid_cpubind(t->hw, thread, scratch) == 0 && !hwloc_bitmap_or(set, set, scratch);
}

int hop__topology_cpus_of(const struct hop__topology *t, const int *threads, int n)
{
    hwloc_bitmap_t set = hwloc_bitmap_alloc(), one = hwloc_bitmap_alloc();
    bool known = t->this_system && t->mask_known && set && one;
    int cpus = t->cpus;

    for (int i = 0; known && i < n; i++)
        known = unite(t, set, one, threads[i]);
    if (known && hwloc_bitmap_weight(set) > 0)
        cpus = hwloc_bitmap_weight(set) + (n < t->cpus ? t->cpus - n : 0);
    hwloc_bitmap_free(set);
    hwloc_bitmap_free(one);
    return cpus;
}

int hop__topology_unpin(const struct hop__topology *t)
{
    hwloc_bitmap_t now;
    bool is_so;

    if (!t->mask_known)
        return -ENOTSUP;
    if (!(now = hwloc_bitmap_alloc()))
        return -ENOMEM;
    is_so = hwloc_linux_get_tid_cpubind(t->hw, 0, now) == 0 && hwloc_bitmap_isequal(now, t->mask);
    hwloc_bitmap_free(now);
    if (!is_so && hwloc_linux_set_tid_cpubind(t->hw, 0, t->mask) < 0)
        return errno ? -errno : -ENOTSUP;
    return 0;
}

static int count(const struct hop__topology *t, hwloc_obj_type_t type)
{
    int n = hwloc_get_nbobjs_by_type(t->hw, type);

    return n > 0 ? n : 0;
}

void hop__topology_describe(const struct hop__topology *t, FILE *to)
{
    char list[LIST_MAX];

    hwloc_bitmap_list_snprintf(list, sizeof list, t->allowed);
    fprintf(to, "topology: packages %d, NUMA nodes %d, cores %d, PUs %d; allowed %d: %s\n",
            count(t, HWLOC_OBJ_PACKAGE), count(t, HWLOC_OBJ_NUMANODE), count(t, HWLOC_OBJ_CORE),
            count(t, HWLOC_OBJ_PU), t->cpus, list);
    if (!t->this_system)
        fprintf(to, "topology: synthetic, not this machine: threads are planned but not pinned\n");
    else if (!t->bindable)
        fprintf(to, "topology: this system does not let us pin threads\n");
    if (t->note[0])
        fprintf(to, "topology: %s\n", t->note);
}

/*
 * hwloc sizes its masks by doubling until sched_getaffinity accepts the size, for ever if it never does (a seccomp
 * filter, an emulator). So it is asked only after this has seen the call succeed once.
 */
static bool kernel_tells_masks(void)
{
    for (int cpus = CPU_SETSIZE; cpus <= 1 << 20; cpus *= 2) {
        cpu_set_t *set = CPU_ALLOC(cpus);
        int rc = set ? sched_getaffinity(0, CPU_ALLOC_SIZE(cpus), set) : -1;
        bool too_small = set && rc < 0 && errno == EINVAL;

        if (set)
            CPU_FREE(set);
        if (!too_small)
            return rc == 0;
    }
    return false;
}

static int load_machine(struct hop__topology *t, bool sysfs)
{
    if (hwloc_topology_init(&t->hw) < 0) {
        t->hw = NULL;
        return -ENOMEM;
    }
#if HWLOC_API_VERSION >= 0x00020500
    /* Without it the x86 backend would walk this thread over all CPUs; all it could add, sysfs tells already. */
    hwloc_topology_set_flags(t->hw, HWLOC_TOPOLOGY_FLAG_DONT_CHANGE_BINDING);
#endif
    if (!sysfs)
        hwloc_topology_set_components(t->hw, HWLOC_TOPOLOGY_COMPONENTS_FLAG_BLACKLIST, "linux");
    errno = 0;
    if (hwloc_topology_load(t->hw) == 0)
        return 0;
    hwloc_topology_destroy(t->hw);
    t->hw = NULL;
    return errno ? -errno : -EINVAL;
}

static int read_machine(struct hop__topology *t)
{
    const struct hwloc_topology_support *support;
    bool sysfs = access("/sys/devices/system/cpu", F_OK) == 0; /* or hwloc says so on stderr, and finds no more */
    int rc;

    t->mask = hwloc_bitmap_alloc();
    t->allowed = hwloc_bitmap_alloc();
    if (!t->mask || !t->allowed)
        return -ENOMEM;
    rc = load_machine(t, sysfs);
    if (rc < 0 && sysfs)
        rc = load_machine(t, false); /* there, and unreadable: the number of CPUs can still be had */
    if (rc < 0)
        return rc;
    t->mask_known = kernel_tells_masks() && hwloc_linux_get_tid_cpubind(t->hw, 0, t->mask) == 0;
    t->this_system = hwloc_topology_is_thissystem(t->hw);
    support = hwloc_topology_get_support(t->hw);
    t->bindable = t->this_system && t->mask_known && support->cpubind->set_thisthread_cpubind;
    return 0;
}

static int choose_allowed(struct hop__topology *t)
{
    hwloc_const_bitmap_t whole = hwloc_topology_get_allowed_cpuset(t->hw);
    int rc;

    if (t->this_system && t->mask_known && hwloc_bitmap_intersects(t->mask, whole))
        rc = hwloc_bitmap_and(t->allowed, t->mask, whole);
    else
        rc = hwloc_bitmap_copy(t->allowed, whole);
    return rc < 0 ? -ENOMEM : 0;
}

static int logical(hwloc_obj_t obj)
{
    return obj ? (int)obj->logical_index : -1;
}

static struct hop__place place_of(const struct hop__topology *t, hwloc_obj_t pu)
{
    hwloc_obj_t node = hwloc_get_next_obj_covering_cpuset_by_type(t->hw, pu->cpuset, HWLOC_OBJ_NUMANODE, NULL);

    return (struct hop__place){
        .cpu = (int)pu->os_index,
        .core = logical(hwloc_get_ancestor_obj_by_type(t->hw, HWLOC_OBJ_CORE, pu)),
        .numa = node ? (int)node->os_index : -1,
        .pack = logical(hwloc_get_ancestor_obj_by_type(t->hw, HWLOC_OBJ_PACKAGE, pu)),
        .bindable = t->bindable,
    };
}

/*
 * hwloc hands out PUs depth first, so PUs of a core, cores of a node and nodes of a package come together. Each round
 * takes one more PU from every core: round 0 seats a worker on each core, round 1 the second hardware threads.
 */
static int seat_everyone(struct hop__topology *t)
{
    int total = hwloc_get_nbobjs_inside_cpuset_by_type(t->hw, t->allowed, HWLOC_OBJ_PU);

    if (total < 1)
        return -EINVAL;
    if (!(t->seats = calloc((size_t)total, sizeof *t->seats)))
        return -ENOMEM;
    for (int round = 0; t->cpus < total; round++) {
        hwloc_obj_t pu = NULL;
        int last = -1, rank = 0;

        while ((pu = hwloc_get_next_obj_inside_cpuset_by_type(t->hw, t->allowed, HWLOC_OBJ_PU, pu))) {
            struct hop__place place = place_of(t, pu);

            rank = place.core >= 0 && place.core == last ? rank + 1 : 0;
            last = place.core;
            if (rank == round)
                t->seats[t->cpus++] = place;
        }
    }
    return 0;
}

/* The variable that makes a runtime bind threads, if any. Its value does not matter: the masks tell what was done. */
static const char *binding_variable(void)
{
    static const char *const names[] = { "OMP_PROC_BIND", "GOMP_CPU_AFFINITY", "KMP_AFFINITY", "OMP_PLACES" };

    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (getenv(names[i]))
            return names[i];
    return NULL;
}

static int add_place(hwloc_bitmap_t set, int place)
{
    int n = omp_get_place_num_procs(place), rc = 0;
    int *ids = n > 0 ? calloc((size_t)n, sizeof *ids) : NULL;

    if (!ids)
        return -1;
    omp_get_place_proc_ids(place, ids);
    for (int i = 0; i < n && rc == 0; i++)
        rc = ids[i] < 0 ? -1 : hwloc_bitmap_set(set, (unsigned)ids[i]);
    free(ids);
    return rc;
}

/* Unites the places of the runtime we are linked to into wide; says whether mask is exactly one of them. */
static bool mask_is_one_place(hwloc_const_bitmap_t mask, hwloc_bitmap_t wide)
{
    hwloc_bitmap_t one = hwloc_bitmap_alloc();
    bool found = false;
    int places = 0;

#ifndef _OPENMP
    if (omp_get_num_places && omp_get_place_num_procs && omp_get_place_proc_ids)
#endif
        places = omp_get_num_places();
    for (int p = 0; one && p < places; p++) {
        hwloc_bitmap_zero(one);
        if (add_place(one, p) < 0 || hwloc_bitmap_or(wide, wide, one) < 0)
            continue;
        found |= hwloc_bitmap_isequal(one, mask);
    }
    hwloc_bitmap_free(one);
    return found;
}

/*
 * A runtime that we are not linked to (MKL's libiomp5 beside libgomp, say) tells us no places; but its team's threads
 * are in this process, each on its own place, and hwloc unites the masks of all threads when asked about the process.
 */
static bool wider_by_threads(const struct hop__topology *t, hwloc_bitmap_t wide)
{
    return t->this_system && hwloc_bitmap_weight(t->mask) == 1 &&
           hwloc_get_cpubind(t->hw, wide, HWLOC_CPUBIND_PROCESS) == 0;
}

static void undo_openmp_binding(struct hop__topology *t)
{
    const char *variable = binding_variable();
    hwloc_bitmap_t wide = variable && t->mask_known ? hwloc_bitmap_alloc() : NULL;
    char was[64], now[64];
    bool narrowed;

    if (!wide)
        return;
    narrowed = mask_is_one_place(t->mask, wide);
    if (hwloc_bitmap_iszero(wide))
        narrowed = wider_by_threads(t, wide);
    if (narrowed && hwloc_bitmap_isincluded(t->mask, wide) && !hwloc_bitmap_isequal(t->mask, wide)) {
        hwloc_bitmap_list_snprintf(was, sizeof was, t->mask);
        hwloc_bitmap_list_snprintf(now, sizeof now, wide);
        if (hwloc_bitmap_copy(t->mask, wide) == 0)
            snprintf(t->note, sizeof t->note, "%.20s had confined this thread to CPU %.50s; gave back %.50s",
                     variable, was, now);
    }
    hwloc_bitmap_free(wide);
    (void)hop__topology_unpin(t); /* also after a mere question: libomp confines the thread that asks */
}
