"""GTSRB: a damaged picture is an error that names it or the same picture, never another one."""

from __future__ import annotations

import os
import random
from pathlib import Path

import pytest
import torch
from PIL import Image

from cl_runner.data import gtsrb, pictures
from cl_runner.data.picture_files import as_tensor
from cl_runner.errors import DataError


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    path = tmp_path / "00001_00000.ppm"
    noise = random.Random(0).randbytes(3 * 11 * 13)
    Image.frombytes("RGB", (11, 13), noise).save(path)
    return path


def made(path: Path) -> torch.Tensor:
    return as_tensor(gtsrb.picture(str(path)), (gtsrb.SIZE, gtsrb.SIZE))


def decoded(path: Path, content: bytes) -> torch.Tensor | None:
    """The picture in these bytes; None if they are refused as they should be."""
    path.write_bytes(content)
    try:
        return made(path)
    except DataError as error:
        assert error.exit_code == 4 and len(str(error).splitlines()) == 1
        assert str(error).startswith(f"data error: {path} cannot be decoded: ")
        return None


def test_every_byte_of_the_header_and_every_length(picture: Path) -> None:
    """White space, digits and others for each byte; one byte too many; each shorter length."""
    values = {*b" \t\n\r\f\v0123456789#-+.P\0\xff", *random.Random(1).randbytes(10)}
    whole = picture.read_bytes()
    good = made(picture)
    header = len(whole) - 3 * 11 * 13
    same = 0
    for place in range(header):
        for value in values - {whole[place]}:
            other = decoded(picture, whole[:place] + bytes([value]) + whole[place + 1 :])
            assert other is None or torch.equal(other, good), (place, value)
            same += other is not None
    assert same == 4 * 5  # other white space in the four places that need some
    assert all(decoded(picture, whole[:length]) is None for length in range(len(whole)))
    assert decoded(picture, whole + b"\0") is None


@pytest.mark.parametrize(
    "header",
    [b"P6 99999 99999 255\n", b"P6 0 0 255\n", b"P6 99999999999 1 255\n", b"P5 11 13 255\n",
     b"P6 -11 -13 255\n", b"P6 11 13 65535\n", b"P6 11 13 0\n", b"P6 # 11\n11 13 255\n",
     b"\xff" * 9],
)  # fmt: skip
def test_a_header_that_says_something_else(picture: Path, header: bytes) -> None:
    """Gigabytes, nothing, too many digits, another format."""
    pixels = picture.read_bytes()[-3 * 11 * 13 :]
    assert decoded(picture, header + pixels) is None
    assert decoded(picture, header) is None


def test_it_is_what_a_decoder_of_any_picture_makes_of_it(picture: Path) -> None:
    with Image.open(picture) as file:
        resized = file.convert("RGB").resize((32, 32), Image.Resampling.BILINEAR)
    expected = torch.tensor(list(resized.tobytes()), dtype=torch.uint8).view(32, 32, 3)
    assert torch.equal(made(picture), expected.permute(2, 0, 1))


@pytest.fixture
def signs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A small GTSRB: two classes with two tracks of two frames each, and three test pictures."""
    monkeypatch.setattr(gtsrb, "PICTURES", {"train": 8, "test": 3})
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    base = tmp_path / "gtsrb" / "GTSRB"
    for label in range(2):
        (base / "Training" / f"{label:05}").mkdir(parents=True)
        for track in range(2):
            for frame in range(2):
                colour = (label, track, frame)
                name = f"{track:05}_{frame:05}.ppm"
                Image.new("RGB", (40, 30), colour).save(base / "Training" / f"{label:05}" / name)
    images = base / "Final_Test" / "Images"
    images.mkdir(parents=True)
    rows = ["Filename;Width;Height;Roi.X1;Roi.Y1;Roi.X2;Roi.Y2;ClassId"]
    for n in range(3):
        Image.new("RGB", (32, 32), (n, 100, 0)).save(images / f"{n:05}.ppm")
        rows.append(f"{n:05}.ppm;32;32;0;0;0;0;{n % 2}")
    (tmp_path / "gtsrb" / "GT-final_test.csv").write_text("\n".join(rows))
    return tmp_path


def test_traffic_signs_are_decoded_once(signs: Path) -> None:
    train, test = gtsrb.GTSRB().load(str(signs))
    assert train.images.shape == (8, 3, 32, 32)
    assert train.images[:, 0, 0, 0].tolist() == train.labels.tolist() == [0] * 4 + [1] * 4
    assert train.groups.unique().numel() == 4  # classes share no track
    assert test.labels.tolist() == [0, 1, 0]
    for picture in signs.rglob("*.ppm"):  # same size and time as before
        times = picture.stat().st_atime_ns, picture.stat().st_mtime_ns
        picture.write_bytes(bytes(picture.stat().st_size))
        os.utime(picture, ns=times)
    again, _ = gtsrb.GTSRB().load(str(signs))
    assert torch.equal(again.images, train.images)


@pytest.mark.parametrize("size", [0, 1, 3 * 32 * 32, -1, 3 * 32 * 32 * 8 + 1])
def test_a_cache_that_is_not_whole_is_made_again(signs: Path, size: int) -> None:
    """Of no byte, cut anywhere, or longer."""
    good = gtsrb.GTSRB().load(str(signs))[0].images
    caches = sorted((signs / "cache").rglob("*.uint8"), key=lambda file: file.stat().st_size)
    whole = caches[-1].read_bytes()
    caches[-1].write_bytes(whole[:size] if size < len(whole) else whole + b"\0")
    assert torch.equal(gtsrb.GTSRB().load(str(signs))[0].images, good)
    assert caches[-1].read_bytes() == whole
    left = [file for file in (signs / "cache").rglob("*") if file.is_file()]
    assert sorted(file.suffix for file in left) == [".lock"] * 2 + [".uint8"] * 2


def test_a_cache_with_other_pixels_is_made_again(signs: Path) -> None:
    """Any bit that has changed is noticed."""
    good = gtsrb.GTSRB().load(str(signs))[0].images
    cache = max((signs / "cache").rglob("*.uint8"), key=lambda file: file.stat().st_size)
    whole = cache.read_bytes()
    for at in (0, 12_345, len(whole) - 33, len(whole) - 1):
        cache.write_bytes(whole[:at] + bytes([whole[at] ^ 4]) + whole[at + 1 :])
        assert torch.equal(gtsrb.GTSRB().load(str(signs))[0].images, good)
        assert cache.read_bytes() == whole


def test_pictures_are_read_where_no_cache_can_be_kept(
    signs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    good = gtsrb.GTSRB().load(str(signs))[0].images
    (signs / "a file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(signs / "a file"))
    monkeypatch.setattr(pictures, "PART", 3)  # the last part is smaller
    assert torch.equal(gtsrb.GTSRB().load(str(signs))[0].images, good)


def test_a_changed_picture_is_not_taken_from_the_cache(signs: Path) -> None:
    gtsrb.GTSRB().load(str(signs))
    path = signs / "gtsrb" / "GTSRB" / "Training" / "00000" / "00000_00000.ppm"
    Image.new("RGB", (41, 30), (77, 0, 0)).save(path)
    assert gtsrb.GTSRB().load(str(signs))[0].images[0, 0, 0, 0] == 77


@pytest.mark.parametrize(
    ("damage", "word"),
    [
        (lambda path: path.write_bytes(b""), "empty"),
        (lambda path: path.write_bytes(path.read_bytes()[:100]), "cannot be decoded"),
        (lambda path: path.write_bytes(b"no picture"), "cannot be decoded"),
        (lambda path: path.write_bytes(b"P6 99999 99999 255 "), "says 99999 × 99999 pixels"),
    ],
)
def test_a_picture_that_is_not_right_is_named(signs: Path, damage, word: str) -> None:
    path = signs / "gtsrb" / "GTSRB" / "Training" / "00001" / "00001_00000.ppm"
    damage(path)
    with pytest.raises(DataError) as raised:
        gtsrb.GTSRB().load(str(signs))
    assert str(path) in str(raised.value) and word in str(raised.value)


def test_an_incomplete_data_set_is_not_taken_for_present(signs: Path) -> None:
    (signs / "gtsrb" / "GTSRB" / "Training" / "00001" / "00001_00000.ppm").unlink()
    with pytest.raises(DataError, match="has 7 pictures in its train split, expected 8"):
        gtsrb.GTSRB().load(str(signs))
