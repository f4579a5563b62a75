"""EfficientLLM's six metrics beside one another, with ranks a column: no single winner is hidden.

Source: EfficientLLM, arXiv:2505.13840. It names the metrics; what is read for each is said in
``READINGS``. ``static/efficientllm.js`` draws the same for the rows that a reader chooses.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from leanboard.leaderboard.board import Board, BoardRow
from leanboard.leaderboard.choices import choices_of
from leanboard.leaderboard.columns import ARROWS, Column, meaning_of
from leanboard.leaderboard.groups import (
    Head,
    PeerGroup,
    PeerLine,
    RankedCell,
    gap,
    group_pages,
    groups_of,
    heading_of,
    ran,
    ranked_cell,
    why_missing,
)
from leanboard.leaderboard.paging import Paged
from leanboard.leaderboard.parts import Context, Part
from leanboard.leaderboard.ranks import Rank, ranks_of
from leanboard.leaderboard.stage import UNRANKED
from leanboard.metrics.metric import Direction


@dataclass(frozen=True, slots=True)
class Reading:
    """One column: a metric of EfficientLLM, or what must stand beside it.

    Args:
        short: its title: EfficientLLM's abbreviation.
        of: the measurement that is read for it; empty where no record holds one.
        doc: what EfficientLLM means, and what is read here.
        direction: which way is better, where no record holds it.
        missing: why no record holds it; empty where one may.
    """

    short: str
    of: str
    doc: str
    direction: Direction = Direction.NEUTRAL
    missing: str = ""


_MFU = (
    "EfficientLLM: the time average of achieved / peak compute. Here FLOPs / (measured peak of the "
    "machine x time), which is that average over the phase; not the share of time that a device "
    "is busy. It has no better direction: a technique that needs less work may use the machine "
    "less and still be faster."
)

READINGS: tuple[Reading, ...] = (
    Reading(
        "AMU",
        "memory_mean_bytes",
        "Average memory utilisation. EfficientLLM: the time average of the memory in use. Here of "
        "the arm's process, while its requests ran. Runs from before it was recorded have none.",
    ),
    Reading(
        "AMU, share",
        "memory_mean_share",
        "AMU / the memory that the machine, its container or the GPU has. Ranks are those of the "
        "bytes.",
    ),
    Reading(
        "Peak memory",
        "peak_memory_bytes",
        "Beside AMU, and not it: the highest memory while requests ran. One value a run has no "
        "interval, so no rank.",
    ),
    Reading("PCU, prefill", "mfu_prefill", f"Peak compute utilisation, prefill. {_MFU}"),
    Reading("PCU, decode", "mfu_decode", f"Peak compute utilisation, decode. {_MFU}"),
    Reading(
        "AL",
        "e2e_s",
        "Average latency. EfficientLLM: the mean. Here the median over requests of the time from "
        "sending one to its last token: one disturbed request does not move it.",
    ),
    Reading(
        "TT, ST",
        "",
        "Training throughput, sum(tokens / parameters) / sum(time), and that of samples. Only "
        "training runs have them.",
        Direction.HIGHER,
        missing="no record holds a training run",
    ),
    Reading(
        "IT",
        "output_tokens_per_s",
        "Inference throughput. EfficientLLM: sum(generated tokens) / sum(latency). Here all output "
        "tokens / wall time of the rounds: the same for one request at a time; in a batch several "
        "requests share the wall time, and EfficientLLM's would be lower.",
    ),
    Reading(
        "AEC",
        "mean_power_w",
        "Average energy consumption: the time average of power, in watts. Less power for longer "
        "may take more energy: joules stand beside it.",
    ),
    Reading(
        "Energy / token",
        "energy_per_output_token_j",
        "Beside AEC: gross joules / output tokens.",
    ),
    Reading(
        "MCR",
        "compression_rate",
        "Model compression rate: (size of the baseline / size) x (score / the baseline's), by the "
        "bytes of the weights and the accuracy over tasks. A baseline has none.",
    ),
)


def efficientllm(board: Board) -> Context:
    """Return the table of readings, group by group, and what its controls offer."""
    return next(_pages(board))


def efficientllm_parts(board: Board) -> Iterator[Part]:
    """Yield the further pages of the table."""
    return _paged(ran(board.lines)).further("EfficientLLM", "efficientllm.html", _pages(board))


def _paged(lines: Sequence[BoardRow]) -> Paged:
    return Paged("efficientllm.html", "efficientllm", len(lines))


def _pages(board: Board) -> Iterator[Context]:
    lines = ran(board.lines)
    columns = {column.name: column for column in board.columns}
    heads = tuple(_head(reading, columns, lines) for reading in READINGS)
    common = {
        "heads": heads,
        "readings": READINGS,
        "choices": choices_of(lines),
        "unranked": UNRANKED,
    }

    def describe(members: Sequence[BoardRow]) -> PeerGroup:
        return reading_group(members, columns, heads)

    for page in group_pages(_paged(lines), groups_of(lines, by_model=True), describe):
        yield {**common, **page}


def reading_group(
    lines: Sequence[BoardRow], columns: Mapping[str, Column], heads: Sequence[Head]
) -> PeerGroup:
    """Return the values and ranks of rows on one hardware, workload and model.

    Args:
        lines: the rows.
        columns: the board's columns by name.
        heads: one a reading.
    """
    cells: list[list[RankedCell]] = []
    ranks: list[tuple[Rank | None, ...]] = []
    for head in heads:
        column = columns.get(head.of)
        if column is None:
            cells.append([gap(head.missing)] * len(lines))
            continue
        peers = [(line, line.cell(column)) for line in lines]
        ranks.append(ranks_of(peers, column.direction))
        pairs = zip(peers, ranks[-1], strict=True)
        cells.append([ranked_cell(cell, rank) for (_, cell), rank in pairs])
    return PeerGroup(
        heading=heading_of(lines[0], by_model=True),
        note=first_everywhere(lines, ranks),
        lines=tuple(
            PeerLine(line, tuple(column[place] for column in cells))
            for place, line in enumerate(lines)
        ),
    )


def first_everywhere(lines: Sequence[BoardRow], ranks: Sequence[Sequence[Rank | None]]) -> str:
    """Say which rows nobody is shown to be better than, in every column that has ranks.

    Args:
        lines: the rows.
        ranks: for each column the rank of each row.
    """
    ranked = [column for column in ranks if any(column)]
    if not ranked:
        return "no column has ranks"
    first = [
        line.name
        for line, *found in zip(lines, *ranked, strict=True)
        if all(rank is not None and rank.first == 1 for rank in found)
    ]
    columns = f"rank 1 or a band from 1 in every ranked column ({len(ranked)})"
    return f"{columns}: {', '.join(first)}" if first else f"no row has {columns}"


def _head(reading: Reading, columns: Mapping[str, Column], lines: Sequence[BoardRow]) -> Head:
    column, meaning = columns.get(reading.of), meaning_of(reading.of)
    direction = reading.direction if meaning is None else meaning.direction
    missing = reading.missing or why_missing(lines, reading.of)
    return Head(
        of=reading.of,
        short=reading.short,
        title=reading.doc,
        arrow=ARROWS[direction],
        suffix="" if column is None else column.scale.suffix,
        missing=missing if column is None else "",
    )
