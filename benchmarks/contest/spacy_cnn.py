"""spaCy's default CNN for entities: ``spacy.blank("en")`` with ``ner``, briefly trained."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator
from typing import Any

import spacy
from spacy.training import Example
from spacy.util import filter_spans, fix_random_seed

from .peer import Found, Peer, read_texts
from .records import Job

SEED = 13
UPDATES = 40


class Cnn(Peer):
    """spaCy's pipeline over whole notes."""

    def __init__(self, nlp: Any, *, cores: int) -> None:
        self._nlp = nlp
        self.settings = tuple(
            {"batch": batch, "processes": processes}
            for processes in sorted({1, cores})
            for batch in (8, 64)
        )
        self.setting = self.settings[0]

    def find(self, texts: Iterable[str]) -> Iterator[list[Found]]:
        """See ``Peer``."""
        documents = self._nlp.pipe(
            texts, batch_size=self.setting["batch"], n_process=self.setting["processes"]
        )
        for document in documents:
            # spaCy's entities have no scores.
            yield [Found(e.start_char, e.end_char, e.label_, 1.0) for e in document.ents]


def make_spacy(job: Job) -> Cnn:
    """Train on the few annotated notes there are: enough to find something, for speed alone."""
    fix_random_seed(SEED)
    nlp = spacy.blank("en")
    nlp.max_length = 10**9
    recognizer: Any = nlp.add_pipe("ner")
    for type in job.entity_types:
        recognizer.add_label(type)
    examples = []
    texts = read_texts(example.path for example in job.examples)
    for text, example in zip(texts, job.examples, strict=True):
        document = nlp.make_doc(text)
        spans = (document.char_span(s, e, label=label) for s, e, label in example.mentions)
        reference = document.copy()
        reference.ents = filter_spans([span for span in spans if span is not None])
        examples.append(Example(document, reference))
    optimizer = nlp.initialize(lambda: examples)
    rng = random.Random(SEED)
    for _ in range(UPDATES):
        rng.shuffle(examples)
        nlp.update(examples, sgd=optimizer)
    return Cnn(nlp, cores=job.cores)
