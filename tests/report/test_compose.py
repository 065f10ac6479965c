"""What the pictures of a report's cards say of themselves."""

from __future__ import annotations

import numpy as np
import pytest

from jrscli.metrics.evaluation import Row
from jrscli.metrics.value import Value
from jrscli.report.compose import Subject, cards
from jrscli.report.regions import Region
from jrscli.spatial.geometry import Geometry
from jrscli.spatial.volume import Volume


@pytest.mark.parametrize(
    ("value", "said", "unsaid"),
    [
        (Value("dice.v1", 0.8, ""), "in which the contours differ most", "that show most of it"),
        (Value("volume.v1(test)", 1.0, "cc"), "that show most of it", "differ"),
    ],
)
def test_only_contours_that_were_compared_are_said_to_differ(value: Value, said: str, unsaid: str) -> None:
    """A lone contour has nothing to differ from, though another one may be drawn beside it."""
    mask = np.ones((6, 6, 6), np.bool_)
    regions = [Region("organ", mask, (6, 6, 6), (255, 0, 0)), Region("organ", mask, (7, 6, 6), (255, 0, 0), dashed=True)]
    image = np.random.default_rng(0).random((20, 20, 20)).astype(np.float32)
    subject = Subject(Volume(image, Geometry((20, 20, 20), np.eye(4))), regions, titles=("ours", "theirs"))
    row = Row("organ", {value.id: value}, details={"worst_slices": (8, 8, 8)})
    ((picture,),) = (card.pictures for card in cards(subject, [row], None, {}))
    assert said in picture.caption
    assert unsaid not in picture.caption
    assert picture.caption.endswith("ours solid, theirs dashed.")
