/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * attach.c: a libevent program that exists already gets tasks and a pool. It hands its event_base over and goes on to
 * dispatch it; its own timer and hop's tasks take turns on the same thread.
 */
#include <stdio.h>

#include <event2/event.h>
#include <hop.h>

struct program {
    struct event_base *base;
    int ticks;
    long sum;
};

/* The part that was there before: a callback of libevent. */
static void on_tick(evutil_socket_t fd, short what, void *arg)
{
    struct program *program = arg;

    (void)fd, (void)what;
    program->ticks++;
}

static int add_up(void *arg)
{
    struct program *program = arg;

    for (int i = 1; i <= 100000; i++)
        program->sum += i;
    return 0;
}

/* The new part: a task that offloads, waits until the timer has ticked, and ends the program. */
static int work(void *arg)
{
    struct program *program = arg;
    int rc = hop_offload(add_up, program);

    while (rc == 0 && program->ticks < 3)
        rc = hop_sleep(HOP_MS);
    event_base_loopbreak(program->base); /* the task runs on the thread that dispatches, so it may touch the base */
    return rc;
}

int main(void)
{
    struct program program = { .base = event_base_new() };
    struct timeval interval = { .tv_usec = 5000 };
    struct event *timer = event_new(program.base, -1, EV_PERSIST, on_tick, &program);
    hop_runtime *runtime = NULL;
    int rc;

    event_add(timer, &interval);
    rc = hop_runtime_new(&runtime, &(hop_config){ .base = program.base });
    if (rc == 0)
        rc = hop_spawn(hop_root(runtime), work, &program, HOP_TASK(.name = "work"));
    if (rc == 0)
        event_base_dispatch(program.base);
    if (runtime && hop_runtime_free(runtime) < 0)
        rc = -1;
    event_free(timer);
    event_base_free(program.base);
    printf("the pool added up %ld\n", program.sum);
    printf("the timer %s\n", program.ticks >= 3 ? "ticked" : "stood still");
    return rc < 0;
}
