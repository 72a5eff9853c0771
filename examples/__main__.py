"""`python -m examples` lists the examples that run with one command; with a name it runs that one."""

from __future__ import annotations

import ast
import runpy
import sys
from pathlib import Path

EXAMPLES = Path(__file__).parent


def names() -> list[str]:
    """Return the folders that can be run."""
    return sorted(path.parent.name for path in EXAMPLES.glob("*/__main__.py"))


def listing() -> str:
    """Say in a line for each what it shows: the first line of its docstring."""
    lines = ["Examples, each run with `make example NAME=...`; examples/README.md says more:"]
    for name in names():
        docstring = ast.get_docstring(ast.parse((EXAMPLES / name / "__init__.py").read_text())) or ""
        lines.append(f"  {name:16} {docstring.splitlines()[0]}")
    return "\n".join(lines)


def main() -> None:
    """Run the example that the first argument names, with the others for itself."""
    if len(sys.argv) < 2 or sys.argv[1].startswith("-"):
        print(listing())
        return
    name = sys.argv.pop(1)
    if name not in names():
        raise SystemExit(f"there is no example {name!r}\n{listing()}")
    sys.argv[0] = f"make example NAME={name}"
    runpy.run_module(f"examples.{name}.__main__", run_name="__main__")


if __name__ == "__main__":
    main()
