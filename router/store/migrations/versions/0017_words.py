"""A fate is named ``obsolete``, no longer ``moot``; a dead letter keeps ``notices``, no longer ``tellings``."""

import sqlalchemy as sa
from alembic import op

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None

_COLUMNS = (
    ("fates", "fate"), ("fates", "decision"), ("former_fates", "fate"), ("fate_sums", "fate"), ("counters", "value"),
)  # fmt: skip
_FATES = "fate IN ('pending','held','inhibited','digest','delivered','{}','dropped','dead')"


def upgrade() -> None:
    _rename_fate("moot", "obsolete")
    op.execute("ALTER TABLE dead_letters RENAME COLUMN tellings TO notices")
    op.execute("""UPDATE dead_letters SET notices = replace(notices, '"told":', '"notified":')""")


def downgrade() -> None:
    _rename_fate("obsolete", "moot")
    op.execute("ALTER TABLE dead_letters RENAME COLUMN notices TO tellings")
    op.execute("""UPDATE dead_letters SET tellings = replace(tellings, '"notified":', '"told":')""")


def _rename_fate(old: str, new: str) -> None:
    """In the rows, in the constraint that lists the fates, and in the index of those that are obsolete."""
    op.drop_index(f"ix_fates_{old}", "fates")
    _replace_constraint(old, new)
    for table, column in _COLUMNS:
        op.execute(sa.text(f"UPDATE {table} SET {column} = '{new}' WHERE {column} = '{old}'"))  # noqa: S608  (constants)
    if op.get_bind().dialect.name != "sqlite":
        op.execute("ALTER TABLE fates VALIDATE CONSTRAINT one_fate")
    renamed = sa.text(f"fate = '{new}'")
    op.create_index(
        f"ix_fates_{new}", "fates", ["updated_at"], sqlite_where=renamed, postgresql_where=renamed
    )


def _replace_constraint(old: str, new: str) -> None:
    """SQLite can't alter a constraint. Copying the table would take minutes where the history is long, so its
    definition is edited, as SQLite's documentation of ALTER TABLE describes for such a change.
    """
    connection = op.get_bind()
    if connection.dialect.name != "sqlite":
        op.execute("ALTER TABLE fates DROP CONSTRAINT one_fate")
        # Not checked against the rows yet: they are renamed next.
        op.execute(f"ALTER TABLE fates ADD CONSTRAINT one_fate CHECK ({_FATES.format(new)}) NOT VALID")
        return
    version = connection.exec_driver_sql("PRAGMA schema_version").scalar_one()
    connection.exec_driver_sql("PRAGMA writable_schema = ON")
    connection.exec_driver_sql(
        "UPDATE sqlite_schema SET sql = replace(sql, ?, ?) WHERE type = 'table' AND name = 'fates'",
        (f"'{old}'", f"'{new}'"),
    )
    connection.exec_driver_sql(f"PRAGMA schema_version = {version + 1}")
    connection.exec_driver_sql("PRAGMA writable_schema = RESET")
