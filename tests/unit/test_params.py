import copy
import json
from pathlib import Path

import pytest
import yaml

from ofa_pipeline.errors import ParamsError
from ofa_pipeline.params import load_params, parse_params

SHIPPED = Path(__file__).parents[2] / "params.yaml"
VALUES = yaml.safe_load(SHIPPED.read_text())


def changed(path, value):
    """Return the shipped values with one of them replaced; ``...`` removes it."""
    values = copy.deepcopy(VALUES)
    *parents, last = path.split(".")
    section = values
    for key in parents:
        section = section[key]
    if value is ...:
        del section[last]
    else:
        section[last] = value
    return values


def error_of(path, value):
    with pytest.raises(ParamsError) as caught:
        parse_params(changed(path, value), origin="params.yaml")
    return str(caught.value)


def test_what_does_not_fit_the_space_is_said_to_the_end():
    values = changed("phases.elastic.space", "coupled")
    values["space"]["expand_ratios"] = values["phases"]["elastic"]["expand_ratios"] = [2, 4]
    with pytest.raises(ParamsError, match=r"leave the space uncoupled\. Change the phase or"):
        parse_params(values, origin="params.yaml")


def test_a_space_that_is_too_small_for_any_count_is_refused_with_what_it_needs():
    values = copy.deepcopy(VALUES)
    one = {"depths": [2], "kernel_sizes": [3], "expand_ratios": [3]}
    values["space"] |= {**one, "resolutions_px": [28]}
    for phase in values["phases"].values():
        phase.update(one)
    for num_subnets in (10, 100):  # lowering the counts would not help
        values["accuracy"]["num_subnets"] = num_subnets
        with pytest.raises(ParamsError, match=r"space must have at least 15 .* got 1\. Give it"):
            parse_params(values, origin="params.yaml")


def test_shipped_file_is_valid():
    params = load_params(SHIPPED)
    assert params.dataset.source == "fashion_mnist_sample"
    assert params.final_phase == list(params.phases)[-1]


def test_what_int8_may_lose_is_part_of_no_digest_until_it_is_given():
    name = "max_quantization_loss"
    params = load_params(SHIPPED)
    assert params.specialize.max_quantization_loss == 2.0
    assert name not in params.sections(("specialize",))["specialize"]
    given = parse_params(changed(f"specialize.{name}", 0.5), origin="a test")
    assert given.sections(("specialize",))["specialize"][name] == 0.5
    assert name in error_of(f"specialize.{name}", 101.0)


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("dataset.sed", 1, "unknown name dataset.sed. Did you mean 'seed'"),
        ("datset", {}, "unknown name datset. Did you mean 'dataset'"),
        ("phases.elastic.epoch", 1, "unknown name phases.elastic.epoch. Did you mean 'epochs'"),
        ("devices.cpu-pytorch.card.thread", 1, "Did you mean 'threads'"),
        ("dataset.seed", ..., "dataset.seed is missing"),
        ("dataset", ..., "dataset is missing"),
        ("dataset.seed", "0", "dataset.seed: Input should be a valid integer, got '0'"),
        ("dataset.seed", -1, "dataset.seed"),
        ("dataset.seed", True, "dataset.seed"),
        ("dataset.test_fraction", 0.0, "dataset.test_fraction"),
        ("dataset.max_bad_fraction", 1.0, "dataset.max_bad_fraction"),
        ("dataset.image_size_px", 4, "dataset.image_size_px"),
        ("dataset.test_fraction", 0.8, "must leave at least 0.1 to train on, got 1.02"),
        ("dataset.image_column", "img", "image_column are of Parquet files and have no effect"),
        ("dataset.label_column", "", "dataset.label_column"),
        ("dataset.value_range", [4095, 0], "dataset.value_range: must be [LOW, HIGH]"),
        ("dataset.value_range", [0, float("inf")], "dataset.value_range"),
        ("dataset.value_range", [4095], "dataset.value_range"),
        ("dataset.source", "cifar10", "unknown source 'cifar10'"),
        ("dataset.source", "~/photos", "A folder of images: image_folder:~/photos"),
        ("dataset.source", "image_foldr:x", "Did you mean 'image_folder'"),
        ("dataset.source", "image_folder:", "must be fashion_mnist_sample, image_folder:PATH"),
        ("dataset.source", "fashion_mnist_sample:x", "must be fashion_mnist_sample"),
        ("space.family", "mobilenet", "unknown family 'mobilenet'"),
        ("space.stem_stride", 3, "space.stem_stride"),
        ("space.depths", ..., "needs depths"),
        ("space.group_strides", [1, 2], "as many entries as each other, got 3 and 2"),
        ("space.kernel_sizes", [3, 4], "odd"),
        ("space.kernel_sizes", [[3], [5]], "one list of choices or one for each of the 3 block"),
        ("space.kernel_sizes", [[3, 5, 7], [], [3]], "space.kernel_sizes"),
        ("space.coupled", "yes", "space.coupled"),
        (
            "space",
            {**VALUES["space"], "coupled": True, "depths": [1, 3]},
            "mobilenet_v3_small_images has depths 1, 3 and expand ratios 2, 3, 4",
        ),
        ("phases.elastic.loss", "alfa", "must be one of alpha, ce_kd, kd, got 'alfa'"),
        ("phases.largest.loss", "kd", "loss: kd needs a teacher, and there is no phase before"),
        ("phases.elastic.teacher", "self", "must be one of in_place, none, previous, got 'self'"),
        (
            "phases.elastic",
            {**VALUES["phases"]["elastic"], "teacher": "none", "loss": "alpha"},
            "loss: alpha has no effect with teacher: none",
        ),
        (
            "phases.elastic",
            {
                **VALUES["phases"]["elastic"],
                "teacher": "previous",
                "loss": "kd",
                "largest_only": {"label_smoothing": 0.1},
            },
            "largest_only.label_smoothing has no effect with loss: kd",
        ),
        ("phases.elastic.largest_only", {}, "must name dropout, drop_connect or label_smoothing"),
        ("phases.elastic.largest_only", {"drop_conect": 0.1}, "Did you mean 'drop_connect'"),
        ("phases.elastic.largest_only", {"dropout": 1.0}, "phases.elastic.largest_only.dropout"),
        ("phases.elastic.largest_only", {"drop_connect": 0}, "should be greater than 0"),
        (
            "phases.elastic",
            {
                **VALUES["phases"]["elastic"],
                "largest_share": None,
                "sampling": "uniform",
                "teacher": "previous",
                "largest_only": {"dropout": 0.1},
            },
            "largest_only needs the largest subnet in every step",
        ),
        ("phases.elastic.resolution", "image", "should be 'step', 'subnet' or 'drawn'"),
        ("phases.largest.resolution", "step", "resolution has no effect with sampling: largest"),
        ("phases.largest.resolution", "drawn", "resolution has no effect with sampling: largest"),
        (
            "phases.elastic",
            {
                **VALUES["phases"]["elastic"],
                "largest_share": None,
                "sampling": "uniform",
                "teacher": "previous",
                "resolution": "drawn",
            },
            "resolution: drawn is of a sandwich, but sampling is uniform: write subnet, or set",
        ),
        ("phases.elastic.clip_value", 0.0, "phases.elastic.clip_value"),
        ("phases.elastic.zero_gamma", True, "but the phase starts from supernet/largest"),
        ("phases.largest.ramp_epochs", 1, "ramp_epochs has no effect with sampling: largest"),
        ("phases.elastic.ramp_epochs", 12, "must be at most the epochs of the phase, 11 with its"),
        ("phases.elastic.space", "compound", "phases.elastic.space"),
        ("phases.elastic.space", "coupled", "Write coupled: true in the section space, or leave"),
        ("phases.elastic.kernel_sizes", [9], "phases.elastic must stay within the space"),
        (
            "phases.elastic.kernel_sizes",
            3,
            "phases.elastic.kernel_sizes: Input should be a list, such as [1, 2], got 3",
        ),
        (
            "phases.elastic.depths",
            3,
            "params.yaml: phases.elastic.depths: Input should be a list, such as [1, 2], got 3",
        ),
        (
            "phases.elastic.depths",
            ["a"],
            "depths.0: Input should be a valid integer, got 'a' (or be a list, such as [1, 2])",
        ),
        ("phases.elastic.depths", [], "elastic.depths: must have at least one entry, got []"),
        ("phases.elastic.width_multipliers", [], "phases.elastic.width_multipliers"),
        (
            "phases.elastic.width_multipliers",
            [1.0],
            "width_multipliers of mobilenet_v3_small_images must be left out",
        ),
        ("phases.elastic.zero_gamma", "yes", "zero_gamma: Input should be true or false"),
        ("phases.elastic.subnets_per_step", 10**9, "less than or equal to 1024"),
        ("phases.elastic.start_from", "supernet/elastic", "params.yaml: phases.elastic.start_from"),
        (
            "phases.largest.start_from",
            "supernet/elastic",
            "must be 'dataset', because it is the first of phases, got 'supernet/elastic'",
        ),
        ("phases.elastic", None, "phases.elastic: Input should be a mapping of names to values"),
        ("space.group_channels", [], "space.group_channels"),
        ("specialize.learning_rate", 0, "learning_rate: Input should be greater than 0, got 0 (or"),
        ("specialize.epochs", None, "specialize.epochs: Input should be a valid integer, got null"),
        ("final_phase", "largest", "final_phase must be the last of phases, got 'largest'"),
        ("phases", {}, "final_phase must be the last of phases"),
        ("phases.Big", VALUES["phases"]["elastic"], "phases"),
        ("devices", {}, "devices must name at least one device"),
        ("devices.cpu-pytorch.card.runtime", "tflite", "devices.cpu-pytorch.card.runtime"),
        ("devices.cpu-pytorch.budget_fractions", ..., "give budgets_ms or budget_fractions"),
        ("devices.cpu-pytorch.budget_fractions", [], "give budgets_ms or budget_fractions"),
        ("devices.cpu-pytorch.budgets_ms", [1.0], "give budgets_ms or budget_fractions"),
        ("devices.cpu-pytorch.budget_fractions", [0.5, 0.1], "budgets must be ascending"),
        ("devices.cpu-pytorch.budget_fractions", [1.5], "devices.cpu-pytorch.budget_fractions"),
        ("training.augmentation", "mixup", "training.augmentation"),
        (
            "training.batch_norm_images",
            63,
            "must be a multiple of batch_norm_images, got 64 and 63",
        ),
        ("training.batch_norm_images", 1, "training.batch_norm_images"),
        ("phases.elastic.sampling", "sandwhich", "should be 'uniform', 'sandwich' or 'largest'"),
        ("phases.elastic.subnets_per_step", 2, "must be at least 3 for sampling: sandwich"),
        ("phases.largest.subnets_per_step", 2, "must be 1 for sampling: largest"),
        ("phases.elastic.largest_share", 1.0, "phases.elastic.largest_share"),
        ("phases.largest.largest_share", 0.5, "no effect with sampling: largest"),
        ("phases.elastic.sampling", "uniform", "largest_share has no effect"),
        (
            "phases.elastic",
            {**VALUES["phases"]["elastic"], "largest_share": None, "sampling": "uniform"},
            "teacher: in_place needs sampling: sandwich",
        ),
        ("phases.elastic.cosine", [1, 0.5], "from a smaller number to a larger one"),
        ("phases.elastic.cosine", [0.5, 0.5], "from a smaller number to a larger one"),
        ("phases.elastic.cosine", [0.5, 1.5], "phases.elastic.cosine"),
        ("phases.elastic.warmup_epochs", 1, "must be 0 where the cosine starts at 0.3"),
        ("phases.elastic.learning_rate", 0.0, "phases.elastic.learning_rate"),
        ("phases.elastic.min_steps", -1, "phases.elastic.min_steps"),
        (
            "phases.elastic.depths",
            [1, 2],
            "must keep what phases.largest made elastic, it lacks depth",
        ),
        (
            "phases.elastic.kernel_sizes",
            [3, 7],
            "make the whole space elastic, it lacks kernel_sizes 5",
        ),
        ("specialize.epochs", "half", "specialize.epochs"),
        ("search.latency_margin", 0.5, "search.latency_margin"),
        ("search.latency_margin", "wide", "search.latency_margin"),
        ("predictor.kind", "ridg", "must be one of auto, gaussian_process, "),
        ("predictor.tune", "yes", "predictor.tune"),
        ("search.sampler", "nsga3", "ours, random, tpe, got 'nsga3'. Did you mean 'nsga2'?"),
        ("training.weight_decay", float("inf"), "training.weight_decay: Input should be a finite"),
        ("training.weight_decay", float("nan"), "training.weight_decay: Input should be a finite"),
        ("specialize.learning_rate", float("inf"), "should be a finite number, got inf"),
        ("phases.elastic.learning_rate", float("nan"), "should be a finite number"),
        ("training.distillation_weight", float("inf"), "should be a finite number"),
        ("training.checkpoint_minutes", float("inf"), "should be a finite number"),
        ("dataset.seed", 10**400, "dataset.seed"),
        ("dataset.shard_rows", 10**10, "dataset.shard_rows"),
        ("training.weight_decay", 10**400, "training.weight_decay"),
        ("space.expand_ratios", [1e300], "space.expand_ratios.0"),
        ("space.group_channels", [10**9, 24, 40], "space.group_channels.0"),
        ("devices", {"d" * 260: VALUES["devices"]["cpu-pytorch"]}, "at most 64 characters"),
        ("registry.model_prefix", "p" * 65, "at most 64 characters"),
        ("registry.experiment", "   ", "must not be blank"),
        ("registry.experiment", "x" * 501, "at most 200 characters"),
        ("report.title", "a\nb", "one line of printable text"),
        ("report.title", "\ud800", "report.title"),
        ("report.title", 2026, "got 2026 (in quotes it is a text)"),
        ("dataset.source", "image_folder:/a\0b", "one line of printable text"),
        ("schedule.timezone", "PST", "schedule.timezone: must be a name of the IANA"),
        ("schedule.cron", "0 25 * * *", "schedule.cron: hour must be 0 to 23, got 25"),
        ("predictor.cross_validation_folds", 101, "at most accuracy.num_subnets, 100, got 101"),
    ],
)
def test_wrong_value_is_named_with_what_must_hold(path, value, message):
    assert message in error_of(path, value)


def test_a_coupled_space_is_coupled_in_every_phase():
    params = parse_params(changed("space.coupled", True), origin="a test")
    space = params.space.build()
    assert space.num_archs == 4 * (3 + 3**2 + 3**3) ** 3
    for phase in params.phases.values():
        assert phase.part_of(space).is_coupled


def test_phases_of_a_coupled_space_keep_whole_pairs():
    values = changed("space.coupled", True)
    values["phases"]["largest"]["expand_ratios"] = [2, 3, 4]
    with pytest.raises(ParamsError, match="depths 3 must come with the expand ratios 4 in"):
        parse_params(values, origin="a test")


def test_a_coupled_phase_may_come_first_and_not_after_what_it_would_spoil():
    values = copy.deepcopy(VALUES)
    elastic = values["phases"]["elastic"]
    more = {**elastic, "start_from": "supernet/elastic", "cosine": [0.5, 1]}
    values["phases"] |= {"elastic": {**elastic, "space": "coupled"}, "more": more}
    values["final_phase"] = "more"
    assert parse_params(values, origin="a test").phases["elastic"].space == "coupled"
    values["phases"] |= {
        "elastic": elastic,
        "more": {**more, "space": "coupled"},
        "most": {**more, "start_from": "supernet/more"},
    }
    values["final_phase"] = "most"
    with pytest.raises(ParamsError, match=r"phases\.more is coupled and phases\.elastic is not"):
        parse_params(values, origin="a test")


def test_what_is_absent_is_in_no_manifest():
    sections = parse_params(VALUES, origin="a test").sections(("space", "phases.elastic"))
    assert "coupled" not in sections["space"]
    assert set(sections["phases.elastic"]) == {
        "start_from",
        "depths",
        "kernel_sizes",
        "expand_ratios",
        "width_multipliers",
        "epochs",
        "min_steps",
        "warmup_epochs",
        "learning_rate",
        "cosine",
        "subnets_per_step",
        "sampling",
        "largest_share",
        "teacher",
    }


def test_what_is_given_is_in_the_manifest_and_in_the_phase():
    values = copy.deepcopy(VALUES)
    values["phases"]["largest"]["zero_gamma"] = True
    values["phases"]["elastic"] |= {
        "loss": "alpha",
        "largest_only": {"dropout": 0.2, "drop_connect": 0.2, "label_smoothing": 0.1},
        "clip_value": 0.25,
        "resolution": "subnet",
        "ramp_epochs": 2,
    }
    params = parse_params(values, origin="a test")
    sections = params.sections(("phases.elastic", "phases.largest"))
    for name, value in values["phases"]["elastic"].items():
        found = sections["phases.elastic"][name]
        assert found == value or list(found) == value, name
    assert sections["phases.largest"]["zero_gamma"] is True


def test_a_loss_from_the_teacher_alone_needs_a_weight():
    values = changed("training.distillation_weight", 0.0)
    assert parse_params(values, origin="a test")
    values["phases"]["elastic"]["loss"] = "alpha"
    with pytest.raises(ParamsError, match="distillation_weight must be above 0 for loss: alpha of"):
        parse_params(values, origin="a test")


@pytest.mark.parametrize("budget", [0.0, float("inf"), float("nan"), 10**400])
def test_budget_is_a_finite_time(budget):
    device = {"card": VALUES["devices"]["cpu-pytorch"]["card"], "budgets_ms": [budget]}
    assert "devices.cpu-pytorch.budgets_ms.0" in error_of("devices.cpu-pytorch", device)


@pytest.mark.parametrize("value", [[0, 4095], [-0.5, 1.5], None])
def test_value_range_takes_whole_and_other_numbers(value):
    params = parse_params(changed("dataset.value_range", value), origin="a test")
    assert params.dataset.value_range == (None if value is None else tuple(value))


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("devices.cpu-pytorch.budgets_ms", [0.0] * 200_000),
        ("dataset.seed", list(range(200_000))),
        ("space.depths", [0] * 200_000),
        ("report.title", "x" * 10**6),
        ("dataset.source", "x" * 10**6),
        ("space.family", "x" * 10**6),
        ("predictor.kind", ["x" * 10**6] * 100),
        ("dataset", {f"name{n}": n for n in range(20_000)}),
        ("dataset", {"x" * 10**6: 1}),
        ("phases", {"x" * 10**6: {}}),
        ("schedule.cron", "x" * 10**6),
        ("schedule.timezone", "x" * 10**6),
    ],
)
def test_message_fits_a_screen_whatever_the_value(path, value):
    assert len(error_of(path, value).encode()) < 4096


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("accuracy.num_subnets", 31, "accuracy.num_subnets must be at most 30, the different"),
        (
            "latency.num_subnets",
            26,
            r"latency.num_subnets \+ latency.num_holdout must be at most 30",
        ),
        ("search.verify_top_k", 31, "search.verify_top_k must be at most 30"),
    ],
)
def test_counts_are_at_most_the_subnets_of_the_space(path, value, message):
    values = changed("final_phase", "largest")
    choices = {"depths": [1, 2], "kernel_sizes": [3, 5], "expand_ratios": [2]}
    values["space"] |= choices | {"group_channels": [8], "group_strides": [1]}
    values["space"]["resolutions_px"] = [16, 20, 24, 28, 32]  # times 2 + 2 ** 2
    values["phases"] = {"largest": values["phases"]["largest"] | choices}
    values["accuracy"]["num_subnets"] = 10
    values["latency"] |= {"num_subnets": 10, "num_holdout": 5}
    section, key = path.split(".")
    values[section][key] = value
    with pytest.raises(ParamsError, match=message):
        parse_params(values, origin="x")


def test_ten_faults_are_listed_and_the_rest_counted():
    text = error_of("dataset", VALUES["dataset"] | {f"extra{n}": n for n in range(50)})
    assert text.count("unknown name") == 10
    assert text.endswith("and 40 more")


def test_number_as_dvc_writes_it_is_a_number(tmp_path):
    text = SHIPPED.read_text().replace("weight_decay: 1.0e-4", "weight_decay: 1e-05")
    (tmp_path / "params.yaml").write_text(text)
    assert load_params(tmp_path / "params.yaml").training.weight_decay == 1e-5


def test_name_that_is_given_twice_is_refused_with_its_line(tmp_path):
    (tmp_path / "params.yaml").write_text(SHIPPED.read_text() + "report:\n  title: again\n")
    with pytest.raises(ParamsError, match=r"params\.yaml, line \d+.*duplicate key \"report\""):
        load_params(tmp_path / "params.yaml")


def test_params_of_before_samplers_and_tuning_mean_what_they_meant():
    values = copy.deepcopy(VALUES)
    del values["search"]["sampler"], values["predictor"]["tune"]
    params = parse_params(values, origin="test")
    assert (params.search.sampler, params.predictor.tune) == ("ours", False)


def test_every_wrong_value_is_reported_at_once():
    values = changed("dataset.seed", "x")
    values["training"]["batch_size"] = 0
    with pytest.raises(ParamsError) as caught:
        parse_params(values, origin="here.yaml")
    assert str(caught.value).startswith("here.yaml: ")
    assert "dataset.seed" in str(caught.value)
    assert "training.batch_size" in str(caught.value)


def test_reference_space_fixes_its_shape():
    space = {"family": "ofa_mbv3_d234_e346_k357_w1.0", "depths": [2, 3, 4]}
    assert "fixes depths: leave them out" in error_of("space", space)


def test_reference_space_is_built_by_its_id():
    values = changed("space", {"family": "ofa_mbv3_d234_e346_k357_w1.0"})
    for phase in values["phases"].values():
        phase.update(depths=[2, 3, 4], kernel_sizes=[3, 5, 7], expand_ratios=[3, 4, 6])
    space = parse_params(values, origin="x").space.build()
    assert space.space_id == "ofa_mbv3_d234_e346_k357_w1.0"


@pytest.mark.parametrize(
    "content", ["dataset: [", "\xff\xfe", "- a\n- b\n", "", "# nothing\n", "a", "[" * 3000]
)
def test_what_is_no_params_file_is_refused(tmp_path, content):
    (tmp_path / "params.yaml").write_bytes(content.encode("latin-1"))
    with pytest.raises(ParamsError, match=r"params\.yaml"):
        load_params(tmp_path / "params.yaml")


def test_missing_file_says_where_to_look(tmp_path):
    with pytest.raises(ParamsError, match=r"params\.yaml is missing.*--workspace"):
        load_params(tmp_path / "params.yaml")


def test_unknown_device_suggests_the_nearest():
    params = load_params(SHIPPED)
    with pytest.raises(ParamsError, match=r"Did you mean .*'cpu-pytorch'"):
        params.device("cpu-pytorc")


def test_device_is_found_by_name():
    assert load_params(SHIPPED).device("cpu-pytorch").card.runtime == "pytorch"


def test_sections_are_plain_values_by_dotted_names():
    sections = load_params(SHIPPED).sections(("dataset", "phases.elastic", "final_phase"))
    named = {key: value for key, value in VALUES["dataset"].items() if key != "name"}
    assert named.items() <= sections["dataset"].items()
    assert "name" not in sections["dataset"]  # only a label: no artifact depends on it
    assert sections["phases.elastic"]["kernel_sizes"] == [3, 5, 7]
    assert sections["final_phase"] == VALUES["final_phase"]


def test_params_can_not_be_changed():
    params = load_params(SHIPPED)
    with pytest.raises(ValueError, match="frozen"):
        params.dataset.seed = 3


@pytest.mark.parametrize(
    ("source", "label"),
    [
        ("fashion_mnist_sample", "fashion-mnist-sample"),
        ("image_folder:pets", "pets"),
        ("image_folder:/data/Oxford Pets/", "oxford-pets"),
        ("image_folder:/data/pets/train", "pets"),
        ("image_folder:~/pets/images/training_set", "pets"),
        ("image_folder:../Flowers_102/jpg", "flowers-102"),
        ("image_folder:/srv/caf\u00e9", "cafe"),
        ("image_folder:/srv/any", "srv"),
        ("image_folder:data/train", "train"),
        ("image_folder:\u56fe\u7247", "image-folder"),
        ("image_folder:.", "image-folder"),
        (f"image_folder:{'x' * 300}", "x" * 60),
        ("parquet:/hub/beans/data", "beans"),
        ("parquet:beans.parquet", "beans"),
        ("parquet:/hub/beans/data/train-00000-of-00002-abc.parquet", "beans"),
        ("torchvision:CIFAR10", "cifar10"),
    ],
)
def test_dataset_is_called_after_its_source(source, label):
    values = changed("dataset.source", source)
    params = parse_params(values, origin="a test")
    assert params.dataset.label == label
    values["dataset"]["name"] = label
    assert parse_params(values, origin="a test").dataset.label == label


@pytest.mark.parametrize("name", ["Pets", "any", "a/b", "", "-a", "x" * 61, 2024])
def test_name_that_no_registered_model_can_bear_is_refused(name):
    assert "dataset.name" in error_of("dataset.name", name)


def test_name_of_a_dataset_is_in_no_manifest():
    sections = ("dataset", "registry")
    before = parse_params(VALUES, origin="a test").sections(sections)
    values = changed("dataset.name", "clothes")
    after = parse_params(values, origin="a test").sections(sections)
    assert after == before
    assert "name" not in after["dataset"]


def with_weights(weights, *, start="initial", **space):
    values = changed("training.initial_weights", weights)
    values["phases"]["largest"]["start_from"] = start
    values["space"] = space or values["space"]
    return values


def error_of_weights(weights, **changes):
    with pytest.raises(ParamsError) as caught:
        parse_params(with_weights(weights, **changes), origin="params.yaml")
    return str(caught.value)


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        (None, "must be a kind of weights (published, checkpoint, supernet, bundle, registry)"),
        ("ofa_resnet50", "got 'ofa_resnet50'"),
        ({"publishd": "ofa_resnet50"}, "training.initial_weights.publishd"),
        ({"supernet": "a", "bundle": "b"}, "training.initial_weights: Dictionary should have"),
        ({"published": "ofa_resnet5"}, "unknown published supernet 'ofa_resnet5'. Did you mean"),
        ({"published": "ofa_resnet50"}, "space.family must be 'ofa_resnet50'"),
        ({"registry": "phone"}, "must be NAME/VERSION"),
        ({"registry": "phone/newest"}, "must be NAME/VERSION"),
        ({"supernet": ""}, "must not be blank"),
        ({"supernet": "@sha256:" + "a" * 64}, "must name a supernet"),
        ({"supernet": "a@sha256:abc"}, "must be followed by 64 hexadecimal digits"),
        ({"supernet": 3}, "Input should be a valid string"),
    ],
)
def test_initial_weights_are_checked(weights, message):
    assert message in error_of_weights(weights)


def test_initial_weights_are_named_and_used_or_neither():
    found = error_of_weights({"supernet": "a"}, start="dataset")
    assert "phases.largest.start_from must be 'initial'" in found
    found = error_of_weights({}, start="initial")
    assert "training.initial_weights must name weights, got none" in found


def test_initial_weights_are_a_source_with_or_without_a_digest():
    params = parse_params(with_weights({"registry": "models:/phone/3"}), origin="test")
    assert str(params.training.weights_source) == "registry phone/3"
    digest = "0123456789abcdef" * 4
    params = parse_params(with_weights({"bundle": f"b@sha256:{digest}"}), origin="test")
    assert params.training.weights_source.name == "b"
    assert params.training.weights_source.sha256 == digest
    assert load_params(SHIPPED).training.weights_source is None


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("torchrun --rdzv-conf 'a=1", "must be a command as a shell reads it.*Close every quote"),
        ("", "compute.training.launch"),
        ("  ", "must not be blank"),
        ("''", "must name a program"),
        ("torchrun\n--standalone", "must be one line"),
        (["torchrun"], "compute.training.launch"),
    ],
)
def test_launch_line_is_one_command(line, message):
    values = VALUES | {"compute": {"training": {"launch": line}}}
    with pytest.raises(ParamsError, match=message):
        parse_params(values, origin="params.yaml")


@pytest.mark.parametrize(
    "address", ["auto", "local", "10.0.0.1:6379", "head-1.lab:6379", "[::1]:1"]
)
def test_addresses_of_clusters(address):
    fan_out = {"executor": "ray", "address": address, "gpus_per_worker": 0.5}
    params = parse_params(VALUES | {"compute": {"fan_out": fan_out}}, origin="test")
    assert params.compute.fan_out.address == address


@pytest.mark.parametrize(
    ("fan_out", "message"),
    [
        ({"executor": "dask"}, "compute.fan_out.executor"),
        ({"address": "ray://head:10001"}, "must be auto .*HOST:PORT.*got 'ray://head:10001'"),
        ({"address": "head"}, "must be auto"),
        ({"address": "head:0"}, "must be auto"),
        ({"address": "head:65536"}, "must be auto"),
        ({"gpus_per_worker": 2}, "compute.fan_out.gpus_per_worker"),
        ({"gpus_per_worker": -1}, "compute.fan_out.gpus_per_worker"),
        ({"workers": 4}, "workers"),
    ],
)
def test_fan_out_is_checked(fan_out, message):
    with pytest.raises(ParamsError, match=message):
        parse_params(VALUES | {"compute": {"fan_out": fan_out}}, origin="params.yaml")


def test_where_work_runs_is_in_no_manifest():
    compute = {"training": {"launch": "torchrun --standalone"}, "fan_out": {"executor": "ray"}}
    launched = VALUES | {"compute": compute}
    sections = [
        parse_params(values, origin="params.yaml").sections(("training", "phases", "space"))
        for values in (VALUES, launched)
    ]
    assert sections[0] == sections[1]


@pytest.mark.parametrize("name", [path.stem for path in SHIPPED.parent.glob("presets/*.yaml")])
def test_params_can_be_carried_to_another_process_as_json(name):
    preset = yaml.safe_load((SHIPPED.parent / "presets" / f"{name}.yaml").read_text())
    params = parse_params({**VALUES, **preset}, origin="test")
    carried = json.loads(json.dumps(params.model_dump(mode="json", exclude_unset=True)))
    assert parse_params(carried, origin="test") == params


def test_only_training_that_is_not_deterministic_says_so():
    values = copy.deepcopy(VALUES)
    assert "deterministic" not in parse_params(values, origin="test").training.model_dump()
    values["training"]["deterministic"] = True
    assert "deterministic" not in parse_params(values, origin="test").training.model_dump()
    values["training"]["deterministic"] = False
    assert parse_params(values, origin="test").training.model_dump()["deterministic"] is False


@pytest.mark.parametrize(
    ("training", "compute", "minutes"),
    [({}, {}, 5), ({}, {"checkpoint_minutes": 2}, 2), ({"checkpoint_minutes": 7}, {}, 7),
     ({"checkpoint_minutes": 7}, {"checkpoint_minutes": 2}, 2)],
)  # fmt: skip
def test_checkpoints_are_as_often_as_compute_says(training, compute, minutes):
    values = VALUES | {
        "training": VALUES["training"] | training,
        "compute": {"training": compute},
    }
    params = parse_params(values, origin="test")
    assert params.checkpoint_minutes == minutes
    assert ("checkpoint_minutes" in params.sections(["training"])["training"]) == bool(training)


@pytest.mark.parametrize("minutes", [0, -1, "often", float("nan")])
def test_minutes_between_checkpoints_are_above_zero(minutes):
    values = VALUES | {"compute": {"training": {"checkpoint_minutes": minutes}}}
    with pytest.raises(ParamsError, match=r"compute\.training\.checkpoint_minutes"):
        parse_params(values, origin="test")
