# SPDX-License-Identifier: BSD-3-Clause
"""What the figures were taken on."""
import datetime
import os
import platform
import shutil
import subprocess

PACKAGES = ("libuv1", "libtbb12", "libevent-core-2.1-7", "librust-tokio-dev", "librust-rayon-dev", "libomp5-14",
            "libgomp1", "libboost1.74-dev", "pigz")
TOOLS = {"gcc": ("gcc", "--version"), "clang": ("clang", "--version"), "rustc": ("rustc", "--version"),
         "go": ("go", "version"), "pigz": ("pigz", "--version")}


def said_by(*command):
    """The first line that a command prints, or nothing."""
    if not shutil.which(command[0]):
        return ""
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    return done.stdout.splitlines()[0] if done.returncode == 0 and done.stdout else ""


def field_of(path, name):
    try:
        with open(path, encoding="utf-8") as lines:
            for line in lines:
                if line.split(":")[0].strip() == name:
                    return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return ""


def siblings(cpu):
    """The CPUs that share a core with it, itself among them."""
    found = {cpu}
    try:
        with open(f"/sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list", encoding="utf-8") as file:
            for part in file.read().strip().split(","):
                first, _, last = part.partition("-")
                found.update(range(int(first), int(last or first) + 1))
    except (OSError, ValueError):
        pass
    return found


def packages():
    found = {}
    for name in PACKAGES:
        version = said_by("dpkg-query", "-W", "-f", "${Version}", name)
        if version:
            found[name] = version
    return found


def commit_of(source):
    """The commit; results that were written since do not make it another program."""
    git = ("git", "-C", str(source))
    commit = said_by(*git, "describe", "--always")
    return commit + "-dirty" if said_by(*git, "status", "--porcelain", "--", ":!bench/results") else commit


def facts(source):
    """All of it, as it goes into the results."""
    return {
        "date": datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d %H:%M UTC"),
        "cpu": field_of("/proc/cpuinfo", "model name") or platform.machine(),
        "cpus": os.cpu_count(),
        "cpus_used": sorted(os.sched_getaffinity(0)),
        "memory": field_of("/proc/meminfo", "MemTotal"),
        "kernel": platform.release(),
        "system": field_of_release("PRETTY_NAME"),
        "load_at_start": os.getloadavg()[0],
        "hop": commit_of(source),
        "tools": {name: version for name, command in TOOLS.items() if (version := said_by(*command))},
        "packages": packages(),
    }


def field_of_release(name):
    try:
        with open("/etc/os-release", encoding="utf-8") as lines:
            for line in lines:
                if line.startswith(name + "="):
                    return line.split("=", 1)[1].strip().strip('"')
    except OSError:
        pass
    return ""


def in_words(machine):
    """A paragraph about it, and a warning where one is due."""
    packages_said = ", ".join(f"{k} {v}" for k, v in machine["packages"].items())
    text = (f"{machine['cpu']}, {len(machine['cpus_used'])} of {machine['cpus']} CPUs used, {machine['memory']}, "
            f"{machine['system']}, Linux {machine['kernel']}, {machine['date']}, hop {machine['hop']}; "
            f"load average {machine['load_at_start']:.1f} before")
    if "load_at_end" in machine:
        text += f", {machine['load_at_end']:.1f} after"
    return f"{text}. {'; '.join(machine['tools'].values())}. {packages_said}."
