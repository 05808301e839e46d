"""Child processes that never outlive a test run: killed by id at exit, on signals, and by the kernel if we crash."""

import atexit
import concurrent.futures
import fcntl
import glob
import os
import signal
import socket
import subprocess
import tempfile
import threading
import time
from pathlib import Path

from kubeclient import ApiError

# The kernel kills a child when the *thread* that started it ends, so one thread that lives as long as we do starts all.
_spawner = concurrent.futures.ThreadPoolExecutor(1, "spawner")
_running = {}  # pid -> Process
_lock = threading.Lock()


class Failed(Exception):
    """A process ended or did not become ready; the message has the end of its log."""


def spawn(command, **popen):
    """subprocess.Popen of a child that the kernel kills with us. For those that are talked to over pipes."""
    # setpriv (util-linux) sets PR_SET_PDEATHSIG and becomes the program, with the same process id.
    return _spawner.submit(subprocess.Popen, ["setpriv", "--pdeathsig", "KILL", "--", *command], start_new_session=True,
                           **popen).result()


class Process:
    """One child with a log file, in a process group of its own. start() may be called again after it has ended."""

    def __init__(self, name, command, log, environment=None):
        self.name = name
        self.command = [str(part) for part in command]
        self.log = Path(log)
        self.environment = dict(os.environ if environment is None else environment)
        self._child = None
        self._asked = False

    @property
    def pid(self):
        return self._child.pid if self._child else None

    def start(self):
        assert not self.alive(), f"{self.name} runs already"
        self._asked = False
        with open(self.log, "ab") as output:
            self._child = spawn(self.command, stdin=subprocess.DEVNULL, stdout=output, stderr=output,
                                env=self.environment)
        with _lock:
            _running[self._child.pid] = self
        return self

    def alive(self):
        return self._child is not None and self._child.poll() is None

    def send_signal(self, number):
        if self.alive():
            self._child.send_signal(number)

    def pause(self):
        self.send_signal(signal.SIGSTOP)

    def resume(self):
        self.send_signal(signal.SIGCONT)

    def wait(self, timeout):
        """Its exit code; Failed when it still runs after `timeout` seconds."""
        try:
            code = self._child.wait(timeout)
        except subprocess.TimeoutExpired:
            raise Failed(f"{self.name} still runs after {timeout} s\n{self.log_end()}") from None
        with _lock:
            _running.pop(self._child.pid, None)
        return code

    def kill(self):
        """SIGKILL, and waits for its end."""
        if self._child is not None:
            _signal_group(self._child.pid, signal.SIGKILL)
            self._child.wait()
            with _lock:
                _running.pop(self._child.pid, None)

    def ask_to_stop(self):
        """SIGTERM, once: programs take a second one as a request to end at once."""
        if self.alive() and not self._asked:
            self._asked = True
            self._child.send_signal(signal.SIGCONT)
            self._child.send_signal(signal.SIGTERM)

    def stop(self, timeout=10):
        """SIGTERM, and SIGKILL after `timeout` seconds. The exit code; None if it never ran, a text if it would not end."""
        if self._child is None:
            return None
        code = None
        if self.alive():
            self.ask_to_stop()
            try:
                self._child.wait(timeout)
            except subprocess.TimeoutExpired:
                code = f"no end {timeout} s after SIGTERM"
        self.kill()  # and what it has left behind in its process group
        return code or self._child.returncode

    def cpu_seconds(self):
        """User and system time of all its threads so far; counted in steps of 10 ms."""
        fields = Path(f"/proc/{self.pid}/stat").read_text(encoding="ascii").rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def resident_bytes(self):
        for line in Path(f"/proc/{self.pid}/status").read_text(encoding="ascii").splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) * 1024
        return 0

    def log_end(self, lines=40):
        try:
            text = self.log.read_text(encoding="utf-8", errors="replace").splitlines()
        except FileNotFoundError:
            return ""
        return "\n".join(f"    {self.name}: {line}" for line in text[-lines:])


def _signal_group(pid, number):
    try:
        os.killpg(pid, number)
    except ProcessLookupError:
        pass


def kill_all():
    """Kills whatever still runs."""
    with _lock:
        processes = list(_running.values())
    for process in processes:
        process.kill()


def _on_signal(number, _frame):
    raise SystemExit(128 + number)


def install_signal_handlers():
    """Makes SIGTERM and SIGHUP unwind the stack, as SIGINT does; from the main thread. Also where a shell has started us
    in the background, and so with SIGINT ignored, which the programs that we start would inherit."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _on_signal)
    signal.signal(signal.SIGINT, signal.default_int_handler)


atexit.register(kill_all)


def free_ports(count):
    """Loopback ports that nobody listens on now, that no outgoing connection takes (they lie below the range), and that
    no other test process is given: each process has blocks of ports of its own, as long as it lives."""
    ports = []
    while len(ports) < count:
        if not _own:
            _own.extend(_take_block())
        candidate = _own.pop()
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", candidate))
            except OSError:
                continue
        ports.append(candidate)
    return ports


def _take_block(size=50):
    """The ports of a block that no living process has locked."""
    low = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text(encoding="ascii").split()[0])
    folder = Path(tempfile.gettempdir()) / f"sharder-e2e-ports-{os.getuid()}"
    folder.mkdir(exist_ok=True)
    for first in range(10_000, low - size, size):
        lock = open(folder / str(first), "w", encoding="ascii")  # pylint: disable=consider-using-with
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            lock.close()
            continue
        _locks.append(lock)
        return list(range(first + size - 1, first - 1, -1))
    raise Failed("no block of loopback ports is free")


_own, _locks = [], []

_NOT_NOW = (429, 503, 504)  # too many requests, unavailable, timeout

# How much slower the program under test is than the one that users run; scripts/sanitized.sh sets it.
SLOWNESS = float(os.environ.get("SHARDER_TEST_SLOWNESS", "1"))


def allowed(seconds):
    """A bound that holds for the program that users run, as it is for the one under test."""
    return seconds * SLOWNESS


def wait_until(condition, timeout, what, interval=0.02, alive=None):
    """The first true value of condition(); Failed after allowed(timeout), or as soon as the Process `alive` ends.

    Exceptions of the kinds that a server which is not there (yet) causes count as false and stand in the message; so do
    its answers that it cannot do it now.
    """
    timeout = allowed(timeout)
    deadline = time.monotonic() + timeout
    last = None
    while True:
        try:
            value = condition()
            if value:
                return value
            last = value
        except (OSError, ConnectionError, LookupError) as error:
            last = error
        except ApiError as error:
            if error.status not in _NOT_NOW:
                raise
            last = error
        if alive is not None and not alive.alive():
            raise Failed(f"{alive.name} ended while we waited for: {what}\n{alive.log_end()}")
        if time.monotonic() > deadline:
            ending = f"\n{alive.log_end()}" if alive is not None else ""
            raise Failed(f"not within {timeout:g} s: {what} (last: {last!r}){ending}")
        time.sleep(interval)


def faketime_environment(offset):
    """Variables that move a process's wall clock, and leave CLOCK_MONOTONIC and CLOCK_BOOTTIME alone."""
    libraries = glob.glob("/usr/lib/*-linux-gnu/faketime/libfaketimeMT.so.1")
    if not libraries:
        raise Failed("libfaketime is not installed: scripts/deps.sh test")
    return {"LD_PRELOAD": libraries[0], "FAKETIME": offset, "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            "DONT_FAKE_MONOTONIC": "1"}
