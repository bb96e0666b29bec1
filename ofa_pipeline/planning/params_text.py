"""A proposal written into the text of params.yaml: values, and the reasons as comments."""

import json
import re
import textwrap
from collections.abc import Callable, Sequence
from functools import partial

from ofa_pipeline.errors import ParamsError
from ofa_pipeline.planning.proposal import Proposal, Setting

_WRAPPER = textwrap.TextWrapper(
    width=96, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False
)


def write_proposal(text: str, proposal: Proposal, *, head: Sequence[str]) -> str:
    """Return params.yaml with what is proposed.

    Args:
        text: What to start from; comments and order stay.
        proposal: What to change.
        head: Lines to put in front, as comments.

    Raises:
        ParamsError: If the text lacks a section that has to be changed.
    """
    for name, setting in proposal.settings.items():
        section, _, key = name.partition(".")
        text = _set(text, section, key, setting)
    for phase, epochs in proposal.epochs.items():
        text = _in_section(text, "phases", partial(_set_epochs, phase=phase, epochs=epochs))
    return _comment(head, indent="") + "\n" + text


def _in_section(text: str, section: str, change: Callable[[str], str]) -> str:
    """Change what stands below the name of a section."""
    found = re.search(rf"^{section}:.*\n(?:(?:[ \t#].*)?\n)*", text, re.MULTILINE)
    if found is None:
        raise ParamsError(f"params.yaml must have the section {section}")
    return text[: found.start()] + change(found[0]) + text[found.end() :]


def _set(text: str, section: str, key: str, setting: Setting) -> str:
    """Set a value of a section, or add it at the section's end."""
    line = f"  {key}: {_yaml(setting.value)}"
    reason = _comment([setting.reason], indent="  ") if setting.reason else ""

    def change(body: str) -> str:
        pattern = re.compile(rf"^  {key}:[^\n#]*?(?P<end>[ \t]*#[^\n]*)?$", re.MULTILINE)
        if pattern.search(body):
            return pattern.sub(lambda found: reason + _beside(line, found), body, count=1)
        kept = body.rstrip("\n")
        return f"{kept}\n{reason}{line}\n" + body[len(kept) + 1 :]

    return _in_section(text, section, change)


def _beside(line: str, found: re.Match[str]) -> str:
    """Return a line with the comment that stood behind the value, where it stood."""
    comment = (found["end"] or "").lstrip()
    column = len(found[0]) - len(comment)
    return f"{line:{column - 1}} {comment}" if comment else line


def _set_epochs(body: str, *, phase: str, epochs: int) -> str:
    return re.sub(
        rf"(^  {phase}:\n(?:    .*\n)*?.*?\bepochs: )\d+",
        lambda found: f"{found[1]}{epochs}",
        body,
        count=1,
        flags=re.MULTILINE,
    )


def _yaml(value: object) -> str:
    """Return a value as YAML writes it in one line; JSON is YAML, and quotes what needs it."""
    if isinstance(value, str) and re.fullmatch(r"[\w~./][\w~./ -]*(:[\w~./-][\w~./ -]*)?", value):
        return value
    return json.dumps(value, ensure_ascii=False)


def _comment(lines: Sequence[str], *, indent: str) -> str:
    """Return lines of text as comments that are not too wide."""
    wrapped = [part for line in lines for part in (_WRAPPER.wrap(line) or [""])]
    return "".join(f"{indent}# {line}".rstrip() + "\n" for line in wrapped)
