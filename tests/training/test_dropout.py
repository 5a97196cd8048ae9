"""Dropout by a hash: as many zeros as asked for, others each time, the same backwards."""

import pytest
import torch

from training.models.dropout import hashed_dropout, scrambled


def reference(x: int) -> int:
    for factor, shift in ((0x7FEB352D, 16), (0x846CA68B, 15)):
        x = (x ^ (x >> shift)) * factor & 0xFFFFFFFF
    return x ^ (x >> 16)


def test_the_hash_is_that_of_integers_without_a_sign():
    x = torch.tensor([0, 1, 2**31 - 1, -(2**31), -1, 123456789, -77], dtype=torch.int32)
    wanted = [reference(value & 0xFFFFFFFF) for value in x.tolist()]
    assert [value & 0xFFFFFFFF for value in scrambled(x).tolist()] == wanted


@pytest.mark.parametrize("probability", [0.1, 0.5])
def test_elements_are_dropped_independently_of_each_other_and_of_other_calls(probability):
    torch.manual_seed(0)
    masks = torch.stack([hashed_dropout(torch.ones(60, 1000), probability) for _ in range(8)])
    assert masks.unique().tolist() == pytest.approx([0, 1 / (1 - probability)])
    dropped = (masks == 0).double().flatten(1)
    sigma = (probability * (1 - probability) / dropped.shape[1]) ** 0.5
    assert (dropped.mean(1) - probability).abs().max() < 4 * sigma
    # Between calls, and between neighbours in a row and in a column.
    assert torch.corrcoef(dropped).fill_diagonal_(0).abs().max() < 4.5 * 60_000**-0.5
    for shift in (1, 1000):
        pairs = torch.stack((dropped[0, shift:], dropped[0, :-shift]))
        assert torch.corrcoef(pairs)[0, 1].abs() < 4 * 60_000**-0.5


@pytest.mark.parametrize("compiled", [False, True])
def test_the_derivative_is_zero_where_the_value_is(compiled):
    drop = torch.compile(hashed_dropout, dynamic=True) if compiled else hashed_dropout
    x = torch.full((33, 70), 2.0, requires_grad=True)
    out = drop(x, 0.25)
    (gradient,) = torch.autograd.grad(out.sum(), x)
    assert 0.2 < (out == 0).double().mean() < 0.3
    torch.testing.assert_close(out, gradient * 2)
