import difflib
from pathlib import Path

import pytest

from ofa_pipeline.errors import ParamsError
from ofa_pipeline.params import add_device, parse_params, remove_device, set_budgets, set_card
from ofa_pipeline.yaml_reader import parse_yaml

TEXT = (Path(__file__).parents[2] / "params.yaml").read_text()
CARD = {
    "runtime": "onnxruntime",
    "accelerator": "cpu",
    "precision": "fp32",
    "threads": 2,
    "batch_size": 1,
}
DEVICE = {"card": CARD, "budget_fractions": [0.2, 0.8]}
ORIGIN = "params.yaml"


def devices_of(text):
    return parse_params(parse_yaml(text, origin=ORIGIN), origin=ORIGIN).devices


def changed_lines(before, after):
    lines = list(difflib.ndiff(before.splitlines(), after.splitlines()))
    return [line for line in lines if line[0] == "+"], [line for line in lines if line[0] == "-"]


@pytest.mark.parametrize("name", ["phone", "12", "true"])
def test_an_added_device_is_the_last_and_nothing_else_changes(name):
    after = add_device(TEXT, name, DEVICE, origin=ORIGIN)
    assert list(devices_of(after)) == ["cpu-onnxruntime", "cpu-pytorch", name]
    added, lost = changed_lines(TEXT, after)
    assert len(added) == 3
    assert not lost


def test_taking_the_device_out_again_gives_the_same_bytes():
    assert remove_device(add_device(TEXT, "a", DEVICE, origin=ORIGIN), "a", origin=ORIGIN) == TEXT


def test_a_comment_on_the_devices_stays_when_the_first_is_removed():
    after = remove_device(TEXT, "cpu-onnxruntime", origin=ORIGIN)
    assert list(devices_of(after)) == ["cpu-pytorch"]
    assert "# A device card" in after


@pytest.mark.parametrize("ending", ["", "\n", "\n\n# the end\n"])
def test_devices_may_be_the_last_section(ending):
    start = TEXT.index("devices:")
    section = TEXT[start : TEXT.index("search:\n")]
    text = TEXT.replace(section, "") + "\n" + section.rstrip("\n") + ending
    after = add_device(text, "phone", DEVICE, origin=ORIGIN)
    assert list(devices_of(after))[-1] == "phone"
    assert after.endswith(ending.strip("\n") + "\n" if ending else "\n")


def test_a_card_over_several_lines_is_changed_in_its_place():
    block = "    card:\n      runtime: onnxruntime # here\n"
    rest = "".join(f"      {key}: {value}\n" for key, value in list(CARD.items())[1:])
    text = TEXT.replace("\nsearch:", f"  wide:\n{block}{rest}    budgets_ms: [1]\n\nsearch:")
    after = set_card(text, "wide", {"threads": 1}, origin=ORIGIN)
    assert devices_of(after)["wide"].card.threads == 1
    assert devices_of(after)["wide"].budgets_ms == (1,)


def test_a_card_in_one_line_keeps_the_lines_around_it():
    after = set_card(TEXT, "cpu-pytorch", {"threads": 2}, origin=ORIGIN)
    assert [len(lines) for lines in changed_lines(TEXT, after)] == [1, 1]
    assert devices_of(after)["cpu-pytorch"].card.threads == 2
    assert devices_of(after)["cpu-onnxruntime"].card.threads == 1


@pytest.mark.parametrize(
    ("name", "device", "message"),
    [
        ("cpu-pytorch", DEVICE, "there is a device cpu-pytorch already"),
        ("Phone", DEVICE, "devices.Phone"),
        (
            "phone",
            {**DEVICE, "card": {**CARD, "location": "awy"}},
            "must be away, ssh://USER@HOST",
        ),
        ("phone", {**DEVICE, "card": {**CARD, "location": "ssh://-oX=y"}}, "must be away, ssh"),
        (
            "phone",
            {**DEVICE, "card": {**CARD, "location": "ssh://h:65536"}},
            "1 to 65535, got 65536",
        ),
        ("phone", {**DEVICE, "card": {**CARD, "location": "ssh://me@h:0"}}, "1 to 65535, got 0"),
        ("My phone", DEVICE, "a name must be of lower case, digits, - and _"),
        ("phone", {**DEVICE, "card": {**CARD, "location": "ray://a b"}}, "or ray://RESOURCE"),
        ("phone", {**DEVICE, "card": {**CARD, "location": "ray://GPU"}}, "have GPU, which is Ray"),
        ("phone", {**DEVICE, "card": {**CARD, "measured": "0" * 12}}, "location: away"),
        ("phone", {**DEVICE, "card": {**CARD, "python": "py"}}, "measures over ssh"),
        ("phone", {"card": CARD}, "budgets_ms or budget_fractions"),
        ("phone", {**DEVICE, "card": {**CARD, "runtime": "onnxruntim"}}, "Did you mean"),
    ],
)
def test_what_cannot_be_added_says_why(name, device, message):
    with pytest.raises(ParamsError, match=message):
        add_device(TEXT, name, device, origin=ORIGIN)


def test_an_unknown_device_and_the_only_one_cannot_be_removed():
    with pytest.raises(ParamsError, match="Did you mean 'cpu-pytorch'"):
        remove_device(TEXT, "cpu-pytorh", origin=ORIGIN)
    one = remove_device(TEXT, "cpu-pytorch", origin=ORIGIN)
    with pytest.raises(ParamsError, match="the only one"):
        remove_device(one, "cpu-onnxruntime", origin=ORIGIN)


def test_devices_in_one_line_are_left_to_their_author():
    start = TEXT.index("devices:")
    section = TEXT[start : TEXT.index("search:\n")]
    text = TEXT.replace(
        section, f"devices: {{a: {{card: {CARD}, budgets_ms: [1]}}}}\n".replace("'", "")
    )
    with pytest.raises(ParamsError, match="edit the file by hand"):
        add_device(text, "b", DEVICE, origin=ORIGIN)


@pytest.mark.parametrize("name", ["cpu-onnxruntime", "cpu-pytorch"])
def test_new_budgets_replace_the_old_ones_in_their_line(name):
    after = set_budgets(TEXT, name, [0.1, 2.5], origin=ORIGIN)
    device = devices_of(after)[name]
    assert (device.budgets_ms, device.budget_fractions) == ((0.1, 2.5), None)
    added, lost = changed_lines(TEXT, after)
    assert len(added) == len(lost) == 1
    assert set_budgets(after, name, [0.1, 2.5], origin=ORIGIN) == after


@pytest.mark.parametrize("budgets", [[], [2.0, 1.0], [1.0, 1.0], [0.0], [-1.0], [float("nan")]])
def test_budgets_that_are_none_are_refused(budgets):
    with pytest.raises(ParamsError):
        set_budgets(TEXT, "cpu-onnxruntime", budgets, origin=ORIGIN)


def test_budgets_of_an_unknown_device_are_refused_with_the_nearest():
    with pytest.raises(ParamsError, match="cpu-onnxruntime"):
        set_budgets(TEXT, "cpu-onnxruntim", [1.0], origin=ORIGIN)
