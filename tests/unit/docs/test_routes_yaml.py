"""docs/configuration.md has the keys of routes.yaml, section by section, no more and no less."""

from typing import Any

import pytest
from pydantic import BaseModel
from ruamel.yaml import YAML

from router.channels import REGISTRY, Section
from router.channels.base import ChannelSettings, DestinationOptions, EditSettings, StormOptions
from router.config import models
from router.config.problems import Trap
from tests.unit.docs.pages import first_names, names, rows, section

PAGE = "docs/configuration.md"
SECTIONS: dict[str, tuple[type[BaseModel], ...]] = {
    "The whole file": (models.FileModel,),
    "severity": (models.SeverityModel,),
    "sources": (models.SourceModel,),
    "network": (models.NetworkModel,),
    "time_intervals": (
        models.TimeIntervalModel, models.IntervalModel, models.TimesModel, models.HolidaysModel,
    ),
    "route": (models.RouteModel,),
    "inhibit_rules": (models.InhibitModel,),
    "retention": (models.RetentionModel,),
}  # fmt: skip
_ELSEWHERE = {models.BasicAuthModel, models.AlertmanagerAuth, models.FragmentModel}


def keys(*of: type[BaseModel]) -> set[str]:
    return {field.alias or name for model in of for name, field in model.model_fields.items()}


@pytest.mark.parametrize("heading", SECTIONS)
def test_a_section_lists_exactly_the_keys_of_its_models(heading: str) -> None:
    documented = first_names(section(PAGE, heading), "key")
    assert sorted(documented) == sorted(keys(*SECTIONS[heading]))


def test_every_model_of_the_file_has_a_section() -> None:
    known = {each for several in SECTIONS.values() for each in several} | _ELSEWHERE
    found = {each for each in vars(models).values() if isinstance(each, type) and issubclass(each, Section)}
    assert {each for each in found if each.__module__ == models.__name__} == known


def test_credentials_are_described_where_they_are_used() -> None:
    described = section(PAGE, "sources")
    used = keys(models.BasicAuthModel, models.AlertmanagerAuth)
    assert [key for key in used if f"`{key}`" not in described] == []


def test_the_example_of_a_team_has_every_key_of_its_file() -> None:
    example = section("docs/rules.md", "Teams").split("```yaml\n# teams/payments.yaml\n")[1].split("```")[0]
    assert set(YAML(typ="safe").load(example)) == keys(models.FragmentModel)


def common_settings() -> set[str]:
    return keys(ChannelSettings, EditSettings)


def test_the_channels_section_lists_exactly_the_settings() -> None:
    documented = first_names(section(PAGE, "channels"), "key")
    own = {
        f"{spec.section}.{key}"
        for spec in REGISTRY.values()
        for key in keys(spec.settings) - common_settings()
    }
    assert sorted(documented) == sorted(own | common_settings())


def test_the_receivers_section_lists_exactly_the_options() -> None:
    documented: dict[str, set[str]] = {}
    channel = ""
    for row in rows(section(PAGE, "receivers"), "destination"):
        channel = (names(row[0]) or [channel])[0]
        documented.setdefault(channel, set()).update(names(row[1]))
    common = keys(DestinationOptions, StormOptions)
    own = {name: keys(spec.options) - common for name, spec in REGISTRY.items()}
    assert documented == own, f"{PAGE}, receivers"
    assert set(first_names(section(PAGE, "receivers"), "key")) == common


def test_the_table_of_rates_has_the_defaults_of_every_channel() -> None:
    def burst_and_rate(rate: Any) -> str:
        units = {1_000: "s", 60_000: "m", 3_600_000: "h"}
        return f"`{rate.limit}/{units[rate.per]} burst {rate.burst}`"

    table = {names(row[0])[0]: row[1:] for row in rows(section(PAGE, "Rates"), "channel")}
    assert table.keys() == REGISTRY.keys(), f"{PAGE}, Rates"
    for name, spec in REGISTRY.items():
        rate, concurrency, _ = table[name]
        expected = "none" if spec.limits.rate is None else burst_and_rate(spec.limits.rate)
        assert rate.startswith(expected), name
        assert concurrency == str(spec.limits.max_concurrency), name


def test_the_warnings_of_check_are_listed() -> None:
    assert sorted(first_names(section("docs/rules.md", "check"), "kind")) == sorted(Trap)
