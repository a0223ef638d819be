"""Templates: the sandboxed Jinja environments, the values a template sees, and their dry run.

Words live in ``templates/``, as named blocks; structure and the vendors' limits live in the channel files.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import jinja2
from jinja2.sandbox import ImmutableSandboxedEnvironment

from router.model import Conversation
from router.render.samples import samples
from router.render.view import Views
from router.render.words import clip, duration, line, when

_PACKAGE = Path(__file__).parent.parent
# Inside an installed wheel they stand in the package; in a checkout, at its top level.
SHIPPED = next(path for path in (_PACKAGE / "templates", _PACKAGE.parent / "templates") if path.is_dir())


class TemplateError(Exception):
    """A template failed: ``file:line: why``."""


class Templates:
    """The shipped templates, overridden file by file by a directory of the user's. Compiled once, at load.

    :param levels: of severity, the most urgent first
    :param timezone: of the times in messages, an IANA name
    :raises TemplateError: a template has a mistake in its syntax
    """

    def __init__(
        self,
        *,
        levels: tuple[str, ...],
        timezone: str,
        severity_label: str = "severity",
        directory: Path | None = None,
    ) -> None:
        self.levels = levels
        self._views = Views(levels, severity_label, ZoneInfo(timezone))
        folders = [SHIPPED] if directory is None else [directory, SHIPPED]
        loader = jinja2.FileSystemLoader(folders)
        plain, html = _environment(loader, autoescape=False), _environment(loader, autoescape=True)
        self._templates: dict[str, jinja2.Template] = {}
        for name in sorted({path.name for folder in folders for path in folder.glob("*.j2")}):
            try:
                self._templates[name] = (html if name.endswith(".html.j2") else plain).get_template(name)
            except jinja2.TemplateSyntaxError as error:
                raise TemplateError(f"{error.filename or name}:{error.lineno}: {error.message}") from None

    def values(
        self, conversation: Conversation, escape: Callable[[str], str] | None = None
    ) -> dict[str, Any]:
        """What a template sees of a conversation.

        :param escape: makes text safe for the channel; a template can't forget it
        """
        views = self._views if escape is None else replace(self._views, escape=escape)
        return views.of(conversation)

    def render(self, name: str, block: str, values: Mapping[str, Any]) -> str:
        """One block of one template, stripped. :raises TemplateError: it failed on these values"""
        template = self._templates[name]
        if block not in template.blocks:
            raise TemplateError(f"{template.filename or name}:1: it has no block {block!r}")
        try:
            context = template.new_context(dict(values))
            return "".join(template.blocks[block](context)).strip()
        except Exception as error:
            raise TemplateError(f"{_place(error, template)}: {type(error).__name__}: {error}") from error

    def check(self) -> list[str]:
        """Every block of every template on every sample; what fails, as ``file:line: why``."""
        problems: dict[str, None] = {}
        for name, template in self._templates.items():
            for conversation in samples(self.levels).values():
                if (conversation.digest is not None) is not name.startswith("digest"):
                    continue
                values = self.values(conversation)
                for alert in values.get("alerts", ())[:1]:
                    values["alert"] = alert
                for block in template.blocks:
                    try:
                        self.render(name, block, values)
                    except TemplateError as error:
                        problems[str(error)] = None
        return list(problems)


def _environment(loader: jinja2.BaseLoader, *, autoescape: bool) -> ImmutableSandboxedEnvironment:
    environment = ImmutableSandboxedEnvironment(
        loader=loader, undefined=jinja2.StrictUndefined, autoescape=autoescape, trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    environment.filters.update(when=when, duration=duration, clip=clip, line=line)
    return environment


def _place(error: BaseException, template: jinja2.Template) -> str:
    """The line of the template that the traceback ends in."""
    number = 1
    trace = error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == template.filename:
            number = trace.tb_lineno
        trace = trace.tb_next
    return f"{template.filename}:{number}"


__all__ = ["TemplateError", "Templates"]
