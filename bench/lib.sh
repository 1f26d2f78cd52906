# Shared by the measurements: private namespaces, one Coracle inside them, and what machine this is. To be sourced.
#
# Kept true: nothing here touches the host's network, mounts or pods. A measurement runs again inside network and
# mount namespaces of its own; loopback is up, eth0 has 192.168.77.10/24, its peer lies in a second, otherwise empty
# network namespace; /run is private; cgroups are made below one of this run and removed with it.
# The binary is copied, so that its processes are told from those of any other Coracle by the file they run.
# shellcheck shell=bash
set -euo pipefail

repository=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
node_ip=192.168.77.10
work='' program='' daemon='' peer='' cgroups=()

fail() { echo "error: $*" >&2; exit 1; }

# in_private_namespaces "$0" "$@": first line of every measurement that starts a Coracle.
in_private_namespaces() {
    if [ -z "${CORACLE_BENCH_INSIDE:-}" ]; then
        [ "$(id -u)" = 0 ] || fail 'this measurement needs root: it makes namespaces and cgroups'
        CORACLE_BENCH_INSIDE=1 exec unshare --net --mount --propagation private "$BASH" "$@"
    fi
    local binary=${CORACLE_BIN:-$repository/target/release/coracle}
    [ -x "$binary" ] || fail "no coracle at $binary: make build, or set CORACLE_BIN"
    local disk=${BENCH_DIR:-$repository/target/bench}
    mkdir -p "$disk"
    work=$(mktemp -d "$disk/run.XXXXXX")
    trap leave EXIT
    trap 'exit 130' INT TERM
    program=$work/coracle
    cp "$binary" "$program"
    private_cgroups
    # Mounts of a Coracle that runs on the machine were copied with the namespace.
    awk '$2 ~ "^/(run|var/lib)/coracle/" { print $2 }' /proc/mounts | tac |
        while read -r mounted; do umount -l "$mounted" 2>/dev/null || :; done
    mount -t tmpfs tmpfs /run
    ip link set lo up
    unshare --net sleep infinity &
    peer=$!
    until [ "$(readlink /proc/$peer/ns/net)" != "$(readlink /proc/self/ns/net)" ]; do sleep 0.01; done
    ip link add eth0 type veth peer name peer0
    ip link set peer0 netns "$peer"
    ip addr add $node_ip/24 dev eth0
    ip link set eth0 up
    nsenter -t "$peer" -n ip link set peer0 up
    machine
}

# Every hierarchy shows a group of this run as its root: pods of another Coracle are neither seen nor stopped.
private_cgroups() {
    umount -l /sys/fs/cgroup/unified 2>/dev/null || : # hybrid machines
    local name=coracle-bench-$$ mounted
    while read -r mounted; do
        local group=$mounted/$name
        mkdir "$group" 2>/dev/null || continue
        cgroups+=("$group")
        if [ -e "$mounted/cpuset.cpus" ] && [ -e "$group/tasks" ]; then
            cat "$mounted/cpuset.cpus" >"$group/cpuset.cpus"
            cat "$mounted/cpuset.mems" >"$group/cpuset.mems"
        fi
        [ ! -e "$group/cgroup.subtree_control" ] ||
            for controller in cpu memory pids; do echo "+$controller" >"$mounted/cgroup.subtree_control" || :; done 2>/dev/null
    done < <(awk '$3 == "cgroup" || $3 == "cgroup2" { print $2 }' /proc/mounts | sort -u)
    for group in "${cgroups[@]}"; do mount --bind "$group" "${group%/*}"; done
}

leave() {
    local code=$?
    trap - EXIT
    coracle_stop || :
    [ ! -d "$work/data" ] || coracle down --grace-period 0 >"$work/down.log" 2>&1 || { echo 'warning: coracle down failed:' >&2; cat "$work/down.log" >&2; }
    if [ "$code" -ne 0 ] && [ -e "$work/coracle.log" ]; then tail -n 40 "$work/coracle.log" >&2; fi
    for group in "${cgroups[@]}"; do
        umount "${group%/*}" 2>/dev/null || :
        find "$group" -depth -type d -exec rmdir {} + 2>/dev/null || :
    done
    if [ -n "$peer" ]; then kill "$peer" 2>/dev/null; wait "$peer" 2>/dev/null || :; fi
    rm -rf "$work"
    exit "$code"
}

coracle() { # SUBCOMMAND [ARGUMENTS]
    local subcommand=$1
    shift
    "$program" "$subcommand" --data-dir "$work/data" --pod-log-dir "$work/pod-logs" "$@"
}

# Starts the daemon behind COMMAND (e.g. taskset) and waits for its ready line. Sets `ready_line`, and `took`: from exec
# to that line, in seconds.
coracle_up() { # [COMMAND…]
    rm -f "$work/out"
    mkfifo "$work/out"
    exec 3<>"$work/out"
    local started=$EPOCHREALTIME
    "$@" "$program" up --data-dir "$work/data" --pod-log-dir "$work/pod-logs" --node-name node \
        >"$work/out" 2>>"$work/coracle.log" 3>&- &
    daemon=$!
    read -r -t 90 -u 3 ready_line || fail 'coracle was not ready within 90 s'
    took=$(awk -v a="$started" -v b="$EPOCHREALTIME" 'BEGIN { printf "%.3f", b - a }')
    [[ $ready_line == 'coracle is ready'* ]] || fail "coracle said: $ready_line"
    export KUBECONFIG=$work/data/kubeconfig
}

coracle_stop() {
    [ -n "$daemon" ] || return 0
    kill "$daemon" 2>/dev/null || :
    wait "$daemon" 2>/dev/null || :
    daemon=
}

# busybox:bench, from Debian's busybox-static.
busybox_image() {
    local context=$work/image
    mkdir -p "$context/bin"
    cp /bin/busybox "$context/bin/" 2>/dev/null || fail 'no busybox on this machine: apt-get install busybox-static'
    printf 'FROM scratch\nCOPY bin /bin\n' >"$work/Dockerfile"
    coracle build -t busybox:bench -f "$work/Dockerfile" "$context" >"$work/build.log" 2>&1 || { cat "$work/build.log" >&2; return 1; }
}

# Process numbers of Coracle itself: daemon, shims, pauses. What runs in containers has another file.
processes() {
    local process
    for process in /proc/[0-9]*; do
        if [ "$process/exe" -ef "$program" ]; then echo "${process#/proc/}"; fi
    done
}

# Processor time used by PROCESS… and by their children that have ended, in ms.
cpu_ms() {
    local process
    for process; do cat "/proc/$process/stat" 2>/dev/null || :; done |
        awk -v hz="$(getconf CLK_TCK)" '{ sub(/.*\) /, ""); t += $12 + $13 + $14 + $15 } END { printf "%d\n", t * 1000 / hz }'
}

# Medians and percentiles of numbers on standard input, one a line.
percentile() { # P
    sort -n | awk -v p="$1" '{ v[NR] = $1 } END { i = int((NR * p + 99) / 100); print v[i < 1 ? 1 : i] }'
}

machine() {
    awk -F ': ' '/^model name/ { model = $2; n++ } END { printf "machine: %d × %s", n, model }' /proc/cpuinfo
    printf ', kernel %s, %s MiB of memory, load %s\n' "$(uname -r)" \
        "$(awk '/^MemTotal/ { printf "%d", $2 / 1024 }' /proc/meminfo)" "$(cut -d ' ' -f 1-3 /proc/loadavg)"
}
