"""Large webhooks are kept whole and decided in pieces. Large conversations are claimed, recorded and closed in pieces."""

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None

_UNDECIDED = sa.text("undecided IS NOT NULL")
_DECIDING = sa.text("deciding IS NOT NULL")
_CLOSING = sa.text("state = 'closing'")
_OF_GROUP = sa.text("state = 'open' AND kind = 'group'")


def upgrade() -> None:
    op.add_column("webhooks", sa.Column("undecided", sa.BigInteger(), nullable=True))
    op.add_column("webhooks", sa.Column("sender", sa.Text(), nullable=False, server_default=""))
    op.add_column("alerts", sa.Column("arrival", sa.BigInteger(), nullable=False, server_default="0"))
    op.add_column("conversations", sa.Column("deciding", sa.BigInteger(), nullable=True))
    op.add_column("conversations", sa.Column("size", sa.BigInteger(), nullable=False, server_default="0"))
    op.execute(
        "UPDATE conversations SET size = (SELECT count(*) FROM members WHERE members.conversation_id = conversations.id)"
        " WHERE state = 'open'"
    )
    op.create_index(
        "ix_conversations_closing", "conversations", ["id"], sqlite_where=_CLOSING, postgresql_where=_CLOSING
    )
    op.create_index(
        "ix_webhooks_undecided", "webhooks", ["id"], sqlite_where=_UNDECIDED, postgresql_where=_UNDECIDED
    )
    op.create_index(
        "ix_conversations_deciding",
        "conversations",
        ["deciding"],
        sqlite_where=_DECIDING,
        postgresql_where=_DECIDING,
    )
    op.create_index(
        "ix_conversations_of_group", "conversations", ["group_id"], sqlite_where=_OF_GROUP, postgresql_where=_OF_GROUP
    )  # fmt: skip


def downgrade() -> None:
    op.drop_index("ix_conversations_of_group")
    op.drop_index("ix_conversations_deciding")
    op.drop_index("ix_webhooks_undecided")
    op.drop_index("ix_conversations_closing")
    op.drop_column("conversations", "size")
    op.drop_column("conversations", "deciding")
    op.drop_column("alerts", "arrival")
    op.drop_column("webhooks", "sender")
    op.drop_column("webhooks", "undecided")
