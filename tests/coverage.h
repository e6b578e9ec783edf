/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What ends by _exit or abort has counted too: in a build --enable-coverage these write the counters first. (exit does
 * by itself; a signal's death cannot.) Weak, because a program may have several files that include this.
 */
#ifndef HOP_TESTS_COVERAGE_H
#define HOP_TESTS_COVERAGE_H

#ifdef HOP_COVERAGE
#include <signal.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

void __gcov_dump(void);

__attribute__((weak, noreturn)) void _exit(int status)
{
    __gcov_dump();
    for (;;)
        syscall(SYS_exit_group, status);
}

__attribute__((weak, noreturn)) void abort(void)
{
    __gcov_dump();
    raise(SIGABRT);
    signal(SIGABRT, SIG_DFL);
    raise(SIGABRT);
    _exit(127);
}
#endif

#endif
