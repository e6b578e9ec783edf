/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * loadgen: loads a TCP server of the workloads echo_tcp and mixed, and prints one JSON line. It stands for other
 * machines: where it may, it runs as SCHED_FIFO, so that it never waits for a CPU that the server has, and its own
 * waits are not counted as the server's. Where it may not, the line says so ("realtime":0).
 */
#include <errno.h>
#include <sched.h>
#include <sys/prctl.h>

#include "load/load.h"

enum { PRIORITY = 20 };

struct request {
    const char *peer, *workload, *variant;
    bool ordinary; /* do not try SCHED_FIFO */
    struct load_options load;
};

static int usage(void)
{
    fprintf(stderr,
            "usage: loadgen --port N [--host ADDRESS] [--connections N] [--heavy N] [--bytes N] [--rate N]\n"
            "               [--seconds S] [--warmup S] [--server PID] [--ordinary 1]\n"
            "               [--peer NAME] [--workload NAME] [--variant NAME]\n\n"
            "--connections  clients with light requests (50)\n"
            "--heavy        clients with heavy requests (0)\n"
            "--rate         light requests a second, all clients together, on a fixed schedule (0: closed loop)\n"
            "--server       the process whose CPU time is read\n"
            "--ordinary 1   do not become SCHED_FIFO\n"
            "--peer, --workload, --variant only name the run in the output.\n");
    return 2;
}

static bool take_option(struct request *r, const char *name, const char *value)
{
    struct load_options *o = &r->load;

    if (!strcmp(name, "--peer"))
        r->peer = value;
    else if (!strcmp(name, "--workload"))
        r->workload = value;
    else if (!strcmp(name, "--variant"))
        r->variant = value;
    else if (!strcmp(name, "--ordinary"))
        r->ordinary = atoi(value) != 0;
    else if (!strcmp(name, "--host"))
        o->host = value;
    else if (!strcmp(name, "--port"))
        o->port = atoi(value);
    else if (!strcmp(name, "--connections"))
        o->light = atoi(value);
    else if (!strcmp(name, "--heavy"))
        o->heavy = atoi(value);
    else if (!strcmp(name, "--bytes"))
        o->bytes = (size_t)atol(value);
    else if (!strcmp(name, "--rate"))
        o->rate = atof(value);
    else if (!strcmp(name, "--seconds"))
        o->seconds = atof(value);
    else if (!strcmp(name, "--warmup"))
        o->warmup_seconds = atof(value);
    else if (!strcmp(name, "--server"))
        o->server = (pid_t)atol(value);
    else
        return false;
    return true;
}

static bool sensible(const struct load_options *o)
{
    return o->port > 0 && o->port < 65536 && o->light >= 0 && o->heavy >= 0 && o->light + o->heavy > 0 &&
           o->bytes >= 2 * ANSWER_AT && o->bytes % 8 == 0 && o->bytes <= 65536 && o->rate >= 0 && o->seconds > 0 &&
           o->warmup_seconds >= 0;
}

static bool become_realtime(void)
{
    struct sched_param p = { .sched_priority = PRIORITY };

    return sched_setscheduler(0, SCHED_FIFO, &p) == 0;
}

static void print(const struct request *r, const struct load_result *l, bool realtime)
{
    const struct load_options *o = &r->load;
    size_t light = l->light.count - l->light_unanswered, heavy = l->heavy.count - l->heavy_unanswered;

    printf("{\"peer\":\"%s\",\"workload\":\"%s\",\"variant\":\"%s\",\"connections\":%d,\"heavy_connections\":%d,"
           "\"bytes\":%zu,\"seconds\":%g,\"rate\":%g,\"rps\":%.0f,\"p50_us\":%.1f,\"p99_us\":%.1f,\"p999_us\":%.1f,"
           "\"max_us\":%.1f,",
           r->peer, r->workload, r->variant, o->light, o->heavy, o->bytes, o->seconds, o->rate,
           (double)light / o->seconds, latencies_at(&l->light, 0.5) / 1000, latencies_at(&l->light, 0.99) / 1000,
           latencies_at(&l->light, 0.999) / 1000, latencies_at(&l->light, 1) / 1000);
    printf("\"heavy_rps\":%.1f,\"heavy_p50_us\":%.0f,\"heavy_p99_us\":%.0f,\"cpus\":%.3f,\"load_cpus\":%.3f,"
           "\"realtime\":%d,\"late_p99_us\":%.1f,\"starved\":%zu,\"unanswered\":%zu}\n",
           (double)heavy / o->seconds, latencies_at(&l->heavy, 0.5) / 1000, latencies_at(&l->heavy, 0.99) / 1000,
           l->server_cpu_seconds / o->seconds, l->own_cpu_seconds / o->seconds, realtime,
           latencies_at(&l->late, 0.99) / 1000, l->starved, l->light_unanswered + l->heavy_unanswered);
}

int main(int argc, char **argv)
{
    struct request r = {
        .peer = "server", .workload = "load", .variant = "",
        .load = { .host = "127.0.0.1", .light = 50, .bytes = MESSAGE_BYTES, .seconds = 5, .warmup_seconds = 0.5 },
    };
    struct load_result result;
    bool realtime;
    int i;

    for (i = 1; i < argc; i += 2)
        if (i + 1 == argc || !take_option(&r, argv[i], argv[i + 1]))
            return usage();
    if (!sensible(&r.load))
        return usage();
    realtime = !r.ordinary && become_realtime();
    prctl(PR_SET_TIMERSLACK, 1);
    load_run(&r.load, &result);
    print(&r, &result, realtime);
    load_free(&result);
    return 0;
}
