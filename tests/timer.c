/* SPDX-License-Identifier: BSD-3-Clause */

/* The timer wheel in simulated time, by hand and against a model. */
#include "harness.h"

#include "async/timer.h"

#define TICK HOP__WHEEL_TICK

struct probe {
    struct hop__timer timer; /* the first member */
    struct hop__wheel *wheel;
    int fired;
    hop_ns fired_at; /* simulated */
    hop_ns again;    /* re-arm this much later */
    struct probe *other; /* to disarm */
};

static hop_ns now_ns;

static void fire(struct hop__timer *t)
{
    struct probe *p = (struct probe *)t;

    ck_assert_ptr_null(t->link);
    p->fired++;
    p->fired_at = now_ns;
    if (p->again)
        hop__wheel_arm(p->wheel, t, now_ns + p->again);
    if (p->other)
        hop__wheel_disarm(p->wheel, &p->other->timer);
}

static void advance(struct hop__wheel *w, hop_ns to)
{
    now_ns = to;
    hop__wheel_advance(w, to);
}

static void arm(struct hop__wheel *w, struct probe *p, hop_ns when)
{
    p->timer.fire = fire;
    p->wheel = w;
    hop__wheel_arm(w, &p->timer, when);
}

/* What never fires is not armed, and an empty wheel wants nothing. */
START_TEST(empty)
{
    struct hop__wheel w;
    struct probe p = { 0 };

    hop__wheel_init(&w, 12345 * HOP_SEC);
    ck_assert(hop__wheel_next(&w) == HOP_FOREVER);
    hop__wheel_disarm(&w, &p.timer);
    advance(&w, 99999 * HOP_SEC);
    arm(&w, &p, 100000 * HOP_SEC);
    ck_assert_ptr_nonnull(p.timer.link);
    hop__wheel_disarm(&w, &p.timer);
    ck_assert_ptr_null(p.timer.link);
    ck_assert(hop__wheel_next(&w) == HOP_FOREVER);
    advance(&w, 200000 * HOP_SEC);
    ck_assert_int_eq(p.fired, 0);
}
END_TEST

static const hop_ns starts[] = { 0, 1, TICK - 1, 63 * TICK, 64 * TICK - 1, ((hop_ns)1 << 52) - 3 * TICK,
                                 ((hop_ns)1 << 52) - 1, 5 * ((hop_ns)1 << 46) - TICK, 1234567890123456789 };
static const hop_ns spans[] = { 0, 1, TICK - 1, TICK, TICK + 1, 63 * TICK, 64 * TICK, 65 * TICK, 4095 * TICK,
                                4096 * TICK, HOP_SEC, 3600 * HOP_SEC, ((hop_ns)1 << 52) - 1, (hop_ns)1 << 52,
                                ((hop_ns)1 << 52) + 12345, (hop_ns)3 << 54 };

/* Whatever the start and the distance: not before its time, and no more than a tick after, stepping by next. */
static void try_distances(hop_ns start)
{
    for (size_t k = 0; k < sizeof spans / sizeof *spans; k++) {
        struct hop__wheel w;
        struct probe p = { 0 };
        int steps = 0;

        hop__wheel_init(&w, start);
        arm(&w, &p, start + spans[k]);
        while (!p.fired) {
            hop_ns next = hop__wheel_next(&w);

            must(next < start + spans[k] + 2 * TICK);
            must(next > now_ns || steps == 0);
            advance(&w, next);
            must(steps++ < 1000);
        }
        must(p.fired_at >= start + spans[k]);
        must(p.fired_at < start + spans[k] + 2 * TICK);
        must(hop__wheel_next(&w) == HOP_FOREVER);
    }
}

START_TEST(distances)
{
    for (size_t i = 0; i < sizeof starts / sizeof *starts; i++)
        try_distances(starts[i]);
}
END_TEST

START_TEST(forever_stays)
{
    struct hop__wheel w;
    struct probe p = { 0 };

    hop__wheel_init(&w, 0);
    arm(&w, &p, HOP_FOREVER);
    for (hop_ns t = HOP_SEC; t < HOP_FOREVER / 4; t += t)
        advance(&w, t);
    ck_assert_int_eq(p.fired, 0);
    ck_assert_ptr_nonnull(p.timer.link);
    hop__wheel_disarm(&w, &p.timer);
    ck_assert(hop__wheel_next(&w) == HOP_FOREVER);
}
END_TEST

/* A periodic timer, and one that another disarms in the very tick in which both are due. */
START_TEST(from_inside)
{
    struct hop__wheel w;
    struct probe periodic = { .again = HOP_MS }, victim = { 0 }, killer = { .other = &victim }, self = { 0 };

    hop__wheel_init(&w, 0);
    arm(&w, &periodic, HOP_MS);
    arm(&w, &killer, 5 * HOP_MS);
    arm(&w, &victim, 5 * HOP_MS);
    arm(&w, &self, 5 * HOP_MS);
    self.other = &self;
    for (hop_ns t = 0; t <= 20 * HOP_MS; t += TICK / 2)
        advance(&w, t);
    ck_assert_int_ge(periodic.fired, 17);
    ck_assert_int_le(periodic.fired, 20);
    ck_assert_int_eq(killer.fired, 1);
    ck_assert_int_eq(self.fired, 1);
    ck_assert_int_eq(victim.fired, 0);
}
END_TEST

/* A fire function that arms for the past does not keep the wheel from ending, even after a long pause. */
START_TEST(armed_for_the_past)
{
    struct hop__wheel w;
    struct probe p = { .again = -HOP_SEC };

    hop__wheel_init(&w, 0);
    arm(&w, &p, -5);
    advance(&w, 365 * 86400 * HOP_SEC);
    ck_assert_int_eq(p.fired, 1);
    advance(&w, 365 * 86400 * HOP_SEC + TICK);
    ck_assert_int_eq(p.fired, 2);
}
END_TEST

/* --- against a model: a plain array that is searched --- */

enum { TIMERS = 200, ROUNDS = 5000 };

static unsigned state;

static uint64_t next_random(void)
{
    uint64_t high = test_random(&state);

    return high << 32 | test_random(&state);
}

/* Distances of all sizes alike. */
static hop_ns random_span(void)
{
    return (hop_ns)(next_random() >> (10 + next_random() % 54));
}

static struct probe probes[TIMERS];
static hop_ns model[TIMERS]; /* when, or -1: not armed */
static hop_ns model_armed[TIMERS]; /* the time of arming */

static void toggle(struct hop__wheel *w, size_t i)
{
    if (model[i] >= 0) {
        hop__wheel_disarm(w, &probes[i].timer);
        model[i] = -1;
    } else {
        model[i] = now_ns + random_span() - (next_random() % 8 ? 0 : 10 * TICK);
        if (model[i] < 0)
            model[i] = 0;
        model_armed[i] = now_ns;
        arm(w, &probes[i], model[i]);
    }
}

static void model_fire(struct hop__timer *t)
{
    size_t i = (size_t)((struct probe *)t - probes);

    must(model[i] >= 0);
    must(model[i] <= now_ns);
    model[i] = -1;
    for (uint64_t n = next_random() % 3; n; n--) { /* and touch some others, or itself */
        size_t k = next_random() % 4 ? (size_t)(next_random() % TIMERS) : i;

        toggle(probes[i].wheel, k);
        if (model[k] >= 0)
            probes[k].timer.fire = model_fire;
    }
}

static void check(struct hop__wheel *w)
{
    hop_ns next = hop__wheel_next(w), earliest = HOP_FOREVER, late, tick_now = now_ns & ~(TICK - 1);

    for (size_t i = 0; i < TIMERS; i++) {
        must(!probes[i].timer.link == (model[i] < 0));
        if (model[i] < 0)
            continue;
        late = model[i] > model_armed[i] ? model[i] : model_armed[i];
        must(now_ns < late + 2 * TICK);
        late = late + TICK > late ? late + TICK : HOP_FOREVER;
        earliest = late < earliest ? late : earliest;
    }
    must(next > tick_now);
    must(next <= earliest);
}

static void play(void)
{
    struct hop__wheel w;

    now_ns = (hop_ns)(next_random() >> 4);
    hop__wheel_init(&w, now_ns);
    for (size_t i = 0; i < TIMERS; i++) {
        probes[i] = (struct probe){ 0 };
        model[i] = -1;
    }
    for (int round = 0; round < ROUNDS && now_ns < HOP_FOREVER / 4; round++) {
        for (uint64_t n = next_random() % 10; n; n--) {
            size_t i = (size_t)(next_random() % TIMERS);

            toggle(&w, i);
            if (model[i] >= 0)
                probes[i].timer.fire = model_fire;
        }
        if (next_random() % 2 && hop__wheel_next(&w) != HOP_FOREVER)
            advance(&w, hop__wheel_next(&w));
        else
            advance(&w, now_ns + (random_span() >> (next_random() % 16)));
        check(&w);
    }
}

START_TEST(against_model)
{
    state = test_seed();
    for (int i = 0; i < 4; i++)
        play();
}
END_TEST

RUN_TESTS("timer", empty, distances, forever_stays, from_inside, armed_for_the_past, against_model)
