"""`emlb info`: machine, ONNX Runtime, plan and bundle, as lines and as JSON."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from emlb_cli import app
from emlb_runtime.bundle.loader import DEFAULT_MODEL
from emlb_runtime.errors import BackendError
from emlb_runtime.extraction import session_plan as plan
from emlb_runtime.inference import arithmetic, providers

PARTS = ["emlb", "machine", "runtime", "plan", "bundle"]


def emlb(*arguments: str) -> Result:
    return CliRunner().invoke(app.app, arguments)


def test_json() -> None:
    result = emlb("info", "--json", "--provider", "cpu")
    assert result.exit_code == 0, result.stderr
    shown = json.loads(result.stdout)
    assert list(shown) == PARTS
    assert shown["machine"]["cores"] >= 1
    assert "CPUExecutionProvider" in shown["runtime"]["providers"]
    assert list(shown["runtime"]["wheels"].values()) == [shown["runtime"]["onnxruntime"]]
    plan, bundle = shown["plan"], shown["bundle"]
    assert (plan["asked"], plan["provider"], plan["batch"]) == ("cpu", "CPUExecutionProvider", 1)
    assert plan["precision"] == bundle["default_precision"]
    assert plan["workers"] == shown["machine"]["cores"]
    assert plan["windows"] == {key: bundle["windows"][key] for key in ("max_pieces", "overlap")}


def test_lines() -> None:
    result = emlb("info", "--precision", "int8")
    assert result.exit_code == 0, result.stderr
    head, brace, rest = result.stdout.partition("\n{")
    lines = head.splitlines()
    assert [line for line in lines if not line.startswith("  ")][:3] == [
        *("machine:", "runtime:", "plan:")
    ]
    assert "  asked: auto" in lines and "  precision: int8" in lines
    assert json.loads(brace + rest)["name"] == "emlb-clinical-small"
    assert not any(line.endswith((": ", ": None", ": []", ": {}")) for line in lines)


def test_a_plan_that_fails_is_no_error_of_the_command() -> None:
    shown = json.loads(emlb("info", "--json", "--provider", "coreml").stdout)
    if "CoreMLExecutionProvider" in shown["runtime"]["providers"]:
        pytest.skip("there is CoreML here")
    assert "coreml" in shown["plan"]["error"]
    assert "CPUExecutionProvider" in shown["plan"]["error"]


def test_a_precision_that_the_bundle_lacks_is_no_plan(tmp_path: Path) -> None:
    folder = tmp_path / "bundle"
    shutil.copytree(DEFAULT_MODEL, folder)
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    del config["encoders"]["fp16"]
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    result = emlb("info", str(folder), "--precision", "fp16")
    assert "  error: precision fp16 was asked for, but the bundle has fp32, int8" in result.stdout
    assert "  precision: fp16" not in result.stdout


def test_the_self_test_of_int8_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "u8u8 exact" in emlb("info").stdout
    monkeypatch.setattr(arithmetic, "self_test", lambda kind: kind == "u8u8")
    monkeypatch.setattr(plan, "self_test", lambda kind: kind == "u8u8")
    lines = emlb("info").stdout.splitlines()
    assert "  int8 products: u8s8 sums overflow, u8u8 exact" in lines
    assert "  products: u8u8" in lines and "  precision: int8" in lines


def test_without_onnxruntime(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> None:
        raise BackendError("ONNX Runtime is not installed")

    monkeypatch.setattr(providers, "import_onnxruntime", fail)
    shown = json.loads(emlb("info", "--json").stdout)
    assert shown["runtime"]["error"] == "ONNX Runtime is not installed"
    assert "providers" not in shown["runtime"]


def test_what_a_provider_lacks_has_a_line_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(providers, "what_is_missing", lambda name, runtime: ["a.so", "b.so"])
    assert "  CPUExecutionProvider lacks a.so b.so" in emlb("info").stdout.splitlines()
