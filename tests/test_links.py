"""What a link of a member may look like, and which are open."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from bot.engine.spool import Spool
from bot.internet import PublicInternet
from bot.links import Link, LinkService
from bot.settings import LinkSettings, MediaSettings
from models.errors import InvalidMedia, UnsupportedOption


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    return Spool(tmp_path / "spool")


@pytest.fixture
def internet() -> Iterator[PublicInternet]:
    made = PublicInternet()
    yield made
    made.close()


# --------------------------------------------------------------------------- what a link looks like


@pytest.mark.parametrize(
    ("text", "url", "filename"),
    [
        ("https://files.example/a/talk.mp3", "https://files.example/a/talk.mp3", "talk.mp3"),
        (" <https://files.example/talk.mp3> ", "https://files.example/talk.mp3", "talk.mp3"),
        ("HTTPS://Files.EXAMPLE:443/a%20b.mp3?x=a%2Bb&y=a+b#t=5",
         "https://files.example/a%20b.mp3?x=a%2Bb&y=a+b", "a b.mp3"),
        ("https://files.example./x.ogg", "https://files.example./x.ogg", "x.ogg"),
        ("https://files.example", "https://files.example", "files.example"),
        ("https://münchen.example/ä.png", "https://xn--mnchen-3ya.example/%C3%A4.png", "ä.png"),
        ("https://a_b.files.example/x", "https://a_b.files.example/x", "x"),
        ("https://files.example/a%0Ab%00c.ogg", "https://files.example/a%0Ab%00c.ogg", "abc.ogg"),
    ],
)  # fmt: skip
def test_a_link_to_a_named_server_is_read(text: str, url: str, filename: str) -> None:
    link = Link.parse(text)
    assert str(link.url) == url
    assert link.filename == filename


@pytest.mark.parametrize(
    "text",
    [
        "",
        "talk.mp3",
        "files.example/talk.mp3",
        "//files.example/talk.mp3",
        "http://files.example/talk.mp3",
        "ftp://files.example/talk.mp3",
        "file:///etc/passwd",
        "data:audio/ogg;base64,T2dnUw==",
        "javascript:alert(1)",
        "https:///talk.mp3",
        "https://user@files.example/",
        "https://user:secret@files.example/",
        "https://:@files.example/",
        "https://files.example:8443/",
        "https://files.example:80/",
        "https://files.example:0/",
        "https://files.example:99999/",
        "https://files.example\\@other.example/",
        "https://files.example /x",
        "https://files.example/a b",
        "https://files.\texample/",
        "https://files.example/\r\nHost: other",
        "https://files.example/\u202egpj.exe",
        "https://localhost/",
        "https://LOCALHOST./",
        "https://intranet/",
        "https://127.0.0.1/",
        "https://127.0.0.1./",
        "https://127.1/",
        "https://2130706433/",
        "https://0x7f000001/",
        "https://0x7f.0.0.1/",
        "https://017700000001/",
        "https://0177.0.0.01/",
        "https://127.0.0.0x1/",
        "https://１２７.０.０.１/",
        "https://127。0。0。1/",
        "https://①②⑦.⓪.⓪.①/",
        "https://%31%32%37.0.0.1/",
        "https://8.8.8.8/",
        "https://169.254.169.254/latest/meta-data/",
        "https://[::1]/",
        "https://[::ffff:127.0.0.1]/",
        "https://[64:ff9b::7f00:1]/",
        "https://[fd00:ec2::254]/",
        "https://[fe80::1%25eth0]/",
        "https://[2606:4700::1111]/",
        "https://[::1/",
        "https://files..example/",
        "https://.files.example/",
        "https://-.example/",
        "https://xn--zz.xn--zz/",
        "https://" + "a" * 64 + ".example/",
        "https://" + "a." * 130 + "example/",
    ],
)
def test_anything_else_is_no_link(text: str) -> None:
    with pytest.raises(InvalidMedia, match="That is no link to a file"):
        Link.parse(text)


@settings(deadline=None)
@given(st.ip_addresses(), st.sampled_from(["{}", "{}.", "[{}]", "[::ffff:{}]", "{0:d}", "{0:x}"]))
def test_no_spelling_of_an_address_is_a_link(address: Any, form: str) -> None:
    written = form.format(int(address)) if "0:" in form else form.format(address)
    with pytest.raises(InvalidMedia):
        Link.parse(f"https://{written}/")


@settings(deadline=None)
@given(st.text(max_size=80) | st.from_regex(r"https://[!-~]{1,60}", fullmatch=True))
@example("https://files.example@127.0.0.1/")
def test_whatever_is_read_names_a_server_and_nothing_more(text: str) -> None:
    try:
        link = Link.parse(text)
    except InvalidMedia:
        return
    assert link.url.scheme == "https"
    assert link.url.port == 443
    assert (link.url.user, link.url.password) == (None, None)
    assert "." in link.host
    assert not link.host.rpartition(".")[2][0].isdigit()


# --------------------------------------------------------------------------- what the owner allows


@pytest.mark.parametrize(
    "host", ["cdn.discordapp.com", "media.discordapp.net", "CDN.discordapp.com."]
)
def test_links_to_files_in_discord_are_open_from_the_start(
    spool: Spool, internet: PublicInternet, host: str
) -> None:
    LinkService(LinkSettings(), MediaSettings(), spool, internet).read(f"https://{host}/a/b.png")


@pytest.mark.parametrize(
    ("sites", "host", "part"),
    [
        ("discord", "files.example", "Only links to files in Discord"),
        ("discord", "cdn.discordapp.com.files.example", "Only links to files in Discord"),
        ("discord", "discordapp.com", "Only links to files in Discord"),
        ("none", "cdn.discordapp.com", "No links are opened here"),
    ],
)
def test_others_are_open_where_the_owner_says_so(
    spool: Spool, internet: PublicInternet, sites: Any, host: str, part: str
) -> None:
    made = LinkService(LinkSettings(sites=sites), MediaSettings(), spool, internet)
    with pytest.raises(UnsupportedOption, match=part):
        made.read(f"https://{host}/a.png")
