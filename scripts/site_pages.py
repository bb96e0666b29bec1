"""Pages of the site that do not lie in ``docs/``; a hook of mkdocs, see ``mkdocs.yml``.

README, CONTRIBUTING and CHANGELOG lie at the top, docstrings in the packages, and pages link to
files of the code, which get a page each. Links are rewritten from where a file lies in the
repository to where its page lies in the site; a link to a file that is not there ends the build.
"""

import posixpath
import re
from collections.abc import Iterator
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page
from nbconvert import MarkdownExporter

ROOT = Path(__file__).resolve().parent.parent
TOP_PAGES = {
    "README.md": "index.md",
    "CONTRIBUTING.md": "CONTRIBUTING.md",
    "CHANGELOG.md": "CHANGELOG.md",
}
"""Pages at the top of the repository, and where they lie in the site."""
TOUR, TOUR_PAGE, TOUR_PICTURES = "examples/tour.ipynb", "tour.md", "pictures/tour"
PACKAGES = ("ofa_pipeline", "flows")
LINK = re.compile(r"(?P<before>\]\(|\bsrc=\")(?P<target>[^)\s\"]+)(?P<after>\)|\")")
DIRECTIVE = re.compile(r"^<!-- (?:walk: .*|/?demo) -->\n", re.MULTILINE)
TITLE = re.compile(r"^# (?P<title>.+)$", re.MULTILINE)
FENCE = "`" * 4


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Lay out the site."""
    config.nav = [
        {"Home": "index.md"},
        {"Tour": TOUR_PAGE},
        {"Guides": list(_guides())},
        {"Architecture": ["architecture.md", "recipes.md", "scale.md", "schemas/README.md"]},
        {"Decisions": ["adr/README.md", *_pages("adr")]},
        {"API": [{name: _api_page(name)} for name in _modules()]},
        {"Project": ["CONTRIBUTING.md", "CHANGELOG.md"]},
    ]
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add what does not lie in the folder of the documentation."""
    for source, page in TOP_PAGES.items():
        files.append(File.generated(config, page, content=(ROOT / source).read_text()))
    text, pictures = _tour()
    files.append(File.generated(config, TOUR_PAGE, content=text))
    for name, data in pictures.items():
        files.append(File.generated(config, name, content=data))
    for name in _modules():
        text = f"# `{name}`\n\n::: {name}\n"
        files.append(File.generated(config, _api_page(name), content=text))
    for path in sorted({path for page in _documents() for path in _code_linked_from(page)}):
        files.append(File.generated(config, _code_page(path), content=_listing(path)))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Drop what concerns who walks through the pages, and lead links to pages."""
    del config, files
    source = _source_of(page.file.src_uri)
    if source is None:
        return markdown
    return _outside_fences(DIRECTIVE.sub("", markdown), source, page.file.src_uri)


def _outside_fences(markdown: str, source: str, page: str) -> str:
    """Rewrite the links of a page where they are links, not code."""

    def lead(found: re.Match[str]) -> str:
        return f"{found['before']}{_led(found['target'], source, page)}{found['after']}"

    lines, is_code = [], False
    for line in markdown.splitlines(keepends=True):
        is_code ^= line.lstrip().startswith("```")
        lines.append(line if is_code else LINK.sub(lead, line))
    return "".join(lines)


def _led(target: str, source: str, page: str) -> str:
    """Return where a link of a file in the repository leads in the site."""
    path, mark, fragment = target.partition("#")
    if not path or "://" in path or path.startswith(("mailto:", TOUR_PICTURES)):
        return target
    return posixpath.relpath(_page_of(_absolute(path, source)), posixpath.dirname(page) or ".") + (
        mark + fragment
    )


def _absolute(path: str, source: str) -> str:
    """Return the path in the repository of what a file links to.

    Raises:
        PluginError: If it is not there.
    """
    found = posixpath.normpath(posixpath.join(posixpath.dirname(source), path))
    if not (ROOT / found).exists():
        raise PluginError(f"{source} must link to files of the repository, but {path} is none")
    return found


def _page_of(path: str) -> str:
    """Return the page, or the file of the site, that shows a file of the repository."""
    if (ROOT / path).is_dir():
        path = f"{path}/README.md"
    if path in TOP_PAGES:
        return TOP_PAGES[path]
    if path == TOUR:
        return TOUR_PAGE
    if path == "docs/README.md":
        return "index.md"
    if path.startswith("docs/"):
        return path.removeprefix("docs/")
    return _code_page(path)


def _code_linked_from(document: Path) -> Iterator[str]:
    source = document.relative_to(ROOT).as_posix()
    for found in LINK.finditer(document.read_text()):
        path = found["target"].partition("#")[0]
        if path and "://" not in path and not path.startswith("mailto:"):
            linked = _absolute(path, source)
            if _page_of(linked) == _code_page(linked):
                yield linked


def _documents() -> list[Path]:
    return [*(ROOT / name for name in TOP_PAGES), *sorted((ROOT / "docs").rglob("*.md"))]


def _source_of(page: str) -> str | None:
    """Return where the text of a page lies in the repository; None of a page that is made."""
    for source, name in [*TOP_PAGES.items(), (TOUR, TOUR_PAGE)]:
        if page == name:
            return source
    return f"docs/{page}" if (ROOT / "docs" / page).is_file() else None


def _tour() -> tuple[str, dict[str, bytes]]:
    """Return the notebook with its results as a page, and the pictures by their path."""
    resources = {"output_files_dir": TOUR_PICTURES}
    text, found = MarkdownExporter().from_filename(str(ROOT / TOUR), resources=resources)
    # Tables look as those of the other pages.
    text = re.sub(r"<style scoped>.*?</style>\n", "", text, flags=re.DOTALL)
    return text.replace(' border="1" class="dataframe"', ""), found["outputs"]


def _listing(path: str) -> str:
    language = Path(path).suffix.removeprefix(".")
    return f"# `{path}`\n\n{FENCE}{language}\n{(ROOT / path).read_text()}\n{FENCE}\n"


def _code_page(path: str) -> str:
    return f"code/{path}.md"


def _api_page(name: str) -> str:
    return f"api/{name}.md"


def _modules() -> list[str]:
    """Return the packages, and the modules beside them, that have something to say."""
    names = []
    for package in PACKAGES:
        inits = sorted((ROOT / package).rglob("__init__.py"))
        for init in inits:
            name = ".".join(init.parent.relative_to(ROOT).parts)
            names += [name, *(f"{name}.{module}" for module in _open_modules(init))]
        modules = sorted((ROOT / package).glob("[!_]*.py"))
        names += [f"{package}.{path.stem}" for path in modules]
    return names


def _open_modules(init: Path) -> list[str]:
    """Return the modules that a package offers as such, or by a function of the same name."""
    lists = re.findall(
        r"^(?:__all__ = \[|OPEN_MODULES = \()(.*?)[\])]$", init.read_text(), re.M | re.S
    )
    offered = dict.fromkeys(re.findall(r'"(\w+)"', "".join(lists)))
    return [name for name in offered if init.with_name(f"{name}.py").is_file()]


def _guides() -> Iterator[str]:
    """Yield the guides in the order of the list of pages."""
    listed = re.findall(r"\]\((guides/[a-z_]+\.md)\)", (ROOT / "docs" / "README.md").read_text())
    yield from listed
    yield from (page for page in _pages("guides") if page not in listed)


def _pages(folder: str) -> list[str]:
    found = sorted((ROOT / "docs" / folder).glob("*.md"))
    return [f"{folder}/{path.name}" for path in found if path.name != "README.md"]
