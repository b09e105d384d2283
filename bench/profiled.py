"""gunicorn_conf.py with a sampler, for `python -m bench --profile`: where the CPU time goes.

Looks at the stack at each tick of the worker's CPU time (the kernel's, often 4 ms) and, at the end,
writes two lists to `PROFILE_OUT`: functions by their own samples, and by those in which they stood
on the stack.
"""

from __future__ import annotations

import os
import signal
from collections import Counter
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

_ROOT = Path(__file__).resolve().parent.parent
_TICK_S = 0.001
_SHOWN = 40
_own: Counter[CodeType] = Counter()
_within: Counter[CodeType] = Counter()

exec((_ROOT / "cowork" / "server" / "gunicorn_conf.py").read_text(encoding="utf-8"))  # noqa: S102 - our own file


def _sample(_number: int, frame: FrameType | None) -> None:
    if frame is not None:
        _own[frame.f_code] += 1
    seen = set()
    while frame is not None:
        seen.add(frame.f_code)
        frame = frame.f_back
    _within.update(seen)


def post_worker_init(worker: Any) -> None:
    """Begin to sample; the worker ends with the usual hook, after ours."""
    signal.signal(signal.SIGPROF, _sample)
    signal.setitimer(signal.ITIMER_PROF, _TICK_S, _TICK_S)
    close = worker._close  # noqa: SLF001 - the only place between the last request and the end

    def close_and_tell() -> None:
        signal.setitimer(signal.ITIMER_PROF, 0)
        _write(Path(os.environ["PROFILE_OUT"]))
        close()

    worker._close = close_and_tell  # noqa: SLF001


def _write(path: Path) -> None:
    total = sum(_own.values()) or 1
    lines = [f"{total} samples"]
    for title, counts in (("own", _own), ("with what it calls", _within)):
        lines.append(f"\n{title}:")
        lines += [
            f"{count / total:7.1%}  {code.co_qualname}  {_place(code)}"
            for code, count in counts.most_common(_SHOWN)
        ]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _place(code: CodeType) -> str:
    return "/".join(Path(code.co_filename).parts[-3:]) + f":{code.co_firstlineno}"
