"""Objectives and tenants: when changes are due, what is counted in each hour, and sums by tenant."""

import sqlalchemy as sa
from alembic import op

revision = "0021"
down_revision = "0020"
branch_labels = None
depends_on = None

_SUMS = {
    "fate_sums": ("day", "destination", "kind", "fate"),
    "day_sums": ("day", "what"),
}


def upgrade() -> None:
    # A column with a constant default changes no row, however large the table is.
    op.add_column("changes", sa.Column("tenant", _text(), server_default="", nullable=False))
    op.add_column("fates", sa.Column("due_at", sa.BigInteger(), nullable=True))
    op.add_column("fates", sa.Column("urgency", sa.BigInteger(), server_default="0", nullable=False))
    op.add_column("fates", sa.Column("tenant", _text(), server_default="", nullable=False))
    for table, keys in _SUMS.items():
        _replace_sums(table, keys, (*keys, "tenant"), "''")
    op.create_table(
        "objective_hours",
        sa.Column("hour", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("tenant", _text(), nullable=False),
        sa.Column("objective", _text(), nullable=False),
        sa.Column("good", sa.BigInteger(), nullable=False),
        sa.Column("bad", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("hour", "tenant", "objective", name=op.f("pk_objective_hours")),
    )


def downgrade() -> None:
    op.drop_table("objective_hours")
    for table, keys in _SUMS.items():
        _replace_sums(table, (*keys, "tenant"), keys)
    op.execute(
        "DELETE FROM counters WHERE what LIKE 'fate of %' OR what LIKE 'change of %' OR what LIKE 'owed of %'"
    )
    op.execute("DELETE FROM day_sums WHERE what = 'due and delivered'")
    for name in ("tenant", "urgency", "due_at"):
        op.drop_column("fates", name)
    op.drop_column("changes", "tenant")


def _replace_sums(table: str, before: tuple[str, ...], after: tuple[str, ...], new: str = "") -> None:
    """Give a table of sums other keys. It has few rows: one for each day and combination of values.

    :param new: the value of the key that is added; empty: a key is removed
    """
    op.rename_table(table, f"old_{table}")
    if op.get_context().dialect.name == "postgresql":  # the index of a primary key has a name of its own
        op.execute(f"ALTER INDEX pk_{table} RENAME TO pk_old_{table}")
    op.create_table(
        table,
        *(
            sa.Column(name, *((sa.BigInteger(),) if name == "day" else (_text(),)), autoincrement=False, nullable=False)
            for name in after
        ),
        sa.Column("count", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint(*after, name=op.f(f"pk_{table}")),
    )  # fmt: skip
    kept = [name for name in after if name in before]
    values = ", ".join([*kept, new] if new else kept)
    op.execute(
        f"INSERT INTO {table} ({', '.join(after)}, count)"  # noqa: S608  (constants)
        f" SELECT {values}, sum(count) FROM old_{table} GROUP BY {', '.join(kept)}"
    )
    op.drop_table(f"old_{table}")


def _text() -> sa.types.TypeEngine[str]:
    return sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
