/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Between the parts of tests/faults: the wrappers, the scenarios, and the driver that makes one fail in the other.
 *
 * A run is one scenario in a process of its own. A site is a place in hop that makes one of the calls: the return
 * address and the call. The driver first runs each scenario whole, which finds the sites and how often they call; then
 * again and again with one failure planted.
 */
#ifndef HOP_TESTS_FAULT_H
#define HOP_TESTS_FAULT_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <hop.h>

#include "fault_calls.h"

enum fault_outcome { FAULT_TOLD, FAULT_RIGHT, FAULT_EITHER, FAULT_DIES };

struct fault_error {
    int error;
    enum fault_outcome outcome;
    int told; /* as what */
};

enum {
#define FAULT_ID(name, ...) FAULT_##name,
    FAULT_CALLS(FAULT_ID)
#undef FAULT_ID
    FAULT_COUNT,
    FAULT_ERRORS_MAX = 12,
    FAULT_SITES_MAX = 1024, /* a power of two */
    FAULT_SCENARIOS_MAX = 24,
    FAULT_CODES_MAX = 8,
    FAULT_TEXT_BYTES = 240
};

struct fault_call {
    const char *name;
    struct fault_error errors[FAULT_ERRORS_MAX]; /* ends with an error of 0 */
};

extern const struct fault_call fault_calls[FAULT_COUNT];

/* Once, or all that take from the same source from there on: memory, descriptors or threads. */
enum fault_mode { FAULT_ONCE, FAULT_FROM_THERE_ON };

/* A failure to come: of the nth call at a site. */
struct fault_plant {
    int site; /* -1: none */
    int nth;  /* the first is 1 */
    struct fault_error error;
    enum fault_mode mode;
};

struct fault_site {
    _Atomic uint64_t key;   /* 0: free */
    uintptr_t address;      /* from the start of the program: for addr2line */
    int call;
    int calls[FAULT_SCENARIOS_MAX]; /* the most that a whole run made */
    int found_in;                   /* by which scenario first, and after which failure, if after one */
    struct fault_plant found_after;
    int injected, told;
};

/* One run; shared between the driver and the process of the run. */
struct fault_run {
    int scenario;
    struct fault_plant plant; /* none: the run is whole */
    struct fault_plant leads; /* one that has to come first, so that the other's site is reached; or none */

    atomic_bool armed;
    atomic_bool tripped;
    atomic_int owed;       /* membarriers that failed and were not made again */
    atomic_int calls[FAULT_SITES_MAX];
    atomic_int codes[FAULT_CODES_MAX]; /* what the scenario was told, each once */
    char wrong[FAULT_TEXT_BYTES]; /* the first thing that was not right */
    int descriptors_before, threads_before;
};

extern struct fault_run *fault_run;     /* of this process, NULL in the driver */
extern struct fault_site *fault_sites;  /* shared by all */

/* What runs out together: memory, descriptors or threads; 0: nothing is used up. */
int fault_source(int call);

/* What the run holds of what was acquired at a site; of all sites. */
int fault_held(int site);

/* From here on nothing fails any more: for a scenario that has to give back what it holds. */
void fault_relent(void);

/* For scenarios: what hop told, kept if it is an error; and what must be so. */
ssize_t fault_note(ssize_t told);
void fault_expect(bool holds, const char *what, int line);

#define note(...) fault_note(__VA_ARGS__)
#define expect(...) fault_expect((__VA_ARGS__), #__VA_ARGS__, __LINE__)

struct fault_scenario {
    const char *name;
    void (*run)(void);
    bool slow; /* it is for what no other one reaches */
    bool deep; /* the later calls of a place matter too */
};

extern const struct fault_scenario fault_scenarios[]; /* ends with a NULL */

/* Before the first run and after the last, in the driver. */
void fault_scenarios_prepare(void);
void fault_scenarios_clean_up(void);

/* What a pretended OpenMP runtime says of its places: for scenarios; 0: the real one is asked. */
extern int fault_places;

#endif
