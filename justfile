# Short names for the commands of the README; `just` alone lists them.

# Outside the clone, as in .ci/run, so that clones share what is compiled.
export CARGO_TARGET_DIR := env("CARGO_TARGET_DIR", cache_directory() / "siji-target")

_list:
    @just --list

# Compile everything
build:
    cargo build --release --workspace

# Run all tests (embedded broker)
test *ARGS:
    cargo test --release --workspace {{ARGS}}

# The end-to-end tests on Apache Kafka
kafka *ARGS:
    tests/kafka/with_kafka.sh -- cargo test --release -p siji --test '*' {{ARGS}}

# A city's whole pipeline in one process
demo *ARGS:
    cargo run --release -- demo {{ARGS}}

# Format
fmt:
    cargo fmt --all

# Format, lints and documentation, as CI checks them
lint:
    cargo fmt --all --check
    cargo clippy --release --workspace --all-targets -- -D warnings
    RUSTDOCFLAGS="-D warnings" cargo doc --release --workspace --no-deps

# Licences, bans and sources of the dependencies
deny:
    cargo deny --workspace check licenses bans sources

# Every figure of the README, on Apache Kafka, in one run
bench *ARGS:
    bash .ci/bench {{ARGS}}

# Others on a topic that `siji bench aggregate --topic` filled: peers/README.md
peers *ARGS:
    peers/run.py {{ARGS}}

# Everything that must hold before a change lands
ci:
    bash .ci/run
