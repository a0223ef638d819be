"""A hook of mkdocs: shows the files outside ``docs/`` that a page links to, and leads the links there.

README.md is the first page. Other Markdown files of the root are pages below ``project/``. Any other linked file is a
page below ``files/`` with its text, and a linked folder is a page that lists its files. So each link works on the site
as it works in the repository, without a server of the repository.
"""

import os
import posixpath
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

from mkdocs.structure.files import File, InclusionLevel

ROOT = Path(__file__).parents[2]
_LINK = re.compile(r"(?<=\]\()[^)\s]+(?=[)\s])")
_CODE = re.compile(r"^ *(`{3,}|~{3,}).*?^ *\1 *$|`[^`\n]+`", re.MULTILINE | re.DOTALL)
_LANGUAGES = {
    ".py": "python", ".yaml": "yaml", ".yml": "yaml", ".json": "json", ".j2": "jinja", ".toml": "toml", ".sh": "bash",
    ".conf": "nginx", ".service": "ini",
}  # fmt: skip
_MAX_CHARS = 200_000


def site_path(path: str) -> str:
    """Return the page that shows a file or a folder. :param path: relative to the root of the repository"""
    if path == "README.md":
        return "index.md"
    if path.startswith("docs/"):
        inner = path.removeprefix("docs/")
        if not (ROOT / path).is_dir():
            return inner
        return f"{inner}/README.md" if (ROOT / path / "README.md").exists() else f"{inner}/index.md"
    if "/" not in path and path.endswith(".md"):
        return f"project/{path}"
    return f"files/{path}.md"


def source_path(page: str) -> str:
    """Return the file that a page shows, relative to the root of the repository. It is the inverse of :func:`site_path`."""
    if page == "index.md":
        return "README.md"
    if page.startswith("project/"):
        return page.removeprefix("project/")
    if page.startswith("files/"):
        return page.removeprefix("files/").removesuffix(".md")
    return f"docs/{page}"


def links(markdown: str) -> Iterator[re.Match[str]]:
    """Yield the relative links of a text, without those in code."""
    code = [match.span() for match in _CODE.finditer(markdown)]
    for match in _LINK.finditer(markdown):
        is_code = any(begin <= match.start() < end for begin, end in code)
        if not is_code and not re.match(r"[a-z]+:|#|//", match.group()):
            yield match


def target(source: str, link: str) -> tuple[str, str]:
    """Return the file that a link names, relative to the root of the repository, and the fragment with its ``#``."""
    path, hash_, fragment = link.partition("#")
    return posixpath.normpath(posixpath.join(posixpath.dirname(source), unquote(path))), hash_ + fragment


def with_site_links(markdown: str, source: str, page: str) -> str:
    """Return a text whose links lead to pages of the site.

    :param source: the file that has the text, relative to the root of the repository
    :param page: the page that shows it
    """
    parts, end = [], 0
    for match in links(markdown):
        path, fragment = target(source, match.group())
        if (ROOT / path).exists():
            relative = posixpath.relpath(site_path(path), posixpath.dirname(page) or ".")
            parts += [markdown[end : match.start()], quote(relative) + fragment]
            end = match.end()
    return "".join([*parts, markdown[end:]])


def on_files(files: Any, config: Any) -> Any:
    """Add a page for each file and folder outside that is linked, and for what these link to."""
    pending = [page.src_uri for page in files.documentation_pages()]
    pending += [site_path(path.name) for path in ROOT.glob("*.md")]
    known = set(pending)
    while pending:
        page = pending.pop()
        source = source_path(page)
        existing = files.get_file_from_path(page)
        text = existing.content_string if existing is not None else _content(source)
        if existing is None:
            added = File.generated(config, page, content=text)
            if page.startswith("files/") or page.endswith("/index.md"):
                added.inclusion = InclusionLevel.NOT_IN_NAV
            files.append(added)
        for match in links(text):
            path, _ = target(source, match.group())
            other = site_path(path)
            if (ROOT / path).exists() and other not in known and other.endswith(".md"):
                known.add(other)
                pending.append(other)
    return files


def _content(source: str) -> str:
    path = ROOT / source.removesuffix("/index.md")
    if path.is_dir():
        return _listing(path)
    if path.suffix == ".md":
        return path.read_text(encoding="utf-8")
    text = path.read_text(encoding="utf-8", errors="replace")
    cut = f"\n\nThe file has {len(text):,} characters; this page shows the first {_MAX_CHARS:,}.\n"
    language = _LANGUAGES.get(path.suffix, "text")
    shown = f"`````{language}\n{text[:_MAX_CHARS].rstrip()}\n`````\n"
    return (
        f"---\nsearch: {{exclude: true}}\n---\n# {source}\n\n{shown}{cut if len(text) > _MAX_CHARS else ''}"
    )


def _listing(folder: Path) -> str:
    """Return a page that lists the files of a folder, and of its folders."""
    lines = []
    for path in sorted(folder.rglob("*")):
        if path.is_file() and "__pycache__" not in path.parts:
            title = (
                path.read_text(encoding="utf-8").partition("\n")[0].lstrip("# ")
                if path.suffix == ".md"
                else ""
            )
            inner = path.relative_to(folder).as_posix()
            base = folder.name if _is_outside(folder) else "."
            lines.append(f"- [{title or inner}]({quote(posixpath.join(base, inner))})")
    return (
        f"---\nsearch: {{exclude: true}}\n---\n# {os.fspath(folder.relative_to(ROOT))}\n\n"
        + "\n".join(lines)
        + "\n"
    )


def _is_outside(folder: Path) -> bool:
    return not folder.is_relative_to(ROOT / "docs")


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Return a page whose links lead to pages of the site."""
    return with_site_links(markdown, source_path(page.file.src_uri), page.file.src_uri)


def on_config(config: Any) -> Any:
    """Expand entries of the navigation such as ``decisions/*.md``."""
    config["nav"] = _expanded(config["nav"])
    return config


def _expanded(nav: Any) -> Any:
    match nav:
        case list():
            return [inner for each in nav for inner in _several(each)]
        case dict():
            return {title: _expanded(each) for title, each in nav.items()}
        case _:
            return nav


def _several(entry: Any) -> list[Any]:
    if not isinstance(entry, str) or "*" not in entry:
        return [_expanded(entry)]
    docs = ROOT / "docs"
    return [path.relative_to(docs).as_posix() for path in sorted(docs.glob(entry))]
