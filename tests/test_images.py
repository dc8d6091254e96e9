"""The strict decode point: what each stored mode becomes, and what is refused."""

from __future__ import annotations

import io
import os
import resource
import struct
import threading
import time
import warnings
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np
import pytest
from PIL import Image, ImageFile, PngImagePlugin

from core.data.images import read_image, sniff
from core.data.resizing import resized, shrunk
from core.errors import ConfigError, ImageError

if TYPE_CHECKING:
    from numpy.typing import NDArray

REAL = Path(__file__).parent.parent.parent / "shared" / "data"


def picture(height: int = 48, width: int = 64) -> NDArray[np.uint8]:
    """A smooth picture whose eight orientations all differ."""
    rows, cols = np.mgrid[0:height, 0:width]
    return np.stack([rows * 4, cols * 3, (rows + cols) * 2], axis=2).astype(np.uint8)


def chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def png(width: int, height: int, bits: int, colour: int, rows: bytes, *more: bytes) -> bytes:
    """A PNG made by hand, so that its header can say anything."""
    header = struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0)
    return b"".join(
        [
            b"\x89PNG\r\n\x1a\n",
            chunk(b"IHDR", header),
            *more,
            chunk(b"IDAT", zlib.compress(rows)),
            chunk(b"IEND", b""),
        ]
    )


def saved(path: Path, image: Image.Image, **options: object) -> Path:
    image.save(path, **options)  # type: ignore[arg-type]
    return path


# --- what is read ------------------------------------------------------------------------------


def test_colour_keeps_its_exact_values_in_every_lossless_format(tmp_path: Path) -> None:
    pixels = picture()
    for extension, options in {
        "png": {},
        "tif": {"compression": "tiff_lzw"},
        "bmp": {},
        "ppm": {},
        "webp": {"lossless": True},
    }.items():
        path = saved(tmp_path / f"a.{extension}", Image.fromarray(pixels), **options)
        read = read_image(path)
        assert read.dtype == np.uint8, extension
        assert np.array_equal(read, pixels), extension


def test_sixteen_bit_grey_keeps_all_its_values(tmp_path: Path) -> None:
    deep = (np.arange(48 * 64, dtype=np.uint16) * 21).reshape(48, 64)
    for name in ("a.png", "a.tif", "a.pgm"):
        read = read_image(saved(tmp_path / name, Image.fromarray(deep)))
        assert read.dtype == np.uint16, name
        assert np.array_equal(read[:, :, 0], deep), name


def test_sixteen_bit_colour_keeps_all_its_values(tmp_path: Path) -> None:
    deep = (np.arange(48 * 64 * 3, dtype=np.uint16) * 7).reshape(48, 64, 3)
    for name in ("a.png", "a.tif"):
        assert cv2.imwrite(str(tmp_path / name), deep[:, :, ::-1])
        read = read_image(tmp_path / name)
        assert read.dtype == np.uint16, name
        assert np.array_equal(read, deep), name


def test_sixteen_bit_grey_with_alpha_is_laid_over_black(tmp_path: Path) -> None:
    # Value 40000 at half alpha (32768 of 65535): 40000 * 32768 / 65535 = 20000.3.
    row = b"\0" + struct.pack(">HHHH", 40000, 32768, 40000, 65535)
    (tmp_path / "a.png").write_bytes(png(2, 1, 16, 4, row))
    read = read_image(tmp_path / "a.png")
    assert read.dtype == np.uint16
    assert read.tolist() == [[[20000], [40000]]]


def test_float_tiff_stays_float(tmp_path: Path) -> None:
    values = np.linspace(-1.5, 2.5, 48 * 64, dtype=np.float32).reshape(48, 64)
    read = read_image(saved(tmp_path / "a.tif", Image.fromarray(values)))
    assert read.dtype == np.float32
    assert np.array_equal(read[:, :, 0], values)


def test_the_mode_table_holds(tmp_path: Path) -> None:
    grey = Image.fromarray(picture()[:, :, 0])
    one_bit = read_image(saved(tmp_path / "bit.png", grey.convert("1")))
    assert one_bit.shape == (48, 64, 1)
    assert set(np.unique(one_bit)) == {0, 255}
    colour = Image.fromarray(picture())
    palette = colour.quantize(16)
    assert np.array_equal(
        read_image(saved(tmp_path / "p.png", palette)), np.asarray(palette.convert("RGB"))
    )
    cmyk = colour.convert("CMYK")
    near = read_image(saved(tmp_path / "c.jpg", cmyk, quality=95)).astype(int)
    assert near.shape == (48, 64, 3)
    assert np.abs(near - picture()).max() < 24
    assert np.array_equal(read_image(saved(tmp_path / "c.tif", cmyk)), picture())


def test_alpha_is_laid_over_black_and_opaque_values_are_exact(tmp_path: Path) -> None:
    # 200 at alpha 128: (200 * 128 + 127) // 255 = 100.
    pixels = np.array([[[200, 100, 50, 255], [200, 100, 50, 128], [200, 100, 50, 0]]], np.uint8)
    read = read_image(saved(tmp_path / "a.png", Image.fromarray(pixels)))
    assert read.tolist() == [[[200, 100, 50], [100, 50, 25], [0, 0, 0]]]
    grey = np.array([[[9, 255], [9, 0]]], np.uint8)
    assert read_image(saved(tmp_path / "la.png", Image.fromarray(grey))).tolist() == [[[9], [0]]]


def test_a_key_colour_counts_as_alpha(tmp_path: Path) -> None:
    palette = Image.fromarray(np.array([[0, 1]], np.uint8), "L").convert("P")
    palette.putpalette([10, 20, 30, 40, 50, 60])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        path = saved(tmp_path / "p.png", palette, transparency=b"\x00\xff")
        assert read_image(path).tolist() == [[[0, 0, 0], [40, 50, 60]]]
        grey = Image.fromarray(np.array([[7, 8]], np.uint8))
        assert read_image(saved(tmp_path / "l.png", grey, transparency=7)).tolist() == [[[0], [8]]]


def test_a_tiff_whose_zero_is_white_is_turned_over(tmp_path: Path) -> None:
    deep = np.array([[0, 1000, 65535]], np.uint16)
    path = saved(tmp_path / "a.tif", Image.fromarray(deep), tiffinfo={262: 0})
    stored = bytearray(path.read_bytes())
    place = stored.index(struct.pack("<HHI", 262, 3, 1))
    stored[place + 8 : place + 10] = struct.pack("<H", 0)
    path.write_bytes(stored)
    assert read_image(path)[:, :, 0].tolist() == [[65535, 64535, 0]]


@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_exif_orientation_comes_out_upright(tmp_path: Path, orientation: int) -> None:
    upright = picture()
    undo = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }
    stored = Image.fromarray(upright)
    if orientation in undo:
        stored = stored.transpose(undo[orientation])
    exif = Image.Exif()
    exif[0x0112] = orientation
    for name, options in {
        "a.png": {},
        "a.tif": {},
        "a.webp": {"lossless": True},
        "a.jpg": {"quality": 98, "subsampling": 0},
    }.items():
        path = saved(tmp_path / name, stored, exif=exif, **options)
        read = read_image(path).astype(int)
        assert read.shape == upright.shape, name
        assert np.abs(read - upright).max() <= (8 if name == "a.jpg" else 0), name


def test_exif_behind_the_pixels_of_a_png_counts(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    plain = png(3, 2, 8, 0, b"\0\1\2\3\0\4\5\6")
    end = plain.index(b"IEND") - 4
    late = plain[:end] + chunk(b"eXIf", exif.tobytes()[6:]) + plain[end:]
    (tmp_path / "a.png").write_bytes(late)
    assert read_image(tmp_path / "a.png")[:, :, 0].tolist() == [[4, 1], [5, 2], [6, 3]]


def test_damaged_exif_does_not_stop_an_image(tmp_path: Path) -> None:
    path = saved(
        tmp_path / "a.jpg", Image.fromarray(picture()), exif=b"Exif\0\0II*\0\xff\xff\xff\xff"
    )
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert read_image(path).shape == (48, 64, 3)


def test_the_content_decides_and_not_the_extension(tmp_path: Path) -> None:
    right = saved(tmp_path / "a.png", Image.fromarray(picture()))
    wrong = tmp_path / "b.jpg"
    wrong.write_bytes(right.read_bytes())
    assert np.array_equal(read_image(wrong), read_image(right))


def test_a_large_jpeg_is_shrunk_but_never_below_what_is_needed(tmp_path: Path) -> None:
    large = Image.fromarray(picture()).resize((1600, 1200), Image.Resampling.BICUBIC)
    exif = Image.Exif()
    exif[0x0112] = 6
    path = saved(tmp_path / "a.jpg", large, quality=95, exif=exif)
    # Upright it is 1600 high and 1200 wide; 1600 / 390 = 4.1, 1200 / 300 = 4.
    assert read_image(path, at_least=(390, 300)).shape == (400, 300, 3)
    # 1600 / 801 < 2: nothing to win.
    assert read_image(path, at_least=(801, 300)).shape == (1600, 1200, 3)
    assert read_image(path).shape == (1600, 1200, 3)
    png_path = saved(tmp_path / "a.png", large)
    assert read_image(png_path, at_least=(100, 100)).shape == (1200, 1600, 3)


def test_the_main_picture_of_a_telephone_jpeg_is_read(tmp_path: Path) -> None:
    main, second = Image.fromarray(picture()), Image.new("RGB", (10, 10))
    path = tmp_path / "a.jpg"
    main.save(path, format="MPO", save_all=True, append_images=[second])
    assert read_image(path).shape == (48, 64, 3)


def test_a_reduced_copy_inside_a_tiff_is_no_second_page(tmp_path: Path) -> None:
    small = Image.fromarray(picture()[::4, ::4])
    small.encoderinfo = {"tiffinfo": {254: 1}}  # type: ignore[attr-defined]
    path = tmp_path / "a.tif"
    Image.fromarray(picture()).save(path, save_all=True, append_images=[small])
    assert np.array_equal(read_image(path), picture())


def test_many_threads_read_the_same_pixels_and_leave_no_trace(tmp_path: Path) -> None:
    paths = []
    for i in range(12):
        image = Image.fromarray(np.roll(picture(), i, axis=0))
        paths.append(saved(tmp_path / f"{i}.tif", image))
        paths.append(saved(tmp_path / f"{i}.png", image))
    limit, filters = Image.MAX_IMAGE_PIXELS, list(warnings.filters)
    alone = [read_image(path) for path in paths]
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(read_image, paths * 4))
    assert all(np.array_equal(together[i], alone[i % len(paths)]) for i in range(len(together)))
    assert limit == Image.MAX_IMAGE_PIXELS
    assert filters == list(warnings.filters)


# --- what is refused ---------------------------------------------------------------------------


def refusal(path: Path, **options: int) -> str:
    with pytest.raises(ImageError) as caught:
        read_image(path, **options)  # type: ignore[arg-type]
    message = str(caught.value)
    assert path.name in message
    assert "\n" not in message
    return message


@pytest.mark.parametrize("extension", ["jpg", "png", "tif", "bmp", "webp", "ppm"])
@pytest.mark.parametrize("share", [0.3, 0.5, 0.9, 0.99])
def test_a_file_cut_short_is_refused(tmp_path: Path, extension: str, share: float) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (96, 128, 3)).astype(np.uint8)
    whole = saved(tmp_path / f"whole.{extension}", Image.fromarray(noise))
    data = whole.read_bytes()
    cut = tmp_path / f"cut.{extension}"
    cut.write_bytes(data[: int(len(data) * share)])
    refusal(cut)


def test_a_jpeg_without_its_last_bytes_is_refused(tmp_path: Path) -> None:
    whole = saved(tmp_path / "whole.jpg", Image.fromarray(picture(480, 640)))
    cut = tmp_path / "cut.jpg"
    cut.write_bytes(whole.read_bytes()[:-20])
    assert "cut short or damaged" in refusal(cut)


def test_a_flipped_bit_in_a_png_is_refused(tmp_path: Path) -> None:
    path = saved(tmp_path / "a.png", Image.fromarray(picture()))
    data = bytearray(path.read_bytes())
    data[data.index(b"IDAT") + 20] ^= 1
    path.write_bytes(data)
    assert "checksum" in refusal(path)


def test_a_png_without_an_end_is_refused(tmp_path: Path) -> None:
    path = saved(tmp_path / "a.png", Image.fromarray(picture()))
    path.write_bytes(path.read_bytes()[:-12])
    assert "cut short" in refusal(path)


def test_an_empty_file_a_text_file_and_a_missing_file_are_refused(tmp_path: Path) -> None:
    (tmp_path / "empty.jpg").write_bytes(b"")
    (tmp_path / "text.jpg").write_text("this is a note, not a picture, and long enough to be sure")
    (tmp_path / "bytes.jpg").write_bytes(bytes(range(256)))
    assert "0 bytes" in refusal(tmp_path / "empty.jpg")
    assert "text file" in refusal(tmp_path / "text.jpg")
    assert "no image" in refusal(tmp_path / "bytes.jpg")
    assert "no such file" in refusal(tmp_path / "absent.jpg")


def test_gif_and_animations_are_refused(tmp_path: Path) -> None:
    frames = [Image.fromarray(picture()), Image.new("RGB", (64, 48))]
    for name in ("a.gif", "a.png", "a.webp", "a.tif"):
        frames[0].save(tmp_path / name, save_all=True, append_images=frames[1:])
        message = refusal(tmp_path / name)
        assert any(word in message for word in ("GIF", "animated", "several pages")), name


def test_a_pixel_bomb_is_refused_before_memory_is_taken(tmp_path: Path) -> None:
    bombs = {
        "a.png": png(60_000, 60_000, 8, 2, b"\0"),
        "a.ppm": b"P6 60000 60000 255\n" + b"\0" * 100,
        "a.bmp": b"BM" + struct.pack("<4I2i2H", 99, 0, 54, 40, 60000, 60000, 1, 24)
        + bytes(24),
        "a.webp": b"RIFF" + struct.pack("<I", 40) + b"WEBPVP8X" + struct.pack("<I", 10)
        + bytes(4) + b"\x7f\x3e\x00" + b"\x7f\x3e\x00" + bytes(18),
    }  # fmt: skip
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    began = time.monotonic()
    for name, data in bombs.items():
        (tmp_path / name).write_bytes(data)
        assert "not read as one image" in refusal(tmp_path / name), name
    assert time.monotonic() - began < 2
    # Kilobytes; the smallest of them would take 700 MB.
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50_000


def test_the_pixel_limit_can_be_set(tmp_path: Path) -> None:
    for name in ("a.png", "a.tif", "a.jpg"):
        path = saved(tmp_path / name, Image.fromarray(picture()))
        assert read_image(path, max_pixels=48 * 64).shape == (48, 64, 3)
        assert "3,071" in refusal(path, max_pixels=48 * 64 - 1)


def test_an_image_above_the_limits_of_pillow_gives_no_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    path = saved(tmp_path / "a.png", Image.fromarray(picture()))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert read_image(path).shape == (48, 64, 3)


def test_a_text_bomb_is_refused(tmp_path: Path) -> None:
    text = PngImagePlugin.PngInfo()
    text.add_text("Comment", "A" * 20_000_000, zip=True)
    path = saved(tmp_path / "a.png", Image.fromarray(picture()), pnginfo=text)
    assert path.stat().st_size < 100_000
    refusal(path)


def test_a_huge_sparse_file_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    with path.open("wb") as stream:
        stream.truncate(50_000_000_000)
    assert "50.0 GB" in refusal(path)


def test_pipes_devices_folders_and_dead_links_are_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.jpg")
    (tmp_path / "folder.png").mkdir()
    (tmp_path / "dead.png").symlink_to(tmp_path / "nowhere.png")
    (tmp_path / "loop.png").symlink_to(tmp_path / "loop.png")
    (tmp_path / "zero.png").symlink_to("/dev/zero")
    messages: list[str] = []
    worker = threading.Thread(
        target=lambda: messages.extend(
            refusal(tmp_path / name)
            for name in ("pipe.jpg", "folder.png", "zero.png", "dead.png", "loop.png")
        ),
        daemon=True,
    )
    worker.start()
    worker.join(timeout=10)
    assert len(messages) == 5
    assert all("not a regular file" in message for message in messages[:3])


def test_values_that_sixteen_bits_cannot_hold_are_refused(tmp_path: Path) -> None:
    for name, value in {"low.tif": -1, "high.tif": 65536}.items():
        path = saved(tmp_path / name, Image.fromarray(np.full((4, 4), value, np.int32)))
        assert "16 bits" in refusal(path)


def test_float_pixels_that_are_not_numbers_are_refused(tmp_path: Path) -> None:
    values = np.zeros((4, 4), np.float32)
    values[1, 2] = np.nan
    assert "NaN" in refusal(saved(tmp_path / "a.tif", Image.fromarray(values)))


def test_a_tiff_with_an_undeclared_fourth_band_is_refused(tmp_path: Path) -> None:
    bands = np.dstack([picture(), picture()[:, :, :1]])
    path = saved(tmp_path / "a.tif", Image.fromarray(bands, "RGBA"), tiffinfo={338: 0})
    stored = bytearray(path.read_bytes())
    place = stored.index(struct.pack("<HHI", 338, 3, 1))
    stored[place + 8 : place + 10] = struct.pack("<H", 0)
    path.write_bytes(stored)
    assert "4 bands" in refusal(path)


def test_nothing_is_read_while_pillow_accepts_truncated_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = saved(tmp_path / "a.png", Image.fromarray(picture()))
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    with pytest.raises(ConfigError, match="LOAD_TRUNCATED_IMAGES"):
        read_image(path)


def test_damage_of_any_kind_is_an_image_error_and_never_another(tmp_path: Path) -> None:
    rng = np.random.default_rng(7)
    seeds = []
    for extension in ("jpg", "png", "tif", "bmp", "webp", "ppm"):
        buffer = io.BytesIO()
        name = {"jpg": "JPEG", "tif": "TIFF"}.get(extension, extension.upper())
        Image.fromarray(picture(24, 32)).save(buffer, format=name)
        seeds.append((extension, buffer.getvalue()))
    refused = 0
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for extension, data in seeds:
            for i in range(60):
                broken = bytearray(data)
                for place in rng.integers(0, min(len(data), 200), size=4):
                    broken[place] = rng.integers(0, 256)
                path = tmp_path / f"{i}.{extension}"
                path.write_bytes(broken)
                try:
                    pixels = read_image(path)
                except ImageError:
                    refused += 1
                else:
                    assert pixels.ndim == 3
                    assert pixels.shape[2] in {1, 3}
    assert refused > 100


def test_a_hostile_name_cannot_speak_to_the_terminal(tmp_path: Path) -> None:
    path = tmp_path / "a\x1b[31m\nb.jpg"
    path.write_bytes(b"")
    with pytest.raises(ImageError) as caught:
        read_image(path)
    assert "\x1b" not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_kinds_are_told_by_their_first_bytes() -> None:
    assert sniff(b"GIF89a..") == "GIF"
    assert sniff(b"\0" * 128 + b"DICM") == "DICOM"
    assert sniff(b"P5 3 3 255") == "PPM"
    assert sniff(b"Plain words") == ""


@pytest.mark.skipif(not REAL.exists(), reason="the real images are not on this machine")
def test_real_photographs_are_read() -> None:
    paths = sorted((REAL / "coffee_leaves").rglob("*.jpg"))[:20]
    paths += sorted((REAL / "fundus_grades").rglob("*.jpeg"))[:10]
    paths += sorted((REAL / "mammo_film").glob("*.png"))[:5]
    for path in paths:
        pixels = read_image(path)
        with Image.open(path) as stored:
            assert sorted(pixels.shape[:2]) == sorted(stored.size)
        assert pixels.std() > 1


@pytest.mark.parametrize("channels", [1, 3, 4, 5, 8, 20])
@pytest.mark.parametrize("size", [(24, 31), (37, 37), (100, 90)])
def test_every_channel_is_resized_as_if_it_were_alone(channels: int, size: tuple[int, int]) -> None:
    image = np.random.default_rng(0).integers(0, 255, (80, 90, channels), dtype=np.uint8)
    for how in (cv2.INTER_AREA, cv2.INTER_LINEAR):
        found = resized(image, size, how)
        for channel in range(channels):
            alone = cv2.resize(image[..., channel].copy(), size[::-1], interpolation=how)
            np.testing.assert_array_equal(found[..., channel], alone)


def test_a_picture_without_channels_keeps_its_form_at_another_size() -> None:
    image = np.random.default_rng(0).integers(0, 65535, (40, 30), dtype=np.uint16)
    # Every other column: not one block of memory, as OpenCV wants it.
    for grey in (image, image[:, ::2], image.T):
        found = resized(grey, (17, 50), cv2.INTER_LINEAR)
        wanted = cv2.resize(np.ascontiguousarray(grey), (50, 17), interpolation=cv2.INTER_LINEAR)
        np.testing.assert_array_equal(found, wanted)


@pytest.mark.parametrize("shape", [(20, 50), (50, 20), (20, 50, 3), (50, 20, 1), (30, 50, 6)])
def test_a_picture_shrinks_in_proportion_to_the_averages_of_its_pixels(
    shape: tuple[int, ...],
) -> None:
    image = np.random.default_rng(0).random(shape).astype(np.float32)
    found = shrunk(image, 10)
    assert found.shape == (shape[0] // 5, shape[1] // 5, *shape[2:])
    # Blocks of 5 x 5 pixels.
    blocks = image.reshape(shape[0] // 5, 5, shape[1] // 5, 5, *shape[2:])
    np.testing.assert_allclose(found, blocks.mean(axis=(1, 3)), atol=1e-6)
    assert shrunk(image, 50) is image
    assert shrunk(image, 51) is image
    assert max(shrunk(image, 49).shape[:2]) == 49


def test_a_thread_shrinks_to_a_line_of_one_pixel() -> None:
    assert shrunk(np.zeros((300, 2, 3), np.uint8), 10).shape == (10, 1, 3)
    assert shrunk(np.zeros((2, 300), np.uint8), 10).shape == (1, 10)
