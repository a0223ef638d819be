"""A later version of the router: a copy of this checkout with another version number and one more migration."""

import shutil
from pathlib import Path

from router.store.opening import newest_revision
from tests.acceptance.processes import ROOT

VERSION = "99.0"
_MIGRATION = '''
import sqlalchemy as sa
from alembic import op

revision, down_revision, branch_labels, depends_on = "9001", "{before}", None, None
{since}


def upgrade() -> None:
    """Change tables that every batch writes, as a version with another feature would."""
    op.add_column("deliveries", sa.Column("later", sa.Text(), server_default="", nullable=False))
    op.create_table("later", sa.Column("id", sa.BigInteger(), primary_key=True))
    op.execute("SELECT pg_sleep({seconds})")


def downgrade() -> None:
    op.drop_table("later")
    op.drop_column("deliveries", "later")
'''


def make_next_version(folder: Path, *, older_may_serve: bool = True, seconds: int = 0) -> Path:
    """Write the code of the next version. :returns: the folder to start it in

    :param seconds: how long its migration takes at least; meanwhile nobody reads or writes the tables that it changes
    """
    place = folder / "next-version"
    for name in ("router", "templates"):
        shutil.copytree(ROOT / name, place / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "routes.yaml", place)
    since = f'serves_since = "{newest_revision()}"' if older_may_serve else ""
    text = _MIGRATION.format(before=newest_revision(), since=since, seconds=seconds)
    (place / "router/store/migrations/versions/9001_later.py").write_text(text)
    # The folder comes first in the path of modules, so this metadata is found before that of this checkout.
    metadata = place / f"alert_router-{VERSION}.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: alert-router\nVersion: {VERSION}\n")
    return place
