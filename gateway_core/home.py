"""The home directory: everything of one instance, held by one process at a time."""

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from gateway_core.errors import ConfigError, StoreLocked
from gateway_core.files import write_atomic

_POLL_SECONDS = 0.05


class RunningServer(msgspec.Struct, frozen=True):
    """What `server.json` says while a server runs on the home."""

    url: str
    pid: int
    #: The server's boot id: tells two servers apart that came one after the other.
    boot: str


class Home:
    """Paths in a home, its lock, and the note that a running server leaves there. The path need not exist yet."""

    def __init__(self, path: Path) -> None:
        self.path = path.expanduser().absolute()

    @property
    def store_path(self) -> Path:
        """The embedded store's file."""
        return self.path / "store.sqlite3"

    @property
    def config_path(self) -> Path:
        """The configuration that is read where none is named, if it is there."""
        return self.path / "config.toml"

    @property
    def operator_key_path(self) -> Path:
        """The operator's credential, which the command line reads."""
        return self.path / "operator.key"

    @property
    def server_file(self) -> Path:
        """Written while a server serves, removed afterwards."""
        return self.path / "server.json"

    @property
    def lock_path(self) -> Path:
        """The file that the one process holding the home has locked."""
        return self.path / "lock"

    def ensure(self) -> None:
        """Creates the directory, mode 0700. Raises ConfigError where it cannot be made or written."""
        try:
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            # Trying is the only test that holds for root, read-only mounts and access lists alike.
            self.lock_path.open("ab").close()
        except (FileExistsError, NotADirectoryError):
            raise ConfigError(
                f"the home {self.path} is not a directory; name another with --home or SPL_HOME"
            ) from None
        except OSError as error:
            reason = (error.strerror or type(error).__name__).lower()
            raise ConfigError(f"the home {self.path} cannot be written: {reason}; name another with --home") from None

    @contextmanager
    def lock(self, wait: float = 1.0) -> Iterator[None]:
        """Holds the home for this process; the kernel lets go of it when the process ends, however it does.

        Tries for `wait` seconds, then raises StoreLocked naming who has it.
        """
        self.ensure()
        with self.lock_path.open("r+b") as file:
            deadline = time.monotonic() + wait
            while not _try_lock(file.fileno(), fcntl.LOCK_EX):
                if time.monotonic() >= deadline:
                    raise StoreLocked(self._locked_by(file.read(32)))
                time.sleep(_POLL_SECONDS)
            file.truncate(0)
            file.write(str(os.getpid()).encode())
            file.flush()
            try:
                yield
            finally:
                file.truncate(0)

    def running(self) -> RunningServer | None:
        """The server that runs on this home, if one does. What a killed server left behind does not count."""
        server = self._noted()
        if server is None:
            return None
        try:
            with self.lock_path.open("rb") as file:
                # A shared lock is got only where nobody holds the home: then the note is stale.
                return None if _try_lock(file.fileno(), fcntl.LOCK_SH) else server
        except OSError:
            return None

    @contextmanager
    def announced(self, server: RunningServer) -> Iterator[None]:
        """Keeps `server.json` there for as long as the server serves."""
        write_atomic(self.server_file, msgspec.json.encode(server))
        try:
            yield
        finally:
            self.server_file.unlink(missing_ok=True)

    def _noted(self) -> RunningServer | None:
        try:
            return msgspec.json.decode(self.server_file.read_bytes(), type=RunningServer)
        except (OSError, msgspec.MsgspecError):
            return None

    def _locked_by(self, holder: bytes) -> str:
        server = self._noted()
        pid = holder.decode("ascii", "replace")
        if server is not None and str(server.pid) == pid:
            who = f"the server at {server.url} (process {pid})"
        elif pid.isdigit():
            who = f"process {pid}"
        else:
            who = "another process"
        return f"the home {self.path} is in use by {who}: stop that first, or name another home with --home"


def _try_lock(descriptor: int, kind: int) -> bool:
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
