"""Mail that leaves while net and queue are killed: tests/leaving.py with a few hundred messages; `make torture-sending` has ten thousand."""
import contextlib
import os
import random
import sys

from harness import ROOT

sys.path.insert(0, os.path.join(ROOT, "tests"))
from leaving import Leaving  # noqa: E402


def test_all_arrives_whatever_is_killed():
    seed = random.randrange(1 << 30)
    print(f"seed {seed}")
    with contextlib.closing(Leaving(seed, os.environ.get("FACTEUR_TEST_BUILD"))) as leaving:
        leaving.run(400, ("net", "queue", "both", "all"), 0.5)
        leaving.judge()
        leaving.server.stop()
        assert not leaving.server.findings(), leaving.server.findings()
