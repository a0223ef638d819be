"""What the engine gets when the image is built: the files that .dockerignore lets through."""

import fnmatch
import shutil
from pathlib import Path

from tests.acceptance.processes import ROOT


def sent_files(folder: Path) -> Path:
    """Copy these files. :returns: the copy

    Of the patterns of https://docs.docker.com/build/concepts/context/#dockerignore-files it knows those that the file has:
    ``*``, ``!path`` and ``**/name``.
    """
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    patterns = [line for line in lines if line and not line.startswith("#")]
    assert patterns[0] == "*"
    allowed = [each[1:] for each in patterns if each.startswith("!")]
    refused = [each.removeprefix("**/") for each in patterns if each.startswith("**/")]
    assert len(patterns) == 1 + len(allowed) + len(refused)

    def left_out(_: str, names: list[str]) -> list[str]:
        return [name for name in names if any(fnmatch.fnmatch(name, each) for each in refused)]

    sent = folder / "sent"
    for each in allowed:
        source, target = ROOT / each, sent / each
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target, ignore=left_out)
        else:
            shutil.copy(source, target)
    return sent
