"""Where the tests write: into memory, where there is room. Each commit would wait for the disk otherwise, which takes as
long as all else that a test does.
"""

import os
import shutil
from pathlib import Path

_SHARED = Path("/dev/shm")
_ENOUGH = 2 * 1024**3
"""Bytes. A container has 64 MiB there, unless it is told otherwise."""


def _found() -> Path | None:
    usable = os.access(_SHARED, os.W_OK | os.X_OK) and shutil.disk_usage(_SHARED).free >= _ENOUGH
    return _SHARED if usable else None


MEMORY = _found()
"""None: the system's folder for temporary files has to do."""
