"""Sums of what is pruned, and the indexes that make pruning cheap."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

_SUMS = {
    "fate_sums": ("destination", "kind", "fate"),
    "delivery_sums": ("destination", "outcome"),
    "day_sums": ("what",),
}
_DEAD = sa.text("fate = 'dead'")


def upgrade() -> None:
    for name, keys in _SUMS.items():
        op.create_table(
            name,
            sa.Column("day", sa.BigInteger(), autoincrement=False, nullable=False),
            *(sa.Column(key, sa.Text(), nullable=False) for key in keys),
            sa.Column("count", sa.BigInteger(), nullable=False),
            sa.PrimaryKeyConstraint("day", *keys, name=op.f(f"pk_{name}")),
        )
    # Before a row is deleted, every table that may refer to it is searched for its id.
    op.create_index("ix_alerts_group", "alerts", ["group_id"])
    op.create_index("ix_changes_webhook", "changes", ["webhook_id"])
    op.create_index("ix_fates_member", "fates", ["member_id"])
    op.create_index(
        "ix_fates_dead_member", "fates", ["member_id"], sqlite_where=_DEAD, postgresql_where=_DEAD
    )


def downgrade() -> None:
    op.drop_index("ix_fates_dead_member", "fates")
    op.drop_index("ix_fates_member", "fates")
    op.drop_index("ix_changes_webhook", "changes")
    op.drop_index("ix_alerts_group", "alerts")
    for name in reversed(_SUMS):
        op.drop_table(name)
