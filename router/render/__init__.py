"""Templates: the sandboxed Jinja environments, the values a template sees, and their dry run.

The words of messages are in ``templates/``, as named blocks. Their structure and the vendors' limits are in the channels.
"""

import difflib
import functools
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar
from zoneinfo import ZoneInfo

import jinja2
from jinja2.sandbox import ImmutableSandboxedEnvironment

from router.model import Conversation
from router.render.digest_view import digest_values
from router.render.facts import plain_facts
from router.render.formatter import Formatter
from router.render.samples import sample_conversations
from router.render.storm_view import storm_values
from router.render.view import group_values
from router.render.words import clip, code, duration, line, listed_labels, pairs, when

_PACKAGE = Path(__file__).parent.parent
# An installed wheel has them in the package, a checkout at its top level.
SHIPPED = next(path for path in (_PACKAGE / "templates", _PACKAGE.parent / "templates") if path.is_dir())

# A message can't be sent without them, or says nothing: a template in which one renders empty counts as failed. The other
# blocks (summary, labels, footer, news, …) may be empty.
REQUIRED_BLOCKS = frozenset({"alert", "body", "subject", "text", "title"})
REQUIRED_BLOCKS_OF: Mapping[str, frozenset[str]] = {"pagerduty.j2": frozenset({"summary"})}
"""More of them, by the name of the template."""

UNREAD = "no channel reads"
"""The beginning of those problems of :meth:`Templates.check` that say that a file or a block has no effect."""

Layout = TypeVar("Layout")
_EMPTY_LINES = re.compile(r"\n{3,}")


class TemplateError(Exception):
    """A template failed. The message is ``file:line: why`` or ``file:line:column: why``."""


class EmptyBlockError(TemplateError):
    """A block that must not be empty is empty."""


class Words:
    """The words of one message, block by block: those of a template, or the plain facts if the template fails."""

    def __init__(self, write: Callable[[str, Mapping[str, Any]], str], values: Mapping[str, Any]) -> None:
        """:param write: returns a block, given its name and its variables"""
        self.values = values
        """The variables of the message, see docs/templates.md."""
        self._write = write

    def __call__(self, block: str, **more: Any) -> str:
        """Return a block as text, stripped, with one empty line at most between two others.

        :param more: variables beside or instead of those of the message
        :raises TemplateError: the template fails
        """
        return _EMPTY_LINES.sub("\n\n", self._write(block, {**self.values, **more}))

    def but(self, **values: Any) -> "Words":
        """Return the words of the same message with other values of some variables."""
        return Words(self._write, {**self.values, **values})


class Templates:
    """The shipped templates; a block of a file in the user's directory replaces the shipped one. They are compiled once, at
    load.

    :param levels: of severity, the most urgent first
    :param timezone: of the times in messages, an IANA name
    :raises TemplateError: the directory or a template can't be read, or has a mistake in its syntax
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
        self._formatter = Formatter(levels, severity_label, ZoneInfo(timezone))
        self._shipped = _load_shipped()
        if directory is not None and not directory.is_dir():
            raise TemplateError(f"{directory}: no such folder; make it, or leave it out of the configuration")
        self._templates = self._shipped if directory is None else _load([directory, SHIPPED])

    def values(
        self, conversation: Conversation, escape: Callable[[str], str] | None = None
    ) -> dict[str, Any]:
        """Return the variables of a template for a conversation.

        :param escape: makes text safe for the channel; it is applied here, so that a template can't forget it
        """
        formatter = self._formatter if escape is None else replace(self._formatter, escape=escape)
        # ``others`` and ``cut`` are about what a mail has no room for.
        values: dict[str, Any] = {
            "now": formatter.at(conversation.now),
            "zone": formatter.zone.key,
            "others": [],
            "cut": [],
        }
        if conversation.digest is not None:
            return {**values, **digest_values(conversation.digest, formatter)}
        if conversation.storm is not None:
            return {**values, "first": not conversation.remote, **storm_values(conversation.storm, formatter)}
        return {**values, **group_values(conversation, formatter)}

    def fill(
        self, name: str, values: Mapping[str, Any], layout: Callable[[Words], Layout]
    ) -> tuple[Layout, bool]:
        """Return what a layout makes of the words of a template, and whether the template failed.

        If it failed, the layout is made of the plain facts instead.

        :param values: see :meth:`values`
        """
        try:
            return layout(Words(partial(self.render, name), values)), False
        except TemplateError:
            return layout(Words(plain_facts, values)), True

    def render(self, name: str, block: str, values: Mapping[str, Any]) -> str:
        """Return a block of a template as text, stripped.

        :raises TemplateError: it fails with these values, or is empty although the message needs it
        """
        own, shipped = self._templates[name], self._shipped[name]
        template = own if block in own.blocks else shipped
        if block not in template.blocks:
            raise TemplateError(f"{_shown(template)}:1: it has no block {block!r}")
        context = shipped.new_context(dict(values))
        context.blocks.update({name: [write] for name, write in own.blocks.items()})  # for self.name()
        try:
            text = "".join(template.blocks[block](context)).strip()
        except Exception as error:
            position = _position(error, template, own, shipped)
            raise TemplateError(f"{position}: {type(error).__name__}: {error}") from error
        if not text and is_required(name, block):
            of = f" of a message whose status is {values['status']}" if "status" in values else ""
            raise EmptyBlockError(f"{_block_position(template, block)}: the block {block!r}{of} is empty")
        return text

    def check(self) -> list[str]:
        """Render every block of every template with every sample. Return what fails, is empty or is not read,
        as the messages of :class:`TemplateError`.
        """
        problems: dict[str, None] = {}
        for name, template in self._templates.items():
            if name in self._shipped:
                problems.update(dict.fromkeys(self._check(name, template)))
            elif not name.startswith("_"):
                near = difflib.get_close_matches(name, self._shipped, n=1)
                meant = f"; did you mean {near[0]}?" if near else ""
                problems[f"{_shown(template)}:1: {UNREAD} it{meant} (what others include: _{name})"] = None
        return list(problems)

    def _check(self, name: str, template: jinja2.Template) -> Iterator[str]:
        known = self._shipped[name].blocks
        for block in _unused_blocks(template):
            if block not in known:
                yield f"{_block_position(template, block)}: {UNREAD} the block {block!r}; {_meant(block, known)}"
        for conversation in sample_conversations(self.levels).values():
            if _about(conversation) != (
                name.partition(".")[0] if name.startswith(("digest", "storm")) else ""
            ):
                continue
            values = self.values(conversation)
            for block in known:
                # The block ``alert`` is about one alert.
                each = [{"alert": alert} for alert in values["alerts"]] if block == "alert" else [{}]
                for more in each:
                    try:
                        self.render(name, block, {**values, **more})
                    except TemplateError as error:
                        yield str(error)


def is_required(name: str, block: str) -> bool:
    """Return whether a block of a template must not be empty."""
    return block in REQUIRED_BLOCKS or block in REQUIRED_BLOCKS_OF.get(name, ())


def _about(conversation: Conversation) -> str:
    return "digest" if conversation.digest is not None else "storm" if conversation.storm is not None else ""


@functools.cache
def _load_shipped() -> Mapping[str, jinja2.Template]:
    """Return the shipped templates. They are compiled once in a process, which takes most of the time of a start."""
    return _load([SHIPPED])


def _load(folders: list[Path]) -> dict[str, jinja2.Template]:
    """Return the templates by name; each comes from the first folder that has it."""
    loader = jinja2.FileSystemLoader(folders)
    plain, html = _environment(loader, autoescape=False), _environment(loader, autoescape=True)
    templates: dict[str, jinja2.Template] = {}
    for path in sorted(
        {path.name: path for folder in reversed(folders) for path in folder.glob("*.j2")}.values()
    ):
        environment = html if path.name.endswith(".html.j2") else plain
        try:
            templates[path.name] = environment.get_template(path.name)
        except jinja2.TemplateSyntaxError as error:
            raise TemplateError(
                f"{_named(error.filename or path.name)}:{error.lineno}: {error.message}"
            ) from None
        except (OSError, UnicodeDecodeError) as error:
            raise TemplateError(f"{_named(str(path))}:1: it can't be read: {error}") from None
    return templates


def _environment(loader: jinja2.BaseLoader, *, autoescape: bool) -> ImmutableSandboxedEnvironment:
    environment = ImmutableSandboxedEnvironment(
        loader=loader, undefined=jinja2.StrictUndefined, autoescape=autoescape, trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    environment.filters.update(
        when=when, duration=duration, clip=clip, line=line, code=code, pairs=pairs, labels=listed_labels
    )
    return environment


def _position(error: BaseException, *templates: jinja2.Template) -> str:
    """Return file and line of the innermost frame of the traceback that is in one of the templates.

    :param templates: the one whose block was asked for comes first
    """
    position = f"{_shown(templates[0])}:1"
    trace = error.__traceback__
    while trace is not None:
        for template in templates:
            if trace.tb_frame.f_code.co_filename == template.filename:
                position = f"{_shown(template)}:{template.get_corresponding_lineno(trace.tb_lineno)}"
        trace = trace.tb_next
    return position


def _block_position(template: jinja2.Template, block: str) -> str:
    """Return file, line and column of the tag with which a block begins."""
    text = _text(template)
    begin = re.search(rf"{{%[-+]?\s*block\s+{re.escape(block)}\b", text)
    before = text[: begin.start()] if begin else ""
    return f"{_shown(template)}:{before.count(chr(10)) + 1}:{len(before) - before.rfind(chr(10))}"


def _unused_blocks(template: jinja2.Template) -> Iterator[str]:
    """Yield the blocks of a template that no other block of it contains or calls."""
    text = _text(template)
    for node in template.environment.parse(text).body:
        if isinstance(node, jinja2.nodes.Block) and not re.search(rf"\bself\.{re.escape(node.name)}\b", text):
            yield node.name


def _meant(block: str, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(block, known, n=1)
    return f"did you mean {near[0]!r}?" if near else f"the blocks are {', '.join(known)}"


def _text(template: jinja2.Template) -> str:
    """Return the source of a template; empty if the file can't be read any more."""
    try:
        return Path(template.filename or "").read_text()
    except (OSError, UnicodeDecodeError):
        return ""


def _shown(template: jinja2.Template) -> str:
    return _named(template.filename or str(template.name))


def _named(filename: str) -> str:
    """Return the name of a template for people. A shipped template has its path in the project, wherever it is installed."""
    path = Path(filename)
    return f"templates/{path.name}" if path.parent == SHIPPED else filename


__all__ = ["UNREAD", "EmptyBlockError", "TemplateError", "Templates", "Words"]
