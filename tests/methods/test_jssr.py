"""The jssr recipe: a synthesis that cannot cheat, one contrast's labels, and three networks that feel each other."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from jrscli.methods.jssr import Config, Jssr, Progressive, VNet
from jrscli.nn.similarity import mean_absolute
from jrscli.runtime.card import Grid
from jrscli.runtime.predict import Predictor
from jrscli.spatial.geometry import Geometry
from jrscli.spatial.volume import Volume
from jrscli.training.cases import DataList
from jrscli.training.details import Details
from jrscli.training.export import export_method

CONFIG = Config(widths=(2, 4, 4), register_widths=(4, 4, 4))


def method(**changes):
    torch.manual_seed(0)
    return Jssr(replace(CONFIG, **changes))


def mixed(given):
    """The batch with a labelled image beside its pair."""
    turned = {"labelled_image": given.fixed.flip(2), "labelled_target": given.fixed_labels.flip(2)}
    return replace(given, **turned, labelled_present=given.classes_present)


@pytest.mark.parametrize(("condition", "changes"), [("none", False), ("global", True)])
def test_the_synthesis_does_not_see_the_fixed_image(condition, changes, batch):
    """So it cannot copy it: the trivial solution G = y, u = 0 does not exist. A code of the whole image has no places."""
    made, given = method(condition=condition).eval(), batch()
    other = replace(given, fixed=1 - given.fixed)
    with torch.no_grad():
        assert torch.equal(made.synthetic(given), made.synthetic(other)) is not changes
        flipped = replace(given, fixed=given.fixed.flip(2).flip(2))
        assert torch.equal(made.synthetic(given), made.synthetic(flipped))
    graph = made.graph("synthesize")
    assert graph.inputs == (("moving", "fixed") if changes else ("moving",))
    assert set(made.graph("register").inputs) == {"fixed", "moving"}


def test_what_stands_still_is_compared_twice(batch):
    """u = 0: the registration's l1 is the synthesis' own, so the factor 2 is exact."""
    made, given = method(), batch()
    for side in made.networks["register"].sides:
        torch.nn.init.zeros_(side.weight)
    terms = made.registration_loss(given)
    wanted = 2 * mean_absolute(made.synthetic(given), given.fixed)
    assert float(terms["appearance"].detach()) == pytest.approx(float(wanted.detach()), rel=1e-6)
    assert float(terms["smoothness"].detach()) == 0


def test_the_synthesis_may_learn_by_itself_first(batch):
    """As if nothing had moved: half of the registration's l1 of a field that is still; not without a synthesis."""
    made, given = method(synthesize_rounds=5).train(), batch()
    stage = made.stages()[1]
    assert (stage.name, stage.rounds, stage.turns[0].trains) == ("synthesize", 5, ("synthesize",))
    found = stage.turns[0].loss(given)["appearance"]
    assert float(found.detach()) == pytest.approx(float(mean_absolute(made.synthetic(given), given.fixed).detach()), rel=1e-6)
    found.backward()
    assert all(weight.grad is None for weight in made.networks["register"].parameters())
    assert [turn.trains for turn in made.stages()[2].turns] == [("register",)]
    assert [one.name for one in method().stages()] == ["segment", "register", "joint"]
    assert [one.name for one in method(mode="jsegr", synthesize_rounds=5).stages()] == ["segment", "register", "joint"]


def test_agreement_is_felt_by_all_three(batch):
    made = method().train()
    made.joint_loss(mixed(batch()))["agreement"].backward()
    for name in ("synthesize", "register", "segment"):
        assert max(float(w.grad.abs().max()) for w in made.networks[name].parameters() if w.grad is not None) > 0, name
    assert all(w.grad is None for w in made.networks["judge"].parameters())


def test_supervision_knows_only_the_labelled_image(batch):
    """Neither the pair's labels (they may be missing) nor its images enter."""
    made, given = method().eval(), mixed(batch())
    unlabelled = mixed(batch())
    nothing = replace(
        unlabelled,
        fixed_labels=torch.full_like(given.fixed_labels, torch.nan),
        moving_labels=torch.full_like(given.fixed_labels, torch.nan),
        moving=given.moving.flip(2),
    )
    one, other = (made.joint_loss(each) for each in (given, nothing))
    assert torch.equal(one["supervision"], other["supervision"])
    assert all(bool(torch.isfinite(value)) for value in other.values())
    with pytest.raises(ValueError, match="mixed"):
        made.joint_loss(batch())


def test_a_label_that_is_never_found_is_felt_by_the_cross_entropy(batch):
    """The squared Dice of a label without a voxel has no slope; labels that nobody drew are no part of either."""
    made, given = method(entropy=2.0).train(), batch()
    last = made.networks["segment"].last
    torch.nn.init.zeros_(last.weight)
    with torch.no_grad():
        last.bias.copy_(torch.tensor([0.0, 0.0, -15.0]))
    slopes = {}
    for name, value in made.segmentation_loss(given).items():
        (slope,) = torch.autograd.grad(value, last.bias, retain_graph=True)
        slopes[name] = abs(float(slope[2]))
    assert slopes["entropy"] > 1e-2 > 1e-4 > slopes["supervision"]
    assert set(made.joint_loss(mixed(given))) - set(method().joint_loss(mixed(given))) == {"entropy"}
    undrawn = replace(given, classes_present=torch.tensor([[True, False]]))
    (slope,) = torch.autograd.grad(made.segmentation_loss(undrawn)["entropy"], last.bias)
    assert abs(float(slope[2])) < 1e-4


def test_without_synthesis_the_graphs_take_the_same_roles(batch):
    whole, cheap = method(), method(mode="jsegr")
    for name in ("register", "segment"):
        assert whole.graph(name).inputs == cheap.graph(name).inputs
    assert set(cheap.networks) == {"register", "segment"}
    assert all(len(stage.turns) == 1 for stage in cheap.stages())
    assert [len(stage.turns) for stage in whole.stages()] == [1, 2, 2]
    given = batch()
    assert torch.equal(cheap.synthetic(given), given.moving)
    assert set(cheap.joint_loss(mixed(given))) == {"similarity", "smoothness", "agreement", "supervision"}


def test_each_network_has_its_own_step_size():
    turn = method(synthesize_rate=1e-5, register_rate=1e-4, segment_rate=1e-3).stages()[2].turns[0]
    assert [turn.rates.get(name, turn.rate) for name in turn.trains] == [1e-5, 1e-4, 1e-3]


def test_levels_add_up_in_voxels():
    """A constant on the coarsest level alone: doubled at each finer one."""
    torch.manual_seed(0)
    network = Progressive(1, (2, 2, 2), 3)
    for side in network.sides:
        torch.nn.init.zeros_(side.weight)
    torch.nn.init.constant_(network.sides[-1].bias, 0.5)
    torch.nn.init.constant_(network.sides[0].bias, 0.1)
    field = network(*torch.rand(2, 1, 1, 8, 8, 8))
    assert torch.allclose(field, torch.full_like(field, 2.1))


def test_the_segmenter_is_a_unet_of_residual_levels():
    torch.manual_seed(0)
    network = VNet(1, 3, (2, 4, 4), 2)
    for level in [*network.levels, *network.rising]:
        for conv in level.convs:
            torch.nn.init.zeros_(conv[0].weight)
            torch.nn.init.zeros_(conv[0].bias)
    x = torch.rand(1, 1, 8, 8)
    assert float(network(x).std().detach()) > 0  # through the sums alone


def test_in_use_the_synthetic_image_takes_the_place_of_the_moving_one(tmp_path):
    made, shape = method().eval(), (16, 16, 16)
    torch.nn.init.normal_(made.networks["register"].sides[0].weight, std=0.5)
    grid = Grid(spacing_mm=(1, 1, 1), size=shape)
    data = DataList(
        "x", "CC0-1.0", grid, labels=("background", "a", "b"), images="*", pairs="modalities", modality=("CT",), range=(-1, 1)
    )
    model = export_method(
        made, data, tmp_path, Details("two"), method_name="jssr", seed=0, simulation={"contrast": {"gain": 0.1}}
    )
    assert model.card.trained.simulation == {"contrast.gain": 0.1}
    assert model.card.simulated_training
    assert model.card.graphs["synthesize"].inputs["moving"].modality == ()
    assert model.card.graphs["register"].inputs["fixed"].modality == ("CT",)
    rng = np.random.default_rng(0)
    fixed, moving = (Volume(rng.random(shape, np.float32), Geometry(shape, np.diag([-1.0, -1, 1, 1]))) for _ in range(2))
    predictor = Predictor(model, device="cpu", threads=1)
    pair = predictor.pair(fixed, moving)
    given = [torch.from_numpy(image)[None] for image in (pair.fixed, np.asarray(_prepared(predictor, moving)))]
    with torch.no_grad():
        synthetic = made.networks["synthesize"](given[1])
        wanted = made.on_pair(*given).displacement
        seen = made.networks["segment"](synthetic).softmax(1)
    assert np.allclose(pair.moving, synthetic[0].numpy(), atol=1e-4)
    assert np.allclose(predictor.register(pair).array, wanted[0].numpy(), atol=1e-3)
    assert np.allclose(predictor.segment_pair(pair, fixed, moving)[1].array, seen[0].numpy(), atol=1e-3)


def _prepared(predictor, volume):
    from jrscli.runtime.prepare import network_grid, prepared

    card = predictor.card
    return prepared(volume, network_grid(volume.geometry, card.grid), card.graphs["synthesize"].inputs["moving"])
