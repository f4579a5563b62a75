"""What people wrote about the numbers, beside what was measured."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from leanboard.results.finding import Finding
from leanboard.results.technique_text import TechniqueText


@dataclass(frozen=True, slots=True)
class Texts:
    """The written parts of the site; all of them may be absent.

    Args:
        techniques: what each technique of the registry is, by name.
        findings: what the records show, in words, in the order of their files.
    """

    techniques: Mapping[str, TechniqueText] = field(default_factory=dict)
    findings: tuple[Finding, ...] = ()
