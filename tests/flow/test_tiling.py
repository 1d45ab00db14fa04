"""Numbers written into a frame come back, and errors of their copies are averaged."""

import pytest
import torch

from foreact.flow.tiling import read, write


@pytest.mark.parametrize("count", [1, 2, 5, 11, 12])
def test_reading_inverts_writing(count):
    numbers = torch.randn(3, count, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    frame = write(numbers, 4, 3)
    assert frame.shape == (3, 4, 3)
    assert torch.allclose(read(frame, count), numbers, atol=1e-14)


def test_copies_lie_one_after_another_and_the_last_may_be_cut():
    assert write(torch.tensor([[1.0, 2, 3, 4, 5]]), 4, 3).flatten().tolist() == [1, 2, 3, 4, 5, 1, 2, 3, 4, 5, 1, 2]


def test_the_mean_of_copies_is_as_exact_as_their_number_allows():
    g = torch.Generator().manual_seed(0)
    error = read(write(torch.zeros(2000, 5), 4, 25) + torch.randn(2000, 4, 25, generator=g), 5)
    assert error.std().item() == pytest.approx(20**-0.5, rel=0.05)


def test_a_frame_that_is_too_small_is_refused():
    with pytest.raises(AssertionError, match="13 numbers"):
        write(torch.zeros(1, 13), 4, 3)
