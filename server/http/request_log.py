"""What the HTTP library has to say about requests: its words in, our log events out.

A request that is no HTTP is its sender's mistake and no failure of ours: one line that says what is wrong, not a
traceback. Nothing of the request is in it, because what the library repeats may be a header with a secret.
"""

from __future__ import annotations

import logging
from typing import Any

import structlog
from aiohttp.http_exceptions import HttpProcessingError, InvalidURLError

__all__ = ["RequestLog"]

log = structlog.get_logger("postroom.http")


class RequestLog(logging.LoggerAdapter[logging.Logger]):
    """Stands where the library's logger would; all else that it says goes there."""

    def __init__(self) -> None:
        super().__init__(logging.getLogger("aiohttp.server"), {})

    def exception(self, msg: object, *args: object, exc_info: Any = True, **kwargs: Any) -> None:
        """Log an exception: in one line where the request cannot be read."""
        if isinstance(exc_info, HttpProcessingError | InvalidURLError):
            url = isinstance(exc_info, InvalidURLError)  # whose words are the URL
            reason = "Invalid URL" if url else exc_info.message.partition(":")[0].strip()
            log.warning("request_unreadable", reason=reason)
        else:
            super().exception(msg, *args, exc_info=exc_info, **kwargs)
