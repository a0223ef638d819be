"""Indexes for sets that have to be complete; empty conversations are closed; which peers of Alertmanager listed an alert."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

_OPEN_MEMBERS = sa.text("open = 1")
_OPEN_CONVERSATIONS = sa.text("state = 'open'")
_CONTRADICTED = sa.text("claimed_firing_at IS NOT NULL")
_NOTED = sa.text("note != ''")
_FIRING = sa.text("status = 'firing'")
_UNTIL = sa.text("fires_until IS NOT NULL")

# Nothing fires in it, and nothing is left to send; but alerts that Alertmanager left out may fire.
_CLOSE_EMPTY = """
    UPDATE conversations SET state = 'closed', due_at = NULL
    WHERE state = 'open' AND group_id IS NOT NULL
    AND NOT EXISTS (SELECT 1 FROM members WHERE members.conversation_id = conversations.id
        AND (members.status = 'firing' OR members.told IN ('firing', 'maybe') OR members.at IS NOT NULL))
    AND NOT EXISTS (SELECT 1 FROM dead_letters
        WHERE dead_letters.conversation_id = conversations.id AND dead_letters.state = 'dead')
    AND NOT (subject NOT LIKE 'alert:%'
        AND EXISTS (SELECT 1 FROM groups WHERE groups.id = conversations.group_id AND groups.truncated > 0)
        AND EXISTS (SELECT 1 FROM members
            WHERE members.conversation_id = conversations.id AND members.told = 'resolved'))
"""
_CLOSE_THEIR_MEMBERS = """
    UPDATE members SET open = 0
    WHERE conversation_id IN (SELECT id FROM conversations WHERE state != 'open')
"""


def upgrade() -> None:
    op.execute(_CLOSE_EMPTY)
    op.add_column("members", sa.Column("open", sa.BigInteger(), nullable=False, server_default="1"))
    op.execute(_CLOSE_THEIR_MEMBERS)
    op.create_index(
        "ix_members_open", "members", ["alert_id"], sqlite_where=_OPEN_MEMBERS, postgresql_where=_OPEN_MEMBERS
    )
    op.create_index(
        "ix_conversations_open",
        "conversations",
        ["id"],
        sqlite_where=_OPEN_CONVERSATIONS,
        postgresql_where=_OPEN_CONVERSATIONS,
    )
    op.add_column("alerts", sa.Column("listed_by", sa.Text(), nullable=False, server_default=""))
    op.add_column("alerts", sa.Column("fires_until", sa.BigInteger(), nullable=True))
    op.add_column("alerts", sa.Column("claimed_firing_at", sa.BigInteger(), nullable=True))
    op.drop_index("ix_alerts_noted", "alerts")
    op.create_index(
        "ix_alerts_firing_source",
        "alerts",
        ["source", "id"],
        sqlite_where=_FIRING,
        postgresql_where=_FIRING,
    )
    op.create_index(
        "ix_alerts_contradicted",
        "alerts",
        ["claimed_firing_at"],
        sqlite_where=_CONTRADICTED,
        postgresql_where=_CONTRADICTED,
    )
    op.create_index(
        "ix_alerts_fires_until", "alerts", ["fires_until"], sqlite_where=_UNTIL, postgresql_where=_UNTIL
    )


def downgrade() -> None:
    for index in ("ix_alerts_fires_until", "ix_alerts_contradicted", "ix_alerts_firing_source"):
        op.drop_index(index, "alerts")
    op.create_index("ix_alerts_noted", "alerts", ["source"], sqlite_where=_NOTED, postgresql_where=_NOTED)
    with op.batch_alter_table("alerts") as batch:
        for column in ("claimed_firing_at", "fires_until", "listed_by"):
            batch.drop_column(column)
    op.drop_index("ix_conversations_open", "conversations")
    op.drop_index("ix_members_open", "members")
    with op.batch_alter_table("members") as batch:
        batch.drop_column("open")
