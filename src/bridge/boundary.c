/* SPDX-License-Identifier: BSD-3-Clause */
#include "config.h"

#include "bridge/boundary.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void say(const char *line)
{
    ssize_t n = write(STDERR_FILENO, line, strlen(line));

    (void)n;
}

void hop__boundary_thread_ends(void)
{
    say("hop: pthread_exit or pthread_cancel in a task or a job: the thread is hop's\n");
    abort();
}

_Unwind_Reason_Code hop__boundary(int version, _Unwind_Action actions, _Unwind_Exception_Class kind,
                                  struct _Unwind_Exception *exception, struct _Unwind_Context *context)
{
    (void)version, (void)kind, (void)exception, (void)context;
    if (actions & _UA_FORCE_UNWIND)
        hop__boundary_thread_ends();
    say("hop: an exception leaves a task or a job: nobody is there to catch it\n");
    return _URC_FATAL_PHASE1_ERROR;
}
