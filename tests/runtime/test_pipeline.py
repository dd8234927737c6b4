"""The pipeline on a made-up network that knows a few words by heart."""

from __future__ import annotations

import re
import threading
import time
import weakref
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers

from emlb_runtime import pipeline as pipeline_module
from emlb_runtime.decoding.crf import Crf
from emlb_runtime.inference.backend import Backend, Encoded, Floats, Ints
from emlb_runtime.pipeline import SEGMENT, Head, Pipeline, align
from emlb_runtime.records import Document, Entity, Note
from emlb_runtime.schema.task import Task
from emlb_runtime.text.layout import read_layout
from emlb_runtime.text.special_tokens import SpecialTokens
from emlb_runtime.text.tokens import tokenise
from emlb_runtime.text.windows import WindowConfig, cut_windows

VOCABULARY = (
    *("[PAD]", "[UNK]", "[CLS]", "[SEP]", ".", "aspirin", "amoxi", "##cillin", "placebo"),
    *("chest", "rash", "pain", "given", "and", "##x"),
)
ID = {piece: index for index, piece in enumerate(VOCABULARY)}
SPECIAL = SpecialTokens(cls=ID["[CLS]"], sep=ID["[SEP]"], pad=ID["[PAD]"])
TASK = Task(
    "clinical",
    ("Drug", "Disorder"),
    ("causes", "before"),
    (("causes", "Drug", "Disorder"), ("before", "Drug", "Drug")),
)
SECOND = Task("second", ("Sign",))
WINDOWS = WindowConfig(max_pieces=50, overlap=16)
DRUG, DISORDER, INSIDE = 1, 3, 4
LABELS = {"aspirin": DRUG, "amoxi": DRUG, "chest": DISORDER, "rash": DISORDER, "pain": INSIDE}
MENTION = re.compile(r"(?P<Drug>aspirin|amoxicillin)|(?P<Disorder>rash|chest(\s+pain)?)", re.I)


class WordBook:
    """A network that judges each piece by itself, wherever it stands.

    It refuses input that a real one would misread, and counts what is still held of its
    hidden states.
    """

    provider = "WordBook"
    precision = "fp32"

    def __init__(self) -> None:
        self.windows = self.batches = self.held = self.most_held = 0
        self._lock = threading.Lock()
        self._emissions = np.full((len(VOCABULARY), TASK.scheme.n_labels), -9.0, dtype=np.float32)
        self._emissions[:, 0] = 0.0
        for piece, label in LABELS.items():
            self._emissions[ID[piece], label] = 6.0
        self._emissions[ID["placebo"], DRUG] = 0.5
        self._emissions[ID["##cillin"], DISORDER] = 99.0  # a word is judged by its first piece

    def encode(self, input_ids: Ints, attention_mask: Ints) -> Encoded:
        lengths = attention_mask.sum(axis=1)
        for ids, mask, length in zip(input_ids, attention_mask, lengths, strict=True):
            assert ids[0] == SPECIAL.cls and ids[length - 1] == SPECIAL.sep
            assert mask[:length].all() and (ids[length:] == SPECIAL.pad).all()
            assert not np.isin(ids[1 : length - 1], [SPECIAL.cls, SPECIAL.sep, SPECIAL.pad]).any()
        assert lengths.max() == input_ids.shape[1] <= WINDOWS.max_pieces
        hidden = np.repeat(input_ids[:, :, None], 2, axis=2).astype(np.float32)
        with self._lock:
            self.batches += 1
            self.windows += len(input_ids)
            self.held += len(input_ids)
            self.most_held = max(self.most_held, self.held)
        weakref.finalize(hidden, self._let_go, len(input_ids))
        emissions = self._emissions[input_ids]
        emissions[attention_mask == 0] = 99.0
        signs = np.zeros((*input_ids.shape, 3), dtype=np.float32)
        signs[..., 0] = 3.0
        signs[input_ids == ID["given"], 1] = 9.0
        return Encoded(hidden, {TASK.name: emissions, SECOND.name: signs})

    def _let_go(self, windows: int) -> None:
        with self._lock:
            self.held -= windows

    def relate(
        self, task: str, hidden: Floats, attention_mask: Ints, spans: Ints, pairs: Ints
    ) -> Floats:
        assert task == TASK.name
        assert hidden.shape[:2] == attention_mask.shape == (1, attention_mask.sum())
        (own_spans,), (own_pairs,) = spans, pairs
        heads = [VOCABULARY[int(hidden[0, first, 0])] for first, _, _ in own_spans]
        for name, (first, end, type) in zip(heads, own_spans, strict=True):
            assert LABELS.get(name, DRUG) == 1 + 2 * type
            assert 0 < first < end < attention_mask.sum()
            assert VOCABULARY[int(hidden[0, end - 1, 0])] in (name, "##cillin", "pain", "##x")
        return np.array([[logits(heads[head], heads[tail]) for head, tail in own_pairs]])

    def describe(self, task: str, hidden: Floats, attention_mask: Ints, spans: Ints) -> Floats:
        raise AssertionError(f"task {task} has no attributes")


def logits(head: str, tail: str) -> list[float]:
    return [3.0 if (ID[head] + ID[tail]) % 2 else -3.0, 2.0 if head < tail else -2.0]


def make_tokenizer() -> Tokenizer:
    tokenizer = Tokenizer(models.WordPiece(ID, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    return tokenizer


TOKENIZER = make_tokenizer()


def make_head(task: Task) -> Head:
    n = task.scheme.n_labels
    return Head(task, Crf.constrained(task.scheme, np.zeros(n), np.zeros(n), np.zeros((n, n))))


def make_pipeline(
    *,
    batch: int = 1,
    min_score: float = 0.0,
    tasks: Sequence[Task] = (TASK,),
    backend: Backend | None = None,
) -> Pipeline:
    heads = [make_head(task) for task in tasks]
    return Pipeline(
        backend or WordBook(),
        TOKENIZER,
        SPECIAL,
        heads,
        windows=WINDOWS,
        min_score=min_score,
        batch=batch,
    )


def extract(text: str, pipeline: Pipeline | None = None) -> Document:
    (document,) = (pipeline or make_pipeline()).run([Note("n", text)])
    return document


def quotes(document: Document) -> list[tuple[str, str]]:
    return [(entity.type, entity.text) for entity in document.entities]


def expected_entities(text: str) -> list[tuple[str, int, int]]:
    """Every mention of the two types; a pain that the layout parts from its chest is none."""
    tokens = tokenise(TOKENIZER, text)
    layout = read_layout(text, tokens.start)
    found = []
    for match in MENTION.finditer(text):
        start, end = match.span()
        words = align(tokens, start, end)
        assert words is not None
        if layout.apart[words[0] + 1 : words[1]].any():
            end = start + len("chest")
        found.append((match.lastgroup or "", start, end))
    return found


def expected_relations(text: str) -> set[tuple[str, int, int]]:
    """(type, start of head, start of tail) of the pairs that some window holds."""
    tokens = tokenise(TOKENIZER, text)
    windows = cut_windows(tokens, WINDOWS)
    where = []
    for type, begin, stop in expected_entities(text):
        words = align(tokens, begin, stop)
        assert words is not None
        quote = text[begin:stop]
        where.append((type, begin, words, "amoxi" if quote[1] in "mM" else quote.split()[0]))
    found = set()
    for head, head_start, head_words, head_piece in where:
        for tail, tail_start, tail_words, tail_piece in where:
            start = min(head_words[0], tail_words[0])
            end = max(head_words[1], tail_words[1])
            if head_start == tail_start or all(
                window.context(start, end) < 0 for window in windows
            ):
                continue
            for relation, logit in zip(
                TASK.relation_types, logits(head_piece.lower(), tail_piece.lower()), strict=True
            ):
                if logit > 0 and (relation, head, tail) in TASK.signatures:
                    found.add((relation, head_start, tail_start))
    return found


def found_relations(document: Document) -> list[tuple[str, int, int]]:
    return [(t.relation.type, t.head.start, t.tail.start) for t in document.triples()]


PHRASES = ["aspirin", "Amoxicillin", "chest pain", "chest\r\n pain", "chest", "RASH", "placebo"]
PHRASES += ["given", "and", "xx", "été", "😀", "痛み", "\x00and", "and and and and and and"] * 2
SEPARATORS = [" ", "  ", "\r\n", " . ", ". ", "\t", "\u00a0", " \ufeff"]


@st.composite
def texts(draw: st.DrawFn) -> str:
    """Up to 300 phrases, by a seed: hypothesis' own lists rarely fill a second window."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    n = draw(st.integers(0, 300))
    parts = zip(rng.choice(PHRASES, n).tolist(), rng.choice(SEPARATORS, n).tolist(), strict=True)
    return "".join(phrase + separator for phrase, separator in parts)


@given(texts())
@settings(deadline=None, max_examples=100)
def test_entities_and_relations_of_any_note(text: str) -> None:
    document = extract(text, make_pipeline(min_score=0.7))
    for entity in document.entities:
        assert entity.text == text[entity.start : entity.end]
        assert not entity.fragments
        assert 0.7 < entity.score <= 1.0
        assert {type(entity.start), type(entity.end), type(entity.score)} == {int, float}
    assert [(e.type, e.start, e.end) for e in document.entities] == expected_entities(text)
    found = found_relations(document)
    assert len(found) == len(set(found))
    assert set(found) == expected_relations(text)
    assert document.status is not None
    assert document.status.windows == len(cut_windows(tokenise(TOKENIZER, text), WINDOWS))


@given(st.lists(texts(), max_size=4), st.sampled_from([2, 8, 200]))
@settings(deadline=None, max_examples=40)
def test_neighbours_batches_and_workers_change_nothing(bodies: list[str], batch: int) -> None:
    """To the last bit of every score."""
    notes = [Note(f"n{index}", text) for index, text in enumerate(bodies)]
    alone = [make_pipeline().run([note])[0] for note in notes]
    assert make_pipeline().run(notes) == alone
    assert make_pipeline(batch=batch).run(notes) == alone
    assert make_pipeline(batch=batch).run(notes[::-1]) == alone[::-1]
    with ThreadPoolExecutor(2) as executor:
        assert make_pipeline(batch=batch).run(notes, executor=executor) == alone


def test_a_note_by_hand() -> None:
    document = extract("Given ASPIRIN\r\nand placebo: chest\n pain. pain 😀 amoxicillinx.")
    assert quotes(document) == [
        ("Drug", "ASPIRIN"),
        ("Drug", "placebo"),
        ("Disorder", "chest\n pain"),
        ("Drug", "amoxicillinx"),
    ]
    assert [entity.id for entity in document.entities] == ["T1", "T2", "T3", "T4"]
    assert {entity.task for entity in document.entities} == {"clinical"}
    placebo = document.entity("T2").score
    assert placebo == pytest.approx(np.exp(0.5) / (1 + np.exp(0.5)), abs=1e-3)
    links = [(r.type, r.head, r.tail, round(r.score, 3)) for r in document.relations]
    assert links == [
        ("before", "T1", "T2", 0.881),
        ("causes", "T2", "T3", 0.953),
        ("before", "T4", "T1", 0.881),
        ("before", "T4", "T2", 0.881),
        ("causes", "T4", "T3", 0.953),
    ]
    assert document.status is not None
    assert (document.status.provider, document.status.precision) == ("WordBook", "fp32")
    assert (document.status.windows, document.status.warnings) == (1, ())
    assert document.status.characters == len(document.note.text)


def test_a_note_of_many_windows() -> None:
    """Its mentions and near relations are those of its parts read alone."""
    part = "placebo and chest pain given " + "and " * 30 + ". "
    document, one = extract(part * 40), extract(part)
    assert document.status is not None and document.status.windows > 30
    assert [(e.type, e.start, e.end) for e in document.entities] == [
        (e.type, e.start + n * len(part), e.end + n * len(part))
        for n in range(40)
        for e in one.entities
    ]
    alone = [round(entity.score, 6) for entity in one.entities]
    assert [round(entity.score, 6) for entity in document.entities] == alone * 40
    assert [round(relation.score, 3) for relation in one.relations] == [0.953]
    near = [link for link in found_relations(document) if link[2] == link[1] + 12]
    assert near == [("causes", n * len(part), n * len(part) + 12) for n in range(40)]


def test_min_score_drops_entities_and_their_relations() -> None:
    text = "placebo and aspirin before chest"
    assert quotes(extract(text))[0] == ("Drug", "placebo")
    some = extract(text, make_pipeline(min_score=0.7))
    assert quotes(some) == [("Drug", "aspirin"), ("Disorder", "chest")]
    assert [entity.id for entity in some.entities] == ["T1", "T2"]
    known = {entity.id for entity in some.entities}
    assert all({relation.head, relation.tail} <= known for relation in some.relations)
    assert len(some.relations) < len(extract(text).relations)
    assert extract(text, make_pipeline(min_score=1.0)).relations == ()


def test_min_score_drops_relations() -> None:
    text = "aspirin and amoxicillin given"  # "before" scores 0.881
    assert len(extract(text, make_pipeline(min_score=0.88)).relations) == 1
    kept = extract(text, make_pipeline(min_score=0.89))
    assert (len(kept.entities), kept.relations) == (2, ())


@pytest.mark.parametrize("text", ["", " ", "\r\n\t \u00a0", "\ufeff", "\u0301"])
def test_a_note_without_words(text: str) -> None:
    document = extract(text)
    assert (document.entities, document.relations) == ((), ())
    assert document.note.text == text
    assert document.status is not None
    assert document.status.windows == 0
    assert document.status.warnings == ("no words in the note",)


def test_notes_without_words_among_others() -> None:
    notes = [Note("a", ""), Note("b", "aspirin"), Note("c", " "), Note("d", "rash")]
    documents = make_pipeline(batch=4).run(notes)
    assert [document.note.name for document in documents] == list("abcd")
    assert [quotes(document) for document in documents] == [
        [],
        [("Drug", "aspirin")],
        [],
        [("Disorder", "rash")],
    ]
    assert make_pipeline().run([]) == []


def test_nul_characters_are_reported() -> None:
    document = extract("a\x00spirin\x00 and rash")
    assert quotes(document) == [("Drug", "a\x00spirin"), ("Disorder", "rash")]
    assert document.status is not None
    assert document.status.warnings == ("2 NUL characters",)


def test_a_very_long_note() -> None:
    """50,000 words: time in proportion, and hidden states of one segment of windows only."""
    part = "aspirin and " + "xx " * 48
    spent = []
    for repeats in (100, 1000):
        backend = WordBook()
        pipeline = make_pipeline(backend=backend)
        started = time.process_time()
        document = extract(part * repeats, pipeline)
        spent.append(time.process_time() - started)
        assert [e.start for e in document.entities] == [n * len(part) for n in range(repeats)]
        assert document.status is not None
        assert document.status.windows == backend.windows == backend.batches
        assert backend.most_held <= SEGMENT + 2
    assert spent[1] < 30 * spent[0]


@pytest.mark.parametrize("segment", [1, 2, 3])
def test_segments_change_nothing(monkeypatch: pytest.MonkeyPatch, segment: int) -> None:
    """A window waits for its successor, in whichever segment that is decoded."""
    notes = [Note(str(n), "placebo chest pain, rash and amoxicillin " * 15 * n) for n in range(4)]
    expected = make_pipeline().run(notes)
    assert sum(document.status.windows for document in expected if document.status) > 10
    monkeypatch.setattr(pipeline_module, "SEGMENT", segment)
    assert make_pipeline().run(notes) == expected


def test_batches_are_full() -> None:
    backend = WordBook()
    notes = [Note(str(index), "aspirin " * (index % 40 + 1)) for index in range(SEGMENT)]
    make_pipeline(batch=8, backend=backend).run(notes)
    assert (backend.windows, backend.batches) == (SEGMENT, SEGMENT // 8)


def test_tasks_share_the_encoder() -> None:
    backend = WordBook()
    document = extract("aspirin given", make_pipeline(tasks=(TASK, SECOND), backend=backend))
    assert [(e.id, e.type, e.text, e.task) for e in document.entities] == [
        ("T1", "Drug", "aspirin", "clinical"),
        ("T2", "Sign", "given", "second"),
    ]
    assert backend.windows == 1


def annotate(note: Note, *mentions: tuple[str, str]) -> list[Entity]:
    """Entities of (type, text), each at the first place of its text."""
    return [
        Entity.annotate(note, f"G{index}", type, ((start, start + len(text)),))
        for index, (type, text) in enumerate(mentions)
        for start in [note.text.index(text)]
    ]


def relate(note: Note, entities: Sequence[Entity]) -> Document:
    given: Mapping[str, Sequence[Entity]] = {note.name: entities}
    (document,) = make_pipeline().run([note], given=given)
    return document


class Cramped(WordBook):
    """Has no memory for more than so many windows at a time."""

    def __init__(self, room: int) -> None:
        super().__init__()
        self.room = room
        self.asked: list[int] = []

    def encode(self, input_ids: Ints, attention_mask: Ints) -> Encoded:
        self.asked.append(len(input_ids))
        if len(input_ids) > self.room:
            raise MemoryError
        return super().encode(input_ids, attention_mask)


def test_a_batch_without_memory_is_halved() -> None:
    text = "Rash after aspirin. Chest pain and amoxicillin given. " * 60
    backend = Cramped(room=4)
    assert extract(text, make_pipeline(batch=8, backend=backend)) == extract(text)
    assert set(backend.asked) >= {8, 4}


def test_a_batch_is_halved_once() -> None:
    text = "Rash after aspirin. Chest pain and amoxicillin given. " * 60
    backend = Cramped(room=3)
    with pytest.raises(MemoryError):
        extract(text, make_pipeline(batch=8, backend=backend))
    assert backend.asked == [8, 4]


def test_many_pairs_are_related_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    text = "aspirin rash amoxicillin and chest pain given aspirin and amoxicillin rash. " * 3
    whole = extract(text)
    sizes: list[int] = []

    class Counting(WordBook):
        def relate(
            self, task: str, hidden: Floats, attention_mask: Ints, spans: Ints, pairs: Ints
        ) -> Floats:
            sizes.append(pairs.shape[1])
            return super().relate(task, hidden, attention_mask, spans, pairs)

    monkeypatch.setattr(pipeline_module, "PAIRS", 7)
    assert extract(text, make_pipeline(backend=Counting())) == whole
    assert max(sizes) == 7 and len(whole.relations) > 7


def test_given_mentions_replace_those_found() -> None:
    note = Note("n", "aspirin, amoxicillin and chest pain; rash")
    document = relate(note, annotate(note, ("Disorder", "chest pain"), ("Drug", "amoxicillin")))
    assert quotes(document) == [("Drug", "amoxicillin"), ("Disorder", "chest pain")]
    assert {entity.score for entity in document.entities} == {1.0}
    assert found_relations(document) == [("causes", 9, 25)]
    assert relate(note, []).entities == ()


def test_given_mentions_that_do_not_fit() -> None:
    """Parts of words and types of other tasks are left out, overlaps are not."""
    note = Note("n", "aspirin and chest pain")
    wrong = annotate(note, ("Drug", "spirin"), ("Disorder", "chest pai"), ("Dose", "and"))
    right = annotate(note, ("Disorder", "chest pain"), ("Disorder", "chest"))
    assert quotes(relate(note, wrong)) == []
    assert sorted(quotes(relate(note, wrong + right))) == [
        ("Disorder", "chest"),
        ("Disorder", "chest pain"),
    ]


def test_a_mention_given_twice_counts_once() -> None:
    note = Note("n", "aspirin and amoxicillin")
    once = annotate(note, ("Drug", "aspirin"), ("Drug", "amoxicillin"))
    assert relate(note, once + once) == relate(note, once)


def test_given_mentions_of_a_long_note() -> None:
    text = ("amoxicillin and chest pain . " + "and " * 25) * 30
    found = extract(text)
    assert found.status is not None and found.status.windows > 15
    again = relate(found.note, found.entities)
    assert [(e.type, e.start, e.end) for e in again.entities] == expected_entities(text)
    assert found_relations(again) == found_relations(found) != []


def test_given_mentions_overlap_across_windows() -> None:
    """One and four words from each word on, some of which different windows decide."""
    note = Note("n", "and " * 300)
    given = [
        Entity.annotate(note, f"G{start}-{end}", "Disorder", ((start, end),))
        for start in range(0, len(note.text), 4)
        for end in (start + 3, start + 15)
        if end < len(note.text)
    ]
    found = relate(note, given)
    assert found.status is not None and found.status.windows > 8
    assert [(e.start, e.end) for e in found.entities] == [(e.start, e.end) for e in given]


def test_align() -> None:
    text = "Aspirin, chest pain"
    tokens = tokenise(TOKENIZER, text)
    assert align(tokens, 0, 7) == (0, 1)
    assert align(tokens, 9, 19) == (2, 4)
    assert align(tokens, 0, 19) == (0, 4)
    misses = [
        (0, 6),
        (1, 7),
        (0, 9),
        (8, 14),
        (9, 20),
        (9, 18),
        (19, 20),
        (25, 30),
        (14, 15),
        (3, 3),
    ]
    for start, end in misses:
        assert align(tokens, start, end) is None
    assert align(tokenise(TOKENIZER, ""), 0, 1) is None
