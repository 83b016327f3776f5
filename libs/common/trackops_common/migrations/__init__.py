"""Runs a service's Alembic migrations. Serving code never imports this."""

from __future__ import annotations

from alembic import command, context
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import create_engine, make_url

__all__ = ["newest_revision", "run_environment", "upgrade"]


def upgrade(package: str, database_url: str) -> None:
    """Bring the schema of `package`'s role to the newest revision; safe to repeat.

    `database_url` names the service's own role, whose `search_path` is its schema.
    """
    config = _config(package)
    config.attributes["url"] = make_url(database_url).set(drivername="postgresql+psycopg2")
    command.upgrade(config, "head")


def newest_revision(package: str) -> str:
    """What `alembic_version` holds once `upgrade` is done."""
    newest = ScriptDirectory.from_config(_config(package)).get_current_head()
    if newest is None:
        raise ValueError(f"{package} has no migrations")
    return newest


def run_environment() -> None:
    """The body of every service's `migrations/env.py`."""
    engine = create_engine(context.config.attributes["url"])
    with engine.connect() as connection:
        context.configure(connection=connection)
        with context.begin_transaction():
            context.run_migrations()
    engine.dispose()


def _config(package: str) -> Config:
    config = Config()
    config.set_main_option("script_location", f"{package}:migrations")
    return config
