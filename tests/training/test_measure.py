from PIL import Image

from training.measure import contact_sheet, prompts
from training.scenes import Split


def test_what_is_measured_was_never_trained_on() -> None:
    asked = prompts(Split.TEST, 60)
    assert asked == prompts(Split.TEST, 60)
    assert all(one.scene.held_out for one in asked)
    assert len({one.prompt for one in asked}) == 60
    tuned_on = {one.prompt for one in prompts(Split.DEV, 60)}
    assert not tuned_on & {one.prompt for one in asked}


def test_the_contact_sheet_shows_every_picture() -> None:
    colours = ["red", "green", "blue"] * 4
    images = [Image.new("RGB", (64, 64), colour) for colour in colours]
    sheet = contact_sheet(images, colours)
    places = [(n % 8 * 134 + 60, n // 8 * 172 + 60) for n in range(len(images))]
    expected = [image.getpixel((0, 0)) for image in images]
    assert [sheet.getpixel(place) for place in places] == expected
