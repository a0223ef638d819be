"""The drawing of who holds what, as numbers for its template."""

from dataclasses import dataclass

from router.render.words import clip
from router.web.api.replica_endpoint import ReplicasAnswer

# Lengths are in units of the SVG, which has about one unit for a pixel of a phone.
_WIDTH, _BOX_WIDTH, _BOX_HEIGHT, _GAP = 340, 140, 26, 8
_MAX_CHARS = 20
_MAX_BOXES = 40
"""A drawing of more boxes in a column says nothing that the tables do not say better."""


@dataclass(frozen=True, slots=True)
class DrawnBox:
    """A replica or a lease."""

    words: str
    y: int
    kind: str
    """``this``, ``replica`` or ``stopped``; ``held`` or ``free``."""


@dataclass(frozen=True, slots=True)
class ReplicaDrawing:
    """Replicas on the left, leases on the right, and a line between a replica and each lease that it holds."""

    width: int
    height: int
    box_width: int
    box_height: int
    leases_x: int
    replicas: tuple[DrawnBox, ...]
    leases: tuple[DrawnBox, ...]
    lines: tuple[tuple[int, int], ...]
    """The heights at which each line begins and ends."""


def draw_replicas(found: ReplicasAnswer) -> ReplicaDrawing | None:
    """Return the drawing; None: there is nothing to draw, or too much."""
    most = max(len(found.replicas), len(found.leases))
    if not found.leases or most > _MAX_BOXES:
        return None
    height = most * (_BOX_HEIGHT + _GAP) - _GAP
    replica_heights = _heights(len(found.replicas), height)
    lease_heights = _heights(len(found.leases), height)
    at = {each.id: y for each, y in zip(found.replicas, replica_heights, strict=True)}
    replicas = tuple(
        DrawnBox(clip(each.name, _MAX_CHARS), y, "this" if each.is_this else "replica" if each.agrees else "stopped")
        for each, y in zip(found.replicas, replica_heights, strict=True)
    )  # fmt: skip
    leases = tuple(
        DrawnBox(clip(each.name, _MAX_CHARS), y, "free" if each.replica is None else "held")
        for each, y in zip(found.leases, lease_heights, strict=True)
    )
    middle = _BOX_HEIGHT // 2
    lines = tuple(
        (at[each.replica] + middle, y + middle)
        for each, y in zip(found.leases, lease_heights, strict=True)
        if each.replica in at
    )
    return ReplicaDrawing(
        _WIDTH, height, _BOX_WIDTH, _BOX_HEIGHT, _WIDTH - _BOX_WIDTH, replicas, leases, lines
    )


def _heights(count: int, height: int) -> list[int]:
    """Return the upper edges of some boxes, at equal distances over the whole height."""
    share = height / max(1, count)
    return [round(number * share + (share - _BOX_HEIGHT) / 2) for number in range(count)]
