"""The demo's channel on disk: what was said, and every file that the bot sent.

This module owns the form of ``demo-output/``.
"""

from __future__ import annotations

import re
import shutil
from pathlib import Path

from bot.demo.channel import ChannelView, ShownMessage


def write_down(view: ChannelView, title: str, folder: Path) -> int:
    """Write ``transcript.md`` and the bot's files anew, and return how many files there are.

    Args:
        view: The channel.
        title: Heading of the transcript.
        folder: Made where it is missing; an older record in it is replaced.
    """
    files = folder / "files"
    shutil.rmtree(files, ignore_errors=True)
    files.mkdir(parents=True)
    entries = [f"# {title}\n"]
    count = 0
    for message in view.messages():
        lines = [_heading(message), "", message.content or "", ""]
        for file in message.files:
            if not message.by_bot:
                lines.append(f"- {file.name} ({file.size_bytes:,} bytes)")
                continue
            count += 1
            name = f"{count:02}-{re.sub(r'[^A-Za-z0-9._-]+', '_', file.name)}"
            (files / name).write_bytes(view.read(file))
            shown = "!" if file.content_type.startswith("image/") else ""
            lines.append(f"- {shown}[{file.name}](files/{name}) ({file.size_bytes:,} bytes)")
        labels = [f"`{button.label}`" for button in message.buttons]
        if labels:
            lines.append(f"- buttons: {' '.join(labels)}")
        entries.append("\n".join(lines).rstrip() + "\n")
    (folder / "transcript.md").write_text("\n".join(entries), "utf-8")
    return count


def _heading(message: ShownMessage) -> str:
    marks = [
        mark
        for mark, holds in (
            ("app", message.by_bot),
            ("voice message", message.voice),
            ("only they can see this", message.private),
        )
        if holds
    ]
    named = f"{message.author} ({', '.join(marks)})" if marks else message.author
    return f"## {named}, {message.sent_at[11:19]} UTC"
