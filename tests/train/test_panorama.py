"""Pictures of all directions: sharp where photos agree, soft where they do not."""

import torch

from xscale import ops
from xscale.training.panorama import Panorama, at_mean_exposure


def fitted_panorama(*parts):
    return Panorama(*parts).picture()


def test_a_picture_of_one_colour_has_no_holes_and_cells_average_what_they_see():
    place = torch.tensor([[0.1, 0.2], [0.101, 0.201]])
    colour = torch.tensor([[30, 60, 90], [50, 60, 70]]) / 255
    picture = fitted_panorama(place, colour, torch.tensor([0, 1]), 16)
    assert (picture == torch.tensor([40, 60, 80])).all()


def _photos_of(picture, photos=12, disagreement=0.0, exposures=None):
    """Pixels of photos of a picture of all directions [R, 2 R, 3], each of half of it."""
    generator = torch.Generator().manual_seed(0)
    rows, columns = picture.shape[:2]
    place, colour, photo = [], [], []
    for number in range(photos):
        at = torch.rand(20000, 2, generator=generator)
        at[:, 0] = (at[:, 0] / 2 + number / photos) % 1
        seen = picture[(at[:, 1] * rows).long(), (at[:, 0] * columns).long()]
        # What stands at another distance: noise over the directions, another in every photo.
        noise = torch.rand(rows, columns, 1, generator=generator) - 0.5
        seen = seen + disagreement * noise[(at[:, 1] * rows).long(), (at[:, 0] * columns).long()]
        place.append(at)
        colour.append(seen)
        photo.append(torch.full((20000,), number))
    return torch.cat(place), torch.cat(colour).clamp(0, 1), torch.cat(photo)


def test_detail_that_photos_agree_about_is_sharp():
    picture = torch.full((64, 128, 3), 0.2)
    picture[20:30, ::8] = 0.9
    found = fitted_panorama(*_photos_of(picture), 64).float() / 255
    assert (found - picture).abs().mean() < 0.01


def test_what_photos_disagree_about_is_smooth_and_no_grain():
    found = fitted_panorama(*_photos_of(torch.full((64, 128, 3), 0.5), disagreement=0.8), 64)
    grain = (found[:, 1:].float() - found[:, :-1].float()).abs().mean() / 255
    averaged = 0.8 / 12**0.5 / 6**0.5
    assert grain < 0.25 * averaged


def test_a_photo_leaves_no_edge_where_no_other_looked():
    generator = torch.Generator().manual_seed(0)
    wide, narrow = torch.rand(2, 40000, 2, generator=generator)
    narrow = 0.4 + 0.2 * narrow
    place, photo = torch.cat([wide, narrow]), torch.arange(2).repeat_interleave(40000)
    # The narrow photo is brighter than the wide one that shows the same.
    colour = torch.where(photo == 1, 0.6, 0.4)[:, None].expand(-1, 3)
    border = (0.1 - (place - 0.5).abs().amax(1)).clamp(min=1e-3) * 10
    weight = torch.where(photo == 1, border, 1.0)
    found = fitted_panorama(place, colour, photo, 64, weight).float() / 255
    across = found[32, :, 0]
    assert float((across[1:] - across[:-1]).abs().max()) < 0.06
    alone = fitted_panorama(narrow, torch.full((40000, 3), 0.6), photo[:40000], 64)
    assert (alone.float() / 255 - 0.6).abs().max() < 0.01


def test_exposures_are_divided_out_before_photos_are_compared():
    exposure = torch.tensor([[1.0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0]]).repeat(2, 1)
    exposure[0] *= 0.5
    exposure[1] *= 1.5
    light = torch.tensor([[0.2, 0.3, 0.4]])
    photo = torch.tensor([0, 1])
    taken = ops.linear_to_srgb(light * torch.tensor([[0.5], [1.5]])).mul(255).round().byte()
    found = at_mean_exposure(taken, photo, exposure)
    assert (found - ops.linear_to_srgb(light)).abs().max() < 0.005
    # A clipped pixel was at least as bright as white.
    assert at_mean_exposure(torch.full((1, 3), 255).byte(), photo[1:], exposure).min() == 1
