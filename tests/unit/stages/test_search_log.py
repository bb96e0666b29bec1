from ofa_pipeline.stages.search import VerificationLog


def test_measurements_survive_the_process_that_made_them(tmp_path):
    path = tmp_path / "scratch" / "verified.jsonl"
    VerificationLog(path).append("accuracy 1a", {"accuracy_top1": 0.5})
    assert VerificationLog(path).rows == {"accuracy 1a": {"accuracy_top1": 0.5}}


def test_a_torn_last_line_is_dropped_and_does_not_swallow_the_next(tmp_path):
    path = tmp_path / "verified.jsonl"
    VerificationLog(path).append("accuracy 1a", {"accuracy_top1": 0.5})
    path.write_text(path.read_text() + '["accuracy 2b", {"accu')
    VerificationLog(path).append("accuracy 3c", {"accuracy_top1": 0.7})
    assert sorted(VerificationLog(path).rows) == ["accuracy 1a", "accuracy 3c"]
