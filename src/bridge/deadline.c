/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * hop_within and hop_shield: a task's deadline is one field; a block tightens or replaces it and puts it back.
 */
#include "config.h"

#include <hop/task.h>

#include "bridge/task.h"

hop_deadline hop_within_begin(hop_ns ns)
{
    struct hop__task *t = hop__self()->task;
    hop_deadline d = { t, 0, 0, 1 };

    if (t) {
        hop_ns deadline = hop__after(hop__now(), ns);

        d.saved_ns = t->deadline;
        if (deadline < t->deadline)
            t->deadline = deadline;
    }
    return d;
}

hop_deadline hop_shield_begin(hop_ns ns)
{
    struct hop__task *t = hop__self()->task;
    hop_deadline d = { t, 0, 1, 1 };

    if (t) {
        d.saved_ns = t->deadline;
        t->deadline = hop__after(hop__now(), ns);
        t->shield++;
    }
    return d;
}

void hop_deadline_end(hop_deadline *d)
{
    struct hop__task *t = d->task;

    d->task = NULL;
    if (!t || hop__self()->task != t) /* in a child of fork the task is not there */
        return;
    t->deadline = d->saved_ns;
    t->shield -= d->shield;
    if (d->shield && !t->shield)
        hop__task_cancel_scopes(t, true); /* what was opened inside and is still open */
}
