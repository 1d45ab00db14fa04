"""RoboCasa's side of `foreact.envs.robocasa`: run by RoboCasa's own Python, which has no foreact and other versions of numpy and MuJoCo.

    PYTHON -c "$(cat robocasa_worker.py)" NAME     makes the environment NAME and answers on standard output until standard input ends

A message is its length in 4 bytes, a JSON object, and then the bytes of its arrays in the order of "arrays", which gives name, dtype and
shape. Questions: {"do": "reset", "seed": s}, {"do": "step", "action": [...]}, where an action is given as arrays by name. Answers hold the
arrays of the observation and {"instruction", "reward", "success"}, or {"error"}. Words that RoboCasa prints go to standard error.

A seed makes the whole scene: RoboCasa's `reset(seed=)` seeds numpy's old generator, which nothing draws from, so the generator of the
simulation is set here too.
"""

from __future__ import annotations

import json
import os
import random
import struct
import sys

import numpy as np

__all__ = ["read", "write"]

_HEAD = struct.Struct("<I")


def write(stream, message, arrays):
    """Send a JSON object and arrays by name."""
    arrays = {name: np.ascontiguousarray(value) for name, value in arrays.items()}
    said = json.dumps({**message, "arrays": [[name, value.dtype.str, list(value.shape)] for name, value in arrays.items()]}).encode()
    stream.write(_HEAD.pack(len(said)) + said + b"".join(value.tobytes() for value in arrays.values()))
    stream.flush()


def read(stream):
    """The next JSON object and its arrays, or None where the stream has ended."""
    head = stream.read(_HEAD.size)
    if len(head) < _HEAD.size:
        return None
    message = json.loads(_whole(stream, _HEAD.unpack(head)[0]))
    arrays = {}
    for name, dtype, shape in message.pop("arrays"):
        kind = np.dtype(dtype)
        data = _whole(stream, kind.itemsize * int(np.prod(shape)))
        arrays[name] = np.frombuffer(data, kind).reshape(shape)
    return message, arrays


def _whole(stream, size):
    data = stream.read(size)
    if len(data) < size:
        raise EOFError("the other side ended within a message")
    return data


def _made(name):
    import gymnasium
    import robocasa.utils.gym_utils.gymnasium_groot  # noqa: F401  registers the environments

    return gymnasium.make(name, enable_render=True, disable_env_checker=True).unwrapped


def _answered(env, message, arrays):
    """The answer to one question."""
    reward, success = 0.0, False
    if message["do"] == "reset":
        random.seed(message["seed"])
        env.env.rng = np.random.default_rng(message["seed"])
        seen, _ = env.reset(seed=message["seed"])
    else:
        seen, reward, _, _, info = env.step(dict(arrays))
        success = bool(info["success"])
    words = next((str(value) for key, value in seen.items() if key.startswith("annotation.")), "")
    found = {key: np.asarray(value) for key, value in seen.items() if not key.startswith("annotation.")}
    return {"instruction": words, "reward": float(reward), "success": success}, found


def main(name):
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    questions = sys.stdin.buffer
    try:
        env = _made(name)
    except BaseException as error:
        write(answers, {"error": f"{type(error).__name__}: {error}"}, {})
        return
    write(answers, {"ready": name}, {})
    while True:
        asked = read(questions)
        if asked is None:
            break
        try:
            message, arrays = _answered(env, *asked)
        except Exception as error:
            message, arrays = {"error": f"{type(error).__name__}: {error}"}, {}
        write(answers, message, arrays)
    env.close()


if __name__ == "__main__":
    main(sys.argv[1])
