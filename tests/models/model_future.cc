// SPDX-License-Identifier: BSD-3-Clause
/*
 * bridge/future.h, with the future and the waiter in the awaiter's frame, which is gone as soon as he has the result.
 *
 * One completer. The awaiter peeks, awaits, perhaps withdraws and awaits again, reads the result and what was computed,
 * and leaves his frame; nobody may touch it after that.
 */
// mutant: -DFUTURE_AWAIT=relaxed
// mutant: -DFUTURE_COMPLETE=relaxed
// mutant: -DFUTURE_COMPLETE=acquire
// mutant: -DFUTURE_COMPLETE=release
// mutant: -DFUTURE_SEE=relaxed
// mutant: -DTOUCH_AFTER_COMPLETE
// mutant: -DWITHDRAWN_WITHOUT_WAIT
#include "sleeper.h"

struct frame {
    struct hop__future future;
    struct sleeper sleeper;
};

struct returns_suite : rl::test_suite<returns_suite, 2> {
    kernel futex;
    struct frame *frame; /* of the awaiter */
    hop__var(int) work;  /* what the completer computed */

    void before()
    {
        frame = new ($) struct frame;
        hop__init(&frame->future.word, (uint64_t)HOP__EMPTY);
    }

    void leave(struct frame *f) /* from here on, who touches it is reported */
    {
        f->~frame();
        memset((void *)f, 0xdd, sizeof *f);
        (rl::ctx().free)(f, false, $);
    }

    void await(struct frame *f, bool may_withdraw)
    {
        f->sleeper.leave(9);
        if (hop__future_await(&f->future, &f->sleeper.waiter) == HOP__READY)
            return;
        if (!may_withdraw) {
            f->sleeper.wait();
        } else if (hop__future_withdraw(&f->future, &f->sleeper.waiter)) {
            hop__set(&f->sleeper.letter, 0); /* his own again */
            RL_ASSERT(!hop__load(&f->sleeper.arrived, relaxed));
            await(f, false);
        } else {
#ifndef WITHDRAWN_WITHOUT_WAIT
            f->sleeper.wait();
#endif
        }
    }

    void thread(unsigned id)
    {
        struct frame *f = frame;
        int result = 0;
        bool won;

        if (id == 0) {
            hop__set(&work, 5);
            complete(&f->future, -42, &won);
            RL_ASSERT(won);
            return;
        }
        if (!hop__future_peek(&f->future, &result)) {
            await(f, rl::rand(2));
            result = see(&f->future);
        }
        RL_ASSERT(result == -42 && hop__get(&work) == 5);
        leave(f);
    }
};

int main()
{
    return !(holds<returns_suite>("future", 300000) && holds_always<returns_suite>("future", 5));
}
