"""What is asked of the tables of a database that MLflow keeps."""

from ofa_pipeline.registry.fields import (
    DIGEST_TAG,
    MODEL_TAG,
    OWNER,
    OWNER_TAG,
    RECORD_TAG,
    VERSION_TAG,
)

DELETED = "Deleted_Internal"
"""Stage that MLflow gives a deleted version."""
WORKSPACE = "default"
"""Of MLflow, where a client without workspaces writes; MLflow's keys begin with it."""

# Constants of this package, and in one place a number.
# ruff: noqa: S608
OF_OURS = f"""
FROM logged_models m
JOIN experiments e ON e.experiment_id = m.experiment_id AND e.lifecycle_stage = 'active'
JOIN experiment_tags t ON t.experiment_id = m.experiment_id
    AND t.key = '{OWNER_TAG}' AND t.value = '{OWNER}'
"""
MARKED = f"""
SELECT m.model_id, version.tag_value, name.tag_value
{OF_OURS}
JOIN logged_model_tags version ON version.model_id = m.model_id
    AND version.tag_key = '{VERSION_TAG}'
JOIN logged_model_tags name ON name.model_id = m.model_id AND name.tag_key = '{MODEL_TAG}'
WHERE m.lifecycle_stage = 'active'
"""
ORDER = "ORDER BY m.creation_timestamp_ms DESC, m.model_id"
OWNED = f"""
SELECT m.model_id
{OF_OURS}
JOIN logged_model_tags owner ON owner.model_id = m.model_id
    AND owner.tag_key = '{OWNER_TAG}' AND owner.tag_value = '{OWNER}'
WHERE m.lifecycle_stage = 'active'
"""
AMONG = "AND m.model_id IN :ids"
RECORDS = f"""
SELECT m.model_id, m.tag_value FROM logged_model_tags m WHERE m.tag_key = '{RECORD_TAG}'
"""
VERSIONS = "SELECT name, version, source, current_stage FROM model_versions"
FROM_NUMBER = f"""
{VERSIONS} WHERE workspace = '{WORKSPACE}' AND name = :name AND version >= :version
ORDER BY version
"""
OF_CONTENT = f"""
SELECT v.version, v.source FROM model_versions v
JOIN model_version_tags t ON t.workspace = v.workspace AND t.name = v.name
    AND t.version = v.version AND t.key = '{DIGEST_TAG}' AND t.value = :digest
WHERE v.workspace = '{WORKSPACE}' AND v.name = :name AND v.version > :settled
    AND v.current_stage != '{DELETED}'
ORDER BY v.version
"""
NAMING = f"""
{MARKED} AND m.model_id IN (
    SELECT model_id FROM logged_model_tags
    WHERE tag_key = '{RECORD_TAG}' AND tag_value LIKE :pattern
)
{ORDER}
"""
NAMED = "SELECT 1 FROM logged_models WHERE name = :name LIMIT 1"
CAME = f"""
SELECT name, version, source, current_stage, last_updated_time FROM model_versions
WHERE current_stage = '{DELETED}' OR last_updated_time >=
"""
COUNT = "SELECT count(*) FROM model_versions"
TALLY = f"""
SELECT count(*), coalesce(sum(CASE WHEN current_stage = '{DELETED}' THEN 1 ELSE 0 END), 0),
    coalesce(max(last_updated_time), 0)
FROM model_versions
"""
BESIDE = f"""
SELECT e.experiment_id,
    (SELECT count(*) FROM logged_models WHERE lifecycle_stage != 'active')
FROM experiments e
JOIN experiment_tags t ON t.experiment_id = e.experiment_id
    AND t.key = '{OWNER_TAG}' AND t.value = '{OWNER}'
WHERE e.lifecycle_stage = 'active'
ORDER BY e.experiment_id
"""
MARK = "SELECT count(*), sum(last_updated_time) FROM model_versions"
"""Changes with each version, also beside one that is dated ahead of all others."""
