"""A home for what people bring and train."""

import pytest

from maskhub.service.home import Home


@pytest.fixture
def home(tmp_path):
    return Home(tmp_path / "home")
