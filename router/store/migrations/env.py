"""Alembic's entry point: runs the migrations on the connection that the store provides.

A migration runs on every kind of database: write it with Alembic's operations, or in SQL that all of them accept. The
migrations up to 0010 run on SQLite only, because no PostgreSQL database is older than that.
"""

from alembic import context

from router.store.schema import metadata

context.configure(
    connection=context.config.attributes["connection"], target_metadata=metadata, render_as_batch=True
)
with context.begin_transaction():
    context.run_migrations()
