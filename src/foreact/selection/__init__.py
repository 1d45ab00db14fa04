"""Test time: propose, score, choose. The model comes in as functions; what comes back is the evidence, not only the choice."""

from foreact.selection.planners import BestCandidate, BestFirstTree, CrossEntropy, PathIntegral, Planner
from foreact.selection.selectors import (
    ActionConsensus,
    Consensus,
    Exploring,
    First,
    HighestValue,
    Medoid,
    RandomChoice,
    Selector,
    Weighted,
)

__all__ = ["ActionConsensus", "BestCandidate", "BestFirstTree", "Consensus", "CrossEntropy", "Exploring", "First", "HighestValue",
           "Medoid", "PathIntegral", "Planner", "RandomChoice", "Selector", "Weighted"]
