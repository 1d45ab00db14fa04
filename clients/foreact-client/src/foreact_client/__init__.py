"""Drive a robot with a World Action Model that is served elsewhere."""

from foreact_client.asynchronous import AsynchronousPlayer
from foreact_client.client import Client, Plan, Refused, Unreachable
from foreact_client.holding import holding_still
from foreact_client.player import ChunkPlayer

__all__ = ["AsynchronousPlayer", "ChunkPlayer", "Client", "Plan", "Refused", "Unreachable", "holding_still"]
