"""Members keep the destination at which they are inhibited, so that an index counts what an alert inhibits there."""

import sqlalchemy as sa
from alembic import op

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None

_IS_MUTED = sa.text("inhibitor IS NOT NULL")


def _create_index(columns: list[str]) -> None:
    op.create_index(
        "ix_members_inhibitor", "members", columns, sqlite_where=_IS_MUTED, postgresql_where=_IS_MUTED
    )


def upgrade() -> None:
    text = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
    op.add_column("members", sa.Column("muted_destination", text))
    op.execute(
        "UPDATE members SET muted_destination = "
        "(SELECT destination FROM conversations WHERE conversations.id = members.conversation_id) "
        "WHERE inhibitor IS NOT NULL AND decision = 'inhibited' AND status = 'firing'"
    )
    op.drop_index("ix_members_inhibitor", "members")
    _create_index(["inhibitor", "muted_destination", "alert_id"])


def downgrade() -> None:
    op.drop_index("ix_members_inhibitor", "members")
    _create_index(["inhibitor"])
    op.drop_column("members", "muted_destination")
