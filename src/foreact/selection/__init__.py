"""Test time: propose, score, choose. The model comes in as functions; what comes back is the evidence, not only the choice."""

from foreact.selection.planners import BestCandidate, BestFirstTree, CrossEntropy, PathIntegral, Planner

__all__ = ["BestCandidate", "BestFirstTree", "CrossEntropy", "PathIntegral", "Planner"]
