"""The texts of the files in force as pages show them: secrets masked, and long ones cut."""

from collections.abc import Iterable
from dataclasses import dataclass

from router.config.document import Document

MAX_FILE_CHARS = 2**20
"""How much of one file is kept."""
MAX_CHARS = 4 * 2**20
"""How much of all files together is kept."""


@dataclass(frozen=True, slots=True)
class ShownFile:
    """A file of a configuration."""

    name: str
    text: str
    """Its secrets are masked."""
    size: int
    """The characters of the whole file."""

    @property
    def is_cut(self) -> bool:
        """Whether the file is longer than what is kept of it."""
        return len(self.text) < self.size


def mask_files(documents: Iterable[Document]) -> tuple[ShownFile, ...]:
    """Return the texts of files. Call it when all of them are read, because each may contain secrets of another one."""
    shown, left = [], MAX_CHARS
    for document in documents:
        text = document.text
        kept = text[: min(MAX_FILE_CHARS, left)]
        left -= len(kept)
        shown.append(ShownFile(document.name, kept, len(text)))
    return tuple(shown)
