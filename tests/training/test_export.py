"""An export that cannot be trusted leaves nothing behind."""

import pytest
import torch
from torch import nn

from jrscli.errors import ModelError, WriteError
from jrscli.recipe import Graph, Method, Stage
from jrscli.runtime.card import Grid
from jrscli.runtime.store import read_model
from jrscli.training.cases import DataList, read_data
from jrscli.training.details import Details, read_details
from jrscli.training.export import export, export_method, refuse_existing
from jrscli.training.prepared import Cases, mostly_cropped
from jrscli.training.run import train

from .conftest import write_list

DATA = DataList(name="d", licence="CC0-1.0", grid=Grid(size=(8, 8, 8)), labels=("background", "a"), images="*.nii")


class Plain(nn.Module):
    """Logits that are the image and its opposite."""

    def forward(self, image):
        return torch.cat([-image, image], dim=1)


class Sly(Plain):
    """Computes one thing while it is traced and another afterwards."""

    def forward(self, image):
        return super().forward(image) * (1 if torch.compiler.is_exporting() else 2)


class Odd(Plain):
    """Depends on its data in a way that cannot be traced."""

    def forward(self, image):
        return super().forward(image) if float(image.sum()) > 0 else -super().forward(image)


class One(Method):
    multiple = 4

    def __init__(self, module):
        super().__init__()
        self.networks = nn.ModuleDict({"segment": module})

    def stages(self) -> list[Stage]:
        return []

    def graphs(self):
        return [Graph("segment", self.networks["segment"], ("image",), ("logits",))]


def exported(module, folder, name="one"):
    return export_method(One(module).eval(), DATA, folder, Details(name), method_name="none", seed=0)


def test_a_graph_that_agrees_is_a_model(tmp_path):
    model = exported(Plain(), tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["one-segment.onnx", "one.yaml"]
    assert model.card.use.startswith("research use, not a medical device")
    assert model.card.grid.multiple == (4, 4, 4)
    with pytest.raises(WriteError):
        refuse_existing(tmp_path, "one", overwrite=False)
    refuse_existing(tmp_path, "one", overwrite=True)


@pytest.mark.parametrize(("module", "code"), [(Sly(), "export.differs"), (Odd(), "export.failed")])
def test_a_graph_that_does_not_is_refused_and_the_old_model_stays(tmp_path, module, code):
    (tmp_path / "one.yaml").write_text("the old card")
    with pytest.raises(ModelError) as caught:
        exported(module, tmp_path)
    assert caught.value.code == code
    assert [path.name for path in tmp_path.iterdir()] == ["one.yaml"]


def test_details_are_checked(tmp_path):
    file = tmp_path / "details.yaml"
    scores = "{d: {split: test, segmentation: {n: 3, values: {dice: 0.9}}}}"
    file.write_text(f"name: a\nversion: 1.2.0\nlimits: [small images]\nscores: {scores}")
    found = read_details(file, refine=5)
    assert (found.version, found.refine, found.scores["d"].segmentation.values["dice"]) == ("1.2.0", 5, 0.9)
    file.write_text("name: a\ncolour: red")
    with pytest.raises(ModelError, match="colour"):
        read_details(file)
    file.write_text("name: a\nlargest: [0, 1, 2]")
    with pytest.raises(ModelError, match="largest must be positive"):
        read_details(file)


def test_a_name_that_is_no_name_is_refused(tmp_path):
    with pytest.raises(ModelError) as caught:
        exported(Plain(), tmp_path / "new", name="No Name")
    assert caught.value.code == "card.invalid"


@pytest.mark.parametrize(("size", "cropped"), [([32, 32, 32], False), ([16, 16, 16], True)])
def test_a_network_that_saw_crops_is_used_on_crops(tmp_path, study, size, cropped):
    grid = {"orientation": "RAS", "spacing_mm": [1, 1, 1], "size": size}
    listed = write_list(study.parent / f"crop-{size[0]}.yaml", grid=grid)
    assert mostly_cropped(Cases(*read_data(listed), "train")) == cropped
    config = {"widths": [4, 6, 8], "segment_rounds": 1, "joint_rounds": 1}
    train("siamese", listed, tmp_path / "run", config=config, training={"validation_pairs": 1})
    made = export(tmp_path / "run", tmp_path / "models", Details("one"))
    assert (made.card.grid.multiple is None) == cropped
    assert made.card.grid.largest == ((28, 30, 26) if cropped else None)
    measured = {"fusion": {made.card.labels[1]: 0.25}, "agreement": {made.card.labels[2]: 0.6}, "finish": True}
    made = export(tmp_path / "run", tmp_path / "models", Details("other", cropped=not cropped, **measured))
    assert (made.card.grid.multiple is None) != cropped
    assert {key: getattr(read_model(made.path).card, key) for key in measured} == measured
