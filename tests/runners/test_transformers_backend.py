"""The transformers backend: exact lengths, honest marks, counted bytes, the harness's scores."""

from __future__ import annotations

import dataclasses
import itertools
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from leanboard.metrics.trace import Provenance
from leanboard.results.errors import (
    ArmError,
    ConfigError,
    MissingDependencyError,
    OutOfMemoryError,
    UnsupportedError,
)
from leanboard.runners.backends.base import Device, ModelFiles, Request, Span, in_order
from leanboard.runners.backends.torch_batches import Room
from leanboard.runners.backends.torch_bytes import stored_bytes, weight_bytes
from leanboard.runners.backends.torch_engine import TransformersEngine
from leanboard.runners.backends.torch_loading import (
    TorchTarget,
    load_model,
    load_tokenizer,
    torch_failures,
)
from leanboard.runners.backends.torch_timing import (
    ClientTime,
    CommitTimes,
    Drafts,
    observed_drafts,
)
from leanboard.runners.backends.transformers import TransformersBackend
from leanboard.runners.techniques.cache.static_cache import StaticCache
from leanboard.runners.techniques.decoding.prompt_lookup import PromptLookup
from leanboard.runners.techniques.formats.bf16 import BFloat16
from leanboard.runners.techniques.quantization.gguf import Gguf

CPU = Device(kind="cpu", threads=1, reference_dtype="float32")
TEXT = "the rain in the main in the rain in the main"
PARAMETERS = 264 * 64 + 2 * (64 * 64 * 2 + 64 * 32 * 2 + 3 * 64 * 128 + 2 * 64) + 64


class Ticks:
    """A clock that advances by one at every reading."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        self.now_s += 1.0
        return self.now_s


@pytest.fixture
def engine(tiny_llama: ModelFiles):
    with TransformersBackend().load(tiny_llama, [], CPU) as loaded:
        yield loaded


def ticking(engine: TransformersEngine) -> TransformersEngine:
    return TransformersEngine(engine._target, engine._tokenizer, clock=Ticks())


def test_a_request_gets_exactly_the_tokens_it_asked_for_with_a_time_each(engine):
    (trace,) = engine.generate([Request("a", TEXT, 7, scheduled_s=0.5)])
    assert trace.output_tokens == len(trace.token_s) == 7
    assert trace.prompt_tokens == len(engine.encode(TEXT))
    assert trace.scheduled_s == 0.5
    assert trace.sent_s <= trace.encoded_s <= trace.token_s[0]
    assert all(a < b for a, b in itertools.pairwise(trace.token_s))
    assert (trace.drafted, trace.accepted, trace.target_forwards) == (None, None, None)


def test_marks_come_in_order_of_sending_encoding_and_every_token(engine):
    (trace,) = ticking(engine).generate([Request("a", TEXT, 3)])
    # Between them: 3 calls generate; 4 and 5 see the prompt; each token has its mark in the middle.
    assert (trace.sent_s, trace.encoded_s, trace.token_s) == (1.0, 2.0, (7.0, 10.0, 13.0))
    assert trace.scheduled_s == trace.sent_s


def test_the_time_of_our_own_code_is_counted_up_to_the_last_token(engine):
    (trace,) = ticking(engine).generate([Request("a", TEXT, 3)])
    # To generate 2-3; prompt 4-5; tokens 6-8 and 9-11; of the last one 12-13, where it arrives.
    assert trace.client_s == 1 + 1 + 2 + 2 + 1


def test_a_request_of_a_batch_waits_for_all_of_our_code_until_its_own_last_token(engine):
    requests = [Request("a", TEXT, 1), Request("b", TEXT, 3)]
    short, long = ticking(engine).generate(requests)
    assert (short.client_s, long.client_s) == (1 + 1 + 1, 1 + 1 + 2 + 2 + 1)


def test_noting_a_draft_is_our_own_time_and_drafting_is_not():
    clock = Ticks()

    class Generator:
        def get_candidates(self, input_ids):
            clock.now_s += 100
            return torch.cat([input_ids, input_ids], dim=1), None

    model = torch.nn.Module()
    model._get_candidate_generator = Generator
    client = ClientTime(clock)
    with observed_drafts(model, client) as drafts:
        model._get_candidate_generator().get_candidates(torch.zeros(1, 4))
    assert drafts.drafted == 4
    assert client.total_s == 1.0


def test_the_prompt_is_tokenised_between_sending_and_the_encoded_mark(engine, monkeypatch):
    clock = Ticks()
    timed = TransformersEngine(engine._target, engine._tokenizer, clock=clock)
    seen = []
    encode_batch = timed.encode_batch
    monkeypatch.setattr(
        timed, "encode_batch", lambda texts: (seen.append(clock.now_s), encode_batch(texts))[1]
    )
    timed.generate([Request("a", TEXT, 1)])
    assert seen == [1.0]


def test_greedy_output_is_the_argmax_of_plain_forwards_and_end_of_text_is_ignored(engine):
    model = engine._target.model
    ids = list(engine.encode(TEXT))
    with torch.no_grad():
        for _ in range(12):
            ids.append(int(model(torch.tensor([ids])).logits[0, -1].argmax()))
    expected = tuple(ids[-12:])
    # Whatever stands first in the answer is made the end of text: it must not stop there.
    engine._target.model.config.eos_token_id = expected[0]
    engine._tokenizer.eos_token_id = expected[0]
    (trace,) = engine.generate([Request("a", TEXT, 12)])
    assert trace.output_ids == expected


def test_the_models_own_sampling_settings_do_not_count(tiny_llama: ModelFiles, tmp_path):
    folder = tmp_path / "sampling"
    shutil.copytree(tiny_llama.folder, folder)
    (folder / "generation_config.json").write_text(
        '{"do_sample": true, "temperature": 5.0, "top_k": 3, "repetition_penalty": 9.0,'
        ' "eos_token_id": [0, 1, 2, 3, 4, 5, 6, 7, 8, 9], "min_length": 5}'
    )
    sampling = dataclasses.replace(tiny_llama, folder=folder)
    outputs = []
    for model in (tiny_llama, sampling):
        with TransformersBackend().load(model, [], CPU) as loaded:
            outputs.append(loaded.generate([Request("a", TEXT, 16)])[0].output_ids)
    assert outputs[0] == outputs[1]


def test_a_batch_of_unequal_prompts_gives_what_each_gives_alone(engine):
    requests = [Request("a", TEXT, 4), Request("b", "rain", 6), Request("c", TEXT[:20], 6)]
    together = engine.generate(requests)
    assert [t.prompt_id for t in together] == ["a", "b", "c"]
    assert [t.output_tokens for t in together] == [4, 6, 6]
    assert together[1].token_s == together[2].token_s
    assert together[0].token_s == together[1].token_s[:4]
    for request, trace in zip(requests, together, strict=True):
        (alone,) = engine.generate([request])
        assert trace.output_ids == alone.output_ids
        assert trace.prompt_tokens == alone.prompt_tokens


def test_speculation_counts_its_drafts_and_every_forward_of_the_target(tiny_llama: ModelFiles):
    forwards = []
    with TransformersBackend().load(tiny_llama, [PromptLookup()], CPU) as loaded:
        handle = loaded._target.model.register_forward_hook(lambda *_: forwards.append(1))
        (trace,) = ticking(loaded).generate([Request("a", TEXT * 4, 40)])
        handle.remove()
        assert "_get_candidate_generator" not in vars(loaded._target.model)
    assert trace.target_forwards == len(forwards)
    # Every forward commits what it accepted and one token more; the last one may be cut short.
    assert trace.target_forwards + trace.accepted in (40, 41)
    assert 0 <= trace.accepted <= trace.drafted
    assert trace.drafted > 0
    assert len(set(trace.token_s)) == trace.target_forwards


def test_tokens_that_are_committed_together_share_one_time():
    clock = Ticks()
    times = CommitTimes(clock, ClientTime(clock))
    times.put(torch.zeros(1, 9, dtype=torch.long))
    times.put(torch.tensor([5]))
    times.put(torch.tensor([[6, 7, 8]]))
    times.end()
    # The prompt takes 1-2, the first token 3-5, with its mark at 4, the next three 6-8.
    assert times.token_s == [4.0, 7.0, 7.0, 7.0]
    assert times.client_s == [1 + 1, *[1 + 2 + 1] * 3]


def test_accepted_drafts_are_those_that_stand_in_the_output():
    drafts = Drafts(
        [(2, torch.tensor([[7, 8, 9]])), (5, torch.zeros(1, 0)), (6, torch.tensor([[4]]))]
    )
    assert drafts.drafted == 4
    assert drafts.accepted([1, 2, 7, 8, 3, 5, 4]) == 3
    assert drafts.target_forwards == 3


def test_weight_bytes_are_four_a_parameter_with_the_tied_embedding_once(engine, tiny_llama):
    assert tiny_llama.parameters == PARAMETERS
    quantity = engine.facts()["weight_bytes"]
    assert (quantity.value, quantity.unit) == (4 * PARAMETERS, "B")
    assert quantity.provenance is Provenance.COUNTED


def test_stored_bytes_count_shared_storage_once_and_views_for_what_they_show():
    base = torch.zeros(10, dtype=torch.float32)
    assert stored_bytes([base, base.view(2, 5), base]) == 40
    assert stored_bytes([base[:3], base[3:5]]) == 20
    assert stored_bytes([base, torch.zeros(4, dtype=torch.int8)]) == 44


def test_only_buffers_that_are_saved_count_as_weights():
    module = torch.nn.Linear(2, 3)
    module.register_buffer("table", torch.zeros(100), persistent=False)
    module.register_buffer("scale", torch.zeros(5))
    assert weight_bytes(module) == 4 * (2 * 3 + 3 + 5)


def test_kv_bytes_are_two_times_layers_heads_dims_and_bytes_a_token(engine):
    assert "kv_bytes" not in engine.facts()
    (trace,) = engine.generate([Request("a", TEXT, 5)])
    facts = engine.facts()
    tokens = trace.prompt_tokens + 4  # the last token was never fed
    assert facts["kv_tokens"].value == tokens
    assert facts["kv_bytes"].value == tokens * 2 * 2 * 2 * 16 * 4
    assert facts["kv_bytes"].provenance is Provenance.COUNTED
    engine.generate([Request("a", TEXT, 5), Request("b", TEXT, 5)])
    assert engine.facts()["kv_tokens"].value == 2 * tokens


def test_a_static_cache_does_not_depend_on_longer_requests_before(tiny_llama: ModelFiles):
    with TransformersBackend().load(tiny_llama, [StaticCache()], CPU) as loaded:
        loaded.generate([Request("a", TEXT, 5)])
        alone = loaded.facts()["kv_bytes"].value
        loaded.generate([Request("a", TEXT * 3, 50)])
        loaded.generate([Request("a", TEXT, 5)])
        assert loaded.facts()["kv_bytes"].value == alone


def test_a_static_cache_counts_for_all_that_it_allocated(tiny_llama: ModelFiles):
    with TransformersBackend().load(tiny_llama, [StaticCache(max_cache_len=300)], CPU) as loaded:
        (trace,) = loaded.generate([Request("a", TEXT, 5)])
        facts = loaded.facts()
    counters = 2 * 8  # one length a layer, int64
    assert facts["kv_bytes"].value == 300 * 2 * 2 * 2 * 16 * 4 + counters
    assert facts["kv_tokens"].value == trace.prompt_tokens + 4


def spans_of(engine) -> list[Span]:
    ids = engine.encode(
        "The quick brown fox jumps over the lazy dog, then sleeps in the shade. " * 3
    )
    cuts = [(0, 5, 9), (3, 4, 5), (0, 60, 75), (10, 11, 100), (7, 90, 93), (0, 1, 2)]
    return [Span(ids[a:b], ids[b:c]) for a, b, c in cuts]


def test_log_likelihoods_equal_those_of_lm_evaluation_harness(engine):
    from lm_eval.models.huggingface import HFLM

    model, tokenizer = engine._target.model, engine._tokenizer
    harness = HFLM(pretrained=model, tokenizer=tokenizer, backend="causal", batch_size=4)
    spans = spans_of(engine)
    expected = harness._loglikelihood_tokens(
        [(("", ""), list(span.context), list(span.continuation)) for span in spans],
        disable_tqdm=True,
    )
    scores = in_order(engine.loglikelihood(spans))
    for score, (loglikelihood, greedy) in zip(scores, expected, strict=True):
        assert score.loglikelihood == pytest.approx(loglikelihood, abs=1e-3)
        assert score.is_greedy == greedy
    assert engine.vocabulary.prefix_token_id == harness.prefix_token_id
    assert engine.vocabulary.eot_token_id == harness.eot_token_id
    assert engine.vocabulary.max_length == harness.max_length


def test_log_likelihoods_equal_a_plain_forward_of_each_span(engine):
    for span, score in zip(
        spans_of(engine), in_order(engine.loglikelihood(spans_of(engine))), strict=True
    ):
        ids = [*span.context, *span.continuation]
        with torch.no_grad():
            table = engine._target.model(torch.tensor([ids])).logits[0].log_softmax(-1)
        expected = sum(float(table[i - 1, ids[i]]) for i in range(len(span.context), len(ids)))
        assert score.loglikelihood == pytest.approx(expected, abs=1e-3)


def test_scores_do_not_depend_on_how_the_spans_are_batched(engine, monkeypatch):
    spans = spans_of(engine)
    together = in_order(engine.loglikelihood(spans))
    monkeypatch.setattr(engine._scorer._runner, "room", Room(1, 1))
    for one, other in zip(together, in_order(engine.loglikelihood(spans)), strict=True):
        assert one.loglikelihood == pytest.approx(other.loglikelihood, abs=1e-4)


def test_what_the_model_generated_is_greedy_and_something_else_is_not(engine):
    (trace,) = engine.generate([Request("a", TEXT, 6)])
    prompt, output = engine.encode(TEXT), trace.output_ids
    other = (*output[:-1], (output[-1] + 1) % engine.vocabulary.size)
    greedy, changed = in_order(engine.loglikelihood([Span(prompt, output), Span(prompt, other)]))
    assert (greedy.is_greedy, changed.is_greedy) == (True, False)
    assert greedy.loglikelihood > changed.loglikelihood


def test_a_span_longer_than_the_window_is_an_error_and_never_cut(engine):
    fits = Span((5,) * 500, (6,) * 13)
    assert len(in_order(engine.loglikelihood([fits]))) == 1
    with pytest.raises(ArmError, match="513 tokens does not fit the model's window of 512"):
        in_order(engine.loglikelihood([fits, Span((5,) * 500, (6,) * 14)]))


def test_a_request_that_does_not_fit_the_window_is_an_error(engine):
    with pytest.raises(ArmError, match="do not fit the model's window of 512"):
        engine.generate([Request("a", TEXT, 512)])
    with pytest.raises(ArmError, match="prompt is empty"):
        engine.generate([Request("a", "", 2)])


def test_text_is_encoded_with_its_special_tokens_and_none_are_added(engine):
    ids = engine.encode("<s>the é")
    assert ids[0] == 1
    assert 1 not in ids[1:]
    assert 2 not in ids
    assert engine.decode(ids) == "<s>the é"
    assert engine.encode_batch(["a", "", "the"]) == [engine.encode(t) for t in ("a", "", "the")]
    assert engine.encode_batch([]) == []


def test_a_technique_of_another_backend_is_unsupported_and_both_are_named(tiny_llama: ModelFiles):
    backend = TransformersBackend()
    with (
        pytest.raises(UnsupportedError, match=r"Gguf .* transformers; it runs on llamacpp"),
        backend.load(tiny_llama, [Gguf(type="q8_0")], CPU),
    ):
        pytest.fail("it loaded")


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_speculation_on_a_static_cache_is_unsupported_in_the_librarys_words(tiny_llama, order):
    pair = [StaticCache(), PromptLookup()]
    with (
        pytest.raises(UnsupportedError, match="not supported with Static cache"),
        TransformersBackend().load(tiny_llama, [pair[i] for i in order], CPU),
    ):
        pytest.fail("it loaded")


def test_speculation_in_batches_is_unsupported_in_the_librarys_words(tiny_llama: ModelFiles):
    with TransformersBackend().load(tiny_llama, [PromptLookup()], CPU) as loaded:
        with pytest.raises(UnsupportedError) as ours:
            loaded.generate([Request("a", TEXT, 2), Request("b", TEXT, 2)])
        ids = torch.tensor([[5, 6, 7]] * 2)
        with pytest.raises(ValueError, match="batch_size = 1") as theirs:
            loaded._target.model.generate(
                ids,
                attention_mask=torch.ones_like(ids),
                max_new_tokens=2,
                **loaded._target.generation,
            )
    assert str(theirs.value) in str(ours.value)


def test_a_folder_of_pickles_is_refused_with_the_next_step(tiny_llama: ModelFiles, tmp_path):
    folder = tmp_path / "pickled"
    shutil.copytree(tiny_llama.folder, folder)
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    pickled = dataclasses.replace(tiny_llama, folder=folder)
    with (
        pytest.raises(ConfigError, match=r"no safetensors.*never loaded"),
        TransformersBackend().load(pickled, [], CPU),
    ):
        pytest.fail("it loaded")


@pytest.mark.parametrize("name", ["model.safetensors", "config.json", "tokenizer.json"])
def test_a_broken_file_is_a_clear_error_without_the_machines_path(tiny_llama, tmp_path, name):
    folder = tmp_path / "broken"
    shutil.copytree(tiny_llama.folder, folder)
    (folder / name).write_bytes(b"\x00\x01 not what it says")
    broken = dataclasses.replace(tiny_llama, folder=folder)
    with (
        pytest.raises(ConfigError, match="tiny-llama cannot be loaded") as caught,
        TransformersBackend().load(broken, [], CPU),
    ):
        pytest.fail("it loaded")
    assert str(tmp_path) not in str(caught.value)


def test_unknown_settings_name_what_is_allowed(tiny_llama: ModelFiles):
    with pytest.raises(ConfigError, match="sdpa, eager"):
        TransformersBackend(attention="magic")
    odd = dataclasses.replace(CPU, reference_dtype="F16")
    with (
        pytest.raises(ConfigError, match="float32, bfloat16, float16"),
        TransformersBackend().load(tiny_llama, [], odd),
    ):
        pytest.fail("it loaded")


def test_the_reference_dtype_is_that_of_the_device():
    cuda = Device(kind="cuda", threads=1, reference_dtype="bfloat16")
    backend = TransformersBackend()
    assert (backend.reference_dtype(CPU), backend.reference_dtype(cuda)) == ("float32", "bfloat16")


def test_threads_are_those_of_the_device_and_put_back(tiny_llama: ModelFiles):
    before = torch.get_num_threads()
    one = dataclasses.replace(CPU, threads=before + 1)
    with TransformersBackend().load(tiny_llama, [], one):
        assert torch.get_num_threads() == before + 1
    assert torch.get_num_threads() == before


def test_loading_writes_nothing_to_the_terminal(tiny_llama: ModelFiles, capfd, caplog):
    with TransformersBackend().load(tiny_llama, [BFloat16()], CPU) as loaded:
        loaded.generate([Request("a", TEXT, 2), Request("b", "rain", 2)])
    assert capfd.readouterr() == ("", "")
    assert caplog.records == []


@pytest.mark.parametrize(
    ("raised", "expected"),
    [
        (MemoryError(), OutOfMemoryError),
        (RuntimeError("CUDA out of memory. Tried to allocate 2 GiB"), OutOfMemoryError),
        (
            RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory"),
            OutOfMemoryError,
        ),
        (
            RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate`"),
            OutOfMemoryError,
        ),
        (RuntimeError("shape mismatch"), ArmError),
    ],
)
def test_failures_of_torch_become_ours_with_memory_apart(raised, expected):
    with pytest.raises(ArmError) as caught, torch_failures("testing"):
        raise raised
    assert type(caught.value) is expected
    assert "testing" in str(caught.value)


def test_memory_that_torch_cannot_have_is_out_of_memory():
    with pytest.raises(OutOfMemoryError), torch_failures("asking for too much"):
        torch.empty(2**60, dtype=torch.int8)


def test_a_target_restores_only_what_it_is_asked_to(tiny_llama: ModelFiles):
    def read():
        return load_model(tiny_llama, dtype="float32", device="cpu", attention="sdpa")

    target = TorchTarget(model=read(), reload=read)
    names = ["model.layers.0.mlp.up_proj", "lm_head"]
    kept = target.model.model.layers[1].mlp.up_proj.weight
    original = target.model.model.layers[0].mlp.up_proj.weight.clone()
    with torch.no_grad():
        target.model.model.layers[0].mlp.up_proj.weight.zero_()
        target.model.lm_head.weight = torch.nn.Parameter(torch.zeros(264, 64))
    target.restore(names)
    assert torch.equal(target.model.model.layers[0].mlp.up_proj.weight, original)
    assert target.model.lm_head.weight is target.model.model.embed_tokens.weight
    assert target.model.model.layers[1].mlp.up_proj.weight is kept
    assert load_tokenizer(tiny_llama).bos_token_id == 1


@pytest.mark.parametrize("adds", [False, True])
def test_the_vocabulary_says_whether_every_text_begins_with_a_token(
    tiny_llama: ModelFiles, tmp_path: Path, adds: bool
) -> None:
    from tokenizers import Tokenizer, processors

    folder = tmp_path / "model"
    shutil.copytree(tiny_llama.folder, folder)
    if adds:
        tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        first = ("<s>", tokenizer.token_to_id("<s>"))
        tokenizer.post_processor = processors.TemplateProcessing(
            single="<s> $A", special_tokens=[first]
        )
        tokenizer.save(str(folder / "tokenizer.json"))
    model = dataclasses.replace(tiny_llama, folder=folder)
    with TransformersBackend().load(model, [], CPU) as engine:
        assert engine.vocabulary.adds_bos is adds
        assert engine.encode("a")[0] != engine.vocabulary.prefix_token_id


def test_importing_the_libraries_brings_what_a_load_needs_and_says_nothing():
    script = (
        "import sys; from leanboard.runners.backends.transformers import TransformersBackend\n"
        "assert 'torch' not in sys.modules\n"
        "TransformersBackend().import_libraries()\n"
        "wanted = ['torch', 'transformers.modeling_utils', 'transformers.generation.utils',"
        " 'torchao.quantization']\n"
        "missing = [name for name in wanted if name not in sys.modules]\n"
        "sys.exit(str(missing) if missing else 0)"
    )
    command = [sys.executable, "-c", script]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_torch_without_transformers_is_a_missing_dependency_with_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "transformers.utils", None)
    with pytest.raises(MissingDependencyError, match=r"pip install 'leanboard\[transformers\]'"):
        TransformersBackend().import_libraries()
