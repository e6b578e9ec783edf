/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The timer wheel of a loop: pure data, one thread, no clock inside. See timer.c.
 */
#ifndef HOP_ASYNC_TIMER_H
#define HOP_ASYNC_TIMER_H

#include "bridge/executor.h"

enum {
    HOP__WHEEL_SHIFT = 16, /* a tick is 2^16 ns: 65.5 us */
    HOP__WHEEL_LEVELS = 6, /* 2^52 ns, 52 days; what is further away is looked at again on the way */
    HOP__WHEEL_SLOTS = 64
};

#define HOP__WHEEL_TICK ((hop_ns)1 << HOP__WHEEL_SHIFT)

struct hop__wheel {
    uint64_t tick;  /* all that was due up to here has been fired */
    uint64_t floor; /* the earliest tick that a timer armed now can have: the next one that is not being fired */
    uint64_t occupied[HOP__WHEEL_LEVELS]; /* a bit for each slot that is not empty */
    struct hop__timer *slots[HOP__WHEEL_LEVELS][HOP__WHEEL_SLOTS];
    struct hop__timer *firing; /* what is left of the slot that is being fired */
};

void hop__wheel_init(struct hop__wheel *w, hop_ns now);

/* Arms a timer that is not armed, with its fire function set: it fires at when or less than a tick after it. O(1). */
void hop__wheel_arm(struct hop__wheel *w, struct hop__timer *t, hop_ns when);

/* Nothing if it is not armed. O(1). */
void hop__wheel_disarm(struct hop__wheel *w, struct hop__timer *t);

/*
 * Fires what is due at now, in the order of ticks. A fire function may arm and disarm any timer, its own too; what it
 * arms for now or earlier fires at the next tick.
 */
void hop__wheel_advance(struct hop__wheel *w, hop_ns now);

/*
 * When the wheel wants to be advanced next, or HOP_FOREVER: never later than the tick of the earliest timer, sometimes
 * earlier, to sort timers that were far away.
 */
hop_ns hop__wheel_next(const struct hop__wheel *w);

#endif
