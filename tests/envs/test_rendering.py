"""Pictures: upright, the same for the same instant, honest about backends; culling and rays against the plain way."""

import os
import subprocess
import sys

import numpy as np
import pytest

from foreact.envs.backends import INSTALL, backend_name
from foreact.envs.cameras import Fixed, Mounted, project
from foreact.envs.metaworld import CAMERAS, MetaWorld
from foreact.envs.rays import RayPainter
from foreact.envs.rendering import GLPainter

needs_gl = pytest.mark.skipif(backend_name() == "rays", reason="no OpenGL on this machine")


@pytest.fixture(scope="module")
def env():
    env = MetaWorld.Config(task="button-press-topdown", size=64, cameras=tuple(CAMERAS)).build()
    env.start(0)
    yield env
    env.close()


@pytest.mark.parametrize("camera", [name for name in CAMERAS if name not in ("topview", "gripper", "gripper-pov")])
def test_pictures_are_upright(env, camera):
    """A point above another in the world is above it in the picture, and the picture agrees with the projection."""
    pose, centre = env.pose(camera), np.array([0.0, 0.7, 0.1])
    (low, high), _ = project(pose, np.stack([centre, centre + np.array([0, 0, 0.1])]), height=64, width=64)
    assert high[1] < low[1]
    red = env.draw_geoms(camera) == env.simulation.model.geom("btnGeom").id
    if red.any():
        row, column = (axis.mean() for axis in np.nonzero(red))
        (seen,), _ = project(pose, env.simulation.data.geom("btnGeom").xpos[None], height=64, width=64)
        assert np.hypot(row + 0.5 - seen[1], column + 0.5 - seen[0]) < 4


def test_the_scene_camera_sees_the_button_and_the_arm(env):
    image = env.draw("scene").astype(int)
    yellow = (image[0] > 150) & (image[1] > 100) & (image[2] < 80)
    assert 60 < yellow.sum() < 1500
    wall, table = image[:, :6].mean(), image[:, -6:, 30:].mean()
    assert wall > table  # the pale wall is up, the wooden table down


def test_the_same_instant_gives_the_same_pixels(env):
    first = {name: env.draw(name) for name in CAMERAS}
    second = {name: env.draw(name) for name in reversed(CAMERAS)}
    assert all(np.array_equal(first[name], second[name]) for name in CAMERAS)


@needs_gl
def test_leaving_out_what_is_not_in_view_changes_no_pixel(env, monkeypatch):
    raw = env.simulation
    painter = GLPainter(raw.model, raw.data, height=48, width=64)
    for name in CAMERAS:
        culled = painter.color(env.pose(name))
        with monkeypatch.context() as patch:
            patch.setattr(GLPainter, "_outside", lambda self, pose: np.zeros(self._model.ngeom, bool))
            assert np.array_equal(painter.color(env.pose(name)), culled)
    painter.close()


@needs_gl
def test_rays_and_opengl_agree_on_what_is_where(env):
    raw = env.simulation
    rays = RayPainter(raw.model, raw.data, height=64, width=64)
    pose = env.pose("scene")
    drawn, cast = env.draw_geoms("scene"), rays.geoms(pose)
    assert (drawn == cast).mean() > 0.97
    near, far = env.draw_depth("scene"), rays.depth(pose)
    both = np.isfinite(near) & np.isfinite(far) & (drawn == cast)
    assert np.median(np.abs(near - far)[both]) < 0.003 and np.abs(near - far)[both].max() < 0.1
    assert rays.color(pose).shape == (3, 64, 64)


def test_poses_move_as_they_say():
    pose = Fixed(position=(1.0, 0.0, 0.0), target=(0.0, 0.0, 0.0)).pose(None, None)
    moved = pose.moved(np.array([0.1, 0.2, 0.3]), np.zeros(3), 1.0)
    assert np.allclose(moved.position, pose.position + 0.1 * pose.right + 0.2 * pose.up + 0.3 * pose.forward)
    turned = pose.moved(np.zeros(3), np.array([0, np.pi / 2, 0]), 2.0)
    assert np.allclose(turned.forward, -pose.right, atol=1e-12) and turned.fovy == 2 * pose.fovy
    assert isinstance(CAMERAS["gripper"], Mounted)


def run_python(code: str, **environment: str) -> subprocess.CompletedProcess:
    keep = {k: v for k, v in os.environ.items() if not k.startswith("FOREACT_RENDERER") and k not in ("MUJOCO_GL", "PYOPENGL_PLATFORM")}
    return subprocess.run([sys.executable, "-c", code], env={**keep, **environment}, capture_output=True, text=True, timeout=120)


def test_no_renderer_at_all_is_one_clear_error():
    code = """
from foreact.contract.errors import RenderError
from foreact.envs.metaworld import MetaWorld
try:
    MetaWorld.Config(task="reach").build()
except RenderError as error:
    print(error)
"""
    done = run_python(code, FOREACT_RENDERER="none")
    assert "nothing on this machine can draw" in done.stdout and INSTALL in done.stdout, done.stderr


def test_a_misspelt_renderer_is_refused_with_the_nearest_name():
    done = run_python("from foreact.envs.backends import backend_name; backend_name()", FOREACT_RENDERER="osmeza")
    assert "did you mean 'osmesa'" in done.stderr


def test_without_opengl_rays_are_drawn_and_the_protocol_says_so():
    code = """
from foreact.envs.metaworld import MetaWorld
env = MetaWorld.Config(task="reach", size=16, condition="random").build()
observation, _ = env.reset(seed=0)
print(env.protocol()["renderer"], observation["images"]["scene"].std() > 5)
"""
    done = run_python(code, FOREACT_RENDERER="rays")
    assert done.stdout.split() == ["rays", "True"], done.stderr
