"""What the site says of a technique is what its class says, and reading it loads nothing heavy."""

from __future__ import annotations

import importlib
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

from leanboard.results.technique_text import SLOTS, Knob, one_at_a_time
from leanboard.runners.config import named, options
from leanboard.runners.technique_docs import page
from leanboard.runners.technique_texts import technique_texts


def declared(name: str) -> Any:
    """The class of a technique of the menu."""
    module, _, attribute = str(named("technique", name)["_target_"]).rpartition(".")
    return getattr(importlib.import_module(module), attribute)


def printed(line: str) -> dict[str, re.Match[str] | None]:
    """What the catalogue says of every technique in a line of this form."""
    parts = page(technique_texts()).split("\n### ")[1:]
    found = {part.partition("\n")[0]: re.search(f"^- {line}$", part, re.M) for part in parts}
    assert set(found) == set(options("technique")) - {"none"}
    return found


def test_every_technique_of_the_menu_says_what_it_does_by_whom_and_its_limits() -> None:
    texts = technique_texts()
    assert set(texts) == set(options("technique")) - {"none"}
    for text in texts.values():
        assert text.does[0].endswith(".")
        for section in (text.source, text.library, text.limits):
            assert section.endswith("."), text.name
        assert text.backends
        assert all(knob.about for knob in text.knobs), text.name


def test_the_catalogue_prints_the_conflicts_that_are_declared() -> None:
    for name, line in printed(r"Not together with: (.+)\.").items():
        assert set(line[1].split(", ") if line else ()) == declared(name).conflicts


def test_the_catalogue_tells_what_is_trained_from_what_is_calibrated() -> None:
    taught, read = printed("Trained: .+"), printed("Calibrated: .+")
    assert {name for name, line in taught.items() if line} == {"heal", "maestro", "soft-prompt"}
    for name in taught:
        assert (taught[name] is not None) == declared(name).trained
        assert (read[name] is not None) == (declared(name).calibrated and not taught[name])


def test_the_catalogue_prints_who_decides_the_same_and_what_that_is() -> None:
    lines = printed(r"One of these at a time: (.+) \(each decides (.+)\)\.")
    slots = {name: declared(name).exclusive for name in lines}
    for name, line in lines.items():
        same = {other for other in slots if slots[name] and slots[other] == slots[name]}
        assert set(line[1].split(", ") if line else ()) == same
        assert line is None or line[2] == SLOTS[slots[name]]
    assert set(filter(None, slots.values())) == set(SLOTS)


def test_what_nothing_else_decides_excludes_nobody() -> None:
    texts = technique_texts()
    assert one_at_a_time(texts["rtn"], {"rtn": texts["rtn"], "svd": texts["svd"]}) == ""
    assert one_at_a_time(texts["heal"], texts) == ""


def test_a_technique_has_its_family_its_knobs_and_the_values_of_the_menu() -> None:
    text = technique_texts()["prompt-lookup"]
    assert text.family == "decoding"
    assert text.source.startswith("Saxena, Prompt Lookup Decoding, 2023")
    assert text.quantises is False
    assert text.knobs == (
        Knob("num_tokens", "5", "tokens drafted at most, 1 or more."),
        Knob(
            "max_ngram_size",
            "2",
            "length of the longest run of last tokens that is looked up, 1 or more.",
        ),
    )


def test_a_knob_that_only_the_menu_gives_has_the_menus_value() -> None:
    texts = technique_texts()
    assert [texts[name].knobs[0].value for name in ("gguf-q8_0", "gguf-q4_1")] == ["q8_0", "q4_1"]
    assert texts["gguf-q8_0"].quantises is True


def test_sections_of_a_docstring_are_told_apart() -> None:
    text = technique_texts()["int8-dynamic"]
    assert len(text.does) == 2
    assert all(title not in " ".join(text.does) for title in ("Source", "Library", "Limits"))
    assert text.library.startswith("torchao's Int8DynamicActivationInt8WeightConfig")
    assert "`" not in " ".join([*text.does, *(knob.about for knob in text.knobs)])
    assert {knob.name: knob.value for knob in text.knobs} == {
        "lm_head": "false",
        "reduce_range": "null",
    }


def test_the_texts_are_read_without_the_libraries_of_the_techniques() -> None:
    program = (
        "import json, sys\n"
        "from leanboard.runners.technique_texts import technique_texts\n"
        "technique_texts()\n"
        "print(json.dumps(sorted({name.partition('.')[0] for name in sys.modules})))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], check=True, capture_output=True, text=True
    )
    loaded = set(json.loads(done.stdout.splitlines()[-1]))
    assert "leanboard" in loaded
    assert loaded & {"torch", "transformers", "torchao", "xllamacpp"} == set()


def test_the_page_of_the_catalogue_is_what_the_classes_say() -> None:
    written = Path("docs/techniques.md").read_text(encoding="utf-8")
    command = "python -m leanboard.runners.technique_docs > docs/techniques.md"
    assert written == page(technique_texts()), f"write it again: {command}"
