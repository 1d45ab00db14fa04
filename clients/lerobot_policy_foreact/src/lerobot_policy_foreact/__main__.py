"""`python -m lerobot_policy_foreact RUN POLICY`: a run that foreact trained, saved as a policy for `lerobot-eval --policy.path=POLICY`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from lerobot.policies.factory import make_pre_post_processors

from foreact.contract.errors import ConfigError, ForeactError
from lerobot_policy_foreact import ForeactConfig, ForeactPolicy

__all__ = ["convert"]


def convert(run: Path, policy: Path) -> Path:
    """Write the newest checkpoint of `run` into the folder `policy`, with the pipelines that LeRobot runs around it; returns the folder."""
    if policy.exists() and any(policy.iterdir()):
        raise ConfigError("the folder is not empty", where=str(policy), next_step="give the name of a new one")
    made = ForeactPolicy(ForeactConfig(start_from=str(run), device="cpu", push_to_hub=False))
    made.save_pretrained(policy)
    for pipeline in make_pre_post_processors(made.config):
        pipeline.save_pretrained(policy)
    return policy


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m lerobot_policy_foreact", description=__doc__)
    parser.add_argument("run", type=Path, help="folder of a run of `foreact train`, or of one of its checkpoints")
    parser.add_argument("policy", type=Path, help="new folder")
    options = parser.parse_args()
    try:
        print(convert(options.run, options.policy))
    except ForeactError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
