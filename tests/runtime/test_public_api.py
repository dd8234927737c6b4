"""The public names of `emlb_runtime` are these; see the deprecation rule in CONTRIBUTING.md."""

from __future__ import annotations

import inspect

import emlb_runtime

PUBLIC = [
    "ArtefactError",
    "BackendError",
    "BundleError",
    "ConfigError",
    "DataError",
    "Document",
    "EmlbError",
    "Entity",
    "ErrorRecord",
    "Extractor",
    "Note",
    "Relation",
    "Status",
    "Triple",
    "__version__",
]


def test_the_public_names_are_frozen() -> None:
    assert sorted(emlb_runtime.__all__) == PUBLIC


def test_each_public_class_and_its_methods_are_documented() -> None:
    for name in PUBLIC[:-1]:
        public = getattr(emlb_runtime, name)
        assert inspect.getdoc(public), name
        for attribute, value in vars(public).items():
            if not attribute.startswith("_") and callable(value):
                assert inspect.getdoc(value), f"{name}.{attribute}"
