"""Templates: the sandboxed Jinja environments, the values a template sees, and the plain fallback."""
from pathlib import Path
from collections.abc import Mapping
from typing import Any

from router.model import Conversation


class Templates:
    """The shipped templates, overridden file by file by ``directory`` of the user. Compiled once, at load."""

    def __init__(self, *, levels: tuple[str, ...], timezone: str, directory: Path | None = None) -> None: ...
    def render(self, name: str, block: str, values: Mapping[str, Any]) -> str: ...
    def values(self, conversation: Conversation) -> dict[str, Any]: ...
