"""Checking a chain of records from its bytes: whether each hash follows from the one before, and nothing is missing."""

import msgspec

from gateway_core.audit import genesis, link


class Fault(msgspec.Struct, frozen=True):
    """The first place where a chain is not what it was: a sequence, and what is wrong there."""

    sequence: int
    what: str


class ChainCheck:
    """Takes an account's records in their order and says where the chain breaks first.

    `pruned_sequence` and `pruned_hash` (hex): the last record that retention has removed. Nothing of a chain is to be
    taken on after a fault.
    """

    def __init__(self, account_id: str, pruned_sequence: int = 0, pruned_hash: str | None = None) -> None:
        #: The last record that was taken, and its hash.
        self.sequence = pruned_sequence
        self.hash = bytes.fromhex(pruned_hash) if pruned_hash and pruned_sequence else genesis(account_id)

    def take(self, sequence: int, record_id: str, body: bytes, hash_: str) -> Fault | None:
        """The next record, its body as the bytes that are stored, its hash in hex."""
        expected = self.sequence + 1
        if sequence > expected:
            missing = f"it is missing: the next one is {sequence}"
            return Fault(expected, missing)
        if sequence < expected:
            return Fault(sequence, f"it is out of order: it comes after {self.sequence}")
        computed = link(self.hash, sequence, record_id, body)
        if computed.hex() != hash_:
            return Fault(sequence, "its id, its body or its hash was changed, or another record is in its place")
        self.sequence, self.hash = sequence, computed
        return None

    def end(self, sequence: int, hash_: str) -> Fault | None:
        """The chain's head, when all records up to it were taken."""
        if self.sequence < sequence:
            return Fault(self.sequence + 1, f"it is missing: the chain's head is at {sequence}")
        if self.sequence > sequence:
            return Fault(sequence + 1, f"it is beyond the chain's head, which is at {sequence}")
        if self.hash.hex() != hash_:
            return Fault(sequence, "the chain's head has another hash than its last record")
        return None
