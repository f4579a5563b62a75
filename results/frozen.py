"""The base of everything that stands in a record, and the numbers and times that may stand there.

Records come from anywhere. What reads them adds, squares and draws their numbers, so these are
kept far from where a float, an integer of 64 bits or a date ends.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any, cast

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Field,
    GetCoreSchemaHandler,
    GetPydanticSchema,
    JsonValue,
)
from pydantic_core import CoreSchema
from typing_extensions import TypeAliasType

LARGEST = 1e100
"""The largest size of a number: its square is still a float."""
_KNOB = re.compile(r"[A-Za-z0-9][A-Za-z0-9_]{0,63}")
_MOST = 2**53 - 1
_INT64 = 2**63 - 1

Real = Annotated[float, Field(ge=-LARGEST, le=LARGEST)]
"""A measured number."""
Whole = Annotated[int, Field(ge=0, le=_MOST)]
"""A count: an integer that every reader of JSON keeps whole (RFC 7493)."""
Positive = Annotated[int, Field(gt=0, le=_MOST)]
"""A count of at least one."""
Bytes = Annotated[int, Field(ge=0, le=_INT64)]
"""A size of memory, up to what a system without a limit says."""
Seed = Annotated[int, Field(ge=-_INT64, le=_INT64)]
"""The start of random numbers."""
Moment = Annotated[
    AwareDatetime,
    Field(ge=datetime(1970, 1, 1, tzinfo=UTC), le=datetime(2999, 12, 31, tzinfo=UTC)),
]
"""A time with its zone."""


def _told(kind: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
    """Say one thing of what is none of the kinds, instead of one for each of them."""
    said = {
        "custom_error_type": "json",
        "custom_error_message": f"Input should be JSON whose numbers are at most {LARGEST:g}",
    }
    return cast(CoreSchema, {**handler(kind), **said})


if TYPE_CHECKING:
    Json = JsonValue
else:
    # As pydantic's own, which tells kinds apart in Python, and whose numbers know no limit.
    Json = TypeAliasType(
        "Json",
        Annotated[
            str
            | Annotated[int, Field(strict=True, ge=-int(LARGEST), le=int(LARGEST))]
            | Annotated[float, Field(strict=True, ge=-LARGEST, le=LARGEST)]
            | dict[str, "Json"]
            | bool
            | list["Json"],
            Field(union_mode="left_to_right"),
            GetPydanticSchema(_told),
        ]
        | None,
    )
Open = dict[str, Json]
"""A mapping of any names to any JSON."""


def _named_plainly(knobs: dict[str, Json]) -> dict[str, Json]:
    """Refuse names that are more than names, however deep.

    Knobs come back as overrides of a command that people copy. There a dot would reach into
    another config, and a mapping with a ``_target_`` would be called.
    """
    waiting: list[Json] = [knobs]
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict):
            odd = next((name for name in value if not _KNOB.fullmatch(name)), None)
            if odd is not None:
                raise ValueError(f"{odd[:60]!r} is no name of a knob (letters, digits, _)")
        if isinstance(value, dict | list):
            waiting.extend(value.values() if isinstance(value, dict) else value)
    return knobs


Knobs = Annotated[Open, AfterValidator(_named_plainly)]
"""Knobs by name: identifiers, which begin with a letter or digit, at every depth."""


class Frozen(BaseModel):
    """Base of every schema class: immutable, and closed to unknown fields."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
