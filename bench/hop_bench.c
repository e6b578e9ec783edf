/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * hop-bench: hop's side of every workload that bench/peers has; one JSON line a run.
 */
#include "hop/workload.h"

static const struct workload *const workloads[] = {
    &offload_rtt, &offload_throughput, &fork_join, &parallel_for, &team_overhead, &spawn_join,
    &ping_pong,   &mem_per_task,       &timers,    &idle_cpu,     &echo_tcp,      &mixed,
};

enum { WORKLOADS = sizeof workloads / sizeof *workloads };

struct request {
    const char *workload, *variant;
    long n;
    hop_config config;
};

static int usage(void)
{
    const struct variant *v;
    int i;

    fprintf(stderr, "usage: hop-bench WORKLOAD [VARIANT [N]] [--workers N] [--loops N] [--moderate US] [--no-spin]\n"
                    "                 [--no-pin] [--qos auto|off|mild|idle|realtime]\n"
                    "       hop-bench all\n\n"
                    "One JSON line a run; N is the size, of a server the port. BENCH_ROUNDS in the environment is the\n"
                    "number of rounds. Without VARIANT: each of them. all: every workload that is no server.\n\n");
    for (i = 0; i < WORKLOADS; i++) {
        fprintf(stderr, "%-20s", workloads[i]->name);
        for (v = workloads[i]->variants; v->name; v++)
            fprintf(stderr, " %s", v->name);
        fprintf(stderr, "\n");
    }
    return 2;
}

/* --- one run --- */

struct call {
    const struct variant *variant;
    struct run run;
};

static int measure(void *arg)
{
    struct call *c = arg;

    return c->variant->measure(&c->run);
}

static int run_variant(const struct workload *w, const struct variant *v, const struct request *r)
{
    struct call c = { v, { w->name, v->name, r->n ? r->n : w->n } };
    hop_config config = r->config;
    int rc;

    if (!config.workers)
        config.workers = v->workers;
    rc = v->outside ? measure(&c) : hop_run(measure, &c, &config);
    if (rc < 0)
        fprintf(stderr, "hop-bench: %s %s: %s\n", w->name, v->name, strerror(-rc));
    return rc;
}

static int run_workload(const struct workload *w, const struct request *r)
{
    const struct variant *v;
    int found = 0, rc = 0;

    for (v = w->variants; v->name && rc >= 0; v++) {
        if (r->variant && strcmp(r->variant, v->name) != 0)
            continue;
        found = 1;
        rc = run_variant(w, v, r);
    }
    return found ? rc : -ENOENT;
}

static int run_request(const struct request *r)
{
    bool all = !strcmp(r->workload, "all");
    int i, rc = -ENOENT;

    for (i = 0; i < WORKLOADS; i++) {
        const struct workload *w = workloads[i];

        if (all ? w->server : strcmp(r->workload, w->name) != 0)
            continue;
        rc = run_workload(w, r);
        if (rc < 0)
            break;
    }
    return rc;
}

/* --- the command line --- */

static int qos_named(const char *name)
{
    static const char *const names[] = { "auto", "off", "mild", "idle", "realtime" };
    int i;

    for (i = 0; i < (int)(sizeof names / sizeof *names); i++)
        if (!strcmp(name, names[i]))
            return i;
    return -EINVAL;
}

/* Takes an option, with its value if it has one: how many arguments that were, or negative. */
static int take_option(struct request *r, char **arg)
{
    int qos;

    if (!strcmp(arg[0], "--no-spin")) {
        r->config.no_spin = 1;
        return 1;
    }
    if (!strcmp(arg[0], "--no-pin")) {
        r->config.no_pin = 1;
        return 1;
    }
    if (!arg[1])
        return -EINVAL;
    if (!strcmp(arg[0], "--workers")) {
        r->config.workers = atoi(arg[1]);
    } else if (!strcmp(arg[0], "--loops")) {
        r->config.loops = atoi(arg[1]);
    } else if (!strcmp(arg[0], "--moderate")) {
        r->config.moderate_ns = atol(arg[1]) > 0 ? atol(arg[1]) * HOP_US : -1;
    } else if (!strcmp(arg[0], "--qos")) {
        qos = qos_named(arg[1]);
        if (qos < 0)
            return qos;
        r->config.qos = (enum hop_qos)qos;
    } else {
        return -EINVAL;
    }
    return 2;
}

static int take_arguments(struct request *r, char **arg)
{
    while (*arg) {
        int used = 1;

        if (!strncmp(*arg, "--", 2))
            used = take_option(r, arg);
        else if (!r->workload)
            r->workload = *arg;
        else if (!r->variant)
            r->variant = *arg;
        else if (!r->n)
            r->n = atol(*arg);
        else
            used = -EINVAL;
        if (used < 0)
            return used;
        arg += used;
    }
    return r->workload ? 0 : -EINVAL;
}

int main(int argc, char **argv)
{
    struct request r = { 0 };
    int rc;

    if (argc < 2 || take_arguments(&r, argv + 1) < 0)
        return usage();
    rc = run_request(&r);
    if (rc == -ENOENT)
        return usage();
    return rc < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
