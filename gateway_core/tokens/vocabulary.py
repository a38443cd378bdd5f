"""One published vocabulary, loaded from the package's own data and never by name: tiktoken would download it.

Exact for any text. Special tokens such as <|endoftext|> are plain text here: a prompt cannot forge one.
"""

import binascii
import hashlib
import re
from collections.abc import Callable, Iterator, Sequence
from importlib import resources
from typing import Any, ParamSpec, TypeVar

from gateway_core.errors import ConfigError, InternalError

P = ParamSpec("P")
T = TypeVar("T")

_CONTRACTION = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
_UPPER, _LOWER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"

_CL100K = (
    r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}++|\p{N}{1,3}+| ?[^\s\p{L}\p{N}]++[\r\n]*+"
    r"|\s++$|\s*[\r\n]|\s+(?!\S)|\s"
)
_O200K = (
    rf"[^\r\n\p{{L}}\p{{N}}]?{_UPPER}*{_LOWER}+{_CONTRACTION}|[^\r\n\p{{L}}\p{{N}}]?{_UPPER}+{_LOWER}*{_CONTRACTION}"
    r"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)

#: Each vocabulary's published SHA-256, and the pattern that cuts a text into the pieces that it encodes.
_PUBLISHED = {
    "cl100k_base": ("223921b76ee99bde995b7ff738513eef100fb51d18c93597a113bcffe865b2a7", _CL100K),
    "o200k_base": ("446a9538cb6c348e3516120d7c08b09f57c36495e2acfffe59a5bf8b0cfb1a2d", _O200K),
}

VOCABULARIES = frozenset(_PUBLISHED)
"""The vocabularies that are shipped."""

_SPACE = "\t\x0b\x0c \x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000"
"""White space without line ends, as the patterns' \\s sees it."""

_LONG_SPACE = re.compile(rf"(?<![{_SPACE}])[{_SPACE}]{{65536,}}+(?![\r\n])")
"""Runs at which tiktoken's regular expressions overflow their stack and panic: cut out before, where they would cut."""

_BOUNDARY = re.compile(r"[^\W_](?=[ \n，。、])|\n(?=[^\W_])")
"""Both patterns always cut behind a letter or digit that such a character follows, and behind a line end before a
letter or digit; and what is left of there does not depend on what is right of it. So pieces add up exactly."""

SLICE = 65_536
"""Characters that are encoded in one go, about, where the text has a boundary."""

LONGEST = 1 << 20
"""Characters without a boundary that are encoded in one go. A longer run is cut there: it may count a token more."""


class Vocabulary:
    """Counts and encodes. Blocks for about 0.4 s per million characters, without the interpreter's lock."""

    def __init__(self, name: str, core: Any) -> None:
        self.name = name
        self._core = core

    @classmethod
    def load(cls, name: str) -> "Vocabulary":
        """Reads the vocabulary and checks it against its published checksum. Blocks for a third of a second."""
        # The compiled part, which has no stubs: tiktoken.Encoding around it would keep the vocabulary in memory twice.
        # Imported here since a start has no use for it.
        from tiktoken._tiktoken import CoreBPE  # type: ignore[import-not-found]  # see above

        if name not in _PUBLISHED:
            raise ConfigError(f'there is no vocabulary "{name}"; shipped are {", ".join(sorted(VOCABULARIES))}')
        checksum, pattern = _PUBLISHED[name]
        data = resources.files(__package__).joinpath("data", f"{name}.tiktoken").read_bytes()
        if hashlib.sha256(data).hexdigest() != checksum:
            raise ConfigError(f'the vocabulary "{name}" is damaged: install spl-gateway again')
        ranks: dict[bytes, int] = {}
        for line in data.splitlines():
            token, rank = line.split()
            ranks[binascii.a2b_base64(token)] = int(rank)
        return cls(name, CoreBPE(ranks, {}, pattern))

    def count(self, text: str) -> int:
        """Tokens of the text."""
        if len(text) < SLICE:
            return self._count(text)
        return sum(
            len(_guarded(self._core.encode_single_piece, part.encode())) if whole else self._count(part)
            for part, whole in self._parts(text)
        )

    def encode(self, text: str) -> list[int]:
        """Token ids of the text."""
        ids: list[int] = []
        for part, whole in self._parts(text):
            if whole:
                ids += _guarded(self._core.encode_single_piece, part.encode())
            else:
                ids += _guarded(self._core.encode_ordinary, _encodable(part))
        return ids

    def bytes_of(self, ids: Sequence[int]) -> list[bytes]:
        """Each token's bytes; not always valid UTF-8 by themselves."""
        known = {token: self._core.decode_single_token_bytes(token) for token in set(ids)}
        return [known[token] for token in ids]

    def _count(self, text: str) -> int:
        # A buffer of 32-bit ids: no list of numbers to build only for its length.
        return memoryview(_guarded(self._core.encode_to_tiktoken_buffer, _encodable(text), set())).nbytes // 4

    def _parts(self, text: str) -> Iterator[tuple[str, bool]]:
        """The text in parts; True with a run of white space that is one piece by itself."""
        start = 0
        for run in _LONG_SPACE.finditer(text):
            if run.end() == len(text):
                # Possessive, so it never overflows: and it takes line ends before the run into the same piece.
                if self.name == "cl100k_base":
                    break
                end = run.end()
            else:
                # The last character belongs to what follows.
                end = run.end() - 1
            if run.start() > start:
                yield text[start : run.start()], False
            yield text[run.start() : end], True
            start = end
        if start < len(text):
            yield text[start:], False


def slices(text: str) -> Iterator[str]:
    """The text cut at boundaries, so that no other work waits for a long one. A short text comes whole."""
    start = 0
    while len(text) - start > SLICE:
        boundary = _BOUNDARY.search(text, start + SLICE // 2, start + LONGEST)
        # The end of the searched part is no boundary: what follows it was not looked at.
        end = boundary.end() if boundary else min(len(text), start + LONGEST)
        yield text[start:end]
        start = end
    if start < len(text):
        yield text[start:]


def _encodable(text: str) -> str:
    """The text with lone surrogates, which UTF-8 does not have, replaced."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text


def _guarded(encode: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Runs the encoder; a panic in it, which is no Exception and would end more than the call, becomes one."""
    try:
        return encode(*args, **kwargs)
    except Exception:
        raise
    except BaseException as panic:
        if type(panic).__name__ != "PanicException":
            raise
        raise InternalError("The tokenizer failed on this text.") from None
