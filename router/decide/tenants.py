"""Tenants: the teams or customers whose alerts are counted apart. The value of one label names the tenant of an alert."""

from collections.abc import Mapping
from dataclasses import dataclass

from router.decide.matchers import Matcher

OTHER = "other"
"""The tenant of alerts whose label has a value that is not in the configuration."""
WITHOUT = "none"
"""The tenant of alerts without the label."""
RESERVED_TENANTS = (OTHER, WITHOUT)


@dataclass(frozen=True, slots=True)
class Tenants:
    """Which label names the tenant, and which values count under their own names. There are never more tenants."""

    label: str | None = None
    """None: no tenants are configured."""
    named: tuple[str, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """All tenants, in the order of the configuration; empty: none are configured."""
        return () if self.label is None else (*self.named, *RESERVED_TENANTS)

    def of(self, labels: Mapping[str, str]) -> str:
        """Return the tenant of an alert; empty: no tenants are configured."""
        if self.label is None:
            return ""
        value = labels.get(self.label, "")
        if not value:
            return WITHOUT
        return value if value in self.named else OTHER

    def matchers(self, tenant: str) -> str:
        """Return matchers of the alerts of a tenant, as lists of alerts take them; empty: no tenants are configured."""
        if self.label is None:
            return ""
        if tenant == WITHOUT:
            return str(Matcher(self.label, "=", ""))
        if tenant != OTHER:
            return str(Matcher(self.label, "=", tenant))
        others = [str(Matcher(self.label, "!=", each)) for each in self.named]
        return ",".join([str(Matcher(self.label, "!=", "")), *others])
