"""docs/channels.md has a section for every channel: an example that loads, its keys, its default limits."""

import json
import re
from pathlib import Path

import pytest
from click.testing import CliRunner
from pydantic import BaseModel

from router.channels import REGISTRY, ChannelSettings, ChannelSpec, DestinationOptions
from router.channels.base import StormOptions
from router.cli import main
from router.model import Rate
from tests.unit.docs.pages import ROOT, headings, model_keys, names, rows, section

PAGE = "docs/channels.md"
SHARED = "What all channels share"
PARAGRAPHS = {
    "Set-up": "how to get each credential at the vendor, in numbered steps",
    "Limits": "where the default limits come from, with the vendor's URL, and which calls count",
    "What arrives": "one message each, edits, a thread or replies, and what causes a notification",
    "Long texts": "what happens to texts and alerts that exceed the provider's limits",
    "Refusals": "which answers of the provider are temporary, wait, refused or broken, and what a lost answer does",
    "From alertmanager.yml": "what the import makes of Alertmanager's receivers of this kind, if there are any",
    "Template": "the template of its texts, with a link to docs/templates.md, or why it has none",
}
"""The paragraphs of every section, and what they say. A channel with storms also has a paragraph "Storms"."""
_SETTINGS_EVERYWHERE = {"give_up_after", "alert_after"}
_OPTIONS_EVERYWHERE = {"on_failure", "send_resolved"}
_EVERY_CHANNEL = pytest.mark.parametrize("spec", REGISTRY.values(), ids=REGISTRY.keys())


def heading_of(spec: ChannelSpec) -> str:
    return spec.title or spec.name


def section_of(spec: ChannelSpec) -> str:
    assert heading_of(spec) in headings(PAGE), (
        f"{PAGE} has no section `## {heading_of(spec)}`. Write one like those of the others: what the channel is, an "
        f"example of routes.yaml, a table `{settings_head(spec)}`, a table `{options_head(spec)}` (columns: key, type, "
        f"default, meaning), and the paragraphs {', '.join(f'**{name}.**' for name in PARAGRAPHS)}."
    )
    return section(PAGE, heading_of(spec))


def settings_head(spec: ChannelSpec) -> str:
    return f"key of `channels.{spec.section}`"


def options_head(spec: ChannelSpec) -> str:
    article = "an" if spec.word[0] in "aeiou" else "a"
    return f"key of {article} `{spec.word}` destination"


def defaults(markdown: str, head: str) -> dict[str, str]:
    """Return the cells of the column "default", by key."""
    return {key: default for first, _, default, _ in rows(markdown, head) for key in names(first)}


def shown_limit(limit: Rate | int | None) -> str:
    return "no limit" if limit is None else f"`{limit}`" if isinstance(limit, Rate) else str(limit)


def required(model: type[BaseModel]) -> set[str]:
    return {field.alias or name for name, field in model.model_fields.items() if field.is_required()}


def wrong_keys(spec: ChannelSpec, head: str, model: type[BaseModel]) -> str:
    return (
        f"the section {heading_of(spec)} of {PAGE} needs a table `| {head} | type | default | meaning |` with exactly "
        f"the keys of {model.__name__}; those of all channels stand under {SHARED!r}"
    )


def test_the_shared_keys_are_those_of_every_channel() -> None:
    shared = section(PAGE, SHARED)
    settings = defaults(shared, "key of every section of `channels:`")
    assert settings.keys() == model_keys(ChannelSettings)
    assert settings.keys() >= _SETTINGS_EVERYWHERE
    options = defaults(shared, "key of every destination")
    assert options.keys() == model_keys(DestinationOptions)
    assert options.keys() >= _OPTIONS_EVERYWHERE


def test_no_section_is_about_an_unknown_channel() -> None:
    known = {"Channels", SHARED, *map(heading_of, REGISTRY.values())}
    assert set(headings(PAGE)) == known


@_EVERY_CHANNEL
def test_a_section_has_every_paragraph(spec: ChannelSpec) -> None:
    described = section_of(spec)
    for name, about in PARAGRAPHS.items():
        assert f"\n**{name}.**" in described, (
            f"the section {heading_of(spec)} of {PAGE} has no paragraph `**{name}.**`. Write there: {about}."
        )
    has_storms = spec.storm_every is not None
    assert ("\n**Storms.**" in described) is has_storms, f"say under {heading_of(spec)} what a storm is there"
    assert ("There are no storms" in described) is not has_storms


@_EVERY_CHANNEL
def test_the_example_of_a_section_passes_check(spec: ChannelSpec, tmp_path: Path) -> None:
    examples = re.findall(r"```yaml\n(.*?)```", section_of(spec), re.DOTALL)
    assert len(examples) == 1, (
        f"the section {heading_of(spec)} of {PAGE} needs one example of a whole routes.yaml"
    )
    assert f"- {spec.word}: {{" in examples[0]
    assert spec.section_is_optional or f"\n  {spec.section}:" in examples[0]
    (tmp_path / "routes.yaml").write_text(examples[0])
    unset = dict.fromkeys(re.findall(r"\$\{(\w+)\}", examples[0]))
    checked = CliRunner().invoke(main, ["check", "--json", "--config", f"{tmp_path}/routes.yaml"], env=unset)
    assert checked.exit_code == 0, checked.output
    kinds = {problem["kind"] for problem in json.loads(checked.output)["problems"]}
    assert kinds <= {"no-credentials"} | ({"limited"} if spec.limitation else set()), checked.output


@_EVERY_CHANNEL
def test_the_settings_of_a_channel_are_listed(spec: ChannelSpec) -> None:
    if spec.name != spec.section:  # another channel has the section
        return
    listed = defaults(section_of(spec), settings_head(spec))
    expected = model_keys(spec.settings) - _SETTINGS_EVERYWHERE
    assert listed.keys() == expected, wrong_keys(spec, settings_head(spec), spec.settings)
    assert {key for key, default in listed.items() if default == "required"} == required(spec.settings)
    assert listed["rate"] == shown_limit(spec.shared.rate)
    assert listed.get("edit_rate", "no limit") == shown_limit(spec.shared.edit_rate)
    assert listed["max_concurrency"] == shown_limit(spec.shared.max_concurrency)


@_EVERY_CHANNEL
def test_the_options_of_a_channel_are_listed(spec: ChannelSpec) -> None:
    listed = defaults(section_of(spec), options_head(spec))
    expected = model_keys(spec.options) - _OPTIONS_EVERYWHERE
    assert listed.keys() == expected, wrong_keys(spec, options_head(spec), spec.options)
    assert {key for key, default in listed.items() if default == "required"} == required(spec.options)
    assert listed["rate"].startswith(shown_limit(spec.limits.rate))
    has_storms = spec.storm_every is not None  # then one delivery at a time is under way
    limit = "always 1" if has_storms else shown_limit(spec.limits.max_concurrency)
    assert listed["max_concurrency"] == limit
    if issubclass(spec.options, StormOptions):
        assert listed["storm_above"] == str(spec.limits.storm_above)


@_EVERY_CHANNEL
def test_a_section_names_the_receivers_of_alertmanager(spec: ChannelSpec) -> None:
    if spec.importer is not None:
        named = {spec.importer.configs_key, *spec.importer.retired_keys}
        assert [key for key in named if f"`{key}`" not in section_of(spec)] == []


@_EVERY_CHANNEL
def test_a_section_names_its_templates(spec: ChannelSpec) -> None:
    own = {each.name for each in ROOT.glob("templates/*.j2") if each.name.split(".")[0] == spec.name}
    stormy = {"storm.txt.j2"} if spec.storm_every is not None else set()
    assert [name for name in own | stormy if name not in section_of(spec)] == []
