"""What mkdocs does besides, for the docs site (mkdocs.yml).

The pages are Markdown as forges show it, and a link may lead to any file of the repository. For the site

- some files outside of docs/ become pages too (PAGES);
- a link to a page becomes one of the site; a link to another file leads to $SITE_REPOSITORY, for example
  https://forge.example.com/sharder/blob/main, and without it only the link's text is shown;
- lists get the indentation of four columns that Python-Markdown asks for;
- FOLDER/* in the navigation stands for all pages of a folder.

A link to a file that does not exist ends the build.
"""

import os
import posixpath
import re
from pathlib import Path

from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File

ROOT = Path(__file__).resolve().parents[2]

# {file of the repository: page of the site}
PAGES = {
    "CHANGELOG.md": "project/changelog.md",
    "CONTRIBUTING.md": "project/contributing.md",
    "SECURITY.md": "security/policy.md",
    "charts/sharder/README.md": "install/helm.md",
    "tests/shard_conformance/README.md": "adopt/conformance.md",
}
REPOSITORY = os.environ.get("SITE_REPOSITORY", "").rstrip("/")

FENCE = re.compile(r" *(`{3,}|~{3,})")
ITEM = re.compile(r"( *)([-*+]|\d+\.)( +)(?=\S)")
LINK = re.compile(r"(!?)\[((?:[^\[\]]|\[[^\[\]]*\])*)\]\(([^()\s]+)\)")


def on_config(config):
    config.nav = _expanded(config.nav, Path(config.docs_dir))
    return config


def _expanded(nav, folder):
    """The navigation, with all pages of a folder in place of FOLDER/*, its index first."""
    if isinstance(nav, dict):
        return {title: _expanded(entry, folder) for title, entry in nav.items()}
    if isinstance(nav, list):
        return [_expanded(entry, folder) for entry in nav]
    if not nav.endswith("/*"):
        return nav
    pages = [page for page in folder.glob(f"{nav}.md") if page.name != "TEMPLATE.md"]
    pages.sort(key=lambda page: (page.name not in ("index.md", "README.md"), page.name))
    return [str(page.relative_to(folder)) for page in pages]


def on_files(files, config):
    for source, page in PAGES.items():
        files.append(File.generated(config, page, content=(ROOT / source).read_text(encoding="utf-8")))
    return files


def on_page_markdown(markdown, page, config, files):  # pylint: disable=unused-argument
    return "\n".join(_indented(_linked(markdown, page.file.src_uri, files).splitlines()))


def _linked(markdown, page, files):
    """The text with links of the site, or without links. Code blocks stay as they are."""
    origin = next((source for source, name in PAGES.items() if name == page), f"docs/{page}")

    def replaced(match):
        image, text, target = match.groups()
        if re.match(r"[a-z]+:|#", target):
            return match[0]
        path, _, anchor = target.partition("#")
        path = posixpath.normpath(posixpath.join(posixpath.dirname(origin), path))
        if not (ROOT / path).exists():
            raise PluginError(f"{origin} has a link to {target}: there is no {path}")
        to = _page_of(path, files)
        if to:
            relative = posixpath.relpath(to, posixpath.dirname(page) or ".")
            return f"{image}[{text}]({relative}{'#' + anchor if anchor else ''})"
        return f"[{text}]({REPOSITORY}/{path})" if REPOSITORY else text

    parts, code = [[]], None
    for line in markdown.splitlines():
        fence = FENCE.match(line)
        if fence and (code is None or fence[1].startswith(code)):
            code = fence[1] if code is None else None
            parts += [[line], []]
        else:
            parts[-1].append(line)
    # Outside of code, a fence, code, a fence, outside ...
    texts = ["\n".join(part) for part in parts]
    return "\n".join(LINK.sub(replaced, text) if number % 4 == 0 else text
                     for number, (part, text) in enumerate(zip(parts, texts)) if part)


def _page_of(path, files):
    """The file of the site that shows a file or folder of the repository; None if it has none."""
    if path in PAGES:
        return PAGES[path]
    if path.startswith("docs/"):
        name = path.removeprefix("docs/")
        for candidate in (name, f"{name}/index.md", f"{name}/README.md"):
            file = files.get_file_from_path(candidate)
            if file and not file.inclusion.is_excluded():
                return candidate
    return None


def _indented(lines):
    """CommonMark indents what belongs to a list's item as far as the item's text, Python-Markdown by four columns; and it
    wants an empty line before a list, and around code."""
    columns = []  # where the text of each open item begins
    code, before, loose = None, "", False  # loose: the last item has an empty line in it
    for line in lines:
        text = line.lstrip(" ")
        indent = len(line) - len(text)
        depth = len(columns)
        if code is None and text:
            while columns and indent < columns[-1]:
                columns.pop()
            item = ITEM.match(line)
            if item and before and (depth == 0 or loose):
                yield ""
            depth = len(columns)
        column = columns[-1] if columns else 0
        fence = FENCE.match(line)
        fence = fence if fence and (code is None or fence[1].startswith(code)) else None
        if fence and code is None and before:
            yield ""
        yield " " * 4 * depth + line[min(column, indent):] if text else ""
        if fence and code is not None:
            yield ""
        if fence:
            code = fence[1] if code is None else None
        elif code is None and text and item:
            columns.append(len(item[0]))
            loose = False
        loose = loose or not text
        before = text
