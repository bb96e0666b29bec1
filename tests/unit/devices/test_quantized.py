"""How many images a file in int8 gets right, without all of them in memory."""

from types import SimpleNamespace

import numpy as np
import torch

from ofa_pipeline.devices import QuantizedFiles


def test_one_batch_is_in_memory_at_a_time(tmp_path):
    given = []

    def images(resolution_px):
        for index in range(4):
            given.append(index)
            yield torch.full((2, 3, resolution_px, resolution_px), index), torch.tensor([index, 9])

    def predict(path, batches, *, resolution_px):
        logits = []
        for index, batch in enumerate(batches):
            assert given == list(range(index + 1))
            logits.append(np.eye(10)[batch[:, 0, 0, 0].astype(int)])
        return np.concatenate(logits)

    evaluator = SimpleNamespace(images=images, num_calibration_images=32)
    files = QuantizedFiles(SimpleNamespace(predict=predict), evaluator)
    assert files.accuracy_top1(tmp_path / "model.int8.onnx", resolution_px=8) == 0.5
