"""Small well-formed inputs of every target, and the words that mutations are made of."""

from __future__ import annotations

import json

from .targets import SPLIT

_NOTE = " took aspirin.\r\nNo rash 😀, e\u0301 ok."
_BRAT = (
    "T1\tDrug 18 25\taspirin\nT2\tDisorder 31 35;37 38\trash 😀\n"
    "R1\tADE-Drug Arg1:T2 Arg2:T1\nA1\tNegation T2\nE1\tDrug:T1 Theme2:T2\n"
    "#1\tAnnotatorNotes T1\tZyxx qolimab\nN1\tReference T1 RxNorm:1\tx\n*\tEquiv T1 T2\n"
)
_DOCUMENT = {
    "note": "n",
    "text": "Zyxx qolimab rash",
    "entities": [
        {"id": "T1", "type": "D", "start": 13, "end": 17, "text": "rash", "score": 0.5},
        {
            "id": "T2",
            "type": "D",
            "start": 0,
            "end": 4,
            "text": "Zyxx",
            "fragments": [[0, 2], [3, 4]],
        },
    ],
    "relations": [{"type": "r", "head": "T1", "tail": "T2", "score": 1.0, "task": "t"}],
    "status": {"characters": 17, "windows": 1, "provider": "p", "precision": "fp32"},
}
_MIXTURE = {
    "corpus": "c",
    "doc": "d",
    "text": "Zyxx qolimab rash\ud800",
    "entities": [["D", [[13, 17]]], ["D", [[0, 2], [3, 4]]]],
    "relations": [["r", 0, 1]],
}
_TABLE = (
    "ROW_ID,SUBJECT_ID,HADM_ID,CHARTDATE,CATEGORY,ISERROR,TEXT\n"
    '1,2,3,2100-01-01,"Nursing",,"Zyxx qolimab ""rash""\r\nok"\n'
    '2,2,,2100-01-01,Nursing,1,Zyxx qolimab\n3,2,3,x,"Nur,"unpaired\n'
)
_XML = """<?xml version="1.0" encoding="UTF-8"?><data><annotations>
<entity><id>1@e@n@gold</id><span>0,4;5,8</span><type>EVENT</type><parentsType/><properties>
<Polarity>NEG</Polarity><Note>Zyxx qolimab &#13;</Note></properties></entity>
<entity><id>2@e@n@gold</id><span>2,4</span><type>TIMEX3</type><properties/></entity>
<relation><id>1@r@n@gold</id><type>TLINK</type><properties><Source>1@e@n@gold</Source>
<Type>CONTAINS</Type><Target>2@e@n@gold</Target></properties></relation></annotations></data>"""
_SHARE = (
    "n.txt||Disease_Disorder||C1||0||4||5||8\n"
    "n.txt|13-18|C2|yes|19-25|patient|null|no|null|false|null|unmarked|null|false|null|false|"
    "null|C3|0-4|before|none|*\nDD_DocName|x\n"
)


def _two(annotations: str) -> bytes:
    return _NOTE.encode() + SPLIT + annotations.encode()


SEEDS: dict[str, tuple[bytes, ...]] = {
    "brat": (_two(_BRAT), _two("")),
    "brat_folder": (_two(_BRAT), _two("\ufeffT1\tDrug 0 2\tZy\n")),
    "documents": (json.dumps(_DOCUMENT).encode(), b'{"note": "n", "error": "e"}\n\n'),
    "mixture": (json.dumps(_MIXTURE).encode() + b"\n",),
    "detect": (
        b"\x00" + json.dumps(_DOCUMENT).encode(),
        b"\x00" + json.dumps(_MIXTURE).encode(),
        b'\x00{"text": "Zyxx qolimab"}\n[]\n',
        b"\x01" + _TABLE.encode(),
    ),
    "noteevents": tuple(bytes([first]) + _TABLE.encode() for first in (0, 2, 8)),
    "tables": tuple(
        bytes([first]) + content
        for first in (0, 1, 4, 8)
        for content in (
            b'note_id;text\r\n1;"Zyxx qolimab; rash"\r\n2;fever\r\n',
            b'{"note_id": 1, "text": "rash"}\n{"note_id": "b", "text": "Zyxx qolimab"}\n',
        )
    ),
    "anafora": (_two(_XML), _two("<!DOCTYPE d [<!ENTITY a 'b'>]><data>&a;</data>")),
    "share": (_two(_SHARE),),
    "text": (b"\x00\xef\xbb\xbfrash \xf0\x9f\x98\x80\r\n\x00", b"\x01\xff\xfer\x00", b"\x08\xff"),
    "extractor": (
        b"\x00Amoxicillin caused a rash on day three.\r\nNo fever; ibuprofen for back pain.",
        "\x01aspirin 75 mg\n- warfarin\nAdmitted: gastric bleeding e\u0301 😀👩\u200d🔬".encode(),
        b"\x02" + b"Hypertension, treated with lisinopril; dry cough since. " * 9,
        "\x05\u202erash\u202c \x85각\u1100\u1161\u0130ß\ufb01 \U0010ffff\ufdfa\x00\x0b".encode(),
    ),
}
"""Of each target."""

WORDS = (
    *(b"\t", b"\n", b"\r\n", b"\r", b"|", b"||", b'"', b'""', b",", b";", b" ", b"\x00", b"\\"),
    *(b"\xef\xbb\xbf", b"\xff\xff", b"\xff", b"\xed\xa0\x80", b"\\ud800", b"\\u0000"),
    *(b"T1", b"R1", b"A1", b"E1", b"Arg1:T1", b"0", b"1", b"99999999999", b"-1", b"1e400", b"NaN"),
    *(b"[", b"]", b"{", b"}", b"[" * 70, b"null", b"true", b"<a>", b"</a>", b"<entity>", b"&#0;"),
    *(b"<!DOCTYPE a>", b"&a;", b"]]>", b"<!--", b"]]><![CDATA["),
    *("\u0301".encode(), "\u200d".encode(), "\u202e".encode(), "\u2028".encode(), "\x85".encode()),
    *("😀".encode(), "각".encode(), "\u1100".encode(), "İ".encode(), "\ufdfa".encode(), b"a" * 130),
    *(b"aspirin", b"rash", b"[SEP]", b"[CLS]", b"##x"),
)
"""Pieces to insert: delimiters, limits and characters that readers stumble over."""
