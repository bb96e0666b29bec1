"""YAML as DVC reads and writes it: version 1.2, by ruamel.yaml.

DVC writes ``1e-05`` into params.yaml and means a number. By YAML 1.1, which PyYAML reads, that is
a text, ``yes`` is a truth value and ``010`` is eight: one file would mean two things. So both read
with one library, in one way (ADR 0084).

A file is looked through before it is built: what is deeper or longer than settings ever are is
refused in milliseconds and in one sentence.
"""

import re
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML, events
from ruamel.yaml.constructor import DuplicateKeyError
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.reader import ReaderError

from ofa_pipeline.errors import YamlError, shorten

MAX_BYTES = 1 << 20
MAX_DEPTH = 32
MAX_VALUES = 20_000
"""Keys and values, those that aliases repeat included."""

_MIB = 1 << 20
_REPEATED = re.compile(r'duplicate key "(.*?)" with value', flags=re.DOTALL)
_UTF_16 = (b"\xff\xfe", b"\xfe\xff")


def read_yaml(path: Path) -> object:
    """Read a file of settings: mappings, lists, texts, numbers, truth values and dates.

    Raises:
        FileNotFoundError: If there is no such file.
        YamlError: If it is no text in UTF-8, no YAML, or too long or deep; says where.
    """
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except IsADirectoryError as error:
        raise YamlError(f"{path} must be a YAML file, but is a folder. Name the file.") from error
    except PermissionError as error:
        raise YamlError(f"{path} may not be read: {error.strerror}. Change its mode.") from error
    if len(content) > MAX_BYTES:
        size = max(path.stat().st_size, len(content)) / _MIB
        raise YamlError(
            f"{path} must be at most {MAX_BYTES // _MIB} MiB, it has {size:.1f} MiB. "
            "Is it the right file?"
        )
    return parse_yaml(_decode(content, path), origin=str(path))


def parse_yaml(text: str, *, origin: str) -> object:
    """Parse what `read_yaml` reads.

    Args:
        text: The YAML.
        origin: Where it comes from, for the error message.

    Raises:
        YamlError: If it is no YAML, or too long or deep; says where.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # hints on YAML 1.1, which is refused
            _Scan(origin).check(YAML(typ="safe").parse(text))
            return YAML(typ="safe").load(text)
    except YAMLError as error:
        raise YamlError(f"{origin}{_place(error, text)}: {_problem(error, text)}") from error
    except ValueError as error:
        if isinstance(error, YamlError):
            raise
        # A number of thousands of digits, the 31st of February
        raise YamlError(f"{origin}: a value is none: {shorten(str(error), 200)}") from error


@dataclass
class _Scan:
    """Counts what a document would become, without building it."""

    origin: str
    open: list[tuple[str | None, int]] = field(default_factory=list)
    """Anchor of each open collection, and what was counted before it."""
    sizes: dict[str, int] = field(default_factory=dict)
    """Values behind each anchor."""
    count: int = 0

    def check(self, parsed: Iterator[Any]) -> None:
        """Look through the events of a parser.

        Raises:
            YamlError: If the document is too deep or long, or does not hold settings.
        """
        for event in parsed:
            where = f"{self.origin}, line {event.start_mark.line + 1}"
            if isinstance(event, events.DocumentStartEvent):
                _check_version(event.version, where)
            elif isinstance(event, events.AliasEvent):
                self._count_alias(event.anchor, where)
            elif isinstance(event, events.CollectionEndEvent):
                anchor, before = self.open.pop()
                self.sizes[anchor or ""] = self.count - before
            elif isinstance(event, events.NodeEvent):
                self._count_node(event, where)

    def _count_node(self, event: Any, where: str) -> None:  # noqa: ANN401 - ruamel has no types
        self.count += 1
        self._check_count(where)
        if not isinstance(event, events.CollectionStartEvent):
            self.sizes[event.anchor or ""] = 1
            return
        self.open.append((event.anchor, self.count - 1))
        if len(self.open) > MAX_DEPTH:
            raise YamlError(
                f"{where}: values may be nested {MAX_DEPTH} deep, here they are deeper. "
                "Is it the right file?"
            )

    def _count_alias(self, name: str, where: str) -> None:
        if any(anchor == name for anchor, _ in self.open):
            raise YamlError(f"{where}: *{shorten(name)} stands inside itself. Write the value out.")
        self.count += self.sizes.get(name, 1)  # of an unknown one the parser itself complains
        self._check_count(where)

    def _check_count(self, where: str) -> None:
        if self.count > MAX_VALUES:
            raise YamlError(
                f"{where}: at most {MAX_VALUES:,} values are read, aliases written out, and there "
                "are more. Is it the right file?"
            )


def _check_version(version: tuple[int, int] | None, where: str) -> None:
    if version not in (None, (1, 2)):
        found = ".".join(str(part) for part in version or ())
        raise YamlError(
            f"{where}: YAML is read as version 1.2, as DVC does, got %YAML {found}. "
            "Remove the line."
        )


def _decode(content: bytes, path: Path) -> str:
    if content.startswith(_UTF_16) or b"\x00" in content[:4]:
        raise YamlError(f"{path} must be text in UTF-8, it is UTF-16 or UTF-32. Save it as UTF-8.")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise YamlError(
            f"{path}, line {line}: must be text in UTF-8, found the byte 0x"
            f"{content[error.start]:02x}. Save it as UTF-8."
        ) from error


def _place(error: YAMLError, text: str) -> str:
    if isinstance(error, ReaderError):
        position = error.position if isinstance(error.position, int) else 0
        return f", line {text.count(chr(10), 0, position) + 1}"
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    return f", line {mark.line + 1}, column {mark.column + 1}" if mark else ""


def _problem(error: YAMLError, text: str) -> str:
    """Return the parser's own words in one line."""
    if isinstance(error, ReaderError):
        return "control characters are not allowed. Remove it, or write it as an escape in quotes."
    if isinstance(error, DuplicateKeyError) and (named := _REPEATED.search(str(error.problem))):
        return (
            f'duplicate key "{shorten(named[1])}": it stands twice in one mapping, and one would '
            "be lost. Rename or remove one."
        )
    if not isinstance(error, MarkedYAMLError):
        return shorten(" ".join(str(error).split()), 200)
    words = [str(part) for part in (error.context, error.problem) if part]
    mark = error.problem_mark
    if mark is not None and _character_at(text, mark) == "\t":
        words.append("a tab: indent with spaces")
    return shorten(" ".join(", ".join(words).split()), 300)


def _character_at(text: str, mark: Any) -> str:  # noqa: ANN401 - ruamel has no types
    line = "".join(text.splitlines()[mark.line : mark.line + 1])
    return line[mark.column : mark.column + 1]
