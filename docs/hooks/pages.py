"""The pages of the site: docs/index.md and what pages link to in; mkdocs' files, its navigation and its Markdown out.

A page lies in the site at its place in the repository, so that links between pages, and to files that are no pages,
mean the same here as on a code host. The part before `docs/` is taken off only in what is written.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from html import unescape
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page
from sources import SourcePage, is_text, shown

__all__ = ["on_config", "on_files", "on_page_content", "on_page_markdown"]

_REPOSITORY = Path(__file__).parents[2]
_DOCS = _REPOSITORY / "docs"
_MAP = _DOCS / "index.md"
_EXAMPLES = _REPOSITORY / "examples"
_HOOKS = Path(__file__).parent

_HEADING = re.compile(r"^(?P<level>##|###) (?P<title>.+)$|\[(?P<text>[^]]+)\]\((?P<link>[^)#\s]+\.md)\)", re.MULTILINE)
_LINK = re.compile(r"\]\(([^)#\s]+)[^)]*\)")
_FENCE = re.compile(r"^ *```.*?^ *```", re.MULTILINE | re.DOTALL)
_FOR_TESTS = re.compile(r"^ *<!-- (?:reader:|tested by|not run:)[^>]*-->\n", re.MULTILINE)
_UNLIKE_CODE_HOSTS = re.compile(r"<p>[^<]*(?:```|\n *(?:[-*]|\d+\.) )")
"""What Python's Markdown makes of a list without an empty line before it, or of a block that it does not see."""
_PICTURE = re.compile(r'(<div class="language-text highlight")>(.*?</pre>)', re.DOTALL)


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Take the navigation from the map of the documentation; examples and what is about the project come last."""
    sections: dict[str, list[Any]] = {}
    named = set()
    into: list[Any] = []
    _, _, map_ = _MAP.read_text(encoding="utf-8").partition("\n## ")
    for match in _HEADING.finditer(f"## {map_}"):
        if match["level"] == "##":
            into = sections.setdefault(match["title"], [])
        elif match["level"]:
            into = []
            list(sections.values())[-1].append({match["title"]: into})
        else:
            path = (_DOCS / match["link"]).resolve()
            if _EXAMPLES not in path.parents and path not in named:
                named.add(path)
                into.append(_named(path) if _DOCS in path.parents else {" ".join(match["text"].split()): _named(path)})
    outside = [path for path in _pages() if _DOCS not in path.parents]
    for path in outside:
        if path not in named:
            section = "Examples" if _EXAMPLES in path.parents else "Project"
            title = {"README": _named(path)} if path == _REPOSITORY / "README.md" else _named(path)
            sections.setdefault(section, []).append(title)
    config.watch += map(str, outside)
    config.nav = [_named(_MAP), *({title: pages} for title, pages in sections.items())]
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Replace the files that mkdocs found by those of the repository that belong into the site."""
    pages = list(_pages())
    found = [each for each in files if each.src_dir != config.docs_dir]  # those of the theme
    found += [_file(path, config) for path in (*pages, *_beside_pages())]
    there = {each.src_uri for each in found}
    for path in sorted(set(_linked(pages))):
        if _named(path) not in there:
            page = is_text(path) and path.suffix != ".svg"
            found.append(SourcePage(path, _REPOSITORY, config.site_dir) if page else _file(path, config))
    return Files(found)


def on_page_markdown(markdown: str, page: Page, **_: Any) -> str:
    """Take out what pages say to tests; the front page, which is a map, gets no other map beside it."""
    if page.is_homepage:
        page.meta["hide"] = ["navigation"]
    return _FOR_TESTS.sub("", markdown)


def on_page_content(html: str, page: Page, **_: Any) -> str:
    """Refuse a page that code hosts show in another way than this site; say of each picture how wide it is.

    Raises:
        PluginError: It has a list or a block that Python's Markdown takes for text.
    """
    unlike = _UNLIKE_CODE_HOSTS.search(html)
    if unlike:
        raise PluginError(f"{page.file.src_uri}: put an empty line before this list or block: {unlike[0][-200:]}")
    return _PICTURE.sub(_with_columns, html)


def _with_columns(picture: re.Match[str]) -> str:
    text = unescape(re.sub(r"<[^>]+>", "", picture[2]))
    columns = max(map(len, text.splitlines()), default=0)
    return f'{picture[1]} style="--columns: {columns}">{picture[2]}'


def _pages() -> Iterator[Path]:
    yield from sorted(_DOCS.rglob("*.md"))
    for folder, pattern in (("examples", "**/README.md"), ("clients", "*/README.md"), (".", "*.md")):
        yield from sorted((_REPOSITORY / folder).glob(pattern))


def _beside_pages() -> Iterator[Path]:
    files = (path for path in sorted(_DOCS.rglob("*")) if path.is_file() and path.suffix != ".md")
    yield from (path for path in files if _HOOKS not in path.parents or path.suffix == ".css")


def _linked(pages: Iterable[Path]) -> Iterator[Path]:
    """Return what pages link to in the repository, folders with all that is in them."""
    for page in pages:
        for link in _LINK.findall(_FENCE.sub("", page.read_text(encoding="utf-8"))):
            target = (page.parent / link).resolve()
            if "://" not in link and target.exists() and _REPOSITORY in target.parents:
                yield from shown(target)


def _file(path: Path, config: MkDocsConfig) -> File:
    name = _named(path)
    dest = "project/" + name if path.parent == _REPOSITORY else name.removeprefix("docs/")
    dest = re.sub(r"\.md$", ".html", dest)
    return File(name, str(_REPOSITORY), config.site_dir, False, dest_uri=dest.replace("/README.html", "/index.html"))


def _named(path: Path) -> str:
    return path.relative_to(_REPOSITORY).as_posix()
