"""The findings as a page of docs/ with its pictures, from the published records.

python -m leanboard.leaderboard.findings_docs       writes docs/findings.md, docs/images/findings/
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from leanboard.leaderboard.board import Board, board_of
from leanboard.leaderboard.charts import Plot
from leanboard.leaderboard.finding_lines import EvidenceLine, Judged, judged
from leanboard.leaderboard.finding_plot import series_without_points
from leanboard.results.errors import RecordError
from leanboard.results.finding import Finding, load_findings
from leanboard.results.published import findings_root, published_root
from leanboard.results.store import read_stores
from leanboard.results.technique_text import FAMILIES

PAGE = "findings.md"
PICTURES = "images/findings"
_HEAD = """# Findings

What the published records show, in words. Made from `results/findings/` and `results/records/` by
`python -m leanboard.leaderboard.findings_docs`; a test holds them equal. How to add one is in
[adding.md](adding.md#a-finding). The site's page of findings has the same, with links to the runs.

A finding rests on the comparisons of the rows that it names, each with the baseline of its own
block, and holds while every verdict is the one claimed. Intervals are 95 %. Of two rows that stand
beside each other, scores are paired over the items that both scored, and times are judged by
whether their intervals lie apart. A finding speaks for the model, the machine and the workload of
its rows, not for others: small models on two cores.
"""
_SEVERAL = "Of several families"


def page(found: Sequence[Judged]) -> str:
    """Return the page: what publications say and what became of it, then every finding."""
    return "\n".join(_lines(found)).rstrip("\n") + "\n"


def pictures(found: Sequence[Judged]) -> Mapping[str, str]:
    """Return the pictures, each a whole SVG file, by file name."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    template = environment.get_template("figure.svg")
    return {
        _file_name(one.finding): template.render(plot=_unlinked(one.plot))
        for one in found
        if one.plot is not None
    }


def write(folder: Path, board: Board) -> None:
    """Write the page and its pictures below a folder; pictures that no finding has are removed.

    Raises:
        RecordError: if a picture that a finding declares lacks points.
    """
    findings = load_findings(findings_root())
    check_pictures(findings, board)
    found = judged(findings, board)
    drawn = pictures(found)
    (folder / PICTURES).mkdir(parents=True, exist_ok=True)
    for path in (folder / PICTURES).glob("*.svg"):
        if path.name not in drawn:
            path.unlink()
    for name, text in drawn.items():
        (folder / PICTURES / name).write_text(text, encoding="utf-8")
    (folder / PAGE).write_text(page(found), encoding="utf-8")


def check_pictures(findings: Sequence[Finding], board: Board) -> None:
    """Check that every series of every picture has a point.

    Raises:
        RecordError: naming the finding and its empty series. A page would leave them out silently.
    """
    for finding in findings:
        lacking = () if finding.picture is None else series_without_points(finding.picture, board)
        if lacking:
            message = (
                f"the picture of the finding {finding.name} has no point for "
                f"{', '.join(lacking)}: no row of its machine, model and workload has values on "
                "both axes there. Name other rows or axes, or take the series out."
            )
            raise RecordError(message)


def _lines(found: Sequence[Judged]) -> Iterator[str]:
    yield _HEAD
    yield from _claims(found)
    families = {one.finding.family for one in found}
    for family in sorted(families, key=lambda family: (not family, FAMILIES.get(family, family))):
        yield f"## {FAMILIES.get(family, family) if family else _SEVERAL}\n"
        for one in found:
            if one.finding.family == family:
                yield from _finding(one)


def _claims(found: Sequence[Judged]) -> Iterator[str]:
    rows = [(claim, one.finding) for one in found for claim in one.finding.claims]
    if not rows:
        return
    yield "## Published claims\n"
    yield "| published | it says | here | |"
    yield "|---|---|---|---|"
    for claim, finding in rows:
        because = f": {claim.because}" if claim.because else ""
        texts = (claim.source, claim.says, f"**{claim.outcome.value}**{because}")
        link = f"[finding](#{finding.name})"
        yield f"| {' | '.join(_cell(text) for text in texts)} | {link} |"
    yield ""


def _finding(one: Judged) -> Iterator[str]:
    finding = one.finding
    yield f'<a id="{finding.name}"></a>\n'
    yield f"### {finding.title}\n"
    for paragraph in finding.paragraphs:
        yield f"{paragraph}\n"
    if finding.picture is not None and one.plot is not None:
        caption = finding.picture.caption
        yield f"![{caption}]({PICTURES}/{_file_name(finding)})\n"
        yield f"*{caption}*\n"
    rests = f"Rests on {len(one.lines)} comparisons: {one.standing.value}"
    yield f"<details><summary>{rests}</summary>\n"
    yield "| row | metric | baseline | this arm | compared | n | the records say |"
    yield "|---|---|---|---|---|---|---|"
    for line in one.lines:
        yield f"| {' | '.join(_cell(text) for text in _texts(line))} |"
    yield "\n</details>\n"


def _texts(line: EvidenceLine) -> tuple[str, ...]:
    compared = f"{line.statistic} {line.compared.value} {line.compared.interval}".strip()
    verdict = f"{line.verdict}; {line.note}" if line.note else line.verdict
    return (
        f"{line.name}, {line.where}",
        line.metric,
        line.baseline.value,
        line.candidate.value,
        compared,
        line.n,
        verdict,
    )


def _cell(text: str) -> str:
    return " ".join(text.replace("|", "/").split())


def _file_name(finding: Finding) -> str:
    return f"{finding.name}.svg"


def _unlinked(plot: Plot) -> Plot:
    """Return a picture without links: it is shown as an image, in which none could be followed."""
    return replace(plot, marks=tuple(replace(mark, href="") for mark in plot.marks))


if __name__ == "__main__":
    write(Path("docs"), board_of(read_stores([(published_root(), "published")])))
