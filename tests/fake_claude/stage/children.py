"""The processes a scene starts, and the lifeline that tells a test which are left.

A lifeline is a connection to the Unix socket that FAKE_CLAUDE_LIFELINE names.  Each process holds
one of its own until it dies, so a test counts connections where it would have to know pids.
A child's is opened before the fork, so that there is never a child that is not counted.
"""

# pathlib costs 10 ms at a start that takes 20.
# ruff: noqa: PTH110

from __future__ import annotations

import _signal as signal
import _socket
import os

_SLEEP = next((path for path in ("/bin/sleep", "/usr/bin/sleep") if os.path.exists(path)), "")


def hold_lifeline() -> int | None:
    """Connect; the descriptor, or None where no test listens."""
    path = os.environ.get("FAKE_CLAUDE_LIFELINE")
    if not path:
        return None
    line = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
    try:
        line.connect(path)
    except OSError:
        line.close()
        return None
    return line.detach()


def start_tool(seconds: float) -> int:
    """A `sleep` in a session of its own, as the CLI's Bash tool runs a command; its pid."""
    return _start_sleep(seconds, detached=False)


def leave_behind(seconds: float) -> None:
    """`nohup setsid sleep N &`: nobody's child, in nobody's group, deaf to SIGHUP."""
    os.waitpid(_start_sleep(seconds, detached=True), 0)


def has_ended(pid: int) -> bool:
    """Whether a tool is done; reaps it."""
    try:
        return os.waitpid(pid, os.WNOHANG)[0] == pid
    except ChildProcessError:
        return True


def kill(pid: int) -> None:
    """End a tool and whatever it started."""
    try:
        os.killpg(pid, signal.SIGKILL)
    except ProcessLookupError:  # Not a group leader yet.
        os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)


def _start_sleep(seconds: float, *, detached: bool) -> int:
    """Fork; returns once the `sleep` runs, so that no signal for us can still hit it."""
    lifeline = hold_lifeline()
    begun, beginning = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.setsid()
        if detached:
            if os.fork():
                os._exit(0)
            os.setsid()
            signal.signal(signal.SIGHUP, signal.SIG_IGN)
        _become_sleep(seconds, lifeline)
    for fd in (beginning, lifeline):
        if fd is not None:
            os.close(fd)
    os.read(begun, 1)  # Ends when the exec closes the other end.
    os.close(begun)
    return pid


def _become_sleep(seconds: float, lifeline: int | None) -> None:
    try:
        nowhere = os.open(os.devnull, os.O_RDWR)
        for fd in range(3):
            os.dup2(nowhere, fd)
        if lifeline is not None:
            os.set_inheritable(lifeline, True)
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)
        os.execv(_SLEEP, ["sleep", str(seconds)])  # noqa: S606 - a constant program
    finally:
        os._exit(127)
