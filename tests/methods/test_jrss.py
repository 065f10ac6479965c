"""JRSS: what the teacher may label, what the student learns from it, how the teacher follows."""

import math

import pytest
import torch
from torch.nn import functional

from jrscli.errors import UsageError
from jrscli.methods import jrss
from jrscli.nn.averaging import approach
from jrscli.nn.overlap import cross_entropy, rectified_cross_entropy

SHAPE = (16, 16, 16)


@pytest.fixture
def method():
    torch.manual_seed(0)
    return jrss.Jrss(jrss.Config())


class Says(torch.nn.Module):
    """A network that says the same of every image; its logits are its weights."""

    def __init__(self, probabilities):
        super().__init__()
        self.logits = torch.nn.Parameter(probabilities.log())

    def forward(self, image):
        return self.logits.expand(len(image), -1, *SHAPE)


def teacher(sure=0.99, unsure=0.6, label=1):
    """Sure in the lower half of the image, unsure in the upper one."""
    probabilities = torch.full((1, 3, *SHAPE), (1 - sure) / 2)
    probabilities[:, label] = sure
    probabilities[:, :, 8:] = (1 - unsure) / 2
    probabilities[:, label, 8:] = unsure
    return Says(probabilities)


def test_an_agreeing_student_sees_plain_entropy_and_a_disagreeing_one_less_of_it():
    torch.manual_seed(0)
    logits = torch.randn(1, 3, *SHAPE)
    y = functional.one_hot(torch.randint(0, 3, (1, *SHAPE)), 3).movedim(-1, 1).float()
    entropy = float(cross_entropy(logits, y))
    assert float(rectified_cross_entropy(logits, y, logits.softmax(1))) == pytest.approx(entropy, rel=1e-4)
    parts = []
    for sharper in (1.0, 2.0, 3.0, 5.0):
        t = (sharper * logits[:, :, :1, :1, :1]).softmax(1)
        one = rectified_cross_entropy(logits[:, :, :1, :1, :1], y[:, :, :1, :1, :1], t)
        kappa = float((t * (t.log() - logits[:, :, :1, :1, :1].log_softmax(1))).sum())
        parts.append((kappa, (float(one) - kappa) / float(cross_entropy(logits[:, :, :1, :1, :1], y[:, :, :1, :1, :1]))))
    kappas, weights = zip(*parts, strict=True)
    assert list(kappas) == sorted(kappas)
    assert list(weights) == sorted(weights, reverse=True)
    assert weights == pytest.approx([math.exp(-kappa) for kappa in kappas], rel=1e-3)


def test_voxels_under_the_threshold_teach_nothing(method, batch):
    method.networks["teacher"] = teacher(sure=0.999)
    method.networks["student"] = Says(torch.full((1, 3, *SHAPE), 1 / 3))
    method.config = jrss.Config(threshold=0.7)
    terms = method.student_loss(batch(False, False))
    assert set(terms) == {"rectified"}
    terms["rectified"].backward()
    slope = method.networks["student"].logits.grad.abs().sum(1)[0]
    assert float(slope[:8].min()) > 0
    assert float(slope[8:].max()) == 0
    assert method.networks["teacher"].logits.grad is None


def test_an_image_whose_foreground_is_doubtful_is_not_labelled(method, batch):
    """Its sure voxels are not used either, by nobody."""
    for doubtful in (teacher(), teacher(sure=0.95, unsure=0.95, label=0)):
        method.networks["teacher"] = doubtful
        assert method.student_loss(batch(False, False)) is None
        assert set(method.registration_loss(batch(False, True))) == {"similarity", "smoothness"}
    method.networks["teacher"] = teacher(unsure=0.95)
    assert set(method.registration_loss(batch(False, True))) == {"similarity", "smoothness", "anatomy"}
    assert set(method.student_loss(batch(False, True))) == {"entropy", "dice", "rectified"}


def test_true_labels_are_never_replaced(method, batch):
    method.networks["teacher"] = teacher(unsure=0.99)
    for knows_fixed, knows_moving in ((True, True), (True, False), (False, True)):
        given = batch(knows_fixed, knows_moving)
        fixed, moving = method.targets(given)
        for target, labels, known in ((fixed, given.fixed_labels, knows_fixed), (moving, given.moving_labels, knows_moving)):
            if known:
                assert torch.equal(target.labels, labels)
                assert bool((target.weight == 1).all())
            else:
                assert bool((target.labels.argmax(1) == 1).all())


def test_a_missing_label_leaves_no_trace(method, batch):
    """NaN is what stands in its place."""
    method.networks["teacher"] = teacher(unsure=0.99)
    for loss in (method.registration_loss, method.student_loss, method.perturbed_loss):
        assert all(bool(torch.isfinite(value)) for value in loss(batch(False, True)).values())


@pytest.mark.parametrize("keep", [0.0, 0.75, 1.0])
def test_the_teacher_follows_the_student(method, keep):
    own, student = method.networks["teacher"], method.networks["student"]
    student(torch.rand(1, 1, *SHAPE))  # its running statistics change
    before = {key: value.clone() for key, value in own.state_dict().items()}
    approach(own, student, keep)
    names = {name for name, _ in own.named_parameters()}
    for key, value in own.state_dict().items():
        its = student.state_dict()[key]
        if key not in names or keep == 0:
            assert torch.equal(value, its), key
        elif keep == 1:
            assert torch.equal(value, before[key]), key
        else:
            assert torch.allclose(value, keep * before[key] + (1 - keep) * its, atol=1e-6), key


def test_the_student_begins_as_the_teacher(method):
    method.begin()
    states = [method.networks[name].state_dict() for name in ("teacher", "student")]
    assert all(torch.equal(value, states[1][key]) for key, value in states[0].items())


def test_only_the_student_drops_and_only_the_student_learns(method, batch):
    x = torch.rand(1, 1, *SHAPE)
    own, student = method.networks["teacher"].train(), method.networks["student"].train()
    assert torch.equal(own(x), own(x))
    assert not torch.equal(student(x), student(x))
    method.zero_grad()
    sum(method.perturbed_loss(batch(True, False)).values()).backward()
    for name in ("teacher", "register"):
        assert all(weight.grad is None for weight in method.networks[name].parameters())
    assert any(weight.grad is not None for weight in student.parameters())
    assert method.graph("segment").module is own


def test_the_joint_rounds_begin_when_enough_images_are_accepted(method, batch):
    """Three in ten of the last twenty; images with labels are not counted."""
    _, _, alone, joint = method.stages()
    method.networks["teacher"] = teacher(unsure=0.99)
    method.targets(batch(True, True), remember=True)
    for _ in range(5):
        method.targets(batch(False, True), remember=True)
    assert not alone.until()
    assert method.watched()["accepted"] == pytest.approx(0.25)
    method.targets(batch(True, False), remember=True)
    assert alone.until()
    assert [turn.trains for turn in joint.turns] == [("register",), ("student",)]
    method.networks["teacher"] = teacher()
    for _ in range(8):
        method.targets(batch(False, False), remember=True)
    assert float(method.recent.sum()) == 4


def test_the_student_sees_the_moving_image_as_the_registration_lays_it(method, monkeypatch, batch):
    """All of u, or with deep structure sampling a part of it; labels and image alike."""
    field = torch.zeros(1, 3, *SHAPE)
    field[:, 0] = 4
    method.networks["register"].forward = lambda fixed, moving: field
    seen = []
    monkeypatch.setattr(method, "_taught", lambda batch, images, targets: seen.append((images[2], targets[2])))
    given = batch()
    method.perturbed_loss(given)
    assert torch.allclose(seen[0][0][:, :, :-4], given.moving[:, :, 4:], atol=1e-5)
    assert torch.allclose(seen[0][1].labels[:, :, :-4], given.moving_labels[:, :, 4:], atol=1e-5)
    method.config = jrss.Config(sampling="dss")
    monkeypatch.setattr(torch, "rand", lambda *shape: torch.full(shape, 0.25))
    method.perturbed_loss(given)
    assert torch.allclose(seen[1][0][:, :, :-1], given.moving[:, :, 1:], atol=1e-5)


def test_the_overlap_term_reaches_the_registration(method, batch):
    method.networks["teacher"] = teacher(unsure=0.99)
    method.registration_loss(batch(True, False))["anatomy"].backward()
    assert float(method.networks["register"].field.weight.grad.norm()) > 0


def test_an_unknown_sampling_is_refused():
    with pytest.raises(UsageError, match="sampling"):
        jrss.Jrss(jrss.Config(sampling="all"))
