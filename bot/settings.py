"""The owner's settings: ``config/default.toml``, an optional file of the owner's, the environment.

This module owns their types, bounds and defaults. What moderators change inside Discord is
``bot.services.server_settings``. A later source wins: default.toml, then the file named by
``SEXTANT_CONFIG`` (``sextant.toml`` in the working folder by default), then ``.env``, then the
environment (``SEXTANT_ENGINE__MEMORY_MB=8000``; the token is plain ``DISCORD_TOKEN``).
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AliasChoices, BaseModel, ConfigDict, Field, SecretStr, ValidationError
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from models.contracts import Modality

CONFIG_FOLDER = Path(__file__).resolve().parent.parent / "config"

Seconds = Annotated[float, Field(gt=0)]
Megabytes = Annotated[int, Field(ge=1)]


class SettingsError(Exception):
    """A setting is wrong; the message says which and how to mend it."""


class _Group(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class EngineSettings(_Group):
    """How jobs run.

    Attributes:
        backend: Where workers live: on this machine, or in the Ray cluster of ``RaySettings``.
        lanes: Worker processes on the CPU; models of different lanes run side by side.
        memory_mb: Budget of all loaded models together, in MiB; 0 takes half of the machine's.
        vram_mb: Budget of the models on each GPU of this machine, in MiB, above which its worker is
            killed; 0 takes 90 % of what it has, and kills none.
        worker_memory_mb: A worker above this is killed, in MiB; 0 takes the budget.
        threads: Threads of one worker's libraries; 0 leaves one core to the event loop.
        idle_unload_s: A model that nobody used for so long is freed, in seconds.
        load_deadline_s, first_event_deadline_s, event_gap_deadline_s: Longest time to load a model,
            until a job's first event, and between its events, in seconds.
        cancel_grace_s: A worker that ignores a cancel for so long is killed, in seconds.
        queue_limit: Jobs that may wait in all.
        drain_s: How long a stop waits for running jobs, in seconds.
        warm: Default models of the profile that are loaded at the start, by what they do.
        recycle_growth: An idle worker that holds so many times what it held when it was warm, and
            200 MiB more, is started anew.
        recycle_jobs: So is one after so many jobs.
    """

    backend: Literal["local", "ray"] = "local"
    lanes: Annotated[int, Field(ge=1, le=64)] = 1
    memory_mb: Annotated[int, Field(ge=0)] = 0
    vram_mb: Annotated[int, Field(ge=0)] = 0
    worker_memory_mb: Annotated[int, Field(ge=0)] = 0
    threads: Annotated[int, Field(ge=0, le=256)] = 0
    device: str = "auto"
    idle_unload_s: Seconds = 900.0
    load_deadline_s: Seconds = 300.0
    first_event_deadline_s: Seconds = 120.0
    event_gap_deadline_s: Seconds = 120.0
    cancel_grace_s: Seconds = 4.0
    queue_limit: Annotated[int, Field(ge=1)] = 10_000
    drain_s: Seconds = 30.0
    warm: tuple[Modality, ...] = (Modality.TEXT,)
    recycle_growth: Annotated[float, Field(ge=1)] = 1.5
    recycle_jobs: Annotated[int, Field(ge=1)] = 5000


class RaySettings(_Group):
    """Workers in a Ray cluster, where ``engine.backend`` says so.

    Attributes:
        address: ``host:port`` of its head; ``auto`` finds the cluster that this machine is in.
        lanes: Workers in the cluster.
        gpus, cpus, resources: What each of them reserves there.
        memory_mb: Budget of the models of each worker, in MiB; 0 asks the machines, and takes 90 %
            of a GPU, or half of the memory where workers have none.
        start_s: How long a worker may wait for room in the cluster, in seconds; less than
            ``engine.load_deadline_s``.
    """

    address: Annotated[str, Field(pattern=r"^(auto|[^/\s]+:\d+)$")] = "auto"
    lanes: Annotated[int, Field(ge=1, le=256)] = 1
    gpus: Annotated[float, Field(ge=0)] = 1.0
    cpus: Annotated[float, Field(ge=0)] = 1.0
    resources: Mapping[str, float] = {}
    memory_mb: Annotated[int, Field(ge=0)] = 0
    start_s: Seconds = 120.0


class MediaSettings(_Group):
    """Limits of what members send.

    Attributes:
        max_upload_mb: Largest attachment that is fetched, in MiB.
        max_text_kb: Largest text file, in KiB.
        max_audio_minutes: Longest sound that is transcribed.
    """

    max_upload_mb: Megabytes = 200
    max_text_kb: Annotated[int, Field(ge=1)] = 256
    max_audio_minutes: Annotated[float, Field(gt=0)] = 240.0


class LinkSettings(_Group):
    """Links that members give instead of files.

    Attributes:
        sites: Where they may lead: to files in Discord, to any public server, or nowhere. Whoever
            runs a server that the bot opens learns this machine's internet address.
        timeout_s: Longest time to fetch a file, in seconds.
    """

    sites: Literal["discord", "any", "none"] = "discord"
    timeout_s: Seconds = 180.0


class PrivacySettings(_Group):
    """How long things are kept, in days.

    Attributes:
        prompt_days: What members asked, in servers whose moderators keep it.
        kept_pictures_mb: Pictures that one member uploaded for buttons to use again, in MiB; as
            long as the buttons work, and the oldest go first.
    """

    memory_days: Annotated[int, Field(ge=0)] = 30
    recipe_days: Annotated[int, Field(ge=0)] = 30
    kept_pictures_mb: Annotated[int, Field(ge=0)] = 50
    prompt_days: Annotated[int, Field(ge=0)] = 30
    job_days: Annotated[int, Field(ge=1)] = 365


class HostedSettings(_Group):
    """What hosted models may cost, in US dollars and calendar months (UTC).

    Attributes:
        usd_per_server_month: For a server, and for all direct messages together. Moderators may
            lower it for theirs.
        usd_per_month: For the whole bot.
    """

    usd_per_server_month: Annotated[float, Field(ge=0, le=1_000_000)] = 10.0
    usd_per_month: Annotated[float, Field(ge=0, le=1_000_000)] = 50.0


class WebSettings(_Group):
    """The page with the bot's health and metrics.

    Attributes:
        host: Address that it is served at. It has no password: whoever reaches it may read it.
        port: 0 serves no page.
    """

    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65535)] = 0


class LimitSettings(_Group):
    """The most that the jobs of a server may be, and those of all direct messages together.

    Moderators may set less. 0 is no bound.

    Attributes:
        jobs_at_once: That wait or run.
        jobs_hour: Started in an hour.
        device_s_day: Seconds of computing in a day.
    """

    jobs_at_once: Annotated[int, Field(ge=0, le=1_000_000)] = 200
    jobs_hour: Annotated[int, Field(ge=0, le=1_000_000)] = 0
    device_s_day: Annotated[int, Field(ge=0, le=1_000_000)] = 0


class LogSettings(_Group):
    """What is written to standard error."""

    level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    format: Literal["text", "json"] = "text"


class Settings(BaseSettings):
    """Everything the owner may set, frozen.

    Attributes:
        token: Discord bot token, from ``DISCORD_TOKEN``.
        profile: Table of ``config/profiles.toml`` that names the default models.
        data_dir: Where the database, the spool and the weights live.
        weights_dir: Where the weights live instead, such as a larger disk.
        database_url: SQLAlchemy URL; empty for SQLite in ``data_dir``.
        contact: Shown by /about, so that members know whom to ask.
    """

    model_config = SettingsConfigDict(
        env_prefix="SEXTANT_",
        env_nested_delimiter="__",
        env_file=".env",
        extra="ignore",
        frozen=True,
    )

    token: SecretStr = Field(SecretStr(""), validation_alias=AliasChoices("DISCORD_TOKEN", "token"))
    profile: str = "embedded"
    data_dir: Path = Path("data")
    weights_dir: Path | None = None
    database_url: str = ""
    contact: str = ""
    engine: EngineSettings = EngineSettings()
    ray: RaySettings = RaySettings()
    media: MediaSettings = MediaSettings()
    links: LinkSettings = LinkSettings()
    privacy: PrivacySettings = PrivacySettings()
    hosted: HostedSettings = HostedSettings()
    web: WebSettings = WebSettings()
    limits: LimitSettings = LimitSettings()
    log: LogSettings = LogSettings()

    @property
    def spool_dir(self) -> Path:
        """Folder of inputs and outputs under way."""
        return self.data_dir / "spool"

    @property
    def kept_dir(self) -> Path:
        """Folder of uploaded pictures that buttons use again."""
        return self.data_dir / "kept"

    @property
    def models_dir(self) -> Path:
        """Folder of fetched and converted weights."""
        return self.weights_dir or self.data_dir / "models"

    @property
    def database(self) -> str:
        """The database's URL, with SQLite in ``data_dir`` where none is set."""
        return self.database_url or f"sqlite+aiosqlite:///{self.data_dir / 'sextant.db'}"

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        files = [CONFIG_FOLDER / "default.toml"]
        files.append(Path(os.environ.get("SEXTANT_CONFIG", "sextant.toml")))
        return (
            init_settings,
            env_settings,
            dotenv_settings,
            TomlConfigSettingsSource(settings_cls, files, deep_merge=True),
        )


def read_settings() -> Settings:
    """Read every source.

    Raises:
        SettingsError: A value does not fit; names the setting.
    """
    try:
        return Settings()
    except ValidationError as error:
        lines = [
            f"  {'.'.join(str(part) for part in problem['loc'])}: {problem['msg']}"
            for problem in error.errors(include_url=False, include_input=False)
        ]
        raise SettingsError("Some settings are wrong:\n" + "\n".join(lines)) from error
    except ValueError as error:
        raise SettingsError(f"A settings file cannot be read: {error}") from error
