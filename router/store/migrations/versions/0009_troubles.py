"""Destinations in trouble, and dead letters of single recipients."""

import json

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
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
    _keep_what_is_reported()
    op.add_column("dead_letters", sa.Column("recipient", sa.Text(), nullable=False, server_default=""))
    op.add_column("deliveries", sa.Column("words", sa.Text(), nullable=False, server_default=""))
    op.add_column("conversations", sa.Column("partly", sa.BigInteger(), nullable=False, server_default="0"))


def _keep_what_is_reported() -> None:
    """The former version reported broken destinations one by one, and stored them only as alerts."""
    connection = op.get_bind()
    reports = connection.execute(
        sa.text(
            "SELECT about, min(coalesce(starts_at, changed_at)) AS since FROM alerts"
            " WHERE about IS NOT NULL AND status = 'firing' GROUP BY about"
        )
    ).mappings()
    for report in reports.all():
        (destination,) = json.loads(report["about"])
        connection.execute(
            sa.text(
                "INSERT INTO troubles (destination, since, cause, reason, gave_up, broken)"
                " VALUES (:destination, :since, :destination, '', 0, 1)"
            ),
            {"destination": destination, "since": report["since"]},
        )


def downgrade() -> None:
    with op.batch_alter_table("dead_letters") as batch:
        batch.drop_column("recipient")
    with op.batch_alter_table("conversations") as batch:
        batch.drop_column("partly")
    with op.batch_alter_table("deliveries") as batch:
        batch.drop_column("words")
    op.drop_table("troubles")
