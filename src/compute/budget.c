/* SPDX-License-Identifier: BSD-3-Clause */

#include "compute/budget.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A positive decimal number at *text, moved past it and the blanks after it; 0 when there is none or it is too big. */
static long long take_number(const char **text)
{
    char *end;
    long long value;

    if (**text < '0' || **text > '9')
        return 0;
    errno = 0;
    value = strtoll(*text, &end, 10);
    if (errno || (*end && !strchr(" \n", *end)))
        return 0;
    *text = end + strspn(end, " \n");
    return value;
}

/* A quota, and how long it lasts, in microseconds. */
struct grant {
    long long quota, period;
};

/* A quota that was not read: there is none, or this process has nothing left to open the file with: then an error. */
static int unread(int rc)
{
    return rc == -EMFILE || rc == -ENFILE || rc == -ENOMEM ? rc : 0;
}

/* "max 100000" or "150000 100000". 1: there is a quota; 0: there is none. */
static int grant_v2(const char *dir, struct grant *out)
{
    char text[64];
    const char *at = text;
    int rc = hop__cgroup_read(text, sizeof text, dir, "/cpu.max");

    if (rc <= 0)
        return unread(rc);
    out->quota = take_number(&at);
    out->period = out->quota > 0 ? take_number(&at) : 0;
    return out->period > 0 && !*at;
}

/* One number in each of two files; -1 is "no quota" and reads as 0 here. */
static int grant_v1(const char *dir, struct grant *out)
{
    char quota_text[64], period_text[64];
    const char *quota_at = quota_text, *period_at = period_text;
    int rc = hop__cgroup_read(quota_text, sizeof quota_text, dir, "/cpu.cfs_quota_us");

    if (rc <= 0)
        return unread(rc);
    if ((out->quota = take_number(&quota_at)) <= 0 || *quota_at)
        return 0;
    rc = hop__cgroup_read(period_text, sizeof period_text, dir, "/cpu.cfs_period_us");
    if (rc <= 0)
        return unread(rc);
    out->period = take_number(&period_at);
    return out->period > 0 && !*period_at;
}

static void note_grant(struct hop__budget *budget, const struct grant *grant, const char *version, const char *dir)
{
    enum { SHOWN_MAX = 90 };
    static const long long period_max = 1000 * 1000; /* the kernel's own limit; no overflow below */
    double quota = (double)grant->quota / (double)grant->period;
    size_t len = strlen(dir);
    bool cut = len > SHOWN_MAX;

    if (budget->quota > 0 && quota >= budget->quota)
        return;
    budget->quota = quota;
    budget->period = (grant->period < period_max ? grant->period : period_max) * HOP_US;
    snprintf(budget->source, sizeof budget->source, "cgroup %s quota of %.2f CPUs in %s%.90s", version, quota,
             cut ? "..." : "", cut ? dir + len - SHOWN_MAX : dir);
}

/* A parent's quota binds its children, so the tightest on the way up counts. False: one of them could not be read. */
static bool walk_up(struct hop__budget *budget, const struct hop__cgroup *cgroup, const char *version,
                    int (*grant_in)(const char *dir, struct grant *out))
{
    char dir[HOP__CGROUP_PATH_MAX];
    size_t end = strlen(cgroup->dir);

    memcpy(dir, cgroup->dir, end + 1);
    while (end > 0) {
        struct grant grant;
        int rc = grant_in(dir, &grant);

        if (rc < 0)
            return false;
        if (rc > 0)
            note_grant(budget, &grant, version, dir);
        if (end <= cgroup->top)
            break;
        while (end > cgroup->top && dir[--end] != '/')
            ;
        dir[end] = '\0';
    }
    return true;
}

static int round_up(double quota)
{
    int whole = (int)quota;

    return whole < quota ? whole + 1 : whole;
}

int hop__budget_reread(struct hop__budget *budget, const struct hop__budget_files *files, int cpus_allowed)
{
    bool found = files->v2.dir[0] || files->v1.dir[0];
    struct hop__budget before = *budget;

    budget->cpus = cpus_allowed > 1 ? cpus_allowed : 1;
    budget->quota = 0;
    budget->period = 0;
    snprintf(budget->source, sizeof budget->source, "no quota: %s", found ? "none is set" : "no cgroup was found");
    if (!walk_up(budget, &files->v2, "v2", grant_v2) || !walk_up(budget, &files->v1, "v1", grant_v1)) {
        budget->quota = before.quota; /* what holds, as far as is known */
        budget->period = before.period;
        snprintf(budget->source, sizeof budget->source, "%s",
                 before.width ? before.source : "no quota: its files could not be opened");
    }
    budget->width = budget->cpus;
    if (budget->quota > 0 && budget->quota < budget->cpus)
        budget->width = round_up(budget->quota);
    return budget->width != before.width;
}

int hop__budget_read(struct hop__budget *budget, int cpus_allowed, const char *root)
{
    struct hop__budget_files files;

    *budget = (struct hop__budget){ 0 };
    hop__budget_find(&files, root);
    hop__budget_reread(budget, &files, cpus_allowed);
    return 0;
}

int hop__budget_find(struct hop__budget_files *files, const char *root)
{
    hop__cgroup_find(&files->v2, &files->v1, root);
    return 0;
}

bool hop__budget_own_cgroup(const char *root)
{
    struct hop__budget_files files;

    hop__budget_find(&files, root);
    return hop__cgroup_is_ours(files.v1.dir[0] ? &files.v1 : &files.v2, root);
}
