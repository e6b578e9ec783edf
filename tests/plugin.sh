#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
#
# hop in a plugin: a program that knows nothing of hop opens a shared object that is linked with it, uses it, and closes
# it, again and again, also while a runtime is alive. What hop has told the system of (a signal handler, keys of
# threads, handlers of fork) must still be there when the plugin is not.
set -euo pipefail

: "${top_srcdir:=$(cd "$(dirname "$0")/.." && pwd)}"
: "${top_builddir:=$PWD}"
: "${CC:=cc}" "${SANITIZE_FLAGS:=}"
[ -z "$SANITIZE_FLAGS" ] || { echo "sanitizers want to be there from the start"; exit 77; }
[ -e "$top_builddir/.libs/libhop.so" ] || { echo "no shared library"; exit 77; }
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
ulimit -c 0
read -ra cc <<<"$CC"

cat >"$work/plugin.c" <<'END'
#include <hop.h>

static int job(void *arg)
{
    return hop_int(arg);
}

static int main_task(void *arg)
{
    int rc = hop_sleep(HOP_US);

    (void)arg;
    hop_on_cpu
        rc = rc ? rc : hop_here() - HOP_CPU;
    hop_on_team
        rc = rc ? rc : hop_here() - HOP_TEAM;
    return rc ? rc : hop_offload(job, hop_ptr(42));
}

int plugin_run(void)
{
    hop_config two = { .workers = 2 };

    return hop_run(main_task, NULL, &two);
}

void *plugin_start(void)
{
    hop_config two = { .workers = 2 };
    hop_runtime *rt;

    return hop_runtime_new(&rt, &two) < 0 ? NULL : rt;
}

int plugin_stop(void *rt)
{
    return hop_offload(job, hop_ptr(42)) == 42 ? hop_runtime_free(rt) : -1;
}
END

cat >"$work/host.c" <<'END'
#include <dlfcn.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define MUST(condition) ((condition) ? (void)0 : (printf("line %d, not so: %s\n", __LINE__, #condition), exit(1)))

static void *symbol(void *plugin, const char *name)
{
    void *p = dlsym(plugin, name);

    MUST(p);
    return p;
}

static void *opened(void)
{
    void *plugin = dlopen("./plugin.so", RTLD_NOW | RTLD_LOCAL);

    if (!plugin)
        printf("%s\n", dlerror());
    MUST(plugin);
    return plugin;
}

/* A thread that has run jobs of hop's ends, or takes part in forks, after the plugin is gone. */
static void *use_in_thread(void *arg)
{
    void *plugin = opened();

    MUST(((int (*)(void))symbol(plugin, "plugin_run"))() == 42);
    MUST(!dlclose(plugin));
    return arg;
}

static void on_fault(int signal)
{
    (void)signal;
    _exit(6);
}

static int child(int kind)
{
    int status;
    pid_t pid = fork();

    MUST(pid >= 0);
    if (!pid) {
        if (kind)
            *(volatile int *)8 = 1;
        _exit(7);
    }
    MUST(waitpid(pid, &status, 0) == pid);
    return status;
}

int main(int argc, char **argv)
{
    void *plugin, *rt;
    pthread_t thread;
    int i;

    (void)argv;
    if (argc > 1)
        signal(SIGSEGV, on_fault); /* the program's own handler comes after hop's */
    for (i = 0; i < 20; i++) {
        plugin = opened();
        MUST(((int (*)(void))symbol(plugin, "plugin_run"))() == 42);
        MUST(!dlclose(plugin));
        MUST(WEXITSTATUS(child(0)) == 7);
        MUST(!pthread_create(&thread, NULL, use_in_thread, NULL));
        MUST(!pthread_join(thread, NULL));
    }
    plugin = opened();
    rt = ((void *(*)(void))symbol(plugin, "plugin_start"))();
    MUST(rt);
    MUST(!dlclose(plugin)); /* with its runtime alive */
    MUST(WEXITSTATUS(child(0)) == 7);
    plugin = opened();
    MUST(!((int (*)(void *))symbol(plugin, "plugin_stop"))(rt));
    MUST(!dlclose(plugin));
    if (argc > 1)
        MUST(WIFEXITED(child(1)) && WEXITSTATUS(child(1)) == 6);
    else
        MUST(WIFSIGNALED(child(1)) && WTERMSIG(child(1)) == SIGSEGV);
    return 0;
}
END

"${cc[@]}" -std=gnu11 -g -O1 -fPIC -shared -I "$top_srcdir/include" -o "$work/plugin.so" "$work/plugin.c" \
    -L "$top_builddir/.libs" -Wl,-rpath,"$top_builddir/.libs" -lhop
"${cc[@]}" -std=gnu11 -g -O1 -o "$work/host" "$work/host.c" -pthread -ldl
cd "$work"
for handler in '' handler; do
    timeout -k 5 60 ./host $handler || { echo "FAIL: host $handler: status $?"; exit 1; }
done
echo "opened and closed"
