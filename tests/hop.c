/* SPDX-License-Identifier: BSD-3-Clause */

/* The blocks: a task goes to a worker, to the team, to a thread that may block, and comes home. */
#include "config.h"

#include "harness.h"

#include <stdatomic.h>
#include <sys/syscall.h>

#if defined(_OPENMP) && !defined(HOP_TEAM_PTHREAD)
#define TEAM_OF_OPENMP 1
#include <omp.h>
#else
#define TEAM_OF_OPENMP 0
#endif

enum { WORKERS = 3, STEPS = 250 };

static const hop_config three_workers = { .workers = WORKERS };

/* --- going and coming back --- */

static int goes_and_comes_back(void *arg)
{
    long home = thread_id(), there = 0;
    int i;

    (void)arg;
    must_eq(hop_worker_count(), WORKERS);
    for (i = 0; i < 50; i++) {
        must_eq(hop_here(), HOP_LOOP);
        must_eq(hop_worker_index(), -1);
        hop_on_cpu {
            there = thread_id();
            must(there != home);
            must_eq(hop_here(), HOP_CPU);
            must(hop_worker_index() >= 0 && hop_worker_index() < WORKERS);
            must_eq(hop_worker_count(), WORKERS);
        }
        must_eq(thread_id(), home);
        hop_on_team {
            must(thread_id() != home);
            must_eq(hop_here(), HOP_TEAM);
            must_eq(hop_worker_index(), -1);
            must_eq(hop_worker_count(), WORKERS);
        }
        must_eq(thread_id(), home);
        hop_on_blocking {
            must(thread_id() != home && thread_id() != there);
            must_eq(hop_here(), HOP_BLOCKING);
            must_eq(hop_worker_index(), -1);
        }
        must_eq(thread_id(), home);
    }
    must_eq(hop_here(), HOP_LOOP);
    return 0;
}

START_TEST(there_and_back)
{
    must_eq(hop_here(), HOP_OUTSIDE);
    run_main_with(goes_and_comes_back, NULL, &three_workers);
    must_eq(hop_here(), HOP_OUTSIDE);
}
END_TEST

static int nested(void *arg)
{
    long home = thread_id(), worker, blocking;

    (void)arg;
    hop_on_cpu {
        worker = thread_id();
        hop_on_cpu { /* there already */
            must_eq(thread_id(), worker);
        }
        must_eq(thread_id(), worker);
        must_eq(hop_here(), HOP_CPU);
        hop_on_blocking {
            blocking = thread_id();
            must(blocking != worker && blocking != home);
            hop_on_cpu {
                must_eq(hop_here(), HOP_CPU);
            }
            must_eq(thread_id(), blocking);
            must_eq(hop_here(), HOP_BLOCKING);
        }
        must_eq(thread_id(), worker);
        hop_on_team {
            must_eq(hop_here(), HOP_TEAM);
            hop_on_cpu { /* never out of the team */
                must_eq(hop_here(), HOP_TEAM);
            }
            hop_on_team {
                must_eq(hop_here(), HOP_TEAM);
            }
            must_eq(hop_here(), HOP_TEAM);
        }
        must_eq(thread_id(), worker);
        must_eq(hop_here(), HOP_CPU);
    }
    must_eq(thread_id(), home);
    must_eq(hop_here(), HOP_LOOP);
    return 0;
}

START_TEST(nested_blocks_come_back_the_way_they_went)
{
    run_main_with(nested, NULL, &three_workers);
}
END_TEST

static enum hop_place leave_by_return(void)
{
    hop_on_cpu {
        hop_on_blocking {
            return hop_here();
        }
    }
    return HOP_OUTSIDE;
}

static enum hop_place leave_by_goto(void)
{
    enum hop_place inside = HOP_OUTSIDE;

    hop_on_cpu {
        hop_on_team {
            inside = hop_here();
            goto out;
        }
        inside = HOP_OUTSIDE;
    }
out:
    must_eq(hop_here(), HOP_LOOP);
    return inside;
}

static int leaves_early(void *arg)
{
    int i, n = 0;

    (void)arg;
    must_eq(leave_by_return(), HOP_BLOCKING);
    must_eq(hop_here(), HOP_LOOP);
    must_eq(leave_by_goto(), HOP_TEAM);
    for (i = 0; i < 6; i++) {
        hop_on_cpu {
            n++;
            if (i % 2)
                break; /* the block, not the loop */
            n++;
        }
        must_eq(hop_here(), HOP_LOOP);
    }
    must_eq(n, 9);
    for (i = 0, n = 0; i < 6; i++) {
        hop_block block = hop_cpu_begin();

        must_eq(hop_here(), HOP_CPU);
        n++;
        hop_cpu_end(&block);
        must_eq(hop_here(), HOP_LOOP);
        hop_cpu_end(&block); /* it ends once */
        must_eq(hop_here(), HOP_LOOP);
        if (i % 2)
            continue;
        if (i == 4)
            break;
    }
    must_eq(n, 5);
    for (i = 0; i < 4; i++) { /* a loop inside is left and continued as any other */
        hop_on_cpu {
            int k;

            for (k = 0; k < 8; k++) {
                if (k == 2)
                    continue;
                if (k == 5)
                    break;
                must_eq(hop_here(), HOP_CPU);
            }
            must_eq(k, 5);
        }
    }
    {
        hop_block cpu = hop_cpu_begin(), blocking = hop_blocking_begin();

        must_eq(hop_here(), HOP_BLOCKING);
        hop_blocking_end(&blocking);
        must_eq(hop_here(), HOP_CPU);
        hop_cpu_end(&cpu);
    }
    must_eq(hop_here(), HOP_LOOP);
    return 0;
}

START_TEST(blocks_end_once_however_left)
{
    run_main_with(leaves_early, NULL, &three_workers);
}
END_TEST

/* --- waiting inside --- */

struct peer {
    hop_channel *there, *back;
    int pipe[2];
};

static int answer(void *arg)
{
    struct peer *p = arg;
    int n;
    char c = 'x';

    while (hop_channel_recv(p->there, &n) == 1) {
        must_eq(hop_channel_send(p->back, &n), 0);
        must_eq(hop_write_full(p->pipe[1], &c, 1), 1);
    }
    return 0;
}

static int waits_on_cpu(void *arg)
{
    struct peer *p = arg;
    int i, n;

    for (i = 0; i < 40; i++) {
        hop_on_cpu {
            long worker = thread_id();
            int index = hop_worker_index();
            hop_future f = HOP_FUTURE_INIT;
            char c = 0;

            must_eq(hop_channel_send(p->there, &i), 0);
            must_eq(thread_id(), worker);
            must_eq(hop_channel_recv(p->back, &n), 1);
            must_eq(thread_id(), worker);
            must_eq(hop_read(p->pipe[0], &c, 1), 1);
            must_eq(c, 'x');
            must_eq(hop_sleep(HOP_US), 0);
            must_eq(hop_await_until(&f, hop_now() + HOP_US), -ETIMEDOUT);
            must_eq(thread_id(), worker);
            must_eq(hop_worker_index(), index);
            must_eq(hop_here(), HOP_CPU);
        }
        must_eq(n, i);
    }
    return 0;
}

static int several_wait_on_cpu(void *arg)
{
    struct peer peers[4];
    hop_scope outer, inner;
    int i;

    (void)arg;
    must_eq(hop_scope_open(&outer), 0);
    must_eq(hop_scope_open(&inner), 0);
    for (i = 0; i < 4; i++) {
        must_eq(hop_channel_new(&peers[i].there, sizeof(int), 0), 0);
        must_eq(hop_channel_new(&peers[i].back, sizeof(int), 1), 0);
        must_eq(pipe(peers[i].pipe), 0);
        must_eq(hop_spawn(&outer, answer, &peers[i], NULL), 0);
        must_eq(hop_spawn(&inner, waits_on_cpu, &peers[i], NULL), 0);
    }
    must_eq(hop_scope_close(&inner), 0);
    for (i = 0; i < 4; i++)
        hop_channel_close(peers[i].there);
    must_eq(hop_scope_close(&outer), 0);
    for (i = 0; i < 4; i++) {
        must_eq(hop_channel_free(peers[i].there), 0);
        must_eq(hop_channel_free(peers[i].back), 0);
        must_eq(hop_close(peers[i].pipe[0]), 0);
        must_eq(hop_close(peers[i].pipe[1]), 0);
    }
    return 0;
}

START_TEST(waits_come_back_to_the_same_worker)
{
    run_main_with(several_wait_on_cpu, NULL, &three_workers);
}
END_TEST

static int waits_on_blocking(void *arg)
{
    int i;

    (void)arg;
    for (i = 0; i < 20; i++) {
        hop_on_blocking {
            long here = thread_id();

            must_eq(hop_sleep(HOP_US), 0);
            must_eq(thread_id(), here);
            must_eq(hop_here(), HOP_BLOCKING);
        }
    }
    return 0;
}

static int several_wait_on_blocking(void *arg)
{
    hop_scope scope;
    int i;

    (void)arg;
    must_eq(hop_scope_open(&scope), 0);
    for (i = 0; i < 6; i++)
        must_eq(hop_spawn(&scope, waits_on_blocking, NULL, NULL), 0);
    must_eq(hop_scope_close(&scope), 0);
    return 0;
}

START_TEST(waits_come_back_to_the_same_blocking_thread)
{
    run_main_with(several_wait_on_blocking, NULL, &three_workers);
}
END_TEST

/* What sits in a task on the blocking lane does not stop its loop: the other end of the pipe is a task there. */
static int reads_on_blocking(void *arg)
{
    int *fds = arg;
    char c;

    hop_on_blocking {
        must_eq(read(fds[0], &c, 1), 1);
    }
    return c;
}

static int loop_goes_on_beside_blocking(void *arg)
{
    hop_scope scope;
    int fds[2], i;

    (void)arg;
    must_eq(pipe(fds), 0);
    must_eq(hop_scope_open(&scope), 0);
    must_eq(hop_spawn(&scope, reads_on_blocking, fds, NULL), 0);
    for (i = 0; i < 100; i++)
        must_eq(hop_yield(), 0);
    must_eq(hop_sleep(HOP_MS), 0);
    must_eq(write(fds[1], "y", 1), 1);
    must_eq(hop_scope_close(&scope), 0);
    close(fds[0]);
    close(fds[1]);
    return 0;
}

START_TEST(the_loop_goes_on_beside_a_blocking_call)
{
    run_main_with(loop_goes_on_beside_blocking, NULL, &three_workers);
}
END_TEST

static int waits_on_team(void *arg)
{
    hop_channel *channel;
    hop_future f = HOP_FUTURE_INIT;
    hop_scope scope;
    int fds[2], n = 0;
    char c;

    (void)arg;
    must_eq(hop_channel_new(&channel, sizeof n, 1), 0);
    must_eq(pipe(fds), 0);
    hop_on_team {
        hop_case any = hop_on_recv(channel, &n);

        must_eq(hop_channel_recv(channel, &n), -EWOULDBLOCK);
        must_eq(hop_channel_send(channel, &n), 0); /* there is room */
        must_eq(hop_channel_send(channel, &n), -EWOULDBLOCK);
        must_eq(hop_channel_recv(channel, &n), 1);
        must_eq(hop_select(&any, 1), -EWOULDBLOCK);
        must_eq(hop_await(&f), -EWOULDBLOCK);
        must_eq(hop_sleep(HOP_MS), -EWOULDBLOCK);
        must_eq(hop_read(fds[0], &c, 1), -EWOULDBLOCK);
        must_eq(hop_scope_open(&scope), -EWOULDBLOCK);
        must_eq(hop_here(), HOP_TEAM);
    }
    must_eq(hop_channel_free(channel), 0);
    must_eq(hop_close(fds[0]), 0);
    must_eq(hop_close(fds[1]), 0);
    return 0;
}

START_TEST(waits_in_the_team_would_block)
{
    run_main_with(waits_on_team, NULL, &three_workers);
}
END_TEST

/* --- what travels along, and what does not --- */

/* Each side of a hop has an errno of its own; a compiler that kept its address would read the wrong one. */
static int errno_follows(void *arg)
{
    int i;

    (void)arg;
    for (i = 0; i < 20; i++) {
        errno = 0;
        hop_on_cpu {
            errno = 0;
            must_eq(close(-1), -1);
            must_eq(errno, EBADF);
            must(&errno == __errno_location());
            hop_sleep(1);
            errno = ENOENT;
            must_eq(*__errno_location(), ENOENT);
        }
        must(&errno == __errno_location());
        errno = 0;
        hop_on_blocking {
            must_eq(close(-1), -1);
            must_eq(errno, EBADF);
        }
        must_eq(read(-1, &i, 0), -1);
        must_eq(errno, EBADF);
        errno = EDOM;
        must_eq(*__errno_location(), EDOM);
    }
    return 0;
}

START_TEST(errno_is_that_of_the_thread)
{
    run_main_with(errno_follows, NULL, &three_workers);
}
END_TEST

static int locals_survive(void *arg)
{
    long a = 1, b = 2, c = 3, d = 4, e = 5, f = 6;
    double x = 1.5, y = 2.5, z = 0;
    char text[64];
    int i;

    (void)arg;
    snprintf(text, sizeof text, "the frame itself moves");
    for (i = 0; i < 100; i++) {
        hop_on_cpu {
            a += b, b += c, c += d, d += e, e += f, f++;
            x += y;
            hop_on_blocking {
                z += x * y;
                text[0] = (char)('a' + i % 26);
            }
        }
        x -= y;
    }
    must_eq(f, 106);
    must_eq(e, 5 + 100 * 6 + 99 * 100 / 2);
    must(x == 1.5 && y == 2.5 && z == 100 * 10.0);
    ck_assert_str_eq(text + 1, "he frame itself moves");
    must_eq(text[0], 'a' + 99 % 26);
    must(a > 0 && b > 0 && c > 0 && d > 0);
    return 0;
}

START_TEST(locals_go_along)
{
    run_main_with(locals_survive, NULL, &three_workers);
}
END_TEST

/* --- where there is no task to move --- */

static int runs_in_place(void *arg)
{
    long here = thread_id();
    enum hop_place place = hop_here();
    int n = 0;

    hop_on_cpu {
        must_eq(thread_id(), here);
        hop_on_team {
            must_eq(thread_id(), here);
            hop_on_blocking {
                must_eq(thread_id(), here);
                must_eq(hop_here(), place);
                n++;
            }
        }
    }
    must_eq(n, 1);
    must_eq(place, (enum hop_place)hop_int(arg));
    return 0;
}

static int in_range_body(size_t lo, size_t hi, void *arg)
{
    (void)lo, (void)hi;
    return runs_in_place(arg);
}

static void *runs_in_place_thread(void *arg)
{
    runs_in_place(arg);
    return NULL;
}

static int blocks_without_a_task(void *arg)
{
    (void)arg;
    must_eq(hop_offload(runs_in_place, hop_ptr(HOP_JOB)), 0);
    must_eq(hop_parallel_for(0, 20, in_range_body, hop_ptr(HOP_JOB), HOP_PAR(.grain = 1)), 0);
    hop_on_cpu {
        must_eq(hop_offload(runs_in_place, hop_ptr(HOP_JOB)), 0);
        must_eq(hop_here(), HOP_CPU);
    }
    join_thread(start_thread(runs_in_place_thread, hop_ptr(HOP_OUTSIDE)));
    return 0;
}

START_TEST(in_jobs_and_threads_blocks_run_in_place)
{
    runs_in_place(hop_ptr(HOP_OUTSIDE));
    run_main_with(blocks_without_a_task, NULL, &three_workers);
}
END_TEST

/* --- the team --- */

#if TEAM_OF_OPENMP

/* Who the workers are: each waits for all the others, so that each has one of these jobs. */
struct roll {
    pthread_barrier_t barrier;
    long ids[WORKERS];
};

static int call_the_roll(void *arg)
{
    struct roll *r = arg;

    r->ids[hop_worker_index()] = thread_id();
    pthread_barrier_wait(&r->barrier);
    return 0;
}

static void take_the_roll(struct roll *r)
{
    hop_scope scope;
    int i;

    memset(r, 0, sizeof *r);
    pthread_barrier_init(&r->barrier, NULL, WORKERS);
    must_eq(hop_scope_open(&scope), 0);
    for (i = 0; i < WORKERS; i++)
        must_eq(hop_submit(&scope, NULL, call_the_roll, r), 0);
    must_eq(hop_scope_close(&scope), 0);
    pthread_barrier_destroy(&r->barrier);
}

struct region {
    int threads, parallel_at_top, workers;
    long ids[WORKERS];
};

static void open_region(struct region *g)
{
    memset(g, 0, sizeof *g);
    g->parallel_at_top = omp_in_parallel();
#pragma omp parallel
    {
        int me = omp_get_thread_num();

#pragma omp single
        g->threads = omp_get_num_threads();
        if (me < WORKERS)
            g->ids[me] = thread_id();
    }
}

static int regions(void *arg)
{
    struct roll roll;
    struct region g;
    int round, i, k, found, threads;

    (void)arg;
    take_the_roll(&roll);
    threads = live_threads();
    for (round = 0; round < 30; round++) {
        hop_on_team {
            open_region(&g);
        }
        must_eq(g.parallel_at_top, 0);
        must_eq(g.threads, WORKERS);
        for (i = 0; i < WORKERS; i++) {
            for (k = 0, found = 0; k < WORKERS; k++)
                found += g.ids[k] == roll.ids[i];
            must_eq(found, 1); /* the very same threads */
        }
        must_eq(live_threads(), threads);
    }
    for (round = 0; round < 50; round++) { /* what one block sets is not the next one's, in the same turn or a later */
        hop_on_team {
            omp_set_num_threads(1);
        }
        hop_on_team {
            open_region(&g);
        }
        must_eq(g.threads, WORKERS);
    }
    take_the_roll(&roll); /* and task mode goes on */
    return 0;
}

START_TEST(regions_in_the_team_use_the_workers)
{
    run_main_with(regions, NULL, &three_workers);
}
END_TEST

static int region_in_a_job(void *arg)
{
    int threads = 0;

    (void)arg;
    must(omp_in_parallel());
#pragma omp parallel
    {
#pragma omp single
        threads = omp_get_num_threads();
    }
    must_eq(threads, 1);
#pragma omp parallel num_threads(4)
    {
#pragma omp atomic
        threads++;
    }
    must_eq(threads, 2);
    return 0;
}

static int regions_in_jobs(void *arg)
{
    struct roll roll;
    hop_scope scope;
    int i, threads;

    (void)arg;
    take_the_roll(&roll);
    threads = live_threads();
    must_eq(hop_scope_open(&scope), 0);
    for (i = 0; i < 100; i++)
        must_eq(hop_submit(&scope, NULL, region_in_a_job, NULL), 0);
    must_eq(hop_scope_close(&scope), 0);
    hop_on_cpu {
        region_in_a_job(NULL);
    }
    must_eq(live_threads(), threads);
    return 0;
}

START_TEST(regions_in_jobs_are_serial)
{
    run_main_with(regions_in_jobs, NULL, &three_workers);
}
END_TEST

#endif

static int team_turns_are_counted(void *arg)
{
    hop_stats before, after;
    int i;

    (void)arg;
    must_eq(hop_stats_read(&before), 0);
    for (i = 0; i < 5; i++) {
        hop_on_team {
            must_eq(hop_here(), HOP_TEAM);
        }
    }
    must_eq(hop_stats_read(&after), 0);
    must(after.team_turns >= before.team_turns + 1 && after.team_turns <= before.team_turns + 5);
    return 0;
}

START_TEST(turns_of_the_team_are_counted)
{
    run_main_with(team_turns_are_counted, NULL, &three_workers);
}
END_TEST

/* No job runs while a team block does. */
struct alone {
    atomic_int jobs, blocks, overlaps, stop;
};

static int job_beside(void *arg)
{
    struct alone *a = arg;
    volatile int i;

    atomic_fetch_add(&a->jobs, 1);
    for (i = 0; i < 2000; i++)
        if (atomic_load(&a->blocks))
            atomic_fetch_add(&a->overlaps, 1);
    atomic_fetch_sub(&a->jobs, 1);
    return 0;
}

static int submit_beside(void *arg)
{
    struct alone *a = arg;
    hop_scope scope;

    while (!atomic_load(&a->stop)) {
        int i;

        must_eq(hop_scope_open(&scope), 0);
        for (i = 0; i < 8; i++)
            must_eq(hop_submit(&scope, NULL, job_beside, a), 0);
        must_eq(hop_scope_close(&scope), 0);
    }
    return 0;
}

static int team_is_alone(void *arg)
{
    struct alone a = { 0 };
    hop_scope scope;
    int i, k;

    (void)arg;
    must_eq(hop_scope_open(&scope), 0);
    for (i = 0; i < 3; i++)
        must_eq(hop_spawn(&scope, submit_beside, &a, NULL), 0);
    for (i = 0; i < 100; i++) {
        hop_on_team {
            atomic_fetch_add(&a.blocks, 1);
            for (k = 0; k < 100; k++)
                if (atomic_load(&a.jobs))
                    atomic_fetch_add(&a.overlaps, 1);
            atomic_fetch_sub(&a.blocks, 1);
        }
    }
    atomic_store(&a.stop, 1);
    must_eq(hop_scope_close(&scope), 0);
    must_eq(atomic_load(&a.overlaps), 0);
    return 0;
}

START_TEST(no_job_runs_beside_a_team_block)
{
    run_main_with(team_is_alone, NULL, &three_workers);
}
END_TEST

/* A job that is at work keeps the team block waiting; it is not lost, and the job is not disturbed. */
struct slow {
    hop_future started;
    atomic_int release, ended;
};

static int slow_job(void *arg)
{
    struct slow *s = arg;

    hop_complete(&s->started, 0);
    while (!atomic_load(&s->release))
        ;
    atomic_store(&s->ended, 1);
    return 0;
}

static int team_after(void *arg)
{
    struct slow *s = arg;

    hop_on_team {
        must_eq(atomic_load(&s->ended), 1);
    }
    return 0;
}

static int long_job_delays(void *arg)
{
    struct slow s = { .release = 0 };
    hop_scope scope;
    int i;

    (void)arg;
    must_eq(hop_scope_open(&scope), 0);
    must_eq(hop_submit(&scope, NULL, slow_job, &s), 0);
    must_eq(hop_await(&s.started), 0);
    for (i = 0; i < 3; i++)
        must_eq(hop_spawn(&scope, team_after, &s, NULL), 0);
    must_eq(hop_sleep(5 * HOP_MS), 0); /* the requests are there meanwhile; the loop goes on */
    must_eq(atomic_load(&s.ended), 0);
    atomic_store(&s.release, 1);
    must_eq(hop_scope_close(&scope), 0);
    return 0;
}

START_TEST(a_long_job_delays_a_team_block)
{
    run_main_with(long_job_delays, NULL, &three_workers);
}
END_TEST

/* --- all of it at once --- */

struct mix {
    atomic_long cpu, team, blocking, jobs, joins, loops, sleeps;
    atomic_uint seed;
};

static int count_job(void *arg)
{
    atomic_fetch_add((atomic_long *)arg, 1);
    return 0;
}

static int count_range(size_t lo, size_t hi, void *arg)
{
    atomic_fetch_add((atomic_long *)arg, (long)(hi - lo));
    return 0;
}

static int mixed(void *arg)
{
    struct mix *m = arg;
    unsigned seed = atomic_fetch_add(&m->seed, 2654435761u) | 1;
    int i;

    for (i = 0; i < STEPS; i++) {
        unsigned what = test_random(&seed);

        switch (what % 7) {
        case 0:
            hop_on_cpu {
                atomic_fetch_add(&m->cpu, 1);
                if (what & 256) {
                    int index = hop_worker_index();

                    must_eq(hop_sleep((what >> 10) % 50 * HOP_US), 0);
                    must_eq(hop_worker_index(), index);
                }
            }
            break;
        case 1:
            hop_on_team {
                must_eq(hop_here(), HOP_TEAM);
                atomic_fetch_add(&m->team, 1);
            }
            break;
        case 2:
            hop_on_blocking {
                atomic_fetch_add(&m->blocking, 1);
            }
            break;
        case 3: must_eq(hop_offload(count_job, &m->jobs), 0); break;
        case 4: must_eq(hop_join(count_job, &m->joins, count_job, &m->joins), 0); break;
        case 5: must_eq(hop_parallel_for(0, 50, count_range, &m->loops, HOP_PAR(.grain = 1 + what % 3)), 0); break;
        default:
            hop_on_cpu {
                hop_on_team {
                    atomic_fetch_add(&m->team, 1);
                }
                must_eq(hop_join(count_job, &m->joins, count_job, &m->joins), 0);
            }
            must_eq(hop_yield(), 0);
        }
    }
    return 0;
}

/* The same numbers without hop. */
static void expect(struct mix *m, unsigned first_seed, int tasks)
{
    int t, i;

    for (t = 0; t < tasks; t++) {
        unsigned seed = (first_seed + (unsigned)t * 2654435761u) | 1;

        for (i = 0; i < STEPS; i++)
            switch (test_random(&seed) % 7) {
            case 0: atomic_fetch_add(&m->cpu, 1); break;
            case 1: atomic_fetch_add(&m->team, 1); break;
            case 2: atomic_fetch_add(&m->blocking, 1); break;
            case 3: atomic_fetch_add(&m->jobs, 1); break;
            case 4: atomic_fetch_add(&m->joins, 2); break;
            case 5: atomic_fetch_add(&m->loops, 50); break;
            default: atomic_fetch_add(&m->team, 1); atomic_fetch_add(&m->joins, 2);
            }
    }
}

static int mix_all(void *arg)
{
    enum { TASKS = 40 };
    unsigned seed = (unsigned)hop_int(arg);
    struct mix m = { .cpu = 0 }, expected = { .cpu = 0 };
    hop_stats stats;
    hop_scope scope;
    int i;

    atomic_store(&m.seed, seed);
    expect(&expected, seed, TASKS);
    must_eq(hop_scope_open(&scope), 0);
    for (i = 0; i < TASKS; i++)
        must_eq(hop_spawn(&scope, mixed, &m, HOP_TASK(.loop = 1 + i % 2)), 0);
    must_eq(hop_scope_close(&scope), 0);
    must_eq(atomic_load(&m.cpu), atomic_load(&expected.cpu));
    must_eq(atomic_load(&m.team), atomic_load(&expected.team));
    must_eq(atomic_load(&m.blocking), atomic_load(&expected.blocking));
    must_eq(atomic_load(&m.jobs), atomic_load(&expected.jobs));
    must_eq(atomic_load(&m.joins), atomic_load(&expected.joins));
    must_eq(atomic_load(&m.loops), atomic_load(&expected.loops));
    do /* the counter of a worker moves after the task that it ran has gone home */
        must_eq(hop_stats_read(&stats), 0);
    while (stats.jobs_accepted != stats.jobs_completed && !hop_yield());
    return 0;
}

START_TEST(nothing_is_lost_in_the_mix)
{
    hop_config config = { .workers = WORKERS, .loops = 2 };

    run_main_with(mix_all, hop_ptr((int)(test_seed() & 0xffffff)), &config);
}
END_TEST

START_TEST(nothing_is_lost_with_one_worker)
{
    hop_config config = { .workers = 1, .loops = 2, .queue = 2 };

    run_main_with(mix_all, hop_ptr((int)(test_seed() & 0xffffff)), &config);
}
END_TEST

#if TEAM_OF_OPENMP
#define TEAM_TESTS regions_in_the_team_use_the_workers, regions_in_jobs_are_serial,
#else
#define TEAM_TESTS
#endif

RUN_TESTS("hop", there_and_back, nested_blocks_come_back_the_way_they_went, blocks_end_once_however_left,
          waits_come_back_to_the_same_worker, waits_come_back_to_the_same_blocking_thread,
          the_loop_goes_on_beside_a_blocking_call, waits_in_the_team_would_block, errno_is_that_of_the_thread,
          locals_go_along, in_jobs_and_threads_blocks_run_in_place, TEAM_TESTS turns_of_the_team_are_counted,
          no_job_runs_beside_a_team_block, a_long_job_delays_a_team_block, nothing_is_lost_in_the_mix,
          nothing_is_lost_with_one_worker)
