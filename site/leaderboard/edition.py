"""Which state of the data a site shows: how many records, of when, and a hash of what they say.

The same records give the same text on every machine; another record, or another value in one, gives
another hash.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, date

from leanboard.leaderboard.format import plural
from leanboard.results.store import Entry

_SHORT = 8


@dataclass(frozen=True, slots=True)
class Edition:
    """A state of the data; what it says of time and hash is of the published records alone.

    Args:
        published: how many records are published.
        local: how many are not.
        newest: the day (UTC) on which the newest published run was started; ``None`` without one.
        data: the first digits of the SHA-256 over the sorted hashes of all published records, a
            line each; empty without one.
    """

    published: int
    local: int
    newest: date | None
    data: str

    @property
    def told(self) -> str:
        """The same in words."""
        counts = f"{self.published:,} published and {plural(self.local, 'local record')}"
        if self.newest is None:
            return counts
        return f"{counts}, newest of {self.newest.isoformat()}, data {self.data}"


def edition_of(entries: Iterable[Entry]) -> Edition:
    """Return the state of the data that these records are."""
    found = list(entries)
    published = [entry.record for entry in found if entry.origin == "published"]
    hashes = sorted(record.content_hash for record in published)
    days = [record.times.started_at.astimezone(UTC).date() for record in published]
    whole = hashlib.sha256("".join(f"{each}\n" for each in hashes).encode("ascii")).hexdigest()
    return Edition(
        published=len(published),
        local=len(found) - len(published),
        newest=max(days, default=None),
        data=whole[:_SHORT] if hashes else "",
    )
