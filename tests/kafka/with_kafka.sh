#!/usr/bin/env bash
# Runs a command against an Apache Kafka broker of its own, which is stopped and removed afterwards.
#
#   tests/kafka/with_kafka.sh -- cargo test --release -p siji --test '*'
#
# The command finds the broker's address in SIJI_TEST_BROKERS. The exit code is the command's; if it is not 0, the end of
# the broker's log follows on stderr. See start.sh for what is needed.
set -euo pipefail

here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
[[ ${1:-} != -- ]] || shift
[[ $# -gt 0 ]] || { sed -n '2,/^set -/{/^#/s/^# \{0,1\}//p}' "${BASH_SOURCE[0]}" >&2; exit 2; }

data="$(mktemp -d "${TMPDIR:-/tmp}/siji-kafka.XXXXXX")"
pid=""
child=""
stop() {
  local code=$?
  trap - EXIT INT TERM
  if [[ -n $pid ]]; then
    kill "$pid" 2>/dev/null || true
    for _ in {1..100}; do
      kill -0 "$pid" 2>/dev/null || break
      sleep 0.1
    done
    kill -9 "$pid" 2>/dev/null || true
  fi
  if [[ $code -ne 0 && -f $data/kafka.log ]]; then
    echo "--- the command ended with $code; end of the broker's log:" >&2
    tail -n 60 "$data/kafka.log" >&2
  fi
  rm -rf "$data"
  exit "$code"
}
trap stop EXIT
trap 'kill "$child" 2>/dev/null || true; exit 130' INT
trap 'kill "$child" 2>/dev/null || true; exit 143' TERM

started="$("$here/start.sh" "$data")"
pid="$(sed -n 's/^PID=//p' <<<"$started")"
bootstrap="$(sed -n 's/^BOOTSTRAP=//p' <<<"$started")"
echo "Apache Kafka answers at $bootstrap" >&2
# In the background, because a signal is only heard while waiting.
SIJI_TEST_BROKERS="$bootstrap" "$@" <&0 &
child=$!
wait "$child"
