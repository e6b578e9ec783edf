// SPDX-License-Identifier: BSD-3-Clause
//
// C++ exceptions on hop's stacks. tests/exceptions.sh builds it and runs it once for each name that `exceptions list`
// prints: "well NAME" must end with 0, "dies NAME" by SIGABRT with a line of hop's.
#include <hop.h>

#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <functional>
#include <pthread.h>
#include <stdexcept>
#include <string>
#include <unistd.h>

namespace {

#define MUST(condition) \
    do { \
        if (!(condition)) { \
            std::fprintf(stderr, "line %d, not so: %s\n", __LINE__, #condition); \
            std::_Exit(3); \
        } \
    } while (0)

struct error : std::runtime_error {
    int number;
    explicit error(int n) : std::runtime_error("error " + std::to_string(n)), number(n) {}
};

__attribute__((noinline)) int throw_deep(int depth, int number)
{
    if (depth == 0)
        throw error(number);
    return throw_deep(depth - 1, number) + 1;
}

int caught(int number)
{
    try {
        throw_deep(20, number);
    } catch (const error &e) {
        MUST(e.number == number);
        MUST(std::uncaught_exceptions() == 0);
        return e.number;
    }
    return -1;
}

int catch_one(void *arg)
{
    return caught(hop_int(arg)) == hop_int(arg) ? 0 : -EPROTO;
}

int catch_range(std::size_t lo, std::size_t hi, void *)
{
    for (; lo < hi; lo++)
        MUST(caught(int(lo)) == int(lo));
    return 0;
}

// --- what works ---

int caught_within_place(void *)
{
    MUST(caught(1) == 1);
    hop_on_cpu {
        MUST(caught(2) == 2);
        MUST(hop_parallel_for(0, 200, catch_range, nullptr, nullptr) == 0);
        MUST(hop_join(catch_one, hop_ptr(3), catch_one, hop_ptr(4)) == 0);
    }
    hop_on_team
        MUST(caught(5) == 5);
    hop_on_blocking
        MUST(caught(6) == 6);
    MUST(hop_offload(catch_one, hop_ptr(7)) == 0);
    return 0;
}

// The block ends on the way of the exception, and the handler runs at home.
int caught_outside_block(void *)
{
    for (int i = 0; i < 100; i++) {
        bool handled = false;

        try {
            hop_within(HOP_SEC * 100) {
                hop_on_cpu {
                    MUST(hop_here() == HOP_CPU);
                    hop_on_blocking {
                        throw_deep(5, i);
                    }
                }
            }
        } catch (const error &e) {
            MUST(hop_here() == HOP_LOOP);
            MUST(e.number == i);
            MUST(std::uncaught_exceptions() == 0);
            handled = true;
        }
        MUST(handled);
        MUST(!std::current_exception());
        MUST(hop_sleep(0) == 0);
    }
    return 0;
}

// Each task handles its own exception while others come and go on the same thread, and rethrows what it caught.
int wait_while_handling(void *arg)
{
    int number = hop_int(arg), rethrown = 0;

    for (int i = 0; i < 20; i++) {
        try {
            try {
                throw_deep(3, number);
            } catch (const error &) {
                MUST(hop_yield() == 0);
                hop_on_cpu
                    MUST(caught(number + 1) == number + 1);
                MUST(hop_sleep(HOP_US * (number % 7)) == 0);
                MUST(std::uncaught_exceptions() == 0);
                throw;
            }
        } catch (const error &e) {
            MUST(e.number == number);
            rethrown++;
        }
        MUST(!std::current_exception());
    }
    return rethrown == 20 ? 0 : -EPROTO;
}

int many_wait_while_handling(void *)
{
    hop_scope scope;

    MUST(hop_scope_open(&scope) == 0);
    for (int i = 0; i < 50; i++)
        MUST(hop_spawn(&scope, wait_while_handling, hop_ptr(i), nullptr) == 0);
    return hop_scope_close(&scope);
}

// A destructor that waits, during the unwinding, with exceptions of its own.
struct waits_at_end {
    ~waits_at_end()
    {
        MUST(std::uncaught_exceptions() == 1);
        MUST(hop_sleep(HOP_US) == 0);
        hop_on_cpu
            MUST(hop_here() == HOP_CPU);
        MUST(std::uncaught_exceptions() == 1);
    }
};

int wait_while_unwinding(void *arg)
{
    for (int i = 0; i < 20; i++) {
        try {
            waits_at_end w;

            throw_deep(3, hop_int(arg));
        } catch (const error &e) {
            MUST(e.number == hop_int(arg));
            MUST(std::uncaught_exceptions() == 0);
        }
    }
    return 0;
}

int many_wait_while_unwinding(void *)
{
    hop_scope scope;

    MUST(hop_scope_open(&scope) == 0);
    for (int i = 0; i < 50; i++)
        MUST(hop_spawn(&scope, wait_while_unwinding, hop_ptr(i), nullptr) == 0);
    return hop_scope_close(&scope);
}

// --- what ends the program: an exception that would leave what hop called ---

int escape(void *)
{
    return throw_deep(10, 42);
}

int escape_range(std::size_t, std::size_t, void *)
{
    return throw_deep(10, 42);
}

int escape_fold(std::size_t, std::size_t, void *, void *)
{
    return throw_deep(10, 42);
}

int no_fold(std::size_t, std::size_t, void *, void *)
{
    return 0;
}

void escape_combine(void *, const void *, void *)
{
    throw_deep(10, 42);
}

int escape_stage(void *, void *)
{
    return throw_deep(10, 42);
}

int fill_stage(void *, void *)
{
    return 1;
}

int nothing(void *)
{
    return 0;
}

// Each of these has a handler around the call, above hop's frames on the same stack or not: it must not be reached.
template <typename call> int with_handler(call what)
{
    try {
        what();
    } catch (...) {
        std::fprintf(stderr, "the exception went through hop\n");
        std::_Exit(4);
    }
    return 0;
}

int spawned(void *)
{
    hop_scope scope;

    MUST(hop_scope_open(&scope) == 0);
    MUST(hop_spawn(&scope, escape, nullptr, nullptr) == 0);
    return hop_scope_close(&scope);
}

int offloaded(void *)
{
    return with_handler([] { (void)hop_offload(escape, nullptr); });
}

int offloaded_in_place(void *)
{
    hop_on_cpu
        with_handler([] { (void)hop_offload(escape, nullptr); });
    return 0;
}

int job_in_job(void *)
{
    return with_handler([] { (void)hop_offload(escape, nullptr); });
}

int offloaded_twice(void *)
{
    return hop_offload(job_in_job, nullptr);
}

int joined(void *)
{
    hop_on_cpu
        with_handler([] { (void)hop_join(escape, nullptr, nothing, nullptr); });
    return 0;
}

int join_second(void *)
{
    return with_handler([] { (void)hop_join(nothing, nullptr, escape, nullptr); });
}

int joined_second(void *)
{
    return hop_offload(join_second, nullptr);
}

int looped(void *)
{
    hop_on_cpu
        with_handler([] { (void)hop_parallel_for(0, 1000, escape_range, nullptr, nullptr); });
    return 0;
}

int loop_in_job(void *)
{
    return with_handler([] { (void)hop_parallel_for(0, 1000, escape_range, nullptr, nullptr); });
}

int looped_in_job(void *)
{
    return hop_offload(loop_in_job, nullptr);
}

// What was always short is done by the caller alone: another way to the same body.
int escape_later(std::size_t lo, std::size_t hi, void *arg)
{
    return arg ? escape_range(lo, hi, nullptr) : 0;
}

int short_loop_in_job(void *)
{
    for (int i = 0; i < 100; i++)
        MUST(hop_parallel_for(0, 1000, escape_later, nullptr, nullptr) == 0);
    return with_handler([] { (void)hop_parallel_for(0, 1000, escape_later, hop_ptr(1), nullptr); });
}

int short_looped_in_job(void *)
{
    return hop_offload(short_loop_in_job, nullptr);
}

int looped_on_team(void *)
{
    hop_on_team
        with_handler([] { (void)hop_parallel_for(0, 1000, escape_range, nullptr, nullptr); });
    return 0;
}

int folded(void *)
{
    long sum = 0;

    hop_on_cpu
        with_handler([&] {
            (void)hop_parallel_reduce(0, 1000, escape_fold, escape_combine, nullptr, &sum, sizeof sum, nullptr);
        });
    return 0;
}

int combined(void *)
{
    long sum = 0;

    hop_on_cpu
        with_handler([&] {
            (void)hop_parallel_reduce(0, 1000, no_fold, escape_combine, nullptr, &sum, sizeof sum, nullptr);
        });
    return 0;
}

template <hop_stage_kind kind> int piped(void *)
{
    hop_stage stages[] = { { fill_stage, HOP_SERIAL, "source" }, { escape_stage, kind, "escape" } };
    long slots[4];

    return with_handler([&] { (void)hop_pipeline(stages, 2, slots, 4, sizeof slots[0], nullptr); });
}

// --- the end of a thread that is not the caller's ---

int exits(void *)
{
    pthread_exit(nullptr);
}

int exits_on_cpu(void *)
{
    hop_on_cpu
        pthread_exit(nullptr);
    return 0;
}

int exits_in_job(void *)
{
    return hop_offload(exits, nullptr);
}

int exits_in_lane(void *)
{
    hop_on_blocking
        pthread_exit(nullptr);
    return 0;
}

int exits_in_child(void *)
{
    hop_scope scope;

    MUST(hop_scope_open(&scope) == 0);
    MUST(hop_spawn(&scope, exits, nullptr, nullptr) == 0);
    return hop_scope_close(&scope);
}

int cancels(void *)
{
    pthread_cancel(pthread_self());
    pthread_testcancel();
    return 0;
}

int cancels_in_job(void *)
{
    return hop_offload(cancels, nullptr);
}

struct item {
    const char *how, *name;
    hop_fn *main;
};

const item items[] = {
    { "well", "caught_within_place", caught_within_place },
    { "well", "caught_outside_block", caught_outside_block },
    { "well", "many_wait_while_handling", many_wait_while_handling },
    { "well", "many_wait_while_unwinding", many_wait_while_unwinding },
    { "throws", "main", escape },
    { "throws", "spawned", spawned },
    { "throws", "offloaded", offloaded },
    { "throws", "offloaded_in_place", offloaded_in_place },
    { "throws", "offloaded_twice", offloaded_twice },
    { "throws", "joined", joined },
    { "throws", "joined_second", joined_second },
    { "throws", "looped", looped },
    { "throws", "looped_in_job", looped_in_job },
    { "throws", "short_looped_in_job", short_looped_in_job },
    { "throws", "looped_on_team", looped_on_team },
    { "throws", "folded", folded },
    { "throws", "combined", combined },
    { "throws", "piped_serial", piped<HOP_SERIAL> },
    { "throws", "piped_parallel", piped<HOP_PARALLEL> },
    { "exits", "exits", exits },
    { "exits", "exits_on_cpu", exits_on_cpu },
    { "exits", "exits_in_job", exits_in_job },
    { "exits", "exits_in_lane", exits_in_lane },
    { "exits", "exits_in_child", exits_in_child },
    { "exits", "cancels_in_job", cancels_in_job },
};

} // namespace

int main(int argc, char **argv)
{
    hop_config config{};

    config.workers = 2;
    for (const item &i : items) {
        if (argc > 1 && !std::strcmp(argv[1], "list"))
            std::printf("%s %s\n", i.how, i.name);
        else if (argc > 1 && !std::strcmp(argv[1], i.name))
            return hop_run(i.main, nullptr, &config) == 0 ? 0 : 2;
    }
    return argc > 1 && !std::strcmp(argv[1], "list") ? 0 : 5;
}
