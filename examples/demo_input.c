/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * demo_input.c: something to compress. Ordinary code that blocks; it runs before the runtime starts.
 */
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "demo.h"

enum { COPY_BYTES = 256 << 10, DESCRIPTORS = 32, MEGABYTE = 1000000, TOTAL_MEGABYTES = 200 };

/* Text first, then programs and libraries; each folder gives so much at most, so that there is some of each kind. */
static const struct folder {
    const char *name, *without;
    uint64_t megabytes;
} folders[] = {
    { "/usr/share/doc", NULL, 40 },
    { "/etc", NULL, 10 },
    { "/usr/bin", NULL, 60 },
    { "/usr/share", "/usr/share/doc/", 40 },
    { "/usr/lib", NULL, TOTAL_MEGABYTES },
};

/* nftw has no argument for its callback. */
static struct demo_input *gathered;
static uint64_t limit_bytes;
static const char *without; /* what had its turn already; or NULL */

int demo_temporary(void)
{
    const char *folder = getenv("TMPDIR");
    char name[4096];
    int fd;

    if (snprintf(name, sizeof name, "%s/hop-demo-XXXXXX", folder && *folder ? folder : "/tmp") >= (int)sizeof name)
        return -ENAMETOOLONG;
    fd = mkostemp(name, O_CLOEXEC);
    if (fd < 0)
        return -errno;
    unlink(name);
    return fd;
}

static int append(struct demo_input *input, const char *bytes, size_t n)
{
    while (n > 0) {
        ssize_t written = write(input->fd, bytes, n);

        if (written < 0)
            return -errno;
        bytes += written;
        n -= (size_t)written;
        input->bytes += (uint64_t)written;
    }
    return 0;
}

/* Copies a file, up to the limit. What cannot be read is left out; an error is one of writing. */
static int append_file(struct demo_input *input, int fd)
{
    static char buffer[COPY_BYTES];
    ssize_t n = 0;
    int rc = 0;

    while (rc == 0 && input->bytes < limit_bytes) {
        uint64_t room = limit_bytes - input->bytes;

        n = read(fd, buffer, room < sizeof buffer ? (size_t)room : sizeof buffer);
        if (n <= 0)
            break;
        rc = append(input, buffer, (size_t)n);
    }
    input->nfiles++;
    return rc;
}

static int on_entry(const char *name, const struct stat *stat, int kind, struct FTW *where)
{
    int fd, rc;

    (void)where;
    if (gathered->bytes >= limit_bytes)
        return 1;
    if (kind != FTW_F || !S_ISREG(stat->st_mode) || (without && strncmp(name, without, strlen(without)) == 0))
        return 0;
    fd = open(name, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOFOLLOW);
    if (fd < 0)
        return 0;
    rc = append_file(gathered, fd);
    close(fd);
    return rc < 0; /* the temporary folder is full: that is it */
}

/* How much may be taken: the output and a margin must fit too. */
static uint64_t room_for(int fd)
{
    struct statvfs space;
    uint64_t wanted = (uint64_t)TOTAL_MEGABYTES * MEGABYTE, there;

    if (fstatvfs(fd, &space) < 0)
        return wanted;
    there = (uint64_t)space.f_bavail * space.f_frsize / 3;
    return there < wanted ? there : wanted;
}

static int gather_machine(struct demo_input *input)
{
    uint64_t room = room_for(input->fd);

    gathered = input;
    for (size_t i = 0; i < sizeof folders / sizeof *folders && input->bytes < room; i++) {
        uint64_t share = folders[i].megabytes * MEGABYTE;

        without = folders[i].without;
        limit_bytes = room - input->bytes < share ? room : input->bytes + share;
        nftw(folders[i].name, on_entry, DESCRIPTORS, FTW_PHYS | FTW_MOUNT);
    }
    if (input->bytes == 0) {
        fprintf(stderr, "demo: no file that can be read, or no room in the temporary folder\n");
        return -ENODATA;
    }
    return 0;
}

static int complain(const char *name, int error)
{
    fprintf(stderr, "demo: %s: %s\n", name, strerror(-error));
    return error;
}

static int open_file(const char *name, struct stat *stat)
{
    int fd = open(name, O_RDONLY | O_CLOEXEC);

    if (fd < 0 || fstat(fd, stat) < 0)
        return complain(name, -errno);
    return S_ISREG(stat->st_mode) ? fd : complain(name, S_ISDIR(stat->st_mode) ? -EISDIR : -EINVAL);
}

static int gather_named(struct demo_input *input, char **names, int nnames)
{
    struct stat stat;
    int rc = 0;

    limit_bytes = UINT64_MAX;
    for (int i = 0; i < nnames && rc == 0; i++) {
        int fd = open_file(names[i], &stat);

        if (fd < 0)
            return fd;
        rc = append_file(input, fd);
        close(fd);
    }
    return rc < 0 ? complain("temporary file", rc) : 0;
}

int demo_gather(struct demo_input *input, char **names, int nnames)
{
    struct stat stat;
    int rc;

    *input = (struct demo_input){ .fd = -1 };
    if (nnames == 1) {
        input->fd = open_file(names[0], &stat);
        input->bytes = input->fd < 0 ? 0 : (uint64_t)stat.st_size;
        input->nfiles = 1;
        return input->fd < 0 ? input->fd : 0;
    }
    input->fd = demo_temporary();
    if (input->fd < 0)
        return complain("temporary file", input->fd);
    rc = nnames > 0 ? gather_named(input, names, nnames) : gather_machine(input);
    if (rc == 0 && lseek(input->fd, 0, SEEK_SET) < 0)
        rc = -errno;
    return rc;
}
