"""Explanations: of the deployed triples, on exact offsets, with weights that add up."""

from __future__ import annotations

import json
from collections.abc import Iterator
from html import unescape
from html.parser import HTMLParser

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from emlb.explaining.attention import RelationLook
from emlb.explaining.explain import explain_note
from emlb.explaining.listing import plain, render_listing
from emlb.explaining.page import render_page
from emlb.explaining.records import Explained, Explanation, Weights
from emlb.explaining.torch_attention import TorchAttention
from emlb.model import EmlbConfig, EmlbModel
from emlb.model.pretrained import TrainedModel, make_pipeline
from emlb.model.relation import RelationHead
from emlb_runtime.errors import ArtefactError, ConfigError
from emlb_runtime.inference.backend import Encoded, Floats, Ints
from emlb_runtime.records import Note
from tests.tiny import TinyRun, tiny_notes

NOTES = tiny_notes()
MARKUP = "<script>alert('x')</script> & \"quoted\""


class Explainer:
    """The trained tiny model, ready to explain."""

    def __init__(self, trained: TrainedModel) -> None:
        self.trained = trained
        self.pipeline = trained.pipeline(batch=1)
        self.attention = TorchAttention(trained.model)

    def __call__(self, text: str, *, number: int | None = None) -> Explanation:
        return explain_note(
            Note("note.txt", text),
            pipeline=self.pipeline,
            attention=self.attention,
            number=number,
        )


@pytest.fixture(scope="module")
def explainer(tiny_run: TinyRun) -> Explainer:
    return Explainer(TrainedModel.load(tiny_run.model))


def eager_triples(model: EmlbModel) -> None:
    """Make every pair that the signatures allow a triple."""
    for task in model.config.task_list:
        relation = model.head(task.name).relation
        with torch.no_grad():
            relation.output.weight.zero_()
            relation.output.bias.fill_(3.0)


def all_weights(explained: Explained) -> Iterator[Weights]:
    for side in (explained.head_side, explained.tail_side):
        assert side is not None
        yield side.mean
        yield from side.heads
    assert explained.encoder is not None
    yield explained.encoder


def scored_pairs(trained: TrainedModel, text: str) -> dict[bytes, set[tuple[int, ...]]]:
    """Per window that the pipeline runs, by its piece ids: the pairs it has scored there, as
    the pieces of head and tail."""
    pipeline = trained.pipeline(batch=1)
    encoded: dict[bytes, bytes] = {}
    scored: dict[bytes, set[tuple[int, ...]]] = {}
    encode, relate = pipeline.backend.encode, pipeline.backend.relate

    def record_encode(ids: Ints, mask: Ints) -> Encoded:
        output = encode(ids, mask)
        encoded[output.hidden[0].tobytes()] = ids[0].tobytes()
        return output

    def record_relate(task: str, hidden: Floats, mask: Ints, spans: Ints, pairs: Ints) -> Floats:
        window = scored.setdefault(encoded[hidden[0].tobytes()], set())
        window |= {tuple(spans[0, pair, :2].ravel().tolist()) for pair in pairs[0]}
        return relate(task, hidden, mask, spans, pairs)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pipeline.backend, "encode", record_encode)
        patch.setattr(pipeline.backend, "relate", record_relate)
        pipeline.run([Note("note.txt", text)])
    return scored


def joined(times: int = 3) -> str:
    return "\r\n".join(note.note.text for note in NOTES * times)


def check(explanation: Explanation) -> None:
    """What holds of every explanation."""
    text = explanation.document.note.text
    for explained in explanation.triples:
        words = explained.words
        assert (words[:, 0] < words[:, 1]).all() and (words[1:, 0] >= words[:-1, 1]).all()
        start, end = explained.extent
        for entity in (explained.triple.head, explained.triple.tail):
            assert start <= entity.start < entity.end <= end
            assert entity.start in words[:, 0] and entity.end in words[:, 1]
        for first, last in words.tolist():
            assert text[first:last] and not any(letter.isspace() for letter in text[first:last])
        for weights in all_weights(explained):
            assert weights.words.shape == (len(words),)
            assert weights.words.min() >= 0 and weights.special >= 0
            assert weights.words.sum() + weights.special == pytest.approx(1.0, abs=1e-5)


def test_the_triples_are_the_deployed_ones(explainer: Explainer) -> None:
    batched = explainer.trained.pipeline(batch=8)
    n_triples = 0
    for document in NOTES:
        explanation = explainer(document.note.text)
        check(explanation)
        (found,) = batched.run([document.note])
        expected = list(found.triples())
        assert [each.number for each in explanation.triples] == list(range(1, len(expected) + 1))
        for explained, triple in zip(explanation.triples, expected, strict=True):
            mine = explained.triple
            assert (mine.head.id, mine.relation.type, mine.tail.id) == (
                triple.head.id,
                triple.relation.type,
                triple.tail.id,
            )
            assert mine.relation.score == pytest.approx(triple.relation.score, abs=1e-5)
        n_triples += len(expected)
    assert n_triples >= 8


def test_each_triple_has_the_window_that_decided_it(tiny_run: TinyRun) -> None:
    trained = TrainedModel.load(tiny_run.model)
    eager_triples(trained.model)
    trained.model.config.windows = {"max_pieces": 64, "overlap": 21}
    explainer = Explainer(trained)
    drugs = ("Amoxicillin", "ibuprofen", "lisinopril", "warfarin", "aspirin")
    harms = ("a rash", "dry cough", "insomnia", "fever")
    # No window is like another: they are told apart by their pieces.
    text = " ".join(f"{harms[n * n // 5 % 4]} on {drugs[n * n % 5]} {n}," for n in range(90))
    explanation = explainer(text)
    check(explanation)
    scored = scored_pairs(trained, text)
    state = explainer.pipeline.prepare(explanation.document.note)
    words = np.stack([state.tokens.start, state.tokens.end], axis=1)
    twice: set[str] = set()
    for explained in explanation.triples:
        ends = [
            end for mention in (explained.triple.head, explained.triple.tail)
            for end in (mention.start, mention.end)
        ]  # fmt: skip
        holding = [
            number
            for number, window in enumerate(state.windows, start=1)
            if words[window.start, 0] <= min(ends) and max(ends) <= words[window.end - 1, 1]
        ]
        if len(holding) > 1:
            twice.add("first" if explained.window == holding[0] else "second")
        for number in holding:
            window = state.windows[number - 1]
            ids, pieces = explainer.pipeline.window_pieces(state, number - 1)
            own = words[window.start : window.end]
            starts, stops = own[:, 0].tolist(), own[:, 1].tolist()
            pair = (
                int(pieces[starts.index(ends[0])]),
                int(pieces[stops.index(ends[1]) + 1]),
                int(pieces[starts.index(ends[2])]),
                int(pieces[stops.index(ends[3]) + 1]),
            )
            assert (pair in scored[ids.tobytes()]) == (number == explained.window)
    assert twice == {"first", "second"}


@settings(max_examples=15)
@given(order=st.lists(st.sampled_from(NOTES), min_size=1, max_size=8), gap=st.sampled_from(" \n"))
def test_any_note_scores_as_the_pipeline_scored_it(
    explainer: Explainer, order: list[object], gap: str
) -> None:
    """A second look that scored otherwise would raise."""
    texts = [note.note.text for note in order]  # type: ignore[attr-defined]
    check(explainer(gap.join(texts)))


def test_one_triple_alone_is_as_among_all(explainer: Explainer) -> None:
    text = joined(1)
    every = explainer(text)
    assert len(every.triples) > 3
    (alone,) = explainer(text, number=3).triples
    assert alone.number == 3
    np.testing.assert_allclose(
        [w.special for w in all_weights(alone)],
        [w.special for w in all_weights(every.triples[2])],
        atol=1e-5,
    )
    for number in (0, len(every.triples) + 1):
        with pytest.raises(ConfigError, match=f"triple {number} was asked for, but the note has"):
            explainer(text, number=number)


def test_explanations_are_deterministic(explainer: Explainer) -> None:
    text = joined(1)
    first, second = (json.dumps(explainer(text).to_json()) for _ in range(2))
    assert first == second


def test_explaining_leaves_the_model_as_it_was(tiny_run: TinyRun) -> None:
    trained = TrainedModel.load(tiny_run.model)
    before = {name: value.clone() for name, value in trained.model.state_dict().items()}
    Explainer(trained)(NOTES[0].note.text)
    after = trained.model.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert trained.model.encoder.config._attn_implementation != "eager"


def test_a_side_that_looks_at_its_mention_is_shown_there(tiny_run: TinyRun) -> None:
    """Weights land on the right words and on the right side."""
    trained = TrainedModel.load(tiny_run.model)
    eager_triples(trained.model)
    (task,) = trained.model.config.task_list
    relation = trained.model.head(task.name).relation
    assert isinstance(relation, RelationHead)
    with torch.no_grad():
        relation.key.weight.zero_()
        relation.place.weight.zero_()
        relation.place.weight[: relation.n_heads, 0] = 50.0  # inside the head mention
        relation.place.weight[relation.n_heads :, 1] = 50.0  # inside the tail mention
    explanation = Explainer(trained)(joined(1))
    assert len(explanation.triples) > 10
    for explained in explanation.triples:
        for side, entity in (
            (explained.head_side, explained.triple.head),
            (explained.tail_side, explained.triple.tail),
        ):
            assert side is not None
            inside = (explained.words[:, 0] >= entity.start) & (explained.words[:, 1] <= entity.end)
            assert side.mean.words[inside].sum() == pytest.approx(1.0, abs=1e-5)


def test_the_encoder_reads_from_the_head_mention(explainer: Explainer) -> None:
    (note,) = (each.note for each in NOTES if each.note.name == "case")
    (explained,) = explainer(note.text).triples
    state = explainer.pipeline.prepare(note)
    ids, pieces = explainer.pipeline.window_pieces(state, 0)
    look = explainer.attention.encode(ids)
    assert look is not None and explained.encoder is not None
    np.testing.assert_allclose(look.weights.sum(axis=1), 1.0, atol=1e-5)
    deployed = explainer.pipeline.backend.encode(ids[None], np.ones_like(ids)[None])
    np.testing.assert_allclose(look.hidden, deployed.hidden[0], atol=1e-5)
    words = [
        row
        for row, (start, end) in enumerate(explained.words.tolist())
        if explained.triple.head.start <= start and end <= explained.triple.head.end
    ]
    rows = look.weights[pieces[words[0]] : pieces[words[-1] + 1]].mean(axis=0)
    assert len(words) == 2  # "a rash"
    for word, weight in enumerate(explained.encoder.words):
        assert weight == pytest.approx(rows[pieces[word] : pieces[word + 1]].sum(), abs=1e-6)


def test_pieces_are_summed_to_words() -> None:
    weights = Weights.of_pieces(
        np.array([0.1, 0.2, 0.05, 0.25, 0.3, 0.1], dtype=np.float32), np.array([1, 3, 4, 5])
    )
    np.testing.assert_allclose(weights.words, [0.25, 0.25, 0.3], atol=1e-7)
    assert weights.special == pytest.approx(0.2)


def test_a_second_look_that_scores_otherwise_explains_nothing(explainer: Explainer) -> None:
    class Other(TorchAttention):
        def relate(self, task: str, hidden: Floats, spans: Ints, pairs: Ints) -> RelationLook:
            look = super().relate(task, hidden, spans, pairs)
            return look._replace(logits=look.logits - 1.0)

    with pytest.raises(ArtefactError, match=r"triple 1 scores 0\.\d{4}, but 0\.\d{4} where"):
        explain_note(
            NOTES[0].note,
            pipeline=explainer.pipeline,
            attention=Other(explainer.trained.model),
        )


def test_a_linear_head_has_no_attention(explainer: Explainer) -> None:
    trained = explainer.trained.model
    config = EmlbConfig.from_dict({**trained.config.to_dict(), "relation_head": "linear"})
    model = EmlbModel(config).eval()  # type: ignore[no-untyped-call]
    learned = {
        name: value for name, value in trained.state_dict().items() if ".relation." not in name
    }
    model.load_state_dict(learned, strict=False)
    eager_triples(model)
    explanation = explain_note(
        NOTES[5].note,
        pipeline=make_pipeline(model, explainer.trained.tokenizer, batch=1),
        attention=TorchAttention(model),
    )
    assert explanation.triples
    for explained in explanation.triples:
        assert explained.head_side is None and explained.tail_side is None
        assert explained.encoder is not None
    (sentence,) = explanation.missing
    assert "linear" in sentence
    for shown in (render_listing(explanation), unescape(render_page(explanation))):
        assert sentence in shown and "head side" not in shown
    assert explanation.to_json()["triples"][0]["head_side"] is None


def test_json_holds_everything(explainer: Explainer) -> None:
    text = joined(1)
    explanation = explainer(text)
    value = json.loads(json.dumps(explanation.to_json()))
    assert value["note"] == "note.txt" and value["missing"] == []
    assert value["found"] == len(value["triples"]) == len(explanation.triples)
    for triple in value["triples"]:
        window = triple["window"]
        for mention in (triple["head"], triple["tail"]):
            assert text[mention["start"] : mention["end"]] == mention["text"]
        for side in (triple["head_side"], triple["tail_side"], triple["encoder"]):
            assert side["words"][0][0] == window["start"]
            assert side["words"][-1][1] == window["end"]
            total = sum(weight for _, _, weight in side["words"]) + side["special_tokens"]
            assert total == pytest.approx(1.0, abs=1e-4)
        heads = triple["head_side"]["attention_heads"]
        assert len(heads) == 2
        mean = np.mean([head["weights"] for head in heads], axis=0)
        np.testing.assert_allclose(mean, [w for *_, w in triple["head_side"]["words"]], atol=1e-5)


class PageReader(HTMLParser):
    """The passages of a page; fails on tags that do not nest."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.seen: set[str] = set()
        self.passages: list[str] = []
        self._in_passage = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.add(tag)
        if tag == "meta":
            return
        self.open.append(tag)
        if dict(attrs).get("class") == "window":
            self.passages.append("")
            self._in_passage = True

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag
        if tag == "p":
            self._in_passage = False

    def handle_data(self, data: str) -> None:
        if self._in_passage:
            self.passages[-1] += data


def test_the_page_escapes_the_note_and_shows_it_whole(explainer: Explainer) -> None:
    text = f"{MARKUP}\n{NOTES[0].note.text} {MARKUP}\x00 \N{GRINNING FACE}"
    explanation = explainer(text)
    assert explanation.triples
    page = render_page(explanation)
    assert "<script" not in page and "&lt;" in page and "&quot;" in page
    reader = PageReader()
    reader.feed(page)
    assert reader.open == []
    assert not reader.seen & {"script", "link", "img", "iframe"}
    assert "http" not in page.replace("http-equiv", "")
    extents = [explained.extent for explained in explanation.triples for _ in range(3)]
    assert reader.passages == [text[start:end].replace("\0", "␀") for start, end in extents]
    assert 'class="head"' in page and 'class="tail"' in page and "head mention" in page


def test_a_name_is_escaped_too(explainer: Explainer) -> None:
    explanation = explain_note(
        Note("<b>.txt", NOTES[0].note.text),
        pipeline=explainer.pipeline,
        attention=explainer.attention,
    )
    page = render_page(explanation)
    assert "<b>" not in page and "&lt;b&gt;.txt" in page


def test_the_listing_names_the_heaviest_words(explainer: Explainer) -> None:
    explanation = explainer(NOTES[0].note.text)
    (explained,) = explanation.triples
    listing = render_listing(explanation, top=2)
    first, _, heading, facts, *sides = listing.splitlines()
    assert first.startswith("note.txt: 1 triple, 2 entities, 1 window, torch:cpu fp32")
    assert heading == "1. a rash [Disorder 19-25] --ADE-Drug--> Amoxicillin [Drug 0-11]"
    assert facts.startswith("   score 0.") and "window 1 (characters 0-" in facts
    assert [side.split(":")[0].strip() for side in sides] == ["head side", "tail side", "encoder"]
    for side, (_, _, weights) in zip(sides, explained.views(), strict=True):
        assert f" {weights.words.max():.3f}, " in side
        assert side.endswith(f"; special {weights.special:.3f}")
        assert side.count(", ") == 1


@pytest.mark.parametrize("text", ["", " \n", "No known allergies."])
def test_no_triples_are_said_to_be_none(explainer: Explainer, text: str) -> None:
    explanation = explainer(text)
    assert explanation.triples == ()
    assert "no triples" in render_listing(explanation)
    assert "no triples" in render_page(explanation)
    assert explanation.to_json()["triples"] == []
    with pytest.raises(ConfigError, match="triple 1 was asked for, but the note has 0"):
        explainer(text, number=1)


@given(st.text())
def test_what_a_terminal_obeys_is_left_out(text: str) -> None:
    assert plain(text + "\x1b[2J\r\n").isprintable()
