"""``--plot`` saves a picture beside the printed result, the same for the same arguments."""

from pathlib import Path

import pytest

from tests.command_line.command import data, text

pytest.importorskip("matplotlib")

COMMANDS = {
    "compare": ("compare", "--servers", "2", "--requests", "1000", "--runs", "2"),
    "compare, nothing steady": (
        *("compare", "--servers", "a=9,b", "--policies", "round_robin"),
        *("--requests", "5000", "--runs", "2"),
    ),
    "remap": ("remap", "a,b", "a,b,$c^$", "--random", "200"),
    "remap, two methods": (
        *("remap", "a,b", "a,b,c", "a", "--random", "200"),
        *("--methods", "maglev,twemproxy:ketama,hash_tag=$$"),
    ),
    "predict": ("predict", "twemproxy:ketama,hash_tag=$$", "$a_$,北,c=2", "--random", "200"),
}
STARTS = {".png": b"\x89PNG", ".svg": b"<?xml", ".pdf": b"%PDF"}


@pytest.mark.parametrize("arguments", COMMANDS.values(), ids=COMMANDS)
def test_a_picture_of_every_result(arguments: tuple[str, ...], tmp_path: Path) -> None:
    picture = tmp_path / "picture.svg"
    assert text(*arguments, "--plot", str(picture)) == text(*arguments)
    first = picture.read_bytes()
    assert first.startswith(STARTS[".svg"])
    assert len(first) > 3000
    assert data(*arguments, "--plot", str(picture)) == data(*arguments)
    assert picture.read_bytes() == first


@pytest.mark.parametrize("suffix", [*STARTS, ".PNG"])
def test_formats(suffix: str, tmp_path: Path) -> None:
    picture = tmp_path / f"picture{suffix}"
    picture.write_bytes(b"an older file")
    text(*COMMANDS["predict"], "--plot", str(picture))
    assert picture.read_bytes().startswith(STARTS[suffix.lower()])


def test_a_picture_of_many_servers(tmp_path: Path) -> None:
    servers = ",".join(f"server-{number}" for number in range(300))
    for arguments in (
        ("predict", "hash_ring", servers, "--random", "500"),
        ("remap", servers, f"{servers},x", "--random", "500"),
    ):
        picture = tmp_path / "picture.png"
        text(*arguments, "--plot", str(picture))
        assert picture.stat().st_size > 3000
