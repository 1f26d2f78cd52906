# Debian's packages of the stock API machinery in a root of their own, and programs built there. To be sourced.
# shellcheck shell=bash
root=$repository/target/reference/root

in_root() { # COMMAND
    mount --bind /proc "$root/proc"
    local code=0
    chroot "$root" bash -euc "$1" || code=$?
    umount "$root/proc"
    return $code
}

reference_root() {
    [ ! -e "$root/ready" ] || return 0
    command -v debootstrap >/dev/null || fail 'this machine lacks debootstrap: apt-get install debootstrap'
    [ -e "$root/etc/debian_version" ] || debootstrap --variant=minbase sid "$root" http://deb.debian.org/debian >/dev/null
    cp /etc/resolv.conf "$root/etc/"
    in_root 'apt-get -qq -o Acquire::Check-Valid-Until=false update
        apt-get -qq install -y --no-install-recommends golang-1.26-go golang-k8s-apiextensions-apiserver-dev etcd-server >/dev/null'
    touch "$root/ready"
}

reference_program() { # NAME PACKAGE
    [ -x "$root/$1" ] || in_root "export HOME=/tmp GOPATH=/reference:/usr/share/gocode GO111MODULE=off GOFLAGS=-buildvcs=false
        /usr/lib/go-1.26/bin/go build -o /$1 $2"
}

start_etcd() {
    mkdir "$work/etcd"
    "$root/usr/bin/etcd" --data-dir "$work/etcd" --log-level error >"$work/etcd.log" 2>&1 &
    servers+=($!)
}
