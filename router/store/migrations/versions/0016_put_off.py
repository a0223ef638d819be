"""An index of conversations that wait because an attempt failed."""

import sqlalchemy as sa
from alembic import op

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None

_PUT_OFF = sa.text("next_at IS NOT NULL AND not_before > due_at")


def upgrade() -> None:
    op.create_index(
        "ix_conversations_put_off",
        "conversations",
        ["destination", "next_at"],
        sqlite_where=_PUT_OFF,
        postgresql_where=_PUT_OFF,
    )


def downgrade() -> None:
    op.drop_index("ix_conversations_put_off")
