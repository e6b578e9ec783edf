/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The blocks: a task travels to an executor at the begin and back to where it came from at the end.
 */
#include "config.h"

#include <hop/hop.h>

#include "bridge/runtime.h"
#include "bridge/task.h"

static struct hop__executor *executor_at(struct hop_runtime *rt, enum hop_place place)
{
    return place == HOP_CPU ? rt->pool : place == HOP_TEAM ? rt->team : rt->lane;
}

/* Only a task moves, and never out of the team: its threads are where it asked to be. */
static hop_block begin(enum hop_place place)
{
    struct hop__task *t = hop__self()->task;
    hop_block block = { NULL, NULL, place, 1 };

    if (!t || t->here->place == place || t->here->place == HOP_TEAM)
        return block;
    block.task = t;
    block.from = t->here;
    hop__task_visit(t, executor_at(t->home->runtime, place));
    return block;
}

hop_block hop_cpu_begin(void)
{
    return begin(HOP_CPU);
}

hop_block hop_team_begin(void)
{
    return begin(HOP_TEAM);
}

hop_block hop_blocking_begin(void)
{
    return begin(HOP_BLOCKING);
}

void hop_block_end(hop_block *block)
{
    struct hop__task *t = block->task;

    block->task = NULL;
    if (!t || hop__self()->task != t) /* in a child of fork: the block ends where it is */
        return;
    hop__task_travel(t, block->from);
}
