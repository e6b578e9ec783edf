/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * refuse: runs a command for which the kernel refuses some system calls.
 *
 *     refuse ERROR NUMBER... -- COMMAND...    ERROR: a number of errno's, or kill
 *     refuse wx -- COMMAND...                 no memory that can be written and executed, none that becomes executable
 *
 * The command's status, or 77 where the kernel has no such filter.
 */
#include "refuse.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#ifndef PR_SET_MDWE
#define PR_SET_MDWE 65
#define PR_MDWE_REFUSE_EXEC_GAIN 1
#endif

static int usage(void)
{
    fprintf(stderr, "usage: refuse ERROR NUMBER... -- COMMAND...\n");
    return 2;
}

int main(int argc, char **argv)
{
    long numbers[REFUSED_MAX];
    size_t n = 0;
    int i = 2, rc;

    for (; i < argc && strcmp(argv[i], "--") && n < REFUSED_MAX; i++)
        numbers[n++] = strtol(argv[i], NULL, 10);
    if (i + 1 >= argc || strcmp(argv[i], "--"))
        return usage();
    if (!strcmp(argv[1], "wx"))
        rc = prctl(PR_SET_MDWE, (unsigned long)PR_MDWE_REFUSE_EXEC_GAIN, 0UL, 0UL, 0UL) < 0 ? -errno : 0;
    else
        rc = refuse_calls(strcmp(argv[1], "kill") ? atoi(argv[1]) : REFUSE_KILL, numbers, n);
    if (rc < 0) {
        fprintf(stderr, "refuse: the kernel has no such filter: %s\n", strerror(-rc));
        return 77;
    }
    execvp(argv[i + 1], argv + i + 1);
    fprintf(stderr, "refuse: %s: %s\n", argv[i + 1], strerror(errno));
    return 127;
}
