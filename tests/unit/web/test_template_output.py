"""How the values of templates get into pages."""

import jinja2
import pytest
from markupsafe import Markup, escape

from router.web.pages.page_rendering import PageEnvironment
from router.web.pages.template_output import html_of


class Word(str):
    """A text of a class of its own."""

    __slots__ = ()


def rendered(template: str, **values: object) -> str:
    environment = PageEnvironment(
        loader=jinja2.DictLoader({"t": template, "m": "{% macro show(x) %}<b>{{ x }}</b>{% endmacro %}"}),
        undefined=jinja2.StrictUndefined, finalize=html_of, autoescape=True,
    )  # fmt: skip
    return environment.get_template("t").render(values)


@pytest.mark.parametrize("value", ["plain", "<b>&\"'", Word("<i>"), 7, 7.5, True, None, ["<"], Markup("<b>")])
def test_a_value_is_written_as_markupsafe_escapes_it(value: object) -> None:
    assert rendered("{{ x }}", x=value) == str(escape(value))


def test_what_could_deceive_is_removed() -> None:
    assert rendered("{{ x }}", x="a\x00b\u202ec<") == "a bc&lt;"


@pytest.mark.parametrize(
    "template",
    [
        "{% import 'm' as m %}{{ m.show(x) }}",
        "{% set y %}<b>{{ x }}</b>{% endset %}{{ y }}",
        "{% macro show(x) %}<b>{{ x }}</b>{% endmacro %}{{ show(x) }}",
        "{% macro show() %}<b>{{ caller() }}</b>{% endmacro %}{% call show() %}{{ x }}{% endcall %}",
        "{% block b %}<b>{{ x }}</b>{% endblock %}",
        "<b>{{ x | join(',') if x is not string else x }}</b>",
        "<b>{{ 'a' ~ x | replace('a', '<') if false else x }}</b>",
    ],
)
def test_a_value_is_escaped_exactly_once(template: str) -> None:
    assert rendered(template, x="<&>") == "<b>&lt;&amp;&gt;</b>"


def test_texts_that_are_put_together_are_escaped() -> None:
    assert (
        rendered("{{ '<' ~ x }}{{ 'a<' }}{{ [x, x] | join('<') }}", x="&") == "&lt;&amp;a&lt;&amp;&lt;&amp;"
    )


def test_a_name_that_is_missing_is_an_error() -> None:
    with pytest.raises(jinja2.UndefinedError):
        rendered("{{ missing }}")
