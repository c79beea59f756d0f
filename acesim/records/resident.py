"""How much memory this process has held at most: since it began, or since it was last told to forget."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import sys
from pathlib import Path

_STATUS, _CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")


def forget_peak() -> None:
    """Free what is garbage, and let the peak begin anew from what is held now, where the system allows it (Linux).

    A run ends as one knot of objects that know each other, which Python frees only when it happens to look for such
    knots, and the C library keeps what Python frees: without this, every run of a process would begin on top of the
    last one's memory.
    """
    gc.collect()
    with contextlib.suppress(OSError, AttributeError, TypeError):
        ctypes.CDLL(None).malloc_trim(0)  # only glibc has it
    with contextlib.suppress(OSError):
        _CLEAR.write_text("5")  # see proc(5): resets VmHWM


def peak_rss_bytes() -> int | None:
    """Return the largest resident memory since the last `forget_peak`; None where the system does not say.

    Where only the peak of the whole process is known (not on Linux), it is that.  On Linux `getrusage` would not do:
    a new process inherits there what its parent had held.
    """
    if sys.platform == "win32":
        return None
    with contextlib.suppress(OSError, StopIteration):
        line = next(line for line in _STATUS.read_text().splitlines() if line.startswith("VmHWM:"))
        return int(line.split()[1]) * 1024
    import resource  # not there on Windows

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024  # macOS counts bytes, others blocks of 1024
