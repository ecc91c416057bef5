"""Fixtures of the workshop's tests."""

import pytest
import torch


@pytest.fixture(autouse=True)
def threads():
    """Runs set the number of threads; other tests get theirs back."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
