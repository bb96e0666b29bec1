"""The table "Adding things" of CONTRIBUTING is true: one file in a copy of the package does it."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]

TOY_SAMPLER = """
from ofa_pipeline.search.sampling import Proposal, Request, Sampler


def build() -> Sampler:
    return LeastLikely()


class LeastLikely:
    def propose(self, request: Request) -> list[Proposal]:
        free = [row for row, taken in enumerate(request.is_taken) if not taken]
        return [request.candidate(row, role="explore") for row in free[-request.count :]]
"""

TOY_PREDICTOR = """
import numpy as np

from ofa_pipeline.predictor import Range

TUNABLE = {"shrinkage": Range(0.0, 1.0)}


def build(space, *, seed, settings):
    return Mean(space, **settings)


class Mean:
    kind = "mean"

    def __init__(self, space, shrinkage=0.5):
        self.space, self.shrinkage = space, shrinkage

    def fit(self, genes, accuracy):
        self.restore({"mean": np.array([(1 - self.shrinkage) * accuracy.mean()])})

    def predict(self, genes):
        return np.full(len(genes), self._state["mean"][0]), np.ones(len(genes))

    def state(self):
        return self._state

    def restore(self, state):
        self._state = state
"""

FIT = """
from pathlib import Path

from ofa_pipeline.params import load_params
from ofa_pipeline.predictor import (
    build_predictor, labeled_subnets, load_predictor, save_predictor, validate_kinds
)
from ofa_pipeline.search.tuning import tune_kinds
from tests.support.synthetic import labeled_sample, small_space, true_latency_ms

space, kind = small_space(), load_params(Path("params.yaml")).predictor.kind
genes, accuracy = labeled_sample(space, 30, seed=0)
subnets = labeled_subnets(space, genes, accuracy, cost=true_latency_ms(space, genes))
[tuned] = tune_kinds(subnets, validate_kinds(subnets, kind, folds=3, seed=0), folds=3, seed=0)
predictor = build_predictor(space, kind, seed=0, settings=tuned.settings)
predictor.fit(genes, accuracy)
save_predictor(predictor, Path(), settings=tuned.settings)
loaded = load_predictor(Path())
assert loaded.predict(genes)[0][0] == predictor.predict(genes)[0][0]
print(type(loaded).__name__, 0 < loaded.shrinkage < 0.4)
"""

SEARCH = """
from pathlib import Path

from ofa_pipeline.params import load_params
from ofa_pipeline.search.samplers import build_sampler
from tests.unit.search.test_verify import World, small_space, verify

sampler = build_sampler(load_params(Path("params.yaml")).search.sampler)
result = verify(World(small_space()), sampler=sampler, max_rounds=1)
assert {subnet.role for subnet in result.verified} == {"explore"}, result.verified
print(type(sampler).__name__, len(result.verified))
"""


@pytest.fixture
def copy(tmp_path):
    """A folder with the package, the tests and params.yaml, where one file is added."""
    ignored = shutil.ignore_patterns("__pycache__", "*.parquet")
    for folder in ("ofa_pipeline", "tests"):
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=ignored)
    shutil.copy(ROOT / "params.yaml", tmp_path)
    return tmp_path


def run(copy: Path, code: str) -> str:
    environment = {**os.environ, "PYTHONPATH": str(copy)}
    finished = subprocess.run(
        [sys.executable, "-c", code],
        cwd=copy,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert finished.returncode == 0, finished.stderr
    return finished.stdout


def set_param(copy: Path, old: str, new: str) -> None:
    text = (copy / "params.yaml").read_text()
    assert old in text
    (copy / "params.yaml").write_text(text.replace(old, new))


def test_a_sampler_is_one_file(copy):
    (copy / "ofa_pipeline/search/samplers/least_likely.py").write_text(TOY_SAMPLER)
    set_param(copy, "sampler: ours ", "sampler: least_likely ")
    assert run(copy, SEARCH).split() == ["LeastLikely", "8"]


def test_a_predictor_is_one_file(copy):
    (copy / "ofa_pipeline/predictor/kinds/mean.py").write_text(TOY_PREDICTOR)
    set_param(copy, "kind: auto ", "kind: mean ")
    assert run(copy, FIT).split() == ["Mean", "True"]


TOY_RECIPE = """
from torch import Tensor

from ofa_pipeline.training.teaching import Teaching


def build() -> Teaching:
    return OnlyTheTeacher()


class OnlyTheTeacher:
    is_in_place = True

    def loss(self, logits, labels, *, teacher_logits, **_) -> Tensor:
        wanted = labels if teacher_logits is None else teacher_logits.argmax(dim=1)
        # In one piece: subnets are taught side by side.
        print("taught " if teacher_logits is not None else "alone ", end="")
        return (logits.gather(1, wanted[:, None]) ** 2).mean()
"""

TRAINING = """
from pathlib import Path

from ofa_pipeline.params import load_params
from ofa_pipeline.supernet import build_supernet
from ofa_pipeline.training import phase_of, train_phase
from tests.support.training import NUM_CLASSES, tiny_recipe, tiny_space, training_images

[name, *_] = [n for n, p in load_params(Path("params.yaml")).phases.items() if p.teacher == "toy"]
everything = load_params(Path("params.yaml"))
params = everything.phases[name].model_copy(update={
    "depths": None, "kernel_sizes": None, "expand_ratios": None, "epochs": 1, "min_steps": 0,
    "warmup_epochs": 0, "sampling": "sandwich", "subnets_per_step": 3, "largest_share": None,
})
space = tiny_space()
train_phase(
    build_supernet(space, num_classes=NUM_CLASSES),
    phase_of(name, params, space, training=everything.training, steps_per_epoch=1),
    images=training_images(8),
    recipe=tiny_recipe(),
)
"""


TOY_LOSS = """
from ofa_pipeline.training.teaching import Distillation


def build() -> Distillation:
    return Squares()


class Squares:
    uses_labels = False

    def __call__(self, logits, teacher_logits):
        print("taught ", end="")
        return ((logits - teacher_logits.detach()) ** 2).mean()
"""


def test_a_loss_is_one_file(copy):
    (copy / "ofa_pipeline/training/distillation/toy.py").write_text(TOY_LOSS)
    path = copy / "params.yaml"
    values = yaml.safe_load(path.read_text())
    [*_, last] = values["phases"].values()
    last |= {"loss": "toy", "sampling": "sandwich", "subnets_per_step": 3}
    path.write_text(yaml.safe_dump(values, sort_keys=False))
    script = TRAINING.replace('p.teacher == "toy"', 'p.loss == "toy"')
    assert run(copy, script).split() == ["taught", "taught"]


def test_a_recipe_is_one_file(copy):
    (copy / "ofa_pipeline/training/recipes/toy.py").write_text(TOY_RECIPE)
    path = copy / "params.yaml"
    values = yaml.safe_load(path.read_text())
    [*_, last] = values["phases"].values()
    last |= {"teacher": "toy", "sampling": "sandwich", "subnets_per_step": 3}
    path.write_text(yaml.safe_dump(values, sort_keys=False))
    assert sorted(run(copy, TRAINING).split()) == ["alone", "taught", "taught"]
