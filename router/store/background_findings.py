"""Stores what the work in the background has found, so that all replicas show it: one row."""

import json
from dataclasses import asdict, dataclass
from functools import partial

import sqlalchemy as sa

from router.model import DeadmanState
from router.store.balance import Balance
from router.store.database import Database
from router.store.integrity import Finding, Integrity
from router.store.schema import meta
from router.store.starts import set_meta

_KEY = "found in the background"


@dataclass(frozen=True, slots=True)
class BackgroundFindings:
    """What was found last."""

    deadman: DeadmanState
    integrity: Integrity | None
    """None: nothing was checked yet."""
    balance: Balance | None


class StoredFindings:
    """Reads and writes what was found.

    Both methods raise :class:`~router.store.health.StoreUnavailable` if the database can't be read or written.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    async def save(self, found: BackgroundFindings) -> None:
        """Store what was found, in place of what is stored."""
        await self._database.write(partial(set_meta, key=_KEY, value=json.dumps(asdict(found))))

    async def load(self) -> BackgroundFindings | None:
        """Return what is stored; None: nothing is, or a newer version stored it in another form."""
        return await self._database.read(_load)


def _load(connection: sa.Connection) -> BackgroundFindings | None:
    text = connection.execute(sa.select(meta.c.value).where(meta.c.key == _KEY)).scalar()
    if text is None:
        return None
    try:
        data = json.loads(text)
        balance, integrity = data["balance"], data["integrity"]
        return BackgroundFindings(
            DeadmanState(**data["deadman"]),
            None if integrity is None else Integrity(**{name: _finding(each) for name, each in integrity.items()}),
            None if balance is None else Balance(balance["off"], tuple(balance["changes"]), tuple(balance["seen"])),
        )  # fmt: skip
    except (KeyError, TypeError, ValueError):
        return None


def _finding(data: dict[str, object]) -> Finding:
    return Finding(**{**data, "first": tuple(data["first"])})  # type: ignore[arg-type]
