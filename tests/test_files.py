"""Files are written whole or not at all."""

import os
import stat

import pytest

from facesmith import files

posix = pytest.mark.skipif(os.name != "posix", reason="POSIX permissions")


def names(folder) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def write_half(path, error: type[BaseException]) -> None:
    with files.replacing(path) as temporary:
        temporary.write_text("half")
        raise error


class TestReplacing:
    def test_new_file(self, tmp_path):
        with files.replacing(tmp_path / "a.txt") as temporary:
            temporary.write_text("new")
            assert not (tmp_path / "a.txt").exists()
            assert temporary.parent == tmp_path
        assert (tmp_path / "a.txt").read_text() == "new"
        assert names(tmp_path) == ["a.txt"]

    def test_old_file_stays_until_the_end(self, tmp_path):
        path = tmp_path / "a.txt"
        path.write_text("old")
        with files.replacing(path) as temporary:
            temporary.write_text("new")
            assert path.read_text() == "old"
        assert path.read_text() == "new"

    @pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
    def test_on_error_the_old_file_stays_and_nothing_else(self, error, tmp_path):
        path = tmp_path / "a.txt"
        path.write_text("old")
        with pytest.raises(error):
            write_half(path, error)
        assert path.read_text() == "old"
        assert names(tmp_path) == ["a.txt"]

    def test_on_error_no_new_file(self, tmp_path):
        with pytest.raises(RuntimeError):
            write_half(tmp_path / "a.txt", RuntimeError)
        assert names(tmp_path) == []

    def test_temporary_name_keeps_the_suffix_and_is_hidden(self, tmp_path):
        with files.replacing(tmp_path / "weights.tar.onnx") as temporary:
            assert temporary.suffix == ".onnx"
            assert temporary.name.startswith(".")

    def test_two_writers_of_one_file_do_not_meet(self, tmp_path):
        path = tmp_path / "a.txt"
        with files.replacing(path) as first, files.replacing(path) as second:
            assert first != second
            first.write_text("first")
            second.write_text("second")
        assert path.read_text() == "first", "the one that ends last wins, whole"
        assert names(tmp_path) == ["a.txt"]

    def test_parents_are_made(self, tmp_path):
        files.write_text(tmp_path / "x" / "y" / "a.txt", "deep")
        assert (tmp_path / "x" / "y" / "a.txt").read_text() == "deep"

    def test_target_is_a_folder(self, tmp_path):
        (tmp_path / "a").mkdir()
        with pytest.raises(OSError, match=r"a'?$|directory"):
            files.write_text(tmp_path / "a", "text")
        assert names(tmp_path) == ["a"]

    def test_parent_is_a_file(self, tmp_path):
        (tmp_path / "a").touch()
        with pytest.raises(OSError, match="a"):
            files.write_text(tmp_path / "a" / "b.txt", "text")

    @posix
    def test_new_file_has_the_usual_mode(self, tmp_path):
        usual = tmp_path / "usual"
        usual.touch()
        files.write_text(tmp_path / "a.txt", "text")
        assert stat.S_IMODE((tmp_path / "a.txt").stat().st_mode) == stat.S_IMODE(usual.stat().st_mode)

    @posix
    @pytest.mark.parametrize("mode", [0o600, 0o640, 0o755])
    def test_mode_of_the_old_file_is_kept(self, mode, tmp_path):
        path = tmp_path / "a.txt"
        path.touch()
        path.chmod(mode)
        files.write_text(path, "text")
        assert stat.S_IMODE(path.stat().st_mode) == mode

    @posix
    def test_umask_is_left_as_it_was(self, tmp_path):
        before = os.umask(0o027)
        try:
            files.write_text(tmp_path / "a.txt", "text")
            assert os.umask(0o027) == 0o027
            assert stat.S_IMODE((tmp_path / "a.txt").stat().st_mode) == 0o640
        finally:
            os.umask(before)


def test_text_is_utf_8(tmp_path):
    files.write_text(tmp_path / "a.txt", "Grüße, 顔\n")
    assert (tmp_path / "a.txt").read_bytes() == "Grüße, 顔\n".encode()


@pytest.mark.parametrize("data", [b"", b"\x00\xff\r\n" * 1000])
def test_bytes_are_unchanged(data, tmp_path):
    files.write_bytes(str(tmp_path / "a.bin"), data)
    assert (tmp_path / "a.bin").read_bytes() == data
