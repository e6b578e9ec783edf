# SPDX-License-Identifier: BSD-3-Clause
"""Running one contestant once: a program, a server under load, a compressor. Each gives a dictionary of figures."""
import hashlib
import json
import os
import shutil
import socket
import subprocess
import time

import cgroup

LIMIT_S = 180
READY_S = 20
PLACES = {
    "hop-bench": "bench/hop-bench",
    "hop-bench-libomp": "measure/libomp/bench/hop-bench",
    "loadgen": "bench/loadgen",
    "pgz": "examples/pgz/pgz",
}


class Failed(Exception):
    """Why a run gave no figures."""


class Programs:
    """Where the programs are, below a build folder; what only measuring needs in its folder measure."""

    def __init__(self, build):
        self.build = os.path.abspath(build)
        self.reasons = {}
        self.folder = os.path.join(self.build, "measure")
        notes = os.path.join(self.folder, "peers", "missing")
        if os.path.exists(notes):
            with open(notes, encoding="utf-8") as lines:
                self.reasons = dict(line.rstrip("\n").split(": ", 1) for line in lines if ": " in line)

    def find(self, name):
        """Its path, or None."""
        if name in PLACES:
            path = os.path.join(self.build, PLACES[name])
        elif name.startswith("peer-"):
            path = os.path.join(self.folder, "peers", name)
        else:
            return shutil.which(name)
        return path if os.access(path, os.X_OK) else None

    def why_missing(self, name):
        return self.reasons.get(name, "it was not built")

    def command(self, contestant):
        return [self.find(contestant.program), *contestant.arguments]


def environment_of(contestant, rounds):
    # What the caller's environment says about thread counts must not reach the programs.
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("OMP_", "GOMP_", "KMP_", "GOMAX", "UV_", "RAYON"))}
    return {**kept, "BENCH_ROUNDS": str(rounds), **dict(contestant.environment)}


def figures_in(output, what):
    """The one JSON line that a program prints."""
    lines = [line for line in output.splitlines() if line.startswith("{")]
    if len(lines) != 1:
        raise Failed(f"{what} printed {len(lines)} JSON lines in place of one")
    try:
        return json.loads(lines[0])
    except ValueError as error:
        raise Failed(f"{what}: {error}: {lines[0]}") from error


def last_line(text):
    lines = [line for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else "no message"


def finish(process, what):
    """Waits for a program, and returns what it printed."""
    try:
        output, errors = process.communicate(timeout=LIMIT_S)
    except subprocess.TimeoutExpired as error:
        process.kill()
        process.communicate()
        raise Failed(f"{what} took longer than {LIMIT_S} s") from error
    if process.returncode != 0:
        raise Failed(f"{what}: status {process.returncode}: {last_line(errors)}")
    return output


def start(command, environment):
    return subprocess.Popen(command, env=environment, text=True, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                            stderr=subprocess.PIPE)


def measure_program(programs, contestant, rounds):
    process = start(programs.command(contestant), environment_of(contestant, rounds))
    return figures_in(finish(process, contestant.key), contestant.key)


def measure_together(programs, contestants, rounds):
    """All at once: a list of figures, or Failed, one for each."""
    running = [start(programs.command(c), environment_of(c, rounds)) for c in contestants]
    results = []
    for contestant, process in zip(contestants, running):
        try:
            results.append(figures_in(finish(process, contestant.key), contestant.key))
        except Failed as failed:
            results.append(failed)
    return results


# --- servers ---

def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def wait_until_it_listens(server, port, what):
    until = time.monotonic() + READY_S
    while time.monotonic() < until:
        if server.poll() is not None:
            raise Failed(f"{what}: status {server.returncode}: {last_line(server.stderr.read())}")
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except OSError:
            time.sleep(0.02)
    raise Failed(f"{what} does not listen")


def two_cpus():
    cpus = sorted(os.sched_getaffinity(0))
    return cpus[0], cpus[-1]


def load_command(programs, group, contestant, port, server, seconds):
    command = [programs.find("loadgen"), "--peer", contestant.peer, "--variant", contestant.variant,
               "--workload", group.name, "--port", str(port), "--server", str(server.pid),
               "--seconds", str(seconds), *group.load]
    return command


def measure_server(programs, group, contestant, seconds):
    """Starts the server, loads it, ends it. The note in the result says what could not be had."""
    home, note, port = None, "", free_port()
    if group.cgroup:
        try:
            home = cgroup.Group(group.cgroup)
        except cgroup.Unavailable as missing:
            if cgroup.is_quota(group.cgroup):
                raise Failed(f"no quota: {missing}") from missing
            note = str(missing)
    server_cpu, load_cpu = two_cpus()

    def before_server():
        if home:
            home.enter()
        if group.load_cpu is not None:
            os.sched_setaffinity(0, {server_cpu})

    def before_load():
        if group.load_cpu is not None:
            os.sched_setaffinity(0, {load_cpu})

    command = programs.command(contestant) + [str(port)]
    if note and contestant.program.startswith("hop-bench"):
        command += ["--qos", "idle" if group.cgroup == "own" else "mild"]  # what it would choose by itself there
    server = subprocess.Popen(command, env=environment_of(contestant, 1), text=True, stdin=subprocess.DEVNULL,
                              stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, preexec_fn=before_server)
    try:
        wait_until_it_listens(server, port, contestant.key)
        load = subprocess.Popen(load_command(programs, group, contestant, port, server, seconds), text=True,
                                stdout=subprocess.PIPE, stderr=subprocess.PIPE, preexec_fn=before_load)
        figures = figures_in(finish(load, f"load of {contestant.key}"), contestant.key)
        if server.poll() is not None:
            raise Failed(f"{contestant.key} ended under load: {last_line(server.stderr.read())}")
    finally:
        server.kill()
        server.communicate()
        if home:
            home.remove()
    return {**figures, "note": note} if note else figures


# --- compressors ---

TEXT_FOLDERS = ("/usr/share/cargo/registry", "/usr/include", "/usr/lib/go-1.19", "/usr/share/doc", "/usr/share")
NO_TEXT = (".gz", ".png", ".so", ".a", ".o", ".rlib", ".xz", ".mo", ".bin", ".exe", ".pyc", ".jpg", ".ttf", ".woff")


def text_files():
    for folder in TEXT_FOLDERS:
        for place, folders, names in os.walk(folder):
            folders.sort()
            for name in sorted(names):
                path = os.path.join(place, name)
                if not name.endswith(NO_TEXT) and os.path.isfile(path) and os.path.getsize(path) > 1024:
                    yield path


def text_of(folder, size):
    """A file of that many bytes of this machine's sources and documentation."""
    path = os.path.join(folder, f"text-{size}")
    if os.path.exists(path) and os.path.getsize(path) == size:
        return path
    with open(path, "wb") as out:
        while out.tell() < size:
            before = out.tell()
            for source in text_files():
                try:
                    with open(source, "rb") as file:
                        out.write(file.read(size - out.tell()))
                except OSError:
                    continue
                if out.tell() >= size:
                    break
            if out.tell() == before:
                raise Failed("no text on this machine")
    return path


def digest(file):
    total = hashlib.sha256()
    while block := file.read(1 << 20):
        total.update(block)
    return total.hexdigest()


def digest_of_unpacked(path):
    with subprocess.Popen(["gzip", "-dc", path], stdout=subprocess.PIPE) as unpack:
        return digest(unpack.stdout)


def measure_compressor(programs, group, contestant, size):
    os.makedirs(programs.folder, exist_ok=True)
    text = text_of(programs.folder, size)
    packed = os.path.join(programs.folder, "text-packed.gz")
    with open(packed, "wb") as out:
        began = time.monotonic()
        process = subprocess.Popen(programs.command(contestant) + [text], stdin=subprocess.DEVNULL, stdout=out,
                                   stderr=subprocess.PIPE)
        errors = process.stderr.read().decode(errors="replace")
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.monotonic() - began
    process.stderr.close()
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        raise Failed(f"{contestant.key}: status {process.returncode}: {last_line(errors)}")
    with open(text, "rb") as file:
        if digest(file) != digest_of_unpacked(packed):
            raise Failed(f"wrong result: {contestant.key}: what it packed is not what was packed")
    figures = {"peer": contestant.peer, "workload": group.name, "variant": contestant.variant, "n": size,
               "unit": "MB/s", "median": size / seconds / 1e6, "out_bytes": os.path.getsize(packed),
               "cpus": (usage.ru_utime + usage.ru_stime) / seconds}
    os.unlink(packed)
    return figures
