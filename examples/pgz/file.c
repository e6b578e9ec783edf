/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * file.c: names, temporary files, and what is left behind when something goes wrong: nothing.
 *
 * The output is written under a temporary name beside its final one, which it gets when it is complete; without -f it
 * never takes the place of another file. An error removes it. For a signal a thread of its own waits: it removes the
 * temporary file and then lets the signal end the process. It shares one mutex with the lines that make the file and
 * that rename it, so it knows at any time whether there is one.
 */
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "pgz.h"

static pthread_mutex_t unfinished_lock = PTHREAD_MUTEX_INITIALIZER;
static const char *unfinished; /* the temporary file that exists now, or NULL */
static sigset_t caught;

static void *wait_for_signal(void *arg)
{
    int number;

    (void)arg;
    if (sigwait(&caught, &number) != 0)
        return NULL;
    pthread_mutex_lock(&unfinished_lock); /* for good: nothing is made or renamed after this */
    if (unfinished)
        unlink(unfinished);
    signal(number, SIG_DFL);
    pthread_sigmask(SIG_UNBLOCK, &caught, NULL);
    raise(number);
    _exit(128 + number);
}

int pgz_catch_signals(void)
{
    static const int numbers[] = { SIGINT, SIGTERM, SIGHUP };
    struct sigaction action;
    pthread_t thread;
    int rc;

    sigemptyset(&caught);
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
        if (sigaction(numbers[i], NULL, &action) == 0 && action.sa_handler != SIG_IGN)
            sigaddset(&caught, numbers[i]);
    rc = pthread_sigmask(SIG_BLOCK, &caught, NULL);
    if (rc == 0)
        rc = pthread_create(&thread, NULL, wait_for_signal, NULL);
    if (rc == 0)
        pthread_detach(thread);
    return -rc;
}

static int blame(struct pgz_file *file, const char *whose, const char *reason, int error)
{
    file->blame = whose;
    file->reason = reason;
    return error;
}

static const char *suffix_of(const char *name, const char *suffix)
{
    size_t n = strlen(name), m = strlen(suffix);

    return n > m && name[n - m - 1] != '/' && strcmp(name + n - m, suffix) == 0 ? name + n - m : NULL;
}

/* What the output is called. */
static int name_target(struct pgz_file *file, const struct pgz_file_options *options)
{
    const char *gz = suffix_of(file->name, ".gz"), *tgz = suffix_of(file->name, ".tgz");
    int n;

    if (!options->decompress && (gz || tgz) && !options->force)
        return blame(file, file->name, gz ? "already has .gz suffix" : "already has .tgz suffix", -EINVAL);
    if (!options->decompress)
        n = asprintf(&file->target, "%s.gz", file->name);
    else if (gz)
        n = asprintf(&file->target, "%.*s", (int)(gz - file->name), file->name);
    else if (tgz)
        n = asprintf(&file->target, "%.*s.tar", (int)(tgz - file->name), file->name);
    else
        return blame(file, file->name, "unknown suffix", -EINVAL);
    if (n >= 0)
        return 0;
    file->target = NULL;
    return -ENOMEM;
}

/* Whether the input is one that may be replaced by its output. */
static int inspect(struct pgz_file *file, const struct pgz_file_options *options)
{
    int replaced = !options->to_stdout && !options->test, follow = !replaced || options->force;

    if ((follow ? stat(file->name, &file->stat) : lstat(file->name, &file->stat)) < 0)
        return -errno;
    if (S_ISDIR(file->stat.st_mode))
        return blame(file, file->name, "is a directory", -EISDIR);
    if (!replaced)
        return 0;
    if (!S_ISREG(file->stat.st_mode))
        return blame(file, file->name, "not a regular file", -EINVAL);
    if (file->stat.st_nlink > 1 && !options->force && !options->keep)
        return blame(file, file->name, "has other links", -EMLINK);
    return 0;
}

static int open_input(struct pgz_file *file)
{
    int fd = open(file->name, O_RDONLY | O_CLOEXEC | O_NOCTTY);

    if (fd < 0)
        return -errno;
    file->in = fd;
    return fstat(fd, &file->stat) < 0 ? -errno : 0;
}

/* Opens the temporary file, in the directory of the target. */
static int open_output(struct pgz_file *file, const struct pgz_file_options *options)
{
    const char *slash = strrchr(file->target, '/');
    struct stat there;
    int rc = 0;

    file->blame = file->target;
    if (lstat(file->target, &there) == 0) {
        if (!options->force)
            return blame(file, file->target, "already exists", -EEXIST);
        if (S_ISDIR(there.st_mode))
            return -EISDIR;
    } else if (errno != ENOENT) {
        return -errno;
    }
    if (asprintf(&file->temporary, "%.*s.pgz-XXXXXX", slash ? (int)(slash - file->target + 1) : 0, file->target) < 0) {
        file->temporary = NULL;
        return -ENOMEM;
    }
    pthread_mutex_lock(&unfinished_lock);
    file->out = mkostemp(file->temporary, O_CLOEXEC);
    if (file->out >= 0)
        unfinished = file->temporary;
    else
        rc = -errno;
    pthread_mutex_unlock(&unfinished_lock);
    return rc;
}

int pgz_file_open(struct pgz_file *file, const char *name, const struct pgz_file_options *options)
{
    int rc;

    *file = (struct pgz_file){ .name = name, .in = -1, .out = -1, .blame = name };
    rc = inspect(file, options);
    if (rc == 0 && !options->to_stdout && !options->test)
        rc = name_target(file, options);
    if (rc == 0)
        rc = open_input(file);
    if (rc == 0 && file->target)
        rc = open_output(file, options);
    else if (rc == 0 && options->to_stdout)
        file->out = STDOUT_FILENO;
    if (rc < 0)
        pgz_file_discard(file);
    return rc;
}

void pgz_file_discard(struct pgz_file *file)
{
    if (file->out >= 0 && file->target)
        hop_close(file->out);
    if (file->in >= 0)
        hop_close(file->in);
    file->in = file->out = -1;
    pthread_mutex_lock(&unfinished_lock);
    if (file->temporary && unfinished == file->temporary) {
        unlink(file->temporary);
        unfinished = NULL;
    }
    pthread_mutex_unlock(&unfinished_lock);
}

void pgz_file_free(struct pgz_file *file)
{
    free(file->temporary);
    free(file->target);
    *file = (struct pgz_file){ .in = -1, .out = -1 };
}

/* Owner, mode and times of the input, as far as they may be given away. */
static void stamp(const struct pgz_file *file)
{
    const struct timespec times[2] = { file->stat.st_atim, file->stat.st_mtim };
    int rc = geteuid() == 0 ? fchown(file->out, file->stat.st_uid, file->stat.st_gid) : 0;

    if (rc == 0)
        rc = fchmod(file->out, file->stat.st_mode & 0777);
    if (rc == 0)
        futimens(file->out, times);
}

/* Gives the temporary file its name: over what is there only if force. */
static int rename_output(const struct pgz_file *file, int force)
{
    struct stat there;
    int rc = renameat2(AT_FDCWD, file->temporary, AT_FDCWD, file->target, force ? 0 : RENAME_NOREPLACE);

    if (rc == 0 || (errno != EINVAL && errno != ENOSYS))
        return rc == 0 ? 0 : -errno;
    if (!force && lstat(file->target, &there) == 0) /* this file system cannot do both at once */
        return -EEXIST;
    return rename(file->temporary, file->target) < 0 ? -errno : 0;
}

static int commit_output(struct pgz_file *file, int force)
{
    int rc;

    file->blame = file->target;
    stamp(file);
    rc = hop_close(file->out);
    file->out = -1;
    pthread_mutex_lock(&unfinished_lock);
    if (rc == 0)
        rc = rename_output(file, force);
    if (rc == 0)
        unfinished = NULL;
    pthread_mutex_unlock(&unfinished_lock);
    return rc;
}

int pgz_file_commit(struct pgz_file *file, const struct pgz_file_options *options)
{
    int rc = file->target ? commit_output(file, options->force) : 0;

    if (rc == 0 && file->target && !options->keep && unlink(file->name) < 0)
        rc = blame(file, file->name, NULL, -errno);
    pgz_file_discard(file); /* what is left: the descriptors; after an error the temporary file too */
    return rc;
}
