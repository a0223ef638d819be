"""The models of routes.yaml. Alertmanager's keys have the meaning that they have in Alertmanager."""

from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    WithJsonSchema,
    model_validator,
)

from router.channels.base import Duration, Section, TimeOfDay, is_placeholder
from router.config.access_models import SourceAuthModel, UserModel, WebModel
from router.config.fields import (
    AskEvery,
    DayOfMonth,
    Equals,
    Flag,
    LabelName,
    Matchers,
    MinuteOfDay,
    Month,
    NamedZone,
    OutsideHours,
    Patterns,
    PeerAddresses,
    Regexes,
    Repeat,
    Size,
    Weekday,
    Year,
    Zone,
    minute_of_day,
)
from router.config.objective_models import MAX_TENANTS, TargetsModel, TenantModel
from router.config.telemetry_models import SentryModel, TracingModel
from router.config.watch_models import DeadmanModel, HeartbeatModel, SilentAfter
from router.model import DAY, HOUR, MINUTE, SECOND, Millis, Retention
from router.network import ProxyException, check_proxy_url, parse_exception


class SeverityModel(Section):
    label: LabelName = "severity"
    levels: tuple[Annotated[str, Field(min_length=1)], ...] = Field(
        ("critical", "warning", "info"), min_length=1
    )
    default: str | None = None

    @model_validator(mode="after")
    def _known_default(self) -> "SeverityModel":
        folded = [level.strip().casefold() for level in self.levels]
        if len(set(folded)) < len(folded):
            raise ValueError("a level is in levels twice; keep one of them")
        if self.default is not None and self.default.strip().casefold() not in folded:
            raise ValueError(f"the default {self.default!r} is none of the levels; choose one of them")
        return self


class BasicAuthModel(Section):
    username: str
    password: SecretStr


class AlertmanagerAuth(Section):
    model_config = ConfigDict(
        json_schema_extra={"oneOf": [{"required": ["bearer_token"]}, {"required": ["basic_auth"]}]}
    )

    bearer_token: SecretStr | None = None
    basic_auth: BasicAuthModel | None = None


class SourceModel(Section):
    model_config = ConfigDict(
        json_schema_extra={
            "not": {"required": ["bearer_token", "basic_auth"]},
            "dependencies": {"alertmanager_auth": ["alertmanager_url"]},
        }
    )

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9_.-]{1,64}$")]
    bearer_token: SecretStr | None = None
    basic_auth: SourceAuthModel | None = None
    alertmanager_url: PeerAddresses | None = None
    """The address of each peer. The router asks them which alerts still fire."""
    alertmanager_auth: AlertmanagerAuth | None = None
    ask_every: AskEvery = MINUTE
    gone_after: Duration = 5 * MINUTE
    """How long an alert must be missing in Alertmanager before it counts as ended. A restarted Alertmanager knows no
    alerts until Prometheus sends them again, one or two minutes later.
    """
    silent_after: SilentAfter = 0
    """After how long without an accepted webhook the source is reported as silent; 0: never."""
    silent_receiver: str | None = None
    """The receiver that is notified of its silence; without it, the operators, or whom the routes name."""


class TimesModel(Section):
    start_time: TimeOfDay
    end_time: TimeOfDay

    @model_validator(mode="after")
    def _in_order(self) -> "TimesModel":
        if minute_of_day(self.start_time) >= minute_of_day(self.end_time):
            entries = ", ".join(
                f'{{start_time: "{start}", end_time: "{end}"}}'
                for start, end in ((self.start_time, "24:00"), ("00:00", self.end_time))
            )
            raise ValueError(
                f"it ends before it starts; for a night write two entries, {entries} "
                "(note that the morning belongs to the next weekday)"
            )
        return self


class IntervalModel(Section):
    """An entry of a time interval. A field that is left out is not a condition. A field that is an empty list never
    matches.
    """

    times: tuple[TimesModel, ...] | None = None
    weekdays: tuple[Weekday, ...] | None = None
    days_of_month: tuple[DayOfMonth, ...] | None = None
    months: tuple[Month, ...] | None = None
    years: tuple[Year, ...] | None = None
    location: Zone | None = None


# `sentry:` without a value switches it on, with the settings of the environment.
OptionalSentry = Annotated[SentryModel | None, BeforeValidator(lambda value: {} if value is None else value)]
OptionalTracing = Annotated[
    TracingModel | None, BeforeValidator(lambda value: {} if value is None else value)
]
# As in Alertmanager, an empty entry has no conditions: it always matches.
Entry = Annotated[IntervalModel, BeforeValidator(lambda value: {} if value is None else value)]


class HolidaysModel(Section):
    country: str | None = None
    subdivision: str | None = None
    dates: tuple[str, ...] = ()


class TimeIntervalModel(Section):
    name: Annotated[str, Field(min_length=1)]
    time_intervals: tuple[Entry, ...] = ()
    holidays: HolidaysModel | None = None


class RouteModel(Section):
    receiver: str | None = None
    """The name of the receiver; without it, that of the route above."""
    severity: str | None = None
    """Takes only alerts of this level."""
    matchers: Matchers = ()
    """Takes only alerts that all matchers match, such as team="db"."""
    match: Equals = ()
    match_re: Regexes = ()
    continue_: Flag = Field(default=False, alias="continue")
    """Whether the routes after this one are asked as well."""
    active_time_intervals: tuple[str, ...] = ()
    """The hours in which destinations are notified for the first time."""
    mute_time_intervals: tuple[str, ...] = ()
    """The hours in which they are not."""
    outside: OutsideHours = "hold"
    """What becomes of an alert outside the hours."""
    routes: tuple["RouteModel", ...] = ()
    """The routes below this one; the first that takes an alert decides."""
    # Alertmanager groups alerts before it posts them. These keys are accepted so that its routes can be pasted.
    group_by: tuple[LabelName, ...] | None = None
    group_wait: Duration | None = None
    group_interval: Duration | None = None
    repeat_interval: Duration | None = None
    labels: dict[str, Annotated[str, Field(min_length=0)]] = Field(default={})
    repeat: Repeat | None = None
    mount: str | None = None
    """The name of the included file whose routes are placed here."""

    @property
    def has_conditions(self) -> bool:
        """Whether it restricts which alerts it takes."""
        return bool(self.matchers or self.match or self.match_re or self.severity)


class InhibitModel(Section):
    model_config = ConfigDict(
        json_schema_extra={
            "allOf": [
                {"anyOf": [{"required": [f"{side}_{form}"]} for form in ("matchers", "match", "match_re")]}
                for side in ("source", "target")
            ]
        }
    )

    name: str | None = None
    source_matchers: Matchers = ()
    target_matchers: Matchers = ()
    source_match: Equals = ()
    target_match: Equals = ()
    source_match_re: Regexes = ()
    target_match_re: Regexes = ()
    equal: tuple[LabelName, ...] = ()

    @model_validator(mode="after")
    def _both_sides(self) -> "InhibitModel":
        for side in ("source", "target"):
            if not any(getattr(self, f"{side}_{form}") for form in ("matchers", "match", "match_re")):
                raise ValueError(f"the rule has no {side}_matchers and would mute everything; add them")
        return self


class RetentionModel(Section):
    history: Duration = Retention().history
    webhooks: Duration = Retention().webhooks
    messages: Duration = Retention().messages
    quarantine_rows: Annotated[int, Field(ge=1, le=1_000_000)] = Retention().quarantine_rows
    quarantine_bytes: Size = Retention().quarantine_bytes

    @model_validator(mode="after")
    def _long_enough(self) -> "RetentionModel":
        # A weekly digest looks back a week, which is an hour longer where the clocks change.
        if self.history < 8 * DAY:
            raise ValueError("history is shorter than a weekly digest looks back; write 8d or more")
        return self


def _proxy_url(secret: SecretStr) -> SecretStr:
    text = secret.get_secret_value()
    if not is_placeholder(text):
        check_proxy_url(text)
    return secret


def _test_timeout(span: Millis) -> Millis:
    if not SECOND <= span <= HOUR:
        raise ValueError("is not between 1s and 1h")
    return span


class NetworkModel(Section):
    """How the router reaches providers, smarthosts and Alertmanagers."""

    ca_file: str | None = None
    """A PEM file, relative to the folder of this file. Its certificates are trusted in addition to the system's."""
    proxy_url: Annotated[SecretStr, AfterValidator(_proxy_url)] | None = None
    """The proxy of all connections. It replaces the proxies of the environment. It may contain a user and a password.
    """
    no_proxy: (
        tuple[
            Annotated[ProxyException, BeforeValidator(parse_exception), WithJsonSchema({"type": "string"})],
            ...,
        ]
        | None
    ) = None
    """Servers that are reached without the proxy. It replaces NO_PROXY of the environment."""


class DrillModel(Section):
    """``drill:`` tests of receivers by a schedule."""

    at: MinuteOfDay
    weekdays: tuple[Weekday, ...] | None = Field(None, min_length=1)
    timezone: NamedZone | None = None
    receivers: tuple[str, ...] = Field(min_length=1, max_length=100)
    severity: str | None = None
    timeout: Annotated[Duration, AfterValidator(_test_timeout)] = 5 * MINUTE
    report_to: str | None = None


class FileModel(Section):
    """The whole of routes.yaml. The models of the channels read ``channels`` and ``receivers``."""

    include: Patterns = ()
    """Patterns of the files of teams, relative to the folder of this file."""
    timezone: NamedZone = "UTC"
    """The time zone of times in messages, and of every schedule without its own."""
    severity: SeverityModel = SeverityModel()
    """The label that says how urgent an alert is, and its values, the most urgent first."""
    sources: tuple[SourceModel, ...] = ()
    """Who may post webhooks; none: only this machine."""
    users: tuple[UserModel, ...] = ()
    """Who may read pages and act; none: only this machine."""
    web: WebModel = WebModel()
    """The host names of the router, and a proxy that names the users."""
    channels: dict[str, Any] = Field(default={})
    """How to reach each provider: one section for each."""
    receivers: dict[str, Any] = Field(default={}, min_length=1)
    """The destinations to notify, by name."""
    time_intervals: tuple[TimeIntervalModel, ...] = ()
    """Business hours, as in alertmanager.yml."""
    operators: str | None = None
    """The receiver that is notified of broken destinations; without it, the routes decide."""
    heartbeats: tuple[HeartbeatModel, ...] = ()
    deadman: DeadmanModel | None = None
    drill: DrillModel | None = None
    route: RouteModel
    """Which receiver gets which alert: a tree, as in alertmanager.yml."""
    inhibit_wait: Duration = 5 * SECOND
    """How long an alert that may be inhibited waits for its inhibitor before its first notification."""
    stale_after: Duration | None = None
    """After this time without a repeat an alert has ended; 0: never."""
    inhibit_rules: tuple[InhibitModel | None, ...] = ()
    """Which alerts mute which others, as in alertmanager.yml."""
    retention: RetentionModel = RetentionModel()
    """How long finished data is kept."""
    network: NetworkModel = NetworkModel()
    """The proxy through which other servers are reached, and trusted certificate authorities."""
    slo: TargetsModel = TargetsModel()
    tenant_label: LabelName | None = None
    """The label whose value names the tenant of an alert."""
    tenants: Annotated[tuple[TenantModel, ...], Field(max_length=MAX_TENANTS)] = ()
    """The values of the label that count under their own names. All others count together."""
    sentry: OptionalSentry = None
    tracing: OptionalTracing = None
    templates: str | None = None
    """A folder, relative to the folder of this file. Its templates replace the shipped ones of the same name."""


class FragmentModel(Section):
    """An included file of a team: its receivers, its time intervals, and the routes below its mount point."""

    receivers: dict[str, Any] = Field(default={})
    time_intervals: tuple[TimeIntervalModel, ...] = ()
    route: RouteModel
