"""What can go wrong, as one tree.

EmlbError
├── ConfigError      a setting is wrong: the message names it and what is allowed
├── DataError        a note or an annotation file cannot be read
├── ArtefactError    a file this project wrote cannot be used
│   └── BundleError  a bundle is incomplete, altered or of another format version
└── BackendError     the execution provider asked for is not the one available

No message ever holds text of a note: files, line numbers and annotation ids only.
"""


class EmlbError(Exception):
    """Any error a caller of EMLB can act on."""


class ConfigError(EmlbError):
    """A setting is unknown or out of range."""


class DataError(EmlbError):
    """A note or an annotation file cannot be read as asked."""


class ArtefactError(EmlbError):
    """A file written by EMLB cannot be used."""


class BundleError(ArtefactError):
    """A bundle is incomplete, altered, unsafe or of an unknown format version."""


class BackendError(EmlbError):
    """ONNX Runtime is missing, installed twice, or lacks the provider asked for."""
