"""Quality and cost in one number. All of them take values that were measured elsewhere."""

from __future__ import annotations


def intelligence_per_watt(accuracy: float, mean_power_w: float) -> float:
    """Return mean accuracy / mean power, in 1/W.

    Source: Intelligence per Watt (2025), arXiv:2511.07885.

    Raises:
        ValueError: if power is not above 0.
    """
    return accuracy / _positive(mean_power_w, "power")


def intelligence_per_joule(accuracy: float, energy_per_request_j: float) -> float:
    """Return mean accuracy / mean energy of a request, in 1/J.

    Source: Intelligence per Watt (2025), arXiv:2511.07885.

    Raises:
        ValueError: if energy is not above 0.
    """
    return accuracy / _positive(energy_per_request_j, "energy")


def per_correct(amount_per_request: float, accuracy: float) -> float:
    """Return what a right answer takes: amount of a request / share of right answers.

    With a request an attempt, 1 / accuracy attempts are made for a right answer on average. Seconds
    for a right answer, times the price of a second, are the cost of pass.

    Source: Cost-of-Pass: an economic framework for evaluating language models, arXiv:2504.13359.

    Args:
        amount_per_request: seconds of the machine, joules or money of one request; its share where
            the requests of a batch are served together.
        accuracy: share of right answers.

    Raises:
        ValueError: if accuracy is not above 0: no attempt succeeds.
    """
    return amount_per_request / _positive(accuracy, "accuracy")


def compression_rate(size_ratio: float, score_ratio: float) -> float:
    """Return (size_o / size_c) x (score_c / score_o): above 1 if more bytes went than score.

    Args:
        size_ratio: bytes of the weights, candidate / baseline.
        score_ratio: score, candidate / baseline.

    Source: EfficientLLM's model compression rate (MCR), arXiv:2505.13840.

    Raises:
        ValueError: if the size is not above 0.
    """
    return score_ratio / _positive(size_ratio, "size")


def _positive(value: float, name: str) -> float:
    if value <= 0:
        raise ValueError(f"{name} must be above 0, it is {value}")
    return value
