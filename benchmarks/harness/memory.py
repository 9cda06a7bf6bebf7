"""Memory of a process as the system counts it."""

from __future__ import annotations

import sys
from pathlib import Path


def status_bytes(field: str, process: int | str = "self") -> int | None:
    """A field of /proc/PID/status, such as VmRSS, VmHWM (the largest so far) or RssAnon; None where there is none (not Linux)."""
    try:
        lines = Path(f"/proc/{process}/status").read_text(encoding="utf-8").splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{field}:")), None)


def resident_bytes() -> int:
    """Resident memory of this process now; elsewhere than on Linux the largest so far."""
    now = status_bytes("VmRSS")
    return peak_bytes() if now is None else now


def peak_bytes() -> int:
    """The largest resident memory of this process so far."""
    peak = status_bytes("VmHWM")
    if peak is not None:
        return peak
    import resource  # not there on Windows

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
