"""The pages of the site. A new one is one ``Page(...)`` line and one template."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from leanboard.leaderboard.board import (
    Board,
    BoardRow,
    on_demand_counts,
    techniques_of,
)
from leanboard.leaderboard.budget import budget, budget_parts
from leanboard.leaderboard.changes import change_parts, changes
from leanboard.leaderboard.choices import filter_titles, orders_of, table_choices
from leanboard.leaderboard.columns import ARROWS, BETTER, Column
from leanboard.leaderboard.compare import compare
from leanboard.leaderboard.costs import cost_parts, costs
from leanboard.leaderboard.downloads import downloads
from leanboard.leaderboard.efficientllm import efficientllm, efficientllm_parts
from leanboard.leaderboard.findings import findings
from leanboard.leaderboard.format import plural, share
from leanboard.leaderboard.gate_marks import ANSWERS, CLASSES, SIGNS
from leanboard.leaderboard.groups import ran
from leanboard.leaderboard.parallel import parallel
from leanboard.leaderboard.parts import Context, Part
from leanboard.leaderboard.scored import scored_parts, told_of
from leanboard.leaderboard.stage import UNRANKED, offers
from leanboard.leaderboard.subject_pages import subject_parts, subjects
from leanboard.leaderboard.table_pages import TablePages, table_pages
from leanboard.leaderboard.texts import Texts
from leanboard.leaderboard.tradeoff import default_tradeoff
from leanboard.metrics.comparison import MIN_LAUNCHES, MIN_ROUNDS
from leanboard.metrics.fidelity import LENGTH_HIGH, LENGTH_LOW
from leanboard.metrics.front_membership import MOST_DRAWN
from leanboard.metrics.gate import THRESHOLD, GateVerdict
from leanboard.metrics.hypervolume import MOST_RANGED
from leanboard.metrics.item_bootstrap import DRAWS, MIN_ITEMS
from leanboard.metrics.lossless import TIE_NATS
from leanboard.metrics.metric import Direction, Role
from leanboard.metrics.registry import METRICS
from leanboard.metrics.stability import CHECKS
from leanboard.metrics.trace import Provenance
from leanboard.results.derived_columns import DERIVED
from leanboard.results.reliability import Reliability
from leanboard.results.schema import Status


@dataclass(frozen=True, slots=True)
class Download:
    """A file of the downloads page."""

    name: str
    href: str
    size: str
    about: str


@dataclass(frozen=True, slots=True)
class Site:
    """What a page may use: the board, the files beside it, and what people wrote."""

    board: Board
    downloads: tuple[Download, ...]
    texts: Texts = field(default_factory=Texts)


def _nothing_more(_: Site) -> Iterable[Part]:
    return ()


@dataclass(frozen=True, slots=True)
class Page:
    """A page in the site's navigation.

    Args:
        slug: name of its file, without ``.html``.
        title: its heading and its entry in the navigation.
        order: place in the navigation.
        template: file in ``templates/``.
        context: what the template prints, from the site.
        more: further files that belong to it.
        footer: whether its entry stands at the foot of every page, not at the head.
    """

    slug: str
    title: str
    order: int
    template: str
    context: Callable[[Site], Context]
    more: Callable[[Site], Iterable[Part]] = _nothing_more
    footer: bool = False

    def parts(self, site: Site) -> Iterator[Part]:
        """Yield its files, the one that the navigation leads to first."""
        yield Part(f"{self.slug}.html", self.title, self.template, self.context(site))
        yield from self.more(site)


def leaderboard(site: Site) -> Context:
    """Return the first rows of the table with its columns, and what its filters offer."""
    return next(_table(site, table_pages(site.board)))


def leaderboard_parts(site: Site) -> Iterator[Part]:
    """Yield the further pages of the table, and of the runs that are not in it."""
    pages = table_pages(site.board)
    yield from pages.table.further("Leaderboard", "index.html", _table(site, pages))
    yield from pages.others_table.further("Runs on demand", "others.html", _others(pages))
    yield from scored_parts(site.board)


def _table(site: Site, pages: TablePages) -> Iterator[Context]:
    """Yield the pages of the table."""
    lines, judged = site.board.lines, ran(site.board.lines)
    whole = {
        "columns": [column for column in site.board.columns if column.shown],
        "arrows": ARROWS,
        "better": BETTER,
        "tally": f"{len(pages.shown)} of {len(lines)} rows",
        **next(_others(pages)),
        "scored_told": told_of(site.board.scored),
        "choices": table_choices(lines),
        "titles": filter_titles(),
        "orders": orders_of(site.board.columns),
        "answers": ANSWERS,
        "unranked": UNRANKED,
        **_gates(),
        "stabilities": _stabilities(judged),
        "one_process": plural(sum(line.one_process for line in judged), "row"),
        "summary": _summary(site),
    }
    for number in range(1, pages.table.last + 1):
        shown = pages.shown[pages.table.rows(number)]
        yield {**whole, "lines": shown, "leaf": pages.table.leaf(number)}


def _others(pages: TablePages) -> Iterator[Context]:
    """Yield the pages of the runs that show on demand; the leaderboard shows the first."""
    paged, told = pages.others_table, on_demand_counts(pages.others)
    for number in range(1, paged.last + 1):
        yield {
            "others": pages.others[paged.rows(number)],
            "others_leaf": paged.leaf(number),
            "others_told": told,
        }


def pareto(site: Site) -> Context:
    """Return the default plot and what its controls offer."""
    lines = [line for line in site.board.lines if line.status is Status.OK]
    shown = default_tradeoff(site.board)
    return {
        "tradeoff": shown,
        "no_energy": _only_modelled_joules(site.board.columns, lines),
        **offers(site.board, shown),
    }


def methodology(_: Site) -> Context:
    """Return the registry, by what the metrics are about, and the limits of stability."""
    return {
        "groups": [
            (role.value, [metric for metric in METRICS if metric.role is role])
            for role in Role
            if any(metric.role is role for metric in METRICS)
        ],
        "derived": DERIVED,
        "better": BETTER,
        **_gates(),
        "draws": DRAWS,
        "most_drawn": MOST_DRAWN,
        "most_ranged": MOST_RANGED,
        "min_items": MIN_ITEMS,
        "shortest": LENGTH_LOW,
        "longest": LENGTH_HIGH,
        "tie": TIE_NATS,
        "min_rounds": MIN_ROUNDS,
        "min_launches": MIN_LAUNCHES,
        "checks": [
            {"kind": c.kind, "words": c.words, "name": c.name, "limit": format(c.limit, c.spec)}
            for c in CHECKS
        ],
    }


PAGES: tuple[Page, ...] = (
    Page("index", "Leaderboard", 10, "index.html", leaderboard, leaderboard_parts),
    Page("pareto", "Pareto", 20, "pareto.html", pareto),
    Page("compare", "Compare", 35, "compare.html", compare),
    Page("parallel", "Front of several", 25, "parallel.html", parallel),
    Page(
        "budget",
        "Budget",
        30,
        "budget.html",
        lambda site: budget(site.board),
        lambda site: budget_parts(site.board),
    ),
    Page(
        "costs",
        "Cost and carbon",
        40,
        "costs.html",
        lambda site: costs(site.board),
        lambda site: cost_parts(site.board),
    ),
    Page(
        "efficientllm",
        "EfficientLLM",
        45,
        "efficientllm.html",
        lambda site: efficientllm(site.board),
        lambda site: efficientllm_parts(site.board),
    ),
    Page("subjects", "Subjects", 60, "subjects.html", subjects, subject_parts),
    Page("findings", "Findings", 70, "findings.html", findings),
    Page("methodology", "Methodology", 80, "methodology.html", methodology),
    Page("changes", "Changes", 85, "changes.html", changes, change_parts, footer=True),
    Page("downloads", "Downloads", 90, "downloads.html", downloads),
)


def in_order(pages: Sequence[Page]) -> list[Page]:
    """Return pages as the navigation lists them."""
    return sorted(pages, key=lambda page: (page.order, page.slug))


_GATE_DOCS = {
    GateVerdict.PASS: "the whole interval of the ratio reaches the threshold",
    GateVerdict.FAIL: "all of it lies below",
    GateVerdict.UNDECIDED: "it holds the threshold, and more items would decide",
}


def _gates() -> Context:
    """Return the marks of gates, in words, and the threshold."""
    marks = [
        {"text": SIGNS[verdict], "css": CLASSES[verdict], "doc": _GATE_DOCS[verdict]}
        for verdict in GateVerdict
    ]
    return {"gates": marks, "threshold": share(THRESHOLD)}


def _only_modelled_joules(columns: Sequence[Column], lines: Sequence[BoardRow]) -> bool:
    """Return whether joules are no axis because those that there are were modelled."""
    joules = [
        column
        for column in columns
        if column.role is Role.ENERGY and column.direction is not Direction.NEUTRAL
    ]
    if any(column.axis for column in joules):
        return False
    modelled = Provenance.MODELLED.value
    return any(line.cell(column).estimate == modelled for line in lines for column in joules)


def _stabilities(lines: Sequence[BoardRow]) -> str:
    """Say how many rows were judged stable, and how many not judged at all."""
    counts = Counter(line.stability for line in lines)
    judged = f"Judged stable: {plural(counts[Reliability.STABLE], 'row')}."
    unknown = counts[Reliability.UNKNOWN]
    if not unknown:
        return judged
    why = "an older record, or too few samples; the run's page says so"
    return f"{judged} Not judged: {plural(unknown, 'row')} ({why})."


def _summary(site: Site) -> str:
    lines = site.board.lines
    counts = (
        (len(lines), "row"),
        (len({line.model for line in lines}), "model"),
        (len(techniques_of(lines)), "technique"),
        (len({line.workload for line in lines}), "workload"),
        (len({line.backend for line in lines}), "backend"),
        (len({line.machine for line in lines}), "machine"),
    )
    return " \u00b7 ".join(plural(count, noun) for count, noun in counts)
