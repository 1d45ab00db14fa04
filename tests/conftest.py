"""Shape words are enforced while the tests run; torch keeps to one thread per worker."""

import os
import signal

os.environ.setdefault("OMP_NUM_THREADS", "1")

from jaxtyping import install_import_hook

install_import_hook("foreact", "shape_checks.checked")

import torch  # noqa: E402 - after the hook, which must see every import of foreact

torch.set_num_threads(1)

# a shell that starts the tests in the background has Ctrl-C ignored, and every process that a test interrupts would inherit that
signal.signal(signal.SIGINT, signal.default_int_handler)
