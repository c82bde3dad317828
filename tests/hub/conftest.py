"""A pipeline that the Hub has not seen yet, its folder, and a cache that is empty."""

import pytest
from hub_pipelines import CARD, nudged

from maskhub import FaceMaskPipeline
from maskhub.hub import save_pipeline


@pytest.fixture
def tiny_pipeline(tiny_pipeline):
    """The shared fixture with weights that no other test has sent: the Hub knows files it has by their hash."""
    return nudged(tiny_pipeline)


@pytest.fixture
def folder(tiny_pipeline, tmp_path):
    save_pipeline(tiny_pipeline, tmp_path / "pipeline", card=CARD)
    return tmp_path / "pipeline"


@pytest.fixture
def load(tmp_path):
    """Load a pipeline by id into a cache that is new each time."""

    def fresh(repo_id, cls=FaceMaskPipeline, **options):
        fresh.caches += 1
        return cls.from_pretrained(repo_id, cache_dir=tmp_path / f"cache{fresh.caches}", **options)

    fresh.caches = 0
    return fresh
