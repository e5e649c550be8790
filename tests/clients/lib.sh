# shellcheck shell=bash
# What the flows of tests/clients have in common. A script sources this, defines functions, calls `flow` for each, and ends with `finish`.
#
# RUNTIME: the runtime's path. ONLY: an extended regular expression, of which flows to run. DRIVER: systemd (default) or cgroupfs.
#
# A flow is a function that runs in a subshell of its own with `set -eu`: the first command that fails fails it, and what it says with
# `trap … EXIT` is done in any case. It asserts effects inside the container: what was read there, an errno, an exit code.
set -u -o pipefail
RUNTIME=${RUNTIME:-/usr/bin/corten}
ONLY=${ONLY:-}
DRIVER=${DRIVER:-systemd}
here=$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")
runtime_name=$(basename "$RUNTIME")
work=$(mktemp -d "${TMPDIR:-/var/tmp}/clients.XXXXXX")
passed=0 failed=0 skipped=0 failures=()

# flow NAME [SECONDS]: runs the function `NAME`, for at most so many seconds (240).
flow() {
    local name=$1 seconds=${2:-240} begin=$SECONDS code
    [ -z "$ONLY" ] || [[ $name =~ $ONLY ]] || return 0
    : > "$work/log"
    # The failed command is named in the log itself: a flow may capture stderr.
    ( set -eEu; trap 'echo "${BASH_SOURCE[0]##*/}:$LINENO: $BASH_COMMAND: $?" >> "$work/log"' ERR; "$name" ) >> "$work/log" 2>&1 < /dev/null &
    local pid=$! watch
    ( sleep "$seconds" || exit; echo "TIMEOUT after $seconds s" >> "$work/log"; kill -TERM -- "$pid"; sleep 10; kill -KILL -- "$pid" ) 2> /dev/null > /dev/null &
    watch=$!
    wait "$pid"; code=$?
    { kill -STOP "$watch"; pkill -KILL -P "$watch"; kill -KILL "$watch"; wait "$watch"; } 2> /dev/null
    case $code in
        0) passed=$((passed + 1)); printf 'ok      %s (%d s)\n' "$name" $((SECONDS - begin)) ;;
        77) skipped=$((skipped + 1)); printf 'SKIPPED %s: %s\n' "$name" "$(tail -n 1 "$work/log")" ;;
        *) failed=$((failed + 1)); failures+=("$name"); printf 'FAILED  %s (%d s), exit code %d:\n' "$name" $((SECONDS - begin)) "$code"
           sed 's/^/        /' "$work/log" ;;
    esac
}

# needs WHY COMMAND...: the flow is skipped, by name, where COMMAND fails.
needs() { local why=$1; shift; "$@" > /dev/null 2>&1 || { echo "needs $why"; exit 77; }; }

# same WANTED FOUND [WHAT]
same() { [ "$1" = "$2" ] || { printf '%s: expected <%s>, found <%s>\n' "${3:-value}" "$1" "$2"; exit 1; }; }

# has TEXT PART: TEXT contains PART.
has() { case $1 in *"$2"*) ;; *) printf 'expected <%s> in <%s>\n' "$2" "$1"; exit 1 ;; esac; }

# matches TEXT REGEX (extended)
matches() { [[ $1 =~ $2 ]] || { printf 'expected </%s/> for <%s>\n' "$2" "$1"; exit 1; }; }

# exits CODE COMMAND...: it ends with that exit code. What it printed, both streams, is then in $output.
exits() {
    local wanted=$1 code=0; shift
    output=$("$@" 2>&1) || code=$?
    [ "$code" = "$wanted" ] || { printf 'expected exit code %s, found %s: %s\n%s\n' "$wanted" "$code" "$*" "$output"; exit 1; }
}

# until_ok SECONDS COMMAND...: again and again, until it succeeds.
until_ok() {
    local end=$((SECONDS + $1)); shift
    until "$@" > /dev/null 2>&1; do
        [ $SECONDS -lt $end ] || { echo "in vain: $*"; "$@"; exit 1; }
        sleep 0.2
    done
}

# processes_of CGROUP: where in it the processes are. crun makes a cgroup of its own for them below a unit of systemd.
processes_of() { case $runtime_name-$DRIVER in crun-systemd) echo "$1/container" ;; *) echo "$1" ;; esac; }

# programs DIR PATH...: these programs of the VM below DIR, and the shared libraries that ldd names, each where it is here.
programs() {
    local dir=$1 file; shift
    for file in "$@" $(ldd "$@" 2> /dev/null | grep -oE '/[^ :]+' | sort -u); do
        install -D "$file" "$dir$file"
    done
}

# rootfs DIR: a root file system of the busybox, made on the spot.
rootfs() {
    mkdir -p "$1"/{bin,sbin,etc,proc,sys,dev,tmp,run,root,home,var/tmp,usr/bin,mnt}
    programs "$1" /bin/busybox
    chroot "$1" /bin/busybox --install -s /bin
    printf 'root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/sh\nuser:x:1000:1000:user:/home:/bin/sh\n' > "$1/etc/passwd"
    printf 'root:x:0:\nnogroup:x:65534:\nuser:x:1000:\nextra:x:2000:user\n' > "$1/etc/group"
    chmod 1777 "$1/tmp" "$1/var/tmp"
}

# finish: the summary, and the script's exit code.
finish() {
    [ "$failed" = 0 ] || printf 'failed: %s\n' "${failures[*]}"
    rm -rf "$work"
    printf '%d passed, %d failed' "$passed" "$failed"
    [ "$skipped" = 0 ] || printf ', %d skipped' "$skipped"
    printf '\n'
    [ "$failed" = 0 ] && [ "$passed" -gt 0 ]
}
