#!/usr/bin/env python3
"""Runs the sectors under other emulators and says which checks fail there.

    peers.py [--peers tcg,bochs,kvm] [--table] [NAME...]

NAME is a part of a file's name; without one, all sectors run. "tcg" and "kvm" are
qemu-system-x86_64 with either accelerator, "bochs" is Bochs without a screen.
"""

import argparse
import pathlib
import re
import subprocess
import tempfile
import time

HERE = pathlib.Path(__file__).parent
MODES = {"real": "0", "p16": "16", "p32": "32", "long": "64"}
LINE = re.compile(r"[0-9A-F]{4}[=!][0-9A-F]{4}")
# A sector that hangs, or an emulator that does.
SECONDS = 30
BOCHS = """\
config_interface: textconfig
display_library: rfb, options="timeout=0"
memory: guest=32, host=32
romimage: file=/usr/share/bochs/BIOS-bochs-latest
vgaromimage: file=/usr/share/bochs/VGABIOS-lgpl-latest
cpu: model=corei7_icelake_u, ips=1000000, reset_on_triple_fault=0, ignore_bad_msrs=0
clock: sync=none
boot: disk
ata0-master: type=disk, path={folder}/disk, mode=flat, cylinders=20, heads=16, spt=63
com1: enabled=1, mode=file, dev={folder}/serial
log: {folder}/log
panic: action=fatal
plugin_ctrl: speaker=0
"""


def checks(source, mode):
    """The names of a source's checks in a mode, in order."""
    names, conditions = [], []
    for line in map(str.strip, source.splitlines()):
        if line.startswith("%if"):
            modes = re.findall(r"MODE == (\d+)", line)
            conditions.append(not modes or MODES[mode] in modes)
        elif line == "%else":
            conditions[-1] = not conditions[-1]
        elif line == "%endif":
            conditions.pop()
        elif line.startswith(";=") and all(conditions):
            names.append(line[2:].split(":")[0].strip())
    return names


def qemu(image, accelerator):
    cpu = {"tcg": "max", "kvm": "host"}[accelerator]
    command = ["qemu-system-x86_64", "-accel", accelerator, "-cpu", cpu, "-m", "64"]
    command += ["-drive", f"format=raw,file={image}", "-debugcon", "stdio", "-serial", "null"]
    command += ["-device", "isa-debug-exit,iobase=0xf4", "-no-reboot", "-nic", "none"]
    command += ["-display", "none", "-monitor", "none"]
    pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
    try:
        return subprocess.run(command, timeout=SECONDS, check=False, **pipes).stdout
    except subprocess.TimeoutExpired as late:
        return late.stdout or b""


def bochs(image, lines):
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        sector = image.read_bytes()
        (folder / "disk").write_bytes(sector.ljust(20 * 16 * 63 * 512, b"\0"))
        (folder / "bochsrc").write_text(BOCHS.format(folder=folder))
        (folder / "debugger").write_text("continue\n")
        command = ["bochs-bin", "-q", "-f", "bochsrc", "-rc", "debugger"]
        pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.DEVNULL)
        child = subprocess.Popen(command, cwd=folder, **pipes)
        serial, end = b"", time.monotonic() + SECONDS
        while serial.count(b"\n") < lines and child.poll() is None and time.monotonic() < end:
            time.sleep(0.05)
            if (folder / "serial").exists():
                serial = (folder / "serial").read_bytes()
        child.kill()
        child.wait()
        return (folder / "serial").read_bytes() if (folder / "serial").exists() else b""


def failures(image, names, peer):
    printed = bochs(image, len(names)) if peer == "bochs" else qemu(image, peer)
    lines = LINE.findall(printed.decode(errors="replace"))
    for n, name in enumerate(names):
        if n >= len(lines):
            yield name, "not reached"
        elif "!" in lines[n]:
            yield name, lines[n]


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--peers", default="tcg,bochs", help="of tcg, kvm, bochs")
    parser.add_argument("--table", action="store_true", help="print a table in Markdown")
    parser.add_argument("names", nargs="*")
    args = parser.parse_args()
    peers = args.peers.split(",")
    for peer in peers:
        if peer not in ("tcg", "kvm", "bochs"):
            parser.error(f"there is no peer '{peer}'")
    total, failed = 0, dict.fromkeys(peers, 0)
    if args.table:
        print("| sector | checks |", " | ".join(peers), "|\n|---|---|" + "---|" * len(peers))
    for image in sorted(HERE.glob("*.bin")):
        if args.names and not any(name in image.name for name in args.names):
            continue
        stem, mode = image.stem.rsplit(".", maxsplit=1)
        names = checks((HERE / f"{stem}.asm").read_text(), mode)
        total += len(names)
        row = []
        for peer in peers:
            bad = list(failures(image, names, peer))
            failed[peer] += len(bad)
            row.append(f"{len(bad)} fail" if bad else "")
            for name, line in bad if not args.table else []:
                print(f"FAIL {peer} {image.stem} {name} {line}")
        if args.table and any(row):
            print(f"| {image.stem} | {len(names)} |", " | ".join(row), "|", flush=True)
    print(f"\n{total} checks; failed:", ", ".join(f"{p} {n}" for p, n in failed.items()))


if __name__ == "__main__":
    main()
