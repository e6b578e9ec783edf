/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * peer-uv: libuv: peer-uv WORKLOAD VARIANT [N | PORT], with UV_THREADPOOL_SIZE in the environment.
 *
 * offload_rtt poolN, offload_throughput poolN-us|poolN-empty, timers heap, idle_cpu poolN, echo_tcp loop, mixed poolN
 */
#include <uv.h>

#include "bench.h"

static uv_loop_t *loop;

/* --- offload --- */

struct job {
    uv_work_t work; /* first: libuv hands this back */
    uint64_t x;
};

static struct {
    long n, submitted, completed;
    uint32_t work;
    uint64_t sum, last;
    struct latencies *latencies;
    struct job jobs[OUTSTANDING];
} series;

static void do_job(uv_work_t *w)
{
    struct job *j = (struct job *)w;

    j->x = chain(j->x, series.work);
}

static void on_done(uv_work_t *w, int status);

static void submit(struct job *j)
{
    j->x = job_seed((uint64_t)series.submitted++);
    uv_queue_work(loop, &j->work, do_job, on_done);
}

static void on_done(uv_work_t *w, int status)
{
    struct job *j = (struct job *)w;

    expect(status == 0, "a job was done");
    series.completed++;
    series.sum += j->x;
    if (series.latencies) {
        uint64_t now = now_ns();

        latencies_add(series.latencies, now - series.last);
        series.last = now;
    }
    if (series.submitted < series.n)
        submit(j);
}

/* Does n jobs, so many of them outstanding, and returns the time it took. */
static uint64_t do_series(long n, int outstanding, uint32_t work, struct latencies *latencies)
{
    uint64_t start = now_ns();
    int i;

    series.n = n;
    series.submitted = series.completed = 0;
    series.work = work;
    series.sum = 0;
    series.latencies = latencies;
    series.last = start;
    for (i = 0; i < outstanding && i < n; i++)
        submit(&series.jobs[i]);
    uv_run(loop, UV_RUN_DEFAULT);
    return now_ns() - start;
}

static void check_series(void)
{
    expect(series.completed == series.n && series.sum == jobs_sum((uint64_t)series.n, series.work), "the jobs' sum");
}

static void offload_rtt(const char *variant, long n)
{
    struct rounds r = rounds_of("libuv", "offload_rtt", variant, (double)n, "ns");
    struct latencies l = { 0 };

    while (rounds_next(&r)) {
        rounds_add(&r, (double)do_series(n, 1, 0, NULL) / (double)n);
        check_series();
    }
    do_series(n, 1, 0, &l);
    rounds_report(&r, latencies_json(&l));
}

static void offload_throughput(const char *variant, long n)
{
    struct rounds r = rounds_of("libuv", "offload_throughput", variant, (double)n, "jobs/s");
    uint32_t work = strstr(variant, "us") ? CHAIN_US : 0;

    while (rounds_next(&r)) {
        rounds_add(&r, (double)n * 1e9 / (double)do_series(n, OUTSTANDING, work, NULL));
        check_series();
    }
    rounds_report(&r, "");
}

/* --- timers, idling --- */

struct timer {
    uv_timer_t timer;
    uint64_t due, late_ns;
};

static void on_timer(uv_timer_t *h)
{
    struct timer *t = (struct timer *)h;
    uint64_t now = now_ns();

    expect(now + 1000000 >= t->due, "no timer fires more than its resolution of 1 ms early");
    t->late_ns = now > t->due ? now - t->due : 0;
}

static void timers(const char *variant, long n)
{
    struct rounds r = rounds_of("libuv", "timers", variant, (double)n, "cpu_s");
    struct timer *t = (struct timer *)calloc((size_t)n, sizeof *t);
    struct latencies late = { 0 };
    uint64_t seed = SEED, start;
    double cpu, create, wall;
    char extra[160];
    long i;

    rounds_only(&r);
    cpu = cpu_seconds();
    start = now_ns();
    uv_update_time(loop);
    for (i = 0; i < n; i++) {
        uint64_t wait;

        seed = chain(seed, 1);
        wait = 1000000000u + seed % 1000000000u;
        t[i].due = start + wait;
        uv_timer_init(loop, &t[i].timer);
        uv_timer_start(&t[i].timer, on_timer, (wait + 999999u) / 1000000u, 0);
    }
    create = (double)(now_ns() - start) * 1e-9;
    uv_run(loop, UV_RUN_DEFAULT);
    rounds_add(&r, cpu_seconds() - cpu);
    wall = (double)(now_ns() - start) * 1e-9;
    for (i = 0; i < n; i++)
        latencies_add(&late, t[i].late_ns);
    latencies_sort(&late);
    snprintf(extra, sizeof extra, ",\"create_s\":%.3f,\"wall_s\":%.3f,\"late_p50_us\":%.0f,\"late_p99_us\":%.0f",
             create, wall, latencies_at(&late, 0.5) / 1000, latencies_at(&late, 0.99) / 1000);
    rounds_report(&r, extra);
    free(t);
}

static void on_end(uv_timer_t *h)
{
    (void)h;
}

static void idle_cpu(const char *variant, long seconds)
{
    struct rounds r = rounds_of("libuv", "idle_cpu", variant, (double)seconds, "%");
    uv_timer_t timer;
    double cpu;

    do_series(100, 2, CHAIN_US, NULL);
    check_series();
    rounds_only(&r);
    cpu = cpu_seconds();
    uv_timer_init(loop, &timer);
    uv_timer_start(&timer, on_end, (uint64_t)seconds * 1000, 0);
    uv_run(loop, UV_RUN_DEFAULT);
    rounds_add(&r, 100 * (cpu_seconds() - cpu) / (double)seconds);
    rounds_report(&r, "");
}

/* --- servers --- */

struct connection;

struct chunk {
    uv_work_t work; /* first */
    struct connection *of;
    uint64_t index, answer;
};

struct connection {
    uv_tcp_t tcp; /* first */
    uv_write_t write;
    size_t used;
    unsigned pending;
    char buffer[4096], reply[MESSAGE_BYTES];
    struct chunk chunks[HEAVY_CHUNKS];
};

static int serve_mixed;

static void on_closed(uv_handle_t *h)
{
    free(h);
}

static void on_written(uv_write_t *w, int status)
{
    (void)w;
    (void)status;
}

static void send_bytes(struct connection *c, char *bytes, size_t n)
{
    uv_buf_t b = uv_buf_init(bytes, (unsigned)n);

    uv_write(&c->write, (uv_stream_t *)&c->tcp, &b, 1, on_written);
}

static void do_chunk(uv_work_t *w)
{
    struct chunk *k = (struct chunk *)w;

    k->answer = heavy_chunk(k->index);
}

static void on_chunk_done(uv_work_t *w, int status)
{
    struct connection *c = ((struct chunk *)w)->of;
    uint64_t sum = 0;
    unsigned i;

    expect(status == 0, "a chunk was done");
    if (--c->pending > 0 || uv_is_closing((uv_handle_t *)&c->tcp))
        return;
    for (i = 0; i < HEAVY_CHUNKS; i++)
        sum += c->chunks[i].answer;
    put_answer(c->reply, sum);
    send_bytes(c, c->reply, MESSAGE_BYTES);
}

static void compute(struct connection *c)
{
    unsigned i;

    c->pending = HEAVY_CHUNKS;
    for (i = 0; i < HEAVY_CHUNKS; i++) {
        c->chunks[i].of = c;
        c->chunks[i].index = i;
        uv_queue_work(loop, &c->chunks[i].work, do_chunk, on_chunk_done);
    }
}

static void on_alloc(uv_handle_t *h, size_t suggested, uv_buf_t *b)
{
    struct connection *c = (struct connection *)h;

    (void)suggested;
    *b = uv_buf_init(c->buffer + c->used, (unsigned)(sizeof c->buffer - c->used));
}

static void on_read(uv_stream_t *s, ssize_t n, const uv_buf_t *b)
{
    struct connection *c = (struct connection *)s;

    (void)b;
    if (n < 0) {
        if (c->pending == 0)
            uv_close((uv_handle_t *)s, on_closed);
        return;
    }
    if (!serve_mixed) {
        send_bytes(c, c->buffer, (size_t)n);
        return;
    }
    c->used += (size_t)n;
    if (c->used < MESSAGE_BYTES)
        return;
    c->used = 0;
    memcpy(c->reply, c->buffer, MESSAGE_BYTES);
    if (c->buffer[0] == 'H')
        compute(c);
    else
        send_bytes(c, c->reply, MESSAGE_BYTES);
}

static void on_connection(uv_stream_t *server, int status)
{
    struct connection *c = (struct connection *)calloc(1, sizeof *c);

    (void)status;
    uv_tcp_init(loop, &c->tcp);
    uv_accept(server, (uv_stream_t *)&c->tcp);
    uv_tcp_nodelay(&c->tcp, 1);
    uv_read_start((uv_stream_t *)&c->tcp, on_alloc, on_read);
}

static void serve(long port, int is_mixed)
{
    static uv_tcp_t server;
    struct sockaddr_in a;

    serve_mixed = is_mixed;
    uv_tcp_init(loop, &server);
    uv_ip4_addr("127.0.0.1", (int)port, &a);
    if (uv_tcp_bind(&server, (struct sockaddr *)&a, 0) || uv_listen((uv_stream_t *)&server, 128, on_connection)) {
        fprintf(stderr, "cannot listen at port %ld\n", port);
        exit(EXIT_FAILURE);
    }
    uv_run(loop, UV_RUN_DEFAULT);
}

int main(int argc, char **argv)
{
    const char *workload = argc > 2 ? argv[1] : "", *variant = argc > 2 ? argv[2] : "";
    long n = argc > 3 ? atol(argv[3]) : 0;

    loop = uv_default_loop();
    if (!strcmp(workload, "offload_rtt"))
        offload_rtt(variant, n ? n : 20000);
    else if (!strcmp(workload, "offload_throughput"))
        offload_throughput(variant, n ? n : 200000);
    else if (!strcmp(workload, "timers"))
        timers(variant, n ? n : 100000);
    else if (!strcmp(workload, "idle_cpu"))
        idle_cpu(variant, n ? n : 10);
    else if (!strcmp(workload, "echo_tcp"))
        serve(n ? n : 9000, 0);
    else if (!strcmp(workload, "mixed"))
        serve(n ? n : 9000, 1);
    else {
        fprintf(stderr, "usage: peer-uv WORKLOAD VARIANT [N | PORT]\n");
        return 2;
    }
    return 0;
}
