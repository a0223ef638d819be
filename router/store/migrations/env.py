"""Alembic's entry: migrates over the connection that the store hands in.

A migration runs on every database: write it with Alembic's operations, or in SQL that all of them take. Those up to
0010 run on SQLite only. No database of another kind is older.
"""

from alembic import context

from router.store.schema import metadata

context.configure(
    connection=context.config.attributes["connection"], target_metadata=metadata, render_as_batch=True
)
with context.begin_transaction():
    context.run_migrations()
