"""From annotated notes to training windows: what labels stay possible, and what is counted."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest

from emlb.examples.coverage import Coverage
from emlb.examples.examples import Example, ExampleSet, Supervision, make_examples
from emlb.model import EmlbModel
from emlb.model.pretrained import LoadedTokenizer, make_pipeline
from emlb_runtime.errors import ConfigError
from emlb_runtime.pipeline import Pipeline
from emlb_runtime.records import Document, Entity, Note
from emlb_runtime.schema.task import Task
from tests.tiny import parse_markup

DISORDER, DRUG = 0, 1


def covering(task: Task, *, full: tuple[str, ...] = (), part: tuple[str, ...] = ()) -> Supervision:
    return Supervision(task, Coverage.of(task, full, part))


def labels(example: Example) -> list[str]:
    """The possible labels of each word, such as ``O B-Drug``; ``*`` where all are."""
    names = example.supervision.task.scheme.names
    return [
        "*" if row.all() else " ".join(name for name, can in zip(names, row, strict=True) if can)
        for row in example.possible
    ]


def one(document: Document, supervision: Supervision, pipeline: Pipeline) -> Example:
    """The document's only window."""
    (example,) = make_examples([document], supervision, pipeline, Counter())
    return example


def test_full_coverage_leaves_one_label_per_word(task: Task, pipeline: Pipeline) -> None:
    document = parse_markup(
        "[Drug:d1 aspirin] caused [Disorder:e1 dry cough], no rash {ADE-Drug e1 d1}"
    )
    unused: Counter[str] = Counter()
    (example,) = make_examples([document], covering(task), pipeline, unused)
    assert labels(example) == ["B-Drug", "O", "B-Disorder", "I-Disorder", "O", "O", "O"]
    assert example.mentions == ((0, 1, DRUG), (2, 4, DISORDER))
    assert example.relations == ((0, 1, 0),)
    assert example.uncertain == () and not unused


def test_pieces_and_words_of_a_window(
    task: Task, pipeline: Pipeline, tokenizer: LoadedTokenizer
) -> None:
    example = one(parse_markup("[Drug:d1 metformin] stopped"), covering(task), pipeline)
    tokens = [tokenizer.tokenizer.id_to_token(int(piece)) for piece in example.input_ids]
    assert tokens == ["[CLS]", "metfor", "##min", "stoppe", "##d", "[SEP]"]
    assert example.word_pieces.tolist() == [1, 3, 5]


def test_partial_coverage_leaves_the_unannotated_type_open(task: Task, pipeline: Pipeline) -> None:
    document = parse_markup("on [Drug:d1 aspirin] [Disorder:e1 dry cough] and rash")
    example = one(document, covering(task, full=("Drug",), part=("Disorder",)), pipeline)
    open_word = "O B-Disorder I-Disorder"
    # A mention that is annotated ends where it ends: no I of its type behind it.
    assert labels(example) == [
        open_word, "B-Drug", "B-Disorder", "I-Disorder", "O B-Disorder", open_word
    ]  # fmt: skip
    nothing = one(document, covering(task, full=("Treats",)), pipeline)
    assert labels(nothing)[0] == "*"
    assert nothing.possible[1:4].sum() == 3  # what is annotated is known all the same


def test_weights_of_pairs_follow_coverage(task: Task) -> None:
    def weights(supervision: Supervision) -> list[list[float]]:
        return [[round(float(value), 3) for value in row] for row in supervision.pair_weights]

    assert weights(covering(task)) == [[1.0, 1.0], [1.0, 1.0]]
    assert weights(covering(task, full=("ADE-Drug",))) == [[1.0, 0.0], [1.0, 0.0]]
    part = Coverage.of(task, ("ADE-Drug",), ("Treats",))
    lighter = Supervision(task, part, relation_weight=0.5, partial_negatives=0.2)
    assert weights(lighter) == [[0.5, 0.5], [0.5, 0.1]]


def test_discontinuous_mentions_are_unknown_and_counted(task: Task, pipeline: Pipeline) -> None:
    document = parse_markup(
        "[Drug:d1 aspirin] gave [Disorder:e1 dry] or [Disorder:e1 rash] today {ADE-Drug e1 d1}"
    )
    unused: Counter[str] = Counter()
    (example,) = make_examples([document], covering(task), pipeline, unused)
    assert labels(example) == ["B-Drug", "O", "*", "*", "*", "O"]
    assert example.mentions == ((0, 1, DRUG),) and example.relations == ()
    assert example.uncertain == ((2, 5, DISORDER),)
    assert unused == {
        "discontinuous mention": 1,
        "relation with a mention that labels cannot hold": 1,
    }


def test_the_longest_of_nested_mentions_is_kept(task: Task, pipeline: Pipeline) -> None:
    document = parse_markup("no [Disorder:e1 gastric [Drug:d1 aspirin] bleeding] now")
    unused: Counter[str] = Counter()
    (example,) = make_examples([document], covering(task), pipeline, unused)
    assert labels(example) == ["O", "B-Disorder", "I-Disorder", "I-Disorder", "O"]
    assert example.uncertain == ((2, 3, DRUG),)
    assert unused == {"mention overlaps a longer one": 1}


def test_crossing_mentions_leave_the_rest_unknown(task: Task, pipeline: Pipeline) -> None:
    note = Note("n", "no dry cough and rash now")
    entities = (
        Entity.annotate(note, "e1", "Disorder", ((3, 16),)),
        Entity.annotate(note, "e2", "Disorder", ((13, 21),)),
    )
    unused: Counter[str] = Counter()
    (example,) = make_examples([Document(note, entities)], covering(task), pipeline, unused)
    known = ["O", "B-Disorder", "I-Disorder", "I-Disorder"]
    assert labels(example) == [*known, "O B-Disorder B-Drug I-Drug", "O"]
    assert unused == {"mention overlaps a longer one": 1}


def test_a_mention_within_a_word_is_unknown_and_counted(task: Task, pipeline: Pipeline) -> None:
    unused: Counter[str] = Counter()
    document = parse_markup("took [Drug:d1 aspir]in twice")
    (example,) = make_examples([document], covering(task), pipeline, unused)
    assert labels(example) == ["O", "*", "O"]
    assert unused == {"mention ends inside a word": 1}


def test_types_beyond_the_task_are_counted(task: Task, pipeline: Pipeline) -> None:
    unused: Counter[str] = Counter()
    document = parse_markup("[Drug:d1 aspirin] [Dose:q1 75 mg] {Dose-of q1 d1} {Treats d1 q1}")
    (example,) = make_examples([document], covering(task), pipeline, unused)
    assert labels(example) == ["B-Drug", "O", "O"]
    assert unused == {
        "entity of type Dose, which the task lacks": 1,
        "relation of type Dose-of, which the task lacks": 1,
        "relation with a mention that labels cannot hold": 1,
    }


def test_a_relation_of_a_forbidden_signature_is_counted(task: Task, pipeline: Pipeline) -> None:
    unused: Counter[str] = Counter()
    document = parse_markup("[Drug:d1 aspirin] for [Drug:d2 insulin] {Treats d1 d2}")
    make_examples([document], covering(task), pipeline, unused)
    assert unused == {"relation between types that are seldom joined by it": 1}


@pytest.fixture
def cut_pipeline(model: EmlbModel, tokenizer: LoadedTokenizer) -> Pipeline:
    """Windows of 62 pieces that share none."""
    model.config.windows = {"max_pieces": 64, "overlap": 0}
    return make_pipeline(model, tokenizer)


def test_a_window_that_cuts_a_mention_knows_nothing_there(
    task: Task, cut_pipeline: Pipeline
) -> None:
    before, after = "day " * 60, " day" * 20
    document = parse_markup(f"{before}[Disorder:e1 dry day three rash]{after} [Drug:d1 aspirin]")
    unused: Counter[str] = Counter()
    first, second = make_examples([document], covering(task), cut_pipeline, unused)
    assert labels(first) == ["O"] * 60 + ["*"] * 2
    assert labels(second) == ["*"] * 2 + ["O"] * 20 + ["B-Drug"]
    assert (first.uncertain, second.uncertain) == (((60, 62, DISORDER),), ((0, 2, DISORDER),))
    assert (first.mentions, second.mentions) == ((), ((22, 23, DRUG),))
    assert unused == {"mention cut by every window": 1}


def test_relations_across_windows_are_counted(task: Task, cut_pipeline: Pipeline) -> None:
    document = parse_markup(
        f"[Disorder:e1 rash] {'day ' * 80}[Drug:d1 aspirin] [Disorder:e2 rash]"
        " {ADE-Drug e1 d1} {ADE-Drug e2 d1}"
    )
    unused: Counter[str] = Counter()
    first, second = make_examples([document], covering(task), cut_pipeline, unused)
    assert (first.relations, second.relations) == ((), ((0, 1, 0),))
    assert unused == {"relation between mentions too far apart for one window": 1}


def test_a_relation_beyond_its_reach_is_counted(task: Task, pipeline: Pipeline) -> None:
    document = parse_markup("[Drug:d1 aspirin] and then some [Disorder:e1 cough] {ADE-Drug e1 d1}")
    counted = {"relation that spans more words than its type's reach": 1}
    for words, expected in ((3, {}), (2, counted)):  # the other way round a pair is asked anyway
        near = replace(task, reach={"ADE-Drug": words})
        unused: Counter[str] = Counter()
        make_examples([document], covering(near), pipeline, unused)
        assert unused == expected


def test_overlapping_windows_both_teach(
    task: Task, pipeline: Pipeline, tiny_documents: tuple[Document, ...]
) -> None:
    long = next(document for document in tiny_documents if document.note.name == "long")
    unused: Counter[str] = Counter()
    examples = make_examples([long], covering(task), pipeline, unused)
    assert len(examples) == 2 and not unused
    assert sum(len(example.mentions) for example in examples) >= len(long.entities)
    assert all(example.possible.any(axis=1).all() for example in examples)
    assert all(len(example.input_ids) <= 64 for example in examples)


def test_notes_without_words_or_mentions(task: Task, pipeline: Pipeline) -> None:
    empty, blank, plain = (Document(Note("n", text)) for text in ("", " \r\n\t", "no rash"))
    (example,) = make_examples([empty, blank, plain], covering(task), pipeline, Counter())
    assert labels(example) == ["O", "O"]


def test_the_trainers_view_of_examples(task: Task, pipeline: Pipeline) -> None:
    example = one(parse_markup("no rash"), covering(task), pipeline)
    examples = ExampleSet([example])
    assert len(examples) == 1
    assert examples[0]["example"] is example
    assert examples[0]["input_ids"] is example.input_ids  # its length sorts batches


@pytest.mark.parametrize(
    ("full", "part", "message"),
    [
        (("Drugs",), (), "coverage of 'Drugs', which task notes lacks; it has ADE-Drug, Disorder"),
        ((), ("Dose",), "coverage of 'Dose'"),
        (("Drug",), ("Drug",), "both in full and in part: Drug"),
    ],
)
def test_coverage_of_unknown_or_repeated_types(
    task: Task, full: tuple[str, ...], part: tuple[str, ...], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        Coverage.of(task, full, part)


def test_coverage_unstated_is_full(task: Task) -> None:
    assert Coverage.of(task, (), ()).full == {"Disorder", "Drug", "ADE-Drug", "Treats"}
    stated = Coverage.of(task, ("Drug",), ("Treats",))
    assert stated.annotated == {"Drug", "Treats"}
