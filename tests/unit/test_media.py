"""Files named by address: what they must be, how many, how large, and how many at once."""

import asyncio
from collections.abc import Iterator, Mapping

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway_core.config import MediaConfig
from gateway_core.errors import InvalidRequest, NoConnectionFree, OutsideError
from gateway_core.media import FetchedMedia, seen_type
from gateway_core.ports import MediaFile, MediaLink, OutsideAnswer
from gateway_core.testing.key_server import KeyServer, key_server

PNG = b"\x89PNG\r\n\x1a\n" + bytes(20)
JPEG = b"\xff\xd8\xff\xe0" + bytes(20)
SAMPLES = {
    "image/png": PNG,
    "image/jpeg": JPEG,
    "image/gif": b"GIF89a" + bytes(9),
    "image/webp": b"RIFF\x10\0\0\0WEBPVP8 ",
    "image/avif": b"\0\0\0\x1cftypavif",
    "image/heic": b"\0\0\0\x18ftypheic",
    "image/heif": b"\0\0\0\x18ftypmif1",
    "image/tiff": b"II*\0" + bytes(9),
    "image/bmp": b"BM" + bytes(9),
    "application/pdf": b"%PDF-1.7\n",
}
IMAGES = frozenset({"image/png", "image/jpeg"})
PARAM = "messages[0].content[1].image_url.url"
OPEN = MediaConfig(allow_http=True, allow_private_addresses=True)


def link(url: str, types: frozenset[str] = IMAGES, param: str = PARAM) -> MediaLink:
    return MediaLink(url, types, param)


@pytest.fixture
def server() -> Iterator[KeyServer]:
    with key_server() as served:
        served.body = PNG
        served.headers = {"content-type": "image/png"}
        yield served


async def fetched(server: KeyServer, config: MediaConfig = OPEN, *links: MediaLink) -> dict[str, MediaFile]:
    media = FetchedMedia.configured(config)
    try:
        return await media.fetch("acct_1", links or [link(f"{server.url}/a.png")])
    finally:
        await media.close()


async def refused(server: KeyServer, config: MediaConfig = OPEN, *links: MediaLink) -> str:
    with pytest.raises(InvalidRequest) as caught:
        await fetched(server, config, *links)
    assert caught.value.param is not None
    assert caught.value.param in str(caught.value)
    assert server.url not in str(caught.value)
    return str(caught.value)


async def test_a_file_comes_with_its_type(server: KeyServer) -> None:
    assert await fetched(server) == {f"{server.url}/a.png": MediaFile("image/png", PNG)}
    assert server.asked == [("GET", "/a.png", None)]


async def test_one_that_is_named_twice_is_fetched_once(server: KeyServer) -> None:
    links = [link(f"{server.url}/a"), link(f"{server.url}/b"), link(f"{server.url}/a")]
    assert set(await fetched(server, OPEN, *links)) == {f"{server.url}/a", f"{server.url}/b"}
    assert sorted(path for _, path, _ in server.asked) == ["/a", "/b"]


@pytest.mark.parametrize("kind", SAMPLES)
async def test_a_type_shows_by_the_first_bytes(server: KeyServer, kind: str) -> None:
    """Where the server does not say what it sends, and where it says the same."""
    server.body = SAMPLES[kind]
    wanted = link(server.url, frozenset(SAMPLES))
    for declared in ("", "application/octet-stream", kind, f"{kind.upper()}; charset=x"):
        server.headers = {"content-type": declared}
        assert (await fetched(server, OPEN, wanted))[server.url].type == kind


@pytest.mark.parametrize(
    ("declared", "body", "says"),
    [
        ("image/png", JPEG, "was sent as 'image/png', and is something else"),
        ("image/png", b"<html>log in</html>", "was sent as 'image/png', and is something else"),
        ("image/png", b"", "was sent as 'image/png', and is something else"),
        ("text/html", PNG, "was sent as 'text/html', and is something else"),
        ("text/html", b"<html>", f"{PARAM} is text/html; this model takes image/jpeg, image/png."),
        ("image/gif", b"GIF87a", f"{PARAM} is image/gif; this model takes image/jpeg, image/png."),
        ("", b"what is it", "did not say what type it is"),
        ("image/\x01" + "x" * 900, PNG, "was sent as 'image/"),
    ],
)
async def test_what_is_not_what_it_says_or_not_taken_is_refused(
    server: KeyServer, declared: str, body: bytes, says: str
) -> None:
    server.headers, server.body = {"content-type": declared.replace("\x01", "!")}, body
    message = await refused(server)
    assert says in message
    assert len(message) < 300


async def test_a_type_that_does_not_show_is_believed(server: KeyServer) -> None:
    server.headers, server.body = {"content-type": "text/csv"}, b"a,b\n"
    (file,) = (await fetched(server, OPEN, link(server.url, frozenset({"text/csv"})))).values()
    assert file == MediaFile("text/csv", b"a,b\n")


@pytest.mark.parametrize("other", ["image/jpg", "image/pjpeg"])
async def test_another_name_of_a_type_is_that_type(server: KeyServer, other: str) -> None:
    server.headers, server.body = {"content-type": other}, JPEG
    (file,) = (await fetched(server)).values()
    assert file.type == "image/jpeg"


@given(st.binary(max_size=40))
def test_any_bytes_have_a_type_or_none(data: bytes) -> None:
    kind = seen_type(data)
    assert kind is None or kind in SAMPLES


async def test_the_places_of_one_address_may_take_different_types(server: KeyServer) -> None:
    """Each is held to its own."""
    places = [link(server.url), link(server.url, frozenset({"application/pdf"}), "messages[1].content[0].file")]
    message = await refused(server, OPEN, *places)
    assert message == "messages[1].content[0].file is image/png; this model takes application/pdf."


@pytest.mark.parametrize("status", [204, 206, 400, 404, 500])
async def test_only_a_whole_answer_is_one(server: KeyServer, status: int) -> None:
    server.status = status
    assert await refused(server) == f"{PARAM} cannot be fetched: it answered {status}."


async def test_so_many_files_a_request(server: KeyServer) -> None:
    config = msgspec.structs.replace(OPEN, max_files=2)
    links = [link(f"{server.url}/{number}", param=f"messages[{number}]") for number in range(3)]
    assert len(await fetched(server, config, *links[:2], links[0])) == 2
    server.asked.clear()
    assert "at most 2 files by address" in await refused(server, config, *links)
    assert server.asked == []


async def test_none_where_none_are_fetched(server: KeyServer) -> None:
    message = await refused(server, msgspec.structs.replace(OPEN, max_files=0))
    assert "fetches nothing: send the file itself" in message
    assert server.asked == []
    assert await FetchedMedia.configured(msgspec.structs.replace(OPEN, max_files=0)).fetch("acct_1", []) == {}


async def test_so_many_bytes_a_file(server: KeyServer) -> None:
    server.body = PNG + bytes(1000 - len(PNG))
    assert await fetched(server, msgspec.structs.replace(OPEN, max_bytes=1000))
    assert "more than 999 bytes" in await refused(server, msgspec.structs.replace(OPEN, max_bytes=999))


async def test_so_many_bytes_a_request(server: KeyServer) -> None:
    """Those that are not fetched yet are not fetched any more."""
    server.body = PNG + bytes(1000 - len(PNG))
    config = msgspec.structs.replace(OPEN, max_request_bytes=2500, at_once=1)
    links = [link(f"{server.url}/{number}") for number in range(6)]
    assert len(await fetched(server, config, *links[:2])) == 2
    server.asked.clear()
    assert "together with the request's other files: 2500 bytes fit" in await refused(server, config, *links)
    assert len(server.asked) == 3


# ---------------------------------------------------------------- at once


class Slow:
    """An `Outside` whose answers come when they are let."""

    def __init__(self) -> None:
        self.running = 0
        self.most = 0
        self.asked = 0
        self.go = asyncio.Event()

    def check(self, url: str) -> None:
        """Any address will do."""

    async def ask(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes = b"", *, limit: int = 65_536
    ) -> OutsideAnswer:
        assert (method, body, limit) == ("GET", b"", OPEN.max_bytes)
        assert headers["accept"] == "image/jpeg, image/png"
        self.asked += 1
        self.running += 1
        self.most = max(self.most, self.running)
        try:
            await self.go.wait()
        finally:
            self.running -= 1
        if url == "bad":
            raise OutsideError("is bad")
        return OutsideAnswer(200, PNG, "image/png")

    async def close(self) -> None:
        """Has nothing open."""


async def settled() -> None:
    """Whatever can go on without anything from outside has gone on."""
    for _ in range(50):
        await asyncio.sleep(0)


def links(count: int, name: str = "x") -> list[MediaLink]:
    return [link(f"{name}{number}") for number in range(count)]


async def test_so_many_at_once_for_an_account_and_in_all() -> None:
    slow = Slow()
    media = FetchedMedia(slow, msgspec.structs.replace(OPEN, at_once=5, at_once_per_account=2))
    calls = [asyncio.create_task(media.fetch("acct_1", links(4, f"a{n}"))) for n in range(2)]
    await settled()
    assert slow.running == 2
    calls += [asyncio.create_task(media.fetch(f"acct_{n}", links(4))) for n in range(2, 6)]
    await settled()
    assert slow.running == 5
    slow.go.set()
    assert [len(files) for files in await asyncio.gather(*calls)] == [4] * 6
    assert (slow.most, slow.asked) == (5, 24)
    assert media._accounts == {}


async def test_who_waits_too_long_is_told_to_come_again() -> None:
    """It is not the request's fault: another route may be tried, then it is a 503."""
    slow = Slow()
    media = FetchedMedia(slow, msgspec.structs.replace(OPEN, at_once=1, seconds=0.01))
    first = asyncio.create_task(media.fetch("acct_1", links(1)))
    await settled()
    with pytest.raises(NoConnectionFree):
        await media.fetch("acct_2", links(1))
    slow.go.set()
    assert len(await first) == 1
    assert len(await media.fetch("acct_2", links(1))) == 1
    assert media._accounts == {}


async def test_one_that_fails_and_a_caller_that_goes_end_the_others() -> None:
    slow = Slow()
    media = FetchedMedia(slow, OPEN)
    going = asyncio.create_task(media.fetch("acct_1", links(3)))
    await settled()
    going.cancel()
    with pytest.raises(asyncio.CancelledError):
        await going
    assert (slow.running, media._accounts) == (0, {})
    slow.go.set()
    with pytest.raises(InvalidRequest, match="it is bad"):
        await media.fetch("acct_1", [*links(2), link("bad")])
    assert (slow.running, media._accounts) == (0, {})
