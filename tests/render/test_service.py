"""Render service: the latest request wins, and pictures at rest are xscale render's."""

from __future__ import annotations

import threading
import time

import numpy as np
import pytest
import torch

from tests.render.conftest import write_tiny_run
from xscale.errors import UsageError
from xscale.render.live import ViewPainter
from xscale.render.modes import MODES, difference, legend_of
from xscale.render.run import Run
from xscale.render.scene_photos import PhotoReader, find_photos
from xscale.render.service import Picture, RenderService, ViewRequest
from xscale.scene.scene import Scene

_LONG = 60.0


class Watched(RenderService):
    """A service whose pictures and errors are kept."""

    def __init__(self, run, **options):
        self.pictures: list[Picture] = []
        self.errors: list[str] = []
        super().__init__(run, self.pictures.append, on_error=self.errors.append, **options)


@pytest.fixture
def camera(tiny_run):
    return tiny_run.camera(tiny_run.names("test")[0])


@pytest.mark.parametrize("background", ["run", "black"])
@pytest.mark.parametrize("samples", [1, 2, 3])
def test_at_rest_the_bits_are_those_of_a_render(tiny_run, camera, samples, background):
    with Watched(tiny_run) as service:
        service.request(ViewRequest(camera, background=background, samples=samples))
        assert service.wait(_LONG)
    last = service.pictures[-1]
    expected = tiny_run.render(
        camera, ("colour", "depth", "face"), samples=samples, background=background
    )
    assert last.complete
    assert last.samples == samples
    assert np.array_equal(last.rgba[..., :3], expected.colour.numpy())
    assert np.array_equal(last.depth, expected.depth.numpy())
    assert np.array_equal(last.face, expected.face.numpy())
    assert (last.rgba[..., 3] == 255).all()


def test_a_picture_at_rest_grows_from_top_to_bottom_and_then_gets_finer(tiny_run, camera):
    big = camera.scaled(camera.width * 6, camera.height * 6)
    with Watched(tiny_run) as service:
        number = service.request(ViewRequest(big, samples=4))
        assert service.wait(_LONG)
    assert {p.number for p in service.pictures} == {number}
    assert [p.samples for p in service.pictures if p.complete] == [1, 2, 4]
    assert {p.stage for p in service.pictures} == {"exact", "refined"}
    exact = [p.rows for p in service.pictures if p.samples == 1]
    assert len(exact) > 1
    assert all(first == 0 for first, _ in exact)
    assert [last for _, last in exact] == sorted({last for _, last in exact})


def test_counting_photos_is_given_up_between_two_of_them(tiny_run, camera):
    run = Run.open(tiny_run.path)
    painter = ViewPainter(run)
    left = [2]

    def check():
        left[0] -= 1
        if left[0] < 0:
            raise InterruptedError

    with pytest.raises(InterruptedError):
        painter.prepare(painter.shown(ViewRequest(camera, "photos")), check)
    assert sum("depths" in vars(view) for view in run.views) == 2
    painter.prepare(painter.shown(ViewRequest(camera)), check)  # colours need none of it


def test_a_scale_of_colours_says_what_its_ends_mean(tiny_run, camera):
    with Watched(tiny_run) as service:
        service.request(ViewRequest(camera, "depth", samples=1))
        assert service.wait(_LONG)
    last = service.pictures[-1]
    found = legend_of("depth", last.scale)
    seen = last.depth[np.isfinite(last.depth)]
    assert seen.min() <= found.bright < found.dark <= seen.max()
    assert {name for name in MODES if legend_of(name, last.scale)} == {
        "depth", "footprint", "level", "photos", "uncertainty", "error"
    }  # fmt: skip


def test_moving_pictures_come_whole(tiny_run, camera):
    with Watched(tiny_run) as service:
        service.request(ViewRequest(camera, moving=True))
        assert service.wait(_LONG)
    assert [(p.stage, p.complete) for p in service.pictures] == [("moving", True)]


def test_the_latest_request_wins(tiny_run, camera):
    big = camera.scaled(camera.width * 8, camera.height * 8)
    small = camera.scaled(16, 9)
    begun = threading.Event()
    pictures = []

    def keep(picture):
        pictures.append(picture)
        begun.set()

    with RenderService(tiny_run, keep) as service:
        first = service.request(ViewRequest(big, samples=16))
        assert begun.wait(_LONG)
        service.request(ViewRequest(big, samples=16))
        last = service.request(ViewRequest(small, samples=1))
        assert service.wait(_LONG)
    assert pictures[0].number == first
    assert not any(p.complete and p.samples == 16 for p in pictures)
    assert pictures[-1].number == last
    assert pictures[-1].complete


def test_idle_drops_the_request_and_the_next_one_is_answered(tiny_run, camera):
    big = camera.scaled(camera.width * 8, camera.height * 8)
    with Watched(tiny_run) as service:
        service.request(ViewRequest(big, samples=16))
        service.idle()
        assert service.wait(_LONG)
        assert not any(p.samples == 16 and p.complete for p in service.pictures)
        number = service.request(ViewRequest(camera, samples=1))
        assert service.wait(_LONG)
        assert service.pictures[-1].number == number


def test_errors_are_reported_and_the_thread_goes_on(tiny_run, camera):
    with Watched(tiny_run) as service:
        for bad in (
            ViewRequest(camera, mode="nothing"),
            ViewRequest(camera, background="nothing"),
            ViewRequest(camera, samples=0),
        ):
            service.request(bad)
            assert service.wait(_LONG)
        assert len(service.errors) == 3
        service.request(ViewRequest(camera))
        assert service.wait(_LONG)
    assert service.pictures[-1].complete


def test_work_runs_on_the_render_thread_between_bands(tiny_run, camera):
    big = camera.scaled(camera.width * 8, camera.height * 8)
    answers = []

    def work(run):
        assert run is tiny_run
        return threading.current_thread().name

    with Watched(tiny_run) as service:
        service.request(ViewRequest(big, samples=16))
        service.ask(work, answers.append)
        service.ask(lambda run: 1 / 0)
        end = time.monotonic() + _LONG
        while not (answers and service.errors) and time.monotonic() < end:
            time.sleep(0.001)
        service.idle()
    assert answers == ["xscale-render"]
    assert "ZeroDivisionError" in service.errors[0]


@pytest.mark.parametrize("moving", [False, True])
@pytest.mark.parametrize("mode", MODES)
def test_every_mode_gives_a_picture_of_more_than_one_colour(
    tiny_run, camera, asymmetric_template, mode, moving
):
    photos = PhotoReader(tiny_run, asymmetric_template)
    with Watched(tiny_run, photos=photos) as service:
        photo = tiny_run.names("train")[0]
        service.request(ViewRequest(camera, mode=mode, photo=photo, moving=moving))
        assert service.wait(_LONG)
    assert service.errors == []
    picture = service.pictures[-1].rgba[..., :3].reshape(-1, 3)
    assert len(np.unique(picture, axis=0)) > 1


@pytest.mark.parametrize("share", [1.0, 0.5])
def test_at_its_place_a_photo_is_shown_as_it_is(tiny_run, asymmetric_template, share):
    name = tiny_run.names("test")[0]
    whole = tiny_run.camera(name)
    camera = whole.scaled(round(whole.width * share), round(whole.height * share))
    pixels = Scene.open(asymmetric_template).photo(name).read(1 / share)
    with Watched(tiny_run, photos=PhotoReader(tiny_run, asymmetric_template)) as service:
        service.request(ViewRequest(camera, mode="photo", photo=name, samples=1))
        assert service.wait(_LONG)
        assert np.array_equal(service.pictures[-1].rgba[..., :3], pixels)
        service.request(ViewRequest(camera, mode="error", photo=name, samples=1))
        assert service.wait(_LONG)
    render = tiny_run.render(camera).colour.numpy()
    assert np.array_equal(service.pictures[-1].rgba[..., :3], difference(pixels, render))


def test_a_photo_seen_from_elsewhere_lies_on_the_surface(tiny_run, asymmetric_template, camera):
    name = tiny_run.names("train")[2]
    with Watched(tiny_run, photos=PhotoReader(tiny_run, asymmetric_template)) as service:
        service.request(ViewRequest(camera, mode="photo", photo=name, samples=1))
        assert service.wait(_LONG)
    assert service.errors == []
    shown = service.pictures[-1].rgba[..., :3].astype(int)
    # The photos are pictures of one texture: where both show a point they agree.
    own = Scene.open(asymmetric_template).photo(tiny_run.names("test")[0]).read().astype(int)
    face = service.pictures[-1].face
    both = (face >= 0) & (shown != 255).any(2)
    assert both.mean() > 0.2
    assert np.median(np.abs(shown - own)[both]) <= 3
    assert (shown[face < 0] == 255).all()


def test_renders_take_the_exposure_of_a_training_photo_and_the_mean_for_a_test_photo(
    asymmetric, tmp_path, camera
):
    run = Run.open(write_tiny_run(asymmetric, tmp_path / "run"))
    train, test = run.names("train")[1], run.names("test")[0]
    run.model.shader.exposure[1] *= 0.5
    mean = run.render(camera).colour
    assert torch.equal(run.render(camera, photo=test).colour, mean)
    own = run.render(camera, photo=train).colour
    assert own[run.render(camera).coverage].float().mean() < mean.float().mean()
    with Watched(run) as service:
        service.request(ViewRequest(camera, mode="render", photo=train, samples=1))
        assert service.wait(_LONG)
    assert np.array_equal(service.pictures[-1].rgba[..., :3], own.numpy())
    with pytest.raises(UsageError, match="no photo"):
        run.render(camera, photo="nothing.png")


def test_missing_photos_are_reported_in_one_line(tiny_run, camera, tmp_path):
    name = tiny_run.names("test")[0]
    with Watched(tiny_run) as service:
        service.request(ViewRequest(camera, mode="photo", photo=name))
        assert service.wait(_LONG)
        service.request(ViewRequest(camera, mode="photo"))
        assert service.wait(_LONG)
    assert "does not exist" in service.errors[0]
    assert "needs the name of a photo" in service.errors[1]
    assert find_photos(tiny_run, tmp_path).scene is None


def test_photos_are_found_where_they_are_named(tiny_run, asymmetric_template):
    found = find_photos(tiny_run, asymmetric_template)
    assert found.missing == ()
    assert {photo.name for photo in found.scene.photos} == set(tiny_run.names("all"))
    assert str(asymmetric_template) in found.line


def test_a_closed_service_may_be_closed_again(tiny_run):
    service = Watched(tiny_run)
    service.close()
    service.close()


def test_unknown_modes_are_refused():
    from xscale.render.modes import mode_of

    with pytest.raises(UsageError, match="colour"):
        mode_of("nothing")
