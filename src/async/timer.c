/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A hierarchical timer wheel (Varghese and Lauck 1987), aligned: time in ticks is a number of six-bit digits, level 0
 * is the last digit, and a timer sits at the highest digit in which its due tick differs from the current tick, in
 * the slot that its own digit there names.
 *
 *     level 5    ..........X.....................   slot = 2^30 ticks: from there it falls to a lower level
 *       ...
 *     level 0    ...X............................   slot = 1 tick: here it fires
 *
 * So everything on a level comes before everything on the next, each slot that is not empty lies after the current
 * digit, and the next thing to do is the first bit of the lowest level that is not empty. When the time reaches the
 * start of a slot of a higher level, its timers are placed anew: each falls to a lower level, at most five times in its
 * life. Only the top level is a ring: what differs above its digit goes to the slot of that digit if it comes within
 * one round, else to the last slot of the round, to be looked at again then.
 *
 * A timer is due at the first tick that begins at or after its time, so it never fires early.
 */
#include "config.h"

#include "async/timer.h"

enum { LEVEL_BITS = 6, DIGIT = HOP__WHEEL_SLOTS - 1, TOP = HOP__WHEEL_LEVELS - 1 };

void hop__wheel_init(struct hop__wheel *w, hop_ns now)
{
    *w = (struct hop__wheel){ .tick = (uint64_t)now >> HOP__WHEEL_SHIFT };
    w->floor = w->tick + 1;
}

static uint64_t due_tick(hop_ns when)
{
    if (when <= 0)
        return 0;
    return ((uint64_t)when + HOP__WHEEL_TICK - 1) >> HOP__WHEEL_SHIFT;
}

static unsigned digit(uint64_t tick, unsigned level)
{
    return (unsigned)(tick >> (LEVEL_BITS * level)) & DIGIT;
}

static uint64_t next_bit(uint64_t bits)
{
    return (uint64_t)__builtin_ctzll(bits);
}

/* Puts the timer where its due tick, not before the current one, belongs. */
static void place(struct hop__wheel *w, struct hop__timer *t, uint64_t due)
{
    uint64_t differs = (w->tick ^ due) | 1; /* no difference: level 0 too */
    unsigned level = (63 - (unsigned)__builtin_clzll(differs)) / LEVEL_BITS, slot;
    struct hop__timer **head;

    if (level > TOP) {
        uint64_t rounds = (due >> (LEVEL_BITS * TOP)) - (w->tick >> (LEVEL_BITS * TOP));

        level = TOP;
        if (rounds > DIGIT)
            due = w->tick + ((uint64_t)DIGIT << (LEVEL_BITS * TOP));
    }
    slot = digit(due, level);
    head = &w->slots[level][slot];
    t->next = *head;
    t->link = head;
    if (t->next)
        t->next->link = &t->next;
    *head = t;
    w->occupied[level] |= UINT64_C(1) << slot;
}

void hop__wheel_arm(struct hop__wheel *w, struct hop__timer *t, hop_ns when)
{
    uint64_t due = due_tick(when);

    if (due < w->floor) {
        due = w->floor;
        when = (hop_ns)(due << HOP__WHEEL_SHIFT); /* or it would be too early when it is placed anew */
    }
    t->when = when;
    place(w, t, due);
}

void hop__wheel_disarm(struct hop__wheel *w, struct hop__timer *t)
{
    uintptr_t at;

    if (!t->link)
        return;
    *t->link = t->next;
    at = ((uintptr_t)t->link - (uintptr_t)w->slots) / sizeof w->slots[0][0];
    if (t->next)
        t->next->link = t->link;
    else if (at < HOP__WHEEL_LEVELS * HOP__WHEEL_SLOTS) /* the link is a slot: it was the only one in it */
        w->occupied[at / HOP__WHEEL_SLOTS] &= ~(UINT64_C(1) << at % HOP__WHEEL_SLOTS);
    t->link = NULL;
}

/* The tick at which the next slot begins, and which it is. False: the wheel is empty. */
static bool next_slot(const struct hop__wheel *w, unsigned *level, unsigned *slot, uint64_t *start)
{
    unsigned shift, here;
    uint64_t bits;

    for (*level = 0; *level < TOP; (*level)++) {
        if (!w->occupied[*level])
            continue;
        shift = LEVEL_BITS * *level;
        *slot = (unsigned)next_bit(w->occupied[*level]);
        *start = ((w->tick >> shift & ~(uint64_t)DIGIT) + *slot) << shift;
        return true;
    }
    bits = w->occupied[TOP];
    if (!bits)
        return false;
    shift = LEVEL_BITS * TOP;
    here = digit(w->tick, TOP);
    if (here)
        bits = bits >> here | bits << (HOP__WHEEL_SLOTS - here); /* the ring, seen from here */
    *slot = (unsigned)(here + next_bit(bits)) & DIGIT;
    *start = ((w->tick >> shift) + next_bit(bits)) << shift;
    return true;
}

hop_ns hop__wheel_next(const struct hop__wheel *w)
{
    unsigned level, slot;
    uint64_t start;

    if (!next_slot(w, &level, &slot, &start))
        return HOP_FOREVER;
    return start > (uint64_t)HOP_FOREVER >> HOP__WHEEL_SHIFT ? HOP_FOREVER : (hop_ns)(start << HOP__WHEEL_SHIFT);
}

/* Empties a slot into the firing list, and turns it round: the slot has the newest first. */
static void take_slot(struct hop__wheel *w, unsigned level, unsigned slot)
{
    struct hop__timer *list = w->slots[level][slot], *next;

    w->slots[level][slot] = NULL;
    w->occupied[level] &= ~(UINT64_C(1) << slot);
    for (; list; list = next) {
        next = list->next;
        list->next = w->firing;
        list->link = &w->firing;
        if (list->next)
            list->next->link = &list->next;
        w->firing = list;
    }
}

static void fire_all(struct hop__wheel *w)
{
    struct hop__timer *t;

    while ((t = w->firing)) {
        hop__wheel_disarm(w, t);
        t->fire(t);
    }
}

static void place_all(struct hop__wheel *w)
{
    struct hop__timer *t;
    uint64_t due;

    while ((t = w->firing)) {
        hop__wheel_disarm(w, t);
        due = due_tick(t->when);
        place(w, t, due < w->tick ? w->tick : due);
    }
}

void hop__wheel_advance(struct hop__wheel *w, hop_ns now)
{
    uint64_t target = (uint64_t)now >> HOP__WHEEL_SHIFT, start;
    unsigned level, slot;

    if (target <= w->tick)
        return;
    w->floor = target + 1;
    while (next_slot(w, &level, &slot, &start) && start <= target) {
        w->tick = start;
        take_slot(w, level, slot);
        if (level)
            place_all(w);
        else
            fire_all(w);
    }
    w->tick = target;
}
