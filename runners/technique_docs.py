"""The catalogue of techniques as a page of docs/, from their classes.

python -m leanboard.runners.technique_docs          prints docs/techniques.md
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from leanboard.results.technique_text import FAMILIES, TechniqueText, one_at_a_time

_HEAD = """# Techniques

Made from the docstrings of the classes by `python -m leanboard.runners.technique_docs`; a test
holds the two equal. *Lossless* means that greedy output is the baseline's by construction. torch
and transformers come with the extra `transformers`; what else a library needs is named with it.
What was measured is on the board and in [findings.md](findings.md), what tests check of each in
[contract.md](contract.md). How to add a technique is in [adding.md](adding.md#a-technique).
"""


def page(texts: Mapping[str, TechniqueText]) -> str:
    """Return the page, by family and name."""
    return "\n".join(_lines(texts))


def _lines(texts: Mapping[str, TechniqueText]) -> Iterator[str]:
    yield _HEAD
    for family in sorted({text.family for text in texts.values()}):
        yield f"## {FAMILIES.get(family, family)}\n"
        for name in sorted(texts):
            if texts[name].family == family:
                yield from _technique(texts[name], texts)


def _technique(text: TechniqueText, texts: Mapping[str, TechniqueText]) -> Iterator[str]:
    yield f"### {text.name}\n"
    for paragraph in text.does:
        yield f"{paragraph}\n"
    yield from _marks(text)
    yield from _exclusions(text, texts)
    if text.limits:
        yield f"- Limits: {text.limits}"
    if text.library:
        yield f"- Library: {text.library}"
    yield f"- Source: {text.source}"
    if text.knobs:
        yield "\n| knob | default | |\n|---|---|---|"
        for knob in text.knobs:
            yield f"| `{knob.name}` | `{knob.value}` | {knob.about.replace('|', '/')} |"
    yield ""


def _marks(text: TechniqueText) -> Iterator[str]:
    """Yield what a reader must know before comparing its numbers."""
    yield f"- {'Lossless' if text.lossless else 'Not lossless'}; on {', '.join(text.backends)}."
    if text.quantises:
        yield "- Rounds the weights."
    if text.calibrated:
        how = "Trained: it takes gradient steps on" if text.trained else "Calibrated: it reads"
        yield (
            f"- {how} text, whose hash is part of its identity: paragraphs of the "
            "same source as those that perplexity is taken on, of other articles."
        )
    if text.expanded_by:
        yield (
            f"- {text.expanded_by} expands the weights to floats at every forward: its times are "
            "no measure of the format."
        )
    if text.simulates:
        yield f"- Only simulates {', '.join(text.simulates)}: no gain in them is claimed."


def _exclusions(text: TechniqueText, texts: Mapping[str, TechniqueText]) -> Iterator[str]:
    """Yield what it cannot be combined with."""
    if text.conflicts:
        yield f"- Not together with: {', '.join(text.conflicts)}."
    if together := one_at_a_time(text, texts):
        yield f"- One of these at a time: {together}."


if __name__ == "__main__":
    from leanboard.runners.technique_texts import technique_texts

    print(page(technique_texts()), end="")
