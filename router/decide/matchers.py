from dataclasses import dataclass

from router.model import Labels


class MatcherError(ValueError): ...


@dataclass(frozen=True, slots=True)
class Matcher:
    name: str
    op: str
    value: str

    def matches(self, labels: Labels) -> bool: ...


def parse_matchers(text: str) -> tuple[Matcher, ...]: ...
