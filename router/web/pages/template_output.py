"""Writes the values of templates into pages: escaped, and without characters that could deceive a reader.

Jinja's own code calls three functions for each value and wraps each result. A page has thousands of values, so this is done
by one function here. https://jinja.palletsprojects.com/en/stable/api/#jinja2.Environment.code_generator_class
"""

import re
from typing import Any

from jinja2 import nodes
from jinja2.compiler import CodeGenerator, Frame
from markupsafe import Markup, escape

from router.render.words import clean

_SPECIAL = re.compile("[&<>\"']")


def html_of(value: Any) -> str:
    """Return a value as HTML. Markup stays; every other value is cleaned and escaped.

    :raises UndefinedError: the template names something that is not there
    """
    kind = type(value)
    if kind is str:
        text = value if value.isprintable() else clean(value)
        return str(escape(text)) if _SPECIAL.search(text) else text
    if kind is int:
        return str(value)
    if isinstance(value, str) and not isinstance(value, Markup):
        return html_of(str(value))
    return str(escape(value))


class OutputGenerator(CodeGenerator):
    """Compiles templates so that :func:`html_of`, the environment's ``finalize``, alone makes each value to HTML."""

    def _output_child_pre(self, node: nodes.Expr, frame: Frame, finalize: Any) -> None:
        if frame.eval_ctx.volatile or finalize.src is None:
            super()._output_child_pre(node, frame, finalize)
        else:
            self.write(finalize.src)

    def _output_child_post(self, node: nodes.Expr, frame: Frame, finalize: Any) -> None:
        if frame.eval_ctx.volatile or finalize.src is None:
            super()._output_child_post(node, frame, finalize)
        else:
            self.write(")")
