"""What operators look at: deliveries by hour and by destination, the log of actions, the history of routes.yaml."""

import sqlalchemy as sa
from alembic import op

revision = "0019"
down_revision = "0018"
branch_labels = None
depends_on = None

_HAS_FAILED = sa.text("outcome IN ('retry', 'rejected', 'broken', 'interrupted')")
_IS_FIRING = sa.text("status = 'firing'")
_IS_UNSETTLED = sa.text("state = 'dead'")
_WAITS_IN_QUARANTINE = sa.text("quarantined IS NOT NULL AND settled_at IS NULL")
_UNSETTLED_INDEXES = {"ix_webhooks_unsettled": ["id"], "ix_webhooks_unsettled_source": ["source", "id"]}
_HOUR = 60 * 60 * 1_000
_ENDED = "coalesce(finished_at, started_at)"


def upgrade() -> None:
    op.create_index("ix_deliveries_destination", "deliveries", ["destination", "id"])
    _partial_index("ix_deliveries_failed", "deliveries", ["outcome", "id"], _HAS_FAILED)
    _partial_index(
        "ix_deliveries_failed_destination", "deliveries", ["destination", "outcome", "id"], _HAS_FAILED
    )
    _partial_index("ix_alerts_firing_level", "alerts", ["level", "id"], _IS_FIRING)
    op.add_column("dead_letters", sa.Column("urgency", sa.BigInteger(), server_default="0", nullable=False))
    op.execute(
        "UPDATE dead_letters SET urgency = (SELECT urgency FROM conversations"
        " WHERE conversations.id = dead_letters.conversation_id)"
    )
    op.drop_index("ix_dead_letters_dead", "dead_letters")
    _partial_index("ix_dead_letters_dead", "dead_letters", ["urgency", "id"], _IS_UNSETTLED)
    _partial_index(
        "ix_dead_letters_dead_destination", "dead_letters", ["destination", "urgency", "id"], _IS_UNSETTLED
    )
    op.create_table(
        "delivery_hours",
        sa.Column("hour", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("destination", _text(), nullable=False),
        sa.Column("outcome", _text(), nullable=False),
        sa.Column("count", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("hour", "destination", "outcome", name=op.f("pk_delivery_hours")),
    )
    op.execute(
        "INSERT INTO delivery_hours (hour, destination, outcome, count)"  # noqa: S608  (constants)
        f" SELECT {_ENDED} - {_ENDED} % {_HOUR}, destination, outcome, count(*) FROM deliveries"
        f" WHERE outcome IS NOT NULL GROUP BY {_ENDED} - {_ENDED} % {_HOUR}, destination, outcome"
    )
    # The hours of pruned deliveries are not known: they are in the hour 0.
    op.execute(
        "INSERT INTO delivery_hours (hour, destination, outcome, count)"
        " SELECT 0, destination, outcome, sum(count) FROM delivery_sums WHERE true GROUP BY destination, outcome"
        " ON CONFLICT (hour, destination, outcome) DO UPDATE SET count = delivery_hours.count + excluded.count"
    )
    op.create_table(
        "actions",
        _id(),
        sa.Column("at", sa.BigInteger(), nullable=False),
        *(sa.Column(name, _text(), nullable=False) for name in ("actor", "via", "action", "target")),
        sa.Column("outcome", _text(), nullable=True),
        sa.Column("reason", _text(), server_default="", nullable=False),
        sa.Column("ended_at", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_actions")),
    )
    op.create_table(
        "loads",
        _id(),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("actor", _text(), nullable=False),
        sa.Column("sha256", _text(), nullable=False),
        sa.Column("error", _text(), server_default="", nullable=False),
        sa.Column("files", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_loads")),
    )
    op.create_index("ix_loads_sha256", "loads", ["sha256"])
    op.add_column("webhooks", sa.Column("settled_at", sa.BigInteger(), nullable=True))
    for name, columns in _UNSETTLED_INDEXES.items():
        op.create_index(
            name,
            "webhooks",
            columns,
            sqlite_where=_WAITS_IN_QUARANTINE,
            postgresql_where=_WAITS_IN_QUARANTINE,
        )


def downgrade() -> None:
    for name in _UNSETTLED_INDEXES:
        op.drop_index(name, "webhooks")
    op.drop_column("webhooks", "settled_at")
    for table in ("loads", "actions", "delivery_hours"):
        op.drop_table(table)
    op.drop_index("ix_dead_letters_dead_destination", "dead_letters")
    op.drop_index("ix_dead_letters_dead", "dead_letters")
    op.drop_column("dead_letters", "urgency")
    _partial_index("ix_dead_letters_dead", "dead_letters", ["id"], _IS_UNSETTLED)
    op.drop_index("ix_alerts_firing_level", "alerts")
    op.drop_index("ix_deliveries_failed_destination", "deliveries")
    op.drop_index("ix_deliveries_failed", "deliveries")
    op.drop_index("ix_deliveries_destination", "deliveries")


def _partial_index(name: str, table: str, columns: list[str], where: sa.TextClause) -> None:
    op.create_index(name, table, columns, sqlite_where=where, postgresql_where=where)


def _text() -> sa.types.TypeEngine[str]:
    return sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def _id() -> sa.Column[int]:
    return sa.Column(
        "id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=False
    )
