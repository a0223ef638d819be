"""What Alertmanager answers about an alert, and why one ended without a resolve."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("alerts", sa.Column("note", sa.Text(), nullable=False, server_default=""))
    op.add_column("alerts", sa.Column("withheld", sa.Text(), nullable=True))
    op.add_column("alerts", sa.Column("absent_at", sa.BigInteger(), nullable=True))
    noted = sa.text("note != ''")
    op.create_index("ix_alerts_noted", "alerts", ["source"], sqlite_where=noted, postgresql_where=noted)


def downgrade() -> None:
    op.drop_index("ix_alerts_noted", "alerts")
    with op.batch_alter_table("alerts") as batch:
        for column in ("absent_at", "withheld", "note"):
            batch.drop_column(column)
