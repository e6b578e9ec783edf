/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * pipeline.c: a stream of items through stages, written on the public headers alone.
 *
 * Each serial stage is a station: a task that takes the slots of the ring one after the other, item 0 in slot 0, item 1
 * in slot 1, round and round. The parallel stages between two stations are one job per slot, the way from the one to
 * the next. If the last stage is parallel, a station without a stage of its own stands at the end and awaits the jobs
 * in order, so there is always somebody to say that a slot is free.
 *
 *        +---------------------------------------- the slot is free -------------------------------------+
 *        v                                                                                               |
 *     station 0 (source) --gate--> station 1 --gate, through a job--> station 2 --gate--> ... --> station m-1
 *
 * A gate is the way of one slot out of one station: a future for each (slot, station), completed once a round.
 *
 *     passes    station i, with 1 (an item) or 0 (the end of the stream); or the job it submitted, with 1 or an error
 *     awaits    station i + 1, in ring order, which is source order; after the last station, the source
 *     resets    the one that awaited it, at once
 *
 * Why a gate is never completed twice, nor reset while its completer is near it: station i passes gate (s, i) again
 * only after it was given slot s again. Slot s comes round the ring, so station i + 1 has passed it on, and before that
 * it has awaited the gate and reset it. The gates between them carry the ordering.
 *
 * Back-pressure: the source awaits the last gate of a slot before it fills it again (in the first round every slot is
 * free), so nslots items are under way at most, and every gate and job has its place from the start.
 *
 * The end: the source passes 0 in place of an item, each station hands it on without working, and stops.
 *
 * Errors: a station or a job returns its error, and the scope does the rest: it keeps the first, cancels the others
 * (awaits return, jobs that have not started never do) and joins them all before its close returns. So nothing touches
 * the ring after that.
 */
#include <stdlib.h>

#include <hop.h>

struct ring;

struct station {
    struct ring *ring;
    size_t index;
    const hop_stage *serial; /* its own stage; NULL: it only awaits the jobs of a parallel end */
    const hop_stage *run;    /* the parallel stages between it and the next station */
    size_t nrun;             /* how many; 0: none */
};

struct gate {
    hop_future passed;
    struct station *from;
    void *slot;
};

struct ring {
    hop_scope scope;
    void *arg;
    size_t nslots;
    size_t nstations;
    struct station *stations;
    struct gate *gates; /* [nslots][nstations] */
};

static struct gate *gate_at(const struct ring *ring, size_t slot, size_t station)
{
    return &ring->gates[slot * ring->nstations + station];
}

/* Waits until the slot is here: 1 with an item (for the source: free to fill), 0 for the end of the stream. */
static int arrive(const struct station *station, size_t slot, int first_round)
{
    const struct ring *ring = station->ring;
    int stop = hop_cancelled(), came;
    struct gate *gate;

    if (stop < 0)
        return stop;
    if (station->index == 0 && first_round)
        return 1;
    gate = gate_at(ring, slot, (station->index > 0 ? station->index : ring->nstations) - 1);
    came = hop_await(&gate->passed);
    if (came >= 0)
        gate->passed = (hop_future)HOP_FUTURE_INIT;
    return came;
}

static int work(const struct station *station, void *slot)
{
    int rc;

    if (!station->serial)
        return 1;
    rc = station->serial->fn(slot, station->ring->arg);
    if (rc < 0)
        return rc;
    return station->index == 0 ? rc > 0 : 1; /* only the source ends the stream */
}

/* The job: the parallel stages on one slot. */
static int travel(void *arg)
{
    const struct gate *gate = arg;
    const struct station *from = gate->from;

    for (size_t i = 0; i < from->nrun; i++) {
        int rc = i > 0 ? hop_cancelled() : 0;

        if (rc == 0)
            rc = from->run[i].fn(gate->slot, from->ring->arg);
        if (rc < 0)
            return rc;
    }
    return 1;
}

static int pass(struct gate *gate, int more)
{
    if (more > 0 && gate->from->nrun > 0)
        return hop_submit(&gate->from->ring->scope, &gate->passed, travel, gate);
    return hop_complete(&gate->passed, more);
}

static int station_main(void *arg)
{
    const struct station *station = arg;
    const struct ring *ring = station->ring;
    int more = 1, first_round = 1;

    for (size_t slot = 0; more > 0; slot++) {
        struct gate *gate;
        int rc;

        if (slot == ring->nslots) {
            slot = 0;
            first_round = 0;
            rc = ring->nstations == 1 ? hop_yield() : 0; /* a station that is alone never waits for another */
            if (rc < 0)
                return rc;
        }
        gate = gate_at(ring, slot, station->index);
        more = arrive(station, slot, first_round);
        if (more > 0)
            more = work(station, gate->slot);
        if (more < 0)
            return more;
        rc = pass(gate, more);
        if (rc < 0)
            return rc;
    }
    return 0;
}

/* Stations for these stages, or -EINVAL. */
static int count_stations(const hop_stage *stages, size_t nstages, size_t *out)
{
    size_t n = 0;

    for (size_t i = 0; i < nstages; i++) {
        if (!stages[i].fn || (stages[i].kind != HOP_SERIAL && stages[i].kind != HOP_PARALLEL))
            return -EINVAL;
        n += stages[i].kind == HOP_SERIAL;
    }
    if (stages[0].kind != HOP_SERIAL)
        return -EINVAL;
    *out = n + (stages[nstages - 1].kind == HOP_PARALLEL);
    return 0;
}

static struct ring *ring_new(size_t nslots, size_t nstations)
{
    struct ring *ring;
    size_t cells, gates, stations, bytes;

    if (__builtin_mul_overflow(nslots, nstations, &cells) ||
        __builtin_mul_overflow(cells, sizeof *ring->gates, &gates) ||
        __builtin_mul_overflow(nstations, sizeof *ring->stations, &stations) ||
        __builtin_add_overflow(gates, stations, &bytes) || __builtin_add_overflow(bytes, sizeof *ring, &bytes))
        return NULL;
    ring = calloc(1, bytes);
    if (!ring)
        return NULL;
    ring->stations = (struct station *)(ring + 1);
    ring->gates = (struct gate *)(ring->stations + nstations);
    ring->nslots = nslots;
    ring->nstations = nstations;
    return ring;
}

/* Gives every station its stages, and every gate its slot. */
static void ring_lay_out(struct ring *ring, const hop_stage *stages, size_t nstages, char *slots, size_t slot_bytes)
{
    struct station *next = ring->stations;

    for (size_t i = 0; i < nstages; i++) {
        if (stages[i].kind == HOP_SERIAL)
            (next++)->serial = &stages[i];
        else if (next[-1].nrun++ == 0)
            next[-1].run = &stages[i];
    }
    for (size_t i = 0; i < ring->nstations; i++) {
        ring->stations[i].ring = ring;
        ring->stations[i].index = i;
        for (size_t slot = 0; slot < ring->nslots; slot++) {
            gate_at(ring, slot, i)->from = &ring->stations[i];
            gate_at(ring, slot, i)->slot = slots + slot * slot_bytes;
        }
    }
}

static const char *name_of(const struct station *station)
{
    return station->serial && station->serial->name ? station->serial->name : "pipeline";
}

static int ring_run(struct ring *ring)
{
    int rc = hop_scope_open(&ring->scope), closed;

    if (rc < 0)
        return rc;
    for (size_t i = 0; i < ring->nstations && rc == 0; i++) {
        struct station *station = &ring->stations[i];

        rc = hop_spawn(&ring->scope, station_main, station, HOP_TASK(.name = name_of(station)));
    }
    if (rc < 0)
        hop_scope_cancel(&ring->scope, rc);
    closed = hop_scope_close(&ring->scope);
    return closed < 0 ? closed : rc;
}

int hop_pipeline(const hop_stage *stages, size_t nstages, void *slots, size_t nslots, size_t slot_bytes, void *arg)
{
    enum hop_place here = hop_here();
    struct ring *ring;
    size_t nstations;
    int rc;

    if (!stages || nstages == 0 || !slots || nslots == 0 || slot_bytes == 0)
        return -EINVAL;
    rc = count_stations(stages, nstages, &nstations);
    if (rc < 0)
        return rc;
    if (here != HOP_LOOP && here != HOP_CPU && here != HOP_BLOCKING)
        return -EWOULDBLOCK;
    ring = ring_new(nslots, nstations);
    if (!ring)
        return -ENOMEM;
    ring->arg = arg;
    ring_lay_out(ring, stages, nstages, slots, slot_bytes);
    rc = ring_run(ring);
    free(ring);
    return rc;
}
