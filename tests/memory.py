"""The folder for temporary files of the tests: in memory if it has room.

Otherwise each commit waits for the disk, which takes as long as everything else in a test.
"""

import os
import shutil
from pathlib import Path

_SHARED = Path("/dev/shm")
_ENOUGH = 2 * 1024**3
"""Bytes. In a container it has 64 MiB by default."""


def _found() -> Path | None:
    usable = os.access(_SHARED, os.W_OK | os.X_OK) and shutil.disk_usage(_SHARED).free >= _ENOUGH
    return _SHARED if usable else None


MEMORY = _found()
"""None: use the system's folder for temporary files."""
