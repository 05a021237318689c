"""The command line: run, demo, doctor, models, db.

This module owns the arguments. Each command imports what it needs when it is called, so that all
of them start fast.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from bot.settings import CONFIG_FOLDER, Settings, SettingsError, read_settings
from models.catalog import (
    Catalog,
    CatalogError,
    EndpointSource,
    ModelSpec,
    Weights,
    backend_entry_point,
)
from models.errors import HandlerError, ModelUnavailable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from models.weights import WeightStore

OK, FAILED, MISCONFIGURED, INTERRUPTED = 0, 1, 78, 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return the exit code."""
    options = _parser().parse_args(arguments)
    try:
        settings = read_settings()
    except SettingsError as error:
        print(error, file=sys.stderr)
        return MISCONFIGURED
    try:
        code: int = options.command(settings, options)
    except (CatalogError, ModelUnavailable) as error:
        print(error, file=sys.stderr)
        return MISCONFIGURED
    except KeyboardInterrupt:
        print("\nStopped.", file=sys.stderr)
        return INTERRUPTED
    return code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m bot",
        description="Sextant, a Discord bot for generative AI on your own hardware.",
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    run = commands.add_parser("run", help="run against Discord with DISCORD_TOKEN")
    run.set_defaults(command=_run)

    demo = commands.add_parser("demo", help="try the bot in a simulated Discord, without a token")
    demo.add_argument("--once", action="store_true", help="play the tour, write it down and exit")
    demo.add_argument("--port", type=int, default=8765, help="of the page (default: %(default)s)")
    demo.add_argument(
        "--output", type=Path, default=Path("demo-output"), help="of --once (default: %(default)s)"
    )
    demo.set_defaults(command=_demo)

    doctor = commands.add_parser("doctor", help="say what is missing and how to mend it")
    doctor.add_argument("--offline", action="store_true", help="leave out what asks Discord")
    doctor.set_defaults(command=_doctor)

    _add_models(commands.add_parser("models", help="list, fetch, check and remove weights"))
    _add_db(commands.add_parser("db", help="the database's schema"))
    return parser


def _add_models(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(required=True, metavar="ACTION")
    actions.add_parser("list", help="show all models").set_defaults(command=_models_list)
    table = actions.add_parser("table", help="print docs/models.md, made from the catalogue")
    table.set_defaults(command=_models_table)
    for name, command, text in (
        ("pull", _models_pull, "fetch weights; without an ID those of the profile"),
        ("prepare", _models_prepare, "load weights once, so that the first job need not convert"),
        ("verify", _models_verify, "check installed weights; without an ID all of them"),
        ("remove", _models_remove, "delete weights and what was converted from them"),
    ):
        action = actions.add_parser(name, help=text, description=text)
        action.add_argument("id", nargs="+" if name == "remove" else "*", metavar="ID")
        action.set_defaults(command=command)


def _add_db(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(required=True, metavar="ACTION")
    actions.add_parser("upgrade", help="bring it to this version").set_defaults(command=_db_upgrade)
    actions.add_parser("check", help="say which version it has").set_defaults(command=_db_check)


# --------------------------------------------------------------------------- run, demo, doctor


def _run(settings: Settings, _: argparse.Namespace) -> int:
    from bot.run import main as run

    return run(settings)


def _demo(settings: Settings, options: argparse.Namespace) -> int:
    from bot.demo.run import main as demo

    return demo(settings, once=options.once, port=options.port, output=options.output)


def _doctor(settings: Settings, options: argparse.Namespace) -> int:
    from bot.doctor import main as doctor

    return doctor(settings, offline=options.offline)


# --------------------------------------------------------------------------- models


def _open_models(settings: Settings) -> tuple[Catalog, WeightStore]:
    from models.weights import WeightStore

    return Catalog.read(CONFIG_FOLDER), WeightStore(settings.models_dir)


def _models_list(settings: Settings, _: argparse.Namespace) -> int:
    catalog, store = _open_models(settings)
    defaults = {spec.id for spec in catalog.of_profile(settings.profile)}
    for spec in catalog.everything():
        mark = "installed" if store.is_installed(spec) else "-"
        star = "*" if spec.id in defaults or spec in catalog.tools.values() else " "
        size = f"{spec.download_mb} MB" if spec.download_mb else ""
        kind = spec.modality if isinstance(spec, ModelSpec) else "tool"
        print(f"{star} {kind:<14}{spec.id:<31}{mark:<10}{size:>9}  {spec.licence}")
        print(f"    {_needs(spec)}. {spec.description}")
    print(f"\n* fetched for the profile `{settings.profile}`")
    return OK


def _needs(spec: Weights) -> str:
    """Return what a model takes of this machine, and whether it may serve a business."""
    hosted = isinstance(spec.source, EndpointSource)
    memory = "Runs elsewhere" if hosted else f"{spec.memory_mb / 1000:.1f} GB of memory"
    return memory + ("" if spec.commercial_use else ", not for commercial use as listed")


def _models_table(*_: object) -> int:
    from bot.models_page import models_page

    print(models_page(Catalog.read(CONFIG_FOLDER)), end="")
    return OK


def _models_pull(settings: Settings, options: argparse.Namespace) -> int:
    from models.hub import PullFailed

    catalog, store = _open_models(settings)
    chosen = list(map(catalog.weights, options.id)) or catalog.needed_by(settings.profile)
    code = OK
    for spec in chosen:
        try:
            store.pull(spec, _say)
        except PullFailed as error:
            print(error, file=sys.stderr)
            code = FAILED
        except KeyboardInterrupt:
            print("\nStopped. The next pull goes on from here.", file=sys.stderr)
            return INTERRUPTED
    return code


def _say(line: str) -> None:
    """Print a line; on a terminal, a bar that grows takes the place of the one before."""
    grows = line.endswith(" %") and not line.endswith("100 %") and sys.stdout.isatty()
    print(line, end="\r" if grows else "\n", flush=True)


def _models_prepare(settings: Settings, options: argparse.Namespace) -> int:
    from models.weights import placed

    catalog, store = _open_models(settings)
    for spec in list(map(catalog.get, options.id)) or catalog.of_profile(settings.profile):
        begun = time.monotonic()
        location, load = store.locate(spec), backend_entry_point(spec.backend).load()
        print(f"{spec.id}: loading", flush=True)
        try:
            load(placed(spec, store, catalog.tools), location, "cpu").close()
        except HandlerError as error:
            print(f"{spec.id}: {error}\n{error.__cause__ or ''}", file=sys.stderr)
            return FAILED
        print(f"{spec.id}: ready, {time.monotonic() - begun:.0f} s", flush=True)
    return OK


def _models_verify(settings: Settings, options: argparse.Namespace) -> int:
    catalog, store = _open_models(settings)
    installed = filter(store.is_installed, catalog.everything())
    code, damaged = OK, False
    for spec in list(map(catalog.weights, options.id)) or installed:
        problems = store.verify(spec)
        print(f"{spec.id}: {'; '.join(problems) or 'fine'}")
        code = FAILED if problems else code
        damaged = damaged or bool(problems and store.is_installed(spec))
    if damaged:
        print("\nWhat is damaged is mended by `models remove ID` and `models pull ID`.")
    return code


def _models_remove(settings: Settings, options: argparse.Namespace) -> int:
    catalog, store = _open_models(settings)
    code = OK
    for spec in map(catalog.weights, options.id):
        try:
            removed = store.remove(spec)
            print(f"{spec.id}: {'removed' if removed else 'nothing here to remove'}")
        except OSError as error:
            print(f"{spec.id} cannot be removed: {error.strerror}", file=sys.stderr)
            code = FAILED
    return code


# --------------------------------------------------------------------------- db


def _db_upgrade(settings: Settings, _: argparse.Namespace) -> int:
    import asyncio

    from bot.db.session import Database, DatabaseUnavailable, InstanceRunning, newest_revision

    async def open_once() -> None:
        database = Database(settings.database)
        await database.open()
        await database.close()

    try:
        asyncio.run(open_once())
    except (DatabaseUnavailable, InstanceRunning) as error:
        print(error, file=sys.stderr)
        return FAILED
    print(f"The database has the schema of this version, {newest_revision()}.")
    return OK


def _db_check(settings: Settings, _: argparse.Namespace) -> int:
    from alembic.util import CommandError
    from sqlalchemy import make_url
    from sqlalchemy.exc import DBAPIError

    from bot.db.session import is_absent, schema_differences

    url = make_url(settings.database)
    if is_absent(url):
        print("There is no database yet; `python -m bot db upgrade` makes it.", file=sys.stderr)
        return FAILED
    try:
        schema_differences(url)
    except (CommandError, DBAPIError) as error:
        print(f"{error}\n`python -m bot db upgrade` brings it up to date.", file=sys.stderr)
        return FAILED
    return OK


if __name__ == "__main__":
    sys.exit(main())
