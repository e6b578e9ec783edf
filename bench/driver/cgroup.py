# SPDX-License-Identifier: BSD-3-Clause
"""Control groups for the servers of the workload mixed: one of its own, one with a neighbour, one with a quota."""
import os
import subprocess

PERIOD_US = 100000


class Unavailable(Exception):
    """Why there can be no such group here."""


def hierarchy():
    """Where cpu groups are made, and their version."""
    unified = None
    with open("/proc/mounts", encoding="utf-8") as mounts:
        for line in mounts:
            _, place, kind, options = line.split()[:4]
            if kind == "cgroup" and "cpu" in options.split(","):
                return place, 1
            if kind == "cgroup2" and unified is None:
                unified = place
    if unified is None:
        raise Unavailable("no cgroup hierarchy is mounted")
    return unified, 2


def write(path, text):
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)


def is_quota(kind):
    return kind not in ("", "own", "shared")


def why_no_quota():
    """Nothing, or why no quota can be set here."""
    try:
        Group("1.5").remove()
    except Unavailable as missing:
        return str(missing)
    return ""


class Group:
    """A group for one server. kind: "own", "shared" (a neighbour sleeps in it), or a quota in CPUs."""

    def __init__(self, kind):
        self.neighbour = None
        self.path = None
        try:
            self._make(kind)
        except OSError as error:
            self.remove()
            raise Unavailable(f"cgroups: {error.strerror}: {error.filename}") from error

    def _make(self, kind):
        top, version = hierarchy()
        if version == 2:
            write(os.path.join(top, "cgroup.subtree_control"), "+cpu")
        path = os.path.join(top, f"hop-bench-{os.getpid()}")
        os.makedirs(path, exist_ok=True)
        self.path = path
        if kind == "shared":
            self.neighbour = subprocess.Popen(["sleep", "infinity"], preexec_fn=self.enter)
        elif is_quota(kind):
            quota = int(float(kind) * PERIOD_US)
            if version == 2:
                write(os.path.join(path, "cpu.max"), f"{quota} {PERIOD_US}")
            else:
                write(os.path.join(path, "cpu.cfs_period_us"), str(PERIOD_US))
                write(os.path.join(path, "cpu.cfs_quota_us"), str(quota))

    def enter(self):
        """Moves the calling process in: for a child, before it becomes the server."""
        write(os.path.join(self.path, "cgroup.procs"), str(os.getpid()))

    def remove(self):
        if self.neighbour:
            self.neighbour.kill()
            self.neighbour.wait()
        if self.path:
            os.rmdir(self.path)
            self.path = None
