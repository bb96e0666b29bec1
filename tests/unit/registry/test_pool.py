"""Records that are read share what is equal, and stay equal to what was read."""

import json

from ofa_pipeline.registry.fields import read_record
from ofa_pipeline.registry.pool import Pool
from tests.support.registry import subnet_record


def read(**changes):
    record = subnet_record(**changes)
    return read_record(json.dumps(record.to_dict()), record.model_name, 1)


def test_equal_values_are_one_object():
    pool = Pool()
    first, second = read(accuracy=0.8), read(accuracy=0.9)
    assert first.record.lineage is not second.record.lineage
    shared = [pool.share(item) for item in (first, second)]
    assert shared == [first, second]
    for name in ("lineage", "arch", "model_name", "device"):
        assert getattr(shared[0].record, name) is getattr(shared[1].record, name)


def test_other_values_stay_apart():
    pool = Pool()
    one, other = pool.share(read()), pool.share(read(lineage={"artifacts/dataset": "aa" * 32}))
    assert one.record.lineage != other.record.lineage
    assert one.record.arch is other.record.arch


def test_what_is_gone_is_forgotten():
    pool = Pool()
    other = {"artifacts/dataset": "aa" * 32}
    gone, kept = pool.share(read(lineage=other)), pool.share(read())
    assert pool.share(read(lineage=other)).record.lineage is gone.record.lineage
    pool.keep([kept])
    assert pool.share(read(lineage=other)).record.lineage is not gone.record.lineage
    assert pool.share(read()).record.lineage is kept.record.lineage
