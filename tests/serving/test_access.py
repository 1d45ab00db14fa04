"""Who may connect: the token, TLS, the addresses that are listened on; and what is told to whom before."""

import shutil
import ssl
import subprocess
import threading

import pytest

from foreact.contract.errors import ConfigError, ForeactError
from foreact.serving.background import serving
from foreact.serving.server import Server
from foreact.serving.settings import ServerSettings
from foreact_client import Client, Refused
from served import get, until
from tiny_members import alive, config

WORD = "a word that is long enough"


@pytest.fixture
def token(tmp_path):
    file = tmp_path / "token"
    file.write_text(WORD + "\n")
    return str(file)


@pytest.mark.filterwarnings("ignore:connect\\(\\) must be used as a context manager:DeprecationWarning")
def test_only_who_knows_the_token_is_served(model, episode, token):
    with serving(model, ServerSettings(port=0, token_file=token)) as address:
        for wrong in (None, "a word that is long enougi", WORD + "x", "", WORD.upper()):
            with pytest.raises(Refused, match="does not know this client"):
                Client(address, token=wrong)
        with Client(address, token=WORD) as client:
            assert client.plan(episode(1)[0]).actions.shape == (8, 2)
        assert get(address, "/healthz") == (200, "OK\n")
        assert get(address, "/metrics")[0] == 401
        for header in ({"Authorization": WORD}, {"Authorization": f"Basic {WORD}"}, {"Authorization": "Bearer \xff"}):
            assert get(address, "/metrics", header)[0] == 401
        status, page = get(address, "/metrics", {"Authorization": f"Bearer {WORD}"})
        assert status == 200 and 'foreact_connections_total{outcome="unknown"} 9' in page
        openpi = pytest.importorskip("openpi_client.websocket_client_policy").WebsocketClientPolicy(address, api_key=WORD)
        assert openpi.infer(episode(1)[0])["actions"].shape == (8, 2)
        openpi._ws.close()


def test_tls_by_files(model, episode, tmp_path):
    if shutil.which("openssl") is None:
        pytest.skip("no openssl to make a certificate with")
    certificate, key = str(tmp_path / "certificate.pem"), str(tmp_path / "key.pem")
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
                    "-subj", "/CN=robot", "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", key, "-out", certificate],
                   check=True, capture_output=True)
    with serving(model, ServerSettings(port=0, certificate=certificate, key=key)) as address:
        assert address.startswith("wss://")
        with Client(address, certificate=certificate) as client:
            assert client.plan(episode(1)[0]).actions.shape == (8, 2)
        with pytest.raises(Refused, match="not trusted"):
            Client(address)
    with pytest.raises(ConfigError, match="cannot be used"):
        ServerSettings(certificate=certificate, key=certificate).tls()
    assert isinstance(ServerSettings(certificate=certificate, key=key).tls(), ssl.SSLContext)


@pytest.mark.parametrize(("given", "said"), [
    ({"host": "0.0.0.0"}, "could move the robot"),
    ({"host": "192.168.1.5"}, "could move the robot"),
    ({"host": "::"}, "could move the robot"),
    ({"host": "robot.example"}, "could move the robot"),
    ({"lanes": 0}, "at least its lanes"),
    ({"batch": 2}, "at least its lanes"),
    ({"certificate": "x"}, "both, or neither"),
    ({"sessions": 0}, "above zero"),
])
def test_settings_that_are_refused(given, said):
    with pytest.raises(ConfigError, match=said):
        ServerSettings(**given)


def test_settings_that_are_not(token, tmp_path):
    assert ServerSettings(host="localhost").token() is None and ServerSettings(host="::1").host == "::1"
    assert ServerSettings(host="0.0.0.0", open=True).host == "0.0.0.0"
    assert ServerSettings(host="0.0.0.0", token_file=token).token() == WORD
    (tmp_path / "short").write_text("short")
    for file, said in ((tmp_path / "short", "can be guessed"), (tmp_path / "none", "cannot be read")):
        with pytest.raises(ConfigError, match=said):
            ServerSettings(token_file=str(file)).token()


def test_a_port_that_is_taken_is_told(model, address):
    with pytest.raises(ForeactError, match="cannot listen here"), serving(model, ServerSettings(port=int(address.rpartition(":")[2]))):
        pass


def test_healthy_means_warmed_up(episode):
    """A model that takes its time: the server listens, and says that it is not ready; who connects meanwhile waits."""
    import asyncio
    from dataclasses import replace

    slow = config("JointGeneration")
    slow = alive(replace(slow, coupling=replace(slow.coupling, steps=60)))
    found, health, ready = {}, [], threading.Event()

    async def run():
        found["loop"], found["stop"] = asyncio.get_running_loop(), asyncio.Event()
        server = Server(slow, ServerSettings(port=0, batch=4))
        await server.run(found["stop"], listening=lambda port: found.update(port=port), ready=ready.set)

    thread = threading.Thread(target=lambda: asyncio.run(run()), daemon=True)
    thread.start()
    until(lambda: "port" in found)
    address = f"ws://127.0.0.1:{found['port']}"
    health.append((ready.is_set(), *get(address, "/healthz")))
    with Client(address) as client:
        assert ready.is_set(), "the metadata came once the model was warm"
        health.append(get(address, "/healthz"))
        assert "foreact_ready 1" in get(address, "/metrics")[1]
        assert client.plan(episode(1)[0]).actions.shape == (8, 2)
    found["loop"].call_soon_threadsafe(found["stop"].set)
    thread.join()
    assert health == [(False, 503, "warming up\n"), (200, "OK\n")]


def test_metrics_are_prometheus_text(address, episode):
    with Client(address) as client:
        for seen in episode(1):
            client.plan(seen)
        with pytest.raises(Refused):
            client.plan({})
        _, page = get(address, "/metrics")
    values = {}
    for line in page.splitlines():
        if not line.startswith("#"):
            name, value = line.rsplit(" ", 1)
            values[name] = float(value)
    assert values['foreact_requests_total{outcome="answered"}'] >= 4 and values['foreact_requests_total{outcome="refused"}'] >= 1
    assert values["foreact_sessions_connected"] >= 1 and values["process_resident_memory_bytes"] > 1e7
    for name in ("foreact_request_seconds", "foreact_plan_seconds", "foreact_batch_rows"):
        buckets = [value for key, value in values.items() if key.startswith(f"{name}_bucket")]
        assert buckets == sorted(buckets) and buckets[-1] == values[f"{name}_count"] >= 4 and values[f"{name}_sum"] > 0
        assert f"# TYPE {name} histogram" in page
