"""What of a held-out part also stands in the training part."""

from __future__ import annotations

from emlb.data.leaks import find_leaks
from emlb.data.sentences import is_cross_sentence, sentence_starts, sentences
from emlb_runtime.records import Document, Note

LONG = "Zebedee was admitted with crushing chest pain that radiated to the left arm and jaw."


def notes(**texts: str) -> list[Document]:
    return [Document(Note(name, text)) for name, text in texts.items()]


def test_same_texts_and_long_sentences_are_found() -> None:
    training = notes(a=f"History. {LONG}\nNo rash.", b="Short note.")
    held = notes(same="short  NOTE", shared=f"Seen today.\n{LONG.upper()}", clean="No rash.")
    leaks = find_leaks(training, {"test": held, "dev": notes(d="Nothing of it.")})
    assert leaks["test"].names == ("same", "shared")
    assert (leaks["test"].same_text, leaks["test"].shared_sentence) == (1, 1)
    assert leaks["test"].sentences == 1
    assert not leaks["dev"]
    assert "2 of 3 documents" in str(leaks["test"])
    assert "Zebedee" not in str(leaks["test"])


def test_short_sentences_are_no_leak() -> None:
    assert not find_leaks(notes(a="No fever. Aspirin."), {"t": notes(b="No fever. Rash.")})["t"]


def test_sentences() -> None:
    text = 'Rash. Seen by Dr.\nPain "again." She left. 5 mg vs. placebo'
    assert sentences(text) == [
        "Rash.",
        "Seen by Dr.",
        'Pain "again."',
        "She left.",
        "5 mg vs. placebo",
    ]
    starts = sentence_starts(text)
    assert not is_cross_sentence(starts, 0, 4)
    assert is_cross_sentence(starts, 0, 6)
    assert is_cross_sentence(starts, 4, 6)
    assert not is_cross_sentence(starts, 6, 8)
