/* SPDX-License-Identifier: BSD-3-Clause */
#include "config.h"

#include "bridge/orphan.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

uint32_t hop__generation;
hop__atomic(int) hop__orphaned;

void hop__orphan_begins(void)
{
    struct hop__thread *self = hop__self();

    hop__generation++;
    hop__store(&hop__orphaned, 1, relaxed);
    self->executor = NULL;
    self->task = NULL;
    self->worker = NULL;
    self->at_home = false;
    self->cancel = NULL;
    self->runtime = NULL;
}

void hop__orphan_returned(void)
{
    static const char line[] = "hop: a child of fork returned from the task or job it was born in, where nobody is "
                               "any more: let it exec or _exit\n";
    ssize_t n = write(STDERR_FILENO, line, strlen(line));

    (void)n;
    abort();
}
