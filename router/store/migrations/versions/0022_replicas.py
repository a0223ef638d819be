"""Replicas: who runs, who holds which lease, the states of lanes, and requests to them."""

import sqlalchemy as sa
from alembic import op

revision = "0022"
down_revision = "0021"
branch_labels = None
depends_on = None

_UNDER_WAY = sa.text("delivery_id IS NOT NULL")
_UNANSWERED = sa.text("answer IS NULL")
_UNDECIDED = sa.text("undecided IS NOT NULL")


def upgrade() -> None:
    # A column with a constant default changes no row, however large the table is.
    op.add_column("deliveries", sa.Column("replica", _text(), server_default="", nullable=False))
    op.create_index(
        "ix_conversations_under_way", "conversations", ["delivery_id"], sqlite_where=_UNDER_WAY,
        postgresql_where=_UNDER_WAY,
    )  # fmt: skip
    _index_undecided("id", "undecided")
    op.create_table(
        "replicas",
        sa.Column("id", _text(), nullable=False),
        sa.Column("name", _text(), nullable=False),
        sa.Column("version", _text(), nullable=False),
        sa.Column("process", _text(), nullable=False),
        sa.Column("started_at", sa.BigInteger(), nullable=False),
        sa.Column("renewed_at", sa.BigInteger(), nullable=False),
        sa.Column("expires_at", sa.BigInteger(), nullable=False),
        sa.Column("rules", _text(), server_default="", nullable=False),
        sa.Column("sha256", _text(), server_default="", nullable=False),
        sa.Column("takes_leases", sa.BigInteger(), server_default="0", nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_replicas")),
    )
    op.create_table(
        "writers",
        sa.Column("id", _text(), nullable=False),
        sa.Column("batch", sa.BigInteger(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_writers")),
    )
    op.create_table(
        "leases",
        sa.Column("name", _text(), nullable=False),
        sa.Column("replica", _text(), nullable=True),
        sa.Column("fence", sa.BigInteger(), nullable=False),
        sa.Column("since", sa.BigInteger(), nullable=False),
        sa.Column("passed_on", _text(), server_default="", nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_leases")),
    )
    op.create_table(
        "lanes",
        sa.Column("name", _text(), nullable=False),
        sa.Column("replica", _text(), nullable=False),
        sa.Column("state", _text(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_lanes")),
    )
    op.create_table(
        "lane_requests",
        sa.Column("id", _id(), autoincrement=False, nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("destination", _text(), nullable=False),
        sa.Column("action", _text(), nullable=False),
        sa.Column("actor", _text(), nullable=False),
        sa.Column("answer", _text(), nullable=True),
        sa.Column("answered_at", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_lane_requests")),
    )
    op.create_index(
        "ix_lane_requests_open",
        "lane_requests",
        ["id"],
        sqlite_where=_UNANSWERED,
        postgresql_where=_UNANSWERED,
    )


def downgrade() -> None:
    for table in ("lane_requests", "lanes", "leases", "writers", "replicas"):
        op.drop_table(table)
    _index_undecided("id")
    op.drop_index("ix_conversations_under_way", table_name="conversations")
    op.drop_column("deliveries", "replica")


def _index_undecided(*columns: str) -> None:
    """Index the few webhooks that wait to be decided by these columns."""
    op.drop_index("ix_webhooks_undecided", table_name="webhooks")
    op.create_index(
        "ix_webhooks_undecided", "webhooks", columns, sqlite_where=_UNDECIDED, postgresql_where=_UNDECIDED
    )


def _id() -> sa.types.TypeEngine[int]:
    return sa.BigInteger().with_variant(sa.Integer, "sqlite")


def _text() -> sa.types.TypeEngine[str]:
    return sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
