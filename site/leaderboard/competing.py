"""With what a value competes for ranks and fronts: its interval, and what others took meanwhile.

A run's own unrest (spread, drift, launches of different speeds) is in the interval of its values,
which is taken over launches: a wide interval is told from few others, and is sure of no front. What
others took of the processor is in no interval. Where it is known how much that was, the interval is
widened by it to the better side, as times can only have been lengthened; where it is not, the value
is shown and does not compete.

``static/competing.js`` gives the same ends in the browser; a browser test holds the two together.
"""

from __future__ import annotations

import math

from leanboard.leaderboard.board import BoardRow
from leanboard.leaderboard.cells import BoardCell
from leanboard.leaderboard.format import rounded
from leanboard.metrics.front_membership import Uncertain
from leanboard.metrics.metric import Direction


def competing(line: BoardRow, cell: BoardCell) -> Uncertain | None:
    """Return a value with the ends by which it is compared; ``None`` where it cannot compete.

    Values of a run that is not known to be unstable, and those that no time is in (bytes, scores),
    keep the interval that they have, if any.

    Args:
        line: the row.
        cell: one of its values.
    """
    if cell.value is None:
        return None
    if not (line.unstable and cell.column.timed):
        return Uncertain(cell.value, cell.low, cell.high)
    if cell.low is None or cell.high is None or math.isinf(line.reach):
        return None
    if cell.column.direction is Direction.HIGHER:
        return Uncertain(cell.value, cell.low, rounded(cell.high * line.reach))
    return Uncertain(cell.value, rounded(cell.low / line.reach), cell.high)
