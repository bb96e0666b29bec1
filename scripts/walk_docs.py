"""Walk through README and guides as a reader would: run every command as it is written.

Each page gets a fresh shell in the clone, with a home of its own, and its blocks run in order:
shell blocks in that shell, ``python`` blocks with its ``python``. At the end, what a command
printed as the next one (``ofa-pipeline ...``, ``mlflow.pyfunc.load_model(...)``) is run, too. A
comment before a block says what a reader brings along:

    <!-- walk: before COMMAND -->      run this first: it makes what the page takes for granted
    <!-- walk: params FOLDER -->       merge the following YAML into FOLDER/params.yaml
    <!-- walk: preset NAME -->         the following YAML belongs into the params.yaml of a preset
    <!-- walk: serve WORDS -->         the last command serves: wait for WORDS, then press Ctrl-C
    <!-- walk: alone REASON -->        do not run what the block prints
    <!-- walk: skip REASON -->         do not run the block

Prints one JSON object a command, ``{"page", "line", "command", "exit_code", "duration_s"}``, and
ends with 1 when one failed. The shell starts in a fresh clone of the repository:

    python scripts/walk_docs.py [--clone FOLDER] [README.md docs/guides/registry.md ...]
"""

import argparse
import json
import os
import re
import shlex
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

ROOT = Path(__file__).resolve().parent.parent
PAGES = ("README.md", *sorted(f"docs/guides/{path.name}" for path in ROOT.glob("docs/guides/*.md")))
"""README first: what it makes, the guides take for granted."""
DIRECTIVE = re.compile(
    r"<!-- walk: (?P<verb>before|params|preset|serve|alone|skip) (?P<rest>.*?) -->"
)
PRINTED = re.compile(r"(?:^|[\s:])(ofa-pipeline [a-z][^`]*?)(?:[.;,]?$|[;,] | \(| to | or )")
LOADED = re.compile(r"mlflow\.pyfunc\.load_model\('[^']+'\)")
SHELLS = ("", "sh", "bash", "console")
ACTIVATE = "source .venv/bin/activate"
SERVE_TIMEOUT_S = 180.0
PHOTOS_A_CLASS = 120
PULLED = "phone"
"""The folder that printed commands pull to."""


@dataclass(slots=True)
class Block:
    """A fenced block of a page, and what a reader brings along."""

    language: str
    line: int
    text: str = ""
    directives: list[tuple[str, str]] = field(default_factory=list)

    def rest_of(self, verb: str) -> list[str]:
        """Return what stands behind the directives of a kind."""
        return [rest for kind, rest in self.directives if kind == verb]


def blocks_of(page: Path) -> Iterator[Block]:
    """Yield the fenced blocks of a page, in order."""
    directives: list[tuple[str, str]] = []
    block: Block | None = None
    for number, line in enumerate(page.read_text().splitlines(), start=1):
        if line.strip().startswith("```"):
            if block is None:
                block = Block(line.strip().removeprefix("```"), number, directives=directives)
            else:
                yield block
                block, directives = None, []
        elif block is not None:
            block.text += line + "\n"
        elif found := DIRECTIVE.search(line):
            directives.append((found["verb"], found["rest"]))
    if block is not None or directives:
        raise SystemExit(f"{page}: a block does not end, or a directive stands before none")


def commands_of(text: str) -> list[str]:
    """Return the commands of a shell block: lines, continued ones joined."""
    lines = text.replace("\\\n", " ").splitlines()
    return [line.strip() for line in lines if line.strip() and not line.lstrip().startswith("#")]


class Shell:
    """A bash that starts in the clone, with a home of its own."""

    def __init__(self, clone: Path, home: Path) -> None:
        """Start it: nothing of this process's environment goes along but the PATH."""
        environment = {"HOME": str(home), "PATH": os.environ["PATH"], "TERM": "dumb", "USER": "you"}
        for name in ("LANG", "UV_HTTP_TIMEOUT", "PIP_INDEX_URL", "UV_INDEX_URL", "SSL_CERT_FILE"):
            if name in os.environ:
                environment[name] = os.environ[name]
        self._process = subprocess.Popen(
            ["bash", "--noprofile", "--norc"],
            cwd=clone,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,
        )

    def run(self, command: str) -> tuple[int, str]:
        """Run a command line and return its exit code and what it printed."""
        self._write(f"{{\n{command}\n}} </dev/null\nprintf '\\n::walked %s::\\n' $?\n")
        printed = []
        for line in self._read:
            if found := re.fullmatch(r"::walked (\d+)::\n", line):
                return int(found[1]), "".join(printed)
            printed.append(line)
        raise SystemExit(f"the shell ended in: {command}")

    def serve(self, command: str, words: str) -> tuple[int, str]:
        """Run a server until it has printed some words, and then press Ctrl-C."""
        self._write(f"{command} </dev/null & echo ::served $!::\n")
        printed, pid = [], 0
        deadline = time.monotonic() + SERVE_TIMEOUT_S
        for line in self._read:
            if found := re.fullmatch(r"::served (\d+)::\n", line):
                pid = int(found[1])
                continue
            printed.append(line)
            if words in line or time.monotonic() > deadline:
                break
        # A shell without a terminal starts background commands with Ctrl-C switched off.
        os.kill(pid, signal.SIGTERM)
        self._write(f"wait {pid}; printf '\\n::walked %s::\\n' $?\n")
        for line in self._read:
            if re.fullmatch(r"::walked (\d+)::\n", line):
                break
            printed.append(line)
        text = "".join(printed)
        return (0 if words in text else 1), text

    def close(self) -> None:
        """End the shell."""
        self._process.terminate()
        self._process.wait()

    @property
    def _read(self) -> IO[str]:
        assert self._process.stdout is not None
        return self._process.stdout

    def _write(self, text: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(text)
        self._process.stdin.flush()


class Walk:
    """The walk through one page."""

    def __init__(self, page: str, shell: Shell, *, scratch: Path, is_verbose: bool) -> None:
        """Start at the top."""
        self._scratch = scratch
        self._page = page
        self._shell = shell
        self._is_verbose = is_verbose
        self._done: set[str] = set()
        self._printed: list[tuple[Block, str]] = []
        self._python = ""
        self.failures = 0

    def walk(self, block: Block) -> None:
        """Do what a reader does with a block."""
        if block.rest_of("skip"):
            return
        for command in block.rest_of("before"):
            self._step(block, command)
        if block.language in SHELLS:
            self._shell_block(block)
        elif block.language == "python":
            self._python += block.text  # blocks of a page go on from each other
            self._step(block, f"python {self._file(block, self._python)}")
        elif block.rest_of("params"):
            [folder] = block.rest_of("params")
            merge = f"python {shlex.quote(str(Path(__file__)))} --merge"
            self._step(block, f"{merge} {folder} {self._file(block, block.text)}")

    def _file(self, block: Block, text: str) -> str:
        """Keep the text of a block in a file of the walk and return its path, quoted."""
        path = self._scratch / f"{Path(self._page).stem}-{block.line}"
        path.write_text(text)
        return shlex.quote(str(path))

    def run_printed(self) -> None:
        """Run what the commands of the page told to run next and the page did not."""
        while self._printed:
            block, command = self._printed.pop(0)
            if command not in self._done:
                self._step(block, command)

    def _shell_block(self, block: Block) -> None:
        commands = commands_of(block.text)
        served = commands.pop() if block.rest_of("serve") else None
        for command in commands:
            self._step(block, command)
        if served is not None:
            [words] = block.rest_of("serve")
            self._step(block, served, words=words)

    def _step(self, block: Block, command: str, *, words: str | None = None) -> None:
        self._done.add(command.partition("  #")[0].strip())
        start = time.monotonic()
        if words is None:
            code, printed = self._shell.run(command)
        else:
            code, printed = self._shell.serve(command, words)
        shown = command.splitlines()[0]
        record = {"page": self._page, "line": block.line, "command": shown, "exit_code": code}
        print(json.dumps(record | {"duration_s": round(time.monotonic() - start, 1)}), flush=True)
        if code or self._is_verbose:
            sys.stderr.write(printed)
        self.failures += code != 0
        if not block.rest_of("alone"):
            self._printed += [(block, found) for found in self._printed_commands(printed)]

    def _printed_commands(self, printed: str) -> list[str]:
        """Return the commands that an output tells to run next."""
        found = [match.strip() for line in printed.splitlines() for match in PRINTED.findall(line)]
        loads = [f'python -c "import mlflow; {call}"' for call in LOADED.findall(printed)]
        return list(dict.fromkeys([*found, *loads]))


def write_photos(folder: Path) -> None:
    """Write an image folder: some classes of the sample that comes with the package."""
    import pyarrow.parquet as pq

    table = pq.read_table(ROOT / "ofa_pipeline" / "data" / "fashion_mnist_sample.parquet")
    names = table.schema.metadata[b"class_names"].decode().split(",")
    written = dict.fromkeys(("Bag", "Coat", "Dress", "Sneaker", "Trouser"), 0)
    for row in table.to_pylist():
        name = names[row["label"]]
        if written.get(name, PHOTOS_A_CLASS) < PHOTOS_A_CLASS:
            path = folder.expanduser() / name / f"{written[name]:03d}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(row["image"]["bytes"])
            written[name] += 1


def merge_params(folder: Path, text: str) -> None:
    """Merge YAML into the params.yaml of a folder, as a reader would write it there."""
    from ruamel.yaml import YAML

    yaml = YAML()
    path = folder.expanduser() / "params.yaml"
    yaml.dump(merged(yaml.load(path), yaml.load(text)), path)


def merged(values: dict[str, Any], snippet: dict[str, Any]) -> dict[str, Any]:
    """Return params with the sections of a snippet written over theirs."""
    for name, section in snippet.items():
        if isinstance(section, dict):
            values.setdefault(name, {}).update(section)
        else:
            values[name] = section
    return values


def main() -> int:
    """Walk through the pages and return the exit code."""
    parser = argparse.ArgumentParser(description="Run every command of README and guides.")
    parser.add_argument("pages", nargs="*", default=PAGES)
    parser.add_argument("--clone", type=Path, help="a clone to walk in, instead of a fresh one")
    parser.add_argument("--verbose", action="store_true", help="show what succeeds, too")
    parser.add_argument("--photos", type=Path, help="write an image folder there and end")
    parser.add_argument("--merge", type=Path, nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.merge:
        merge_params(options.merge[0], options.merge[1].read_text())
        return 0
    if options.photos:
        write_photos(options.photos)
        return 0
    failures = 0
    with tempfile.TemporaryDirectory(prefix="walk-") as folder:
        clone = options.clone or Path(folder) / "clone"
        if options.clone is None:
            subprocess.run(["git", "clone", "--quiet", str(ROOT), str(clone)], check=True)
        home = Path(folder) / "home"
        home.mkdir()
        for page in options.pages:
            shell = Shell(clone, home)
            if page != PAGES[0]:
                shell.run(ACTIVATE)  # as README tells for all pages
            shell.run(f"rm -rf {PULLED}")  # another subnet than the page before has pulled
            walk = Walk(page, shell, scratch=Path(folder), is_verbose=options.verbose)
            for block in blocks_of(clone / page):
                walk.walk(block)
            walk.run_printed()
            shell.close()
            failures += walk.failures
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
