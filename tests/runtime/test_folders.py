"""Finding the files of a corpus in a folder."""

from __future__ import annotations

from pathlib import Path

from emlb_runtime.formats.folders import files_below


def make(folder: Path, *names: str) -> None:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def found(folder: Path, *endings: str) -> list[str]:
    return [path.relative_to(folder).as_posix() for path in files_below(folder, *endings)]


def test_endings_in_capitals_or_not(tmp_path: Path) -> None:
    make(tmp_path, "b/1.TXT", "a.b.txt", "2.ann", "3.txt.gz")
    assert found(tmp_path, ".txt") == ["a.b.txt", "b/1.TXT"]
    assert found(tmp_path, ".txt", ".ann") == ["2.ann", "a.b.txt", "b/1.TXT"]
    assert len(found(tmp_path)) == 4


def test_what_is_hidden_is_passed_over(tmp_path: Path) -> None:
    make(tmp_path, "._1.txt", ".git/2.txt", "__MACOSX/._3.txt", ".DS_Store", "4.txt")
    assert found(tmp_path, ".txt") == ["4.txt"]


def test_links_are_followed_once(tmp_path: Path) -> None:
    make(tmp_path / "c", "real/1.txt")
    make(tmp_path / "other", "2.txt")
    (tmp_path / "c" / "again").symlink_to(tmp_path / "c" / "real")
    (tmp_path / "c" / "far").symlink_to(tmp_path / "other")
    (tmp_path / "c" / "real" / "up").symlink_to(tmp_path / "c")
    (tmp_path / "c" / "lost.txt").symlink_to(tmp_path / "nowhere")
    assert found(tmp_path / "c", ".txt") == ["far/2.txt", "lost.txt", "real/1.txt"]


def test_folders_named_like_files(tmp_path: Path) -> None:
    (tmp_path / "1.txt").mkdir()
    make(tmp_path, "2.txt/3.txt")
    assert found(tmp_path, ".txt") == ["1.txt", "2.txt/3.txt"]


def test_what_cannot_be_listed_is_told(tmp_path: Path) -> None:
    unread: list[Path] = []
    assert files_below(tmp_path / "nowhere", unread=unread) == []
    assert unread == [tmp_path / "nowhere"]
