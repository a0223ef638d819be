"""Runs unit tests for routes, which are written in YAML: where does an alert go, and when, at a time and while others fire?"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, get_args
from zoneinfo import ZoneInfo

from pydantic import BeforeValidator, Field, TypeAdapter, ValidationInfo, model_validator

from router.channels import REGISTRY, Section
from router.config import Config, ConfigError, Problem, load
from router.config.document import load_text, read_document
from router.config.fragments import TESTS
from router.config.reader import Reader
from router.decide.explanation import Explanation, MatchResult
from router.model import Decision, DecisionKind, Destination, Millis
from router.rules.explain import explain_among
from router.rules.explanation_words import alert_text
from router.rules.inputs import GivenAlert, alert_as_written, printable
from router.rules.moments import InputError, moment_text, parse_moment

Word = Literal["send", "hold", "digest", "inhibited", "drop"]
_DECISION_WORDS = get_args(Word)


def _moment(value: Any, info: ValidationInfo) -> Millis:
    try:
        return parse_moment(value, info.context or ZoneInfo("UTC"))
    except InputError as error:
        raise ValueError(str(error)) from None


def _alert(value: Any) -> GivenAlert:
    if isinstance(value, dict) and not isinstance(value.get("labels"), dict):
        value = _LABELS_ADAPTER.validate_python(
            {name: "" if text is None else text for name, text in value.items()}
        )
    try:
        return alert_as_written(value)
    except InputError as error:
        raise ValueError(str(error)) from None


Moment = Annotated[Millis, BeforeValidator(_moment)]
Alert = Annotated[GivenAlert, BeforeValidator(_alert)]


def _word(value: Any) -> Any:
    if not isinstance(value, str) or value not in _DECISION_WORDS:
        raise ValueError(f"is none of {', '.join(_DECISION_WORDS)}; choose one of them")
    return value


def _decisions(value: Any, info: ValidationInfo) -> Any:
    if isinstance(value, dict):
        return _WANTS_ADAPTER.validate_python(value, context=info.context)
    if not isinstance(value, str) or value not in _DECISION_WORDS:
        todo = "choose one, or write a mapping of destinations to decisions"
        raise ValueError(f"is none of {', '.join(_DECISION_WORDS)}; {todo}")
    return value


class WantModel(Section):
    """What a test expects of one destination."""

    decision: Annotated[Word, BeforeValidator(_word)]
    at: Moment | None = None
    """For ``hold``: the opening. For ``digest``: the slot. Epoch ms."""


def _want(value: Any) -> Any:
    """Return a mapping. A single word is the decision."""
    return value if isinstance(value, dict | WantModel) else {"decision": _word(value)}


Want = Annotated[WantModel, BeforeValidator(_want)]
# Values inside mappings are validated here, so that a mistake has its own position.
_WANTS_ADAPTER = TypeAdapter(dict[str, Want])
_LABELS_ADAPTER = TypeAdapter(dict[str, str])


class AlertModel(Section):
    labels: Alert
    receivers: tuple[str, ...] | None = None
    """The expected receivers of the routes that take the alert, in order."""
    decisions: Annotated[Word | dict[str, Want], BeforeValidator(_decisions)] | None = None
    """The expected decision of every destination; a single word is the decision of all."""
    opens: Moment | None = None
    """The expected time at which held notifications are sent (epoch ms)."""
    inhibited_by: str | None = None
    """The expected inhibit rule: its name, or its position like ``inhibit_rules[0]``."""

    @model_validator(mode="after")
    def _wants_something(self) -> "AlertModel":
        wanted = (self.receivers, self.decisions, self.opens, self.inhibited_by)
        if all(each is None for each in wanted):
            raise ValueError("the test expects nothing; add receivers, decisions, opens or inhibited_by")
        return self


class CaseModel(Section):
    name: Annotated[str, Field(min_length=1)]
    at: Moment
    firing: tuple[Alert, ...] = ()
    """Other alerts that fire at that time."""
    alerts: Annotated[tuple[AlertModel, ...], Field(min_length=1)]


class TestsModel(Section):
    __test__ = False  # for pytest: this class has no tests

    rules: str = "routes.yaml"
    """The path of the rules, relative to the folder of the test file."""
    tests: Annotated[tuple[CaseModel, ...], Field(min_length=1)]


@dataclass(frozen=True, slots=True)
class Outcome:
    """The result of a test for one alert."""

    file: str
    line: int
    test: str
    alert: str
    differences: tuple[str, ...]
    """Lines of a diff: ``- wanted``, ``+ got``; empty: the test passes."""
    because: tuple[str, ...] = ()
    """The reasons of the decisions, if the test fails."""

    def __str__(self) -> str:
        head = f"{self.file}:{self.line}: {self.test}: {self.alert}"
        return "\n".join([head, *(f"    {line}" for line in (*self.differences, *self.because))])


def run_all(config: Path, files: tuple[Path, ...], now: Millis) -> list[Outcome]:
    """Run the tests of these files. Without any, run those of the main file and of the included files: the tests of
    ``NAME.yaml`` are in ``NAME.test.yaml`` in the same folder.

    :raises ConfigError: there are no tests, or the tests or the rules can't be used
    """
    if not files:
        rules = load(config, environ={}, now=now, preview=True)
        in_same_folders = [
            path.with_name(path.stem + TESTS) for path in (config, *(each.file for each in rules.fragments))
        ]
        files = tuple(path for path in dict.fromkeys(in_same_folders) if path.is_file())
    if not files:
        todo = f"write {config.stem}{TESTS} in the same folder, or name the files"
        raise ConfigError([Problem(str(config), 1, 1, "there are no tests for these rules", todo)])
    return [outcome for path in files for outcome in run(path, now)]


def run(path: Path, now: Millis) -> list[Outcome]:
    """Run the tests of a file.

    :param now: epoch ms, to check whether the intervals of the rules ever open
    :raises ConfigError: the tests or the rules can't be used
    """
    try:
        text = load_text(path.read_bytes(), str(path))
    except OSError as error:
        what, todo = f"can't be read: {error.strerror}", "give the path of a file of tests"
        raise ConfigError([Problem(str(path), 1, 1, what, todo)]) from None
    document = read_document(text, str(path), {})
    shape = Reader(document, path.parent).validate(TestsModel, document.data, (), context=ZoneInfo("UTC"))
    if shape is None or document.has_errors:
        raise ConfigError(document.errors, {document.name: document.text})
    config = load(path.parent / shape.rules, environ={}, now=now, preview=True)
    broken = [problem for each in config.fragments for problem in each.problems if not problem.is_warning]
    if broken:
        raise ConfigError(broken, config.texts)
    # Read again, because the moments are in the timezone of the rules.
    tests = TestsModel.model_validate(document.data, context=ZoneInfo(config.timezone))
    return [
        _outcome(config, case, alert, str(path), document.position(("tests", number, "alerts", index))[0])
        for number, case in enumerate(tests.tests)
        for index, alert in enumerate(case.alerts)
    ]


def _outcome(config: Config, case: CaseModel, wanted: AlertModel, file: str, line: int) -> Outcome:
    zone = ZoneInfo(config.timezone)
    others = [each for each in case.firing if each.fingerprint != wanted.labels.fingerprint]
    explanation = explain_among(wanted.labels, config.policy, case.at, others)
    differences = tuple(_differences(wanted, explanation, zone))
    reasons = (
        {f"because of {each.rule}: {each.reason}" for each in explanation.decisions} if differences else set()
    )
    return Outcome(
        file,
        line,
        printable(case.name),
        alert_text(wanted.labels.labels),
        differences,
        tuple(sorted(reasons)),
    )


def _differences(wanted: AlertModel, got: Explanation, zone: ZoneInfo) -> list[str]:
    found: list[str] = []
    if wanted.receivers is not None:
        receivers = [step.route.receiver for step in got.steps if step.result is MatchResult.TAKES]
        found += _differ("receivers: ", ", ".join(wanted.receivers), ", ".join(receivers))
    decisions = {each.destination.key: each for each in got.decisions}
    if wanted.decisions is not None:
        wants = _wants(wanted.decisions, decisions)
        if not decisions and wanted.decisions in ("send", "hold", "digest", "inhibited"):
            found += _differ("decisions: ", str(wanted.decisions), "nothing is sent")
        for key in (*wants, *(key for key in decisions if key not in wants)):
            want, decision = wants.get(key), decisions.get(key)
            at = want is not None and want.at is not None
            found += _differ(
                f"{key}: ",
                "not notified" if want is None else _decision_text(want.decision, want.at, zone),
                "not notified"
                if decision is None
                else _decision_text(decision.kind, decision.at if at else None, zone),
            )
    if wanted.opens is not None:
        openings = sorted(
            {each.at for each in got.decisions if each.kind is DecisionKind.HOLD and each.at is not None}
        )
        found += _differ(
            "opens: ",
            moment_text(wanted.opens, zone),
            ", ".join(moment_text(at, zone) for at in openings) or "nothing is held",
        )
    if wanted.inhibited_by is not None:
        rules = [each.rule.name for each in got.muting if each.source is not None]
        found += _differ("inhibited by: ", wanted.inhibited_by, rules[0] if rules else "nothing")
    return found


def _wants(wanted: Word | Mapping[str, WantModel], decisions: Mapping[str, Decision]) -> dict[str, WantModel]:
    """Return what is expected, by destination key. The name of a channel stands for its only destination."""
    if isinstance(wanted, str):
        return dict.fromkeys(decisions, WantModel.model_construct(decision=wanted, at=None))
    keys: dict[str, WantModel] = {}
    for name, want in wanted.items():
        of_channel = [key for key, decision in decisions.items() if _is_of(decision.destination, name)]
        keys[of_channel[0] if name not in decisions and len(of_channel) == 1 else name] = want
    return keys


def _is_of(destination: Destination, channel: str) -> bool:
    return channel in {destination.channel, REGISTRY[destination.channel].word}


def _decision_text(kind: str, at: Millis | None, zone: ZoneInfo) -> str:
    return str(kind) if at is None else f"{kind} {moment_text(at, zone)}"


def _differ(what: str, wanted: str, got: str) -> list[str]:
    return [] if wanted == got else [f"- {what}{wanted}", f"+ {what}{got}"]


def junit(outcomes: list[Outcome]) -> bytes:
    """Return a report as CI servers read it: https://github.com/testmoapp/junitxml"""
    from xml.etree import ElementTree as ET  # noqa: PLC0415  (it takes 10 ms, and most runs write no report)

    failed = sum(bool(each.differences) for each in outcomes)
    counts = {"tests": str(len(outcomes)), "failures": str(failed), "errors": "0"}
    root = ET.Element("testsuites", counts)
    for file in dict.fromkeys(each.file for each in outcomes):
        mine = [each for each in outcomes if each.file == file]
        counts = {
            "tests": str(len(mine)),
            "failures": str(sum(bool(each.differences) for each in mine)),
            "errors": "0",
        }
        suite = ET.SubElement(root, "testsuite", {"name": file, **counts})
        for each in mine:
            name = f"{each.test}: {each.alert}"
            case = ET.SubElement(
                suite, "testcase", {"name": name, "classname": file, "file": file, "line": str(each.line)}
            )
            if each.differences:
                failure = ET.SubElement(case, "failure", {"message": each.differences[0]})
                failure.text = str(each)
    ET.indent(root)
    body: bytes = ET.tostring(root, encoding="utf-8", xml_declaration=True)
    return body + b"\n"
