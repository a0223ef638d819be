"""Groups that fire, by level: an index for the list that begins with the most urgent."""

import sqlalchemy as sa
from alembic import op

revision = "0020"
down_revision = "0019"
branch_labels = None
depends_on = None

_IS_FIRING = sa.text("status = 'firing'")


def upgrade() -> None:
    op.create_index(
        "ix_alerts_firing_group",
        "alerts",
        ["level", "group_id", "id", "starts_at"],
        sqlite_where=_IS_FIRING,
        postgresql_where=_IS_FIRING,
    )


def downgrade() -> None:
    op.drop_index("ix_alerts_firing_group", "alerts")
