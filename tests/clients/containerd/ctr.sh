# shellcheck shell=bash
# Containers by `ctr`. Part of containerd.sh.

ctr_program=$(command -v ctr)
ctr() { ${on:-} "$ctr_program" --namespace flows "$@"; }
# terminal COMMAND...: on a terminal of 33 lines and 77 columns.
terminal() { script -qec "stty rows 33 cols 77; $(printf '%q ' "$@")" /dev/null; }

# cgroup_argument ID: what ctr is told; cgroup ID: the directory that comes of it.
if [ "$DRIVER" = systemd ]; then
    by_driver=(--runc-systemd-cgroup)
    cgroup_argument() { echo "flows.slice:ctr:$1"; }
    cgroup() { echo "/sys/fs/cgroup/flows.slice/ctr-$1.scope"; }
else
    by_driver=()
    cgroup_argument() { echo "/flows/$1"; }
    cgroup() { echo "/sys/fs/cgroup/flows/$1"; }
fi

# run ID [FLAG...] -- [COMMAND...]: `ctr run` of the image, in a cgroup of the driver's. up: the same, detached; the flow's end removes it.
run() { run_of "$image" "$@"; }
run_of() {
    local what=$1 id=$2 flags=()
    shift 2
    while [ "$1" != -- ]; do flags+=("$1"); shift; done
    shift
    ctr run --runc-binary "$RUNTIME" "${by_driver[@]}" --cgroup "$(cgroup_argument "$id")" "${flags[@]}" "$what" "$id" "$@"
}
up() {
    trap "gone $1" EXIT
    run "$1" --detach "${@:2}"
}
gone() {
    ctr task rm -f "$1" || true
    ctr container rm "$1" || true
} > /dev/null 2>&1

# inside [FLAG...] ID COMMAND...: `ctr task exec`. status, pid: as `ctr task ls` has them.
inside() { ctr task exec --exec-id "e$BASHPID" "$@"; }
status() { ctr task ls | awk -v id="$1" '$1 == id { print $3 }'; }
pid() { ctr task ls | awk -v id="$1" '$1 == id { print $2 }'; }
is() { [ "$(status "$1")" = "$2" ]; }

ctr_flows=(ctr_ran_by_the_runtime ctr_exit_code_and_output ctr_cannot_start ctr_terminal ctr_options ctr_rootfs ctr_privileged ctr_devices
    ctr_seccomp ctr_apparmor ctr_networks ctr_user_namespace ctr_exec ctr_kill ctr_kill_all ctr_pause_and_events ctr_metrics_ps_delete
    ctr_checkpoint_refused ctr_oom_event ctr_shim_killed)

# What a hook of the runtime sees of init before `start`, what the shim was told, and whose state it is.
ctr_ran_by_the_runtime() {
    local exe
    trap 'gone spec; gone proof' EXIT
    ctr container create $image spec sleep 1000
    ctr container info --spec spec | jq --arg root "$work/rootfs" --arg to "$work/exe" --arg cgroup "$(cgroup_argument proof)" '.root.path = $root
        | .linux.cgroupsPath = $cgroup | .hooks.createRuntime = [{path: "/bin/sh", env: ["PATH=/usr/bin:/bin"],
            args: ["sh", "-c", "readlink /proc/$(jq .pid)/exe > \($to)"]}]' > "$work/spec"
    ctr run --detach --runc-binary "$RUNTIME" "${by_driver[@]}" --cgroup "$(cgroup_argument proof)" --config "$work/spec" proof
    exe=$(cat "$work/exe")
    case $runtime_name in
        # It has made init from a mount that is nowhere attached.
        crun) same / "$exe" ;;
        *) matches "$exe" "$runtime_name" ;;
    esac
    same "$RUNTIME" "$(jq -r .binary_name "$tasks/flows/proof/options.json")"
    same "running $(pid proof)" "$("$RUNTIME" --root $state/flows state proof | jq -r '"\(.status) \(.pid)"')"
}

# Two lines of input, then its end: only once the task is there, since ctr forgets an earlier one (its stdinCloser).
input() {
    printf 'a\nb\n'
    until_ok 60 is "$1" RUNNING
}

ctr_exit_code_and_output() {
    input output | run output --rm -- sh -c 'wc -l; echo err >&2; dd if=/dev/zero bs=64k count=80 2> /dev/null; exit 3' > "$work/out" 2> "$work/err" && exit 1
    same 2 "$(head -n 1 "$work/out")"
    same 5242882 "$(wc -c < "$work/out")"
    same err "$(cat "$work/err")"
}

ctr_cannot_start() {
    exits 1 run none --rm -- /no/such/program
    matches "$output" 'no such file or directory|not found'
    exits 1 run nodir --rm --mount type=bind,src=/no/such/source,dst=/mnt,options=rbind -- true
    has "$output" /no/such/source
    missing $state/flows/none
    missing "$(cgroup none)"
    missing "$(cgroup nodir)"
}

ctr_terminal() {
    on=terminal exits 6 run tty --rm --tty -- sh -c 'until [ "$(stty size)" = "33 77" ]; do sleep 0.1; done; [ -t 0 ] && [ -t 1 ] && tty; exit 6'
    has "$output" /dev/pts/0
}

# Most of what `ctr run` can ask for, in one container, which tells what it finds.
ctr_options() {
    local shown
    mkdir -p "$work/ro"
    mkdir -m 777 "$work/rw"
    echo outside > "$work/ro/file"
    shown=$(run options --rm --env A=1 --env B=given --cwd /var --user 1000:2000 --hostname box --read-only \
        --memory-limit 67108864 --cpus 0.5 --cap-add CAP_SYS_ADMIN --cap-drop CAP_CHOWN \
        --mount "type=bind,src=$work/ro,dst=/mnt,options=rbind:ro" --mount "type=bind,src=$work/rw,dst=/home,options=rbind:rw" \
        --mount type=tmpfs,src=tmpfs,dst=/tmp,options=size=1m:mode=1777 --mount type=bind,src=/sys/fs/cgroup,dst=/root,options=rbind:ro -- sh -c '
            exec 2>&1
            echo "$A $B $FROM_IMAGE $PWD $(hostname)"
            id
            cat /mnt/file
            touch /mnt/new /new
            echo inside > /home/new
            df -k /tmp | awk "NR == 2 { print \$1, \$2 }"
            awk "/^(CapBnd|NoNewPrivs)/ { print \$2 }" /proc/self/status
            ls /sys/class/net
            cgroup=$(cut -d : -f 3 /proc/self/cgroup)
            echo $cgroup
            cat /root$cgroup/memory.max /root$cgroup/cpu.max
            wc -c < /proc/kcore
            echo 1 > /proc/sys/kernel/panic' || true)
    same "1 given yes /var box
uid=1000(user) gid=2000(extra) groups=2000(extra)
outside
touch: /mnt/new: Read-only file system
touch: /new: Read-only file system
tmpfs 1024
00000000a82425fa
1
lo
$(processes_of "$(cgroup options)" | sed s,^/sys/fs/cgroup,,)
67108864
50000 100000
0
sh: can't create /proc/sys/kernel/panic: Read-only file system" "$shown"
    same inside "$(cat "$work/rw/new")"
    missing "$(cgroup options)"
    missing $state/flows/options
}

# (With --no-pivot ctr 1.7 forgets --runc-binary.)
ctr_rootfs() {
    echo here > "$work/rootfs/mark"
    same here "$(run_of "$work/rootfs" rootfs --rm --rootfs -- /bin/cat /mark)"
    rm "$work/rootfs/mark"
}

ctr_privileged() {
    exits 0 run privileged --rm --privileged --allow-new-privs -- sh -ec "awk '/^CapEff/ { print \$2 }' /proc/self/status
        mount -t tmpfs none /mnt; dd if=$(disk) of=/dev/null count=1; test -c /dev/kmsg; echo 1 > /proc/sys/vm/drop_caches"
    has "$output" "$(capabilities)"
}

# --device lets it in; what it makes for itself by mknod(2) is shut.
ctr_devices() {
    local node
    node=$(disk)
    exits 1 run device --rm --device "$node" -- sh -ec "dd if=$node of=/dev/null count=1; mknod /tmp/tty b 1 1; echo made; dd if=/tmp/tty of=/dev/null count=1"
    has "$output" made
    has "$output" 'Operation not permitted'
}

ctr_seccomp() {
    exits 1 run default --rm --seccomp -- sh -ec "awk '/^Seccomp:/ { print \$2 }' /proc/self/status; unshare -U true"
    has "$output" 2
    has "$output" 'Operation not permitted'
    no_mkdir
    exits 1 run own --rm --seccomp --seccomp-profile "$work/seccomp.json" -- mkdir /tmp/d
    has "$output" 'nvalid cross-device link'
}

ctr_apparmor() {
    needs AppArmor apparmor_is_here
    profile flows-ctr
    exits 1 run confined --rm --apparmor-profile flows-ctr -- sh -ec 'cat /proc/self/attr/current; echo x > /etc/secret'
    has "$output" 'flows-ctr (enforce)'
    has "$output" 'ermission denied'
    same 'flows-default (enforce)' "$(run default --rm --apparmor-default-profile flows-default -- cat /proc/self/attr/current)"
    exits 1 run missing --rm --apparmor-profile flows-no-such -- true
    has "$output" apparmor
}

ctr_networks() {
    unshare -n sleep 300 &
    holder=$!
    trap 'kill $holder' EXIT
    until_ok 10 not test "$(readlink /proc/self/ns/net)" = "$(readlink "/proc/$holder/ns/net")"
    same "$(readlink "/proc/$holder/ns/net")" "$(run joined --rm --with-ns "network:/proc/$holder/ns/net" -- readlink /proc/self/ns/net)"
    same "$(readlink /proc/self/ns/net)" "$(run host --rm --net-host -- readlink /proc/self/ns/net)"
}

ctr_user_namespace() {
    up userns --uidmap 0:100000:65536 --gidmap 0:100000:65536 -- sh -c '
        echo $(cat /proc/self/uid_map) $(stat -c "%u %g" /bin) $(id -u) > /found; sleep 1000'
    until_ok 20 test -s "/proc/$(pid userns)/root/found"
    same '0 100000 65536 0 0 0' "$(cat "/proc/$(pid userns)/root/found")"
    same 100000 "$(awk '/^Uid/ { print $2 }' "/proc/$(pid userns)/status")"
}

# One after the other, and eight at once.
ctr_exec() {
    local i jobs=()
    up exec --env A=1 -- sleep 1000
    exits 7 inside --cwd /tmp --user 1000 exec sh -c 'echo "$A $PWD $(id -u)"; echo err >&2; exit 7'
    has "$output" '1 /tmp 1000'
    has "$output" err
    exits 1 inside exec /no/such/program
    matches "$output" 'no such file or directory|not found'
    on=terminal exits 5 inside --tty exec sh -c '[ -t 0 ] && tty; cat /proc/self/cgroup; exit 5'
    has "$output" /dev/pts/
    has "$output" "$(cat "/proc/$(pid exec)/cgroup")"
    for i in 1 2 3 4 5 6 7 8; do
        { code=0; echo "$i" | inside exec sh -c "read x; echo \$x; exit 1$i" > "$work/out.$i" || code=$?; echo $code >> "$work/out.$i"; } &
        jobs+=($!)
    done
    wait "${jobs[@]}"
    for i in 1 2 3 4 5 6 7 8; do
        same "$i 1$i" "$(echo $(cat "$work/out.$i"))" "exec $i"
    done
}

ctr_kill() {
    local root
    up kill -- sh -c 'trap "echo usr1 > /got" USR1; trap "exit 42" TERM; echo > /ready; while :; do sleep 0.1; done'
    root=/proc/$(pid kill)/root
    until_ok 20 test -e "$root/ready"
    ctr task kill --signal SIGUSR1 kill
    until_ok 20 test -e "$root/got"
    ctr task kill --signal SIGTERM kill
    until_ok 20 is kill STOPPED
    ctr task rm kill 2> "$work/said" || true
    has "$(cat "$work/said")" 'exit code 42'
    missing $state/flows/kill
}

# A process of the container that is not below init's process group, with the pid namespace of the host: kill(2) of init is not enough.
ctr_kill_all() {
    up all --with-ns pid:/proc/1/ns/pid -- sh -c 'setsid sleep 2001 & exec sleep 2002'
    until_ok 20 pgrep -f '^sleep 2001'
    ctr task kill --all --signal KILL all
    until_ok 20 is all STOPPED
    until_ok 10 not pgrep -f '^sleep 200[12]'
}

ctr_pause_and_events() {
    local before root topic
    "$ctr_program" --namespace flows events > "$work/events" &
    reader=$!
    trap 'kill $reader; gone pause' EXIT
    sleep 2
    run pause --detach -- sh -c 'i=0; while :; do i=$((i + 1)); echo $i > /count; sleep 0.05; done'
    root=/proc/$(pid pause)/root
    until_ok 20 test -s "$root/count"
    ctr task pause pause
    is pause PAUSED
    same 1 "$(cat "$(processes_of "$(cgroup pause)")/cgroup.freeze")"
    before=$(cat "$root/count")
    sleep 1
    same "$before" "$(cat "$root/count")" 'count while paused'
    ctr task resume pause
    is pause RUNNING
    sleep 1
    [ "$before" != "$(cat "$root/count")" ]
    inside pause true
    ctr task kill --signal KILL pause
    until_ok 20 is pause STOPPED
    ctr task rm pause || true
    for topic in create start exec-added exec-started exit paused resumed delete; do
        until_ok 10 grep -q "/tasks/$topic .*\"pause\"" "$work/events"
    done
    until_ok 10 grep -q '/tasks/exit .*"id":"pause".*"exit_status":137' "$work/events"
}

ctr_metrics_ps_delete() {
    local metrics
    up metrics --memory-limit 67108864 -- sh -c 'sleep 2001 & sleep 2002 & wait'
    until_ok 20 pgrep -f '^sleep 2002'
    metrics=$(ctr task metrics metrics)
    matches "$metrics" 'memory.usage_limit +67108864'
    matches "$metrics" 'pids.current +3'
    same "$(sort "$(processes_of "$(cgroup metrics)")/cgroup.procs")" "$(ctr task ps metrics | awk 'NR > 1 { print $1 }' | sort)"
    # (crun's ps has pids only.)
    [ "$runtime_name" = crun ] || has "$("$RUNTIME" --root $state/flows ps metrics)" 'sleep 2001'
    same 3 "$("$RUNTIME" --root $state/flows ps --format json metrics | jq length)"
    exits 1 ctr task rm metrics
    matches "$output" 'must be stopped|running'
    is metrics RUNNING
    ctr task rm -f metrics || true
    missing $state/flows/metrics
    missing $tasks/flows/metrics
    missing "$(cgroup metrics)"
    not grep "$tasks/flows/metrics" /proc/self/mountinfo
}

ctr_checkpoint_refused() {
    [ "$runtime_name" = corten ] || needs 'a host without criu, which this peer drives' not command -v criu
    up checkpoint -- sleep 1000
    exits 1 ctr task checkpoint checkpoint
    matches "$output" 'criu|CRIU'
    is checkpoint RUNNING
    inside checkpoint true
}

ctr_oom_event() {
    "$ctr_program" --namespace flows events > "$work/events" &
    reader=$!
    trap 'kill $reader; gone oom' EXIT
    sleep 2
    run oom --detach --memory-limit 33554432 -- sh -c 'tail /dev/zero; sleep 1; exit 9'
    until_ok 60 is oom STOPPED
    until_ok 10 grep -q '/tasks/oom .*"oom"' "$work/events"
}

# containerd calls the runtime's `delete --force` in the place of a shim that was killed, and gives it five seconds.
ctr_shim_killed() {
    local init began
    began=$(date '+%F %T')
    up shim -- sleep 1000
    init=$(pid shim)
    kill -KILL "$(awk '{ print $4 }' "/proc/$init/stat")"
    until_ok 60 missing "/proc/$init"
    for _ in $(seq 60); do
        if missing $state/flows/shim && missing "$(cgroup shim)"; then return; fi
        sleep 0.5
    done
    "$RUNTIME" --root $state/flows delete --force shim
    needs 'a machine on which five seconds are enough for the clean-up' not cut_short "$began"
    exit 1
}
cut_short() { journalctl --unit containerd --since "$1" | grep 'failed to clean up after shim disconnected.*signal: killed.* id=shim '; }
