"""Devices written into the text of params.yaml, and taken out of it; everything else stays.

Comments, order and line breaks of a file are its author's. So the text is changed, not written anew
from its values; that nothing but the device has changed is checked before it is returned.
"""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from ofa_pipeline.errors import ParamsError, shown, suggest
from ofa_pipeline.params.reading import parse_params
from ofa_pipeline.yaml_reader import parse_yaml

_SECTION = re.compile(r"^devices:[ \t]*(?:#.*)?\n(?:(?:[ \t#].*)?\n)*", re.MULTILINE)
_FIRST_KEY = re.compile(r"^(?P<indent> +)[^\s#]", re.MULTILINE)


def add_device(text: str, name: str, device: Mapping[str, Any], *, origin: str) -> str:
    """Return params.yaml with one more device, the last of them.

    Args:
        text: The file.
        name: Name of the device.
        device: What stands below the name: ``card`` and the budgets.
        origin: Path of the file, for messages.

    Raises:
        ParamsError: If there is a device of that name, a value is wrong, or the devices are not
            written in a way that can be extended; says which.
    """
    before = _devices(text, origin)
    if name in before:
        raise ParamsError(
            f"{origin}: a device's name must be its own, but there is a device {name} already: "
            f"{_flow(before[name])}. Choose another name, or remove it first: "
            f"ofa-pipeline device remove {name}"
        )
    body, indent = _section(text, origin)
    kept = body.rstrip("\n")
    # Comments at the margin after the last device belong to what comes next.
    while (last := kept.rpartition("\n")[2]) and (not last.strip() or last.startswith("#")):
        kept = kept.rpartition("\n")[0].rstrip("\n")
    lines = [
        f"{indent}{_flow(name)}:",
        *(f"{indent * 2}{key}: {_flow(v)}" for key, v in device.items()),
    ]
    changed = text.replace(body, kept + "\n" + "\n".join(lines) + "\n" + body[len(kept) + 1 :], 1)
    return _checked(changed, {**before, name: dict(device)}, text, origin)


def remove_device(text: str, name: str, *, origin: str) -> str:
    """Return params.yaml without a device; comments inside of it go, too.

    Args:
        text: The file.
        name: Name of the device.
        origin: Path of the file, for messages.

    Raises:
        ParamsError: If there is no such device, it is the only one, or it is not written in a way
            that can be cut out.
    """
    before = _devices(text, origin)
    _check_known(name, before, origin)
    if len(before) == 1:
        raise ParamsError(
            f"{origin} must name at least one device, and {name} is the only one. Add another "
            "first: ofa-pipeline device add NAME"
        )
    body, indent = _section(text, origin)
    changed = body.replace(_block(body, name, indent), "", 1)
    after = {key: value for key, value in before.items() if key != name}
    return _checked(text.replace(body, changed, 1), after, text, origin)


def set_card(text: str, name: str, values: Mapping[str, Any], *, origin: str) -> str:
    """Return params.yaml with other values in the card of a device.

    Args:
        text: The file.
        name: Name of the device.
        values: By key of the card; the others stay.
        origin: Path of the file, for messages.

    Raises:
        ParamsError: If there is no such device, a value is wrong, or the card is not written in a
            way that can be changed.
    """
    before = _devices(text, origin)
    _check_known(name, before, origin)
    card = {**before[name]["card"], **values}
    body, indent = _section(text, origin)
    block = _block(body, name, indent)
    changed = re.sub(
        r"\bcard:(?:\s*\{[^{}]*\}|[ \t]*\n(?:[ \t]{" + str(2 * len(indent) + 1) + r",}\S.*\n?)+)",
        lambda old: f"card: {_flow(card)}" + ("\n" if old[0].endswith("\n") else ""),
        block,
        count=1,
    )
    after = {**before, name: {**before[name], "card": card}}
    return _checked(text.replace(block, changed, 1), after, text, origin)


def set_budgets(text: str, name: str, budgets_ms: Sequence[float], *, origin: str) -> str:
    """Return params.yaml with other budgets of a device, in milliseconds.

    Args:
        text: The file.
        name: Name of the device.
        budgets_ms: Ascending.
        origin: Path of the file, for messages.

    Raises:
        ParamsError: If there is no such device, a value is wrong, or the budgets are not written in
            a way that can be changed.
    """
    before = _devices(text, origin)
    _check_known(name, before, origin)
    kept = {key: value for key, value in before[name].items() if not key.startswith("budget")}
    body, indent = _section(text, origin)
    block = _block(body, name, indent)
    wanted = f"budgets_ms: {_flow(list(budgets_ms))}"
    changed = re.sub(
        r"\bbudget(?:s_ms|_fractions):\s*\[[^\[\]]*\]", lambda _: wanted, block, count=1
    )
    after = {**before, name: {**kept, "budgets_ms": list(budgets_ms)}}
    return _checked(text.replace(block, changed, 1), after, text, origin)


def _section(text: str, origin: str) -> tuple[str, str]:
    """Return the section of the devices, and what stands before their names."""
    found = _SECTION.search(text if text.endswith("\n") else text + "\n")
    key = _FIRST_KEY.search(found[0]) if found else None
    if found is None or key is None:
        raise ParamsError(
            f"{origin}: the devices must stand below `devices:`, one below the other, to be "
            "edited by a command. Write them so, or edit the file by hand."
        )
    return found[0] if text.endswith("\n") else found[0][:-1], key["indent"]


def _block(body: str, name: str, indent: str) -> str:
    """Return the lines of a device: its name, and what stands further in below it."""
    lines = body.splitlines(keepends=True)
    heads = [i for i, line in enumerate(lines) if re.match(rf"{indent}[\"']?{name}[\"']?:", line)]
    if not heads:
        return ""
    end = heads[0] + 1
    while end < len(lines) and (not lines[end].strip() or lines[end].startswith(indent + " ")):
        end += 1
    while not lines[end - 1].strip():
        end -= 1
    return "".join(lines[heads[0] : end])


def _devices(text: str, origin: str) -> dict[str, Any]:
    values = parse_yaml(text, origin=origin)
    devices = values.get("devices") if isinstance(values, dict) else None
    if not isinstance(devices, dict):
        raise ParamsError(f"{origin} must have a section `devices`")
    return devices


def _check_known(name: str, devices: Mapping[str, Any], origin: str) -> None:
    if name not in devices:
        raise ParamsError(f"{origin}: unknown device {shown(name)}.{suggest(name, devices)}")


def _checked(text: str, devices: dict[str, Any], before: str, origin: str) -> str:
    """Return a text whose values are valid, and differ in the devices as they are meant to."""
    values, former = (parse_yaml(each, origin=origin) for each in (text, before))
    assert isinstance(former, dict)
    parse_params({**former, "devices": devices}, origin=origin)
    if values != {**former, "devices": devices}:
        raise ParamsError(
            f"{origin}: the devices are written in a way that no command can edit without "
            "changing something else. Edit the file by hand."
        )
    return text


def _flow(value: object) -> str:
    """Return a value as YAML in one line."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key}: {_flow(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(_flow(item) for item in value) + "]"
    if isinstance(value, str) and re.fullmatch(r"(?!(true|false|null)$)[a-z][\w.-]*", value):
        return value
    return json.dumps(value, ensure_ascii=False)
