"""What rules annotate well in raw notes, as a corpus to learn from: negations, and devices.

    python -m emlb.recipes.rules NOTES… --model BUNDLE --out rules.jsonl [--limit 200]

*Negations.* A model finds the mentions; words such as "no", "denies" or "without" negate those
behind them, up to the end of the sentence, a word that ends their scope ("but", "has", "because"),
or five words without a mention (after Chapman et al. 2001, A simple algorithm for identifying
negated findings and diseases in discharge summaries). Eligibility criteria, of which the annotated
negations are, hardly have the lists of reports: "no murmurs, rubs or gallops".

*Devices* are known by their last word ("catheter") and have up to two words before it. Of the
public corpora only eligibility criteria have them, so that a model takes much in reports for
devices that nobody annotated there: names of doctors, headings, sizes.

Only devices, words that negate, and the mentions that they negate are written, stand-off.
"""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path

from emlb_runtime import Extractor
from emlb_runtime.formats.notes import find_notes, read_notes
from emlb_runtime.records import Document, Entity, Relation

CUE = re.compile(
    r"\b(?:no|not|without|den(?:y|ies|ied|ying)|negative(?= for\b)|free of|(?<!no )absence of"
    r"|never)\b",
    re.IGNORECASE,
)
PSEUDO = re.compile(
    r"""(?:no|not|without|never)\ (?:
        change|increase|decrease|longer|further|doubt|one|matter|need|difficult\w*|problems?|more
        |less|better|worse|acute\ distress|only|certain|sure|clear|necessarily|yet|incident|delay
        |absence|mention
    )\b|no\.\ ?\d""",
    re.IGNORECASE | re.VERBOSE,
)
"""Begins like a negation and is none."""

LEAD = re.compile(
    r"""(?:\s+(?:have|had|has|having|been|experienc\w+|report\w*|complain\w*|not(?:e|ed|ice|iced)
        |show\w*|demonstrate\w*|reveal\w*|for|of|any|evidence|signs?|symptoms?|history|the|an?|to)
    \b)*""",
    re.IGNORECASE | re.VERBOSE,
)
"""May stand between a negation and what it negates, though elsewhere it ends the scope."""

OF_VERB = re.compile(
    r"\b(?:ha[vds]\w*|any|experienc\w+|report\w*|complain\w*|show\w*|reveal\w*|demonstrat\w*)\b",
    re.IGNORECASE,
)
"""Without one of these in its lead, "not" or "never" negates a verb."""

END = re.compile(
    r"""[.;:?\n]|\b(?:but|however|although|though|except|aside|apart|other\ than|which|who|that
        |because|since|due|secondary|until|if|he|she|they|it|patient|there|is|are|was|were|has|had
        |have|does|did|do|will|would|should|can|could|may|positive|improv\w+|reports?|states?
        |admits?|complains?|presents?|with|while|when|where|then|so|on|at|in|for|after|before
        |during|into|from|by|as|per|to)\b""",
    re.IGNORECASE | re.VERBOSE,
)
BETWEEN = 5
"""Words that may stand between two negated mentions."""

NO_PART = """
a after all an and another any are as at between both by closed divided each extended for from had
has have her his in into is its my new no not of old on or other our out over per placed post
requiring same status that the their then these this those three through to transected two under
used using via was were which with without also
"""
"""Words that are no part of a device's name."""

DEVICES = r"""
catheters? pacemakers? stents? guide-?wires? wires? tubes? drains screws? implants?
prosthes[ie]s cannulas? needles? clips mesh devices? pumps? defibrillators? splints? walker
wheelchair crutch(?:es)? dilators? trocars? retractors? forceps scissors clamps? scalpels? staplers?
(?:laryngo|broncho|endo|cysto|resecto|arthro|laparo)scopes? tourniquets? IUD ventilator nebulizer
CPAP BiPAP
"""
"""Last words of their names."""

DEVICE = re.compile(
    rf"(?:\b(?!(?:{'|'.join(NO_PART.split())})\b)[\w-]+ ){{0,2}}?"
    rf"\b(?<!fallopian )(?<!eustachian )(?:{'|'.join(DEVICES.split())})\b",
    re.IGNORECASE,
)

NEGATED = ("Disorder", "Test", "Procedure", "Drug")
SURE = 0.6


def annotate(found: Document) -> Document:
    """The negations and devices of a note.

    Args:
        found: the note with mentions and their scores.

    Returns:
        The note with its devices, the words that negate, the mentions that they negate, and the
        relations.
    """
    text = found.note.text
    devices = [match.span() for match in DEVICE.finditer(text)]
    mentions = [
        e
        for e in found.entities
        if e.type in NEGATED
        and (e.score or 0.0) >= SURE
        and not any(start < e.end and e.start < end for start, end in devices)
    ]
    mentions.sort(key=lambda mention: mention.start)
    entities = {
        span: Entity(f"T{number}", "Device", *span, text[slice(*span)])
        for number, span in enumerate(devices, start=1)
    }
    relations: list[Relation] = []
    for start, end, scope in find_scopes(text):
        cue = Entity(f"T{len(entities) + 1}", "Negation", start, end, text[start:end])
        entities[start, end] = cue
        for mention in _listed(text, mentions, scope):
            key = mention.start, mention.end
            if key not in entities:
                id = f"T{len(entities) + 1}"
                entities[key] = Entity(id, mention.type, *key, text[slice(*key)])
            relations.append(Relation("Negation-of", cue.id, entities[key].id))
    return Document(found.note, tuple(entities.values()), tuple(relations))


def find_scopes(text: str) -> Iterator[tuple[int, int, tuple[int, int]]]:
    """Start and end of each word that negates, and the part of the text that it can negate."""
    for cue in CUE.finditer(text):
        lead = LEAD.match(text, cue.end())
        assert lead is not None  # it may be empty
        verbal = cue.group().lower() in ("not", "never") and not OF_VERB.search(lead.group())
        if verbal or PSEUDO.match(text, cue.start()):
            continue
        ends = [match.start() for match in (END.search(text, lead.end()),) if match]
        ends += [match.start() for match in (CUE.search(text, lead.end()),) if match]
        yield cue.start(), cue.end(), (lead.end(), min(ends, default=len(text)))


def _listed(text: str, mentions: Sequence[Entity], scope: tuple[int, int]) -> Iterator[Entity]:
    at, end = scope
    for mention in mentions:
        if at <= mention.start and mention.end <= end:
            if len(text[at : mention.start].split()) > BETWEEN:
                return
            yield mention
            at = mention.end


def to_json(document: Document) -> str:
    """A line of a stand-off corpus."""
    entities = [
        {"id": e.id, "type": e.type, "start": e.start, "end": e.end, "text": e.text}
        for e in document.entities
    ]
    relations = [{"type": r.type, "head": r.head, "tail": r.tail} for r in document.relations]
    line = {"note": Path(document.note.name).name, "entities": entities, "relations": relations}
    return json.dumps(line, ensure_ascii=False)


def main() -> None:
    """Write the corpus."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("notes", nargs="+", help="files or folders")
    parser.add_argument("--model", type=Path, help="a bundle; the bundled default")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--limit", type=int, help="notes at most")
    options = parser.parse_args()
    extractor = Extractor.load(options.model, provider="cpu")
    found = extractor.extract_each(read_notes(find_notes(options.notes)))
    annotated = (annotate(document) for document in found if isinstance(document, Document))
    lines = (to_json(document) for document in annotated if document.entities)
    with options.out.open("x", encoding="utf-8") as file:
        file.writelines(line + "\n" for line in islice(lines, options.limit))


if __name__ == "__main__":
    main()
