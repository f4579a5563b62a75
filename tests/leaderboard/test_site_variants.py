"""Rows that differ only in sizes or knobs do not read the same."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from browser_page import chosen, settled
from demo_store import Demo
from record_factory import (
    make_device,
    make_model,
    make_procedure,
    make_record,
    make_run,
    make_workload,
)

from leanboard.leaderboard.board import Board, board_of
from leanboard.leaderboard.build import build_site
from leanboard.leaderboard.choices import choices_of, table_choices
from leanboard.leaderboard.groups import groups_of
from leanboard.leaderboard.tradeoff import default_tradeoff
from leanboard.results.identity import cell_id
from leanboard.results.schema import Component, PerformanceCell, Record
from leanboard.results.store import Entry, Loaded, Store, read_stores

if TYPE_CHECKING:
    from playwright.sync_api import Browser

LARGE_WORK = "128 in, 32 out, batch 1, 8 prompts, fixed length, one shape"
SMALL_WORK = "64 in, 4 out, batch 1, 8 prompts, fixed length, one shape"
ROUNDS = "8 rounds, one process, fixed, 2 warm-ups, seed 0"
SMALL = make_workload().model_copy(update={"prompt_tokens": 64, "output_tokens": 4})


def knob(num_tokens: int) -> Component:
    return Component(name="prompt-lookup", version=1, params={"num_tokens": num_tokens})


def changed(record: Record, **parts: object) -> Record:
    """The record with other parts of its cell, as another run."""
    assert isinstance(record.cell, PerformanceCell)
    cell = record.cell.model_copy(update=parts)
    identity = cell_id(cell)
    run_id = f"{record.run_id[:-8]}{identity[:8]}"
    return record.model_copy(update={"cell": cell, "cell_id": identity, "run_id": run_id})


def board(*records: Record) -> Board:
    return board_of(Loaded(tuple(Entry(record, "local", Path("r.json")) for record in records)))


def texts(*records: Record) -> set[tuple[str, str, str]]:
    lines = board(*records).lines
    return {(line.label_text, line.workload_text, line.backend_text) for line in lines}


def test_nothing_is_appended_where_nothing_is_ambiguous(demo: Demo) -> None:
    for line in demo.board.lines:
        assert line.label_text == line.label
        assert line.workload_text == line.workload
        assert line.backend_text == line.backend
        assert line.device in ("cpu, 2 threads", "cpu, 8 threads")


def test_a_workload_of_another_size_says_every_size_that_differs() -> None:
    batch = SMALL.model_copy(update={"batch_size": 2})
    assert texts(make_record(), make_record(workload=batch)) == {
        ("none", "chat (128 in, 32 out, batch 1)", "transformers"),
        ("none", "chat (64 in, 4 out, batch 2)", "transformers"),
    }


def test_a_technique_with_another_knob_says_the_knob() -> None:
    records = [make_record(techniques=[knob(n)]) for n in (5, 10)]
    assert texts(make_record(), *records) == {
        ("none", "chat", "transformers"),
        ("prompt-lookup (num_tokens=5)", "chat", "transformers"),
        ("prompt-lookup (num_tokens=10)", "chat", "transformers"),
    }


def test_knobs_of_a_combination_name_their_technique() -> None:
    both = [make_record(techniques=[knob(n), "bf16"]) for n in (5, 10)]
    assert {label for label, _, _ in texts(*both)} == {
        "prompt-lookup+bf16 (prompt-lookup.num_tokens=5)",
        "prompt-lookup+bf16 (prompt-lookup.num_tokens=10)",
    }


def test_another_number_of_rounds_is_said() -> None:
    once = changed(make_record(), procedure=make_procedure(rounds=1))
    assert {workload for _, workload, _ in texts(make_record(), once)} == {
        "chat (8 rounds)",
        "chat (1 round)",
    }


def test_a_candidate_without_a_twin_still_says_which_size_it_was() -> None:
    rows = texts(
        make_record(), make_record(workload=SMALL), make_record(techniques=["x"], workload=SMALL)
    )
    assert ("x", "chat (64 in, 4 out)", "transformers") in rows


def test_knobs_of_the_backend_and_the_device_are_said() -> None:
    plain = make_record()
    off = Component(name="transformers", version=1, params={"attention": "eager"})
    capped = make_device().model_copy(update={"memory_cap_bytes": 2**30})
    assert {backend for _, _, backend in texts(plain, changed(plain, backend=off))} == {
        "transformers",
        "transformers (attention=eager)",
    }
    assert {line.device for line in board(plain, changed(plain, device=capped)).lines} == {
        "cpu, 2 threads (no cap)",
        "cpu, 2 threads (cap 1.00 GiB)",
    }


def test_a_hash_or_a_version_is_the_last_resort() -> None:
    plain = make_record(techniques=["x"])
    asked = make_workload().model_copy(update={"prompts_hash": "ab" * 32})
    newer = (Component(name="x", version=2),)
    labels = {label for label, _, _ in texts(plain, changed(plain, techniques=newer))}
    assert labels == {"x (x version 1)", "x (x version 2)"}
    workloads = {text for _, text, _ in texts(plain, changed(plain, workload=asked))}
    assert "chat (prompts abababab)" in workloads
    assert len(workloads) == 2


def test_machines_are_not_mixed_up_and_filters_keep_the_plain_names() -> None:
    other = make_record(workload=SMALL).model_copy(update={"machine_id": "elsewhere"})
    assert {workload for _, workload, _ in texts(make_record(), other)} == {"chat"}
    lines = board(make_record(), make_record(workload=SMALL)).lines
    variants = {
        f"chat ({LARGE_WORK}, {ROUNDS})": "chat (128 in, 32 out)",
        f"chat ({SMALL_WORK}, {ROUNDS})": "chat (64 in, 4 out)",
    }
    assert choices_of(lines)["workload"] == variants
    assert table_choices(lines)["workload"] == {"chat": "chat, all variants", **variants}
    assert {line.workload for line in lines} == {"chat"}


def test_the_leaderboard_offers_variants_beside_the_name_that_they_share() -> None:
    elsewhere = make_record(workload="chat").model_copy(update={"machine_id": "elsewhere"})
    runs = (make_record(), make_record(workload=SMALL), make_record(workload="chat-long"))
    lines = board(*runs, elsewhere).lines
    assert "chat" in {line.workload_text for line in lines}
    assert list(table_choices(lines)["workload"].values()) == [
        "chat, all variants",
        "chat (128 in, 32 out)",
        "chat (64 in, 4 out)",
        "chat-long",
    ]
    offered, plain = table_choices(lines), choices_of(lines)
    assert {**offered, "workload": plain["workload"]} == plain


OTHER = make_model("other-model")


@pytest.mark.parametrize(
    ("changes", "here", "there"),
    [
        ({"prompt_tokens": 64}, "chat (128 in)", "chat (64 in)"),
        ({"output_tokens": 64}, "chat (32 out)", "chat (64 out)"),
        ({"batch_size": 4}, "chat (batch 1)", "chat (batch 4)"),
        ({"prompts": 16}, "chat (8 prompts)", "chat (16 prompts)"),
        ({"output_length": "natural"}, "chat (fixed length)", "chat (natural length)"),
        ({"shapes": ((64, 8), (128, 32))}, "chat (one shape)", "chat (shapes 64+8 128+32)"),
    ],
)
def test_other_work_of_another_model_on_the_machine_is_another_workload(
    changes: dict[str, object], here: str, there: str
) -> None:
    asked = make_workload().model_copy(update=changes)
    lines = board(make_record(), make_record(model=OTHER, workload=asked)).lines
    assert {line.model: line.workload_text for line in lines} == {
        "smollm2-135m-instruct": here,
        "other-model": there,
    }
    assert len(groups_of(lines, by_model=False)) == 2


def test_other_rounds_or_prompts_of_another_model_leave_the_names_of_its_rows_the_same() -> None:
    tokens = make_workload().model_copy(update={"prompts_hash": "ab" * 32})
    other = make_record(model=OTHER, workload=tokens)
    once = changed(make_record(), procedure=make_procedure(rounds=1))
    assert {work for _, work, _ in texts(make_record(), other)} == {"chat"}
    assert {work for _, work, _ in texts(other, once)} == {"chat"}


def test_other_threads_or_another_memory_cap_are_another_hardware_for_all_models() -> None:
    one = make_record(model=OTHER, device=make_device(threads=1))
    (machine,) = {record.machine_id for record in (one, make_record())}
    lines = board(make_record(), one).lines
    assert {line.model: line.hardware for line in lines} == {
        "smollm2-135m-instruct": f"cpu (2 threads) \u00b7 {machine}",
        "other-model": f"cpu (1 thread) \u00b7 {machine}",
    }
    assert len(groups_of(lines, by_model=False)) == 2
    cap = make_device().model_copy(update={"memory_cap_bytes": 2**30})
    capped = changed(make_record(model=OTHER), device=cap)
    assert {line.hardware for line in board(make_record(), capped).lines} == {
        f"cpu (no cap) \u00b7 {machine}",
        f"cpu (cap 1.00 GiB) \u00b7 {machine}",
    }


def test_memory_caps_that_would_read_the_same_are_said_to_the_byte() -> None:
    caps = (2**30, 2**30 + 4096, 2**31)
    device = make_device()
    runs = [
        changed(make_record(), device=device.model_copy(update={"memory_cap_bytes": cap}))
        for cap in caps
    ]
    lines = board(*runs).lines
    said = {line.row.cell.device.memory_cap_bytes: line.hardware for line in lines}
    assert {cap: text.partition(" \u00b7")[0] for cap, text in said.items()} == {
        2**30: "cpu (cap 1,073,741,824 B)",
        2**30 + 4096: "cpu (cap 1,073,745,920 B)",
        2**31: "cpu (cap 2.00 GiB)",
    }
    assert len({line.device for line in lines}) == len(caps)
    assert len(choices_of(lines)["hardware"]) == len(caps)
    assert len(groups_of(lines, by_model=False)) == len(caps)


def test_what_an_address_holds_does_not_change_when_other_rows_come() -> None:
    alone = board(make_record()).lines[0]
    machine = alone.machine
    assert alone.hardware_key == f"cpu (2 threads, no cap) \u00b7 {machine}"
    assert alone.workload_key == f"chat ({LARGE_WORK}, {ROUNDS})"
    cap = make_device().model_copy(update={"memory_cap_bytes": 2**30})
    once = changed(make_record(), procedure=make_procedure(rounds=1))
    capped = changed(make_record(), device=cap)
    others = (make_record(workload=SMALL), make_record(device=make_device(threads=1)), once, capped)
    lines = {line.href: line for line in board(make_record(), *others).lines}
    same = lines[alone.href]
    assert (same.hardware_key, same.workload_key) == (alone.hardware_key, alone.workload_key)
    assert (same.hardware, same.workload_choice) != (alone.hardware, alone.workload_choice)
    keys = {(line.hardware_key, line.workload_key) for line in lines.values()}
    assert len(keys) == len(lines)
    assert "cap 1,073,741,824 B" in " ".join(line.hardware_key for line in lines.values())


def test_a_choice_has_one_text_on_all_machines_and_for_all_models() -> None:
    elsewhere = make_record(model=OTHER).model_copy(update={"machine_id": "elsewhere"})
    once = changed(make_record(), procedure=make_procedure(rounds=1))
    lines = board(make_record(), make_record(model=OTHER), once, elsewhere).lines
    choices = choices_of(lines)["workload"]
    assert sorted(choices.values()) == ["chat (1 round)", "chat (8 rounds)"]
    assert {choices[line.workload_key] for line in lines} == {
        line.workload_choice for line in lines
    }
    # Those of one hardware and choice are compared, whatever model they are of.
    sizes = [len(group) for group in groups_of(lines, by_model=False)]
    assert sorted(sizes) == [1, 1, 2]


def test_one_setting_of_each_device_leaves_the_hardware_its_plain_name() -> None:
    engine = make_record(backend="llamacpp")
    gpu = make_record(device=make_device("cuda", threads=8))
    elsewhere = make_record(device=make_device(threads=1))
    elsewhere = elsewhere.model_copy(update={"machine_id": "elsewhere"})
    lines = board(make_record(), engine, gpu, elsewhere).lines
    assert all(line.hardware == f"{line.row.device} \u00b7 {line.machine}" for line in lines)


def test_a_trade_off_never_mixes_two_sizes_of_a_workload() -> None:
    drawn = default_tradeoff(board(make_record(), make_record(workload=SMALL)))
    assert drawn is not None
    assert drawn.workload == "chat (128 in, 32 out)"
    assert len(drawn.plot.marks) == 1


@pytest.mark.browser
def test_the_browser_says_the_same_and_filters_by_names_and_variants(
    tmp_path: Path, browser: Browser
) -> None:
    store = Store(tmp_path / "records", "local")
    for run in (
        make_run(),
        make_run(workload=SMALL),
        make_run(workload="long-prompt"),
        *(make_run(techniques=[knob(n)]) for n in (5, 10)),
    ):
        store.write(run.record, run.traces)
    built = build_site(read_stores([(store.root, "local")]), tmp_path / "site")
    address = (built.folder / "index.html").as_uri()
    plain = browser.new_context(java_script_enabled=False)
    page, static = browser.new_page(), plain.new_page()
    page.goto(address)
    static.goto(address)
    rows = page.locator("#board tbody tr")
    assert rows.all_inner_texts() == static.locator("#board tbody tr").all_inner_texts()
    page.locator("select[name=workload]").select_option("chat")
    assert rows.count() == 4
    page.locator("select[name=technique]").select_option("prompt-lookup")
    assert "prompt-lookup (num_tokens=10)" in page.locator("#board tbody").inner_text()
    page.goto(f"{address}#sort=tpot_s&workload=chat")
    assert chosen(settled(page), "workload") == "chat, all variants"
    assert rows.count() == 4
    assert page.locator("#board .rank").count() == 0
    page.locator("select[name=workload]").select_option("chat (128 in, 32 out)")
    assert rows.count() == 3
    assert page.locator("#board .rank").count() == 3
    shared = browser.new_page()
    shared.goto(page.url)
    shown = settled(shared).locator("#board tbody tr")
    assert shown.all_inner_texts() == rows.all_inner_texts()
    shared.close()
    page.goto(address.replace("index", "pareto"))
    page.locator("select[name=workload]").select_option("chat (64 in, 4 out)")
    assert page.locator("#plot .point").count() == 1
    page.close()
    plain.close()
