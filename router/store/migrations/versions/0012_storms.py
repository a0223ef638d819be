"""A conversation has the storm whose message covered it, and a storm has what its message shows."""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("conversations", sa.Column("storm_id", sa.BigInteger(), nullable=True))
    op.add_column(
        "conversations", sa.Column("shown_groups", sa.BigInteger(), nullable=False, server_default="0")
    )
    # A conversation whose destination was notified, and that has no message of its own there, was covered by a storm's message.
    op.execute(
        "UPDATE conversations SET storm_id = (SELECT max(storm.id) FROM conversations AS storm"
        " WHERE storm.kind = 'storm' AND storm.state = 'open' AND storm.destination = conversations.destination)"
        " WHERE state = 'open' AND kind IN ('group', 'alert') AND own_message = 0 AND known > 0"
    )
    told = sa.text("storm_id IS NOT NULL")
    op.create_index(
        "ix_conversations_storm", "conversations", ["storm_id"], sqlite_where=told, postgresql_where=told
    )


def downgrade() -> None:
    op.drop_index("ix_conversations_storm")
    op.drop_column("conversations", "storm_id")
    op.drop_column("conversations", "shown_groups")
