/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What keeps a fault of the program from becoming somebody's weapon: nothing is writable and executable, and a smashed
 * stack ends the program, a task's too. (Guards: stack.c.)
 */
#include "harness.h"

#include <link.h>
#include <signal.h>

/* --- memory --- */

/* The mappings of this process that can be written and executed, or were. */
static int writable_code(void)
{
    FILE *maps = fopen("/proc/self/maps", "re");
    char line[512], rights[5];
    int found = 0, seen = 0;

    must(maps);
    while (fgets(line, sizeof line, maps)) {
        seen += sscanf(line, "%*x-%*x %4s", rights) == 1;
        if (rights[1] == 'w' && rights[2] == 'x') {
            printf("%s", line);
            found++;
        }
    }
    fclose(maps);
    must(seen > 0);
    return found;
}

/* Whether an object in this process asks for a stack that can be executed, or has a segment that can be written too. */
static int asks_for_it(struct dl_phdr_info *info, size_t size, void *arg)
{
    int i, stack = 0, *found = arg;

    (void)size;
    for (i = 0; i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *segment = &info->dlpi_phdr[i];

        stack |= segment->p_type == PT_GNU_STACK;
        if ((segment->p_type == PT_GNU_STACK && segment->p_flags & PF_X) ||
            (segment->p_type == PT_LOAD && segment->p_flags & PF_W && segment->p_flags & PF_X)) {
            printf("%s: segment %d\n", info->dlpi_name, i);
            ++*found;
        }
    }
    if (!stack && info->dlpi_name[0] && info->dlpi_name[0] == '/') { /* without one the kernel assumes the worst */
        printf("%s: no PT_GNU_STACK\n", info->dlpi_name);
        ++*found;
    }
    return 0;
}

static int look_everywhere(void *arg)
{
    int found = 0;

    (void)arg;
    must_eq(writable_code(), 0);
    hop_on_cpu must_eq(writable_code(), 0);
    hop_on_team must_eq(writable_code(), 0);
    hop_on_blocking must_eq(writable_code(), 0);
    dl_iterate_phdr(asks_for_it, &found);
    must_eq(found, 0);
    return 0;
}

START_TEST(nothing_is_writable_and_executable)
{
    if (TEST_VALGRIND) /* it translates the code, and has that in the same address space */
        return;
    run_main(look_everywhere);
}
END_TEST

/* --- smashed stacks --- */

static volatile size_t too_many = 80;

/* Writes over the end of its buffer, and over what the compiler keeps there to find out. */
static __attribute__((noinline)) int smash(void *arg)
{
    volatile char buffer[16];

    (void)arg;
    for (size_t i = 0; i < too_many; i++)
        buffer[i] = 'x';
    return buffer[0];
}

static int smash_on_cpu(void *arg)
{
    hop_on_cpu smash(arg);
    return 0;
}

static void smash_in_a_task(void)
{
    hop_run(smash, NULL, NULL);
}

static void smash_on_a_worker(void)
{
    hop_run(smash_on_cpu, NULL, NULL);
}

START_TEST(smashed_stacks_end_the_program)
{
    void (*const places[])(void) = { smash_in_a_task, smash_on_a_worker };
    char text[4096];

    for (int i = 0; i < 2; i++) {
        int status = in_a_child(places[i], text, sizeof text);

        must(WIFSIGNALED(status));
        must_eq(WTERMSIG(status), SIGABRT);
        ck_assert_ptr_nonnull(strstr(text, "stack smashing"));
    }
}
END_TEST

#if !TEST_SANITIZED && (defined(__SSP__) || defined(__SSP_STRONG__) || defined(__SSP_ALL__))
#define CANARIES 1
#else
#define CANARIES 0
#endif

int main(void)
{
    const TTest *const all[] = {
        nothing_is_writable_and_executable,
        CANARIES ? smashed_stacks_end_the_program : NULL, /* the sanitizers have reports of their own */
        NULL
    };

    return run_tests("hardening", all);
}
