/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Every failure once. Each call that hop makes of others is made to fail, at each place that makes it, while hop does
 * its usual work: the program is told, or goes on with right results as tests/fault_calls.h says; nothing leaks,
 * nothing hangs, nothing ends the process; and the same work succeeds afterwards.
 *
 *     faults             each place once, with the first of its errors
 *     faults --all       each place in each scenario, its first calls and its last, with each of its errors, once and
 *                        from there on
 *     faults --one SCENARIO OFFSET CALL NTH ERROR MODE [OFFSET CALL NTH ERROR MODE]
 *                        one failure (after another), in this process, for a debugger: as a failed run prints it
 *
 * The list of calls is printed at the end. Then it is compared with what the objects of the library leave undefined: a
 * call that no list has, or that no run has made fail, fails the test.
 */
#include "fault.h"

#include <dirent.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#if defined(__clang__) && !defined(HOP_TEAM_PTHREAD)
enum { TEST_KEPT_THREADS = 1 }; /* libomp keeps the threads of a team that has ended, for the next one */
#else
enum { TEST_KEPT_THREADS = 0 };
#endif

#if defined(__clang__)
enum { STATIC_SANITIZER = 1 };
#else
enum { STATIC_SANITIZER = 0 };
#endif

enum { RUN_SECONDS = 60, SKIPPED = 77 };

enum { JOBS_MAX = 8, WRONG_EXIT = 3, WHOLE_RUNS = 3, ATTEMPTS = 6, LATER_MAX = 5 };

/* What a whole run of a scenario leaves behind, by scenario; shared by all. */
static struct kept {
    int records, threads;
} *kept_by;

DIR *__real_opendir(const char *path);
struct dirent *__real_readdir(DIR *dir);
int __real_closedir(DIR *dir);

/* --- what a scenario says --- */

__attribute__((format(printf, 1, 2))) static void say_wrong(const char *format, ...)
{
    static atomic_flag said = ATOMIC_FLAG_INIT;
    va_list rest;

    if (atomic_flag_test_and_set(&said))
        return;
    va_start(rest, format);
    vsnprintf(fault_run->wrong, FAULT_TEXT_BYTES, format, rest);
    va_end(rest);
}

void fault_expect(bool holds, const char *what, int line)
{
    if (holds || !fault_run)
        return;
    say_wrong("not so: %s (line %d)", what, line);
    _exit(WRONG_EXIT);
}

ssize_t fault_note(ssize_t told)
{
    int code = told < 0 ? (int)told : 0;

    for (int i = 0; code && i < FAULT_CODES_MAX; i++) {
        int none = 0;

        if (atomic_compare_exchange_strong(&fault_run->codes[i], &none, code) || none == code)
            break;
    }
    return told;
}

/* --- one run, in its process --- */

static int entries_of(const char *directory)
{
    DIR *d = __real_opendir(directory);
    int n = 0;

    while (d && __real_readdir(d))
        n++;
    if (d)
        __real_closedir(d);
    return n;
}

/* What ends by itself soon: a thread that was joined is listed for a moment, one that ends may have a file open. */
static int more_than(const char *directory, int expected)
{
    struct timespec ms = { 0, 1000000 };

    for (int i = 0; i < 2000 && entries_of(directory) > expected; i++)
        nanosleep(&ms, NULL);
    return entries_of(directory) - expected;
}

/* Records of descriptors are for the life of the process: at which place they are made is a matter of timing. */
static int held_records(void)
{
    int n = 0;

    for (int i = 0; i < FAULT_SITES_MAX; i++)
        n += fault_sites[i].key && fault_sites[i].call == FAULT_calloc ? fault_held(i) : 0;
    return n;
}

static void check_held(const char *when)
{
    bool leaks = held_records() > kept_by[fault_run->scenario].records;

    for (int i = 0; i < FAULT_SITES_MAX; i++)
        if (fault_sites[i].key && fault_held(i) > 0 && (leaks || fault_sites[i].call != FAULT_calloc))
            say_wrong("leaves what it took by %s at %#lx%s: %d", fault_calls[fault_sites[i].call].name,
                      (unsigned long)fault_sites[i].address, when, fault_held(i));
}

static void stop_if_wrong(void)
{
    if (fault_run->wrong[0])
        _exit(WRONG_EXIT);
}

static bool is_whole(const struct fault_run *run)
{
    return run->plant.site < 0;
}

/* After a whole run: what every run of the scenario may do and keep. */
static void remember(int threads)
{
    struct kept *kept = &kept_by[fault_run->scenario];

    for (int i = 0; i < FAULT_SITES_MAX; i++)
        if (fault_run->calls[i] > fault_sites[i].calls[fault_run->scenario])
            fault_sites[i].calls[fault_run->scenario] = fault_run->calls[i];
    kept->records = held_records();
    if (TEST_KEPT_THREADS && kept->threads < threads - fault_run->threads_before)
        kept->threads = threads - fault_run->threads_before;
}

static void check_balance(const char *when)
{
    int threads = fault_run->threads_before + kept_by[fault_run->scenario].threads;
    int more = more_than("/proc/self/fd", fault_run->descriptors_before);

    if (more > 0)
        say_wrong("leaves %d descriptors%s", more, when);
    more = more_than("/proc/self/task", threads);
    if (more > 0)
        say_wrong("leaves %d threads%s", more, when);
    check_held(when);
    stop_if_wrong();
}

/* What could not be unmapped is used, or unmapped, by who comes next; so after another failure, if one comes at all. */
static bool keeps_mapping(bool at_first)
{
    const struct fault_run *run = fault_run;

    return !is_whole(run) && fault_sites[run->plant.site].call == FAULT_munmap && (at_first || run->leads.site >= 0);
}

static void run_again_whole(void)
{
    atomic_int codes[FAULT_CODES_MAX];

    memcpy(codes, fault_run->codes, sizeof codes);
    memset(fault_run->codes, 0, sizeof codes);
    fault_scenarios[fault_run->scenario].run();
    if (fault_run->codes[0])
        say_wrong("the same work fails afterwards: %d", fault_run->codes[0]);
    stop_if_wrong();
    memcpy(fault_run->codes, codes, sizeof codes);
    if (!keeps_mapping(false))
        check_balance(", the second time");
}

static void run_here(struct fault_run *run)
{
    run->descriptors_before = entries_of("/proc/self/fd");
    run->threads_before = entries_of("/proc/self/task");
    fault_run = run;
    alarm(RUN_SECONDS);
    atomic_store(&run->armed, !is_whole(run));
    fault_scenarios[run->scenario].run();
    fault_relent();
    if (is_whole(run))
        remember(entries_of("/proc/self/task"));
    if (run->owed)
        say_wrong("%d barriers that failed were not made again", run->owed);
    if (!keeps_mapping(true))
        check_balance("");
    run_again_whole();
    _exit(0);
}

/* --- what came of it --- */

struct job {
    struct fault_run *run;
    int log;   /* a file: what the run printed on standard error */
    pid_t pid; /* 0: free */
    int attempts;
};

static struct job jobs[JOBS_MAX];
static int njobs;
static const char *program;
static int runs, unreached, failures;

static bool was_told(const struct fault_run *run, int code)
{
    for (int i = 0; i < FAULT_CODES_MAX; i++)
        if (run->codes[i] == code)
            return true;
    return false;
}

static const char *log_of(const struct job *job)
{
    static char text[4096];
    ssize_t n = pread(job->log, text, sizeof text - 1, 0);

    text[n > 0 ? n : 0] = '\0';
    return text;
}

/* As must be: it ended by itself, with a line. */
static bool is_death_foreseen(const struct job *job, int status)
{
    return !is_whole(job->run) && job->run->plant.error.outcome == FAULT_DIES && WTERMSIG(status) == SIGABRT &&
           strstr(log_of(job), "hop: ");
}

/* Whether the scenario was told what it must be. After another failure, or when more than one fails: anything. */
static bool is_told_well(const struct fault_run *run)
{
    bool told = run->codes[0] != 0;

    if (is_whole(run))
        return !told;
    if (!run->tripped || run->plant.mode == FAULT_FROM_THERE_ON || run->leads.site >= 0)
        return true;
    if (run->plant.error.outcome == FAULT_RIGHT)
        return !told;
    return told ? was_told(run, -run->plant.error.told) : run->plant.error.outcome != FAULT_TOLD;
}

/* What is wrong, or NULL. */
static const char *judge(const struct job *job, int status)
{
    static char text[FAULT_TEXT_BYTES];
    const struct fault_run *run = job->run;

    if (WIFSIGNALED(status)) {
        if (is_death_foreseen(job, status))
            return NULL;
        snprintf(text, sizeof text, WTERMSIG(status) == SIGALRM ? "hangs" : "dies of signal %d", WTERMSIG(status));
        return text;
    }
    if (run->wrong[0])
        return run->wrong;
    if (WEXITSTATUS(status)) {
        snprintf(text, sizeof text, "ends the process with status %d", WEXITSTATUS(status));
        return text;
    }
    if (is_told_well(run))
        return NULL;
    snprintf(text, sizeof text, "is told %d, not %d", run->codes[0], -run->plant.error.told);
    return text;
}

static void name_place(uintptr_t address)
{
    char command[PATH_MAX + 64], line[256] = "";
    FILE *pipe;

    snprintf(command, sizeof command, "addr2line -f -p -s -e '%s' %#lx 2>/dev/null", program,
             (unsigned long)address - 1);
    pipe = popen(command, "r");
    if (pipe && fgets(line, sizeof line, pipe))
        line[strcspn(line, "\n")] = '\0';
    if (pipe)
        pclose(pipe);
    printf(" in %s", line);
}

static void print_plant(const struct fault_plant *plant)
{
    const struct fault_site *site = &fault_sites[plant->site];

    printf(" %#lx %s %d %d %d", (unsigned long)site->address, fault_calls[site->call].name, plant->nth,
           plant->error.error, plant->mode);
}

static void report(const struct job *job, const char *what)
{
    const struct fault_run *run = job->run;

    failures++;
    printf("FAIL: %s: ", fault_scenarios[run->scenario].name);
    if (is_whole(run)) {
        printf("nothing fails, and it %s\n", what);
    } else {
        const struct fault_site *site = &fault_sites[run->plant.site];

        printf("%s fails with %d", fault_calls[site->call].name, run->plant.error.error);
        name_place(site->address);
        printf(", call %d, %s: %s\n", run->plant.nth, run->plant.mode == FAULT_ONCE ? "once" : "from there on", what);
        printf("    %s --one %s", program, fault_scenarios[run->scenario].name);
        print_plant(&run->plant);
        if (run->leads.site >= 0)
            print_plant(&run->leads);
        printf("\n");
    }
    printf("%s", log_of(job));
    fflush(stdout);
}

/* --- runs in processes of their own, some at a time --- */

static void start(struct job *job)
{
    struct fault_run *run = job->run;

    atomic_store(&run->tripped, false);
    atomic_store(&run->owed, 0);
    memset(run->calls, 0, sizeof run->calls);
    memset(run->codes, 0, sizeof run->codes);
    run->wrong[0] = '\0';
    if (ftruncate(job->log, 0) || lseek(job->log, 0, SEEK_SET))
        abort();
    fflush(NULL);
    job->pid = fork();
    if (job->pid < 0) {
        perror("faults: fork");
        exit(EXIT_FAILURE);
    }
    if (!job->pid) {
        dup2(job->log, STDERR_FILENO);
        run_here(run);
    }
}

/* True: it has to run again, for timing kept it from the place. */
static bool finish(struct job *job, int status)
{
    const struct fault_run *run = job->run;
    const char *what = judge(job, status);
    struct fault_site *site;

    runs++;
    if (what)
        report(job, what);
    if (is_whole(run))
        return false;
    if (!run->tripped && !what && ++job->attempts < ATTEMPTS)
        return true;
    if (!run->tripped) {
        unreached++;
        return false;
    }
    site = &fault_sites[run->plant.site];
    site->injected++;
    site->told += run->codes[0] != 0;
    return false;
}

static struct job *wait_for_one(void)
{
    for (;;) {
        int status, i;
        pid_t pid = wait(&status);

        for (i = 0; i < njobs && jobs[i].pid != pid; i++)
            ;
        if (i == njobs)
            continue;
        if (!finish(&jobs[i], status)) {
            jobs[i].pid = 0;
            return &jobs[i];
        }
        start(&jobs[i]);
    }
}

static bool busy(void)
{
    for (int i = 0; i < njobs; i++)
        if (jobs[i].pid)
            return true;
    return false;
}

static void wait_for_all(void)
{
    while (busy())
        wait_for_one();
}

static void launch(int scenario, struct fault_plant plant, struct fault_plant leads)
{
    struct job *job = NULL;

    for (int i = 0; i < njobs && !job; i++)
        job = jobs[i].pid ? NULL : &jobs[i];
    if (!job)
        job = wait_for_one();
    job->run->scenario = scenario;
    job->run->plant = plant;
    job->run->leads = leads;
    job->attempts = 0;
    start(job);
}

static const struct fault_plant nothing = { -1, 0, { 0, FAULT_RIGHT, 0 }, FAULT_ONCE };

static void launch_one(int scenario, int site, int nth, struct fault_error error, enum fault_mode mode)
{
    launch(scenario, (struct fault_plant){ site, nth, error, mode }, nothing);
}

static void *share(size_t bytes)
{
    void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

    if (p == MAP_FAILED)
        abort();
    return p;
}

static void prepare(void)
{
    long cpus = sysconf(_SC_NPROCESSORS_ONLN);

    njobs = cpus < 1 ? 1 : cpus < JOBS_MAX ? (int)cpus : JOBS_MAX;
    fault_sites = share(FAULT_SITES_MAX * sizeof *fault_sites);
    kept_by = share(FAULT_SCENARIOS_MAX * sizeof *kept_by);
    for (int i = 0; i < njobs; i++) {
        jobs[i].run = share(sizeof *jobs[i].run);
        jobs[i].log = memfd_create("faults", MFD_CLOEXEC);
        if (jobs[i].log < 0)
            abort();
    }
    fault_scenarios_prepare();
}

/* --- which runs --- */

static void run_whole(void)
{
    for (int k = 0; k < WHOLE_RUNS; k++)
        for (int i = 0; fault_scenarios[i].name; i++)
            launch(i, nothing, nothing);
    wait_for_all();
}

static int first_scenario_of(const struct fault_site *site)
{
    int i;

    for (i = 0; fault_scenarios[i].name && !site->calls[i]; i++)
        ;
    return i;
}

/* Calls that hop can do without: in scenarios where it matters which one fails, the later ones too. */
static void run_later_calls(int at)
{
    const struct fault_error *e = fault_calls[fault_sites[at].call].errors;

    for (int i = 0; fault_scenarios[i].name; i++)
        for (int nth = 2; nth <= LATER_MAX && nth <= fault_sites[at].calls[i]; nth++)
            if (fault_scenarios[i].deep && e->outcome == FAULT_EITHER)
                launch_one(i, at, nth, *e, FAULT_ONCE);
}

/* Each place: once with the first error that is or may be told, and once with the first that is not. */
static void run_each_place(int at)
{
    const struct fault_site *site = &fault_sites[at];
    int scenario = first_scenario_of(site);
    bool told = false, right = false;

    for (const struct fault_error *e = fault_calls[site->call].errors; e->error; e++) {
        bool *had = e->outcome == FAULT_RIGHT ? &right : &told;

        if (!*had)
            launch_one(scenario, at, 1, *e, FAULT_ONCE);
        *had = true;
    }
    run_later_calls(at);
}

static void run_every_call(int at, int scenario)
{
    const struct fault_site *site = &fault_sites[at];
    const int n = site->calls[scenario], each[] = { 1, 2, 3, n / 2, n };
    int before = 0;

    for (size_t i = 0; i < sizeof each / sizeof *each; i++) {
        if (each[i] <= before || each[i] > n)
            continue;
        before = each[i];
        for (const struct fault_error *e = fault_calls[site->call].errors; e->error; e++)
            launch_one(scenario, at, before, *e, FAULT_ONCE);
        if (fault_source(site->call))
            launch_one(scenario, at, before, fault_calls[site->call].errors[0], FAULT_FROM_THERE_ON);
    }
}

/* A place that is reached only after another failure. */
static void run_after_another(int at)
{
    const struct fault_site *site = &fault_sites[at];

    for (const struct fault_error *e = fault_calls[site->call].errors; e->error; e++)
        launch(site->found_in, (struct fault_plant){ at, 1, *e, FAULT_ONCE }, site->found_after);
}

static void run_place(int at, bool every)
{
    const struct fault_site *site = &fault_sites[at];

    if (!fault_scenarios[first_scenario_of(site)].name) {
        run_after_another(at);
    } else if (!every) {
        run_each_place(at);
    } else {
        for (int i = 0; fault_scenarios[i].name; i++)
            if (site->calls[i] && (!fault_scenarios[i].slow || first_scenario_of(site) == i))
                run_every_call(at, i);
    }
}

/* Until no run finds a place that is new. */
static void run_all(bool every)
{
    static bool done[FAULT_SITES_MAX];
    bool more = true;

    while (more) {
        more = false;
        for (int at = 0; at < FAULT_SITES_MAX; at++) {
            if (!fault_sites[at].key || done[at])
                continue;
            done[at] = more = true;
            run_place(at, every);
        }
        wait_for_all();
    }
}

/* As print_plant prints it. */
static struct fault_plant parse_plant(char **argv)
{
    struct fault_plant plant = nothing;

    for (int i = 0; i < FAULT_SITES_MAX; i++)
        if (fault_sites[i].key && fault_sites[i].address == strtoul(argv[0], NULL, 0) &&
            !strcmp(fault_calls[fault_sites[i].call].name, argv[1]))
            plant.site = i;
    plant.nth = atoi(argv[2]);
    plant.error.error = atoi(argv[3]);
    plant.mode = atoi(argv[4]) ? FAULT_FROM_THERE_ON : FAULT_ONCE;
    return plant;
}

static int run_one(char **argv, bool led)
{
    struct fault_run *run = jobs[0].run;
    int i;

    for (i = 0; fault_scenarios[i].name && strcmp(fault_scenarios[i].name, argv[0]); i++)
        ;
    if (!fault_scenarios[i].name)
        return EXIT_FAILURE;
    launch(i, nothing, nothing); /* to find the places; what another failure leads to is found by that one */
    wait_for_all();
    if (led) {
        launch(i, parse_plant(argv + 6), nothing);
        wait_for_all();
    }
    run->scenario = i;
    run->plant = parse_plant(argv + 1);
    run->leads = led ? parse_plant(argv + 6) : nothing;
    atexit(fault_scenarios_clean_up);
    run_here(run);
    return EXIT_FAILURE;
}

/* --- the list of calls, and the guard over it --- */

struct tally {
    int places, injected, told;
};

static struct tally tally_of(int call)
{
    struct tally t = { 0, 0, 0 };

    for (int i = 0; i < FAULT_SITES_MAX; i++)
        if (fault_sites[i].key && fault_sites[i].call == call) {
            t.places++;
            t.injected += fault_sites[i].injected;
            t.told += fault_sites[i].told;
        }
    return t;
}

static void print_calls(void)
{
    printf("%-32s %7s %7s %7s %7s\n", "call", "places", "failed", "told", "went on");
    for (int call = 0; call < FAULT_COUNT; call++) {
        struct tally t = tally_of(call);

        if (t.places)
            printf("%-32s %7d %7d %7d %7d\n", fault_calls[call].name, t.places, t.injected, t.told,
                   t.injected - t.told);
    }
    for (int i = 0; i < FAULT_SITES_MAX; i++)
        if (fault_sites[i].key && !fault_sites[i].injected) {
            printf("never failed: %s", fault_calls[fault_sites[i].call].name);
            name_place(fault_sites[i].address);
            printf(", which is called only now and then\n");
        }
}

/* Whether a list of names, some ending in *, has this one. */
static bool lists(const char *list, const char *name)
{
    size_t n;

    for (; *list; list += n + (list[n] == ' ')) {
        n = strcspn(list, " ");
        if (list[n - 1] == '*' ? !strncmp(list, name, n - 1) : strlen(name) == n && !strncmp(list, name, n))
            return true;
    }
    return false;
}

static bool never_fails(const char *name)
{
#define NAMES_OF_WRAP(n) #n " "
#define NAMES_OF_REASON(reason, names) names " "
    return lists(FAULT_BACK(NAMES_OF_WRAP) FAULT_PRETENDED(NAMES_OF_WRAP) FAULT_NEVER(NAMES_OF_REASON), name);
}

/* Whether every row of the call was made to fail: syscall has several. */
static bool was_failed(const char *name, bool *has_row)
{
    bool all = true;

    *has_row = false;
    for (int call = 0; call < FAULT_COUNT; call++) {
        const char *row = fault_calls[call].name;

        if (strcmp(row, name) && (strcmp(name, "syscall") || strncmp(row, "syscall_", 8)))
            continue;
        *has_row = true;
        all = all && tally_of(call).injected;
    }
    return all;
}

static void guard_one(const char *name)
{
    bool has_row, failed = was_failed(name, &has_row);

    if (has_row ? failed : never_fails(name))
        return;
    printf("FAIL: hop calls %s, %s\n", name,
           has_row ? "and no run made it fail" : "which tests/fault_calls.h does not list");
    failures++;
}

/* Reads `nm` of the library: what it needs and does not have. */
static void guard(void)
{
    static char names[4096][96];
    static bool defined[4096];
    char command[PATH_MAX + 64], line[512], name[96], kind;
    const char *nm = getenv("NM"), *slash = strrchr(program, '/');
    int n = 0, i;
    FILE *pipe;

    snprintf(command, sizeof command, "%s '%.*s/../.libs/libhopcore.a' 2>/dev/null", nm ? nm : "nm",
             slash ? (int)(slash - program) : 1, slash ? program : ".");
    pipe = popen(command, "r");
    while (pipe && fgets(line, sizeof line, pipe)) {
        if (sscanf(line, "%*[0-9a-f] %c %95[^@ \n]", &kind, name) != 2 &&
            sscanf(line, " %c %95[^@ \n]", &kind, name) != 2)
            continue;
        for (i = 0; i < n && strcmp(names[i], name); i++)
            ;
        if (i == n && n < 4096)
            memcpy(names[n++], name, sizeof name);
        defined[i] = defined[i] || !strchr("Uwv", kind);
    }
    if (pipe)
        pclose(pipe);
    if (!n) {
        printf("FAIL: no answer from %s\n", command);
        failures++;
    }
    for (i = 0; i < n; i++)
        if (!defined[i])
            guard_one(names[i]);
}

static int places(void)
{
    int n = 0;

    for (int i = 0; i < FAULT_SITES_MAX; i++)
        n += fault_sites[i].key != 0;
    return n;
}

int main(int argc, char **argv)
{
    program = argv[0];
    if (STATIC_SANITIZER && strlen(SANITIZE_FLAGS) > 0) {
        printf("faults: left out: clang links the run-time of %s into the program, and its calls would be taken for "
               "hop's\n", SANITIZE_FLAGS);
        return SKIPPED;
    }
    prepare();
    if ((argc == 8 || argc == 13) && !strcmp(argv[1], "--one"))
        return run_one(argv + 2, argc == 13);
    run_whole();
    if (!failures) {
        run_all(argc == 2 && !strcmp(argv[1], "--all"));
        print_calls();
        guard();
    }
    fault_scenarios_clean_up();
    printf("faults: %d places, %d runs, %d could not be reached; %d failed\n", places(), runs, unreached, failures);
    return failures ? EXIT_FAILURE : EXIT_SUCCESS;
}
