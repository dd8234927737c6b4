"""Without the extra [optimum]: what needs it says so, and all else goes on."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from typer.testing import CliRunner

import emlb_export
from emlb.model.model import EmlbModel
from emlb.model.pretrained import TrainedModel, load_tokenizer
from emlb_cli.app import app
from emlb_cli.shared.enums import Quantizer
from emlb_export.export import export
from emlb_export.graph import optimum_extra
from emlb_export.presets import PRESETS, QUANTIZERS
from emlb_runtime.bundle.loader import Bundle
from emlb_runtime.errors import ConfigError
from emlb_runtime.records import Document
from emlb_runtime.schema.task import Task
from tests import architectures
from tests.tiny import WINDOWS, TinyRun


@pytest.fixture
def without_optimum(monkeypatch: pytest.MonkeyPatch) -> None:
    """As where optimum is not installed."""
    for name in list(sys.modules):
        if name == "optimum" or name.startswith("optimum."):
            monkeypatch.delitem(sys.modules, name)
    for name in ("optimum_graphs", "optimum_quantize"):
        monkeypatch.delitem(sys.modules, f"emlb_export.{name}", raising=False)
        monkeypatch.delattr(emlb_export, name, raising=False)
    monkeypatch.setitem(sys.modules, "optimum", None)


@pytest.fixture(scope="module")
def electra(tiny_documents: tuple[Document, ...], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model folder."""
    folder = tmp_path_factory.mktemp("electra")
    texts = [document.note.text for document in tiny_documents]
    base = architectures.build_encoder("electra", folder / "base", texts)
    model = EmlbModel.from_base(base, [Task("notes", ("Drug",))], windows=WINDOWS)
    TrainedModel(model, load_tokenizer(base)).save(folder / "model")
    return folder / "model"


@pytest.mark.usefixtures("without_optimum")
def test_other_encoders_say_what_to_install(electra: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        export(electra, out=tmp_path / "bundle")
    told = str(caught.value)
    assert told.startswith("an encoder of type electra is exported with optimum, but optimum")
    assert "is not installed: pip install 'emlb[optimum]'" in told
    assert not list(tmp_path.iterdir())


@pytest.mark.usefixtures("without_optimum")
def test_the_command_says_so_in_one_line(electra: Path, tmp_path: Path) -> None:
    asked = ["export", str(electra), "--out", str(tmp_path / "bundle")]
    result = CliRunner().invoke(app, asked)
    assert result.exit_code == 2
    (line,) = result.stderr.splitlines()
    assert line.startswith("emlb export: an encoder of type electra") and "emlb[optimum]" in line


@pytest.mark.usefixtures("without_optimum")
@pytest.mark.parametrize("quantizer", PRESETS)
def test_presets_say_what_to_install(quantizer: str, tiny_run: TinyRun, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=rf"the quantizer {quantizer} is optimum's, but .*emlb"):
        export(tiny_run.folder, out=tmp_path / "bundle", quantizer=quantizer)
    assert not list(tmp_path.iterdir())


@pytest.mark.usefixtures("without_optimum")
def test_plain_bert_needs_none(tiny_run: TinyRun, tmp_path: Path) -> None:
    bundle = Bundle.load(export(tiny_run.folder, out=tmp_path / "bundle", quantizer="emlb"))
    assert set(bundle.config.encoders) == {"fp32", "int8"}
    assert "quantizer" not in bundle.config.provenance


@pytest.mark.parametrize("version, told", [("4.57.6", False), ("5.24.0", True)])
@pytest.mark.usefixtures("without_optimum")
def test_what_the_extra_does_to_a_newer_transformers(
    version: str, told: bool, electra: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(optimum_extra, "transformers", SimpleNamespace(__version__=version))
    with pytest.raises(ConfigError) as caught:
        export(electra, out=tmp_path / "bundle")
    assert ("optimum does not work with transformers 5.24.0" in str(caught.value)) is told


def test_an_unknown_quantizer(tiny_run: TinyRun, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="quantizer optimum-sse2 is unknown; choose one of emlb,"):
        export(tiny_run.folder, out=tmp_path / "bundle", quantizer="optimum-sse2")


def test_the_command_offers_every_quantizer() -> None:
    assert tuple(each.value for each in Quantizer) == QUANTIZERS
