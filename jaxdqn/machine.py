"""What this process may use of its machine."""

import os


def cores() -> int:
    """Number of cores that this process may use."""
    may_use = getattr(os, "sched_getaffinity", None)  # Linux only
    return len(may_use(0)) if may_use else os.cpu_count() or 1
