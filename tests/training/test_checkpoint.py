from pathlib import Path

import pytest
import torch

from facesmith.errors import ModelError
from facesmith.training.checkpoint import KEYS, load_checkpoint, save_checkpoint


def state(step: int = 3) -> dict[str, object]:
    return {**dict.fromkeys(KEYS, ""), "step": step, "model": {"weight": torch.arange(4.0)}}


def test_what_was_saved_is_loaded(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.pt"
    save_checkpoint(path, state())
    loaded = load_checkpoint(path)
    assert loaded["step"] == 3
    assert torch.equal(loaded["model"]["weight"], torch.arange(4.0))
    assert [p.name for p in tmp_path.iterdir()] == ["checkpoint.pt"]


def test_a_failed_save_leaves_the_one_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "checkpoint.pt"
    save_checkpoint(path, state(1))

    def full(state: object, where: Path) -> None:
        where.write_bytes(b"half")
        raise OSError("no space left")

    with monkeypatch.context() as patch:
        patch.setattr(torch, "save", full)
        with pytest.raises(OSError, match="no space left"):
            save_checkpoint(path, state(2))
    assert load_checkpoint(path)["step"] == 1
    assert [p.name for p in tmp_path.iterdir()] == ["checkpoint.pt"]


@pytest.mark.parametrize("change", [{"step": None}, {"more": 1}])
def test_wrong_keys_are_refused(tmp_path: Path, change: dict[str, object]) -> None:
    wrong = {**state(), **change}
    if change["step" if "step" in change else "more"] is None:
        del wrong["step"]
    torch.save(wrong, tmp_path / "a.pt")
    with pytest.raises(ModelError, match=r"a\.pt: is not a facesmith checkpoint; expected the keys ema, model"):
        load_checkpoint(tmp_path / "a.pt")


def test_files_that_are_no_checkpoint_are_refused(tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "whole.pt", state())
    (tmp_path / "torn.pt").write_bytes((tmp_path / "whole.pt").read_bytes()[:400])
    (tmp_path / "text.pt").write_text("hello")
    for name in ("torn.pt", "text.pt", "absent.pt"):
        with pytest.raises(ModelError, match=f"{name}: is not a readable checkpoint"):
            load_checkpoint(tmp_path / name)
    torch.save([1, 2], tmp_path / "list.pt")
    with pytest.raises(ModelError, match="is not a facesmith checkpoint"):
        load_checkpoint(tmp_path / "list.pt")


class Gift:
    """Would run code when unpickled."""

    def __reduce__(self) -> tuple[object, ...]:
        return print, ("unpickled",)


def test_no_code_is_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch.save({**state(), "model": Gift()}, tmp_path / "a.pt")
    with pytest.raises(ModelError, match="is not a readable checkpoint"):
        load_checkpoint(tmp_path / "a.pt")
    assert "unpickled" not in capsys.readouterr().out
