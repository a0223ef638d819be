"""Indexes that answer what a storm counts and which held alert is due next, without reading rows."""

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None

_NEXT = sa.text("next_at IS NOT NULL")
_STORM = sa.text("storm_id IS NOT NULL")
_KNOWN = sa.text("state = 'open' AND known > 0")
_DOUBTED = sa.text("doubt_until IS NOT NULL")
_OWN = sa.text("about IS NOT NULL")
_HELD = sa.text("decision = 'hold' AND open = 1")


def _replace(name: str, table: str, columns: list[str], where: sa.TextClause) -> None:
    op.drop_index(name)
    op.create_index(name, table, columns, sqlite_where=where, postgresql_where=where)


def upgrade() -> None:
    _replace(
        "ix_conversations_next", "conversations",
        ["destination", "priority", "next_at", "id", "urgency", "storm_id", "own_message", "waiting", "ends", "due_at"],
        _NEXT,
    )  # fmt: skip
    _replace(
        "ix_conversations_storm", "conversations",
        [
            "storm_id", "own_message", "state", "urgency", "id", "shown", "firing", "known", "ended", "delivery_id",
            "next_at", "waiting", "ends",
        ],
        _STORM,
    )  # fmt: skip
    _replace("ix_members_held", "members", ["at"], _HELD)
    op.create_index(
        "ix_conversations_known",
        "conversations",
        ["destination"],
        sqlite_where=_KNOWN,
        postgresql_where=_KNOWN,
    )
    op.create_index(
        "ix_alerts_doubted", "alerts", ["source", "id"], sqlite_where=_DOUBTED, postgresql_where=_DOUBTED
    )
    op.create_index("ix_alerts_own", "alerts", ["status"], sqlite_where=_OWN, postgresql_where=_OWN)


def downgrade() -> None:
    op.drop_index("ix_alerts_own")
    op.drop_index("ix_alerts_doubted")
    op.drop_index("ix_conversations_known")
    _replace("ix_conversations_next", "conversations", ["destination", "priority", "next_at", "id"], _NEXT)
    _replace("ix_conversations_storm", "conversations", ["storm_id"], _STORM)
    _replace("ix_members_held", "members", ["id"], _HELD)
