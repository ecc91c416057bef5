"""The loss of training and v1's loss on the map: 255 never counts, the mean is over the rest."""

import pytest
import torch
import torch.nn.functional as F

from deeplab_lite.losses import map_loss, shrink_labels


def noise(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("align_corners", [True, False])
def test_a_label_edge_does_not_move(align_corners):
    pixels, moves, nearest = 64 + align_corners, [], []
    for edge in range(9, 57):  # the first column of class 1
        labels = (torch.arange(pixels) >= edge).long().expand(1, pixels, pixels)
        small = shrink_labels(labels, (8 + align_corners,) * 2, align_corners)
        careless = F.interpolate(labels[None].float(), small.shape[-2:])[0].long()
        for shrunk, distances in ((small, moves), (careless, nearest)):
            scores = F.one_hot(shrunk, 2).permute(0, 3, 1, 2).double()
            big = F.interpolate(scores, pixels, mode="bilinear", align_corners=align_corners)
            first = (big[0, 1, 32] > 0.5).int().argmax()
            distances.append(int(first) - edge)
    assert max(map(abs, moves)) <= 4  # half a position
    assert abs(sum(moves)) / len(moves) <= 0.5  # and no drift
    assert abs(sum(nearest)) / len(nearest) > 1  # which F.interpolate's default does have


def test_ignored_pixels_stay_ignored_and_no_class_is_mixed():
    generator = torch.Generator().manual_seed(0)
    labels = torch.tensor([0, 7, 20, 255])[torch.randint(4, (2, 65, 97), generator=generator)]
    small = shrink_labels(labels, (9, 13), align_corners=True)
    assert torch.equal(small, labels[:, ::8, ::8])
    small = shrink_labels(labels[:, :64, :96], (8, 12), align_corners=False)
    assert torch.equal(small, labels[:, 4:64:8, 4:96:8])


def test_map_loss_is_the_mean_over_positions_that_count():
    scores = noise(2, 4, 5, 7).requires_grad_()
    labels = torch.randint(4, (2, 33, 49), generator=torch.Generator().manual_seed(0))
    labels[0, 16:] = 255
    terms = []
    for b in range(2):
        for y in range(5):
            for x in range(7):
                if (label := int(labels[b, 8 * y, 8 * x])) != 255:
                    terms.append(-scores[b, :, y, x].log_softmax(0)[label])
    loss = map_loss(scores, labels, align_corners=True)
    assert len(terms) == 2 * 7 + 5 * 7
    torch.testing.assert_close(loss, torch.stack(terms).mean())
    loss.backward()
    assert not scores.grad[0, :, 2:].any()
    assert scores.grad[0, :, :2].all()


def test_a_crop_of_ignored_pixels_has_loss_0_and_no_gradient():
    scores = noise(1, 4, 5, 5).requires_grad_()
    loss = map_loss(scores, torch.full((1, 33, 33), 255), align_corners=True)
    loss.backward()
    assert loss.item() == 0
    assert torch.equal(scores.grad, torch.zeros_like(scores))


def test_a_label_that_is_no_class_raises():
    labels = torch.zeros(1, 33, 33, dtype=torch.uint8)
    labels[0, 3, 5] = 128
    with pytest.raises(ValueError, match=r"label value 128 at \(3, 5\) .* classes are 0\.\.3"):
        map_loss(noise(1, 4, 5, 5), labels, align_corners=True)
