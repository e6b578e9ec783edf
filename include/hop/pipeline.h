/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * hop/pipeline.h: a stream of items through stages, some that wait and some that compute.
 */
#ifndef HOP_PIPELINE_H
#define HOP_PIPELINE_H

#include <hop/base.h>

#ifdef __cplusplus
extern "C" {
#endif

/*
 * What a stage does to one slot. arg is the pipeline's. The first stage is the source: 1 it filled the slot, 0 the end.
 * The others: 0 or more to go on. Negative from any: the pipeline is cancelled and returns it.
 */
typedef int hop_stage_fn(void *slot, void *arg);

typedef enum hop_stage_kind {
    HOP_SERIAL = 0, /* one slot at a time, in source order, in a task: it may wait, and hop */
    HOP_PARALLEL    /* many slots at a time, as jobs on the pool: it computes */
} hop_stage_kind;

typedef struct hop_stage {
    hop_stage_fn *fn;
    hop_stage_kind kind;
    const char *name; /* for reports; may be NULL */
} hop_stage;

/*
 * Runs items through the stages until the source ends, an error comes, or the caller is cancelled; returns when no
 * stage runs any more. slots points to nslots structs of slot_bytes: they are the ring, so nslots items are in flight
 * at most, and a slow stage holds back the source. A slot is used again after the last stage is done with it; what it
 * points to is the caller's business, before and after.
 * Context: task. The first stage must be serial.
 * Owns: stages, slots and arg stay the caller's; nothing is kept. One allocation.
 * Errors: the first error of a stage; -ECANCELED, -ETIMEDOUT; -EINVAL (nothing to do, a null, a parallel source),
 * -EWOULDBLOCK (not in a task), -ENOMEM; otherwise 0.
 */
HOP_API int hop_pipeline(const hop_stage *stages, size_t nstages, void *slots, size_t nslots, size_t slot_bytes,
                         void *arg);

#ifdef __cplusplus
}
#endif

#endif
