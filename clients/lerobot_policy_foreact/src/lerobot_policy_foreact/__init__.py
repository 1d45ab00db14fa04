"""World Action Models of foreact as policies of LeRobot, which finds this distribution by its name and imports it."""

from lerobot_policy_foreact.configuration_foreact import ForeactConfig
from lerobot_policy_foreact.modeling_foreact import ForeactPolicy
from lerobot_policy_foreact.processor_foreact import make_foreact_pre_post_processors

__all__ = ["ForeactConfig", "ForeactPolicy", "make_foreact_pre_post_processors"]
