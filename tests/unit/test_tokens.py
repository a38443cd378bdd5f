"""Tokens: exact against tiktoken's own encoding, bounded for any text, off the loop, loaded once."""

import asyncio
import random
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable
from functools import partial
from typing import Any

import pytest
import pytest_asyncio
import tiktoken
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway_core.errors import ConfigError
from gateway_core.tokens import Tokens, approximate, vocabulary
from gateway_core.tokens.vocabulary import Vocabulary

MEBI = 1 << 20


@pytest.fixture(scope="module", params=["cl100k_base", "o200k_base"])
def loaded(request: pytest.FixtureRequest) -> Vocabulary:
    return Vocabulary.load(request.param)


@pytest_asyncio.fixture
async def tokens() -> AsyncIterator[Tokens]:
    made = Tokens()
    yield made
    made.close()


# ------------------------------------------------------------ exactness


@pytest.mark.parametrize(
    ("name", "text", "ids"),
    [
        ("o200k_base", "hello world", [24912, 2375]),
        ("cl100k_base", "hello world", [15339, 1917]),
        ("o200k_base", "", []),
        ("cl100k_base", "tiktoken is great!", [83, 1609, 5963, 374, 2294, 0]),
    ],
)
def test_published_examples(name: str, text: str, ids: list[int]) -> None:
    assert Vocabulary.load(name).encode(text) == ids


def test_the_patterns_are_tiktokens_own(loaded: Vocabulary) -> None:
    import tiktoken_ext.openai_public as public  # type: ignore[import-untyped]  # it has no types

    read: dict[str, Any] = {}

    def no_download(*_args: object, **_options: object) -> dict[bytes, int]:
        return {}

    original = public.load_tiktoken_bpe
    public.load_tiktoken_bpe = no_download
    try:
        read = getattr(public, loaded.name)()
    finally:
        public.load_tiktoken_bpe = original
    assert vocabulary._PUBLISHED[loaded.name][1] == read["pat_str"]


def test_special_tokens_are_plain_text(loaded: Vocabulary) -> None:
    text = "<|endoftext|><|im_start|>system"
    ids = loaded.encode(text)
    assert len(ids) > 8
    assert b"".join(loaded.bytes_of(ids)).decode() == text


#: Texts made of what the patterns tell apart: words, marks, digits, contractions, CJK, emoji, and every kind of space.
_WORDS = (
    "Hello",
    "wORLD",
    "it's",
    "don'T",
    "a",
    "Z",
    "ſ",
    "é",
    "e\u0301",
    "日本",
    "語",
    "Привет",
    "1",
    "2024",
    "½",
    "Ⅷ",
    "٣",
)
_SIGNS = ("!", "...", "/", "'", "_", "。", "、", "🙂", "👩\u200d👧", "\u200d", "\x1c")
_SPACES = (" ", "  ", "\t", "\n", "\r\n", "\n\n", "\u3000", "\xa0", "\u2028", "\x85", "\x0b")
_BITS = st.sampled_from(_WORDS + _SIGNS + _SPACES)
_TEXTS = st.lists(st.one_of(_BITS, _BITS, st.text(max_size=3)), max_size=60).map("".join)


@settings(max_examples=400, deadline=None)
@given(text=_TEXTS, size=st.integers(1, 40))
def test_a_text_in_slices_has_the_same_tokens(loaded: Vocabulary, text: str, size: int) -> None:
    whole = loaded._core.encode_ordinary(vocabulary._encodable(text))
    boundaries = [match.end() for match in vocabulary._BOUNDARY.finditer(text)][:: max(1, size // 8)]
    parts = [text[a:b] for a, b in zip([0, *boundaries], [*boundaries, len(text)], strict=True)]
    assert [token for part in parts for token in loaded.encode(part)] == whole


@settings(max_examples=60, deadline=None)
@given(before=_TEXTS, run=st.sampled_from([" ", "\t", "\u3000", " \xa0"]), after=_TEXTS)
def test_long_runs_of_space_are_cut_where_the_pattern_cuts(
    loaded: Vocabulary, before: str, run: str, after: str
) -> None:
    # Long for us, and still short enough for tiktoken to say what is right.
    text = before + (run * 65_600)[:65_600] + after
    assert loaded.encode(text) == loaded._core.encode_ordinary(vocabulary._encodable(text))


def test_slices_are_the_text() -> None:
    text = "Ein Satz, der sich wiederholt. " * 9000
    parts = list(vocabulary.slices(text))
    assert len(parts) > 3
    assert "".join(parts) == text


def test_lone_surrogates_are_replaced(loaded: Vocabulary) -> None:
    assert loaded.count("a\ud800b") == loaded.count("a\ufffdb")


# ------------------------------------------------------------ bounded


_RANDOM = random.Random(7)  # noqa: S311  # a text to count, no secret

_HARD: dict[str, Callable[[], str]] = {
    "spaces": lambda: " " * MEBI,
    "spaces and a word": lambda: " " * MEBI + "x",
    "words between spaces": lambda: ("x" + " " * 200_000) * 5,
    "a run just too short": lambda: (" " * 65_535 + "\n") * 16,
    "tabs": lambda: "\t" * MEBI,
    "line ends": lambda: "\n" * MEBI,
    "spaces and line ends": lambda: " \n" * (MEBI // 2),
    "spaces, a line end, spaces": lambda: " " * MEBI + "\n" + " " * MEBI,
    "one letter": lambda: "a" * MEBI,
    "capitals": lambda: "A" * MEBI,
    "no spaces": lambda: "".join(_RANDOM.choices("abcdefghijklmnopqrstuvwxyz", k=MEBI)),
    "base64": lambda: "".join(
        _RANDOM.choices("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789+/", k=MEBI)
    ),
    "emoji": lambda: "😀" * MEBI,
    "CJK": lambda: "".join(map(chr, _RANDOM.choices(range(0x4E00, 0x9FFF), k=MEBI))),
    "punctuation": lambda: "!" * MEBI,
    "combining marks": lambda: "\u0301" * MEBI,
    "zero": lambda: "\x00" * MEBI,
    "digits": lambda: "7" * MEBI,
}


@pytest.mark.parametrize("kind", _HARD)
def test_a_mebi_of_anything_is_counted(loaded: Vocabulary, kind: str) -> None:
    text = _HARD[kind]()
    started = time.thread_time()
    counted = sum(map(loaded.count, vocabulary.slices(text)))
    spent = time.thread_time() - started
    assert 0 < counted <= len(text.encode())
    # A hundredfold of what is quadratic would be minutes.
    assert spent < 20


@pytest.mark.parametrize("character", [" ", "a", "漢", "😀"])
def test_what_is_longer_than_the_longest_run_is_cut(loaded: Vocabulary, character: str) -> None:
    text = character * (MEBI + 1000)
    assert [len(part) for part in vocabulary.slices(text)] == [MEBI, 1000]
    assert sum(map(loaded.count, vocabulary.slices(text))) > 0


# ------------------------------------------------------------ Tokens


async def test_counts_are_exact_and_add_up(tokens: Tokens) -> None:
    assert await tokens.count("o200k_base", ["hello world", "hello", ""]) == 3
    assert await tokens.count("o200k_base", []) == 0
    long = "The quick brown fox jumps over the lazy dog.\n" * 4000
    loaded = Vocabulary.load("o200k_base")
    assert await tokens.count("o200k_base", [long, "x", long]) == 2 * len(loaded.encode(long)) + 1
    assert await tokens.count("o200k_base", ["word"] * 5000) == 5000


async def test_encode_gives_ids_and_bytes(tokens: Tokens) -> None:
    assert await tokens.encode("o200k_base", "hello world") == [(24912, b"hello"), (2375, b" world")]
    text = "🧑‍🚀 ዓለም " * 9000
    encoded = await tokens.encode("cl100k_base", text)
    assert b"".join(piece for _, piece in encoded).decode() == text
    assert any(b"\xf0" in piece and len(piece) < 4 for _, piece in encoded)
    assert await tokens.encode("o200k_base", "") == []


async def test_a_vocabulary_is_loaded_once(tokens: Tokens, monkeypatch: pytest.MonkeyPatch) -> None:
    loads = []
    original = Vocabulary.load

    def noting(name: str) -> Vocabulary:
        loads.append((name, threading.current_thread().name))
        return original(name)

    monkeypatch.setattr(Vocabulary, "load", noting)
    first = asyncio.create_task(tokens.count("o200k_base", ["hello"]))
    others = [asyncio.create_task(tokens.count("o200k_base", ["hello"])) for _ in range(20)]
    await asyncio.sleep(0)
    first.cancel()
    assert await asyncio.gather(*others) == [1] * 20
    assert first.cancelled()
    assert loads == [("o200k_base", "tokens_0")]


async def test_an_unknown_vocabulary_names_those_there_are(tokens: Tokens) -> None:
    for _ in range(2):
        with pytest.raises(ConfigError, match='no vocabulary "p50k_base"; shipped are cl100k_base, o200k_base'):
            await tokens.count("p50k_base", ["hello"])


async def test_damage_is_noticed(tokens: Tokens, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(vocabulary._PUBLISHED, "o200k_base", ("0" * 64, ""))
    with pytest.raises(ConfigError, match="is damaged"):
        await tokens.count("o200k_base", ["hello"])
    monkeypatch.undo()
    assert await tokens.count("o200k_base", ["hello"]) == 1


async def test_the_loop_goes_on_while_a_long_text_is_counted(tokens: Tokens) -> None:
    await tokens.count("o200k_base", ["warm"])
    long = asyncio.create_task(tokens.count("o200k_base", ["😀" * MEBI, "漢" * MEBI]))
    turns = 0
    while not long.done():
        turns += 1
        await asyncio.sleep(0)
    assert await long > MEBI
    # Each turn is a chance for another call; a blocked loop would have had a handful.
    assert turns > 1000


async def test_a_short_text_does_not_wait_for_a_long_one(tokens: Tokens) -> None:
    await tokens.count("o200k_base", ["warm"])
    long = asyncio.create_task(tokens.count("o200k_base", ["many words " * 400_000]))
    await asyncio.sleep(0)
    await tokens.count("o200k_base", ["some more words " * 200])
    assert not long.done()
    await long


# ------------------------------------------------------------ estimates and messages


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("", 0),
        ("a", 1),
        ("abcd", 1),
        ("abcde", 2),
        ("Привет", 3),
        ("日本語", 3),
        ("😀😀", 2),
        ("ab日", 2),
        ("\ud800", 1),
    ],
)
def test_estimates(text: str, count: int) -> None:
    assert approximate.estimate([text]) == count


@given(st.text(max_size=80))
def test_the_split_agrees_with_the_estimate(text: str) -> None:
    parts = approximate.split(text)
    assert "".join(parts) == text
    assert len(parts) == approximate.estimate([text])
    assert all(parts)


@given(st.lists(st.text(max_size=20), max_size=5))
def test_an_estimate_adds_up(texts: list[str]) -> None:
    assert approximate.estimate(texts) == sum(approximate.estimate([text]) for text in texts)


#: OpenAI's own worked example of its formula, and what its API reported for it.
_COOKBOOK = [
    {
        "role": "system",
        "content": "You are a helpful, pattern-following assistant that translates "
        "corporate jargon into plain English.",
    },
    {
        "role": "system",
        "name": "example_user",
        "content": "New synergies will help drive top-line growth.",
    },
    {
        "role": "system",
        "name": "example_assistant",
        "content": "Things working well together will increase revenue.",
    },
    {
        "role": "system",
        "name": "example_user",
        "content": "Let's circle back when we have more bandwidth to touch base "
        "on opportunities for increased leverage.",
    },
    {
        "role": "system",
        "name": "example_assistant",
        "content": "Let's talk later when we're less busy about how to do better.",
    },
    {
        "role": "user",
        "content": "This late pivot means we don't have time to boil the ocean for the client deliverable.",
    },
]


@pytest.mark.parametrize(("name", "count"), [("cl100k_base", 129), ("o200k_base", 124)])
async def test_openais_own_example(tokens: Tokens, name: str, count: int) -> None:
    usage = await tokens.count_messages(name, {"messages": _COOKBOOK})
    assert (usage.input, usage.estimated, usage.output) == (count, False, 0)


@pytest.mark.parametrize(
    "more",
    [
        {"tools": [{"type": "function", "function": {"name": "f"}}]},
        {"response_format": {"type": "json_object"}},
        {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:x"}}]}]},
        {"messages": [{"role": "assistant", "content": None, "tool_calls": [{"id": "c", "type": "function"}]}]},
        {"messages": [{"role": "user", "content": 7}, 7, {"role": ["x"], "content": ["y", None]}]},
        {"messages": "none"} | {"functions": [{}]},
    ],
)
async def test_what_the_formula_does_not_cover_is_marked(tokens: Tokens, more: dict[str, Any]) -> None:
    usage = await tokens.count_messages("o200k_base", {"messages": []} | more)
    assert usage.estimated
    assert usage.input >= 3


async def test_parts_of_text_are_exact(tokens: Tokens) -> None:
    plain = {"messages": [{"role": "user", "content": "hello world"}]}
    parts = {"messages": [{"role": "user", "content": [{"type": "text", "text": "hello world"}], "name": None}]}
    assert await tokens.count_messages("o200k_base", plain) == await tokens.count_messages("o200k_base", parts)
    assert (await tokens.count_messages("o200k_base", plain)).input == 3 + 3 + 1 + 2
    assert (await tokens.count_messages(None, plain)).estimated


async def test_no_network_and_no_cache_is_needed(tokens: Tokens, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_args: object, **_options: object) -> None:
        raise AssertionError("tiktoken loads by name")

    monkeypatch.setattr(tiktoken, "get_encoding", refuse)
    monkeypatch.setattr(sys.modules["tiktoken.core"], "Encoding", refuse)
    run = partial(tokens.count, "cl100k_base", ["hello"])
    assert await run() == 1
