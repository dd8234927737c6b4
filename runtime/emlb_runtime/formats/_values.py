"""From parsed JSON values to records, for the readers of JSON lines.

A value that is no document at all is a DataError; an entity or a relation that cannot
be used becomes a problem of the report, and the rest is kept.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from emlb_runtime.errors import DataError
from emlb_runtime.formats.files.limits import ANNOTATIONS, Allowance, TooLarge
from emlb_runtime.records import Document, Entity, Fragment, Note, Relation, Status

from . import report as reasons
from .report import Problem, Report, check_spans, count_document, shown_id


def shape_error(path: Path | str, number: int, members: str) -> DataError:
    """The error for a line of which nothing can be used."""
    return DataError(
        f"{path}:{number}: not a JSON object with {members}; "
        "the file may be cut short or of another format"
    )


def parse_document(
    value: Mapping[str, Any], file: str, number: int, texts: Mapping[str, str] | str
) -> tuple[Document, Report]:
    """A line of the ``documents`` format, with the note's text or the texts by name.

    A text in the line itself is the last resort.
    """
    name, error = value.get("note"), value.get("error")
    entities, relations = value.get("entities"), value.get("relations", [])
    if error is not None and entities is None:
        entities = []
    if not (isinstance(name, str) and isinstance(entities, list) and isinstance(relations, list)):
        raise shape_error(file, number, '"note", "entities", "relations"')
    _check_counts(file, number, entities, relations)
    within = value.get("text")
    if within is not None and not isinstance(within, str):
        raise shape_error(file, number, 'a "text" that is a string')
    text = texts if isinstance(texts, str) else texts.get(name, within)
    note = Note(name, text or "")
    problems: list[Problem] = []

    def report(id: object, reason: str) -> None:
        problems.append(Problem(file, number, shown_id(id), reason))

    remarks: tuple[Problem, ...] = ()
    if error is not None and not (entities or relations):
        report("", reasons.FAILED_NOTE)
    elif error is not None:
        remarks = (Problem(file, number, "", reasons.ERROR_TOO),)
    kept: dict[str, Entity] = {}
    allowance = Allowance()
    for item in entities:
        entity, reason = _parse_entity(item, note, text is not None, allowance)
        if entity is not None and entity.id in kept:
            entity, reason = None, reasons.REPEATED_ID
        if reason is not None:
            report(item.get("id") if isinstance(item, dict) else "", reason)
        if entity is not None:
            kept[entity.id] = entity
    links = []
    for index, item in enumerate(relations, start=1):
        relation = _parse_relation(item)
        if relation is None:
            report(f"R{index}", reasons.MALFORMED)
        elif relation.head in kept and relation.tail in kept:
            links.append(relation)
        else:
            report(f"R{index}", reasons.NO_ARGUMENT)
    status = _parse_status(value.get("status"))
    if status is None and value.get("status") is not None:
        report("", reasons.BAD_STATUS)
    document = Document(note, tuple(kept.values()), tuple(links), status)
    return document, Report(count_document(document), tuple(problems), remarks)


def _check_counts(file: Path | str, number: int, entities: list[Any], relations: list[Any]) -> None:
    if max(len(entities), len(relations)) > ANNOTATIONS.value:
        raise DataError(f"{file}:{number}: {TooLarge(ANNOTATIONS)}")


def _parse_entity(
    item: Any, note: Note, has_text: bool, allowance: Allowance
) -> tuple[Entity | None, str | None]:
    """The entity, or why it is not used."""
    if not isinstance(item, dict):
        return None, reasons.MALFORMED
    id, type, text, start, end = _members(item, "id", "type", "text", "start", "end")
    score, task = item.get("score", 1.0), item.get("task", "")
    spans = _parse_spans(item.get("fragments", [[start, end]]))
    attributes, sure = item.get("attributes", {}), item.get("attribute_scores", {})
    if not (_is_attributes(attributes) and isinstance(sure, dict)):
        return None, reasons.MALFORMED
    if not (sure.keys() <= attributes.keys() and all(map(_is_probability, sure.values()))):
        return None, reasons.MALFORMED
    said = {"attributes": attributes, "attribute_scores": {n: float(s) for n, s in sure.items()}}
    is_redacted = "text" not in item  # as emlb-run --redact-text writes it
    if is_redacted:
        text = ""
    if not (_are_strings(id, type, text, task) and _is_probability(score)) or spans is None:
        return None, reasons.MALFORMED
    reason = check_spans(spans, len(note.text) if has_text else None)
    if reason is not None:
        return None, reason
    # 4.0 and true equal whole numbers, but cut no text.
    if not (_is_count(start) and _is_count(end)) or (spans[0][0], spans[-1][1]) != (start, end):
        return None, reasons.MALFORMED
    if has_text:
        if not allowance.take(spans):
            return None, reasons.LONG_MENTIONS
        entity = Entity.annotate(note, id, type, spans, score=float(score), task=task, **said)
        if not is_redacted and entity.text != text:
            return None, reasons.SURFACE_DIFFERS
        return entity, None
    if not is_redacted and len(text) != end - start:
        return None, reasons.LENGTH_DIFFERS
    fragments = spans if len(spans) > 1 else ()
    return Entity(id, type, start, end, text, float(score), task, fragments, **said), None


def _parse_relation(item: Any) -> Relation | None:
    if not isinstance(item, dict):
        return None
    type, head, tail = _members(item, "type", "head", "tail")
    score, task = item.get("score", 1.0), item.get("task", "")
    asserted = item.get("asserted")
    if not (_are_strings(type, head, tail, task) and _is_probability(score)):
        return None
    if asserted is not None and not isinstance(asserted, bool):
        return None
    return Relation(type, head, tail, float(score), task, asserted)


def _parse_status(item: Any) -> Status | None:
    if not isinstance(item, dict):
        return None
    characters, windows = _members(item, "characters", "windows")
    provider, precision = _members(item, "provider", "precision")
    warnings = item.get("warnings", [])
    if not (
        _is_count(characters)
        and _is_count(windows)
        and isinstance(warnings, list)
        and _are_strings(provider, precision, *warnings)
    ):
        return None
    return Status(characters, windows, provider, precision, tuple(warnings))


def parse_mixture(
    value: Mapping[str, Any], corpus: str, path: Path, number: int
) -> tuple[Document, Report]:
    """A line of a mixture."""
    name, text, entities, relations = _members(value, "doc", "text", "entities", "relations")
    are_lists = isinstance(entities, list) and isinstance(relations, list)
    if not (_are_strings(name, text) and are_lists):
        raise shape_error(path, number, '"corpus", "doc", "text", "entities", "relations"')
    _check_counts(path, number, entities, relations)
    note = Note(f"{corpus}/{name}", text)
    problems: list[Problem] = []
    allowance = Allowance()
    kept: dict[int, Entity] = {}
    for index, item in enumerate(entities):
        id = f"T{index + 1}"
        spans, said = None, item[2] if isinstance(item, list) and len(item) == 3 else {}
        if isinstance(item, list) and len(item) in (2, 3) and _are_strings(item[0]):
            spans = _parse_spans(item[1]) if _is_attributes(said) else None
        reason = reasons.MALFORMED if spans is None else check_spans(spans, len(text))
        if spans and reason is None and not allowance.take(spans):
            reason = reasons.LONG_MENTIONS
        if spans is None or reason is not None:
            problems.append(Problem(str(path), number, id, str(reason)))
        else:
            kept[index] = Entity.annotate(note, id, item[0], spans, attributes=said)
    links = []
    for index, item in enumerate(relations):
        id = f"R{index + 1}"
        if not (isinstance(item, list) and len(item) == 3 and _are_strings(item[0])):
            problems.append(Problem(str(path), number, id, reasons.MALFORMED))
        elif not all(_is_count(end) and end in kept for end in item[1:]):
            problems.append(Problem(str(path), number, id, reasons.NO_ARGUMENT))
        else:
            links.append(Relation(item[0], kept[item[1]].id, kept[item[2]].id))
    document = Document(note, tuple(kept.values()), tuple(links))
    return document, Report(count_document(document), tuple(problems))


def _parse_spans(value: Any) -> tuple[Fragment, ...] | None:
    """The fragments, if they are non-empty pairs of counts; they may still not fit."""
    if not isinstance(value, list) or not value:
        return None
    for pair in value:
        if not (isinstance(pair, list) and len(pair) == 2 and all(map(_is_count, pair))):
            return None
    return tuple((start, end) for start, end in value)


def _members(item: Mapping[str, Any], *names: str) -> list[Any]:
    """The named members; None for one that is missing."""
    return [item.get(name) for name in names]


def _is_attributes(value: object) -> bool:
    return isinstance(value, dict) and _are_strings(*value.values())


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _is_probability(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= 1


def _are_strings(*values: object) -> bool:
    return all(isinstance(value, str) for value in values)
