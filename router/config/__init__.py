"""routes.yaml: read, checked as a whole, and turned into the rules in force."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from router.channels import Section
from router.config.build import Builder
from router.config.document import read
from router.config.problems import ConfigError, Problem
from router.decide import Policy
from router.model import Millis, Source


@dataclass(frozen=True, slots=True)
class Config:
    """All of routes.yaml, ready to use."""

    policy: Policy
    sources: tuple[Source, ...]
    settings: Mapping[str, Section]
    """The sections of ``channels:`` by name."""
    timezone: str
    templates: Path | None
    digest: str
    """SHA-256 of the file, in hex."""


def load(path: Path, *, environ: Mapping[str, str], now: Millis, preview: bool = False) -> Config:
    """Read a file.

    :param preview: nobody will be told: missing variables, secrets and channel sections are made up
    :raises ConfigError: with every mistake and its place
    """
    try:
        text = path.read_bytes().decode()
    except OSError as error:
        todo = "give the path of one with --config"
        raise ConfigError(str(path), [Problem(1, 1, f"can't be read: {error.strerror}", todo)]) from None
    except UnicodeDecodeError as error:
        what = f"byte {error.start} is not UTF-8"
        raise ConfigError(str(path), [Problem(1, 1, what, "save the file as UTF-8")]) from None
    return loads(text, name=str(path), folder=path.parent, environ=environ, now=now, preview=preview)


def loads(
    text: str, *, name: str, folder: Path, environ: Mapping[str, str], now: Millis, preview: bool = False
) -> Config:
    """As :func:`load`, of a text. :param folder: what relative paths in it start from"""
    document = read(text, name, environ, lenient=preview)
    builder = Builder(document, folder, now, preview=preview)
    policy, sources = builder.policy(), builder.sources()
    file = builder.file
    templates = None
    if file is not None and file.templates is not None:
        templates = folder / file.templates
        if not templates.is_dir():
            document.problem(
                ("templates",), f"{templates} is no folder", "make it, or leave `templates:` out"
            )
    if document.problems or policy is None or file is None:
        raise ConfigError(name, document.problems)
    digest = hashlib.sha256(text.encode()).hexdigest()
    return Config(policy, sources, builder.settings, file.timezone, templates, digest)


__all__ = ["Config", "ConfigError", "Problem", "load", "loads"]
