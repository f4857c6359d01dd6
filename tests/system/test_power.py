"""A disk that fails below the kernel, then loses its power: a real file system on a device of ours (tests/torture/device.py). The
campaign over the same device is `make torture-disk`; here are the cases it found. Where it cannot be done, the line says why."""
import os
import subprocess
import sys

from harness import ROOT, Skipped, expect

HERE = os.path.join(ROOT, "tests", "torture")
sys.path.insert(0, HERE)
import device  # noqa: E402


def run_case(name):
    why = device.why_not("xfs" in name)
    made = subprocess.run(["make", "-C", ROOT, "build/torture/blocklog"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT) if not why else None
    if why or made.returncode:
        raise Skipped(why or "blocklog does not compile: libfuse3-dev is missing? (tools/install torture)")
    # mounts that nobody else sees: nobody keeps them busy, and they go when the process goes
    done = subprocess.run(["unshare", "--mount", sys.executable, os.path.join(HERE, "power.py"), name], stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, timeout=300)
    said = done.stdout.decode(errors="replace")
    if done.returncode == 77:
        raise Skipped(said.strip())
    expect(done.returncode == 0, said)


def test_a_lost_page_of_a_write_ahead_log():
    run_case("a_lost_page_of_a_write_ahead_log")


def test_a_lost_page_of_a_body_that_somebody_waits_for():
    run_case("a_lost_page_of_a_body_that_somebody_waits_for")


def test_a_lost_page_of_a_body_that_the_queue_asks_for():
    run_case("a_lost_page_of_a_body_that_the_queue_asks_for")


def test_a_lost_page_that_the_kernel_keeps():
    run_case("a_lost_page_that_the_kernel_keeps")


def test_a_lost_body_that_the_kernel_keeps():
    run_case("a_lost_body_that_the_kernel_keeps")


def test_a_lost_body_before_its_row():
    run_case("a_lost_body_before_its_row")


def test_a_lost_page_of_a_checkpoint():
    run_case("a_lost_page_of_a_checkpoint")
