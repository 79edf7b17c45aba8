"""Ground of the tests of preparation: an empty data directory for each."""

import pytest


@pytest.fixture(autouse=True)
def data_dir(settings, tmp_path):
    """Return the data directory that only this test sees."""
    settings.DATA_DIR = tmp_path / "data"
    settings.DATA_DIR.mkdir()
    return settings.DATA_DIR
