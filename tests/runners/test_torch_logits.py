"""Log-probabilities are probabilities, however large the vocabulary is."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from leanboard.runners.backends.torch_logits import log_softmax_rows

GEMMA = 262_144


@pytest.mark.parametrize("spread", [1.0, 3.0, 5.0, 10.0])
def test_the_probabilities_of_a_large_vocabulary_sum_to_one(spread: float) -> None:
    logits = spread * torch.randn(8, GEMMA, generator=torch.Generator().manual_seed(0))
    nats = log_softmax_rows(logits)
    assert nats.dtype == np.float32
    assert np.exp(nats.astype(np.float64)).sum(axis=1) == pytest.approx(np.ones(8), abs=1e-5)
    expected = logits.double().log_softmax(dim=-1).numpy()
    assert np.abs(nats - expected).max() < 1e-5


def test_what_is_ruled_out_has_no_probability_and_the_logits_stay() -> None:
    logits = torch.tensor([[0.0, -torch.inf, 0.0]])
    nats = log_softmax_rows(logits)
    assert nats[0] == pytest.approx([-np.log(2), -np.inf, -np.log(2)])
    assert logits.tolist() == [[0.0, -torch.inf, 0.0]]
