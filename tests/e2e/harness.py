"""The wire double and the bot as processes, with what tests ask of them.

This module owns their starts and ends: whatever a test does, neither outlives it.
"""

from __future__ import annotations

import asyncio
import base64
import io
import json
import math
import os
import shutil
import signal
import struct
import sys
import time
import wave
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import aiohttp
import psutil

from tests.db.locking import locked
from tests.e2e.fake_backend import LET_GO
from tests.e2e.looking import Json, brief, buttons
from tests.e2e.outside import Outside, PostgresOutside, SqliteOutside

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
TOKEN = "wire.double.token"
GUILD, CHANNEL, OTHER_CHANNEL = 2000, 3000, 3001
OLGA, AMIR, BEATE = 4000, 4001, 4002


class Wire:
    """The double of Discord, in a process of its own."""

    def __init__(self, process: asyncio.subprocess.Process, url: str) -> None:
        self.url = url
        self.bots: list[Bot] = []
        self._process = process
        self._http = aiohttp.ClientSession(url)

    @classmethod
    async def start(cls) -> Wire:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            str(HERE / "wire_double.py"),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
        assert process.stdout
        port = json.loads(await process.stdout.readline())["port"]
        return cls(process, f"http://127.0.0.1:{port}")

    async def stop(self) -> None:
        """End it, after the bots that a test has left running."""
        for bot in self.bots:
            await bot.kill()
            bot.database.close()
        await self._http.close()
        assert self._process.stdin
        self._process.stdin.close()
        try:
            await asyncio.wait_for(self._process.wait(), 60)
        except TimeoutError:
            self._process.kill()
            await self._process.wait()

    async def _call(self, path: str, body: Json) -> Json:
        async with self._http.post(f"/control/{path}", json=body) as response:
            assert response.status < 300, f"{path} {body}: {response.status} {response.reason}"
            return await response.json() if response.status == 200 else {}

    async def command(
        self, name: str, *, user: int = OLGA, target: int = 0, **options: Any
    ) -> Json:
        """Type a slash command; give back the interaction's id and token."""
        body = {"name": name, "user": user, "options": options}
        return await self._call("command", body | ({"target": target} if target else {}))

    async def press(self, message: Json, label: str, *, user: int = OLGA) -> Json:
        button = next(b for b in buttons(message) if b.get("label") == label)
        place = {"message": message["id"], "channel": int(message["channel_id"])}
        return await self._call("press", {**place, "custom_id": button["custom_id"], "user": user})

    async def say(self, content: str = "", **more: Any) -> Json:
        """Write a message as a member."""
        return await self._call("message", {"content": content, **more})

    async def fault(self, method: str, path: str, status: int, times: int = 1, **more: Any) -> None:
        await self._call(
            "fault", {"method": method, "path": path, "status": status, "times": times, **more}
        )

    async def gateway(self, action: str) -> None:
        await self._call("gateway", {"action": action})

    async def repeat(self, event: str) -> None:
        """Have the newest gateway event of a kind sent once more."""
        await self._call("repeat", {"event": event})

    async def set(self, **values: Any) -> None:
        """Change how the double behaves; whatever values are given, injected faults end."""
        await self._call("set", values)

    async def expire(self, interaction: Json) -> None:
        await self._call("expire", {"token": interaction["token"]})

    async def delete(self, message: Json) -> None:
        await self._call(
            "delete", {"message": message["id"], "channel": int(message["channel_id"])}
        )

    async def state(self) -> Json:
        async with self._http.get("/control/state") as response:
            state: Json = await response.json()
            return state

    async def download(self, url: str) -> bytes:
        async with self._http.get(url.removeprefix(self.url)) as response:
            return await response.read()

    async def until(
        self, what: Callable[[Json], Any], *, within_s: float = 60.0, bot: Bot | None = None
    ) -> Any:
        """Wait until something can be seen and give it back."""
        end = time.monotonic() + within_s
        while True:
            state = await self.state()
            if found := what(state):
                return found
            if time.monotonic() > end or (bot and not bot.alive):
                shown = json.dumps([brief(m) for m in state["messages"]], indent=1)
                log = bot.log.read_text()[-4000:] if bot else ""
                raise AssertionError(f"not seen within {within_s} s:\n{shown}\n{log}")
            await asyncio.sleep(0.05)


class Bot:
    """The bot against a wire double, in a process of its own with a data folder of its own."""

    program = HERE / "launch_bot.py"

    def __init__(self, wire: Wire, folder: Path, **environment: str) -> None:
        self.wire = wire
        wire.bots.append(self)
        self.folder = folder
        self.log = folder / "bot.log"
        self.environment = environment
        url = environment.get("SEXTANT_DATABASE_URL")
        self.database: Outside = (
            PostgresOutside(url) if url else SqliteOutside(folder / "data" / "sextant.db")
        )
        self._process: asyncio.subprocess.Process | None = None

    async def start(self, *, ready_s: float = 60.0) -> float:
        """Start it and give back the seconds until its gateway session was ready."""
        before = len((await self.wire.state())["ready_at"])
        begun = time.time()
        await self.launch()
        ready_at = await self.wire.until(
            lambda s: s["ready_at"][before:], within_s=ready_s, bot=self
        )
        return float(ready_at[0]) - begun

    async def launch(self, command: str = "run") -> None:
        """Start a command of its own without waiting for anything."""
        config = write_installation(self.folder)
        with self.log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-W", "ignore", str(self.program)),
                *(self.wire.url, str(config), *command.split()),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=asyncio.subprocess.STDOUT,
                cwd=self.folder,
                env={
                    **os.environ,
                    "PYTHONPATH": os.pathsep.join(map(str, (ROOT, HERE, self.folder / "plugins"))),
                    "DISCORD_TOKEN": TOKEN,
                    "SEXTANT_DATA_DIR": str(self.folder / "data"),
                    **self.environment,
                },
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        assert self._process
        return self._process.pid

    @property
    def alive(self) -> bool:
        return self._process is not None and self._process.returncode is None

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        """Read its database from outside."""
        return self.database.rows(query)

    def job_states(self) -> list[str]:
        return [state for (state,) in self.rows("select state from jobs order by created_at")]

    @contextmanager
    def locked_database(self) -> Iterator[None]:
        """Hold the lock that writers need, as a backup may."""
        with locked(self.folder / "data" / "sextant.db"):
            yield

    def write(self, statement: str) -> None:
        """Change its database while it is not running."""
        assert not self.alive
        self.database.execute(statement)

    def memory_mb(self) -> float:
        return float(psutil.Process(self.pid).memory_info().rss) / 1e6

    def cpu_s(self) -> float:
        """Processor time that it has used so far, in seconds."""
        times = psutil.Process(self.pid).cpu_times()
        return float(times.user + times.system)

    def workers(self) -> list[psutil.Process]:
        """Its worker processes."""
        return list(psutil.Process(self.pid).children())

    def mapped(self) -> str:
        return Path(f"/proc/{self.pid}/maps").read_text()

    def let_go(self) -> None:
        """Let the fake model's jobs end that are ``held``, from now on."""
        (self.folder / LET_GO).touch()

    def terminate(self) -> None:
        os.kill(self.pid, signal.SIGTERM)

    async def wait(self, within_s: float = 60.0) -> int:
        assert self._process
        return await asyncio.wait_for(self._process.wait(), within_s)

    async def kill(self) -> None:
        """SIGKILL, which no handler sees. Its workers end with it."""
        if self.alive:
            os.kill(self.pid, signal.SIGKILL)
            await self.wait()


def write_installation(folder: Path) -> Path:
    """Write a config folder whose models are all the fake backend, and its entry point."""
    config = folder / "config"
    if config.exists():
        return config
    (config / "models").mkdir(parents=True)
    shutil.copy(ROOT / "config" / "default.toml", config)
    row = (
        '[[model]]\nid = "fake-{0}"\nname = "Fake {0}"\nmodality = "{0}"\nbackend = "fake"\n'
        'licence = "MIT"\ncommercial_use = true\nmemory_mb = 10\nload_s = 0.5\n'
        'capabilities = ["seed", "speed", "language", "translate", "word_timestamps"]\n'
        'source = {{kind = "path", path = "/"}}\n'
    )
    modalities = ("text", "speech", "transcription")
    for modality in modalities:
        (config / "models" / f"{modality}.toml").write_text(row.format(modality))
    defaults = "".join(f'{modality} = "fake-{modality}"\n' for modality in modalities)
    profile = f'[embedded]\ndescription = "fakes"\nmemory_mb = 100\n[embedded.defaults]\n{defaults}'
    (config / "profiles.toml").write_text(profile)
    plugin = folder / "plugins" / "fake_backend-1.dist-info"
    plugin.mkdir(parents=True)
    (plugin / "METADATA").write_text("Metadata-Version: 2.1\nName: fake-backend\nVersion: 1\n")
    (plugin / "entry_points.txt").write_text("[sextant.backends]\nfake = fake_backend:load\n")
    return config


def encoded(filename: str, data: bytes, content_type: str = "") -> Json:
    """A file as the control API takes it."""
    return {
        "filename": filename,
        "content_type": content_type,
        "data": base64.b64encode(data).decode(),
    }


def wav(*, seconds: float) -> bytes:
    """A sine as a WAV file."""
    out = io.BytesIO()
    with closing(wave.open(out, "wb")) as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(16000)
        count = int(16000 * seconds)
        file.writeframes(
            b"".join(struct.pack("<h", int(9000 * math.sin(n / 6))) for n in range(count))
        )
    return out.getvalue()
