"""From a mammogram to the same breast at one size, one side and one brightness.

Find the breast, cut it out, turn the chest wall to the left, fit it into a tall
rectangle without stretching, and spread the grey values of the breast over the
full range. The way back to the source's pixels is kept, so that what a model
sees can be drawn where it belongs.

Reading is here too: one function for DICOM and for ordinary image files. Which
files are mammograms, and of what, is ``apps.mammography.headers``' question.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from apps.mammography.dicom import read_dicom
from core.data.dicom import DICOM_SUFFIXES, is_dicom
from core.data.images import read_image
from core.data.resizing import shrunk
from core.data.steps import Steps

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import NDArray

__all__ = ["BreastMask", "augment", "find_breast", "prepare", "read"]

# Long side of the picture on which the breast is looked for, in pixels.
SEARCH_PX = 384
# A breast that fills less of the picture than this is not believed.
LEAST_BREAST = 0.02
# Room around the breast, as a share of the longer side of its box.
MARGIN = 0.02
# Grey values of the breast that become black and white, in percent.
DARK, BRIGHT = 1.0, 99.5
# Share of the breast at the picture's very highest value from which detail is lost.
SATURATED = 0.5
# Long side of the picture on which sharpness is judged, in pixels, and the least variance of the
# Laplacian within the breast there, its greys spread over 255. Of 65 real films and 5 real DICOM
# files the least sharp has 39; blurred by a Gaussian of 1/256 of the long side all have under 12.4.
SHARP_PX = 1024
LEAST_SHARPNESS = 12.5
# A breast of fewer pixels there is too small to be judged.
LEAST_JUDGED_PX = 2000
# How much darker the breast must end on one side than on the other before that
# side is believed against the header: 0 is any, 1 is black against any grey.
CLEAR_SIDE = 0.35


def read(row: Mapping[str, Any]) -> NDArray[Any]:
    """Pixels of one manifest row: (H, W, 1), bright tissue on a dark ground.

    Args:
        row: ``path``, absolute, and for DICOM ``voi`` (see ``read_dicom``).

    Raises:
        ImageError: with the reason it cannot be read.
    """
    path = Path(str(row["path"]))
    if is_dicom(path) or path.suffix.lower() in DICOM_SUFFIXES:
        voi = row.get("voi")
        return read_dicom(path, voi=voi if isinstance(voi, str) else "")
    pixels = read_image(path)
    if pixels.shape[2] == 1:
        return pixels
    # A grey picture saved as colour; a coloured one is judged by its brightness.
    grey: NDArray[Any] = np.rint(pixels.mean(axis=2, keepdims=True)).astype(pixels.dtype)
    return grey


def prepare(size_px: tuple[int, int]) -> Callable[[dict[str, Any]], dict[str, Any]]:
    """The transform from source pixels to (H, W, C) of this size; see ``App.prepare``."""
    return Steps((LocateBreast(), CutAndTurn(), FitBreast(size_px), SpreadGreys()))


@dataclass(frozen=True)
class BreastMask:
    """Where the breast is.

    Attributes:
        mask: (h, w) bool on a reduced picture.
        box: top, left, bottom, right in source pixels, bottom and right excluded.
        fraction: share of the picture that is breast.
        chest_side: ``left`` or ``right``; empty where both ends look alike.
        certainty: how clear the chest side is, 0 to 1.
    """

    mask: NDArray[np.bool_]
    box: tuple[int, int, int, int]
    fraction: float
    chest_side: str
    certainty: float


def find_breast(pixels: NDArray[Any]) -> BreastMask:
    """The breast in a mammogram (H, W, C) on any even, dark ground.

    The ground is measured, not assumed to be zero. Thin things (letters, film
    edges, frames of a scanner) fall to a morphological opening, separate ones
    (lead markers, labels) are not the largest piece.
    """
    height, width = pixels.shape[:2]
    scale = min(1.0, SEARCH_PX / max(height, width))
    grey = pixels[..., 0] if pixels.shape[2] == 1 else pixels.mean(axis=2, dtype=np.float32)
    grey = shrunk(grey, SEARCH_PX).astype(np.float32)
    mask = _largest_piece(_above_ground(grey))
    fraction = float(mask.mean())
    if not fraction:
        return BreastMask(mask, (0, 0, height, width), 0.0, "", 0.0)
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    margin = round(MARGIN * max(np.ptp(rows), np.ptp(columns)) / scale) + round(1 / scale)
    box = (
        max(0, round(rows[0] / scale) - margin),
        max(0, round(columns[0] / scale) - margin),
        min(height, round((rows[-1] + 1) / scale) + margin),
        min(width, round((columns[-1] + 1) / scale) + margin),
    )
    side, certainty = _chest_side(grey - float(grey[~mask].min(initial=0)), mask)
    return BreastMask(mask, box, fraction, side, certainty)


def _above_ground(grey: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Pixels clearly brighter than the ground.

    Otsu's threshold tells tissue from ground on a square-root scale, which
    gives the thin skin a chance against the bright gland; the ground's own
    level and noise then set how low the cut may go.
    """
    import cv2  # noqa: PLC0415  (see find_breast)

    low, high = (float(v) for v in np.percentile(grey, [0.5, 99.5]))
    if high <= low:
        return np.zeros(grey.shape, np.uint8)
    root = np.sqrt(np.clip((grey - low) / (high - low), 0.0, 1.0))
    root = cv2.GaussianBlur(root, (0, 0), 1.0)
    otsu, _ = cv2.threshold(np.rint(root * 255).astype(np.uint8), 0, 1, cv2.THRESH_OTSU)
    ground = root[root <= otsu / 255]
    level = float(np.median(ground))
    noise = 1.4826 * float(np.median(np.abs(ground - level)))
    cut = level + max(0.45 * (otsu / 255 - level), 4.0 * noise, 0.06)
    return np.asarray(root > min(cut, otsu / 255 + 1e-6), dtype=np.uint8)


def _largest_piece(above: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """The largest piece left by an opening, its holes filled."""
    import cv2  # noqa: PLC0415  (see find_breast)

    short = min(above.shape)
    opened: NDArray[Any] = above
    for radius in (max(1, round(0.03 * short)), 1):
        kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1))
        # Outside counts as ground, or a frame along the edge would look thick.
        worn = cv2.erode(above, kernel, borderType=cv2.BORDER_CONSTANT, borderValue=0)
        opened = cv2.dilate(worn, kernel)
        if opened.any():
            break
    count, labels, stats, _ = cv2.connectedComponentsWithStats(opened, connectivity=8)
    if count < 2:
        return np.zeros(above.shape, dtype=np.bool_)
    largest = 1 + int(stats[1:, cv2.CC_STAT_AREA].argmax())
    piece = (labels == largest).astype(np.uint8)
    outlines, _ = cv2.findContours(piece, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    cv2.drawContours(piece, outlines, -1, 1, thickness=cv2.FILLED)
    return np.asarray(piece, dtype=np.bool_)


def _chest_side(grey: NDArray[np.floating], mask: NDArray[np.bool_]) -> tuple[str, float]:
    """The side where the breast ends abruptly, and how clearly.

    Towards the nipple the skin gets thin and dark; at the chest wall the
    picture, or the film, cuts through bright tissue. Compared just inside
    either edge, row by row.
    """
    rows = np.flatnonzero(mask.any(axis=1))
    first = mask.argmax(axis=1)[rows]
    last = mask.shape[1] - 1 - mask[:, ::-1].argmax(axis=1)[rows]
    depth = max(1, round(0.03 * (last.max() - first.min() + 1)))
    wide = last - first > 4 * depth
    if not wide.any():
        return "", 0.0
    rows, first, last = rows[wide], first[wide], last[wide]
    left, right = float(grey[rows, first + depth].mean()), float(grey[rows, last - depth].mean())
    certainty = abs(left - right) / max(left, right, 1e-9)
    return ("left" if left > right else "right") if left != right else "", certainty


class LocateBreast:
    """Adds ``breast``, ``breast_fraction``, ``chest_side`` and ``quality``."""

    def __call__(self, data: dict[str, Any]) -> dict[str, Any]:
        """``image`` (H, W, C) is left as it is."""
        pixels = data["image"]
        breast = find_breast(pixels)
        side = str(data.get("laterality") or "")
        expected = {"L": "left", "R": "right"}.get(side, "")
        is_clear = breast.certainty >= CLEAR_SIDE
        chest_side = breast.chest_side if is_clear or not expected else expected
        is_wrong = is_clear and expected and breast.chest_side != expected
        reasons = []
        if breast.fraction < LEAST_BREAST:
            share = f"{100 * breast.fraction:.1f} % of the picture"
            reasons.append(f"not a mammogram: no breast was found ({share})")
            breast = _whole(breast, pixels)
        elif _saturated_share(pixels, breast) > SATURATED:
            reasons.append("more than half of the breast is at the picture's highest value")
        elif _sharpness(pixels, breast) < LEAST_SHARPNESS:
            reasons.append("blurred")
        if is_wrong:
            where = {"table": "table", "file name": "file name"}.get(
                str(data.get("laterality_from") or ""), "header"
            )
            reasons.append(
                f"the side in the {where} and in the picture differ: the chest wall is on the "
                f"{breast.chest_side}, not as in a {side} breast"
            )
        if data.get("implant") == "yes":
            reasons.append("a breast implant is present")
        if data.get("crop") == "none":
            breast = _whole(breast, pixels)
        return {
            **data,
            "breast": breast,
            "breast_fraction": breast.fraction,
            "chest_side": chest_side,
            "quality": "; ".join(reasons),
        }


class CutAndTurn:
    """Cuts ``image`` to the breast's box and turns the chest wall to the left."""

    def __call__(self, data: dict[str, Any]) -> dict[str, Any]:
        """Adds ``mask`` of the cut, and ``affine`` of cut (row, col, 1) to source."""
        import cv2  # noqa: PLC0415  (see find_breast)

        pixels, breast = data["image"], data["breast"]
        top, left, bottom, right = breast.box
        mask = cv2.resize(
            breast.mask.astype(np.float32),
            (pixels.shape[1], pixels.shape[0]),
            interpolation=cv2.INTER_LINEAR,
        )[top:bottom, left:right]
        cut = pixels[top:bottom, left:right]
        affine = np.array([[1.0, 0.0, top], [0.0, 1.0, left], [0.0, 0.0, 1.0]])
        is_turned = data["chest_side"] == "right"
        if is_turned:
            cut, mask = cut[:, ::-1], mask[:, ::-1]
            affine = affine @ np.array([[1.0, 0, 0], [0, -1.0, cut.shape[1] - 1.0], [0, 0, 1.0]])
        return {**data, "image": cut, "mask": mask, "affine": affine, "is_flipped": is_turned}


@dataclass(frozen=True)
class FitBreast:
    """Scales ``image`` into (H, W) without stretching; the chest wall stays at the left edge.

    With ``target_spacing_mm`` and a known ``spacing_mm`` one pixel becomes that
    many millimetres, unless the breast would then not fit.
    """

    size_px: tuple[int, int]

    def __call__(self, data: dict[str, Any]) -> dict[str, Any]:
        """The rest of the rectangle is 0 in ``image`` and outside in ``mask``."""
        import cv2  # noqa: PLC0415  (see find_breast)

        pixels, mask = data["image"], data["mask"]
        height, width = pixels.shape[:2]
        tall, wide = self.size_px
        scale = min(tall / height, wide / width)
        have, want = (_positive(data.get(k)) for k in ("spacing_mm", "target_spacing_mm"))
        if have and want:
            scale = min(scale, have / want)
        new = (min(tall, max(1, round(height * scale))), min(wide, max(1, round(width * scale))))
        how = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
        fitted = cv2.resize(np.ascontiguousarray(pixels), new[::-1], interpolation=how)
        mask = cv2.resize(np.ascontiguousarray(mask), new[::-1], interpolation=cv2.INTER_LINEAR)
        top = (tall - new[0]) // 2
        image = np.zeros((tall, wide, pixels.shape[2]), pixels.dtype)
        image[top : top + new[0], : new[1]] = fitted.reshape(*new, pixels.shape[2])
        inside = np.zeros((tall, wide), np.float32)
        inside[top : top + new[0], : new[1]] = mask
        # Pixel centres: prepared r lies at (r + 0.5) / scale - 0.5 of the cut.
        by_row, by_column = height / new[0], width / new[1]
        back = np.array(
            [
                [by_row, 0.0, (0.5 - top) * by_row - 0.5],
                [0.0, by_column, 0.5 * by_column - 0.5],
                [0.0, 0.0, 1.0],
            ]
        )
        return {**data, "image": image, "mask": inside, "affine": data["affine"] @ back}


class SpreadGreys:
    """Spreads the greys of the breast over the whole range of the dtype; the rest turns black."""

    def __call__(self, data: dict[str, Any]) -> dict[str, Any]:
        """Same dtype; float32 to [0, 1]."""
        import cv2  # noqa: PLC0415  (see find_breast)

        image, inside = data["image"], data["mask"] > 0.5
        values = image[inside] if inside.any() else image.reshape(-1, image.shape[2])
        low, high = (float(v) for v in np.percentile(values, [DARK, BRIGHT]))
        full = float(np.iinfo(image.dtype).max) if image.dtype.kind == "u" else 1.0
        spread = np.clip((image.astype(np.float32) - low) / max(high - low, 1e-9), 0, 1) * full
        # The skin fades into the ground, so a little beyond the mask is kept.
        reach = 2 * max(1, round(0.015 * max(inside.shape))) + 1
        near = cv2.dilate(inside.astype(np.uint8), np.ones((reach, reach), np.uint8))
        spread *= near[..., np.newaxis]
        done = np.rint(spread).astype(image.dtype) if image.dtype.kind == "u" else spread
        kept = {key: value for key, value in data.items() if key not in {"mask", "breast"}}
        return {**kept, "image": done}


def augment(size_px: tuple[int, int]) -> Any:
    """Random changes for training: a little shift, zoom, turn, brightness and blur.

    No mirroring: after preparation every chest wall is on the left and the
    head end is up. No colour. Works on uint8, uint16 and float32.
    """
    import os  # noqa: PLC0415  (see the next line)

    # The import asks a server for its newest version unless this is set.
    os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")
    import albumentations as A  # noqa: N812, PLC0415  (its own convention; 6 s to import)

    tall, wide = size_px
    return A.Compose(
        [
            A.Resize(tall, wide),
            A.Affine(
                scale=(0.9, 1.1),
                translate_percent={"x": (-0.04, 0.04), "y": (-0.06, 0.06)},
                rotate=(-10, 10),
                p=0.8,
            ),
            A.RandomBrightnessContrast(brightness_limit=0.1, contrast_limit=0.15, p=0.5),
            A.GaussianBlur(sigma_limit=(0.3, 1.0), blur_limit=0, p=0.1),
        ]
    )


def _whole(breast: BreastMask, pixels: NDArray[Any]) -> BreastMask:
    """The whole picture in place of the breast; what was measured of it stays."""
    height, width = pixels.shape[:2]
    return replace(breast, mask=np.ones_like(breast.mask), box=(0, 0, height, width))


def _saturated_share(pixels: NDArray[Any], breast: BreastMask) -> float:
    """Share of the breast at the highest value of the picture."""
    rows, columns = (
        np.minimum((np.arange(n) + 0.5) * whole / n, whole - 1).astype(int)
        for n, whole in zip(breast.mask.shape, pixels.shape[:2], strict=True)
    )
    values = pixels[np.ix_(rows, columns)][breast.mask]
    return float((values == pixels.max()).mean()) if values.size else 0.0


def _sharpness(pixels: NDArray[Any], breast: BreastMask) -> float:
    """Variance of the Laplacian within the breast, its outline left out; infinite if too small."""
    import cv2  # noqa: PLC0415  (0.1 s to import)

    grey = shrunk(np.ascontiguousarray(pixels[..., 0]), SHARP_PX)
    size = grey.shape[1], grey.shape[0]
    mask = cv2.resize(breast.mask.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST)
    inside = cv2.erode(mask, np.ones((15, 15), np.uint8)).astype(bool)
    if inside.sum() < LEAST_JUDGED_PX:
        return float("inf")
    low, high = np.percentile(grey[inside], [DARK, BRIGHT])
    spread = (grey.astype(np.float32) - np.float32(low)) * np.float32(255 / max(high - low, 1e-6))
    return float(cv2.Laplacian(spread, cv2.CV_32F)[inside].var())


def _positive(value: Any) -> float:
    """A positive finite number, or 0."""
    try:
        number = float(value)
    except (TypeError, ValueError):
        return 0.0
    return number if np.isfinite(number) and number > 0 else 0.0
