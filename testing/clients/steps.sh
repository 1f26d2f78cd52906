# Sourced by the scripts beside it: runs clients step by step and says which step failed and what it printed.
# A step prints nothing when it is as expected.
set -uo pipefail

fail() {
    printf 'FAILED: %s\n%s\n' "$1" "$2" >&2
    exit 1
}

# ok PART COMMAND…: succeeds, and prints PART (`*` in it stands for anything, '' for no matter what).
ok() {
    local part=$1 said
    shift
    said=$("$@" 2>&1 </dev/null) || fail "$*" "$said"
    [[ $said == *$part* ]] || fail "$* does not say \`$part\`" "$said"
}

# refused PART COMMAND…: fails, and says PART.
refused() {
    local part=$1 said
    shift
    said=$("$@" 2>&1 </dev/null) && fail "$* succeeds" "$said"
    [[ $said == *$part* ]] || fail "$* does not say \`$part\`" "$said"
}

# eventually PART COMMAND…: as `ok`, within three minutes.
eventually() {
    local part=$1 said='' i
    shift
    for i in $(seq 900); do
        said=$("$@" 2>&1 </dev/null) && [[ $said == *$part* ]] && return
        sleep 0.2
    done
    fail "$* does not say \`$part\`" "$said"
}
