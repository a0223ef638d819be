"""The models of ``slo:`` and ``tenants:`` in routes.yaml."""

from decimal import Decimal, InvalidOperation
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, field_validator

from router.channels.base import Duration, Section
from router.decide.tenants import RESERVED_TENANTS
from router.model import DAY, Millis, Objective, Targets

MAX_TENANTS = 200
"""Each tenant is a label of metrics and a row of each hour."""
_MIN_WINDOW, _MAX_WINDOW = DAY, 366 * DAY
_MAX_DECIMALS = 4


def _percent(value: Any) -> Decimal:
    """Return a percentage. :raises ValueError: it is none, or leaves no error budget"""
    text = str(value).strip().removesuffix("%").strip()
    try:
        percent = None if isinstance(value, bool) else Decimal(text)
    except InvalidOperation:
        percent = None
    if percent is None or not percent.is_finite():
        raise ValueError("is not a percentage; write it like 99.9")
    if not 0 < percent < 100:
        raise ValueError("leaves no error budget, or asks for nothing; write more than 0 and less than 100")
    if -int(percent.as_tuple().exponent) > _MAX_DECIMALS:
        raise ValueError(f"has too many digits; write at most {_MAX_DECIMALS} after the point")
    return percent


Percent = Annotated[Decimal, BeforeValidator(_percent)]
_DEFAULTS = Targets()


class TenantTargetsModel(Section):
    """The targets of one tenant. A target that is left out is that of all."""

    urgent_in_time: Percent | None = None
    in_time: Percent | None = None
    delivered: Percent | None = None

    @property
    def percents(self) -> dict[Objective, Decimal]:
        """The given targets."""
        given = self.model_dump()
        return {Objective(name): value for name, value in given.items() if value is not None}


class TargetsModel(Section):
    window: Duration = _DEFAULTS.window
    accepted: Percent = _DEFAULTS.percents[Objective.ACCEPTED]
    answered: Percent = _DEFAULTS.percents[Objective.ANSWERED]
    urgent_in_time: Percent = _DEFAULTS.percents[Objective.URGENT_IN_TIME]
    in_time: Percent = _DEFAULTS.percents[Objective.IN_TIME]
    delivered: Percent = _DEFAULTS.percents[Objective.DELIVERED]

    @field_validator("window")
    @classmethod
    def _bounded(cls, window: Millis) -> Millis:
        if not _MIN_WINDOW <= window <= _MAX_WINDOW:
            raise ValueError("is out of bounds; write 1d to 366d")
        return window

    @property
    def percents(self) -> dict[Objective, Decimal]:
        return {each: getattr(self, each) for each in Objective}


class TenantModel(Section):
    name: Annotated[str, Field(min_length=1, max_length=64)]
    slo: TenantTargetsModel = TenantTargetsModel()

    @field_validator("name")
    @classmethod
    def _free(cls, name: str) -> str:
        if name in RESERVED_TENANTS:
            raise ValueError(
                f"{name!r} is reserved: it counts alerts of no listed tenant; list other values only"
            )
        if not name.isprintable():
            raise ValueError("has characters that can't be shown; write the value of the label")
        return name
