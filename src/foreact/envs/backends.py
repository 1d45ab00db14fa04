"""Which way of drawing this machine offers: EGL, then OSMesa, then rays (CGL, then rays, on macOS).

A GL backend is believed only after a child process has drawn with it: drivers that load and then crash are common,
and PyOpenGL cannot change its mind inside a process. The finding is kept in the environment variable
`FOREACT_RENDERER`, which child processes inherit, so that it is made once. GL backends draw identical pixels;
rays do not, so the `family` belongs to the protocol of every dataset and result.
"""

from __future__ import annotations

import functools
import os
import subprocess
import sys
from typing import Any

from foreact.contract.errors import RenderError, nearest

__all__ = ["backend_name", "family", "gl_context"]

INSTALL = "sudo apt-get install -y libegl1 libgl1 libosmesa6"
_VARIABLE = "FOREACT_RENDERER"
_GL = ("cgl",) if sys.platform == "darwin" else ("egl", "osmesa")
_PROBE = """
import os
from mujoco.{0} import GLContext
import mujoco
context = GLContext(8, 8)
context.make_current()
drawn = mujoco.MjrContext(mujoco.MjModel.from_xml_string("<mujoco/>"), mujoco.mjtFontScale.mjFONTSCALE_50)
mujoco.mjr_setBuffer(mujoco.mjtFramebuffer.mjFB_OFFSCREEN, drawn)
os._exit(0 if drawn.currentBuffer == mujoco.mjtFramebuffer.mjFB_OFFSCREEN else 3)
"""


@functools.cache
def backend_name() -> str:
    """`egl`, `osmesa`, `cgl` or `rays`: what this process draws with.

    `FOREACT_RENDERER` chooses it by hand: one of the names, a comma-separated order to try, or `none`.
    A `MUJOCO_GL` that is already set is tried first. Raises `RenderError` when nothing can draw.
    """
    wanted = os.environ.get(_VARIABLE, "").strip().lower()
    accepted = (*_GL, "rays", "none")
    names = [name.strip() for name in wanted.split(",") if name.strip()]
    for name in names:
        if name not in accepted:
            raise RenderError("no such renderer", where=_VARIABLE, found=name, accepted=", ".join(accepted),
                              next_step=nearest(name, accepted))
    preset = os.environ.get("MUJOCO_GL", "").strip().lower()
    order = names or [*([preset] if preset in _GL else []), *(name for name in _GL if name != preset), "rays"]
    tried = []
    for name in order:
        if name == "none":
            continue
        if name == "rays" or (names == [name] and os.environ.get(f"{_VARIABLE}_PROBED") == name):
            found = name
        else:
            reason = _probe(name)
            if reason:
                tried.append(f"{name}: {reason}")
                continue
            found = name
        os.environ[_VARIABLE] = os.environ[f"{_VARIABLE}_PROBED"] = found
        if found in _GL and "mujoco" not in sys.modules:
            os.environ["MUJOCO_GL"] = found
        return found
    raise RenderError("nothing on this machine can draw images", where="renderer",
                      found="; ".join(tried) or f"{_VARIABLE}={wanted}", accepted=", ".join((*_GL, "rays")),
                      next_step=f"{INSTALL}   (or: unset {_VARIABLE})")


def family() -> str:
    """`gl` or `rays`. Frames of one family are identical whatever the backend; the two never mix."""
    return "rays" if backend_name() == "rays" else "gl"


def _probe(name: str) -> str:
    """Empty when a child process could draw with `name`, else the last line of its complaint."""
    environment = {**os.environ, "MUJOCO_GL": name}
    environment.pop("PYOPENGL_PLATFORM", None)
    try:
        done = subprocess.run([sys.executable, "-c", _PROBE.format(name)], env=environment, capture_output=True,
                              text=True, timeout=60)
    except subprocess.TimeoutExpired:
        return "did not answer within 60 s"
    if done.returncode == 0:
        return ""
    lines = done.stderr.strip().splitlines()
    return lines[-1] if lines else f"exit code {done.returncode}"


@functools.cache
def gl_context() -> Any:
    """The one GL context of this process, made current. Drawing stays on the thread that first drew."""
    name = backend_name()
    # Mesa's software rasteriser: its threads cost more than they bring on small pictures, and workers fill the cores.
    os.environ.setdefault("LP_NUM_THREADS", "0")
    try:
        if name == "egl":
            from mujoco.egl import GLContext
        elif name == "osmesa":
            from mujoco.osmesa import GLContext
        else:
            from mujoco.cgl import GLContext
        context = GLContext(64, 64)
        context.make_current()
    except Exception as error:  # the three modules raise ImportError, RuntimeError, AttributeError and GLError
        raise RenderError(f"the renderer '{name}' could be loaded in a test but not here", where="renderer",
                          found=f"{type(error).__name__}: {error}",
                          next_step="set MUJOCO_GL before anything imports mujoco or OpenGL, or import foreact.envs first"
                          ) from error
    return context
