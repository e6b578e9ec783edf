/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Any command line for pgz: a line of help, an error, or settings that are in range. Arguments end at zero bytes.
 */
#define main pgz_main
#include "../../examples/pgz/main.c"
#undef main

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t n);
int pgz_main(int argc, char **argv);

enum { ARGUMENTS_MAX = 32 };

static void must(int holds)
{
    if (!holds)
        abort();
}

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t n)
{
    struct settings settings = { .level = 6 };
    char *text = malloc(n + 1), name[] = "pgz", *argv[ARGUMENTS_MAX + 2] = { name }, *at;
    int argc = 1, rc;

    must(text != NULL);
    memcpy(text, data, n);
    text[n] = '\0';
    for (at = text; at <= text + n && argc <= ARGUMENTS_MAX; at += strlen(at) + 1)
        argv[argc++] = at;
    optind = 0; /* getopt begins anew */
    rc = parse_options(&settings, argc, argv);
    must(rc == 0 || rc == 1 + STATUS_OK || rc == 1 + STATUS_USAGE);
    if (rc == 0) {
        must(settings.level >= 1 && settings.level <= 9);
        must(settings.workers >= 0 && settings.workers <= WORKERS_MAX);
        must(!(settings.file.test && settings.file.to_stdout));
        must(optind >= 1 && optind <= argc);
    }
    free(text);
    return 0;
}
