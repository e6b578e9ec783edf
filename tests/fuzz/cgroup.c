/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Any content in the files that tell of cgroups, quotas and processes. The input is cut at zero bytes into one file
 * after the other, in a folder (of HOP_FUZZ_ROOT) that stands for the machine. Whatever they say, the budget is one
 * that the machine has.
 */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "compute/budget.h"

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t n);

enum { CPUS = 8 };

static char root[128];

static const char *const files[] = {
    "proc/self/cgroup", "proc/self/mountinfo", "g/cpu.max", "g/cpu.weight", "g/a/cpu.max", "g/cpu.cfs_quota_us",
    "g/cpu.cfs_period_us", "g/cgroup.procs", "proc/1/stat", "proc/2/stat",
};

static void must(int holds)
{
    if (!holds)
        abort();
}

static void make_root(void)
{
    static const char *const folders[] = { "proc", "proc/self", "proc/1", "proc/2", "g", "g/a" };
    char path[256];

    snprintf(root, sizeof root, "%s/machine-XXXXXX", getenv("HOP_FUZZ_ROOT") ? getenv("HOP_FUZZ_ROOT") : "/tmp");
    must(mkdtemp(root) != NULL);
    for (size_t i = 0; i < sizeof folders / sizeof *folders; i++) {
        snprintf(path, sizeof path, "%s/%s", root, folders[i]);
        must(mkdir(path, 0700) == 0);
    }
}

static void write_file(const char *name, const unsigned char *data, size_t n)
{
    char path[256];
    int fd;

    snprintf(path, sizeof path, "%s/%s", root, name);
    fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    must(fd >= 0 && write(fd, data, n) == (ssize_t)n);
    close(fd);
}

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t n)
{
    struct hop__budget budget;

    if (!root[0])
        make_root();
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        const unsigned char *end = n ? memchr(data, 0, n) : NULL;
        size_t bytes = end ? (size_t)(end - data) : n;

        write_file(files[i], data, bytes);
        data += bytes + (end != NULL);
        n -= bytes + (end != NULL);
    }
    hop__budget_read(&budget, CPUS, root);
    must(budget.width >= 1 && budget.width <= CPUS && budget.cpus == CPUS);
    must(strnlen(budget.source, sizeof budget.source) < sizeof budget.source);
    (void)hop__budget_own_cgroup(root);
    return 0;
}
