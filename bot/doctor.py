"""What is missing before the bot can serve, and how to mend it.

This module owns the checks of ``python -m bot doctor``. It changes nothing, loads no model and
never imports torch or Ray: hardware is asked of the operating system and of ``nvidia-smi``.
"""

from __future__ import annotations

import asyncio
import ipaddress
import os
import shutil
import socket
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Final

from bot.hardware import Hardware, read_hardware
from bot.invite import PERMISSIONS, invite_url
from bot.settings import CONFIG_FOLDER, Settings, WebSettings
from bot.web.visit import AnotherProgram, troubles
from models.catalog import Catalog, EndpointSource, HubSource, ModelSpec, Profile, Weights
from models.hub import gated
from models.weights import WeightStore, room_mb

if TYPE_CHECKING:
    import discord

_ANSWER_S: Final = 3.0
_SPARE_DISK_MB: Final = 1000
"""Room for the database, the spool and converted weights beside what has yet to be fetched."""

_LIBRARIES: Final = {
    "onnxruntime-genai": ("onnxruntime_genai", "onnx", "onnx_ir", "transformers", "gguf"),
    "transformers": ("torch", "transformers", "accelerate", "gguf"),
    "openai": ("openai",),
    "diffusers": ("torch", "diffusers", "transformers", "accelerate", "PIL"),
    "openai-images": ("openai", "PIL"),
    "transformers-upscaler": ("torch", "transformers", "PIL"),
    "transformers-vision": ("torch", "torchvision", "transformers", "PIL"),
    "rapidocr": ("rapidocr", "onnxruntime", "PIL"),
    "diffusers-video": ("torch", "diffusers", "transformers", "accelerate", "PIL"),
    "openai-video": ("openai", "PIL"),
    "google-video": ("google.genai", "PIL"),
    "coqui": ("torch", "TTS", "six", "torchcodec"),
    "openai-speech": ("openai",),
    "openai-transcription": ("openai",),
    "wav2vec2": ("torch", "transformers"),
    "hibari": ("onnxruntime", "numpy"),
    "kokoro": ("onnxruntime", "numpy"),
    "faster-whisper": ("faster_whisper", "ctranslate2"),
}
"""What a backend imports when it loads."""


class Level(StrEnum):
    """How bad a finding is; only FAIL keeps the bot from serving."""

    OK = "ok"
    WARN = "warn"
    FAIL = "FAIL"


@dataclass(frozen=True)
class Check:
    """One finding with its remedy, which is empty when nothing needs one."""

    level: Level
    subject: str
    finding: str
    remedy: str = ""


def main(settings: Settings, *, offline: bool = False) -> int:
    """Print every check and return 0 when nothing blocks."""
    checks = []
    for check in _checks(settings, offline=offline):
        print(f"{check.level:<5} {check.subject:<12} {check.finding}")  # noqa: T201
        if check.remedy:
            print(f"{'':<18} -> {check.remedy}")  # noqa: T201
        checks.append(check)
    blocking = sum(check.level is Level.FAIL for check in checks)
    verdict = "Ready: `python -m bot run`." if not blocking else f"{blocking} to mend first."
    print(f"\n{verdict}")  # noqa: T201
    return 1 if blocking else 0


def _checks(settings: Settings, *, offline: bool) -> Iterator[Check]:
    catalog = Catalog.read(CONFIG_FOLDER)
    store = WeightStore(settings.models_dir)
    chosen, needed = catalog.of_profile(settings.profile), catalog.needed_by(settings.profile)
    yield from check_libraries(chosen)
    hardware = read_hardware()
    yield from check_hardware(hardware, catalog, settings.profile)
    yield from check_models(needed, store)
    yield from check_prices(chosen)
    missing_mb = sum(room_mb(spec) for spec in needed if not store.is_installed(spec))
    yield from check_disk(settings, missing_mb)
    yield check_database(settings)
    yield from check_cluster(settings)
    yield from check_page(settings.web)
    yield from check_discord(settings, offline=offline)


# --------------------------------------------------------------------------- this machine


def check_libraries(specs: list[ModelSpec]) -> Iterator[Check]:
    """The packages of the bot and of the backends that the profile uses are there."""
    yield Check(Level.OK, "Python", ".".join(map(str, sys.version_info[:3])))
    try:
        found = ", ".join(f"{name} {version(name)}" for name in ("discord.py", "SQLAlchemy", "av"))
    except PackageNotFoundError as error:
        yield Check(Level.FAIL, "packages", f"{error.name} is missing", "pip install -e .")
        return
    yield Check(Level.OK, "packages", found)
    for spec in specs:
        needed = _LIBRARIES.get(spec.backend, ())  # a backend of the owner's knows for itself
        if missing := [name for name in needed if not _is_there(name)]:
            finding = f"{spec.id} needs {', '.join(missing)}"
            yield Check(Level.FAIL, "packages", finding, f"pip install -e '.[{spec.modality}]'")


def _is_there(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:  # a package above it is missing
        return False


def propose(hardware: Hardware, profiles: Mapping[str, Profile]) -> str:
    """Name the profile that makes the most of a machine."""
    largest_mb = max((memory_mb for _, memory_mb in hardware.gpus), default=0)
    for name in ("gpu-24gb", "gpu-8gb"):
        if name in profiles and largest_mb >= profiles[name].memory_mb:
            return name
    cpu = profiles.get("cpu")
    if cpu and hardware.memory_mb >= 2 * cpu.memory_mb and hardware.cores >= 4:
        return "cpu"
    return "embedded"


def check_hardware(hardware: Hardware, catalog: Catalog, chosen: str) -> Iterator[Check]:
    """The machine carries the chosen profile; another may suit it better."""
    gpus = ", ".join(f"{name} ({memory_mb} MB)" for name, memory_mb in hardware.gpus) or "no GPU"
    finding = f"{hardware.cores} cores, {hardware.memory_mb} MB of memory, {gpus}"
    yield Check(Level.OK, "hardware", finding)
    profile, proposed = catalog.profile(chosen), propose(hardware, catalog.profiles)
    remedy = "" if chosen == proposed else f"This machine suits `{proposed}`: SEXTANT_PROFILE."
    if hardware.memory_mb < profile.memory_mb and not hardware.gpus:
        finding = f"`{chosen}` needs {profile.memory_mb} MB of memory"
        yield Check(Level.WARN, "profile", finding, remedy)
    else:
        yield Check(Level.OK, "profile", f"`{chosen}`: {profile.description}", remedy)


def check_models(specs: Sequence[Weights], store: WeightStore) -> Iterator[Check]:
    """The profile's models are there, and the tools that models use."""
    for spec in specs:
        if store.is_installed(spec):
            purpose = spec.modality if isinstance(spec, ModelSpec) else "other models to use"
            yield Check(Level.OK, "model", f"{spec.id} for {purpose}")
            continue
        if isinstance(spec.source, EndpointSource):
            remedy = f"Set {spec.source.api_key_env}."
            yield Check(Level.WARN, "model", f"{spec.id} has no key", remedy)
            continue
        remedy = f"python -m bot models pull {spec.id}"
        if isinstance(spec.source, HubSource) and spec.source.gated:
            remedy = f"{gated(spec.source)} Then: {remedy}"
        level = Level.FAIL if isinstance(spec, ModelSpec) else Level.WARN
        yield Check(level, "model", f"{spec.id} is not installed", remedy)


def check_prices(specs: Sequence[ModelSpec]) -> Iterator[Check]:
    """What hosted models of the profile charge is known, or else nothing caps it."""
    for spec in specs:
        if spec.is_hosted and spec.prices is None:
            remedy = "Write [model.prices] into its row; zeros for a server of your own."
            yield Check(Level.WARN, "model", f"{spec.id} has no prices, so no cap holds", remedy)


def check_disk(settings: Settings, missing_mb: int) -> Iterator[Check]:
    """The folders can be written, and have room for what has yet to be fetched."""
    data, weights = settings.data_dir.absolute(), settings.models_dir.absolute()
    together = _filesystem(data) == _filesystem(weights)
    yield _check_folder(data, "DATA", _SPARE_DISK_MB, missing_mb if together else 0)
    if not weights.is_relative_to(data):
        yield _check_folder(weights, "WEIGHTS", 0, missing_mb)


def _check_folder(folder: Path, setting: str, least_mb: int, wanted_mb: int) -> Check:
    there = _existing(folder)
    if not (there.is_dir() and os.access(there, os.W_OK)):
        remedy = f"Set SEXTANT_{setting}_DIR to a folder that the bot may write."
        return Check(Level.FAIL, "disk", f"{folder} cannot be written", remedy)
    free_mb = shutil.disk_usage(there).free // 1_000_000
    finding = f"{free_mb} MB free in {folder}"
    if free_mb < least_mb + wanted_mb:
        level = Level.FAIL if free_mb < least_mb else Level.WARN
        wanted = f", {wanted_mb} MB to fetch" if wanted_mb else ""
        remedy = "Free some, or set SEXTANT_WEIGHTS_DIR to a larger disk."
        return Check(level, "disk", finding + wanted, remedy)
    return Check(Level.OK, "disk", finding)


def _existing(folder: Path) -> Path:
    return next(place for place in (folder, *folder.parents) if place.exists())


def _filesystem(folder: Path) -> int:
    return _existing(folder).stat().st_dev


def check_database(settings: Settings) -> Check:
    """The database can be opened, and has this version's schema."""
    from sqlalchemy import make_url
    from sqlalchemy.exc import DBAPIError

    from bot.db.session import Database, is_absent, newest_revision

    async def revision() -> str | None:
        database = Database(settings.database)
        try:
            return await database.revision()
        finally:
            await database.close()

    if is_absent(make_url(settings.database)):
        return Check(Level.OK, "database", "made at the first start")
    try:
        found = asyncio.run(revision())
    except (DBAPIError, OSError) as error:
        finding = f"cannot be opened: {getattr(error, 'orig', None) or error}"
        return Check(Level.FAIL, "database", finding, "Look at SEXTANT_DATABASE_URL.")
    if found == newest_revision():
        return Check(Level.OK, "database", f"schema {found}")
    return Check(Level.WARN, "database", f"schema {found}", "python -m bot db upgrade")


def check_cluster(settings: Settings) -> Iterator[Check]:
    """Ray is here and its head answers, where workers are to be in a cluster."""
    if settings.engine.backend != "ray":
        return
    if not _is_there("ray"):
        yield Check(Level.FAIL, "cluster", "Ray is missing", "pip install -e '.[cluster]'")
        return
    address = settings.ray.address if settings.ray.address != "auto" else _own_cluster()
    if not address:
        remedy = "ray start --address=<its head>:6379 --num-cpus=0 --num-gpus=0"
        yield Check(Level.FAIL, "cluster", "this machine is in no Ray cluster", remedy)
        return
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=_ANSWER_S).close()
    except OSError as error:
        remedy = "Start Ray there, or look at SEXTANT_RAY__ADDRESS. See docs/cluster.md."
        yield Check(Level.FAIL, "cluster", f"{address} does not answer: {error}", remedy)
    else:
        finding = f"Ray {version('ray')}; a head answers at {address}"
        yield Check(Level.OK, "cluster", finding)


def _own_cluster() -> str:
    """Return the address that ``ray start`` wrote down on this machine, empty where it did not."""
    file = Path(os.environ.get("RAY_TMPDIR", "/tmp")) / "ray" / "ray_current_cluster"  # noqa: S108
    return file.read_text("ascii").strip() if file.is_file() else ""


def check_page(settings: WebSettings) -> Iterator[Check]:
    """Health and metrics: where they are served, who may read them, and what they say just now."""
    if not settings.port:
        yield Check(Level.OK, "page", "health and metrics are not served (web.port is 0)")
        return
    place = f"http://{settings.host}:{settings.port}"
    try:
        wrong = troubles(settings)
    except AnotherProgram:
        finding = f"{place} is held by something that is no bot, or hangs"
        yield Check(Level.WARN, "page", finding, "Set SEXTANT_WEB__PORT to a port that is free.")
        return
    if wrong is None:
        yield Check(Level.OK, "page", f"health and metrics will be at {place}")
    elif wrong:
        told = "; ".join(f"{name}: {finding}" for name, finding in wrong.items())
        yield Check(Level.WARN, "page", f"the bot that runs is not ready: {told}")
    else:
        yield Check(Level.OK, "page", f"the bot that runs is ready ({place}/readyz)")
    if not _is_loopback(settings.host):
        remedy = "Let a firewall decide who reaches it, or leave web.host at 127.0.0.1."
        yield Check(Level.WARN, "page", f"{settings.host} is open to others, no password", remedy)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


# --------------------------------------------------------------------------- Discord


def check_discord(settings: Settings, *, offline: bool) -> Iterator[Check]:
    """The token is good, messages may be read, and every server grants what is needed."""
    token = settings.token.get_secret_value()
    if not token:
        remedy = (
            "Create an application at https://discord.com/developers/applications, copy the token "
            "of its bot, and write DISCORD_TOKEN=... into .env."
        )
        yield Check(Level.FAIL, "token", "DISCORD_TOKEN is not set", remedy)
    elif offline:
        yield Check(Level.OK, "token", "set; Discord was not asked")
    else:
        yield from asyncio.run(_ask_discord(token))


async def _ask_discord(token: str) -> list[Check]:
    import aiohttp
    import discord

    async with discord.Client(intents=discord.Intents.none()) as client:
        try:
            await client.login(token)
            application = await client.application_info()
            servers = await client.http.get_guilds(200)
        except discord.LoginFailure:
            remedy = "Copy it anew from the developer portal: Bot, Reset Token."
            return [Check(Level.FAIL, "token", "Discord refuses it", remedy)]
        except (aiohttp.ClientError, discord.HTTPException, OSError) as error:
            finding = f"Discord cannot be asked ({type(error).__name__})"
            return [Check(Level.WARN, "token", finding, "Look at the network, then try again.")]
    checks = [Check(Level.OK, "token", f"belongs to {application.name}"), _intents(application)]
    checks += [_server(server["name"], int(server["permissions"])) for server in servers]
    url = invite_url(application.id)
    if not servers:
        checks.append(Check(Level.WARN, "servers", "the bot is in none yet", f"Invite it: {url}"))
    else:
        checks.append(Check(Level.OK, "invite", url))
    return checks


def _intents(application: discord.AppInfo) -> Check:
    flags = application.flags
    if flags.gateway_message_content or flags.gateway_message_content_limited:
        return Check(Level.OK, "intents", "message content may be read")
    remedy = "Switch on Message Content Intent in the developer portal, under Bot."
    return Check(Level.FAIL, "intents", "message content is switched off", remedy)


def _server(name: str, granted: int) -> Check:
    from discord import Permissions

    permissions = Permissions(granted)
    missing = [
        flag.replace("_", " ")
        for flag, wanted in PERMISSIONS
        if wanted and not getattr(permissions, flag)
    ]
    if not missing or permissions.administrator:
        return Check(Level.OK, "server", name)
    remedy = "Grant it to the bot's role, or invite the bot anew."
    return Check(Level.WARN, "server", f"{name} does not grant: {', '.join(missing)}", remedy)
