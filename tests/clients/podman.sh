#!/bin/bash
# Podman's flows (docs/clients.md): as root, and the same as the user `lab`, in that user's systemd session. There they are called `user_NAME`.
#
# corten is known to Podman by packaging/containers.conf.d/50-corten.conf, which is copied to /etc; the peers Podman knows by itself, and
# whatever else $RUNTIME names by its path.
. "$(dirname "$(readlink -f "$0")")/lib.sh"

who=root prefix=
[ "$(id -u)" = 0 ] || { who=user prefix=user_; }
shared=/var/tmp/clients-podman
engine=(podman --runtime "$RUNTIME" --cgroup-manager "$DRIVER")
[ "$runtime_name" != corten ] || engine[2]=corten
podman() { command "${engine[@]}" "$@"; }

# --- what flows have in common

# flows NAME...: each function as `flow`, in user mode by the name user_NAME.
flows() {
    local name
    for name; do
        [ -z "$prefix" ] || eval "$prefix$name() { $name; }"
        flow "$prefix$name" 400
    done
}

# once ARGS...: a container without a network that is removed when its process ends.
once() { podman run --rm --network none "$@"; }

# up NAME ARGS...: the same in the background, removed at the end of the flow.
up() {
    made+=("$1")
    trap 'podman rm -f -t 0 "${made[@]}" > /dev/null' EXIT
    podman run -d --network none --name "$@" > /dev/null
}
made=()

# box: the container `box`, which all flows share that only look into one; made by the first.
box() {
    [ ! -e "$work/box" ] || return 0
    podman run -d --network none --name box --replace --env KEPT=image localhost/tiny sleep 10000 > /dev/null
    : > "$work/box"
}

field() { podman inspect --format "{{$2}}" "$1"; }
is_running() { [ "$(field "$1" .State.Running)" = true ]; }
logged() { podman logs "$1" 2>&1 | grep -q "$2"; }
cgroup() { podman exec "$1" cat "/sys/fs/cgroup/$2"; }

# on_terminal COMMAND...: it has a terminal of 33 lines and 77 columns, and nobody types; `script` would make a character of an end of file.
on_terminal() {
    [ -e "$work/nobody" ] || mkfifo "$work/nobody"
    script -qec "stty rows 33 cols 77; $(printf '%q ' "$@")" /dev/null <> "$work/nobody" | tr -d '\r'
}

# limits_work: ordinary users have cgroups of their own by systemd alone: Podman asks for none with cgroupfs.
limits_work() { needs "the systemd driver: with cgroupfs Podman gives an ordinary user's containers no cgroup" test "$who-$DRIVER" != user-cgroupfs; }
as_root() { needs "root" test $who = root; }
as_user() { needs "an ordinary user" test $who = user; }

# --- making, running, ending

# Podman, the runtime's own state, and the program of an init that waits for `start` say who made it.
runtime_made_it() {
    local id pid
    podman create --name proof --network none localhost/tiny sleep 1000 > /dev/null
    made+=(proof); trap 'podman rm -f -t 0 proof > /dev/null' EXIT
    podman container init proof > /dev/null
    same "$runtime_name" "$(basename "$(field proof .OCIRuntime)")" OCIRuntime
    id=$(field proof .Id) pid=$(field proof .State.Pid)
    same "created $pid" "$("$RUNTIME" state "$id" | jq -r '"\(.status) \(.pid)"')" 'state before start'
    has "$(readlink "/proc/$pid/exe") $(tr '\0' ' ' < "/proc/$pid/cmdline")" "$runtime_name"
    podman start proof > /dev/null
    same "running $pid" "$("$RUNTIME" state "$id" | jq -r '"\(.status) \(.pid)"')" 'state after start'
    same sleep "$(cat "/proc/$pid/comm")" 'process after start'
    same "$RUNTIME" "$(podman info --format '{{.Host.OCIRuntime.Path}}')" 'path of the runtime'
}

run_exit_code() {
    exits 3 once localhost/tiny sh -c 'echo out; echo err >&2; exit 3'
    has "$output" out; has "$output" err
    same 'from outside' "$(echo 'from outside' | once -i localhost/tiny cat)" stdin
    exits 143 once localhost/tiny sh -c 'sh -c "kill -TERM \$\$"; exit $?'
}

run_terminal() {
    same '/dev/pts/0 33 77' "$(on_terminal "${engine[@]}" run --rm -it --network none localhost/tiny sh -c 'echo $(tty) $(stty size)')"
    mkfifo "$work/typed"
    script -qec "$(printf '%q ' "${engine[@]}") run --rm -it --network none localhost/tiny sh -c 'echo ready; read -r line; echo \"<\$line>\"; exit 9'" \
        /dev/null < "$work/typed" > "$work/shown" &
    local pid=$! code=0
    exec 9> "$work/typed"
    until_ok 60 grep -q ready "$work/shown"
    printf 'some words\r' >&9
    wait $pid || code=$?
    exec 9>&-
    same 9 $code 'exit code'
    has "$(cat "$work/shown")" '<some words>'
}

# What goes through conmon, to a process that was there before: what it says comes, what is typed goes to it. The exit code is start's;
# Podman's attach has none.
attach() {
    local reply='echo ready; while read -r line; do echo "<$line>"; [ "$line" != end ] || exit 8; done'
    made+=(replies)
    trap 'podman rm -f -t 0 "${made[@]}" > /dev/null' EXIT
    podman create -i --name replies --network none localhost/tiny sh -c "$reply" > /dev/null
    exits 8 podman start --attach --interactive replies < <(printf 'some words\nend\n')
    same $'ready\n<some words>\n<end>' "$output"
    podman start replies > /dev/null
    exits 0 podman attach replies < <(printf 'other words\nend\n')
    same $'<other words>\n<end>' "$output"
    same 8 "$(podman wait replies)" 'exit code'
    exits 125 podman attach replies
}

# The terminal is that of the container; its size follows; the keys to detach, each read by itself, leave the container as it is.
attach_terminal() {
    up shell -it localhost/tiny sh
    mkfifo "$work/keys"
    script -qec "stty rows 33 cols 77; $(printf '%q ' "${engine[@]}") attach shell" /dev/null < "$work/keys" > "$work/seen" &
    local pid=$! code=0
    exec 9> "$work/keys"
    until_ok 60 terminal_says '33 77'
    printf '\020' >&9; sleep 1; printf '\021' >&9
    wait $pid || code=$?
    exec 9>&-
    same 0 $code 'exit code'
    is_running shell
    matches "$(podman exec shell ps -o tty,comm)" '136,0 +sh'
}
terminal_says() { printf 'stty size\r' >&9; sleep 2; grep -q "$1" "$work/seen"; }

run_settings() {
    local said
    said=$(once --user 1000:2000 --workdir /var/tmp --env 'A=b c' --hostname named --ulimit nofile=200:300 --umask 027 --cap-drop all \
        --cap-add net_bind_service --group-add 3000 --sysctl net.ipv4.ip_default_ttl=77 --oom-score-adj 700 --shm-size 3m localhost/tiny sh -c '
        echo "ids $(id -u) $(id -g) $(id -G)"; echo "at $(pwd) $A $(hostname) $(umask)"; echo "limit $(ulimit -n) $(ulimit -Hn)"
        echo "ttl $(cat /proc/sys/net/ipv4/ip_default_ttl) $(cat /proc/self/oom_score_adj)"; grep -E "CapBnd|NoNewPrivs" /proc/self/status
        df -k /dev/shm | tail -n 1')
    has "$said" 'ids 1000 2000 2000 3000'
    has "$said" 'at /var/tmp b c named 0027'
    has "$said" 'limit 200 300'
    has "$said" 'ttl 77 700'
    has "$said" $'CapBnd:\t0000000000000400'
    matches "$said" 'shm +3072 '
}

run_fds() {
    echo 'by fd 3' > "$work/file"
    same 'by fd 3' "$(once --preserve-fds 1 localhost/tiny sh -c 'cat <&3' 3< "$work/file")"
}

detached_logs() {
    up quick localhost/tiny sh -c 'echo one; sleep 0.5; echo two >&2; sleep 0.5; echo three; exit 4'
    same 4 "$(podman wait quick)" 'exit code'
    same $'one\nthree' "$(podman logs quick 2> /dev/null)" stdout
    same two "$(podman logs quick 2>&1 > /dev/null)" stderr
    same three "$(podman logs --tail 1 quick 2>&1)"
    same 'exited 4' "$(field quick .State.Status) $(field quick .State.ExitCode)"
}

error_classes() {
    exits 125 once --no-such-option localhost/tiny true
    exits 125 once -v /no/such/source:/x localhost/tiny true
    exits 126 once localhost/tiny /etc/passwd
    has "$output" "$runtime_name: "; has "$output" 'OCI permission denied'
    exits 126 once localhost/tiny /etc
    has "$output" "$runtime_name: "
    exits 127 once localhost/tiny no-such-program
    has "$output" "$runtime_name: "; has "$output" 'invoke a command that was not found'
    exits 127 once localhost/tiny /no/such/program
    has "$output" 'invoke a command that was not found'
}

# What the runtime refuses, not Podman: a file on a directory.
error_mount() {
    exits 126 once -v /etc/passwd:/tmp localhost/tiny true
    has "$output" "$runtime_name: "
    matches "$output" '[Nn]ot a directory'
    exits 126 once --ulimit nofile=2000000000:2000000000 localhost/tiny true
    has "$output" "$runtime_name: "
}

# --- in a running container

exec_codes() {
    box
    exits 7 podman exec box sh -c 'exit 7'
    exits 126 podman exec box /etc/passwd
    has "$output" 'OCI permission denied'
    exits 127 podman exec box no-such-program
    has "$output" 'invoke a command that was not found'
    exits 125 podman exec no-such-box true
    exits 143 podman exec box sh -c 'sh -c "kill -TERM \$\$"'
}

exec_settings() {
    local said
    box
    said=$(podman exec --user user --workdir /var/tmp --env 'A=b c' box sh -c 'echo "$(id -u) $(id -g) $(id -G) $(pwd) $A $KEPT"')
    same '1000 1000 1000 2000 /var/tmp b c image' "$said"
    same typed "$(echo typed | podman exec -i box cat)" stdin
    podman exec -d box sh -c 'echo yes > /tmp/detached'
    until_ok 60 podman exec box grep -q yes /tmp/detached
    matches "$(podman exec --privileged box grep CapEff /proc/self/status)" '00000[0-9a-f]ffffffffff$'
    matches "$(podman exec box grep -E 'CapEff|Seccomp:' /proc/self/status)" $'000800405fb.*Seccomp:\t2'
}

exec_terminal() {
    box
    matches "$(on_terminal "${engine[@]}" exec -it box sh -c 'echo $(tty) $(stty size)')" '/dev/pts/[0-9]+ 33 77'
    exits 5 on_terminal "${engine[@]}" exec -it box sh -c 'exit 5'
}

stats() {
    limits_work
    box
    matches "$(podman stats --no-stream --format '{{.Name}} {{.PIDs}} {{.MemUsage}}' box)" '^box 1 [0-9.]+[kM]?B / '
}

top() {
    box
    matches "$(podman top box pid comm)" '1 +sleep'
    matches "$(podman top box -o pid,comm)" '1 +sleep'
    [ $who = root ] || return 0
    same "$(field box .State.Pid)" "$(podman top box hpid | tail -n 1)" 'pid on the host'
}

pause() {
    limits_work
    up paused localhost/tiny sleep 1000
    podman pause paused
    same paused "$(field paused .State.Status)"
    same 'frozen 1' "$(grep frozen "/sys/fs/cgroup$(cut -d : -f 3 "/proc/$(field paused .State.Pid)/cgroup")/cgroup.events")"
    exits 255 podman exec paused true
    podman unpause paused
    podman exec paused true
}

update() {
    limits_work
    up changing --memory 64m --cpus 1 --pids-limit 30 localhost/tiny sleep 1000
    same "67108864 100000 100000 30" "$(cgroup changing memory.max) $(cgroup changing cpu.max) $(cgroup changing pids.max)"
    podman update --memory 96m --cpus 0.25 --pids-limit 40 changing
    same "100663296 25000 100000 40" "$(cgroup changing memory.max) $(cgroup changing cpu.max) $(cgroup changing pids.max)"
}

stop_by_signal() {
    up stopped --stop-signal USR1 localhost/tiny sh -c 'trap "echo got USR1; exit 11" USR1; echo ready; while :; do sleep 0.1; done'
    until_ok 60 logged stopped ready
    podman stop stopped
    same 11 "$(podman wait stopped)" 'exit code'
    has "$(podman logs stopped)" 'got USR1'
}

stop_by_force() {
    up deaf localhost/tiny sh -c 'trap "" TERM; echo ready; while :; do sleep 0.1; done'
    until_ok 60 logged deaf ready
    podman stop -t 1 deaf
    same 137 "$(podman wait deaf)" 'exit code'
}

kill_and_restart() {
    up killed localhost/tiny sh -c 'echo "$(cat /tmp/count)run"; echo again > /tmp/count; trap "echo got HUP" HUP; while :; do sleep 0.1; done'
    until_ok 60 logged killed run
    podman kill -s HUP killed
    until_ok 60 logged killed 'got HUP'
    local first; first=$(field killed .State.Pid)
    podman restart -t 0 killed
    until_ok 60 logged killed againrun
    [ "$first" != "$(field killed .State.Pid)" ]
    podman kill killed
    same 137 "$(podman wait killed)" 'exit code'
}

# Run by systemd's timer, and by hand.
healthcheck() {
    up ill --health-cmd 'test -e /tmp/well' --health-interval 4s --health-start-period 0s --health-retries 2 localhost/tiny sleep 1000
    exits 1 podman healthcheck run ill
    podman exec ill touch /tmp/well
    if [ "$DRIVER" = systemd ]; then until_ok 120 is_healthy; fi
    exits 0 podman healthcheck run ill
    is_healthy
}
is_healthy() { [ "$(field ill .State.Health.Status)" = healthy ]; }

# --- namespaces, files, devices

pod() {
    trap 'podman pod rm -f -t 0 several > /dev/null' EXIT
    podman pod create --name several --network none --share net,ipc,uts,pid --hostname together > /dev/null
    podman run -d --pod several --name first localhost/tiny sh -c 'exec nc -l -p 5000 -e echo served' > /dev/null
    local look='for n in net ipc uts pid mnt; do readlink /proc/self/ns/$n; done; hostname' first second
    first=$(podman exec first sh -c "$look")
    second=$(podman run --rm --pod several localhost/tiny sh -c "$look; nc 127.0.0.1 5000; ps -o comm")
    same "$(grep -v mnt: <<< "$first")" "$(grep -v mnt: <<< "$second" | head -n 5)" 'shared namespaces'
    [ "$(grep mnt: <<< "$first")" != "$(grep mnt: <<< "$second")" ]
    has "$second" together; has "$second" served; has "$second" catatonit
}

pod_limits() {
    limits_work
    trap 'podman pod rm -f -t 0 limited > /dev/null' EXIT
    podman pod create --name limited --network none --memory 80m --cpus 0.5 > /dev/null
    podman run -d --pod limited --name inside localhost/tiny sleep 1000 > /dev/null
    local id path
    id=$(podman pod inspect --format '{{.Id}}' limited)
    path=/sys/fs/cgroup$(sed -E "s|^0::(.*/[^/]*${id}[^/]*)/.*|\1|" "/proc/$(field inside .State.Pid)/cgroup")
    same '83886080 50000 100000' "$(cat "$path/memory.max") $(cat "$path/cpu.max")"
}

volumes() {
    trap 'podman volume rm -f kept > /dev/null' EXIT
    mkdir "$work/bind"; echo outside > "$work/bind/file"
    once -v kept:/data -v "$work/bind:/bind" localhost/tiny sh -c 'echo inside > /data/file; cat /bind/file > /bind/copy'
    same outside "$(cat "$work/bind/copy")"
    same inside "$(once -v kept:/data:ro localhost/tiny cat /data/file)"
    exits 1 once -v "$work/bind:/bind:ro,noexec" localhost/tiny sh -c 'grep " /bind " /proc/self/mounts; echo x > /bind/no'
    matches "$output" 'ro,.*noexec'
    has "$output" 'Read-only file system'
}

# An id-mapped mount of a directory whose owner is root outside and inside, in a container whose root is somebody else.
volume_idmap() {
    as_root
    needs 'id-mapped mounts, which runc has since 1.2' idmaps
    mkdir "$work/owned"; touch "$work/owned/file"
    same 0 "$(once --uidmap 0:100000:1000 --gidmap 0:100000:1000 -v "$work/owned:/owned:idmap" localhost/tiny stat -c %u /owned/file)"
}

idmaps() { [[ $("$RUNTIME" --version) != 'runc version 1.1.'* ]]; }

tmpfs_and_read_only() {
    local said
    said=$(once --read-only --tmpfs /fast:size=1m,mode=1700,noexec localhost/tiny sh -c \
        'grep " /fast " /proc/self/mounts; stat -c %a /fast; touch /tmp/works /run/works && echo writes; touch /nowhere; dd if=/dev/zero of=/fast/big bs=64k count=20' 2>&1) || true
    matches "$said" '/fast tmpfs rw,nosuid,nodev,noexec.*size=1024k'
    has "$said" 1700; has "$said" writes
    has "$said" 'Read-only file system'
    has "$said" 'No space left on device'
    exits 1 once --read-only --read-only-tmpfs=false localhost/tiny touch /tmp/no
    has "$output" 'Read-only file system'
}

secrets() {
    trap 'podman secret rm word > /dev/null' EXIT
    printf 'open sesame' | podman secret create word - > /dev/null
    same 'open sesame 440 1000 open sesame' "$(once --secret word,uid=1000,mode=0440 --secret word,type=env,target=WORD localhost/tiny sh -c \
        'echo "$(cat /run/secrets/word) $(stat -c "%a %u" /run/secrets/word) $WORD"')"
}

# A device by its name; what may be done with it, and with one that is not named, even if root makes a node of it. Ordinary users have no device
# rules: they see the host's node.
device() {
    same 'there' "$(once --device /dev/loop-control:/dev/looper localhost/tiny sh -c 'test -c /dev/looper && test ! -e /dev/loop-control && echo there')"
    [ $who = root ] || return 0
    exits 1 once --device /dev/loop-control:/dev/looper:r localhost/tiny sh -c ': < /dev/looper && echo reads; : > /dev/looper'
    has "$output" reads; has "$output" 'Operation not permitted'
    exits 1 once --cap-add mknod --device-cgroup-rule 'c 10:237 r' localhost/tiny sh -c \
        'mknod /kmsg c 1 11; mknod /looper c 10 237; : < /looper && echo reads; : < /kmsg'
    has "$output" reads; has "$output" '/kmsg: Operation not permitted'
}

limits() {
    limits_work
    local said
    said=$(once --memory 64m --memory-reservation 32m --cpus 0.5 --cpu-shares 512 --pids-limit 50 --cpuset-cpus 1 localhost/tiny sh -c \
        'cd /sys/fs/cgroup; echo $(cat memory.max memory.low cpu.max cpu.weight pids.max cpuset.cpus.effective)')
    matches "$said" '^67108864 33554432 50000 100000 (20|59) 50 1$'
    exits 2 once --pids-limit 3 localhost/tiny sh -c 'sleep 9 & sleep 9 & sleep 9 & sleep 9'
    matches "$output" "can't fork|Resource temporarily unavailable"
}

# The first process outlives it: conmon reads memory.events when it has changed, and a cgroup without processes may then be gone.
oom() {
    limits_work
    up hog --memory 24m localhost/tiny sh -c 'tail /dev/zero; code=$?; sleep 3; exit $code'
    same 137 "$(podman wait hog)" 'exit code'
    same true "$(field hog .State.OOMKilled)" OOMKilled
}

no_cgroup() {
    needs 'a runtime that Podman knows to do without cgroups' test "$runtime_name" != runc
    local cgroup; cgroup=$(once --cgroups disabled --cgroupns host localhost/tiny cat /proc/self/cgroup)
    case $cgroup in *libpod-*.scope*|*/libpod-*) case $cgroup in *conmon*) ;; *) echo "a cgroup of its own: $cgroup"; exit 1 ;; esac ;; esac
}

# --- users

userns_auto() {
    local map; map=$(once --userns auto:size=1000 localhost/tiny cat /proc/self/uid_map)
    matches "$map" '^ +0 +[1-9][0-9]* +1000$'
}

keep_id() {
    as_user
    mkdir "$work/mine"
    same '1000 user' "$(once --userns keep-id -v "$work/mine:/mine" localhost/tiny sh -c 'touch /mine/file; echo "$(id -u) $(whoami)"')"
    same 1000 "$(stat -c %u "$work/mine/file")" owner
    same '200 210 200' "$(once --userns keep-id:uid=200,gid=210 -v "$work/mine:/mine" localhost/tiny sh -c 'echo "$(id -u) $(id -g) $(stat -c %u /mine/file)"')"
}

uidmap() {
    local first=100000
    [ $who = root ] || first=1
    same "0 $first 500 0 $first 500" "$(once --uidmap "0:$first:500" --gidmap "0:$first:500" localhost/tiny sh -c 'echo $(cat /proc/self/uid_map /proc/self/gid_map)')"
}

keep_groups() {
    needs 'a runtime that knows run.oci.keep_original_groups' test "$runtime_name" != runc
    as_root
    has " $(setpriv --groups 1234,5678 "${engine[@]}" run --rm --network none --group-add keep-groups localhost/tiny id -G) " ' 1234 '
}

# --- security

seccomp() {
    has "$(once localhost/tiny cat /proc/self/status)" $'Seccomp:\t2'
    has "$(once --security-opt seccomp=unconfined localhost/tiny cat /proc/self/status)" $'Seccomp:\t0'
    echo '{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 38}]}' > "$work/seccomp.json"
    exits 1 once --security-opt "seccomp=$work/seccomp.json" localhost/tiny mkdir /tmp/x
    has "$output" 'Function not implemented'
}

no_new_privileges() {
    has "$(once --security-opt no-new-privileges localhost/tiny cat /proc/self/status)" $'NoNewPrivs:\t1'
}

apparmor() {
    as_root
    needs 'AppArmor in the kernel, and apparmor_parser' sh -c 'command -v apparmor_parser && grep Y /sys/module/apparmor/parameters/enabled'
    matches "$(once localhost/tiny cat /proc/self/attr/current)" '^containers-default-.*\(enforce\)$'
    same unconfined "$(once --security-opt apparmor=unconfined localhost/tiny cat /proc/self/attr/current)"
    printf 'profile clients-test flags=(attach_disconnected,mediate_deleted) {\n file,\n capability,\n network,\n signal,\n ptrace,\n deny /tmp/no w,\n}\n' | apparmor_parser -r
    exits 1 once --security-opt apparmor=clients-test localhost/tiny sh -c 'cat /proc/self/attr/current; touch /tmp/yes && touch /tmp/no'
    has "$output" 'clients-test (enforce)'; has "$output" '/tmp/no: Permission denied'
    exits 126 once --security-opt apparmor=no-such-profile localhost/tiny true
}

mask_unmask() {
    local look='wc -c < /proc/timer_list; wc -c < /proc/uptime; grep -c " /proc/sys " /proc/self/mounts'
    matches "$(once localhost/tiny sh -c "$look" | tr '\n' ' ')" '^0 [1-9][0-9]* 1 $'
    matches "$(once --security-opt unmask=/proc/sys --security-opt mask=/proc/uptime localhost/tiny sh -c "$look" 2>&1 | tr '\n' ' ')" '^0 0 0 $'
    matches "$(once --security-opt unmask=ALL localhost/tiny grep -c ' /proc/' /proc/self/mounts || true)" '^0$'
}

privileged() {
    local said; said=$(once --privileged localhost/tiny sh -c 'mount -t tmpfs none /mnt && echo mounted; cat /proc/self/status; ls /dev')
    has "$said" mounted
    has "$said" $'Seccomp:\t0'
    [ $who = user ] || has "$said" loop-control
}

# --- inits, systemd

init() {
    same 'podman-init 0' "$(once --init localhost/tiny sh -c 'sh -c "sleep 0.2 &"; sleep 1; echo "$(tr "\0" " " < /proc/1/cmdline | sed "s/.*catatonit.*/podman-init/;s/.*podman-init.*/podman-init/") $(ps -o stat | grep -c Z)"')"
}

# A real systemd: the VM's own /usr, an /etc with nothing but one service, in the image `machine`. Podman sees by the command's name what it is.
systemd() {
    limits_work
    up machine -v /usr:/usr:ro localhost/machine /usr/lib/systemd/systemd
    until_ok 150 podman exec machine test -e /run/service-ran
    matches "$(podman exec machine systemctl is-system-running --wait || true)" '^(running|degraded)$'
    same podman "$(podman exec machine systemd-detect-virt)"
    same systemd "$(podman exec machine cat /proc/1/comm)"
    has "$(podman exec machine cat /run/service-ran)" /system.slice/seen.service
    podman stop -t 60 machine
    [ "$(field machine .State.ExitCode)" != 137 ]
}

# --- networks, orders from files

network() {
    made+=(web)
    trap 'podman rm -f -t 0 web > /dev/null; podman network rm -f lan > /dev/null' EXIT
    local port=$((8000 + $(id -u)))
    podman network create lan > /dev/null
    podman run -d --name web --network lan -p "127.0.0.1:$port:80" localhost/tiny sh -c 'echo hello > /tmp/index.html; exec httpd -f -h /tmp' > /dev/null
    same hello "$(podman run --rm --network lan localhost/tiny sh -c 'until wget -q -O - http://web/; do sleep 1; done')" 'by name, from another container'
    same hello "$(busybox wget -q -O - "http://127.0.0.1:$port/")" 'by the published port, from the host'
    has "$(podman exec web ip addr show eth0)" "$(podman inspect --format '{{.NetworkSettings.Networks.lan.IPAddress}}' web)"
}

kube() {
    cat > "$work/kube.yaml" <<- YAML
	apiVersion: v1
	kind: Pod
	metadata: {name: kube}
	spec:
	  volumes:
	  - {name: common, emptyDir: {}}
	  containers:
	  - name: writer
	    image: localhost/tiny
	    imagePullPolicy: Never
	    command: [sh, -c, 'echo \$GREETING > /common/file; exec sleep 1000']
	    env: [{name: GREETING, value: good morning}]
	    volumeMounts: [{name: common, mountPath: /common}]
	  - name: reader
	    image: localhost/tiny
	    imagePullPolicy: Never
	    command: [sleep, '1000']
	    securityContext: {readOnlyRootFilesystem: true, runAsUser: 1000}
	    volumeMounts: [{name: common, mountPath: /common, readOnly: true}]
	YAML
    trap 'podman kube down "$work/kube.yaml" > /dev/null' EXIT
    podman kube play --network none "$work/kube.yaml"
    same 'good morning 1000' "$(podman exec kube-reader sh -c 'echo "$(cat /common/file) $(id -u)"')"
    exits 1 podman exec kube-reader touch /nowhere
    has "$output" 'Read-only file system'
}

# Buildah, in Podman, asks the runtime itself, without conmon.
build() {
    printf 'FROM localhost/tiny\nRUN echo "$(id -u) $(cat /proc/1/comm)" > /built\nRUN test -s /built && exit 6\n' > "$work/Containerfile"
    exits 6 podman build --network none --isolation oci -t localhost/built -f "$work/Containerfile" "$work"
    sed -i '$d' "$work/Containerfile"
    podman build --network none --isolation oci -t localhost/built -f "$work/Containerfile" "$work"
    same '0 sh' "$(once localhost/built cat /built)"
    podman rmi -f localhost/built > /dev/null
}

# quadlet_unit NAME LINE...: Podman's generator makes NAME.service of the container NAME with these lines; stopped and removed at the flow's end.
session=--system units=/etc/containers/systemd
[ $who = root ] || { session=--user units=$HOME/.config/containers/systemd; }
quadlet_unit() {
    local name=$1; shift
    mkdir -p "$units"
    trap "systemctl $session stop $name.service; rm $units/$name.container; systemctl $session daemon-reload" EXIT
    printf '[Container]\nContainerName=%s\nGlobalArgs=%s\nNetwork=none\n' "$name" "${engine[*]:1}" > "$units/$name.container"
    printf '%s\n' "$@" '[Service]' MemoryMax=48M TimeoutStartSec=200 TimeoutStopSec=200 >> "$units/$name.container"
    systemctl $session daemon-reload
}

# `podman run --cgroups=split`, in the service's own cgroup.
quadlet() {
    limits_work
    quadlet_unit ours Image=localhost/tiny 'Exec=sleep 1000'
    systemctl $session start ours.service || { journalctl -n 30 --no-pager; exit 1; }
    same active "$(systemctl $session is-active ours.service)"
    same "$runtime_name" "$(basename "$(field ours .OCIRuntime)")" OCIRuntime
    has "$(cat "/proc/$(field ours .State.Pid)/cgroup")" ours.service/libpod-payload-
    same 50331648 "$(systemctl $session show -P MemoryMax ours.service)" 'the limit of the service'
    systemctl $session stop ours.service
    exits 1 podman container exists ours
}

# The service's manager hears of the container's own READY=1, not before it and not of Podman.
sdnotify() {
    limits_work
    mkdir "$work/told"
    quadlet_unit told 'Image=localhost/machine' 'Volume=/usr:/usr:ro' "Volume=$work/told:/told" 'Notify=true' \
        "Exec=/usr/bin/sh -c 'echo \$\$NOTIFY_SOCKET > /told/socket; until [ -e /told/go ]; do sleep 0.2; done; systemd-notify --ready; exec sleep 1000'"
    systemctl $session start --no-block told.service
    until_ok 120 test -s "$work/told/socket"
    has "$(cat "$work/told/socket")" /notify
    sleep 1
    same activating "$(systemctl $session is-active told.service || true)" 'before READY=1'
    touch "$work/told/go"
    until_ok 60 systemctl $session is-active told.service
    same "$runtime_name" "$(basename "$(field told .OCIRuntime)")" OCIRuntime
    same conmon "$(cat "/proc/$(systemctl $session show -P MainPID told.service)/comm")" 'the main process'
    systemctl $session stop told.service
}

# corten has no CRIU: Podman is told so, and the container runs on.
checkpoint() {
    needs 'corten: its peers can do it' test "$runtime_name" = corten
    as_root
    box
    exits 125 podman container checkpoint box
    has "$output" 'checkpoint is not supported yet: this version of corten cannot drive CRIU'
    is_running box
}

# Of what was removed neither the runtime nor the kernel knows anything.
nothing_left() {
    podman rm -f -t 0 -a > /dev/null
    podman pod rm -f -a > /dev/null
    local root=/run/$runtime_name
    [ $who = root ] || root=$XDG_RUNTIME_DIR/$runtime_name
    [ -d "$root" ]
    same '' "$(ls "$root")" "$root"
    until_ok 20 no_cgroups
}

no_cgroups() {
    local below=/sys/fs/cgroup/user.slice
    [ $who = user ] || below=/sys/fs/cgroup
    [ -z "$(find "$below" -mindepth 1 -name user.slice -prune -o -name 'libpod-*' -print)" ]
}

# --- the order

# Images need root's chroot; the user reads them.
prepare() {
    modprobe -a loop veth bridge
    # As udev has it, which the project's VM does without: pasta makes the user's networks by it.
    [ ! -c /dev/net/tun ] || chmod 666 /dev/net/tun
    mkdir -p "$shared" /etc/containers/containers.conf.d
    [ "$runtime_name" != corten ] || cp "$here/../../packaging/containers.conf.d/50-corten.conf" /etc/containers/containers.conf.d/
    rootfs "$work/tiny"
    tar -C "$work/tiny" -cf "$shared/tiny.tar" .
    machine "$work/machine"
    tar -C "$work/machine" -cf "$shared/machine.tar" .
    grep -q ^containers: /etc/subuid || { echo containers:2000000:1000000 >> /etc/subuid; echo containers:2000000:1000000 >> /etc/subgid; }
}

# machine DIR: a root file system for systemd, of which /usr is mounted.
machine() {
    mkdir -p "$1"/{usr,etc/systemd/system,proc,sys,dev,run,tmp,var/log,root}
    ln -s usr/bin usr/sbin usr/lib usr/lib64 "$1/"
    cp /etc/passwd /etc/group /etc/ld.so.cache "$1/etc/"
    : > "$1/etc/machine-id"
    printf '[Unit]\nRequires=sysinit.target basic.target seen.service\nAfter=basic.target\n' > "$1/etc/systemd/system/default.target"
    printf '[Service]\nType=oneshot\nExecStart=/bin/sh -c "cat /proc/self/cgroup > /run/service-ran"\n' > "$1/etc/systemd/system/seen.service"
}

images() {
    podman import -q "$shared/tiny.tar" localhost/tiny && podman import -q "$shared/machine.tar" localhost/machine
} > /dev/null

# as_user_too: this script in the session of `lab`, beside the flows of root, whose VM has two processors.
as_user_too() {
    systemd-run --user -M lab@.host --pipe --wait --quiet -p Delegate=yes --setenv=RUNTIME="$RUNTIME" --setenv=ONLY="$ONLY" --setenv=DRIVER="$DRIVER" \
        bash "$(readlink -f "$0")" > "$work/user" 2>&1 < /dev/null
}

# What it printed, and what it counted added to what was counted here.
add_user() {
    local said
    said=$(tail -n 1 "$work/user")
    [[ $said =~ ^([0-9]+)\ passed,\ ([0-9]+)\ failed(,\ ([0-9]+)\ skipped)?$ ]] || { cat "$work/user"; failed=$((failed + 1)); failures+=("user's flows: no result"); return; }
    passed=$((passed + BASH_REMATCH[1])) failed=$((failed + BASH_REMATCH[2])) skipped=$((skipped + ${BASH_REMATCH[4]:-0}))
    sed '$d' "$work/user"
}

[ $who = user ] || prepare
if [ $who = root ]; then as_user_too & user=$!; fi
images || { echo 'podman import failed'; exit 1; }
flows runtime_made_it run_exit_code run_terminal attach attach_terminal run_settings run_fds detached_logs error_classes error_mount \
    exec_codes exec_settings exec_terminal stats top pause update stop_by_signal stop_by_force kill_and_restart healthcheck \
    pod pod_limits volumes volume_idmap tmpfs_and_read_only secrets device limits oom no_cgroup \
    userns_auto keep_id uidmap keep_groups seccomp no_new_privileges apparmor mask_unmask privileged \
    init systemd network kube quadlet sdnotify build checkpoint nothing_left
if [ $who = root ]; then wait "$user"; add_user; fi
finish
