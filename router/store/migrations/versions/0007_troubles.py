"""Destinations in trouble, dead letters of single recipients, and what the router's own alerts are about."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "troubles",
        sa.Column("destination", sa.Text(), nullable=False),
        sa.Column("since", sa.BigInteger(), nullable=False),
        sa.Column("cause", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("gave_up", sa.BigInteger(), nullable=False),
        sa.Column("broken", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("destination", name=op.f("pk_troubles")),
    )
    op.add_column("dead_letters", sa.Column("recipient", sa.Text(), nullable=False, server_default=""))
    op.add_column("deliveries", sa.Column("words", sa.Text(), nullable=False, server_default=""))
    op.add_column("conversations", sa.Column("partly", sa.BigInteger(), nullable=False, server_default="0"))
    op.add_column("alerts", sa.Column("about", sa.Text(), nullable=True))
    # What the version before says of broken destinations was marked by a label.
    op.execute("UPDATE alerts SET about = '[]' WHERE source = 'alert-router'")


def downgrade() -> None:
    with op.batch_alter_table("alerts") as batch:
        batch.drop_column("about")
    with op.batch_alter_table("dead_letters") as batch:
        batch.drop_column("recipient")
    with op.batch_alter_table("conversations") as batch:
        batch.drop_column("partly")
    with op.batch_alter_table("deliveries") as batch:
        batch.drop_column("words")
    op.drop_table("troubles")
