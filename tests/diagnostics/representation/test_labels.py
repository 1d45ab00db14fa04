"""What probes ask of a frame, pixels at a token's place, and pictures of tokens."""

import numpy as np

from foreact.diagnostics.representation.labels import cells_of, positions_of
from foreact.diagnostics.representation.measure import likeness, on_grid, pixels_of
from foreact.diagnostics.representation.pictures import even_tokens, principal_colours, token_map
from foreact.envs.semantics import HAND, OBJECT


def scene():
    classes = np.zeros((2, 16, 32), dtype=np.uint8)
    classes[0, 4:8, 24:32] = OBJECT
    classes[0, 4:8, 0:8] = HAND
    classes[0, 0, 0] = OBJECT  # a single pixel does not make a cell
    classes[1, 0, 0] = OBJECT  # nor does it make an object that is seen
    return classes


def test_the_centre_of_the_object_in_shares_of_the_picture():
    one = scene()
    one[0, 0, 0] = 0
    found = positions_of([one, one])
    np.testing.assert_allclose(found[0], [28 / 32, 6 / 16] * 2)
    assert np.isnan(found[1]).all()


def test_a_cell_shows_the_object_before_the_hand_before_the_rest():
    found = cells_of([scene()], (1, 4, 4), cover=0.1).reshape(2, 4, 4)
    expected = np.zeros((4, 4))
    expected[1, 3], expected[1, 0] = OBJECT, HAND
    np.testing.assert_array_equal(found[0], expected)
    assert (found[1] == 0).all()


def test_pixels_of_a_place_are_those_of_its_token():
    pictures = np.zeros((1, 3, 16, 16), dtype=np.uint8)
    pictures[0, 1, 4:8, 8:12] = 255  # second row, third column of 4 x 4
    found = pixels_of([pictures, 0 * pictures], (2, 4, 4))
    assert found.shape == (1, 32, 48)
    assert (np.flatnonzero(found[0].any(axis=1)) == [6]).all()
    np.testing.assert_array_equal(found[0, 6].reshape(3, 4, 4)[1], np.ones((4, 4)))


def test_tokens_are_brought_to_another_grid_camera_by_camera():
    tokens = np.arange(2 * 16, dtype=np.float32).reshape(1, 32, 1)
    np.testing.assert_allclose(on_grid(tokens, (2, 4, 4), (2, 2, 2))[0, :, 0], [2.5, 4.5, 10.5, 12.5, 18.5, 20.5, 26.5, 28.5])
    assert on_grid(tokens, (2, 4, 4), (2, 8, 8)).shape == (1, 128, 1)


def test_colours_tell_two_kinds_of_places_apart():
    draw = np.random.default_rng(0)
    kinds = np.tile([0, 0, 1, 1], (20, 1))
    tokens = 5.0 * np.eye(2)[kinds] @ draw.normal(size=(2, 12)) + 0.1 * draw.normal(size=(20, 4, 12))
    tokens = tokens + 30.0 * draw.normal(size=(20, 1, 12))  # which frame it is counts for nothing
    colours, shares = principal_colours(tokens)
    assert colours.min() >= 0 and colours.max() <= 1 and shares[0][0] > 0.9
    both, _ = principal_colours(np.concatenate([tokens, 100.0 * tokens], axis=1), cameras=2)
    np.testing.assert_allclose(both[:, :4], colours)
    assert abs(colours[:, :2, 0].mean() - colours[:, 2:, 0].mean()) > 0.8
    rows = even_tokens(kinds, most=40)
    assert len(rows) == 40 and kinds.reshape(-1)[rows].sum() == 20
    points, _ = token_map(tokens - tokens.mean(axis=1, keepdims=True), rows)
    near = [points[kinds.reshape(-1)[rows] == kind] for kind in (0, 1)]
    assert np.linalg.norm(near[0].mean(axis=0) - near[1].mean(axis=0)) > max(part.std(axis=0).max() for part in near)


def test_likeness_names_its_parts():
    draw = np.random.default_rng(0)
    tokens = draw.normal(size=(30, 4, 6))
    found = likeness({"1": tokens, "2": tokens[..., ::-1], "still": np.zeros((30, 4, 2))})
    assert found["names"] == ["1", "2", "still"]
    assert abs(found["matrix"][0][1] - 1) < 1e-9 and found["matrix"][0][2] is None
