"""The custom ids that persistent buttons carry: versioned, short, readable after a restart.

This module owns their form. It must not import Discord: whoever prepares an answer needs only the
text, and ``bot.views.buttons`` gives it its meaning. Where an id names a member, who may press can
be told at once, before anything is read from the disk.
"""

from __future__ import annotations

from typing import Literal

VERSION = "sx1"
"""Raised when the meaning of an id changes, so that old buttons are refused instead of misread."""

_USER = r"(?P<user>[0-9]{1,20})"

STOP_TEMPLATE = rf"{VERSION}:stop:(?P<job>[0-9a-z]{{16}})"
AGAIN_TEMPLATE = rf"{VERSION}:again:{_USER}:(?P<recipe>[0-9a-z]{{16}})"
DELETE_TEMPLATE = rf"{VERSION}:delete:{_USER}:(?P<job>[0-9a-z]{{16}})"

PictureAction = Literal["vary", "upscale", "edit", "reference", "describe", "animate", "ask"]
"""What can be done with an answer that shows pictures or is about some."""

_ACTION = r"(?P<action>[a-z]{3,10})"
_RECIPE = r"(?P<recipe>[0-9a-z]{16})"
PICTURE_TEMPLATE = rf"{VERSION}:pic:{_ACTION}:{_USER}:{_RECIPE}"
PICK_TEMPLATE = (
    rf"{VERSION}:pick:{_ACTION}:{_USER}:{_RECIPE}:(?P<message>[0-9]{{1,20}}):(?P<number>[0-9])"
)


def stop_id(job_id: str) -> str:
    """Return the id of the button that stops a job."""
    return f"{VERSION}:stop:{job_id}"


def again_id(user_id: int, recipe_id: str) -> str:
    """Return the id of the button that carries out a member's recipe once more."""
    return f"{VERSION}:again:{user_id}:{recipe_id}"


def delete_id(user_id: int, job_id: str) -> str:
    """Return the id of the button that deletes the answer of a member's job."""
    return f"{VERSION}:delete:{user_id}:{job_id}"


def picture_id(action: PictureAction, user_id: int, recipe_id: str) -> str:
    """Return the id of a button below an answer with pictures."""
    return f"{VERSION}:pic:{action}:{user_id}:{recipe_id}"


def pick_id(
    action: PictureAction, user_id: int, recipe_id: str, *, message_id: int, number: int
) -> str:
    """Return the id of the button that picks one of several pictures of a message."""
    return f"{VERSION}:pick:{action}:{user_id}:{recipe_id}:{message_id}:{number}"
