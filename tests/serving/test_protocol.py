"""The bytes are openpi's: its released client is served, and ours writes what it writes."""

from dataclasses import replace

import msgpack
import numpy as np
import pytest
from websockets.sync.client import connect

from foreact.serving.background import serving
from foreact.serving.settings import ServerSettings
from foreact.serving.wire import WireLimits, pack, unpack
from foreact_client import ChunkPlayer, Client
from foreact_client import wire as client_wire
from tiny_members import alive, config

LIMITS = WireLimits(bytes=1 << 20)
VALUES = {"images": {"a": np.arange(12, dtype=np.uint8).reshape(2, 2, 3)}, "state": np.float32([1.5, -2.0]), "prompt": "go",
          "n": np.int64(3), "flag": np.bool_(True), "nested": [1, 2.5, None, {"x": np.zeros((0, 3), np.float16)}]}


def test_bytes_are_those_of_openpi_client():
    theirs = pytest.importorskip("openpi_client.msgpack_numpy")
    assert pack(VALUES) == theirs.packb(VALUES) == client_wire.pack(VALUES)
    back = theirs.unpackb(pack(VALUES))
    assert np.array_equal(back["images"]["a"], VALUES["images"]["a"]) and back["n"] == 3
    with pytest.raises(ValueError, match="Unsupported"):
        theirs.packb(np.array([object()]))


def test_bytes_are_written_down():
    """As another language would write them; regenerate by hand, from msgpack's specification."""
    assert pack({"a": np.float32([1.0])}) == bytes.fromhex(
        "81a161" "84" "c40b5f5f6e6461727261795f5f" "c3" "c40464617461" "c4040000803f" "c4056474797065" "a33c6634" "c4057368617065" "9101")


@pytest.mark.parametrize("read", [lambda m: unpack(m, LIMITS), client_wire.unpack])
def test_what_is_written_is_read(read):
    back = read(pack(VALUES))
    assert back["prompt"] == "go" and back["flag"] and back["nested"][3]["x"].shape == (0, 3)
    for name in ("state", "n"):
        assert back[name].dtype == VALUES[name].dtype and np.array_equal(back[name], VALUES[name])


def test_keys_may_be_words():
    array = {"__ndarray__": True, "data": b"\x01\x02", "dtype": "|u1", "shape": [2]}
    assert unpack(msgpack.packb({"x": array}), LIMITS)["x"].tolist() == [1, 2]


@pytest.mark.filterwarnings("ignore:connect\\(\\) must be used as a context manager:DeprecationWarning")
def test_the_released_openpi_client_is_served(address, episode):
    policy = pytest.importorskip("openpi_client.websocket_client_policy").WebsocketClientPolicy(address)
    metadata = policy.get_server_metadata()["foreact"]
    assert (metadata["model"], metadata["horizon"], metadata["replan"]) == ("tiny", 8, 3)
    assert [camera["name"] for camera in metadata["observation"]["cameras"]] == ["front", "hand"]
    reply = policy.infer(episode(1)[0])
    assert reply["actions"].shape == (8, 2) and reply["actions"].dtype == np.float32 and np.abs(reply["actions"]).max() <= 1
    assert reply["server_timing"]["infer_ms"] > 0
    with pytest.raises(RuntimeError, match=r"images\.hand: a camera is missing"):
        policy.infer({"images": {"front": episode(1)[0]["images"]["front"]}, "state": np.zeros(3, np.float32), "prompt": "go"})
    assert policy.infer(episode(1)[1])["actions"].shape == (8, 2), "a mistake ends nothing"
    policy._ws.close()


def test_names_may_be_flat_and_pictures_either_way_round(address, episode):
    seen = episode(2)[0]
    flat = {f"observation/images/{name}": x.transpose(2, 0, 1).copy() for name, x in seen["images"].items()}
    flat |= {"observation/state": seen["state"].astype(np.float64), "task": seen["prompt"]}
    dotted = {f"observation.images.{name}": x for name, x in seen["images"].items()}
    dotted |= {"observation.state": seen["state"].tolist(), "instruction": seen["prompt"]}
    plans = []
    for form in (seen, flat, dotted):
        with Client(address) as client:
            plans.append(client.plan(form).actions)
    assert all(np.array_equal(plan, plans[0]) for plan in plans)


def test_an_episode_has_a_name_a_seed_and_an_end(address, episode):
    with Client(address) as client:
        first, second = (client.plan(seen) for seen in episode(3)[:2])
        assert (first.about["call"], first.about["step"], second.about["call"], second.about["step"]) == (0, 0, 1, 3)
        about = client.reset(seed=first.about["seed"], episode="again")
        assert (about["episode"], about["call"], about["step"]) == ("again", 0, 0)
        again = client.plan(episode(3)[0])
        assert np.array_equal(again.actions, first.actions) and again.about["episode"] == "again"
        client.reset(seed=5)
        assert not np.array_equal(client.plan(episode(3)[0]).actions, first.actions)
        assert client.reset()["seed"] != 5


def test_the_future_is_shown_on_request(address, episode):
    with Client(address) as client:
        assert not client.plan(episode(4)[0]).imagined
        shown = client.plan(episode(4)[1], imagine=True)
    assert shown.offsets == (4, 8) and set(shown.imagined) == {"front", "hand"}
    assert shown.imagined["front"].shape == (2, 16, 16, 3) and shown.imagined["front"].dtype == np.uint8


def test_a_model_that_acts_without_imagining_is_served(episode):
    """And says so: a future that is asked for is not there."""
    whole = config("JointGeneration")
    sees = {"action": ("frame", "state", "action"), "state": ("frame", "state")}
    coupling = replace(whole.coupling, sees=sees, levels="independent", future_at_test="absent")
    with serving(alive(replace(whole, coupling=coupling)), ServerSettings(port=0)) as address, Client(address) as client:
        assert not client.metadata["imagines"]
        assert not client.plan(episode(4)[0], imagine=True).imagined


def test_a_player_asks_when_a_plan_is_used_up(address, episode):
    with Client(address) as client:
        seen, looks = episode(5), []

        def look():
            looks.append(len(looks))
            return seen[looks[-1]]

        player = ChunkPlayer(client)
        played = [player.act(look) for _ in range(7)]
        assert len(looks) == 3 and player.plan.about["step"] == 6
        with pytest.raises(ValueError, match="has 8 actions"):
            ChunkPlayer(client, replan=9)
    with Client(address) as client:
        plans = [client.plan(x) for x in seen[:3]]
    assert np.array_equal(np.stack(played), np.concatenate([plans[0].actions[:3], plans[1].actions[:3], plans[2].actions[:1]]))


def test_a_request_asked_twice_is_answered_once(address, episode):
    with connect(address, compression=None, max_size=None) as socket:
        socket.recv()
        message = pack({**episode(6)[0], "foreact": {"request": 7}})
        socket.send(message)
        first = socket.recv()
        socket.send(message)
        assert socket.recv() == first
        socket.send(pack({**episode(6)[1], "foreact": {"request": 8}}))
        assert unpack(socket.recv(), LIMITS)["foreact"]["call"] == 1
