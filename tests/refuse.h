/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A filter after which the kernel refuses some system calls, as the sandboxes of containers and services do.
 */
#ifndef HOP_TESTS_REFUSE_H
#define HOP_TESTS_REFUSE_H

#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { REFUSED_MAX = 400, REFUSE_KILL = 0 };

/*
 * From here on these calls fail with error in every thread of the process and in what it executes, or end the process
 * (REFUSE_KILL). 0 or -Exxx.
 */
static inline int refuse_calls(int error, const long *numbers, size_t n)
{
    struct sock_filter code[2 * REFUSED_MAX + 2];
    struct sock_fprog program = { .filter = code };
    unsigned action = error == REFUSE_KILL ? SECCOMP_RET_KILL_PROCESS : SECCOMP_RET_ERRNO | (unsigned)error;
    size_t i, at = 0;

    if (n > REFUSED_MAX)
        return -E2BIG;
    code[at++] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr));
    for (i = 0; i < n; i++) {
        code[at++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (unsigned)numbers[i], 0, 1);
        code[at++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, action);
    }
    code[at++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
    program.len = (unsigned short)at;
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
        return -errno;
    return syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC, &program) ? -errno : 0;
}

#endif
