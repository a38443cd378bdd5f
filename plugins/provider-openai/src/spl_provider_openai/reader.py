"""A stream's events as they are read, up to its [DONE]."""

from collections.abc import Sequence

from gateway_core.errors import Unavailable
from gateway_core.types import Chunk, Run
from gateway_core.upstream.event_chunks import UNFINISHED, RunReader
from spl_provider_openai.answer import ChunkDecoder


class Reader(RunReader):
    """`event_chunks.Reader` of OpenAI's events."""

    __slots__ = ("_accepts_missing_done", "_decoder")

    def __init__(self, decoder: ChunkDecoder, *, accepts_missing_done: bool) -> None:
        super().__init__()
        self._decoder = decoder
        self._accepts_missing_done = accepts_missing_done

    def add(self, data: bytes, batch: list[Chunk | Run]) -> None:
        """Decodes one event. Raises a ProviderFault where it is an error, or nonsense."""
        if data == b"[DONE]":
            self.finished = True
        else:
            batch += self._decoder.decode(data)
            self.alike = self._decoder.alike

    def keeps(self) -> bool:
        """Nothing."""
        return False

    async def keep(self) -> None:
        """Nothing."""

    def end(self) -> Sequence[Chunk]:
        """Nothing is left to be said."""
        if not self._decoder.finished or not (self.finished or self._accepts_missing_done):
            raise Unavailable(UNFINISHED)
        return ()
