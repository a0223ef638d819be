"""Counters of rows, including pruned ones; indexes of due conversations and of members that wait."""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

_COUNTS = (
    "SELECT 'webhook', '', 'accepted', count(*) FROM webhooks WHERE quarantined IS NULL",
    "SELECT 'webhook', '', 'quarantined', count(*) FROM webhooks WHERE quarantined IS NOT NULL",
    "SELECT 'change', '', kind, count(*) FROM changes GROUP BY kind",
    "SELECT 'owed', '', '', coalesce(sum(destinations), 0) FROM changes",
    "SELECT 'fate', destination, fate, count(*) FROM fates GROUP BY destination, fate",
    "SELECT 'delivery', destination, coalesce(outcome, 'under way'), count(*) FROM deliveries GROUP BY 2, 3",
    "SELECT 'alert', '', 'firing', count(*) FROM alerts WHERE status = 'firing'",
    "SELECT 'conversation', destination, 'waiting', count(*) FROM conversations WHERE due_at IS NOT NULL GROUP BY 2",
    "SELECT 'dead letter', destination, 'dead', count(*) FROM dead_letters WHERE state = 'dead' GROUP BY 2",
    "SELECT 'fate', destination, fate, sum(count) FROM fate_sums GROUP BY destination, fate",
    "SELECT 'delivery', destination, outcome, sum(count) FROM delivery_sums GROUP BY destination, outcome",
    "SELECT 'webhook', '', what, sum(count) FROM day_sums WHERE what IN ('accepted', 'quarantined') GROUP BY what",
    "SELECT 'change', '', what, sum(count) FROM day_sums WHERE what IN ('fired', 'resolved', 'repeated') GROUP BY what",
    "SELECT 'owed', '', '', coalesce(sum(count), 0) FROM day_sums WHERE what = 'destinations'",
)


def upgrade() -> None:
    text = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
    op.create_table(
        "counters",
        sa.Column("what", text, nullable=False),
        sa.Column("destination", text, nullable=False),
        sa.Column("value", text, nullable=False),
        sa.Column("count", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("what", "destination", "value", name=op.f("pk_counters")),
    )
    due = sa.text("due_at IS NOT NULL")
    op.create_index(
        "ix_conversations_due",
        "conversations",
        ["destination", "due_at"],
        sqlite_where=due,
        postgresql_where=due,
    )
    _index_next(["destination", "priority", "next_at", "id"])
    waits = sa.text("open = 1 AND status = 'firing' AND notified != 'firing' AND decision != 'drop'")
    op.create_index("ix_members_waiting", "members", ["id"], sqlite_where=waits, postgresql_where=waits)
    _count()


def _index_next(columns: list[str]) -> None:
    op.drop_index("ix_conversations_next")
    due = sa.text("next_at IS NOT NULL")
    op.create_index("ix_conversations_next", "conversations", columns, sqlite_where=due, postgresql_where=due)


def _count() -> None:
    connection = op.get_bind()
    sums: dict[tuple[str, str, str], int] = {}
    for counts in _COUNTS:
        for what, destination, value, number in connection.execute(sa.text(counts)).all():
            key = what, destination, value
            sums[key] = sums.get(key, 0) + int(number)
    rows = [
        {"what": what, "destination": destination, "value": value, "count": number}
        for (what, destination, value), number in sums.items()
    ]
    table = sa.table("counters", *(sa.column(name) for name in ("what", "destination", "value", "count")))
    op.bulk_insert(table, rows)


def downgrade() -> None:
    _index_next(["destination", "priority", "next_at"])
    op.drop_index("ix_members_waiting")
    op.drop_index("ix_conversations_due")
    op.drop_table("counters")
