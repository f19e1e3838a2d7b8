"""fastnn against other libraries on the same training steps: `fastnn bench --peers`.

`network` says what is trained, `torch_steps`, `jax_steps` and `fastnn_steps` do it, `worker` runs one of them in its own process,
`process` and `driver` let the workers take turns, `results` reports.
"""

from fastnn.bench.peers.driver import Settings, compare
from fastnn.bench.peers.results import OWN, PeersReport
from fastnn.bench.peers.worker import PROGRAMS

__all__ = ["OWN", "PROGRAMS", "PeersReport", "Settings", "compare"]
