/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * demo.h: the two helpers of the demo: something to compress, and somebody who pings.
 */
#ifndef DEMO_H
#define DEMO_H

#include <pthread.h>
#include <stdint.h>
#include <sys/types.h>

/*
 * A temporary file that has no name any more, so nothing has to be cleaned up: its descriptor, or -errno.
 */
int demo_temporary(void);

struct demo_input {
    int fd;
    uint64_t bytes;
    int nfiles;
};

/*
 * Opens what is to be compressed: the file, or the files one after the other, or, without names, up to 200 MB of what
 * is found on this machine: less if there is less, or if less than three times that fits into the temporary folder.
 * Blocks. Errors: -errno, after one line on stderr.
 */
int demo_gather(struct demo_input *input, char **names, int nnames);

enum demo_phase { DEMO_WAIT = 0, DEMO_IDLE, DEMO_LOAD, DEMO_STOP };

/*
 * A client in a thread of its own that knows nothing of hop. Once a millisecond, on a fixed schedule, it sends a few
 * bytes and waits for them to come back; the time counts from when the ping was due, so a late answer also makes the
 * pings late that were due meanwhile, as many users would see it.
 */
struct demo_ping {
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    int port;              /* of the server, on the loopback address */
    enum demo_phase phase;
    int realtime;          /* 1: the thread runs with SCHED_FIFO, as if it were another machine */
    int error;             /* of the connection, or 0 */
    size_t counts[DEMO_STOP];
    int64_t *times_ns[DEMO_STOP]; /* by phase; sorted by demo_ping_join */
};

int demo_ping_start(struct demo_ping *ping);
void demo_ping_phase(struct demo_ping *ping, enum demo_phase phase, int port);
int demo_ping_join(struct demo_ping *ping); /* after DEMO_STOP: the first error, or 0 */
void demo_ping_free(struct demo_ping *ping);

/* The time that this share of the pings (0.5, 0.99, 1) did not exceed, in milliseconds. */
double demo_ping_ms(const struct demo_ping *ping, enum demo_phase phase, double share);

#endif
