"""docs/configuration.md has the keys of routes.yaml, section by section, no more and no less."""

import pytest
from pydantic import BaseModel
from ruamel.yaml import YAML

from router.channels import Section
from router.config import access_models, models, watch_models
from router.config.problems import Trap
from tests.unit.docs.pages import first_names, model_keys, section

PAGE = "docs/configuration.md"
SECTIONS: dict[str, tuple[type[BaseModel], ...]] = {
    "The whole file": (models.FileModel,),
    "severity": (models.SeverityModel,),
    "sources": (models.SourceModel,),
    "users": (access_models.UserModel,),
    "web": (access_models.WebModel, access_models.TrustedProxyModel),
    "network": (models.NetworkModel,),
    "time_intervals": (
        models.TimeIntervalModel, models.IntervalModel, models.TimesModel, models.HolidaysModel,
    ),
    "route": (models.RouteModel,),
    "inhibit_rules": (models.InhibitModel,),
    "heartbeats": (watch_models.HeartbeatModel,),
    "deadman": (watch_models.DeadmanModel,),
    "drill": (models.DrillModel,),
    "retention": (models.RetentionModel,),
}  # fmt: skip
_ELSEWHERE = {
    access_models.SourceAuthModel,
    models.BasicAuthModel,
    models.AlertmanagerAuth,
    models.FragmentModel,
}


@pytest.mark.parametrize("heading", SECTIONS)
def test_a_section_lists_exactly_the_keys_of_its_models(heading: str) -> None:
    documented = first_names(section(PAGE, heading), "key")
    assert sorted(documented) == sorted(model_keys(*SECTIONS[heading]))


def test_every_model_of_the_file_has_a_section() -> None:
    known = {each for several in SECTIONS.values() for each in several} | _ELSEWHERE
    modules = (models, access_models, watch_models)
    everything = [each for module in modules for each in vars(module).values() if isinstance(each, type)]
    found = {each for each in everything if issubclass(each, Section)}
    assert {each for each in found if each.__module__ in {module.__name__ for module in modules}} == known


def test_credentials_are_described_where_they_are_used() -> None:
    described = section(PAGE, "sources")
    used = model_keys(access_models.SourceAuthModel, models.BasicAuthModel, models.AlertmanagerAuth)
    assert [key for key in used if f"`{key}`" not in described] == []


def test_the_example_of_a_team_has_every_key_of_its_file() -> None:
    example = section("docs/rules.md", "Teams").split("```yaml\n# teams/payments.yaml\n")[1].split("```")[0]
    assert set(YAML(typ="safe").load(example)) == model_keys(models.FragmentModel)


def test_the_warnings_of_check_are_listed() -> None:
    assert sorted(first_names(section("docs/rules.md", "check"), "kind")) == sorted(Trap)
