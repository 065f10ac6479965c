"""A picture small enough to stand in a table."""

from __future__ import annotations

import base64
import io

from PIL import Image

WIDTH_PX = 220


def thumbnail(picture: bytes) -> str:
    """The picture (PNG) as a JPEG of `WIDTH_PX` pixels, in the form of a data URI; empty where it is none."""
    try:
        with Image.open(io.BytesIO(picture), formats=["PNG"]) as image:
            height = max(1, round(image.height * WIDTH_PX / image.width))
            small = image.convert("RGB").resize((WIDTH_PX, height), Image.Resampling.BOX)
    except (OSError, ValueError, Image.DecompressionBombError):
        return ""
    buffer = io.BytesIO()
    small.save(buffer, format="JPEG", quality=70)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()
