"""Whether a technique costs some domains more than others.

The words are those of Fragile Mastery (Jha and Paudel, arXiv:2503.22698), whose abstract gives no
formulas; these are leanboard's own. Every domain d has a score of the candidate, c_d, and of its
baseline, b_d; its retention is r_d = c_d / b_d.

- Domain specialisation index: DSI = sqrt(mean((r_d - r)^2)) / r with r the mean retention. 0 where
  every domain keeps the same share. Noise alone makes it positive; how much is given beside it.
- Generalisation gap: GG = r_t - mean over the other domains of r_d, for a target domain t: share
  of its score that the target keeps more than the others. 0 where all keep the same share.
- Cross-domain transfer ratio: CDTR = mean over the other domains of r_d / r_t. 1 where the others
  keep what the target keeps.

A technique that was tuned or calibrated on a domain has that as its target. For the others it is
the domain of which they keep the largest share, so that GG is not negative and CDTR at most 1.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from leanboard.metrics.intervals import mean
from leanboard.metrics.metric import Missing


@dataclass(frozen=True, slots=True)
class Domain:
    """Scores of one domain: a task, or several taken together.

    Args:
        candidate: score of the arm with techniques.
        baseline: score of the arm without.
        ratio_stderr: standard error of candidate / baseline; ``None`` if unknown.
    """

    candidate: float
    baseline: float
    ratio_stderr: float | None = None


@dataclass(frozen=True, slots=True)
class Brittleness:
    """How unevenly domains are hit; the formulas are at the top of the module.

    Args:
        dsi: domain specialisation index.
        dsi_of_noise: what it would be about if all domains kept the same share, from their standard
            errors: sqrt(mean(se(r_d)^2) (k - 1) / k) / r; ``None`` where one is unknown.
        generalization_gap: as a share of the baseline's score.
        transfer_ratio: cross-domain transfer ratio.
        target: name of the target domain.
    """

    dsi: float
    dsi_of_noise: float | None
    generalization_gap: float
    transfer_ratio: float
    target: str


def brittleness(domains: Mapping[str, Domain], target: str | None = None) -> Brittleness | Missing:
    """Return how unevenly a technique treats domains.

    Args:
        domains: by name; two or more.
        target: the domain that the technique was made for; ``None`` takes the one kept best.

    Raises:
        KeyError: if the target is none of the domains.
    """
    if len(domains) < 2:
        return Missing("one domain says nothing about others")
    if any(d.baseline <= 0 or d.candidate < 0 for d in domains.values()):
        return Missing("a share of the baseline's score needs one above 0 in every domain")
    kept = {name: domain.candidate / domain.baseline for name, domain in domains.items()}
    centre = mean(list(kept.values()))
    goal = max(kept, key=kept.__getitem__) if target is None else target
    if kept[goal] == 0:
        return Missing("nothing is left of the score in any domain, or in the target")
    elsewhere = mean([share for name, share in kept.items() if name != goal])
    return Brittleness(
        dsi=_root_mean_square([r - centre for r in kept.values()]) / centre,
        dsi_of_noise=_of_noise([d.ratio_stderr for d in domains.values()], centre),
        generalization_gap=kept[goal] - elsewhere,
        transfer_ratio=elsewhere / kept[goal],
        target=goal,
    )


def _of_noise(errors: Sequence[float | None], centre: float) -> float | None:
    known = [error for error in errors if error is not None]
    if len(known) < len(errors):
        return None
    k = len(known)
    return _root_mean_square(known) * math.sqrt((k - 1) / k) / centre


def _root_mean_square(parts: Sequence[float]) -> float:
    return math.sqrt(mean([part * part for part in parts]))
