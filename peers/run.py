#!/usr/bin/env python3
"""The topic of `siji bench aggregate` read by others, beside siji and on the same machine.

    peers/run.py --brokers 127.0.0.1:9092 --topic bench-json-5000000 [floor-consume floor-pass flink]

The topic has four partitions and holds JSON. Prints one JSON object a line: events a second between the first read and
the last written byte (start-up left out, which siji's own figure includes), CPU seconds of the process and its largest
memory. Needs Rust for the floor, Java 17 and Maven for Flink; jars and programs go to ${XDG_CACHE_HOME:-~/.cache}.
"""

import argparse
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
CACHE = pathlib.Path(os.environ.get("XDG_CACHE_HOME", pathlib.Path.home() / ".cache")) / "siji-peers"
PEERS = ["floor-consume", "floor-pass", "flink"]


def build_floor():
    target = CACHE / "floor"
    subprocess.run(
        ["cargo", "build", "--release", "--quiet", "--manifest-path", HERE / "floor/Cargo.toml"],
        env={**os.environ, "CARGO_TARGET_DIR": str(target)},
        check=True,
    )
    return str(target / "release/floor")


def build_flink():
    classes, class_path = CACHE / "flink-classes", CACHE / "flink.class-path"
    classes.mkdir(parents=True, exist_ok=True)
    maven = ["mvn", "-q", "-B", "-f", HERE / "flink/pom.xml", "dependency:build-classpath"]
    subprocess.run([*maven, f"-Dmdep.outputFile={class_path}"], check=True)
    everything = f"{classes}:{class_path.read_text().strip()}"
    subprocess.run(["javac", "-d", classes, "-cp", everything, HERE / "flink/Rollup.java"], check=True)
    opened = [f"--add-opens=java.base/java.{package}=ALL-UNNAMED" for package in ("lang", "util")]
    quiet = "-Dorg.slf4j.simpleLogger.defaultLogLevel=error"
    return ["java", "-Xmx2g", "-XX:+UseG1GC", *opened, quiet, "-cp", everything, "Rollup"]


def measure(command, brokers):
    """Runs to the end; gives milliseconds between marks, CPU seconds and the largest resident set in MB."""
    with tempfile.TemporaryFile("w+") as said:
        child = subprocess.Popen(command, stdout=said, env={**os.environ, "BROKERS": brokers})
        _, status, usage = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
        said.seek(0)
        lines = said.read().splitlines()
    if child.returncode != 0:
        sys.exit(f"{command[0]} ended with {child.returncode}")
    marks = dict(line.split()[1:] for line in lines if line.startswith("MARK "))
    elapsed = int(marks["end"]) - int(marks["begin"])
    return elapsed, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--brokers", default="127.0.0.1:9092")
    parser.add_argument("--topic", required=True)
    parser.add_argument("--events", type=int, required=True, help="records in the topic")
    parser.add_argument("peers", nargs="*", metavar="PEER", help=f"{', '.join(PEERS)}; all unless named")
    asked = parser.parse_args()
    unknown = set(asked.peers) - set(PEERS)
    if unknown:
        parser.error(f"no such peer: {', '.join(sorted(unknown))}")
    floor = build_floor()
    for peer in asked.peers or PEERS:
        out = tempfile.mkdtemp(prefix="siji-peer-")
        try:
            command = {
                "floor-consume": lambda: [floor, "consume", asked.topic],
                "floor-pass": lambda: [floor, "pass", asked.topic, f"{out}/lake"],
                "flink": lambda: [*build_flink(), asked.topic, f"{out}/lake"],
            }[peer]()
            elapsed_ms, cpu_s, peak_mb = measure(command, asked.brokers)
            figures = {
                "peer": peer,
                "events": asked.events,
                "events_per_s": round(asked.events / elapsed_ms * 1000),
                "seconds": round(elapsed_ms / 1000, 2),
                "cpu_s_per_million": round(cpu_s / asked.events * 1e6, 2),
                "peak_rss_mb": round(peak_mb),
            }
            if peer != "floor-consume":
                tiers = subprocess.run([floor, "check", f"{out}/lake"], check=True, capture_output=True, text=True)
                figures["tiers"] = json.loads(tiers.stdout)
            print(json.dumps(figures), flush=True)
        finally:
            shutil.rmtree(out)


if __name__ == "__main__":
    main()
