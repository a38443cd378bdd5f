"""Images and files that a request names by address, where the provider does not fetch them itself."""

from gateway_core.errors import InvalidRequest, OutsideError
from gateway_core.ports import MediaFile, Outside

MOST_BYTES = 20 * 1024 * 1024


class FetchedMedia:
    """`ports.Media` over an `Outside`."""

    def __init__(self, outside: Outside) -> None:
        self._outside = outside

    async def fetch(self, url: str, types: frozenset[str], param: str) -> MediaFile:
        """One request to the address. Raises InvalidRequest, naming `param`."""
        try:
            answer = await self._outside.ask("GET", url, {"accept": ", ".join(sorted(types))}, limit=MOST_BYTES)
        except OutsideError as error:
            raise InvalidRequest(f"What {param} names cannot be fetched: it {error}.", param=param) from None
        if answer.status != 200:
            raise InvalidRequest(f"What {param} names cannot be fetched: it answered {answer.status}.", param=param)
        if answer.type not in types:
            raise InvalidRequest(f"What {param} names is not one of {', '.join(sorted(types))}.", param=param)
        return MediaFile(answer.type, answer.body)
