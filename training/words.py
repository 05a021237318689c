"""The words that captions use, each beside the truth that it stands for.

This module owns the vocabulary. A word stands for one truth only, so that captions cannot mislead.
"""

from __future__ import annotations

from training.scenes import Colour, Ground, Kind, Size, Time, Weather

KINDS: dict[Kind, tuple[str, ...]] = {
    Kind.HOUSE: ("house", "house", "house", "home", "cottage", "hut"),
    Kind.TREE: ("tree",),
    Kind.BOAT: ("boat", "boat", "boat", "sailboat", "sailing boat", "ship"),
    Kind.CAR: ("car", "car", "car", "auto", "automobile"),
    Kind.CAT: ("cat", "cat", "cat", "kitten", "kitty"),
    Kind.DOG: ("dog", "dog", "dog", "puppy"),
    Kind.FLOWER: ("flower", "flower", "blossom"),
    Kind.BALL: ("ball",),
    Kind.BIRD: ("bird",),
    Kind.BALLOON: ("balloon",),
    Kind.KITE: ("kite",),
    Kind.MUSHROOM: ("mushroom", "mushroom", "toadstool"),
}
"""The first is the plain one; a word that is there more often is chosen more often."""

COLOURS: dict[Colour, tuple[str, ...]] = {
    Colour.RED: ("red", "red", "red", "crimson", "scarlet"),
    Colour.ORANGE: ("orange",),
    Colour.YELLOW: ("yellow", "yellow", "yellow", "golden"),
    Colour.GREEN: ("green",),
    Colour.BLUE: ("blue", "blue", "blue", "navy"),
    Colour.PURPLE: ("purple", "purple", "violet"),
    Colour.PINK: ("pink", "pink", "pink", "rose"),
    Colour.BROWN: ("brown",),
    Colour.BLACK: ("black",),
    Colour.WHITE: ("white",),
}

SIZES: dict[Size, tuple[str, ...]] = {
    Size.SMALL: ("small", "little", "tiny"),
    Size.MIDDLE: ("",),
    Size.BIG: ("big", "large", "huge"),
}

GROUNDS: dict[Ground, tuple[str, ...]] = {
    Ground.GRASS: ("on the grass", "on green grass", "on a meadow", "in a field", "on a lawn"),
    Ground.SAND: ("on the beach", "on the sand", "on a sandy beach", "in the desert"),
    Ground.SNOW: ("on the snow", "on snowy ground", "on a snowy field", "on white snow"),
    Ground.WATER: ("on the sea", "on the water", "on the lake", "at sea", "on the ocean"),
    Ground.ROAD: ("on the road", "on a street", "on the street", "on a road"),
}

GROUND_NAMES: dict[Ground, tuple[str, ...]] = {
    Ground.GRASS: ("grass", "a meadow", "a field", "a lawn"),
    Ground.SAND: ("a beach", "sand", "a sandy beach", "a desert"),
    Ground.SNOW: ("snowy ground", "a snowy field"),
    Ground.WATER: ("the sea", "water", "a lake", "the ocean"),
    Ground.ROAD: ("a road", "a street"),
}

TIMES: dict[Time, tuple[str, ...]] = {
    Time.DAY: ("by day", "during the day", "in daylight", "at noon", "in the daytime"),
    Time.SUNSET: ("at sunset", "in the evening", "at dusk", "during sunset"),
    Time.NIGHT: ("at night", "in the night", "by night", "at midnight"),
    Time.DAWN: ("at dawn", "at sunrise", "in the early morning", "at daybreak"),
}

WEATHERS: dict[Weather, tuple[str, ...]] = {
    Weather.CLEAR: ("under a clear sky", "in clear weather", "with a clear sky"),
    Weather.CLOUDY: ("under a cloudy sky", "with clouds", "under clouds", "in cloudy weather"),
    Weather.RAIN: ("in the rain", "in rainy weather", "while it rains", "with rain falling"),
    Weather.SNOW: ("in falling snow", "while it snows", "in snowy weather", "with snow falling"),
    Weather.FOG: ("in the fog", "in fog", "in foggy weather", "in the mist"),
}

MOUNTAINS = ("with mountains", "in front of mountains", "with mountains behind", "near mountains")
SUN = ("with the sun", "in the sun", "with the sun shining", "under the sun")
MOON = ("with the moon", "under the moon", "in the moonlight", "with a moon")
STARS = ("with stars", "under the stars", "under a starry sky", "with stars shining")

LEFT = ("left of", "to the left of", "on the left of", "on the left side of")
RIGHT = ("right of", "to the right of", "on the right of", "on the right side of")
ABOVE = ("above", "over", "high above")
BELOW = ("below", "under", "underneath", "beneath")

OPENINGS = (
    "",
    "",
    "",
    "a picture of",
    "a drawing of",
    "draw",
    "an image of",
    "please draw",
    "a simple drawing of",
    "show me",
    "a painting of",
    "paint",
)
