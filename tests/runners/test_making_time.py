"""What a plan says of the making: counted once, left out where it is kept, said where unknown."""

from __future__ import annotations

import json
from dataclasses import replace
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from leanboard.runners import config, planning
from leanboard.runners.estimate import Estimate, History, Key
from leanboard.runners.grid import ArmSpec, BlockSpec, TechniqueSpec, blocks
from leanboard.runners.making_time import _reads, in_words, makings


def technique(name: str, **knobs: object) -> TechniqueSpec:
    return TechniqueSpec(name, {**config.named("technique", name), **knobs})


NONE = ArmSpec("none", ())
WHITENED = ArmSpec("whitened", (technique("whitened-svd"),))
HEALED = ArmSpec("healed", (technique("whitened-svd"), technique("heal")))
WIDE = ArmSpec("maestro-80", (technique("maestro", kept=0.8),))
NARROW = ArmSpec("maestro-60", (technique("maestro", kept=0.6),))


@pytest.fixture(scope="module")
def plain() -> BlockSpec:
    (spec,) = blocks(["hardware=cpu-1t"])
    return spec


def spec_of(plain: BlockSpec, cache: Path, *arms: ArmSpec) -> BlockSpec:
    return replace(plain, arms=(NONE, *arms), cache=cache)


def told(spec: BlockSpec, **making_s: float) -> History:
    """Return what records of some arms would tell, and by which names the cache keeps things."""
    model = spec.model.name
    keys = {arm.replace("_", "-"): seconds for arm, seconds in making_s.items()}
    return History(
        making_s={Key(model, "transformers", 1, arm, ""): s for arm, s in keys.items()},
        weights={model: "0" * 64},
        text="1" * 64,
    )


def keep(spec: BlockSpec, arm: ArmSpec, known: History, *seconds: float) -> None:
    """Put into the cache what an arm reads, with the times that its making took."""
    reads = _reads(spec, arm, Estimate.of(spec, known))
    assert reads is not None
    for folder, took_s in zip(reads.folders, seconds, strict=True):
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "took.json").write_text(json.dumps({"making_s": took_s}))


def left_s(spec: BlockSpec, known: History) -> dict[str, float | None]:
    return {label: found.left_s for (_, label), found in makings([spec], known).items()}


def test_an_arm_that_reads_nothing_made_is_not_among_them(plain: BlockSpec, tmp_path: Path) -> None:
    spec = spec_of(plain, tmp_path, ArmSpec("rtn", (technique("rtn"),)))
    assert makings([spec], History()) == {}
    assert in_words([]) == ""


def test_what_two_arms_share_counts_once(plain: BlockSpec, tmp_path: Path) -> None:
    spec = spec_of(plain, tmp_path, WIDE, NARROW)
    known = told(spec, maestro_80=540.0, maestro_60=560.0)
    assert left_s(spec, known) == {"maestro-80": 540.0, "maestro-60": 0.0}
    assert makings([spec], known)[0, "maestro-60"].text() == "with another arm"
    again = replace(spec, arms=(NONE, NARROW))
    assert sum(found.left_s or 0 for found in makings([spec, again], known).values()) == 540.0


def test_one_arm_that_is_known_tells_what_another_shares(plain: BlockSpec, tmp_path: Path) -> None:
    spec = spec_of(plain, tmp_path, WIDE, NARROW)
    found = left_s(spec, told(spec, maestro_60=560.0))
    assert found == {"maestro-80": 0.0, "maestro-60": 560.0}


def test_of_a_sum_what_another_arm_makes_is_left_out(plain: BlockSpec, tmp_path: Path) -> None:
    spec = spec_of(plain, tmp_path, HEALED, WHITENED)
    known = told(spec, healed=70.0, whitened=10.0)
    assert left_s(spec, known) == {"healed": 60.0, "whitened": 10.0}
    alone = spec_of(plain, tmp_path, HEALED)
    assert left_s(alone, known) == {"healed": 70.0}


def test_what_is_kept_takes_no_time(plain: BlockSpec, tmp_path: Path) -> None:
    spec = spec_of(plain, tmp_path, HEALED, WHITENED)
    known = told(spec, healed=70.0, whitened=10.0)
    keep(spec, WHITENED, known, 10.0)
    assert left_s(spec, known) == {"healed": 60.0, "whitened": 0.0}
    assert makings([spec], known)[0, "whitened"].text() == "kept; took 10 s"
    keep(spec, HEALED, known, 10.0, 60.0)
    found = makings([spec], known).values()
    assert all(making.kept for making in found)
    assert in_words(found) == ", and what is calibrated or trained is kept"


def test_another_text_or_model_is_not_what_is_kept(plain: BlockSpec, tmp_path: Path) -> None:
    spec = spec_of(plain, tmp_path, WHITENED)
    known = told(spec, whitened=10.0)
    keep(spec, WHITENED, known, 10.0)
    for other in (replace(known, text="2" * 64), replace(known, weights={spec.model.name: "2"})):
        assert left_s(spec, other) == {"whitened": 10.0}


def test_what_cannot_be_looked_up_is_said_to_be_unsure(plain: BlockSpec, tmp_path: Path) -> None:
    spec = spec_of(plain, tmp_path, WHITENED)
    known = told(spec, whitened=75.0)
    sure = ", and 1 min 15 s of making what is calibrated or trained, once"
    assert in_words(makings([spec], known).values()) == sure
    for lacking in (replace(known, text=None), replace(known, weights={})):
        found = makings([spec], lacking).values()
        assert in_words(found) == f"{sure} if it is not kept yet"


def test_arms_of_which_nothing_is_known_are_counted(plain: BlockSpec, tmp_path: Path) -> None:
    spec = spec_of(plain, tmp_path, WHITENED, WIDE, NARROW)
    found = makings([spec], told(spec, whitened=10.0))
    assert found[0, "maestro-80"].text() == "not known yet"
    # The other share of the same training is no second unknown.
    assert in_words(found.values()) == (
        ", and 10 s of making what is calibrated or trained, once; for 1 arm that is not known"
    )
    words = in_words(makings([spec], told(spec)).values())
    assert "the time of making" in words
    assert words.endswith("for 2 arms that is not known")


def test_the_plan_says_it_behind_its_total(
    plain: BlockSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = spec_of(plain, tmp_path, WIDE, NARROW)
    known = told(spec, maestro_80=540.0)
    monkeypatch.setattr(planning, "history", lambda _: known)
    console = Console(file=StringIO(), width=400)
    planning.print_plan([spec], console)
    printed = console.file.getvalue()
    assert ", and 9 min 00 s of making what is calibrated or trained, once; fetching" in printed
    assert "made once" in printed
