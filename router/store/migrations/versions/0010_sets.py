"""Rows have columns for what was read from their members, changes and deliveries; the router numbers ids itself."""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

_COUNTS = ("firing", "known", "shown", "ended", "waiting", "ends")


def upgrade() -> None:
    for index in ("ix_conversations_due", "ix_members_inhibitor"):
        op.drop_index(index)
    _alerts()
    _conversations()
    _members()
    _kinds()
    op.execute("ALTER TABLE fates RENAME COLUMN version TO generation")
    op.execute("ALTER TABLE deliveries RENAME COLUMN version TO generation")
    _count()
    _number()


def _alerts() -> None:
    op.add_column("alerts", sa.Column("last_change_id", sa.BigInteger(), nullable=True))
    op.execute(
        "UPDATE alerts SET last_change_id = (SELECT max(id) FROM changes WHERE changes.alert_id = alerts.id)"
    )


def _conversations() -> None:
    op.execute("ALTER TABLE conversations RENAME COLUMN wanted TO generation")
    op.execute("ALTER TABLE conversations RENAME COLUMN synced TO observed_generation")
    op.add_column("conversations", sa.Column("priority", sa.BigInteger(), nullable=False, server_default="2"))
    for name in ("next_at", "tried_since", "notified_at", "delivery_id"):
        op.add_column("conversations", sa.Column(name, sa.BigInteger(), nullable=True))
    for name in _COUNTS:
        op.add_column("conversations", sa.Column(name, sa.BigInteger(), nullable=False, server_default="0"))
    op.execute(
        "UPDATE conversations SET notified_at = (SELECT max(finished_at) FROM deliveries"
        " WHERE deliveries.conversation_id = conversations.id AND deliveries.outcome = 'delivered')"
    )
    op.execute(
        "UPDATE conversations SET tried_since = coalesce((SELECT min(started_at) FROM deliveries"
        " WHERE deliveries.conversation_id = conversations.id AND deliveries.version > observed_generation), due_at)"
        " WHERE state = 'open' AND attempts > 0"
    )


def _members() -> None:
    op.execute("ALTER TABLE members RENAME COLUMN told TO notified")
    op.execute("ALTER TABLE members RENAME COLUMN verdict TO decision")
    op.execute("UPDATE members SET notified = 'nothing' WHERE notified = 'none'")
    op.execute("UPDATE members SET notified = 'unknown' WHERE notified = 'maybe'")
    op.execute("UPDATE members SET decision = 'given_up' WHERE decision = 'dead'")
    op.create_index(
        "ix_members_inhibitor", "members", ["inhibitor"],
        sqlite_where=sa.text("inhibitor IS NOT NULL"), postgresql_where=sa.text("inhibitor IS NOT NULL"),
    )  # fmt: skip
    held = sa.text("decision = 'hold' AND open = 1")
    op.create_index("ix_members_held", "members", ["id"], sqlite_where=held, postgresql_where=held)


def _kinds() -> None:
    """Fill the new columns with what was only in the texts of subjects, rules and remote states."""
    op.add_column("conversations", sa.Column("kind", sa.Text(), nullable=False, server_default="group"))
    op.add_column(
        "conversations", sa.Column("own_message", sa.BigInteger(), nullable=False, server_default="0")
    )
    op.add_column("members", sa.Column("failover", sa.BigInteger(), nullable=False, server_default="0"))
    op.execute(
        "UPDATE conversations SET own_message = CASE WHEN remote <> '{}' THEN 1 ELSE 0 END,"
        " kind = CASE WHEN slot IS NOT NULL THEN 'digest' WHEN group_id IS NULL THEN 'storm'"
        " WHEN subject LIKE 'alert:%' THEN 'alert' ELSE 'group' END"
    )
    op.execute("UPDATE members SET failover = 1 WHERE substr(rule, 1, 14) = 'on_failure of '")


def _count() -> None:
    known = "notified IN ('firing', 'unknown')"
    conditions = (
        "status = 'firing'", known, f"status = 'firing' AND {known}", "notified = 'resolved'", "at IS NOT NULL",
        "at IS NOT NULL AND status = 'resolved'",
    )  # fmt: skip
    sums = ", ".join(f"coalesce(sum(CASE WHEN {each} THEN 1 ELSE 0 END), 0)" for each in conditions)
    op.execute(
        f"UPDATE conversations SET ({', '.join(_COUNTS)}) = (SELECT {sums} FROM members"  # noqa: S608  (constants)
        " WHERE members.conversation_id = conversations.id) WHERE id IN (SELECT conversation_id FROM members)"
    )
    op.execute(
        "UPDATE conversations SET priority = CASE WHEN urgency = 0 THEN 0 WHEN ends > 0 THEN 1 ELSE 2 END"
    )
    op.execute(
        "UPDATE conversations SET next_at = CASE WHEN due_at > not_before THEN due_at ELSE not_before END"
        " WHERE state = 'open' AND due_at IS NOT NULL"
    )
    due = sa.text("next_at IS NOT NULL")
    op.create_index(
        "ix_conversations_next", "conversations", ["destination", "priority", "next_at"],
        sqlite_where=due, postgresql_where=due,
    )  # fmt: skip
    slots = sa.text("state = 'open' AND slot IS NOT NULL")
    op.create_index(
        "ix_conversations_slots", "conversations", ["slot"], sqlite_where=slots, postgresql_where=slots
    )


def _number() -> None:
    """One sequence for the rows of all tables."""
    tables = (
        "webhooks", "groups", "alerts", "conversations", "members", "changes", "fates", "deliveries", "dead_letters",
    )  # fmt: skip
    highest = ", ".join(f"(SELECT coalesce(max(id), 0) FROM {table})" for table in tables)  # noqa: S608  (constants)
    (found,) = op.get_bind().execute(sa.text(f"SELECT {highest}")).all()
    op.get_bind().execute(
        sa.text("INSERT INTO meta (key, value) VALUES ('next_id', :next)"), {"next": str(max(found) + 1)}
    )


def downgrade() -> None:
    op.execute("DELETE FROM meta WHERE key = 'next_id'")
    for index in ("ix_conversations_next", "ix_conversations_slots", "ix_members_held"):
        op.drop_index(index)
    op.execute("UPDATE members SET notified = 'none' WHERE notified = 'nothing'")
    op.execute("UPDATE members SET notified = 'maybe' WHERE notified = 'unknown'")
    op.execute("UPDATE members SET decision = 'dead' WHERE decision = 'given_up'")
    op.execute("ALTER TABLE members RENAME COLUMN notified TO told")
    op.execute("ALTER TABLE members RENAME COLUMN decision TO verdict")
    op.execute("ALTER TABLE conversations RENAME COLUMN generation TO wanted")
    op.execute("ALTER TABLE conversations RENAME COLUMN observed_generation TO synced")
    op.execute("ALTER TABLE fates RENAME COLUMN generation TO version")
    op.execute("ALTER TABLE deliveries RENAME COLUMN generation TO version")
    for name in ("priority", "next_at", "tried_since", "notified_at", "delivery_id", *_COUNTS):
        op.drop_column("conversations", name)
    for name in ("kind", "own_message"):
        op.drop_column("conversations", name)
    op.drop_column("members", "failover")
    op.drop_column("alerts", "last_change_id")
    due = sa.text("due_at IS NOT NULL")
    op.create_index(
        "ix_conversations_due", "conversations", ["destination", "urgency", "due_at"],
        sqlite_where=due, postgresql_where=due,
    )  # fmt: skip
