"""How migrations reach the database: the URL of the caller, or of the owner's settings."""

from __future__ import annotations

import asyncio

from sqlalchemy import Connection, make_url

from alembic import context
from bot.db.session import make_engine
from bot.db.tables import Table
from bot.settings import read_settings


def migrate(connection: Connection) -> None:
    """Run the migrations in one transaction.

    SQLite alters a table by copying it (batch), which needs foreign keys off.
    """
    context.configure(
        connection=connection,
        target_metadata=Table.metadata,
        render_as_batch=True,
        compare_server_default=True,
        transactional_ddl=True,
    )
    with context.begin_transaction():
        context.run_migrations()


async def connect_and_migrate() -> None:
    url = context.config.attributes.get("url") or read_settings().database
    engine = make_engine(make_url(url), foreign_keys=False)
    try:
        async with engine.connect() as connection:
            await connection.run_sync(migrate)
    finally:
        await engine.dispose()


if context.is_offline_mode():
    raise SystemExit("Migrations run against a database; there is no SQL script of them.")
asyncio.run(connect_and_migrate())
