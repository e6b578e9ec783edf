/* SPDX-License-Identifier: BSD-3-Clause */
#include "config.h"

#include "compute/pace.h"

enum { WHOLE = 1000, SHARE = 20 }; /* margin and size of the bucket: 1 in SHARE of what a period allows */

void hop__pace_init(struct hop__pace *pace)
{
    *pace = (struct hop__pace){ .seen = -1 };
    pthread_mutex_init(&pace->lock, NULL);
}

void hop__pace_free(struct hop__pace *pace)
{
    pthread_mutex_destroy(&pace->lock);
}

void hop__pace_set(struct hop__pace *pace, double quota, hop_ns period)
{
    int rate = (int)(quota * (WHOLE - WHOLE / SHARE));

    if (quota > 0 && !rate)
        rate = 1;
    pthread_mutex_lock(&pace->lock);
    if (rate != hop__load(&pace->rate, relaxed) || period != pace->period) {
        pace->period = period;
        pace->size = (hop_ns)(quota * (double)period) / SHARE;
        pace->balance = 0;
        pace->seen = -1;
        hop__store(&pace->rate, rate, relaxed);
    }
    pthread_mutex_unlock(&pace->lock);
}

/* What time has filled in and the process has used since it was asked for last. */
static void settle(struct hop__pace *pace, int rate, hop_ns now, hop_ns used)
{
    if (pace->seen < 0 || now - pace->seen > pace->period)
        pace->balance = 0; /* nobody has asked for a period, and the kernel has settled that one */
    else if (now <= pace->seen)
        return; /* a thread that has read its clocks earlier */
    else
        pace->balance += (now - pace->seen) * rate / WHOLE - (used - pace->used);
    pace->seen = now;
    pace->used = used;
    if (pace->balance > pace->size)
        pace->balance = pace->size;
    if (pace->balance < -pace->period * rate / WHOLE)
        pace->balance = -pace->period * rate / WHOLE;
}

hop_ns hop__pace_ask(struct hop__pace *pace, hop_ns now, hop_ns used)
{
    hop_ns wait = 0;
    int rate;

    pthread_mutex_lock(&pace->lock);
    rate = hop__load(&pace->rate, relaxed);
    if (rate) {
        settle(pace, rate, now, used);
        if (pace->balance < 0)
            wait = -pace->balance * WHOLE / rate;
    }
    pthread_mutex_unlock(&pace->lock);
    return wait;
}
