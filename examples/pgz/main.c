/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * main.c: options, one FILE after the other, what is said and the exit status.
 */
#include <fcntl.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zlib.h>

#include "pgz.h"

enum { STATUS_OK = 0, STATUS_ERROR = 1, STATUS_WARNING = 2, STATUS_USAGE = 2, WORKERS_MAX = 1024 };

struct settings {
    int level, workers, quiet, fast;
    struct pgz_file_options file;
    char **names;
    int nnames;
    int status;
};

static const char usage_line[] =
    "usage: pgz [-1..-9] [--fast-codec] [-p N] [-k] [-c] [-f] [-q] [-d] [-t] [-h] [-V] [FILE...]\n";

static const char help_text[] =
    "\n"
    "Compresses each FILE to FILE.gz on all cores; without FILE, or with -, standard input to standard output.\n"
    "\n"
    "  -1 .. -9   fast .. small; default -6\n"
    "  -p N       N workers; default: as many as this process may use CPUs\n"
    "  -k         keep FILE\n"
    "  -c         write to standard output, keep FILE\n"
    "  -f         overwrite, follow links, write to a terminal\n"
    "  -q         no progress bar, no warnings\n"
    "  -d         decompress\n"
    "  -t         only test the compressed FILE\n"
    "  --fast-codec  compress by libdeflate: quicker, by a member of its own for each MiB\n"
    "  -h, -V     this help, the version\n";

static void complain(struct settings *settings, const struct pgz_file *file, int error)
{
    fprintf(stderr, "pgz: %s: %s\n", file->blame, file->reason ? file->reason : strerror(-error));
    settings->status = STATUS_ERROR;
}

static void warn(struct settings *settings, const struct pgz_file *file, const char *text)
{
    if (!settings->quiet)
        fprintf(stderr, "pgz: %s: %s\n", file->name, text);
    if (settings->status == STATUS_OK)
        settings->status = STATUS_WARNING;
}

static const char *base_name(const char *path)
{
    const char *slash = strrchr(path, '/');

    return slash ? slash + 1 : path;
}

static int compress_or_not(const struct settings *settings, const struct pgz_file *file, struct pgz_stats *stats)
{
    struct pgz_options options = {
        .level = settings->level,
        .name = file->in == STDIN_FILENO ? NULL : base_name(file->name),
        .mtime = S_ISREG(file->stat.st_mode) ? file->stat.st_mtime : 0,
    };

    if (settings->file.decompress)
        return pgz_decompress(file->in, file->out, stats);
    return (settings->fast ? pgz_compress_fast : pgz_compress)(file->in, file->out, &options, stats);
}

/* From descriptor to descriptor, with a bar if there is a terminal to show it on. */
static int convert(struct settings *settings, struct pgz_file *file)
{
    struct pgz_stats stats = { .in_bytes = 0 };
    struct pgz_progress progress = {
        .name = base_name(file->name),
        .stats = &stats,
        .total_bytes = S_ISREG(file->stat.st_mode) ? (uint64_t)file->stat.st_size : 0,
    };
    hop_scope scope;
    int rc = hop_scope_open(&scope);

    if (rc < 0)
        return rc;
    if (!settings->quiet && isatty(STDERR_FILENO))
        hop_spawn(&scope, pgz_progress, &progress, HOP_TASK(.name = "progress"));
    rc = compress_or_not(settings, file, &stats);
    hop_complete(&progress.over, 0);
    hop_scope_close(&scope);
    if (rc < 0) {
        file->blame = stats.side != PGZ_OUTPUT ? file->name : file->target ? file->target : "stdout";
        file->reason = stats.reason;
    } else if (stats.garbage) {
        warn(settings, file, "trailing garbage ignored");
    }
    return rc;
}

static int convert_named(struct settings *settings, struct pgz_file *file, const char *name)
{
    int rc = 0;

    hop_on_blocking
        rc = pgz_file_open(file, name, &settings->file);
    if (rc < 0)
        return rc;
    rc = convert(settings, file);
    hop_on_blocking {
        if (rc == 0)
            rc = pgz_file_commit(file, &settings->file);
        else
            pgz_file_discard(file);
    }
    return rc;
}

static int convert_stdin(struct settings *settings, struct pgz_file *file)
{
    *file = (struct pgz_file){ .name = "stdin", .blame = "stdin", .in = STDIN_FILENO };
    file->out = settings->file.test ? -1 : STDOUT_FILENO;
    if (fstat(STDIN_FILENO, &file->stat) < 0)
        return -errno;
    return convert(settings, file);
}

/* Compressed bytes are no use on a terminal, and do not come from one. */
static int refuse_terminal(const struct settings *settings, int from_stdin)
{
    const struct pgz_file_options *file = &settings->file;

    if (file->force)
        return 0;
    if (!file->decompress && (from_stdin || file->to_stdout) && isatty(STDOUT_FILENO)) {
        fprintf(stderr, "pgz: stdout: compressed data not written to a terminal; -f forces it\n");
        return 1;
    }
    if (file->decompress && from_stdin && isatty(STDIN_FILENO)) {
        fprintf(stderr, "pgz: stdin: compressed data not read from a terminal; -f forces it\n");
        return 1;
    }
    return 0;
}

static void process(struct settings *settings, const char *name)
{
    int from_stdin = strcmp(name, "-") == 0, rc;
    struct pgz_file file;

    if (refuse_terminal(settings, from_stdin)) {
        settings->status = STATUS_ERROR;
        return;
    }
    rc = from_stdin ? convert_stdin(settings, &file) : convert_named(settings, &file, name);
    if (rc < 0)
        complain(settings, &file, rc);
    pgz_file_free(&file);
}

static int main_task(void *arg)
{
    struct settings *settings = arg;

    for (int i = 0; i < settings->nnames; i++)
        process(settings, settings->names[i]);
    return 0;
}

static int parse_workers(const char *text)
{
    char *end;
    long n = strtol(text, &end, 10);

    return end != text && *end == 0 && n >= 1 && n <= WORKERS_MAX ? (int)n : -EINVAL;
}

/* 0, or the status to exit with and one more, so that 0 can be among them. */
static int parse_options(struct settings *settings, int argc, char **argv)
{
    static const struct option words[] = { { "fast-codec", no_argument, NULL, 'F' }, { 0 } };
    int option;

    opterr = 0;
    while ((option = getopt_long(argc, argv, "123456789p:kcfqdthV", words, NULL)) != -1) {
        switch (option) {
        case 'F': settings->fast = 1; break;
        case 'p': settings->workers = parse_workers(optarg); break;
        case 'k': settings->file.keep = 1; break;
        case 'c': settings->file.to_stdout = 1; break;
        case 'f': settings->file.force = 1; break;
        case 'q': settings->quiet = 1; break;
        case 't': settings->file.test = settings->file.decompress = 1; break;
        case 'd': settings->file.decompress = 1; break;
        case 'h':
            printf("%s%s", usage_line, help_text);
            return 1 + STATUS_OK;
        case 'V':
            printf("pgz %d.%d.%d, zlib %s\n", HOP_VERSION_MAJOR, HOP_VERSION_MINOR, HOP_VERSION_PATCH, zlibVersion());
            return 1 + STATUS_OK;
        default:
            if (option < '1' || option > '9')
                settings->workers = -EINVAL;
            settings->level = option - '0';
        }
        if (settings->workers < 0) {
            fputs(usage_line, stderr);
            return 1 + STATUS_USAGE;
        }
    }
    settings->file.to_stdout &= !settings->file.test;
    return 0;
}

/* Standard descriptors that are closed would be given to something else, which would then be written to. */
static void hold_standard_descriptors(void)
{
    for (int fd = 0; fd <= STDERR_FILENO; fd++)
        if (fcntl(fd, F_GETFD) < 0 && open("/dev/null", fd == STDIN_FILENO ? O_WRONLY : O_RDONLY) < 0)
            _exit(STATUS_ERROR);
}

int main(int argc, char **argv)
{
    static char dash[] = "-", *only_stdin[] = { dash };
    struct settings settings = { .level = 6 };
    int rc = parse_options(&settings, argc, argv);

    if (rc > 0)
        return rc - 1;
    settings.names = optind < argc ? argv + optind : only_stdin;
    settings.nnames = optind < argc ? argc - optind : 1;
    hold_standard_descriptors();
    signal(SIGPIPE, SIG_IGN);
    rc = pgz_catch_signals();
    if (rc == 0)
        rc = hop_run(main_task, &settings, &(hop_config){ .workers = settings.workers });
    if (rc < 0) {
        fprintf(stderr, "pgz: %s\n", strerror(-rc));
        return STATUS_ERROR;
    }
    return settings.status;
}
