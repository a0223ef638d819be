"""History: the rules and configurations of decisions, former fates, the messages of deliveries, and a label index."""

import hashlib
from collections.abc import Callable
from typing import Any

import sqlalchemy as sa
from alembic import op

from router.packed import unpack
from router.store.dictionary import unpack_stored
from router.store.labels import entries

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None

_PAGE = 10_000
_OPEN = sa.text("open = 1")


def upgrade() -> None:
    op.create_table(
        "configurations",
        _id(),
        sa.Column("sha256", _text(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("positions", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_configurations")),
    )
    for column in ("configuration", "decided_at"):
        op.add_column("fates", sa.Column(column, sa.BigInteger(), nullable=True))
    for column in ("decision", "because"):
        op.add_column("fates", sa.Column(column, _text(), nullable=True))
    op.create_table(
        "former_fates",
        _id(),
        sa.Column("fate_id", sa.BigInteger(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        *(sa.Column(column, _text(), nullable=False) for column in ("fate", "rule", "reason")),
        sa.Column("configuration", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(["fate_id"], ["fates.id"], name=op.f("fk_former_fates_fate_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_former_fates")),
    )
    op.create_index("ix_former_fates_fate", "former_fates", ["fate_id"])
    op.create_table(
        "messages",
        _id(),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(["id"], ["deliveries.id"], name=op.f("fk_messages_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_messages")),
    )
    op.create_table(
        "dictionaries",
        _id(),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("words", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_dictionaries")),
    )
    _pack_annotations()
    _index_labels()
    op.execute("UPDATE conversations SET token = substr(token, 1, 20)")
    op.execute("UPDATE conversations SET subject = '' WHERE kind IN ('group', 'alert')")
    op.drop_index("ix_members_open", "members")
    op.drop_index("ix_members_alert", "members")
    op.create_index("ix_members_alert", "members", ["alert_id", "open"])


def _id() -> sa.Column[int]:
    kind = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    return sa.Column("id", kind, autoincrement=False, nullable=False)


def _text() -> sa.types.TypeEngine[str]:
    return sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def _pack_annotations() -> None:
    """Convert annotations to bytes. They are packed only when their alert is reported again."""
    op.execute("ALTER TABLE alerts RENAME COLUMN annotations TO former_annotations")
    op.add_column(
        "alerts", sa.Column("annotations", sa.LargeBinary(), nullable=False, server_default=sa.text("''"))
    )
    if op.get_context().dialect.name == "sqlite":
        op.execute("UPDATE alerts SET annotations = CAST(former_annotations AS BLOB)")
    else:
        op.execute("UPDATE alerts SET annotations = convert_to(former_annotations, 'UTF8')")
    op.drop_column("alerts", "former_annotations")


def _index_labels() -> None:
    op.create_table(
        "alert_labels",
        sa.Column("label", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("alert_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.PrimaryKeyConstraint("label", "alert_id", name=op.f("pk_alert_labels")),
        sqlite_with_rowid=False,
    )
    connection = op.get_bind()
    one = "?" if connection.dialect.name == "sqlite" else "%s"
    insert = f"INSERT INTO alert_labels (label, alert_id) VALUES ({one}, {one})"  # noqa: S608  (constants)
    page = sa.text("SELECT id, labels FROM alerts WHERE id > :after ORDER BY id LIMIT :page")
    after = 0
    while rows := connection.execute(page, {"after": after, "page": _PAGE}).all():
        if found := entries(map(tuple, rows)):
            connection.exec_driver_sql(
                insert, found
            )  # of millions, the driver's own way takes a third of the time
        after = rows[-1].id


def downgrade() -> None:
    for table in ("alert_labels", "messages", "former_fates", "configurations"):
        op.drop_table(table)
    for column in ("configuration", "decided_at", "decision", "because"):
        op.drop_column("fates", column)
    op.drop_index("ix_members_alert", "members")
    op.create_index("ix_members_alert", "members", ["alert_id"])
    op.create_index("ix_members_open", "members", ["alert_id"], sqlite_where=_OPEN, postgresql_where=_OPEN)
    _restore_subjects()
    op.execute("ALTER TABLE alerts RENAME COLUMN annotations TO packed")
    op.add_column("alerts", sa.Column("annotations", _text(), nullable=False, server_default="{}"))
    _unpack("alerts", "packed", "annotations", lambda data: unpack(data).decode())
    op.drop_column("alerts", "packed")
    connection = op.get_bind()
    _unpack("webhooks", "body", "body", lambda data: unpack_stored(connection, data))
    op.drop_table("dictionaries")


def _restore_subjects() -> None:
    op.execute(
        "UPDATE conversations SET subject = (SELECT 'group:' || receiver || ':' || group_key FROM groups"
        " WHERE groups.id = conversations.group_id) WHERE kind = 'group'"
    )
    op.execute(
        "UPDATE conversations SET subject = 'alert:' || coalesce((SELECT min(identity) FROM alerts JOIN members"
        " ON members.alert_id = alerts.id WHERE members.conversation_id = conversations.id), '') WHERE kind = 'alert'"
    )
    connection = op.get_bind()
    page = sa.text(
        "SELECT id, destination, source, subject FROM conversations WHERE id > :after ORDER BY id LIMIT :page"
    )
    update = sa.text("UPDATE conversations SET token = :token WHERE id = :id")
    after = 0
    while rows := connection.execute(page, {"after": after, "page": _PAGE}).all():
        tokens = [
            {"id": id_, "token": hashlib.sha256("\n".join(named).encode()).hexdigest()[:32]}
            for id_, *named in rows
        ]
        connection.execute(update, tokens)
        after = rows[-1].id


def _unpack(table: str, packed: str, column: str, change: Callable[[bytes], Any]) -> None:
    connection = op.get_bind()
    page = sa.text(f"SELECT id, {packed} FROM {table} WHERE id > :after ORDER BY id LIMIT :page")  # noqa: S608  (constants)
    update = sa.text(f"UPDATE {table} SET {column} = :value WHERE id = :id")  # noqa: S608  (constants)
    after = 0
    while rows := connection.execute(page, {"after": after, "page": _PAGE}).all():
        connection.execute(update, [{"id": id_, "value": change(bytes(data))} for id_, data in rows])
        after = rows[-1].id
