/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * progress.c: one line on the terminal, ten times a second, from a task of its own. It waits for the future that says
 * the work is over, and each time the wait runs out it draws.
 */
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "pgz.h"

enum { LINE_MAX_BYTES = 512, BAR_WIDTH = 20, COLUMNS_MIN = 20 };

static const hop_ns interval_ns = 100 * HOP_MS;

/* "  45% [=========>          ] ", or nothing if the total is not known. */
static int format_bar(char *out, size_t bytes, double part)
{
    char bar[BAR_WIDTH + 1];
    int filled = (int)(part * BAR_WIDTH);

    memset(bar, ' ', BAR_WIDTH);
    memset(bar, '=', (size_t)filled);
    if (filled < BAR_WIDTH)
        bar[filled] = '>';
    bar[BAR_WIDTH] = 0;
    return snprintf(out, bytes, "%3.0f%% [%s] ", part * 100, bar);
}

static size_t format_line(char *out, size_t bytes, const struct pgz_progress *progress, double seconds)
{
    double done = (double)progress->stats->in_bytes, total = (double)progress->total_bytes;
    double speed = seconds > 0 ? done / seconds : 0;
    int n = snprintf(out, bytes, "%.40s: ", progress->name);

    if (total > 0)
        n += format_bar(out + n, bytes - (size_t)n, done < total ? done / total : 1);
    n += snprintf(out + n, bytes - (size_t)n, "%.1f MB, %.1f MB/s", done / 1e6, speed / 1e6);
    if (total > done && speed > 0) {
        long left = (long)((total - done) / speed + 0.5);

        n += snprintf(out + n, bytes - (size_t)n, ", %ld:%02ld left", left / 60, left % 60);
    }
    return (size_t)n;
}

static int draw(const struct pgz_progress *progress, hop_ns start)
{
    char line[LINE_MAX_BYTES], text[LINE_MAX_BYTES + 16];
    struct winsize window = { .ws_col = 0 };
    size_t n = format_line(line, sizeof line, progress, (double)(hop_now() - start) / HOP_SEC), columns = 80;
    ssize_t rc;

    if (ioctl(STDERR_FILENO, TIOCGWINSZ, &window) == 0 && window.ws_col >= COLUMNS_MIN)
        columns = window.ws_col;
    if (n > columns - 1)
        n = columns - 1;
    n = (size_t)snprintf(text, sizeof text, "\r%.*s\033[K", (int)n, line);
    rc = hop_write_full(STDERR_FILENO, text, n);
    return rc < 0 ? (int)rc : 0;
}

int pgz_progress(void *arg)
{
    struct pgz_progress *progress = arg;
    hop_ns start = hop_now();
    int drawn = 0, rc = 0;

    while (rc == 0 && hop_await_until(&progress->over, hop_now() + interval_ns) == -ETIMEDOUT) {
        rc = draw(progress, start);
        drawn = 1;
    }
    if (drawn)
        hop_write_full(STDERR_FILENO, "\r\033[K", 4);
    return 0; /* a terminal that went away is no reason to fail */
}
