"""What the scripts that make figures share: processes, their memory and CPU time, and bounds that hold or do not."""

import os
import resource
import signal
import socket
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
RELEASE = os.path.join(os.environ.get("CARGO_TARGET_DIR", os.path.join(HERE, "target")), "release")
RINGMQ = os.environ.get("RINGMQ_BIN", os.path.join(RELEASE, "ringmq"))
MQLOAD = os.environ.get("MQLOAD_BIN", os.path.join(RELEASE, "mqload"))
failed = []


def bound(what, holds):
    print(f"  {'holds' if holds else 'DOES NOT HOLD'}: {what}", flush=True)
    if not holds:
        failed.append(what)


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def is_open(port):
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
        return True
    except OSError:
        return False


def wait_for(condition, seconds=300):
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise SystemExit("what the script waits for does not happen")
        time.sleep(0.1)


def memory_kb(pid):
    """Anonymous and shared memory, without the program's text."""
    try:
        with open(f"/proc/{pid}/status", encoding="ascii") as status:
            return sum(int(line.split()[1]) for line in status if line.startswith(("RssAnon:", "RssShmem:")))
    except (FileNotFoundError, ProcessLookupError):
        return 0


def cpu_s(pid):
    """Seconds of a core that a process has used, in user space and in the kernel."""
    with open(f"/proc/{pid}/stat", encoding="ascii") as stat:
        fields = stat.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class Process:
    """A broker with a configuration of its own, which may be killed and started again."""

    def __init__(self, folder, name, config, port, core=None):
        self.config, self.log, self.port = os.path.join(folder, f"{name}.toml"), os.path.join(folder, f"{name}.log"), port
        with open(self.config, "w", encoding="utf-8") as out:
            out.write(config)
        self.running, self.pinned = None, [] if core is None else ["taskset", "--cpu-list", str(core % os.cpu_count())]
        self.start()

    def start(self):
        with open(self.log, "ab") as log:
            self.running = subprocess.Popen([*self.pinned, RINGMQ, "--config", self.config], stdout=log, stderr=subprocess.STDOUT)
        wait_for(lambda: is_open(self.port) or self.running.poll() is not None)
        if self.running.poll() is not None:
            with open(self.log, encoding="utf-8") as log:
                raise SystemExit(f"the broker has ended: {log.read()}")

    @property
    def pid(self):
        return self.running.pid

    def kill(self):
        self.running.send_signal(signal.SIGKILL)
        self.running.wait()


def run(parts):
    """Those that are named on the command line, or all; each gets a folder that is removed behind it."""
    wanted = sys.argv[1:] or list(parts)
    unknown = [name for name in wanted if name not in parts]
    if unknown:
        raise SystemExit(f"unknown: {' '.join(unknown)}; there are {' '.join(parts)}")
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    for name in wanted:
        with tempfile.TemporaryDirectory() as folder:
            parts[name](folder)
    sys.exit(1 if failed else 0)
