"""One target under atheris: `python -m tests.fuzz.mutate NAME FOLDER... [-option=value...]`, options as libFuzzer's.

Postroom's modules, those of the decoders that it stands on and the target are watched; what they reach guides the rest.
"""

from __future__ import annotations

import sys

import atheris

__all__ = ["main"]

_WATCHED = ["actors", "server", "postroom_client", "jwt", "websockets", "tests.checker", "tests.fuzz.targets"]


def main() -> None:
    """Mutate until the time is up or something is found; ends the process."""
    name = sys.argv.pop(1)
    with atheris.instrument_imports(include=_WATCHED):
        from .targets import load

        take = load(name)
    atheris.Setup(sys.argv, take)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
