#!/usr/bin/env python3
"""Runs kvm-unit-tests under QEMU's translator by the suite's own runner, and writes qemu.txt.

Usage: peer.py CHECKOUT... > qemu.txt

Each CHECKOUT is a build of the suite (testsuites/fetch makes two). QEMU is what $QEMU names, or
qemu-system-x86_64. What the runner says is kept in CHECKOUT/logs/RUNNER: where that is, nothing
runs again.
"""

import os
import re
import subprocess
import sys

QEMU = os.environ.get("QEMU", "qemu-system-x86_64")
# What the adapter counts, too (protocol.rs).
WORDS = (("PASS", "XFAIL", "KFAIL"), ("FAIL", "XPASS"), ("SKIP",))


def run(checkout):
    """The runner's lines, from this run or an earlier one."""
    kept = os.path.join(checkout, "logs", "RUNNER")
    if not os.path.exists(kept):
        env = dict(os.environ, ACCEL="tcg", QEMU=QEMU)
        done = subprocess.run(["./run_tests.sh", "-a"], cwd=checkout, env=env,
                              stdout=subprocess.PIPE, text=True)
        with open(kept, "w") as file:
            file.write(done.stdout)
    with open(kept) as file:
        return re.sub(r"\x1b\[[0-9;]*m", "", file.read()).splitlines()


def count(checkout, test):
    """Subtests that passed, failed and were skipped."""
    try:
        with open(os.path.join(checkout, "logs", test + ".log"), encoding="latin-1") as file:
            lines = file.read().splitlines()
    except FileNotFoundError:
        lines = []
    said = [line.split(": ")[0] for line in lines if ": " in line]
    return [sum(said.count(word) for word in words) for words in WORDS]


def how(outcome, remark, counts):
    """What the counts do not say."""
    if re.fullmatch(r"\d+ tests.*", remark) and (outcome != "SKIP" or counts[2]):
        return ""
    if re.fullmatch(r"\d+ tests.*", remark):
        return "skipped"
    if remark.startswith("timeout; duration="):
        return "not done after " + remark.split("=")[1].rstrip("s") + " s"
    if outcome == "SKIP":
        return "skipped: " + remark.replace("qemu-system-x86_64: ", "")
    # A test that comes to its end sums up.
    return remark or ("ended early" if outcome == "FAIL" else "")


def main():
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    first = subprocess.run([QEMU, "--version"], stdout=subprocess.PIPE, text=True, check=True)
    version = first.stdout.split("version ")[1].split()[0]
    print("# What QEMU's translator makes of kvm-unit-tests, by peer.py: the peer's name, then")
    print("# BUILD/TEST PASS FAIL SKIP HOW.")
    print(f"QEMU {version} TCG")
    for checkout in sys.argv[1:]:
        with open(os.path.join(checkout, "config.mak")) as file:
            arch = re.search(r"^ARCH=(\w+)$", file.read(), re.M)[1]
        for line in run(checkout):
            found = re.fullmatch(r"(PASS|FAIL|SKIP) (\S+) ?(?:\((.*)\))? ?", line)
            # What is for the other build only is in no table of this one.
            if not found or (found[3] or "").endswith(" only"):
                continue
            counts = count(checkout, found[2])
            words = how(found[1], found[3] or "", counts)
            print(" ".join(map(str, [f"{arch}/{found[2]}", *counts, words])).rstrip())


main()
