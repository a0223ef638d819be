"""An alert is its label set, not the fingerprint that its sender gives. Keys that providers see hold a random id of
the database; what is open keeps the keys that it was opened with. A firing that contradicts an end is a doubt. What
the router says of itself is marked in a column.
"""

import hashlib
import json
import secrets
from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

_DOUBTED = sa.text("doubt_until IS NOT NULL")
_BATCH = 1_000


def upgrade() -> None:
    # The column keeps its unique constraint, so that the table need not be copied.
    op.execute("ALTER TABLE alerts RENAME COLUMN fingerprint TO identity")
    op.add_column("alerts", sa.Column("fingerprint", sa.Text(), nullable=False, server_default=""))
    op.add_column("alerts", sa.Column("about", sa.Text(), nullable=True))
    op.add_column("alerts", sa.Column("latest_start", sa.BigInteger(), nullable=True))
    op.add_column("alerts", sa.Column("doubt_until", sa.BigInteger(), nullable=True))
    op.add_column("alerts", sa.Column("doubt", sa.Text(), nullable=True))
    op.add_column("conversations", sa.Column("key", sa.Text(), nullable=False, server_default=""))
    op.add_column("conversations", sa.Column("revision", sa.Text(), nullable=False, server_default=""))
    op.execute("UPDATE alerts SET fingerprint = identity")
    op.execute("UPDATE conversations SET key = token")
    op.create_index("ix_alerts_fingerprint", "alerts", ["fingerprint"])
    op.create_index(
        "ix_alerts_doubt", "alerts", ["doubt_until"], sqlite_where=_DOUBTED, postgresql_where=_DOUBTED
    )
    _run("INSERT INTO meta (key, value) VALUES ('database_id', :id)", id=secrets.token_hex(16))
    _mark_own()
    _identify()


def downgrade() -> None:
    raise NotImplementedError("alerts that were merged can't be told apart again; restore a backup")


def _mark_own() -> None:
    """The former version raised alerts about itself under a label that any sender could use."""
    own = _all("SELECT id, labels FROM alerts WHERE source = 'alert-router'")
    for row in own:
        labels = json.loads(row["labels"])
        about = labels.pop("broken_destination", "")
        if labels.get("alertname") == "AlertRouterDestinationBroken" and about:
            _run(
                "UPDATE alerts SET about = :about, labels = :labels WHERE id = :id",
                about=json.dumps([about]), labels=json.dumps({**labels, "cause": about}), id=row["id"],
            )  # fmt: skip


def _identify() -> None:
    """Give each alert the identity of its labels. Alerts that turn out to be one are merged."""
    alerts = _all("SELECT id, source, fingerprint, labels, status, changed_at FROM alerts")
    same: dict[tuple[str, str], list[Any]] = {}
    for row in alerts:
        same.setdefault((row["source"], _identity(json.loads(row["labels"]), row["fingerprint"])), []).append(
            row
        )
    for several in same.values():
        kept, *others = sorted(several, key=lambda row: (row["status"] != "firing", -row["changed_at"]))
        for other in others:
            _merge(kept["id"], other["id"])
        several[:] = [kept, *others]
    identified = [{"id": several[0]["id"], "identity": identity} for (_, identity), several in same.items()]
    for first in range(0, len(identified), _BATCH):
        op.get_bind().execute(
            sa.text("UPDATE alerts SET identity = :identity WHERE id = :id"),
            identified[first : first + _BATCH],
        )
    subjects = {
        (source, f"alert:{row['fingerprint']}"): f"alert:{identity}"
        for (source, identity), several in same.items()
        for row in several
    }
    _rename_subjects(subjects)


def _merge(kept: int, other: int) -> None:
    for member in _all("SELECT * FROM members WHERE alert_id = :id", id=other):
        there = _all(
            "SELECT * FROM members WHERE alert_id = :id AND conversation_id = :conversation",
            id=kept, conversation=member["conversation_id"],
        )  # fmt: skip
        if there:
            _merge_members(there[0], member)
        else:
            _run("UPDATE members SET alert_id = :kept WHERE id = :id", kept=kept, id=member["id"])
    _run("UPDATE changes SET alert_id = :kept WHERE alert_id = :other", kept=kept, other=other)
    _run(
        "DELETE FROM inhibitors WHERE alert_id = :other"
        " AND key IN (SELECT key FROM inhibitors WHERE alert_id = :kept)",
        kept=kept, other=other,
    )  # fmt: skip
    _run("UPDATE inhibitors SET alert_id = :kept WHERE alert_id = :other", kept=kept, other=other)
    _run("DELETE FROM alerts WHERE id = :other", other=other)


def _merge_members(kept: Any, other: Any) -> None:
    """Merge two members of the same alert in a conversation. The one that its destination may know as firing stays."""
    known = next(
        (each["told"] for each in (kept, other) if each["told"] in ("firing", "maybe")), kept["told"]
    )
    firing = next((each for each in (kept, other) if each["status"] == "firing"), kept)
    told_already = known in ("firing", "maybe") and firing["status"] == "firing" and firing["told"] != known
    _run(
        "UPDATE members SET told = :told, status = :status, verdict = :verdict, at = :at WHERE id = :id",
        told=known, status=firing["status"], verdict=firing["verdict"],
        at=None if told_already else firing["at"], id=kept["id"],
    )  # fmt: skip
    if told_already:  # its destination shows it as firing: there is neither an end nor a beginning to send
        _run(
            "UPDATE fates SET fate = 'moot', reason = 'the same alert under another fingerprint was told'"
            " WHERE member_id IN (:kept, :other) AND fate = 'pending'",
            kept=kept["id"], other=other["id"],
        )  # fmt: skip
    _run("UPDATE fates SET member_id = :kept WHERE member_id = :other", kept=kept["id"], other=other["id"])
    for letter in _all(
        "SELECT id, tellings FROM dead_letters WHERE conversation_id = :conversation",
        conversation=kept["conversation_id"],
    ):
        tellings = {each["member"]: each for each in json.loads(letter["tellings"])}
        if (moved := tellings.pop(other["id"], None)) is not None:
            tellings.setdefault(kept["id"], {**moved, "member": kept["id"]})
            _run(
                "UPDATE dead_letters SET tellings = :tellings WHERE id = :id",
                tellings=json.dumps(list(tellings.values())), id=letter["id"],
            )  # fmt: skip
    _run("DELETE FROM members WHERE id = :id", id=other["id"])


def _rename_subjects(subjects: dict[tuple[str, str], str]) -> None:
    """Conversations about one alert are found by its identity from now on; their keys stay."""
    found: dict[tuple[str, str, str], list[Any]] = {}
    for row in _all(
        "SELECT id, destination, source, subject, episode, state FROM conversations WHERE subject LIKE 'alert:%'"
    ):
        subject = subjects.get((row["source"], row["subject"]))
        if subject is not None:
            found.setdefault((row["destination"], row["source"], subject), []).append(row)
    for (destination, source, subject), several in found.items():
        token = hashlib.sha256(f"{destination}\n{source}\n{subject}".encode()).hexdigest()[:32]
        merged = len({row["subject"] for row in several}) > 1
        # The newest episode is the one that is looked for: of several that were merged, one that is open.
        several.sort(key=lambda row: (row["state"] == "open", row["id"]))
        for number, row in enumerate(several, 1):
            _run(
                "UPDATE conversations SET subject = :subject, token = :token, episode = :episode WHERE id = :id",
                subject=subject, token=token, episode=number if merged else row["episode"], id=row["id"],
            )  # fmt: skip


def _identity(labels: dict[str, str], fingerprint: str) -> str:
    """As ``router.model.identity_of`` was at this revision."""
    labels = labels or {"": fingerprint}
    texts = (text for name in sorted(labels) if labels[name] for text in (name, labels[name]))
    return hashlib.sha256(b"\xff".join(text.encode(errors="surrogatepass") for text in texts)).hexdigest()[
        :32
    ]


def _all(query: str, **given: Any) -> Sequence[Any]:
    return op.get_bind().execute(sa.text(query), given).mappings().all()


def _run(query: str, **given: Any) -> None:
    op.get_bind().execute(sa.text(query), given)
