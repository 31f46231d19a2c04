#!/usr/bin/env bash
# Starts one Apache Kafka broker (KRaft, no ZooKeeper) on free ports of the loopback interface and leaves it running.
#
#   tests/kafka/start.sh DIR      data and log go to DIR, which must be new or hold an earlier broker of this script
#
# When the broker answers, prints three lines:
#   BOOTSTRAP=127.0.0.1:PORT
#   PID=...
#   LOG=DIR/kafka.log
#
# Needs a Java runtime (17 or later) and, the first time, Maven: the jars (about 100 MB) are fetched into
# ${XDG_CACHE_HOME:-$HOME/.cache}/siji-kafka and stay there. To run one command against a broker that goes away
# afterwards, use with_kafka.sh.
set -euo pipefail

here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
fail() { echo "start.sh: $*" >&2; exit 1; }

[[ $# -eq 1 && $1 != -* ]] || { sed -n '2,/^set -/{/^#/s/^# \{0,1\}//p}' "${BASH_SOURCE[0]}" >&2; exit 2; }
command -v java >/dev/null || fail "no java on the path: install a Java runtime, 17 or later"
mkdir -p "$1"
data="$(cd "$1" && pwd)"
log="$data/kafka.log"

# The jars, once per version. They appear under their final name only when they are complete.
version="$(sed -n 's:.*<kafka.version>\(.*\)</kafka.version>.*:\1:p' "$here/pom.xml")"
cache="${XDG_CACHE_HOME:-$HOME/.cache}/siji-kafka"
jars="$cache/$version"
if [[ ! -d $jars ]]; then
  command -v mvn >/dev/null || fail "no mvn on the path: install Maven, it fetches Kafka's jars"
  mkdir -p "$cache"
  fetched="$(mktemp -d "$cache/fetching.XXXXXX")"
  trap 'rm -rf "$fetched"' EXIT
  mvn -q -B -Dstyle.color=never -f "$here/pom.xml" dependency:copy-dependencies -DincludeScope=runtime -DoutputDirectory="$fetched" \
    >"$log" 2>&1 </dev/null || { cat "$log" >&2; fail "Maven could not fetch Kafka $version"; }
  # Of two that fetched at the same time the first wins.
  mv -T "$fetched" "$jars" 2>/dev/null || [[ -d $jars ]] || fail "cannot write $jars"
  trap - EXIT
  rm -rf "$fetched"
fi
java=(java -Xmx512m -XX:+ExitOnOutOfMemoryError "-Dlog4j2.configurationFile=$here/log4j2.yaml" -cp "$jars/*")

# Whether something listens on a port.
taken() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

# Below the range the system hands to outgoing connections, so that none of those can take it between here and Kafka.
free_port() {
  local port
  for _ in {1..200}; do
    port=$((20000 + RANDOM % 12000))
    taken "$port" || { echo "$port"; return; }
  done
  fail "no free port between 20000 and 32000"
}

# Whether the broker on a port is in service: asks for the cluster's metadata (Metadata v1, no topics) and looks whether
# the answer lists a broker. It listens before it has joined its own cluster, and then cannot create topics yet.
in_service() {
  local answer
  answer="$(
    exec 2>/dev/null 3<>"/dev/tcp/127.0.0.1/$1" || exit 0
    printf '\x00\x00\x00\x0e\x00\x03\x00\x01\x00\x00\x00\x07\xff\xff\x00\x00\x00\x00' >&3
    timeout 2 head -c 12 <&3 | od -An -tx1 | tr -d ' \n'
  )"
  # Length, then the correlation id sent, then the number of brokers.
  [[ $answer == ????????00000007* && $answer != *00000000 ]]
}

start() {
  local port controller
  port="$(free_port)"
  controller="$(free_port)"
  [[ $port != "$controller" ]] || return 1
  cat >"$data/server.properties" <<PROPERTIES
process.roles=broker,controller
node.id=1
controller.quorum.bootstrap.servers=127.0.0.1:$controller
controller.listener.names=CONTROLLER
listeners=PLAINTEXT://127.0.0.1:$port,CONTROLLER://127.0.0.1:$controller
advertised.listeners=PLAINTEXT://127.0.0.1:$port
log.dirs=$data/log
auto.create.topics.enable=false
offsets.topic.replication.factor=1
offsets.topic.num.partitions=4
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
group.initial.rebalance.delay.ms=0
PROPERTIES
  if [[ ! -f $data/log/meta.properties ]]; then
    local cluster
    cluster="$("${java[@]}" kafka.tools.StorageTool random-uuid 2>>"$log" | tail -n 1)"
    "${java[@]}" kafka.tools.StorageTool format --standalone -t "$cluster" -c "$data/server.properties" >>"$log" 2>&1 \
      || { tail -n 20 "$log" >&2; fail "could not format $data"; }
  fi
  "${java[@]}" kafka.Kafka "$data/server.properties" >>"$log" 2>&1 </dev/null &
  local pid=$!
  for _ in {1..240}; do
    if in_service "$port"; then
      echo "BOOTSTRAP=127.0.0.1:$port"
      echo "PID=$pid"
      echo "LOG=$log"
      return 0
    fi
    kill -0 "$pid" 2>/dev/null || return 1
    sleep 0.25
  done
  kill "$pid" 2>/dev/null || true
  echo "start.sh: Kafka did not answer within a minute" >&2
  return 1
}

# A port may be taken in between by somebody else; a real fault shows twice.
start || start || { tail -n 60 "$log" >&2; fail "Kafka did not start, see above and $log"; }
