/* SPDX-License-Identifier: BSD-3-Clause */

#include "compute/cgroup.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int hop__cgroup_read(char *text, size_t size, const char *dir, const char *name)
{
    char path[HOP__CGROUP_PATH_MAX + 64];
    int fd, n = snprintf(path, sizeof path, "%s%s", dir, name);
    ssize_t got;

    text[0] = '\0';
    if (n < 0 || (size_t)n >= sizeof path)
        return -ENAMETOOLONG;
    if ((fd = open(path, O_RDONLY | O_CLOEXEC)) < 0)
        return -errno;
    while ((got = read(fd, text, size - 1)) < 0 && errno == EINTR)
        ;
    n = got < 0 ? -errno : (int)got;
    close(fd);
    text[n > 0 ? n : 0] = '\0';
    return n;
}

static FILE *open_lines(const char *root, const char *name)
{
    char path[HOP__CGROUP_PATH_MAX + 64];
    int n = snprintf(path, sizeof path, "%s%s", root, name);

    return n > 0 && (size_t)n < sizeof path ? fopen(path, "re") : NULL;
}

/* ---- Finding the directories ---- */

/* What /proc/self/cgroup says about one hierarchy, and the best of its mounts in /proc/self/mountinfo so far. */
struct hierarchy {
    char own[HOP__CGROUP_PATH_MAX];   /* the own cgroup inside the hierarchy: "/a/b"; "" when there is none */
    char point[HOP__CGROUP_PATH_MAX]; /* where it is mounted */
    char below[HOP__CGROUP_PATH_MAX]; /* the directory of the hierarchy that the mount shows: "/" or a container's */
    bool inside;                      /* own lies in below */
};

static bool listed(const char *list, const char *word)
{
    size_t len = strlen(word);

    for (const char *at = list; (at = strstr(at, word)); at += len)
        if ((at == list || at[-1] == ',') && (!at[len] || strchr(",\n", at[len])))
            return true;
    return false;
}

static bool copy_path(char to[HOP__CGROUP_PATH_MAX], const char *from)
{
    size_t len = strlen(from);

    if (len >= HOP__CGROUP_PATH_MAX)
        return false;
    memcpy(to, from, len + 1);
    return true;
}

/* "4:cpu,cpuacct:/a/b" in version 1, "0::/a/b" in version 2. */
static void read_own_line(char *line, struct hierarchy *v2, struct hierarchy *v1)
{
    char *names = strchr(line, ':');
    char *path = names ? strchr(names + 1, ':') : NULL;

    if (!path || path[1] != '/')
        return;
    *path++ = '\0';
    path[strcspn(path, "\n")] = '\0';
    if (!strncmp(line, "0:", 2) && !names[1])
        copy_path(v2->own, path);
    else if (listed(names + 1, "cpu"))
        copy_path(v1->own, path);
}

/* The kernel writes blanks and backslashes in paths as \ooo. */
static void unescape(char *path)
{
    char *to = path;

    for (const char *from = path; *from; to++) {
        if (from[0] == '\\' && strspn(from + 1, "01234567") >= 3) {
            *to = (char)((from[1] - '0') * 64 + (from[2] - '0') * 8 + (from[3] - '0'));
            from += 4;
        } else {
            *to = *from++;
        }
    }
    *to = '\0';
}

/* Whether path is dir or lies in it. A ".." comes from a cgroup outside our namespace, and leads nowhere we can see. */
static bool lies_in(const char *path, const char *dir)
{
    size_t len = strcmp(dir, "/") ? strlen(dir) : 0;

    return !strncmp(path, dir, len) && (!path[len] || path[len] == '/') && !strstr(path, "/..");
}

/* A mount that shows our cgroup beats one that does not; of two that do, the one that shows more above it. */
static void consider_mount(struct hierarchy *h, const char *below, const char *point)
{
    bool inside = lies_in(h->own, below);

    if (!h->own[0] || (h->point[0] && (!inside || (h->inside && strlen(below) >= strlen(h->below)))))
        return;
    if (strlen(below) < sizeof h->below && copy_path(h->point, point)) {
        copy_path(h->below, below);
        h->inside = inside;
    }
}

/* "31 23 0:28 /below /sys/fs/cgroup/cpu rw,relatime shared:9 - cgroup cgroup rw,cpu" */
static void read_mount_line(char *line, struct hierarchy *v2, struct hierarchy *v1)
{
    char *dash = strstr(line, " - "), *save = NULL;
    char *fields[5] = { NULL }, *type, *options;

    if (!dash)
        return;
    *dash = '\0';
    for (int i = 0; i < 5; i++)
        if (!(fields[i] = strtok_r(i ? NULL : line, " ", &save)))
            return;
    type = strtok_r(dash + 3, " \n", &save);
    options = type && strtok_r(NULL, " \n", &save) ? strtok_r(NULL, " \n", &save) : NULL;
    unescape(fields[3]);
    unescape(fields[4]);
    if (options && !strcmp(type, "cgroup2"))
        consider_mount(v2, fields[3], fields[4]);
    else if (options && !strcmp(type, "cgroup") && listed(options, "cpu"))
        consider_mount(v1, fields[3], fields[4]);
}

static void read_lines(const char *root, const char *name, struct hierarchy *v2, struct hierarchy *v1,
                       void (*each)(char *, struct hierarchy *, struct hierarchy *))
{
    FILE *file = open_lines(root, name);
    char *line = NULL;
    size_t size = 0;

    if (!file)
        return;
    while (getline(&line, &size, file) > 0)
        each(line, v2, v1);
    free(line);
    fclose(file);
}

/* root + mount point + what of the own path lies below it; the mount point alone if ours cannot be seen from here. */
static void locate(struct hop__cgroup *cgroup, const struct hierarchy *h, const char *root)
{
    const char *rest = h->inside ? h->own + (strcmp(h->below, "/") ? strlen(h->below) : 0) : "";
    size_t top = strlen(root) + strlen(h->point);
    int n;

    *cgroup = (struct hop__cgroup){ .top = top };
    if (!h->point[0])
        return;
    if (!strcmp(rest, "/"))
        rest = "";
    n = snprintf(cgroup->dir, sizeof cgroup->dir, "%s%s%s", root, h->point, rest);
    if (n < 0 || (size_t)n >= sizeof cgroup->dir)
        cgroup->dir[0] = '\0';
    cgroup->exact = h->inside;
    cgroup->topmost = !strcmp(h->own, "/");
}

void hop__cgroup_find(struct hop__cgroup *v2, struct hop__cgroup *v1, const char *root)
{
    struct hierarchy h2 = { .inside = false }, h1 = { .inside = false };

    read_lines(root, "/proc/self/cgroup", &h2, &h1, read_own_line);
    read_lines(root, "/proc/self/mountinfo", &h2, &h1, read_mount_line);
    locate(v2, &h2, root);
    locate(v1, &h1, root);
    v2->unified = true;
}

/* ---- Whose cgroup it is ---- */

enum { GENERATIONS_MAX = 64, KERNEL_THREAD = 0x00200000 /* PF_KTHREAD */ };

struct family {
    const char *root;
    int line[GENERATIONS_MAX]; /* this process, its parent, ... */
    int generations;
    bool kernel_seen; /* a kernel thread was among those asked about: we see the whole machine's processes */
};

/* Parent of pid, 0 for none (or one outside our pid namespace), -1 when it cannot be told. */
static int parent_of(const char *root, int pid, bool *is_kernel)
{
    char name[48], text[512];
    const char *at;
    unsigned flags = 0;
    int parent = -1;

    snprintf(name, sizeof name, "/proc/%d/stat", pid);
    if (hop__cgroup_read(text, sizeof text, root, name) <= 0)
        return -1;
    /* 1234 (a name with ) and blanks) S parent group session terminal foreground flags ... */
    at = strrchr(text, ')');
    if (!at || sscanf(at + 1, " %*c %d %*d %*d %*d %*d %u", &parent, &flags) != 2)
        return -1;
    *is_kernel = flags & KERNEL_THREAD;
    return parent;
}

static void trace_ancestors(struct family *f, const char *root)
{
    bool is_kernel;

    *f = (struct family){ .root = root };
    for (int pid = getpid(); pid > 0 && f->generations < GENERATIONS_MAX; pid = parent_of(root, pid, &is_kernel))
        f->line[f->generations++] = pid;
}

/* Kernel threads are nobody's competitors. What cannot be read (hidepid, another pid namespace's 0) is a stranger. */
static bool is_related(struct family *f, int pid)
{
    bool is_kernel = false;
    int at;

    for (int i = 0; i < f->generations; i++)
        if (f->line[i] == pid)
            return true;
    at = parent_of(f->root, pid, &is_kernel);
    if (at >= 0 && is_kernel) {
        f->kernel_seen = true;
        return true;
    }
    for (int i = 0; i < GENERATIONS_MAX && at > 0; i++) {
        if (at == f->line[0])
            return true;
        at = parent_of(f->root, at, &is_kernel);
    }
    return false;
}

static bool members_related(struct family *f, const char *dir)
{
    FILE *file = open_lines(dir, "/cgroup.procs");
    bool all = file != NULL;
    int pid, seen = 0;

    while (all && fscanf(file, "%d", &pid) == 1) {
        all = pid > 0 && is_related(f, pid);
        seen++;
    }
    if (file) {
        all = all && feof(file) && !ferror(file);
        fclose(file);
    }
    return all && seen > 0;
}

/* In the root cgroup the other cgroups compete as well, so all processes count; a pid namespace would hide some. */
static bool machine_related(struct family *f)
{
    char path[HOP__CGROUP_PATH_MAX];
    int n = snprintf(path, sizeof path, "%s/proc", f->root);
    DIR *dir = n > 0 && (size_t)n < sizeof path ? opendir(path) : NULL;
    bool all = dir != NULL;
    struct dirent *entry;

    errno = 0;
    while (all && (entry = readdir(dir))) {
        int pid = atoi(entry->d_name);

        all = pid <= 0 || is_related(f, pid);
        errno = 0;
    }
    all = all && !errno; /* the list was read to its end */
    if (dir)
        closedir(dir);
    return all && f->kernel_seen;
}

/* The first cgroup namespace has a fixed inode (the kernel's PROC_CGROUP_INIT_INO). No answer: the first. */
static bool in_first_namespace(const char *root)
{
    char path[HOP__CGROUP_PATH_MAX], target[64];
    int n = snprintf(path, sizeof path, "%s/proc/self/ns/cgroup", root);
    ssize_t len = n > 0 && (size_t)n < sizeof path ? readlink(path, target, sizeof target - 1) : -1;

    if (len <= 0)
        return true;
    target[len] = '\0';
    return !strcmp(target, "cgroup:[4026531835]");
}

bool hop__cgroup_is_ours(const struct hop__cgroup *cgroup, const char *root)
{
    struct family family;
    char weight[32];

    if (!cgroup->dir[0] || !cgroup->exact)
        return false;
    trace_ancestors(&family, root);
    if (cgroup->topmost && in_first_namespace(root))
        return machine_related(&family);
    /* Without the cpu controller a version 2 cgroup is scheduled as part of its parent, with all its siblings. */
    if (cgroup->unified && hop__cgroup_read(weight, sizeof weight, cgroup->dir, "/cpu.weight") <= 0)
        return false;
    return members_related(&family, cgroup->dir);
}
