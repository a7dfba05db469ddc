# Sourced by `dev`: Apache Kafka of one or three brokers on loopback, without containers.
#
# A cluster is a directory: one broker a subdirectory, with its file of settings, its data, its log and the id of its
# process. `up` makes and starts what is missing, so that it also brings back a broker that died; ports stay the same.

kafka_usage() {
    cat <<'TEXT'
./dev kafka up [--brokers 1|3] [--dir DIR] [--port P]   starts what does not run; prints HOST:PORT,… of the brokers when they serve
./dev kafka down [--dir DIR]                            stops them; the data stays
./dev kafka status [--dir DIR]                          a line a broker; the exit code is 0 when all of them run
DIR is data/kafka unless named. Ports are free ones unless --port is given: then P, P+1, … and P+10, P+11, … for the controllers.
TEXT
}

# Jars in the cache, put there once, by whoever comes first.
kafka_jars() {
    local pom=deploy/kafka-local/pom.xml
    local jars=$PWD/.cache/kafka/$(cksum <"$pom" | cut -d ' ' -f 1)
    if [[ ! -f $jars/complete ]]; then
        need_command mvn maven
        mkdir -p "$jars"
        (
            flock 9
            [[ ! -f $jars/complete ]] || exit 0
            say "fetching Apache Kafka from Maven Central"
            mvn -q -B -f "$pom" dependency:copy-dependencies -DoutputDirectory="$jars" >&2 || exit
            touch "$jars/complete"
        ) 9>"$jars.lock" || stop "could not fetch Apache Kafka; see above"
    fi
    printf '%s' "$jars"
}

kafka_java_ready() {
    local version
    if ! command -v java >/dev/null; then
        need_packages default-jre-headless
    fi
    version=$(java -version 2>&1 | sed -n '1s/[^"]*"\([0-9]*\).*/\1/p')
    ((${version:-0} >= 17)) || stop "java is version ${version:-unknown}; Apache Kafka 4 needs 17 or later"
}

kafka_port_taken() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

# Ports nobody listens on, below those the system gives to clients.
kafka_free_port() {
    local port
    while :; do
        port=$((20000 + RANDOM % 12000))
        kafka_port_taken "$port" || break
    done
    printf '%s' "$port"
}

# The process of a broker, when it is one: ids are used again.
kafka_pid() {
    local pid
    pid=$(cat "$1/pid" 2>/dev/null) || return 1
    # Its redirection fails, with words of the shell, when there is no such process.
    { tr '\0' ' ' <"/proc/$pid/cmdline"; } 2>/dev/null | grep -qF "$1/server.properties" || return 1
    printf '%s' "$pid"
}

# The nodes of a cluster that was made, in order.
kafka_nodes() {
    local node
    for node in "$1"/[0-9]; do [[ ! -f $node/server.properties ]] || printf '%s\n' "$node"; done
}

kafka_address() { sed -n 's|^advertised.listeners=PLAINTEXT://||p' "$1/server.properties"; }

# Settings and an empty store for every node.
kafka_make() {
    local dir=$1 brokers=$2 first=$3 jars=$4 node voters='' clients=() controllers=() cluster replicas min_in_sync
    for ((node = 1; node <= brokers; node++)); do
        if [[ -n $first ]]; then
            clients[node]=$((first + node - 1)) controllers[node]=$((first + node + 9))
        else
            clients[node]=$(kafka_free_port) controllers[node]=$(kafka_free_port)
        fi
        voters+="${voters:+,}$node@127.0.0.1:${controllers[node]}"
    done
    replicas=$brokers min_in_sync=$((brokers / 2 + 1))
    # Any 16 bytes do; in the alphabet of a URL, as Kafka writes them.
    cluster=$(head -c 16 /dev/urandom | base64 | tr '+/' 'ab' | tr -d '=')
    for ((node = 1; node <= brokers; node++)); do
        mkdir -p "$dir/$node"
        cat >"$dir/$node/server.properties.new" <<TEXT
process.roles=broker,controller
node.id=$node
controller.quorum.voters=$voters
listeners=PLAINTEXT://127.0.0.1:${clients[node]},CONTROLLER://127.0.0.1:${controllers[node]}
advertised.listeners=PLAINTEXT://127.0.0.1:${clients[node]}
controller.listener.names=CONTROLLER
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
log.dirs=$dir/$node/data
auto.create.topics.enable=false
unclean.leader.election.enable=false
num.partitions=1
default.replication.factor=$replicas
min.insync.replicas=$min_in_sync
offsets.topic.replication.factor=$replicas
offsets.topic.num.partitions=1
transaction.state.log.replication.factor=$replicas
transaction.state.log.min.isr=$min_in_sync
transaction.state.log.num.partitions=1
num.network.threads=2
num.io.threads=4
log.cleaner.dedupe.buffer.size=4194304
log.index.size.max.bytes=1048576
# A dead leader is noticed in seconds: the defaults take 12 s, these 4 s to 5 s.
broker.session.timeout.ms=2500
broker.heartbeat.interval.ms=500
controller.quorum.fetch.timeout.ms=1000
controller.quorum.election.timeout.ms=500
controller.quorum.election.backoff.max.ms=500
controller.quorum.request.timeout.ms=1000
TEXT
        java -Xmx128m -XX:+UseSerialGC -XX:TieredStopAtLevel=1 -Dlog4j2.configurationFile="$PWD/deploy/kafka-local/log4j2.properties" \
            -cp "$jars/*" kafka.tools.StorageTool format -t "$cluster" -c "$dir/$node/server.properties.new" >"$dir/$node/format.log" 2>&1 ||
            stop "could not format the store of broker $node: $(tail -n 3 "$dir/$node/format.log" | tr '\n' ' ')(all of it: $dir/$node/format.log)"
        mv "$dir/$node/server.properties.new" "$dir/$node/server.properties"
    done
}

# Starts a node that does not run; it is ready when its log says so behind this start.
kafka_start() {
    local node=$1 jars=$2
    : >"$node/start.log"
    # Beside calls on the same machine a broker's start must not take their audio's turn.
    setsid nice -n 5 java -Xmx320m -Xms128m -XX:+UseSerialGC -Dlog4j2.configurationFile="$PWD/deploy/kafka-local/log4j2.properties" \
        -cp "$jars/*" kafka.Kafka "$node/server.properties" >"$node/start.log" 2>&1 </dev/null &
    echo $! >"$node/pid"
}

kafka_wait() {
    local node=$1 deadline=$((SECONDS + 90))
    until grep -q 'Kafka Server started' "$node/start.log"; do
        kill -0 "$(cat "$node/pid")" 2>/dev/null || stop "broker ${node##*/} ended; see $node/start.log"
        ((SECONDS < deadline)) || stop "broker ${node##*/} does not serve after 90 s; see $node/start.log"
        sleep 0.1
    done
}

kafka_up() {
    local dir=$1 brokers=$2 port=$3 jars node nodes addresses=()
    kafka_java_ready
    jars=$(kafka_jars)
    mapfile -t nodes < <(kafka_nodes "$dir")
    if ((${#nodes[@]} == 0)); then
        kafka_make "$dir" "${brokers:-1}" "$port" "$jars"
        mapfile -t nodes < <(kafka_nodes "$dir")
    elif [[ -n $brokers ]] && ((brokers != ${#nodes[@]})); then
        stop "$dir holds a cluster of ${#nodes[@]}; name another directory, or remove it"
    fi
    for node in "${nodes[@]}"; do
        kafka_pid "$node" >/dev/null || kafka_start "$node" "$jars"
    done
    for node in "${nodes[@]}"; do
        kafka_wait "$node"
        addresses+=("$(kafka_address "$node")")
    done
    (IFS=, && printf '%s\n' "${addresses[*]}")
}

kafka_down() {
    local node pid pids=() deadline=$((SECONDS + 20))
    while read -r node; do
        pid=$(kafka_pid "$node") && kill "$pid" && pids+=("$pid")
    done < <(kafka_nodes "$1")
    for pid in "${pids[@]}"; do
        # The last of three cannot hand its partitions to anyone and would wait for long.
        while kill -0 "$pid" 2>/dev/null; do
            ((SECONDS < deadline)) || { kill -9 "$pid" 2>/dev/null || true; }
            sleep 0.1
        done
    done
}

kafka_status() {
    local node pid all=0
    [[ -n $(kafka_nodes "$1") ]] || { printf 'no cluster in %s\n' "$1" && return 3; }
    while read -r node; do
        if pid=$(kafka_pid "$node"); then
            printf 'broker %s at %s runs as process %s; its log is %s\n' "${node##*/}" "$(kafka_address "$node")" "$pid" "$node/start.log"
        else
            printf 'broker %s at %s is down\n' "${node##*/}" "$(kafka_address "$node")" && all=3
        fi
    done < <(kafka_nodes "$1")
    return $all
}

kafka() {
    local what=${1:-} dir=data/kafka brokers='' port=''
    (($# == 0)) || shift
    while (($#)); do
        [[ $# -ge 2 ]] || { kafka_usage >&2; exit 64; }
        case $1 in
        --brokers) [[ $2 == [13] ]] && brokers=$2 || { kafka_usage >&2; exit 64; } ;;
        --dir) dir=$2 ;;
        --port) [[ $2 =~ ^[0-9]{4,5}$ ]] && port=$2 || { kafka_usage >&2; exit 64; } ;;
        *) kafka_usage >&2; exit 64 ;;
        esac
        shift 2
    done
    [[ $dir == /* ]] || dir=$PWD/$dir
    case $what in
    up) mkdir -p "$dir" && kafka_up "$dir" "$brokers" "$port" ;;
    down) kafka_down "$dir" ;;
    status) kafka_status "$dir" ;;
    *) kafka_usage >&2; exit 64 ;;
    esac
}
