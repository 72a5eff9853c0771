"""Files of the repository as pages of the site: a path in, Markdown that shows the file, or lists the folder, out."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from mkdocs.structure.files import File, InclusionLevel
from pygments.lexers import get_lexer_for_filename
from pygments.util import ClassNotFound

__all__ = ["SourcePage", "is_text", "shown"]

_LEFT_OUT = ("__pycache__", "build", "dist", "node_modules", "postroom-data")


class SourcePage(File):
    """A page that shows a file which is no page: links to the file lead to it.

    Args:
        path: The file, or a folder.
        repository: The folder that its links are relative to.
        site: The folder that the site is written to.
    """

    def __init__(self, path: Path, repository: Path, site: str) -> None:
        name = path.relative_to(repository).as_posix()
        dest = f"{name}/files.html" if path.is_dir() else f"{name}.html"
        super().__init__(name, None, site, False, dest_uri=dest, inclusion=InclusionLevel.NOT_IN_NAV)
        self.generated_by = "sources"
        self.content_string = f"# `{name}`\n\n" + (_listing(path) if path.is_dir() else _listed(path))

    def is_documentation_page(self) -> bool:
        """Return True, whatever the file's name ends with."""
        return True


def is_text(path: Path) -> bool:
    """Tell whether a file is one that can be read on a page; so is a folder."""
    if path.is_file():
        try:
            path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            return False
    return True


def shown(path: Path) -> Iterator[Path]:
    """Return what a link to this path needs: the path, and all that is in it where it is a folder."""
    yield path
    if path.is_dir():
        for each in _within(path):
            yield from shown(each)


def _within(folder: Path) -> list[Path]:
    return sorted(each for each in folder.iterdir() if each.name not in _LEFT_OUT and not each.name.startswith("."))


def _listing(folder: Path) -> str:
    return "".join(f"- [`{each.name}{'/' * each.is_dir()}`]({folder.name}/{each.name})\n" for each in _within(folder))


def _listed(file: Path) -> str:
    text = file.read_text(encoding="utf-8")
    try:
        language = get_lexer_for_filename(file.name, text).aliases[0]
    except ClassNotFound:
        language = "text"
    return f"`````` {language}\n{text.rstrip()}\n``````\n"
