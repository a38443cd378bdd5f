"""Chat Completions on the wire: requests in, answers and events out."""

from gateway_core.wire.answer import (
    DONE,
    KEEP_ALIVE,
    ChunkEncoder,
    answer_id,
    encode_completion,
    error_event,
    usage_object,
)
from gateway_core.wire.request import decode_request

__all__ = [
    "DONE",
    "KEEP_ALIVE",
    "ChunkEncoder",
    "answer_id",
    "decode_request",
    "encode_completion",
    "error_event",
    "usage_object",
]
