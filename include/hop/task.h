/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * hop/task.h: tasks, the scopes that own them, cancellation and deadlines.
 */
#ifndef HOP_TASK_H
#define HOP_TASK_H

#include <hop/base.h>
#include <hop/runtime.h>

#ifdef __cplusplus
extern "C" {
#endif

/*
 * The owner of children. Caller-owned storage, opaque; hop_scope_open makes it one. A child cannot outlive its scope,
 * so what it works on may live in the frame that holds the scope.
 */
struct hop_scope {
    uintptr_t opaque[24];
};

/*
 * Opens a scope in the calling task. It must be closed by the same task before the frame that holds it ends, and
 * scopes close in the reverse order of opening. A cancelled task cancels its open scopes.
 * Context: task, at home or on a worker; plain thread (a scope of the thread, with the thread's runtime).
 * Owns: the storage stays the caller's, and must not move.
 * Errors: -EINVAL (null), -EBUSY (it is open already), -ENODEV (no runtime), -EWOULDBLOCK (in a job or callback,
 * which could not wait for the close).
 */
HOP_API int hop_scope_open(hop_scope *scope);

/*
 * Waits for every child, then ends the scope. If the caller is cancelled or its deadline passes meanwhile, the
 * children are cancelled for that reason, and still joined.
 * Context: the task or thread that opened it; suspends or blocks.
 * Errors: the first error of a child (the others were cancelled by it); otherwise -ECANCELED or -ETIMEDOUT if the
 * scope was cancelled; -EINVAL (never opened, closed before), -EPERM (another task's), -EBUSY (an inner scope is still
 * open), -EWOULDBLOCK (in a job).
 */
HOP_API int hop_scope_close(hop_scope *scope);

/*
 * Cancels all children, present and future: their waits return reason, their loops stop at the next chunk, what was
 * not started is not run. reason is -ECANCELED or another negative code. Only the first cancellation counts.
 * Context: task, job, thread, callback; never suspends. The caller must know that the scope is open.
 * Errors: -EINVAL (never opened, reason not negative).
 */
HOP_API int hop_scope_cancel(hop_scope *scope, int reason);

typedef struct hop_task_options {
    size_t size;          /* set by HOP_TASK */
    const char *name;     /* for reports; must outlive the task */
    size_t stack_bytes;   /* default: the runtime's */
    int loop;             /* 1 is the first loop, 2 the second...; default: the spawner's, else each in turn */
} hop_task_options;

#define HOP_TASK(...) HOP__OPTIONS(hop_task_options, __VA_ARGS__)

/*
 * Starts fn(arg) as a task of the scope. It begins at a later turn of its loop, never inside this call. A deadline in
 * force (hop_within) becomes the child's too.
 * Context: task, job, thread, callback; never suspends.
 * Owns: arg stays the caller's until the scope is closed. options may be NULL.
 * Errors: -EINVAL (null fn, scope not open, options of an unknown size, no such loop), -ENOMEM, -EAGAIN (no more
 * guarded stacks: vm.max_map_count), -ECANCELED (the scope is cancelled), -ESHUTDOWN (the runtime is being freed).
 */
HOP_API int hop_spawn(hop_scope *scope, hop_fn *fn, void *arg, const hop_task_options *options);

/*
 * Lets the other tasks of the loop have their turn.
 * Context: task; elsewhere it does nothing.
 * Errors: -ECANCELED, -ETIMEDOUT.
 */
HOP_API int hop_yield(void);

/*
 * 0, or why the caller should stop: -ECANCELED or the reason given, or -ETIMEDOUT once the deadline has passed.
 * Context: task, job (that of what it was started for), elsewhere 0; never suspends.
 */
HOP_API int hop_cancelled(void);

/*
 * hop_within(ns) { ... }: waits and parallel loops in the block, and in what it starts, end with -ETIMEDOUT once ns
 * have passed. An earlier deadline around it holds too. The block ends exactly once however it is left; break leaves
 * the block. Inside a loop of your own, hop_within_begin and hop_within_end leave break to that loop.
 *
 * hop_shield(ns) { ... }: for cleaning up. In the block cancellation and the deadlines around it are not seen; its own
 * end, ns from now, is.
 * Context: task; in a job or a plain thread the block is only run (deadlines are a task's).
 */
#define hop_within(ns) HOP__DEADLINE_BLOCK(hop_within_begin, ns)
#define hop_shield(ns) HOP__DEADLINE_BLOCK(hop_shield_begin, ns)

typedef struct hop_deadline {
    void *task;
    hop_ns saved_ns;
    int shield;
    int once;
} hop_deadline;

HOP_API hop_deadline hop_within_begin(hop_ns ns);
HOP_API hop_deadline hop_shield_begin(hop_ns ns);
HOP_API void hop_deadline_end(hop_deadline *deadline);
#define hop_within_end hop_deadline_end
#define hop_shield_end hop_deadline_end

#define HOP__DEADLINE_BLOCK(begin, ns) HOP__DEADLINE_NAMED(begin, ns, HOP__UNIQUE(hop__deadline))
#define HOP__DEADLINE_NAMED(begin, ns, name) \
    for (hop_deadline name __attribute__((cleanup(hop_deadline_end))) = begin(ns); name.once; name.once = 0)

#ifdef __cplusplus
}
#endif

#endif
