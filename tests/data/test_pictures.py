"""A damaged picture of GTSRB is an error that names it, or the same picture; never another one."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
import torch
from PIL import Image

from cl_runner.data import gtsrb
from cl_runner.errors import DataError


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    path = tmp_path / "00001_00000.ppm"
    noise = random.Random(0).randbytes(3 * 11 * 13)
    Image.frombytes("RGB", (11, 13), noise).save(path)
    return path


def decoded(path: Path, content: bytes) -> torch.Tensor | None:
    """What is made of these bytes; None if they are refused as they should be."""
    path.write_bytes(content)
    try:
        return gtsrb.decode(str(path))
    except DataError as error:
        assert error.exit_code == 4 and len(str(error).splitlines()) == 1
        assert str(error).startswith(f"data error: {path} cannot be decoded: ")
        return None


def test_every_byte_of_the_header_and_every_length(picture: Path) -> None:
    """White space, digits and others for each byte; a byte too many; each shorter length."""
    values = {*b" \t\n\r\f\v0123456789#-+.P\0\xff", *random.Random(1).randbytes(10)}
    whole = picture.read_bytes()
    good = gtsrb.decode(str(picture))
    header = len(whole) - 3 * 11 * 13
    same = 0
    for place in range(header):
        for value in values - {whole[place]}:
            made = decoded(picture, whole[:place] + bytes([value]) + whole[place + 1 :])
            assert made is None or torch.equal(made, good), (place, value)
            same += made is not None
    assert same == 4 * 5  # another white space in the four places where one has to be
    assert all(decoded(picture, whole[:length]) is None for length in range(len(whole)))
    assert decoded(picture, whole + b"\0") is None


@pytest.mark.parametrize(
    "header",
    [b"P6 99999 99999 255\n", b"P6 0 0 255\n", b"P6 99999999999 1 255\n", b"P5 11 13 255\n",
     b"P6 -11 -13 255\n", b"P6 11 13 65535\n", b"P6 11 13 0\n", b"P6 # 11\n11 13 255\n",
     b"\xff" * 9],
)  # fmt: skip
def test_a_header_that_says_something_else(picture: Path, header: bytes) -> None:
    """Gigabytes, nothing, more digits than there are, another form."""
    pixels = picture.read_bytes()[-3 * 11 * 13 :]
    assert decoded(picture, header + pixels) is None
    assert decoded(picture, header) is None


def test_it_is_what_a_decoder_of_any_picture_makes_of_it(picture: Path) -> None:
    with Image.open(picture) as file:
        resized = file.convert("RGB").resize((32, 32), Image.Resampling.BILINEAR)
    expected = torch.tensor(list(resized.tobytes()), dtype=torch.uint8).view(32, 32, 3)
    assert torch.equal(gtsrb.decode(str(picture)), expected.permute(2, 0, 1))
