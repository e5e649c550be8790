#!/bin/bash
# Docker's flows (docs/clients.md). The daemon is that of docker.service, with the lines of README.md in daemon.json; the image is made on
# the spot. The runtime is named `tested` there: Docker keeps the name `runc` for itself.
. "$(dirname "$(readlink -f "$0")")/lib.sh"

export DOCKER_CLI_HINTS=false DOCKER_BUILDKIT=0
# One level deep: the shim's --root.
state_root=/run/docker/runtime-runc/moby

# daemon [MORE]: (re)starts dockerd with these members of daemon.json beside the runtime.
daemon() {
    local more=${1:-}
    mkdir -p /etc/docker
    printf '{ "runtimes": { "tested": { "path": "%s" } }, "exec-opts": ["native.cgroupdriver=%s"]%s }\n' \
        "$RUNTIME" "$DRIVER" "${more:+, $more}" > /etc/docker/daemon.json
    systemctl reset-failed docker.service docker.socket 2> /dev/null || :
    systemctl restart docker.service || { journalctl -u docker.service -n 20 --no-pager -o cat; exit 1; }
}

# once ARGUMENTS...: a container to its end, without a network, as most flows need none; on_bridge: with the usual one.
once() { on_bridge --network none "$@"; }
on_bridge() { docker run --rm --runtime tested "$@"; }

# up NAME ARGUMENTS...: a container in the background, removed at the flow's end.
names=
up() {
    later "$1"
    docker run -d --runtime tested --name "$@" > /dev/null
}

# later NAME...: removed at the flow's end.
later() {
    names+=" $*"
    # shellcheck disable=SC2086 # several names
    trap 'docker rm -f -v $names > /dev/null 2>&1 || :' EXIT
}

# about NAME TEMPLATE: a value of `docker inspect`.
about() { docker inspect -f "$2" "$1"; }
is() { [ "$(about "$1" "$2")" = "$3" ]; }
lines() { docker logs "$1" 2>&1 | grep -c "$2"; }
at_least() { [ "$("${@:2}")" -ge "$1" ]; }

# The first whole disk that is no loop device: where throttles may be set.
disk() {
    local name
    for name in /sys/block/*; do
        name=${name##*/}
        case $name in loop*|ram*|zram*|dm-*) ;; *) echo "/dev/$name"; return ;; esac
    done
    return 1
}

terminal() { script -qec "stty rows 41 cols 101; $1" /dev/null < /dev/null | tr -d '\r'; }

# ---- the daemon, and who ran it

daemon_starts() {
    daemon '"features": { "cdi": true }'
    same "$DRIVER" "$(docker info -f '{{.CgroupDriver}}')"
    has "$(docker info -f '{{.Runtimes}}')" "$RUNTIME"
    rootfs "$work/rootfs"
    mkdir -p "$work/rootfs/data"
    echo from-image > "$work/rootfs/data/file"
    printf 'echo no interpreter\n' > "$work/rootfs/bin/script"
    printf '#!/no/such/interpreter\n' > "$work/rootfs/bin/lost"
    chmod 755 "$work/rootfs/bin/script" "$work/rootfs/bin/lost"
    tar -C "$work/rootfs" -c . | docker import - tiny > /dev/null
    docker images | grep -q '^tiny '
}

# The kernel's own record of every execve(2) while a container lives: the tested program is there, none of its peers. What it keeps of the
# container is its own, and names the same process as Docker does.
runtime_ran() {
    local id executed trace=/sys/kernel/tracing
    mountpoint -q $trace || mount -t tracefs tracefs $trace
    trap 'echo 0 > /sys/kernel/tracing/events/sched/sched_process_exec/enable; docker rm -f proof > /dev/null 2>&1' EXIT
    echo > $trace/trace
    echo 1 > $trace/events/sched/sched_process_exec/enable
    id=$(docker run -d --runtime tested --name proof tiny sleep 1000)
    same tested "$(about proof '{{.HostConfig.Runtime}}')"
    has "$("$RUNTIME" --root $state_root state "$id")" "\"pid\": $(about proof '{{.State.Pid}}')"
    case $runtime_name in
        corten) [ -f "$state_root/$id/intent.json" ] ;;
        crun) [ -f "$state_root/$id/status" ] ;;
        *) grep -q init_process_pid "$state_root/$id/state.json" ;;
    esac
    docker exec proof true
    docker rm -f proof
    [ ! -e "$state_root/$id" ]
    executed=$(grep -o 'filename=[^ ]*' $trace/trace | sort | uniq -c)
    echo "$executed"
    # create, start, state (ours), exec, kill, delete.
    [ "$(awk -v name="filename=$RUNTIME" '$2 == name { print $1 }' <<< "$executed")" -ge 5 ]
    same "$runtime_name" "$(grep -oE '/(corten|crun|runc)$' <<< "$executed" | tr -d / | sort -u | xargs)"
}

# ---- run: codes, errors, streams

exit_codes() {
    exits 3 once tiny sh -c 'echo out; exit 3'
    same out "$output"
    exits 0 once tiny true
    exits 143 once --init tiny sh -c 'kill -TERM $$'
    exits 137 once --init tiny sh -c 'kill -KILL $$'
    docker run --runtime tested --name died tiny sh -c 'exit 9' || :
    later died
    same 'exited 9 false' "$(about died '{{.State.Status}} {{.State.ExitCode}} {{.State.OOMKilled}}')"
    exits 9 docker start -a died
}

# runcs_words: Docker tells 126 from 127 by them, and the flows look for them.
runcs_words() { needs "the words of runc's messages, which Docker looks for: crun has its own" test "$runtime_name" != crun; }

# The code of a container that lacks a file of /proc: runc's "no such file or directory" is for Docker a missing program.
lacks_a_file() { case $runtime_name in runc) echo 127 ;; *) echo 125 ;; esac; }

errors() {
    runcs_words
    exits 127 once tiny nosuch
    has "$output" 'exec: "nosuch": executable file not found in $PATH'
    exits 127 once tiny /no/such
    has "$output" 'no such file or directory'
    exits 126 once tiny /etc/passwd
    has "$output" 'permission denied'
    exits 126 once tiny /etc
    matches "$output" 'is a directory|permission denied'
    exits 125 once --nosuchflag tiny true
    exits 125 once --user nosuch tiny true
    has "$output" 'unable to find user nosuch'
    exits 125 once -v /dev/null:/proc/self/x:ro tiny true
    has "$output" 'OCI runtime create failed'
    exits "$(lacks_a_file)" once --sysctl net.ipv4.nosuch=1 tiny true
    has "$output" 'nosuch'
    # Docker takes the text for its own message, and nothing of the container stays.
    same '' "$(docker ps -aq --filter ancestor=tiny)"
}

# Found by execve(2) only, at start: no engine's error, the container's.
errors_at_start() {
    runcs_words
    local code=0
    output=$(once tiny /bin/script 2>&1) || code=$?
    has "$output" 'exec format error'
    [ $code != 0 ]
    code=0
    output=$(once tiny /bin/lost 2>&1) || code=$?
    has "$output" 'no such file or directory'
    [ $code != 0 ]
}

streams() {
    same 'in put' "$(printf 'in put' | once -i tiny cat)"
    once tiny sh -c 'echo to-out; echo to-err >&2' > "$work/out" 2> "$work/err"
    same to-out "$(cat "$work/out")"
    same to-err "$(cat "$work/err")"
    same 1000000 "$(once tiny head -c 1000000 /dev/zero | wc -c)"
    up logs tiny sh -c 'echo one; echo two >&2; sleep 1; echo three; exec sleep 1000'
    until_ok 20 at_least 1 lines logs three
    same "one three" "$(docker logs logs 2> "$work/err" | xargs)"
    same two "$(cat "$work/err")"
    same three "$(docker logs --tail 1 logs)"
}

run_terminal() {
    local text
    text=$(terminal "docker run --rm --runtime tested -it tiny sh -c 'tty; stty size; ls -l /proc/self/fd/0 | cut -c1'")
    has "$text" /dev/pts/0
    has "$text" '41 101'
    # ^C of the terminal is SIGINT for what runs in it.
    text=$( (sleep 12; printf '\003'; sleep 5) | script -qec "docker run --rm --runtime tested -it tiny sh -c 'trap \"echo caught; exit 5\" INT; echo ready; while :; do sleep 0.1; done'" /dev/null || :)
    has "$text" caught
    text=$(once -t tiny sh -c 'ls -l /dev/console; test -t 1 && echo isatty')
    has "$text" isatty
    matches "$text" '^c'
}

process_settings() {
    local text
    text=$(once -u 1000:2000 --group-add 3000 -e A=b -w /data -h thehost --oom-score-adj 123 tiny sh -c \
        'id -u; id -g; id -G; echo $A $HOME; pwd; hostname; cat /proc/self/oom_score_adj; echo $PATH; umask')
    same "1000 2000 2000 3000 b /home /data thehost 123 /usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin 0022" \
        "$(xargs <<< "$text")"
    same 'uid=1000(user) gid=1000(user) groups=1000(user),2000(extra)' "$(once -u user tiny id)"
    # Docker makes the missing directory.
    same /new/one "$(once -w /new/one tiny pwd)"
    same 'host.local' "$(once -h host --domainname local tiny sh -c 'echo $(hostname).$(cat /proc/sys/kernel/domainname)')"
}

# ---- limits

limits() {
    local text
    text=$(once -m 64m --memory-swap 96m --memory-reservation 32m --cpus 0.5 --pids-limit 77 --cpuset-cpus 1 --cpuset-mems 0 \
        --ulimit nofile=123:456 --ulimit core=0 --ulimit nproc=500:600 --shm-size 3m tiny sh -c 'cd /sys/fs/cgroup
        cat memory.max memory.swap.max memory.low cpu.max pids.max cpuset.cpus cpuset.mems
        ulimit -n; ulimit -Hn; ulimit -c; grep processes /proc/self/limits | tr -s " " | cut -d " " -f 3,4; df -k /dev/shm | tail -n 1 | tr -s " " | cut -d " " -f 2; grep Cpus_allowed_list /proc/self/status')
    same "67108864 33554432 33554432 50000 100000 77 1 0 123 456 0 500 600 3072 Cpus_allowed_list: 1" "$(xargs <<< "$text")"
    # The shares of cgroup v1 are a weight here: by the old conversion or by that of runc 1.3.2 and crun 1.23.
    matches "$(once --cpu-shares 512 tiny cat /sys/fs/cgroup/cpu.weight)" '^(20|59)$'
    same '20000 50000' "$(once --cpu-period 50000 --cpu-quota 20000 tiny cat /sys/fs/cgroup/cpu.max)"
    same max "$(once -m 64m --memory-swap -1 tiny cat /sys/fs/cgroup/memory.swap.max)"
}

# By compose: docker(1) 26.1 forgets its --device-read-bps and the like.
block_io() {
    needs docker-compose docker compose version
    local device numbers
    device=$(disk)
    numbers=$((0x$(stat -c %t "$device"))):$((0x$(stat -c %T "$device")))
    mkdir -p "$work/io"
    cd "$work/io"
    cat > compose.yaml << END
services:
  io:
    image: tiny
    runtime: tested
    network_mode: none
    blkio_config:
      device_read_bps: [ { path: $device, rate: 1mb } ]
      device_write_bps: [ { path: $device, rate: 2mb } ]
      device_read_iops: [ { path: $device, rate: 300 } ]
      device_write_iops: [ { path: $device, rate: 400 } ]
END
    same "$numbers rbps=1048576 wbps=2097152 riops=300 wiops=400" "$(docker compose run --rm -T io cat /sys/fs/cgroup/io.max)"
}

block_io_weight() {
    needs 'a scheduler with io.weight or io.bfq.weight' weight_file
    local file
    file=$(weight_file)
    case $file in
        io.bfq.weight) has "$(once --blkio-weight 300 tiny cat /sys/fs/cgroup/$file)" 'default 300' ;;
        # 10..1000 becomes 1..10000.
        *) has "$(once --blkio-weight 300 tiny cat /sys/fs/cgroup/$file)" 'default 2930' ;;
    esac
}
weight_file() {
    local file
    for file in io.bfq.weight io.weight; do
        ls /sys/fs/cgroup/system.slice/$file > /dev/null 2>&1 && { echo $file; return; }
    done
    return 1
}

oom_is_reported() {
    later hungry
    # The shim begins to watch after `start`, and reads the event while the cgroup is there: what ends at once, it may miss.
    exits 137 docker run --runtime tested --name hungry -m 16m --memory-swap 16m tiny \
        sh -c 'sleep 3; dd if=/dev/zero of=/dev/null bs=64M count=1; code=$?; sleep 3; exit $code'
    same 'true 137' "$(about hungry '{{.State.OOMKilled}} {{.State.ExitCode}}')"
    # The limit alone says nothing of that.
    later content
    exits 0 docker run --runtime tested --name content -m 16m tiny true
    same false "$(about content '{{.State.OOMKilled}}')"
}

pids_limit_holds() {
    local text
    text=$(once --pids-limit 5 tiny sh -c 'for i in 1 2 3 4 5 6 7 8; do sleep 5 & done; wait' 2>&1 || :)
    has "$text" "can't fork"
}

update() {
    up upd -m 64m --cpus 1 tiny sleep 1000
    docker update -m 32m --memory-swap 32m --cpus 0.25 --pids-limit 55 --cpuset-cpus 0 upd
    same "33554432 0 25000 100000 55 0" "$(docker exec upd sh -c 'cd /sys/fs/cgroup; cat memory.max memory.swap.max cpu.max pids.max cpuset.cpus' | xargs)"
    docker update --restart on-failure:3 upd
    same 'on-failure 3' "$(about upd '{{.HostConfig.RestartPolicy.Name}} {{.HostConfig.RestartPolicy.MaximumRetryCount}}')"
    # What cannot be is the caller's error and changes nothing.
    exits 1 docker update --cpuset-cpus 77 upd
    same 0 "$(docker exec upd cat /sys/fs/cgroup/cpuset.cpus)"
    # They hold after a restart, too.
    docker restart -t 0 upd
    same "33554432 55" "$(docker exec upd sh -c 'cd /sys/fs/cgroup; cat memory.max pids.max' | xargs)"
    [ "$DRIVER" != systemd ] || same 33554432 "$(systemctl show -P MemoryMax "docker-$(about upd '{{.Id}}').scope")"
}

cgroup_place() {
    local id
    same '0::/' "$(once tiny cat /proc/self/cgroup)"
    exits 1 once tiny mkdir /sys/fs/cgroup/x
    has "$output" 'Read-only file system'
    up place --cgroupns host tiny sleep 1000
    id=$(about place '{{.Id}}')
    case $DRIVER in
        systemd) same "0::$(processes_of "/system.slice/docker-$id.scope")" "$(docker exec place cat /proc/1/cgroup)" ;;
        *) same "0::/docker/$id" "$(docker exec place cat /proc/1/cgroup)" ;;
    esac
    # exec is in the container's cgroup.
    same "$(docker exec place cat /proc/1/cgroup)" "$(docker exec place cat /proc/self/cgroup)"
    case $DRIVER in
        systemd) matches "$(once --cgroupns host --cgroup-parent my-own.slice tiny cat /proc/self/cgroup)" '^0::/my.slice/my-own.slice/docker-[0-9a-f]{64}.scope(/container)?$' ;;
        *) matches "$(once --cgroupns host --cgroup-parent /my/own tiny cat /proc/self/cgroup)" '^0::/my/own/[0-9a-f]{64}$' ;;
    esac
}

# ---- exec

exec_codes() {
    runcs_words
    up box tiny sleep 1000
    exits 7 docker exec box sh -c 'echo from-exec; exit 7'
    same from-exec "$output"
    # Whatever exec could not start is 126 here: the daemon does not tell them apart as it does for run.
    exits 126 docker exec box nosuch
    has "$output" 'exec: "nosuch": executable file not found in $PATH'
    exits 126 docker exec box /no/such
    has "$output" 'no such file or directory'
    exits 126 docker exec box /etc/passwd
    has "$output" 'permission denied'
    exits 143 docker exec box sh -c 'kill -TERM $$'
    exits 126 docker exec -u nosuch box true
    has "$output" 'unable to find user nosuch'
    same 'piped' "$(echo piped | docker exec -i box cat)"
    docker stop -t 0 box
    exits 1 docker exec box true
    has "$output" 'is not running'
}

exec_settings() {
    local text
    up box -e FROM=run --cap-drop NET_RAW tiny sleep 1000
    same "1000 1000 1000 2000 run exec /data /home" \
        "$(docker exec -u user -e ADDED=exec -w /data box sh -c 'id -u; id -g; id -G; echo $FROM $ADDED; pwd; echo $HOME' | xargs)"
    same '1000 33' "$(docker exec -u 1000:33 box sh -c 'id -u; id -g' | xargs)"
    # A process of an ordinary user has none; of root the container's; --privileged all.
    has "$(docker exec -u 1000 box cat /proc/self/status)" 'CapEff:	0000000000000000'
    has "$(docker exec box cat /proc/self/status)" 'CapEff:	00000000a80405fb'
    text=$(docker exec --privileged box cat /proc/self/status)
    has "$text" "$(grep CapBnd /proc/1/status | sed s/Bnd/Eff/)"
    # The filter and the profile hold for exec.
    matches "$(docker exec box grep Seccomp: /proc/self/status)" '2$'
    exits 126 docker exec -w /no/such/dir box true
    has "$output" /no/such/dir
    docker exec -d box sh -c 'echo $$ > /tmp/pid; sleep 999'
    until_ok 20 docker exec box test -s /tmp/pid
    has "$(docker top box)" 'sleep 999'
    # In its namespaces, every one.
    same "$(docker exec box sh -c 'for n in cgroup ipc mnt net pid uts user; do readlink /proc/1/ns/$n; done')" \
        "$(docker exec box sh -c 'for n in cgroup ipc mnt net pid uts user; do readlink /proc/self/ns/$n; done')"
}

exec_terminal() {
    local text
    up box tiny sleep 1000
    text=$(terminal "docker exec -it box sh -c 'tty; stty size; test -t 0 && echo isatty; exit 4'; echo code \$?")
    has "$text" isatty
    has "$text" /dev/pts/
    has "$text" '41 101'
    has "$text" 'code 4'
    text=$( (sleep 8; echo 'echo $((6*7))'; sleep 2; echo exit; sleep 3) | script -qec "docker exec -it box sh" /dev/null || :)
    has "$text" 42
}

# ---- watching over it

stats_and_top() {
    local text
    up watched -m 64m tiny sh -c 'sleep 1000 & exec sleep 2000'
    text=$(docker stats --no-stream --format '{{.Name}} {{.PIDs}} {{.MemUsage}}' watched)
    matches "$text" '^watched 2 .*/ 64MiB$'
    text=$(docker top watched)
    has "$text" 'sleep 1000'
    has "$text" 'sleep 2000'
    same 3 "$(wc -l <<< "$text")"
    has "$(docker top watched -o pid,comm)" "$(about watched '{{.State.Pid}}')"
}

pause() {
    local before
    up counter tiny sh -c 'i=0; while :; do i=$((i+1)); echo $i > /tmp/n; sleep 0.1; done'
    until_ok 20 docker exec counter test -s /tmp/n
    docker pause counter
    same 'paused true' "$(about counter '{{.State.Status}} {{.State.Paused}}')"
    before=$(cat "/proc/$(about counter '{{.State.Pid}}')/root/tmp/n")
    sleep 2
    same "$before" "$(cat "/proc/$(about counter '{{.State.Pid}}')/root/tmp/n")"
    exits 1 docker exec counter true
    has "$output" 'is paused'
    exits 1 docker pause counter
    docker unpause counter
    same running "$(about counter '{{.State.Status}}')"
    until_ok 20 at_least $((before + 1)) docker exec counter cat /tmp/n
    docker pause counter
    # Killed and removed out of the pause.
    docker rm -f counter
    same '' "$(docker ps -aq --filter name=counter)"
}

stop() {
    local begin
    up deaf tiny sleep 1000
    begin=$SECONDS
    docker stop -t 2 deaf
    [ $((SECONDS - begin)) -ge 2 ]
    same 'exited 137' "$(about deaf '{{.State.Status}} {{.State.ExitCode}}')"
    up polite tiny sh -c 'trap "echo bye; exit 5" TERM; echo ready; while :; do sleep 0.1; done'
    until_ok 20 at_least 1 lines polite ready
    docker stop -t 60 polite
    same 5 "$(about polite '{{.State.ExitCode}}')"
    at_least 1 lines polite bye
    up other --stop-signal USR1 tiny sh -c 'trap "exit 6" USR1; echo ready; while :; do sleep 0.1; done'
    until_ok 20 at_least 1 lines other ready
    docker stop -t 60 other
    same 6 "$(about other '{{.State.ExitCode}}')"
}

kill_signals() {
    local name
    up target tiny sh -c 'for s in HUP USR1 USR2 WINCH; do trap "echo got-$s" $s; done; echo ready; while :; do sleep 0.1; done'
    until_ok 20 at_least 1 lines target ready
    for name in HUP SIGUSR1 12 WINCH; do docker kill -s "$name" target; sleep 0.5; done
    until_ok 20 at_least 4 lines target got-
    same "got-HUP got-USR1 got-USR2 got-WINCH" "$(docker logs target | grep got- | xargs)"
    exits 1 docker kill -s NOSUCH target
    docker kill target
    until_ok 20 is target '{{.State.Status}}' exited
    same 137 "$(about target '{{.State.ExitCode}}')"
    exits 1 docker kill target
    has "$output" 'is not running'
}

restart() {
    local before
    up again tiny sh -c 'echo started; exec sleep 1000'
    before=$(about again '{{.State.Pid}}')
    docker restart -t 0 again
    [ "$before" != "$(about again '{{.State.Pid}}')" ]
    until_ok 20 at_least 2 lines again started
    docker exec again true
    up twice --restart on-failure:2 tiny sh -c 'echo started; exit 1'
    until_ok 90 is twice '{{.State.Status}} {{.RestartCount}}' 'exited 2'
    same 3 "$(lines twice started)"
    up always --restart always tiny sleep 1000
    before=$(about always '{{.State.Pid}}')
    kill -KILL "$before"
    until_ok 60 is always '{{.State.Status}} {{.RestartCount}}' 'running 1'
    [ "$before" != "$(about always '{{.State.Pid}}')" ]
    docker exec always true
    docker stop -t 0 always
    sleep 2
    same exited "$(about always '{{.State.Status}}')"
}

create_and_start() {
    later made
    docker create --runtime tested --name made tiny sh -c 'echo made; exit 8'
    same created "$(about made '{{.State.Status}}')"
    exits 8 docker start -a made
    same made "$output"
    exits 8 docker start -a made
    same 8 "$(docker wait made)"
}

healthcheck() {
    up health --health-cmd 'test -f /tmp/ok' --health-interval 2s --health-retries 1 --health-timeout 60s tiny sleep 1000
    until_ok 90 is health '{{.State.Health.Status}}' unhealthy
    docker exec health touch /tmp/ok
    until_ok 90 is health '{{.State.Health.Status}}' healthy
    # One that hangs is killed at its time.
    up hang --health-cmd 'echo begun; sleep 1000' --health-interval 1s --health-retries 1 --health-timeout 5s tiny sleep 1001
    until_ok 90 is hang '{{.State.Health.Status}}' unhealthy
    has "$(about hang '{{json .State.Health.Log}}')" 'exceeded timeout'
}

# ---- networks

bridge() {
    local address
    up server tiny sh -c 'mkdir /www; echo served > /www/index.html; exec httpd -f -h /www'
    address=$(about server '{{.NetworkSettings.IPAddress}}')
    has "$(docker exec server ip -4 addr show eth0)" "$address/16"
    has "$(docker exec server ip route)" 'default via 172.17.0.1 dev eth0'
    same served "$(busybox wget -qO - "http://$address/")"
    same served "$(on_bridge tiny wget -qO - "http://$address/")"
    on_bridge tiny ping -c 1 -W 10 "$address"
    # libnetwork's files, bound over the image's.
    has "$(docker exec server cat /etc/hosts)" "$address"
    same "$(about server '{{.Config.Hostname}}')" "$(docker exec server cat /etc/hostname)"
    same '02:42:0a:00:00:07' "$(on_bridge --mac-address 02:42:0a:00:00:07 tiny cat /sys/class/net/eth0/address)"
    matches "$(on_bridge --add-host thename:10.9.8.7 --dns 10.1.1.1 tiny cat /etc/hosts /etc/resolv.conf)" '10.9.8.7[[:space:]]thename.*nameserver 10.1.1.1'
    # The hook of libnetwork gave the host this namespace.
    same "$(readlink "/proc/$(about server '{{.State.Pid}}')/ns/net")" \
        "net:[$(stat -L -c %i "$(about server '{{.NetworkSettings.SandboxKey}}')")]"
}

ports() {
    up published -p 127.0.0.1:8081:80 -p 127.0.0.1::81/udp tiny sh -c 'mkdir /www; echo published > /www/index.html; exec httpd -f -h /www'
    until_ok 30 busybox wget -qO /dev/null http://127.0.0.1:8081/
    same published "$(busybox wget -qO - http://127.0.0.1:8081/)"
    matches "$(docker port published 81/udp)" '^127.0.0.1:[0-9]+$'
    # A port that is taken is Docker's error, 125, and leaves nothing.
    later taken
    exits 125 docker run --runtime tested --name taken -p 127.0.0.1:8081:80 tiny true
    has "$output" already
}

user_network() {
    later one two
    docker network create --subnet 10.77.0.0/24 own
    trap 'docker rm -f one two > /dev/null 2>&1; docker network rm own other > /dev/null 2>&1 || :' EXIT
    docker run -d --runtime tested --name one --network own --ip 10.77.0.5 --network-alias nick tiny sleep 1000
    docker run -d --runtime tested --name two --network own tiny sleep 1000
    # The embedded server, reached by what libnetwork sets up inside the container's namespace.
    has "$(docker exec two cat /etc/resolv.conf)" 'nameserver 127.0.0.11'
    has "$(docker exec two nslookup one)" 10.77.0.5
    docker exec two ping -c 1 -W 10 nick
    docker network create other
    docker network connect other two
    docker exec two ip link show eth1
    docker network disconnect own two
    exits 1 docker exec two grep eth0 /proc/net/dev
    docker network disconnect other two
    # After a restart the names are there again.
    docker network connect own two
    docker restart -t 0 two
    docker exec two ping -c 1 -W 10 one
}

other_networks() {
    same lo "$(once tiny ls /sys/class/net)"
    same "$(readlink /proc/self/ns/net)" "$(on_bridge --network host tiny readlink /proc/self/ns/net)"
    up owner tiny sleep 1000
    same "$(docker exec owner readlink /proc/self/ns/net)" "$(on_bridge --network container:owner tiny readlink /proc/self/ns/net)"
    same "0 1 77" "$(on_bridge --sysctl net.ipv4.ip_forward=0 --sysctl net.ipv4.conf.all.accept_redirects=1 --sysctl net.core.somaxconn=77 tiny cat \
        /proc/sys/net/ipv4/ip_forward /proc/sys/net/ipv4/conf/all/accept_redirects /proc/sys/net/core/somaxconn | xargs)"
    # Docker's defaults: ports below 1024 and ping without rights.
    same 0 "$(on_bridge -u 1000 tiny cat /proc/sys/net/ipv4/ip_unprivileged_port_start)"
    same '0 2147483647' "$(on_bridge tiny cat /proc/sys/net/ipv4/ping_group_range | xargs)"
}

# ---- mounts

volumes() {
    local dir=$work/bind
    trap 'docker volume rm -f vol > /dev/null' EXIT
    # A new volume begins with the image's files, and keeps what was written.
    same from-image "$(once -v vol:/data tiny cat /data/file)"
    once -v vol:/data tiny sh -c 'echo kept > /data/file'
    same kept "$(once -v vol:/elsewhere:ro tiny cat /elsewhere/file)"
    exits 1 once -v vol:/data:ro tiny touch /data/x
    has "$output" 'Read-only file system'
    mkdir -p "$dir/sub"
    echo host > "$dir/file"
    same host "$(once -v "$dir:/b" tiny cat /b/file)"
    once -v "$dir:/b" tiny sh -c 'echo inside > /b/new'
    same inside "$(cat "$dir/new")"
    exits 1 once -v "$dir:/b:ro" tiny touch /b/x
    same host "$(once -v "$dir/file:/etc/one" tiny cat /etc/one)"
    same 'host' "$(once --mount "type=bind,src=$dir,dst=/b,readonly" tiny cat /b/file)"
    exits 125 once --mount "type=bind,src=$dir/nosuch,dst=/b" tiny true
    same 0 "$(once --mount type=volume,dst=/anon,volume-nocopy tiny sh -c 'ls /anon | wc -l')"
}

mount_options() {
    local dir=$work/tree
    mkdir -p "$dir/sub"
    mount -t tmpfs outer "$dir"
    mkdir "$dir/sub"
    mount -t tmpfs inner "$dir/sub"
    mount --make-rshared "$dir"
    # shellcheck disable=SC2064 # the path of now
    trap "docker rm -f slave > /dev/null 2>&1; umount -R $dir" EXIT
    # Read-only, and what is mounted below, too: Docker asks `features` whether the runtime can.
    exits 1 once -v "$dir:/b:ro" tiny touch /b/sub/x
    has "$output" 'Read-only file system'
    exits 1 once --mount "type=bind,src=$dir,dst=/b,readonly,bind-recursive=readonly,bind-propagation=rprivate" tiny touch /b/sub/x
    has "$output" 'Read-only file system'
    once --mount "type=bind,src=$dir,dst=/b,readonly,bind-recursive=writable" tiny touch /b/sub/x
    # crun 1.21 takes the `rprivate` beside it for a recursive mount.
    [ "$runtime_name" = crun ] || exits 1 once --mount "type=bind,src=$dir,dst=/b,bind-recursive=disabled" tiny test -e /b/sub/x
    docker run -d --runtime tested --name slave -v "$dir:/b:rslave" -v "$dir:/p:rprivate" tiny sleep 1000
    mkdir "$dir/late"
    mount -t tmpfs late "$dir/late"
    touch "$dir/late/x"
    docker exec slave test -e /b/late/x
    exits 1 docker exec slave test -e /p/late/x
    # The other way.
    once --privileged -v "$dir:/b:rshared" tiny mount -t tmpfs back /b/late
    [ ! -e "$dir/late/x" ]
}

tmpfs() {
    local text
    text=$(once --tmpfs /t:size=1m,noexec,mode=1770 tiny sh -c 'grep " /t " /proc/mounts; stat -c %a /t; dd if=/dev/zero of=/t/f bs=1M count=2 2>&1; cp /bin/busybox /t 2>/dev/null; :')
    matches "$text" 'tmpfs /t tmpfs rw,nosuid,nodev,noexec.*size=1024k'
    has "$text" 1770
    has "$text" 'No space left on device'
    matches "$(once --mount type=tmpfs,dst=/t,tmpfs-size=2m,tmpfs-mode=700 tiny grep ' /t ' /proc/mounts)" 'size=2048k,mode=700'
}

read_only() {
    exits 1 once --read-only tiny touch /x
    has "$output" 'Read-only file system'
    once --read-only --tmpfs /tmp -v /vol tiny sh -c 'touch /tmp/x /vol/x /dev/shm/x'
    exits 1 once --read-only tiny sh -c 'touch /etc/x'
}

# ---- rights

devices() {
    local text
    exits 1 once --cap-add SYSLOG --device /dev/kmsg:/dev/klog:r tiny sh -c 'head -c 1 /dev/klog | wc -c; echo x > /dev/klog'
    has "$output" "can't create /dev/klog: Operation not permitted"
    once --device /dev/kmsg:/dev/klog:rw tiny sh -c 'echo corten-tests > /dev/klog'
    # Any node may be made, few may be opened.
    text=$(once tiny sh -c 'mknod /tmp/kmsg c 1 11 && head -c 1 /tmp/kmsg' 2>&1 || :)
    has "$text" 'Operation not permitted'
    once --cap-add SYSLOG --device-cgroup-rule 'c 1:11 r' tiny sh -c 'mknod /tmp/kmsg c 1 11 && dd if=/tmp/kmsg of=/dev/null bs=8192 count=1'
    text=$(once tiny ls /dev)
    same 'core fd full mqueue null ptmx pts random shm stderr stdin stdout tty urandom zero' "$(xargs <<< "$text")"
    # The engine's own error; it takes 127 from the words "no such file".
    exits 127 once --device /dev/nosuch tiny true
    has "$output" 'error gathering device information'
}

# A CDI device: a node, an environment variable, a mount, and hooks of the container's namespaces.
cdi() {
    mkdir -p /etc/cdi
    trap 'rm -f /etc/cdi/tests.json' EXIT
    cat > /etc/cdi/tests.json << END
{ "cdiVersion": "0.5.0", "kind": "example.com/toy", "devices": [ { "name": "one", "containerEdits": {
  "env": [ "TOY=one" ],
  "deviceNodes": [ { "path": "/dev/toy", "type": "c", "major": 1, "minor": 5 } ],
  "mounts": [ { "hostPath": "$work/rootfs/data", "containerPath": "/toy", "options": [ "ro", "nosuid", "bind" ] } ],
  "hooks": [ { "hookName": "createContainer", "path": "/bin/sh", "args": [ "sh", "-c", "cat > $work/cdi-state; readlink /proc/self/ns/net > $work/cdi-net" ] } ]
} } ] }
END
    same "one from-image 3" "$(once --device example.com/toy=one tiny sh -c 'echo $TOY; cat /toy/file; head -c 3 /dev/toy | wc -c' | xargs)"
    has "$(cat "$work/cdi-state")" '"status":"creat'
    [ "$(cat "$work/cdi-net")" != "$(readlink /proc/self/ns/net)" ]
}

capabilities() {
    local all text
    all=$(grep CapBnd /proc/1/status | tr -d '\t' | cut -d : -f 2)
    caps() { once "$@" tiny sh -c 'grep -E "Cap(Inh|Prm|Eff|Bnd|Amb)" /proc/self/status' | tr -d '\t' | cut -d : -f 2 | xargs; }
    same '0000000000000000 00000000a80425fb 00000000a80425fb 00000000a80425fb 0000000000000000' "$(caps)"
    same '0000000000000000 0000000000000000 0000000000000000 0000000000000000 0000000000000000' "$(caps --cap-drop ALL)"
    same '0000000000000000 0000000000000001 0000000000000001 0000000000000001 0000000000000000' "$(caps --cap-drop ALL --cap-add CHOWN)"
    same '0000000000000000 00000000a80435fb 00000000a80435fb 00000000a80435fb 0000000000000000' "$(caps --cap-add NET_ADMIN)"
    same '0000000000000000 0000000000000000 0000000000000000 00000000a80425fb 0000000000000000' "$(caps -u 1000)"
    text=$(caps --cap-add ALL)
    has "$text" "$all"
    once --cap-add NET_ADMIN tiny ip link set lo down
    exits 2 once tiny ip link set lo down
    has "$output" 'Operation not permitted'
}

privileged() {
    local text
    text=$(once --privileged tiny sh -c 'grep -E "CapEff|Seccomp:" /proc/self/status; mount -t tmpfs x /mnt && echo mounted; stat -c %t:%T /proc/kcore; mkdir /sys/fs/cgroup/sub && echo cgroup; test -c /dev/kmsg && echo kmsg')
    has "$text" "$(grep CapBnd /proc/1/status | sed s/Bnd/Eff/)"
    matches "$text" 'Seccomp:	0'
    has "$text" mounted
    has "$text" 0:0
    has "$text" cgroup
    has "$text" kmsg
    has "$(once --privileged tiny grep ' /sys ' /proc/mounts)" 'sysfs rw'
}

seccomp() {
    local text
    matches "$(once tiny grep Seccomp: /proc/self/status)" 'Seccomp:	2'
    exits 1 once tiny unshare -U true
    has "$output" 'Operation not permitted'
    matches "$(once --security-opt seccomp=unconfined tiny grep Seccomp: /proc/self/status)" 'Seccomp:	0'
    once --security-opt seccomp=unconfined --security-opt apparmor=unconfined tiny unshare -U true
    cat > "$work/profile.json" << 'END'
{ "defaultAction": "SCMP_ACT_ALLOW", "syscalls": [
  { "names": [ "mkdir", "mkdirat" ], "action": "SCMP_ACT_ERRNO", "errnoRet": 28 },
  { "names": [ "kill" ], "action": "SCMP_ACT_ERRNO", "args": [ { "index": 1, "value": 10, "op": "SCMP_CMP_EQ" } ] } ] }
END
    text=$(once --security-opt "seccomp=$work/profile.json" tiny sh -c 'mkdir /tmp/x; trap "echo hup" HUP; kill -HUP $$; kill -USR1 $$; :' 2>&1)
    has "$text" 'No space left on device'
    has "$text" hup
    has "$text" 'Operation not permitted'
}

no_new_privileges() {
    same "NoNewPrivs: 0" "$(once tiny grep NoNewPrivs /proc/self/status | xargs)"
    same "NoNewPrivs: 1" "$(once --security-opt no-new-privileges tiny grep NoNewPrivs /proc/self/status | xargs)"
    # A program with the set-user-ID bit: Debian's id(1), as busybox gives such rights back by itself.
    install -m 4755 /usr/bin/id "$work/id"
    set_id() { once -u 1000 -v "$work/id:/id:ro" -v /usr/lib:/lib:ro -v /usr/lib64:/lib64:ro "$@" tiny /id; }
    has "$(set_id)" 'euid=0'
    exits 1 grep euid <<< "$(set_id --security-opt no-new-privileges)"
}

apparmor() {
    needs 'AppArmor and its parser' apparmor_enabled
    same 'docker-default (enforce)' "$(once tiny cat /proc/self/attr/current)"
    same 'unconfined' "$(once --security-opt apparmor=unconfined tiny cat /proc/self/attr/current)"
    cat > "$work/aa" << 'END'
profile corten-tests flags=(attach_disconnected) {
  capability, file, network, signal, ptrace, umount,
  deny /data/** rwklx,
}
END
    apparmor_parser -r -W "$work/aa"
    up confined --security-opt apparmor=corten-tests tiny sleep 1000
    same 'corten-tests (enforce)' "$(docker exec confined cat /proc/1/attr/current)"
    same 'corten-tests (enforce)' "$(docker exec confined cat /proc/self/attr/current)"
    exits 1 docker exec confined cat /data/file
    has "$output" 'Permission denied'
    exits "$(lacks_a_file)" once --security-opt apparmor=no-such-profile tiny true
    matches "$output" 'no-such-profile|apparmor'
}
apparmor_enabled() { [ "$(cat /sys/module/apparmor/parameters/enabled)" = Y ] && command -v apparmor_parser; }

masked_paths() {
    local text
    text=$(once tiny sh -c 'for f in kcore keys timer_list; do echo $f $(stat -c %t:%T /proc/$f) $(head -c 1 /proc/$f | wc -c); done
        ls -A /sys/firmware | wc -l; touch /proc/scsi/x 2>&1; echo 1 > /proc/sys/kernel/panic; echo b > /proc/sysrq-trigger' 2>&1 || :)
    has "$text" 'kcore 1:3 0'
    has "$text" 'keys 1:3 0'
    has "$text" 'timer_list 1:3 0'
    has "$text" "/proc/sys/kernel/panic: Read-only file system"
    has "$text" "/proc/sysrq-trigger: Read-only file system"
    [ -z "$(once tiny ls -A /sys/firmware)" ]
    exits 1 once tiny mkdir /sys/x
    has "$output" 'Read-only file system'
    text=$(once --security-opt systempaths=unconfined tiny sh -c 'stat -c %t:%T /proc/kcore; test -w /proc/sysrq-trigger && echo open; grep -c " /proc/" /proc/mounts; :')
    same "0:0 open 0" "$(xargs <<< "$text")"
}

init() {
    same 'docker-init' "$(once --init tiny cat /proc/1/comm)"
    # It reaps what is left to it.
    up reaper --init tiny sh -c '(sleep 0.2 &); exec sleep 1000'
    sleep 2
    same 0 "$(docker exec reaper sh -c 'cat /proc/[0-9]*/stat | grep -c ") Z"' || :)"
    docker stop -t 60 reaper
    same 143 "$(about reaper '{{.State.ExitCode}}')"
}

sharing() {
    local of
    of() { docker exec "$1" readlink "/proc/self/ns/$2"; }
    up first --ipc shareable tiny sleep 1000
    up second --ipc container:first --pid container:first --network container:first tiny sleep 1001
    for name in ipc pid net; do same "$(of first $name)" "$(of second $name)"; done
    for name in uts mnt; do [ "$(of first $name)" != "$(of second $name)" ]; done
    has "$(docker exec first ps)" 'sleep 1001'
    docker exec first touch /dev/shm/shared
    docker exec second test -e /dev/shm/shared
    up third --ipc host --pid host --uts host --cgroupns host tiny sleep 1002
    for name in ipc pid uts cgroup; do same "$(readlink /proc/1/ns/$name)" "$(of third $name)"; done
    # One that shares pids of the host does not take it along.
    docker rm -f third
    exits 1 once --ipc none tiny test -e /dev/shm
    # The second has no init of its own: it must be killed apart, and the first lives on.
    docker stop -t 1 second
    docker exec first true
    exits 1 pgrep -x -f 'sleep 1001'
    same 'a77' "$(once --uts host -h '' tiny hostname | sed "s/^$(hostname)$/a77/")"
}

compose() {
    needs docker-compose docker compose version
    mkdir -p "$work/compose"
    cd "$work/compose"
    cat > compose.yaml << 'END'
services:
  web:
    image: tiny
    runtime: tested
    command: sh -c 'mkdir /www; echo composed > /www/index.html; exec httpd -f -h /www'
    mem_limit: 64m
    cap_drop: [ ALL ]
    healthcheck: { test: [ CMD, wget, -qO, /dev/null, "http://127.0.0.1/" ], interval: 2s, timeout: 60s, retries: 20 }
    volumes: [ "shared:/shared" ]
  client:
    image: tiny
    runtime: tested
    depends_on: { web: { condition: service_healthy } }
    command: sh -c 'wget -qO - http://web/ > /shared/answer; echo done; exec sleep 1000'
    volumes: [ "shared:/shared" ]
volumes: { shared: {} }
END
    trap 'docker compose down -v -t 0' EXIT
    docker compose up -d
    until_ok 60 docker compose exec -T web test -s /shared/answer
    same composed "$(docker compose exec -T web cat /shared/answer)"
    same 67108864 "$(docker compose exec -T web cat /sys/fs/cgroup/memory.max)"
    same "tested tested" "$(docker inspect -f '{{.HostConfig.Runtime}}' $(docker compose ps -q) | xargs)"
    has "$(docker compose logs client)" 'done'
    docker compose restart -t 0 client
    exits 6 docker compose run --rm -T client sh -c 'exit 6'
    docker compose down -v -t 0
    same '' "$(docker compose ps -aq)"
}

# Ten at once, as an engine's user does after a boot.
many() {
    local i pids=()
    names=" $(seq -f m%g -s ' ' 8)"
    later
    for i in $(seq 8); do docker run -d --runtime tested --name "m$i" -m 32m tiny sleep 1000 > /dev/null & pids+=($!); done
    for i in "${pids[@]}"; do wait "$i"; done
    same 8 "$(docker ps -q --filter name=^m | wc -l)"
    # shellcheck disable=SC2046 # several names
    docker kill $(seq -f m%g 8)
    until_ok 60 none_runs
}
none_runs() { [ -z "$(docker ps -q --filter name=^m)" ]; }

# Of all that was removed nothing is left: no state, no scope, no cgroup, no mount.
nothing_left() {
    same '' "$(docker ps -aq)"
    same '' "$(ls $state_root 2> /dev/null)"
    same '' "$(systemctl list-units --all --plain --no-legend 'docker-*.scope')"
    same '' "$(find /sys/fs/cgroup -type d -regextype posix-extended -regex '.*(/docker-[0-9a-f]{64}.scope|/docker/[0-9a-f]{64})')"
    exits 1 grep -E '/(overlay2/[0-9a-f]{64}/merged|run/docker/netns/[0-9a-f]{12})' /proc/mounts
}

# ---- other daemons

# The runtime is the default one, containers outlive the daemon, and a build runs in it.
daemon_default() {
    local before
    daemon '"default-runtime": "tested", "live-restore": true'
    later lives
    docker run -d --name lives --restart always -p 127.0.0.1:8082:80 tiny sh -c 'mkdir /www; echo alive > /www/index.html; exec httpd -f -h /www'
    same tested "$(about lives '{{.HostConfig.Runtime}}')"
    before=$(about lives '{{.State.Pid}}')
    systemctl restart docker.service
    same "running $before" "$(about lives '{{.State.Status}} {{.State.Pid}}')"
    docker exec lives true
    until_ok 30 busybox wget -qO /dev/null http://127.0.0.1:8082/
    mkdir -p "$work/build"
    printf 'FROM tiny\nRUN id -u > /built && mkdir -p /a/b\nUSER 1000\nRUN id -u > /tmp/built\n' > "$work/build/Dockerfile"
    docker build -t built "$work/build"
    same "0 1000" "$(docker run --rm built cat /built /tmp/built | xargs)"
    docker stop -t 0 lives
    docker rm lives
    docker rmi built
}

userns_remap() {
    local pid
    useradd -r -M remap 2> /dev/null || :
    sed -i '/^remap:/d' /etc/subuid /etc/subgid
    echo remap:300000:65536 | tee -a /etc/subuid >> /etc/subgid
    daemon '"userns-remap": "remap"'
    trap 'docker rm -f mapped > /dev/null 2>&1 || :' EXIT
    tar -C "$work/rootfs" -c . | docker import - tiny > /dev/null
    docker run -d --runtime tested --name mapped -m 64m --cpus 0.5 -v vol:/data -p 127.0.0.1:8083:80 tiny sh -c 'mkdir /www; echo mapped > /www/index.html; exec httpd -f -h /www'
    same "0 300000 65536" "$(docker exec mapped cat /proc/self/uid_map | xargs)"
    pid=$(about mapped '{{.State.Pid}}')
    same "300000 300000" "$(stat -c '%u %g' "/proc/$pid/root/www/index.html" | xargs)"
    has "$(cat "/proc/$pid/status")" 'Uid:	300000	300000	300000	300000'
    same "67108864 50000 100000" "$(docker exec mapped cat /sys/fs/cgroup/memory.max /sys/fs/cgroup/cpu.max | xargs)"
    until_ok 30 busybox wget -qO /dev/null http://127.0.0.1:8083/
    same "root from-image" "$(docker exec mapped sh -c 'stat -c %U /data/file; cat /data/file' | xargs)"
    same 301000 "$(docker exec -d -u 1000 mapped sleep 888; sleep 2; ps -o uid= -C sleep | grep 301000 | xargs)"
    # Root of the container is nobody of the host.
    exits 1 once -v /etc/shadow:/shadow tiny cat /shadow
    has "$output" 'Permission denied'
    exits 1 once tiny mount -t tmpfs x /mnt
    exits 125 on_bridge --network host tiny true
    exits 125 once --privileged tiny true
    same "0 0 4294967295" "$(once --userns host tiny cat /proc/self/uid_map | xargs)"
    once --read-only --tmpfs /tmp --device /dev/fuse --init -u 1000 tiny sh -c 'touch /tmp/x; test -c /dev/fuse'
    text=$(terminal "docker run --rm --runtime tested -it tiny sh -c 'tty; stty size'")
    has "$text" '41 101'
    docker update -m 32m --memory-swap 32m mapped
    same 33554432 "$(docker exec mapped cat /sys/fs/cgroup/memory.max)"
    docker pause mapped; docker unpause mapped
    docker restart -t 0 mapped
    docker exec mapped true
}

# The user `lab`, its systemd, RootlessKit, slirp4netns; Debian ships the script as an example.
rootless() {
    local script=/usr/share/docker.io/contrib/dockerd-rootless.sh
    # rootlesskit sets the network up by slirp4netns, nsenter and ip.
    needs 'rootlesskit, slirp4netns and ip' sh -c 'command -v rootlesskit && command -v slirp4netns && command -v ip'
    needs "$script" test -f $script
    needs 'the user lab' id lab
    systemctl stop docker.service docker.socket containerd.service
    # As udev has it, which the project's VM does without: slirp4netns makes the network by it.
    modprobe tun && chmod 666 /dev/net/tun
    # Without a session the user's systemd would end, and all that it runs.
    loginctl enable-linger lab
    install -d -o lab /home/lab/.config /home/lab/.config/docker
    printf '{ "runtimes": { "tested": { "path": "%s" } } }\n' "$RUNTIME" > /home/lab/.config/docker/daemon.json
    lab() { systemd-run --user -M lab@.host --pipe --wait --quiet --setenv=DOCKER_HOST=unix:///run/user/1000/docker.sock --setenv=PATH=/usr/local/bin:/usr/sbin:/usr/bin "$@"; }
    trap 'systemctl --user -M lab@.host stop rootless-docker.service; systemctl start containerd.service' EXIT
    systemctl --user -M lab@.host reset-failed rootless-docker.service 2> /dev/null || :
    # dockerd gives its containerd 15 seconds, which a slow machine may not keep at the first time.
    systemd-run --user -M lab@.host --quiet --unit rootless-docker -p Delegate=yes -p Restart=on-failure -p RestartSec=1 --setenv=PATH=/usr/local/bin:/usr/sbin:/usr/bin sh $script
    trap 'journalctl --no-pager -o cat _SYSTEMD_USER_UNIT=rootless-docker.service | grep -v "^+ " | tail -n 20; systemctl --user -M lab@.host stop rootless-docker.service; systemctl start containerd.service' EXIT
    until_ok 200 test -S /run/user/1000/docker.sock
    until_ok 100 lab docker version
    has "$(lab docker info)" rootless
    tar -C "$work/rootfs" -c . | lab docker import - tiny
    lab docker run -d --runtime tested --name box -m 64m --cpus 0.5 --pids-limit 50 -p 127.0.0.1:8084:80 tiny sh -c 'mkdir /www; echo rootless > /www/index.html; exec httpd -f -h /www'
    same "0 1000 1 1 100000 65536" "$(lab docker exec box cat /proc/self/uid_map | xargs)"
    same "67108864 50000 100000 50" "$(lab docker exec box sh -c 'cd /sys/fs/cgroup; cat memory.max cpu.max pids.max' | xargs)"
    matches "$(cat "/proc/$(lab docker inspect -f '{{.State.Pid}}' box)/cgroup")" '^0::/user.slice/user-1000.slice/user@1000.service/'
    until_ok 30 busybox wget -qO /dev/null http://127.0.0.1:8084/
    exits 3 lab docker run --rm --runtime tested tiny sh -c 'exit 3'
    [ "$runtime_name" = crun ] || exits 127 lab docker run --rm --runtime tested tiny nosuch
    lab docker update -m 32m --memory-swap 32m box
    same 33554432 "$(lab docker exec box cat /sys/fs/cgroup/memory.max)"
    lab docker pause box
    lab docker unpause box
    has "$(lab docker top box)" httpd
    lab docker stop -t 1 box
    lab docker rm box
}

flow daemon_starts
flow runtime_ran
flow exit_codes
flow errors
flow errors_at_start
flow streams
flow run_terminal
flow process_settings
flow limits
flow block_io
flow block_io_weight
flow oom_is_reported
flow pids_limit_holds
flow update
flow cgroup_place
flow exec_codes
flow exec_settings
flow exec_terminal
flow stats_and_top
flow pause
flow stop
flow kill_signals
flow restart
flow create_and_start
flow healthcheck
flow bridge
flow ports
flow user_network
flow other_networks
flow volumes 400
flow mount_options
flow tmpfs
flow read_only
flow devices
flow cdi
flow capabilities
flow privileged
flow seccomp
flow no_new_privileges
flow apparmor
flow masked_paths
flow init
flow sharing
flow compose 400
flow many
flow nothing_left
flow daemon_default 400
flow userns_remap 400
flow rootless 600
finish
