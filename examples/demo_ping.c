/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * demo_ping.c: somebody who pings: a plain thread, a blocking socket, a schedule.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "demo.h"

enum { PINGS_MAX = 120000, TIMEOUT_SECONDS = 20, PRIORITY = 10 };

static const int64_t interval_ns = 1000000, second_ns = 1000000000;

static int64_t now_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * second_ns + now.tv_nsec;
}

static void sleep_until(int64_t when_ns)
{
    struct timespec when = { .tv_sec = when_ns / second_ns, .tv_nsec = when_ns % second_ns };

    while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &when, NULL) == EINTR)
        continue;
}

static int dial(int port)
{
    struct sockaddr_in address = { .sin_family = AF_INET, .sin_port = htons((uint16_t)port) };
    struct timeval timeout = { .tv_sec = TIMEOUT_SECONDS };
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), one = 1;

    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (fd < 0)
        return -errno;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof timeout);
    if (connect(fd, (struct sockaddr *)&address, sizeof address) < 0) {
        int error = -errno;

        close(fd);
        return error;
    }
    return fd;
}

/* There and back. */
static int ping_once(int fd, int64_t number)
{
    int64_t answer = -1;

    if (send(fd, &number, sizeof number, MSG_NOSIGNAL) != sizeof number)
        return -errno;
    if (recv(fd, &answer, sizeof answer, MSG_WAITALL) != sizeof answer)
        return errno ? -errno : -ECONNRESET;
    return answer == number ? 0 : -EBADMSG;
}

static enum demo_phase phase_of(struct demo_ping *ping)
{
    enum demo_phase phase;

    pthread_mutex_lock(&ping->lock);
    phase = ping->phase;
    pthread_mutex_unlock(&ping->lock);
    return phase;
}

static int ping_on_schedule(struct demo_ping *ping, int fd)
{
    int64_t due_ns = now_ns() + interval_ns;
    enum demo_phase phase;
    int rc = 0;

    for (int64_t number = 0; rc == 0 && (phase = phase_of(ping)) != DEMO_STOP; number++, due_ns += interval_ns) {
        sleep_until(due_ns);
        rc = ping_once(fd, number);
        if (rc == 0 && phase != DEMO_WAIT && ping->counts[phase] < PINGS_MAX)
            ping->times_ns[phase][ping->counts[phase]++] = now_ns() - due_ns;
    }
    return phase_of(ping) == DEMO_STOP ? 0 : rc; /* then the server may have gone in the middle of a ping */
}

static void *ping_main(void *arg)
{
    struct demo_ping *ping = arg;
    struct sched_param param = { .sched_priority = PRIORITY };
    int fd, port;

    ping->realtime = pthread_setschedparam(pthread_self(), SCHED_FIFO, &param) == 0;
    prctl(PR_SET_TIMERSLACK, 1);
    pthread_mutex_lock(&ping->lock);
    while (ping->port == 0 && ping->phase != DEMO_STOP)
        pthread_cond_wait(&ping->changed, &ping->lock);
    port = ping->port;
    pthread_mutex_unlock(&ping->lock);
    if (port == 0)
        return NULL;
    fd = dial(port);
    ping->error = fd < 0 ? fd : ping_on_schedule(ping, fd);
    if (fd >= 0)
        close(fd);
    return NULL;
}

int demo_ping_start(struct demo_ping *ping)
{
    *ping = (struct demo_ping){ .lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER };
    for (int phase = DEMO_IDLE; phase < DEMO_STOP; phase++) {
        ping->times_ns[phase] = calloc(PINGS_MAX, sizeof *ping->times_ns[phase]);
        if (!ping->times_ns[phase])
            return -ENOMEM;
    }
    return -pthread_create(&ping->thread, NULL, ping_main, ping);
}

void demo_ping_phase(struct demo_ping *ping, enum demo_phase phase, int port)
{
    pthread_mutex_lock(&ping->lock);
    ping->phase = phase;
    ping->port = port;
    pthread_cond_signal(&ping->changed);
    pthread_mutex_unlock(&ping->lock);
}

static int compare_times(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;

    return (x > y) - (x < y);
}

int demo_ping_join(struct demo_ping *ping)
{
    pthread_join(ping->thread, NULL);
    for (int phase = DEMO_IDLE; phase < DEMO_STOP; phase++)
        qsort(ping->times_ns[phase], ping->counts[phase], sizeof *ping->times_ns[phase], compare_times);
    return ping->error;
}

void demo_ping_free(struct demo_ping *ping)
{
    for (int phase = DEMO_IDLE; phase < DEMO_STOP; phase++)
        free(ping->times_ns[phase]);
}

double demo_ping_ms(const struct demo_ping *ping, enum demo_phase phase, double share)
{
    size_t n = ping->counts[phase], at = (size_t)((double)n * share);

    if (n == 0)
        return 0;
    return (double)ping->times_ns[phase][at < n ? at : n - 1] / 1e6;
}
