/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * team_overhead: an OpenMP region of 1000 iterations: bare, without hop; in a hop_on_team of its own; and, together,
 * many regions in one hop.
 */
#include "workload.h"

static uint32_t data[REGION];

static void region(void)
{
    int i;

#pragma omp parallel for schedule(static)
    for (i = 0; i < REGION; i++)
        data[i]++;
}

static void bare_regions(long n)
{
    while (n--)
        region();
}

static void each_in_a_hop(long n)
{
    while (n--)
        hop_on_team {
            region();
        }
}

static void all_in_one_hop(long n)
{
    hop_on_team {
        bare_regions(n);
    }
}

static int measure(const struct run *run, void (*regions)(long n))
{
    struct rounds r = rounds_for(run, "us");
    uint32_t done = 0;
    int i;

    memset(data, 0, sizeof data);
    while (rounds_next(&r)) {
        uint64_t start = now_ns();

        regions(run->n);
        rounds_add(&r, (double)(now_ns() - start) / 1000 / (double)run->n);
        done += (uint32_t)run->n;
    }
    for (i = 0; i < REGION; i++)
        expect(data[i] == done, "each element once in each region");
    rounds_report(&r, "");
    return 0;
}

static int bare(const struct run *run)
{
    return measure(run, bare_regions);
}

static int on_team(const struct run *run)
{
    return measure(run, each_in_a_hop);
}

static int together(const struct run *run)
{
    return measure(run, all_in_one_hop);
}

static const struct variant variants[] = {
    { "bare", bare, 0, true }, { "on_team", on_team, 0, false }, { "together", together, 0, false }, { 0 }
};

const struct workload team_overhead = { "team_overhead", 5000, false, variants };
