"""umT5's encoder, proven with the real classes of transformers at a tiny random size, saved to disk and read back."""

import sys
from dataclasses import replace

import pytest
import torch
import transformers

from foreact.contract.errors import MisfitError, MissingExtraError, StorageError
from foreact.evaluation.sources import ModelSource
from foreact.nets.pretrained_text import UMT5_XXL
from tiny_members import ACTION, OBSERVATION, config, context, losses, window
from tiny_weights import SENTENCES, umt5

CPU = torch.device("cpu")


@pytest.fixture
def declared(tmp_path):
    return umt5(tmp_path)


@pytest.fixture
def encoder(declared):
    made = declared.build()
    made.load()
    return made


def test_its_tokens_are_those_of_the_published_pipeline(encoder, tmp_path):
    """As Wan's pipeline has it: filled up under a mask, encoded, cut, filled up with zeros."""
    reference = transformers.UMT5EncoderModel.from_pretrained(tmp_path / "text_encoder").eval()
    words = transformers.AutoTokenizer.from_pretrained(tmp_path / "tokenizer")(
        list(SENTENCES), padding="max_length", max_length=32, truncation=True, return_tensors="pt")
    assert words["attention_mask"].sum(dim=1).unique().numel() > 1
    with torch.no_grad():
        wanted = reference(**words).last_hidden_state * words["attention_mask"][..., None]
    found, mask = encoder(SENTENCES, CPU)
    assert torch.equal(mask, words["attention_mask"].bool())
    # each text is encoded without the others' filling: the same float32 sums in another order, and which order that is depends on
    # the processor; a wrong mask or a shifted position differs by tenths
    torch.testing.assert_close(found, wanted, atol=1e-3, rtol=1e-3)
    assert wanted.std() > 0.1


def test_the_form_and_the_values_do_not_depend_on_the_batch(encoder):
    together, mask = encoder(SENTENCES, CPU)
    encoder._encoded.clear()
    for text, row, real in zip(SENTENCES, together, mask, strict=True):
        alone, own = encoder([text], CPU)
        assert torch.equal(alone[0], row)
        assert torch.equal(own[0], real)
    assert together.shape == (4, 32, 12)
    assert torch.equal(encoder(["  open   the\nwindow "], CPU)[0][0], together[1])
    assert mask.any(dim=1).all()
    assert encoder([""], CPU)[1].sum() == 1  # the end of the text is a token


def test_a_text_is_encoded_once_and_few_are_held(encoder, monkeypatch):
    calls = []
    encoder.model.register_forward_hook(lambda *_: calls.append(1))
    encoder([SENTENCES[0], SENTENCES[1], SENTENCES[0]], CPU)
    encoder([SENTENCES[0]], CPU)
    assert len(calls) == 2
    monkeypatch.setattr("foreact.nets.pretrained_text._HELD", 2)
    encoder([SENTENCES[2]], CPU)  # the second sentence was asked for longest ago
    encoder([SENTENCES[0], SENTENCES[2]], CPU)
    assert len(calls) == 3
    encoder([SENTENCES[1]], CPU)
    assert len(calls) == 4


def test_what_is_kept_does_not_depend_on_the_precision_of_who_asks_first(encoder):
    with torch.autocast("cpu", torch.bfloat16):
        first = encoder(SENTENCES, CPU)[0]
    encoder._encoded.clear()
    assert torch.equal(first, encoder(SENTENCES, CPU)[0])
    assert first.dtype == torch.float32
    assert not first.requires_grad


def test_long_texts_are_cut(declared):
    short = replace(declared, words=4).build()
    short.load()
    found, mask = short([SENTENCES[2]], CPU)
    assert found.shape == (1, 4, 12)
    assert mask.all()


def test_half_precision_weights_give_nearly_the_same(declared, encoder):
    half = replace(declared, precision="bf16").build()
    half.load()
    assert {p.dtype for p in half.model.encoder.block[0].layer[0].parameters()} == {torch.bfloat16}
    one, other = encoder(SENTENCES, CPU)[0], half(SENTENCES, CPU)[0]
    assert torch.nn.functional.cosine_similarity(one.flatten(), other.flatten(), dim=0) > 0.99


def test_it_is_no_part_of_what_is_trained_or_saved(declared):
    c = replace(config("JointGeneration"), text=declared)
    torch.manual_seed(0)
    model = c.build(OBSERVATION, ACTION)
    model.text.load()
    assert not any(name.startswith("text.") for name, _ in model.parameters_to_train())
    assert not any(name.startswith("text.") for name in model.state_dict())
    before = model.eval().plan(context(c)).actions
    sum(losses(model.train(), window(c)).values()).backward()
    assert not model.text.model.training
    assert all(p.grad is None for p in model.text.parameters())
    again = ModelSource.of(model.eval()).build()
    assert torch.equal(before, again.plan(context(c)).actions)
    fresh = c.build(OBSERVATION, ACTION)
    fresh.load_state_dict(model.state_dict())
    with pytest.raises(StorageError, match="no weights yet"):
        fresh.eval().plan(context(c))


def test_mistakes_are_named(declared, tmp_path, monkeypatch):
    with pytest.raises(MisfitError, match=r"num_layers = 2(.|\n)*num_layers = 3"):
        replace(declared, depth=3).build().load()
    with pytest.raises(StorageError, match="text encoder cannot be had"):
        replace(declared, subfolder="nowhere").build().load()
    with pytest.raises(StorageError, match="the tokenizer of the text encoder cannot be had"):
        replace(declared, tokenizer="nowhere").build().load()
    transformers.T5EncoderModel(transformers.T5Config(d_model=12, num_layers=2, num_heads=3, d_kv=4, d_ff=20, vocab_size=80)
                                ).save_pretrained(tmp_path / "other")
    with pytest.raises(MisfitError, match="model_type = t5"):
        replace(declared, subfolder="other").build().load()
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(MissingExtraError, match="pretrained"):
        declared.build()


def test_the_published_size_on_the_meta_device():
    with torch.device("meta"):
        counted = UMT5_XXL.build()
    assert sum(p.numel() for p in counted.parameters()) / 1e9 == pytest.approx(5.68, rel=0.01)
