"""Who is to be cited: by the name of a part, the BibTeX of what it is built after."""

from __future__ import annotations

from typing import Any

from foreact.contract.config import encode
from foreact.recipes.recipe import Recipe

__all__ = ["of"]

_SURVEY = """@article{shen2026worldactionmodels,
  title  = {World Action Models: A Survey},
  author = {Shen, Qihong and Zhang, Shihua and Liao, Yue and Li, Qi and Tan, Zhenxiong and Wang, Shizun and Yan, Shuicheng
            and Wang, Xinchao},
  doi    = {10.20944/preprints202606.1403.v1},
  year   = {2026}
}"""


def _arxiv(key: str, number: str, year: int, author: str, title: str) -> str:
    lines = (f"@article{{{key},", f"  title   = {{{title}}},", f"  author  = {{{author}}},", f"  journal = {{arXiv:{number}}},",
             f"  year    = {{{year}}}", "}")
    return "\n".join(lines)


_FLOW = _arxiv("lipman2022flow", "2210.02747", 2022, "Lipman, Yaron and others", "Flow Matching for Generative Modeling")
_PARTS = {
    "MixtureOfTransformers": _arxiv("liang2024mot", "2411.04996", 2024, "Liang, Weixin and others",
                                    "Mixture-of-Transformers: A Sparse and Scalable Architecture for Multi-Modal Foundation Models"),
    "DiffusionTransformer": _arxiv("peebles2022dit", "2212.09748", 2022, "Peebles, William and Xie, Saining",
                                   "Scalable Diffusion Models with Transformers"),
    "JointEmbeddingPredictor": _arxiv("assran2023ijepa", "2301.08243", 2023, "Assran, Mahmoud and others",
                                      "Self-Supervised Learning from Images with a Joint-Embedding Predictive Architecture"),
    "TextMatched": _arxiv("zhai2023siglip", "2303.15343", 2023, "Zhai, Xiaohua and others",
                          "Sigmoid Loss for Language Image Pre-Training"),
    "SelfDistilled": _arxiv("caron2021dino", "2104.14294", 2021, "Caron, Mathilde and others",
                            "Emerging Properties in Self-Supervised Vision Transformers"),
    "PretrainedVision": _arxiv("oquab2023dinov2", "2304.07193", 2023, "Oquab, Maxime and others",
                               "DINOv2: Learning Robust Visual Features without Supervision"),
    "HashedWords": _arxiv("weinberger2009hashing", "0902.2206", 2009, "Weinberger, Kilian and others",
                          "Feature Hashing for Large Scale Multitask Learning"),
    "Denoised": _FLOW,
    "JointGeneration": _FLOW,
}


def of(recipe: Recipe) -> dict[str, str]:
    """BibTeX entries by what they are for: the recipe's own first, then its parts', then the survey's; each entry once."""
    found = {recipe.name: recipe.card.bibtex} if recipe.card.bibtex else {}
    for size in recipe.sizes:
        for name in _types(encode(recipe.run(size).model)):
            if name in _PARTS and _PARTS[name] not in found.values():
                found[name] = _PARTS[name]
    return found | {"survey": _SURVEY}


def _types(value: Any) -> list[str]:
    """The classes that a config names, in order."""
    if isinstance(value, dict):
        own = [value["type"]] if isinstance(value.get("type"), str) else []
        return own + [name for item in value.values() for name in _types(item)]
    if isinstance(value, list):
        return [name for item in value for name in _types(item)]
    return []
