"""What the tests of networks share."""

import pytest


@pytest.fixture(scope="module")
def one_thread():
    """Tiny networks gain nothing from a second thread, and a busy machine loses by it."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
