"""`python -m foreact_vla_eval --args.checkpoint=RUN [--address HOST:PORT] [--config FILE.yaml]`."""

from vla_eval.model_servers.serve import run_server

from foreact_vla_eval.server import ForeactModelServer

if __name__ == "__main__":
    run_server(ForeactModelServer)
