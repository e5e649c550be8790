# shellcheck shell=bash
# Pods by the CRI. Part of containerd.sh.

# cri METHOD [JSON]: the answer, as JSON; an error's text on stderr.
cri() {
    local socket head
    exec {socket}<> "/dev/tcp/127.0.0.1/$cri_port"
    printf '%s %s\n' "$1" "$(jq -c . <<< "${2:-{\}}")" >&"$socket"
    read -r head <&"$socket"
    if [ "$head" = ok ]; then cat <&"$socket"; else { echo "$1: $head"; cat <&"$socket"; } >&2; fi
    exec {socket}>&-
    [ "$head" = ok ]
}

# cgroup_of POD ID: the directory of a container of it.
if [ "$DRIVER" = systemd ]; then
    # The whole path, as the kubelet gives it: the runtime is told its last name, and statistics are read there.
    parent() { echo "/flows.slice/flows-$1.slice"; }
    cgroup_of() { echo "/sys/fs/cgroup/flows.slice/flows-$1.slice/cri-containerd-$2.scope"; }
else
    parent() { echo "/flowpods/$1"; }
    cgroup_of() { echo "/sys/fs/cgroup/flowpods/$1/$2"; }
fi

# run_pod NAME [JSON]: runs a sandbox with this merged into its configuration, $sandbox; $pod is its id. pod: the flow's end removes it.
run_pod() {
    logs=$work/logs/$1
    sandbox=$(jq -nc --arg name "$1" --arg logs "$logs" --arg parent "$(parent "$1")" '{metadata: {name: $name, uid: $name, namespace: "flows"},
        hostname: $name, log_directory: $logs, dns_config: {servers: ["10.1.2.3"]},
        linux: {cgroup_parent: $parent, security_context: {namespace_options: {pid: "CONTAINER"}}}} * '"${2:-{\}}")
    pod=$(cri RunPodSandbox "{\"config\": $sandbox, \"runtime_handler\": \"tested\"}" | jq -r .pod_sandbox_id)
}
pod() {
    run_pod "$@"
    trap 'unpod "$pod"' EXIT
}
unpod() {
    cri StopPodSandbox "{\"pod_sandbox_id\": \"$1\"}" || true
    cri RemovePodSandbox "{\"pod_sandbox_id\": \"$1\"}" || true
} > /dev/null

# shared_pod: one for many flows, which `nothing_left` removes. It has a sysctl.
shared_pod() {
    if [ -e "$work/pod" ]; then
        . "$work/pod"
    else
        run_pod shared '{"linux": {"sysctls": {"net.ipv4.ip_unprivileged_port_start": "81", "kernel.shm_rmid_forced": "1"}}}'
        declare -p logs sandbox pod | sed 's/^declare --/declare -g --/' > "$work/pod"
    fi
}

# create NAME JSON [COMMAND...]: makes a container of $pod with this merged into its configuration; $container is its id. started: starts it too.
create() {
    local config
    config=$(jq -nc --arg name "$1" --arg image "$image" '{metadata: {name: $name}, image: {image: $image}, log_path: ($name + ".log"),
            linux: {security_context: {namespace_options: {pid: "CONTAINER"}}}} * '"$2"'
        | .command = $ARGS.positional' --args -- "${@:3}")
    container=$(cri CreateContainer "{\"pod_sandbox_id\": \"$pod\", \"config\": $config, \"sandbox_config\": $sandbox}" | jq -r .container_id)
}
start() { cri StartContainer "{\"container_id\": \"$container\"}" > /dev/null; }
started() {
    create "$@"
    start
}
# once NAME JSON COMMAND...: to its end; what it wrote is then `said NAME`.
once() {
    started "$@"
    until_ok 60 container_is "$container" EXITED
}
said() { cut -d ' ' -f 4- "$logs/$1.log"; }
security() { echo "{\"linux\": {\"security_context\": $1}}"; }

# in_container ID COMMAND...: ExecSync; both streams, and its exit code.
in_container() {
    local answer
    answer=$(cri ExecSync "$(jq -nc --arg id "$1" '{container_id: $id, cmd: $ARGS.positional, timeout: 60}' --args -- "${@:2}")") || return 200
    jq -rj '(.stdout, .stderr) | @base64d' <<< "$answer"
    return "$(jq .exit_code <<< "$answer")"
}

# of ID FILTER: of its status. container_is ID STATE.
of() { cri ContainerStatus "{\"container_id\": \"$1\", \"verbose\": true}" | jq -r "$2"; }
container_is() { [ "$(of "$1" .status.state)" = "CONTAINER_$2" ]; }
init_of() { of "$1" '.info.info | fromjson | .pid'; }

cri_flows=(cri_pod cri_container cri_cannot_start cri_stop cri_exec_sync cri_exec_streamed cri_attach cri_port_forward cri_stats cri_resources
    cri_oom_killed cri_seccomp cri_apparmor cri_security cri_privileged cri_devices_and_sysctls cri_mount_propagation cri_recursive_read_only
    cri_user_namespace cri_shared_namespaces cri_target_namespace cri_host_namespaces cri_containers_in_parallel)

cri_pod() {
    local status init
    status=$(cri Status '{"verbose": true}')
    same 'true true' "$(jq -r '[.status.conditions[] | select(.type == "RuntimeReady" or .type == "NetworkReady").status | tostring] | join(" ")' <<< "$status")"
    pod single
    status=$(cri PodSandboxStatus "{\"pod_sandbox_id\": \"$pod\", \"verbose\": true}")
    same SANDBOX_READY "$(jq -r .status.state <<< "$status")"
    matches "$(jq -r .status.network.ip <<< "$status")" '^10\.88\.'
    init=$(jq -r '.info.info | fromjson | .pid' <<< "$status")
    same "$RUNTIME" "$(jq -r .binary_name "$tasks/k8s.io/$pod/options.json")"
    same "$init running" "$("$RUNTIME" --root $state/k8s.io state "$pod" | jq -r '"\(.pid) \(.status)"')"
    same "0::$(processes_of "$(cgroup_of single "$pod")" | sed s,^/sys/fs/cgroup,,)" "$(cat "/proc/$init/cgroup")"
    cri StopPodSandbox "{\"pod_sandbox_id\": \"$pod\"}"
    missing "/proc/$init"
    cri RemovePodSandbox "{\"pod_sandbox_id\": \"$pod\"}"
    trap - EXIT
    missing "$state/k8s.io/$pod"
    missing "$(cgroup_of single "$pod")"
}

cri_container() {
    shared_pod
    create one '{"envs": [{"key": "A", "value": "1"}], "working_dir": "/tmp"}' sh -c 'echo "$A $FROM_IMAGE $PWD $(hostname)"; echo err >&2; exit 3'
    container_is "$container" CREATED
    start
    until_ok 60 container_is "$container" EXITED
    same '3 Error' "$(of "$container" '.status | "\(.exit_code) \(.reason)"')"
    same '1 yes /tmp shared' "$(grep ' stdout F ' "$logs/one.log" | cut -d ' ' -f 4-)"
    same err "$(grep ' stderr F ' "$logs/one.log" | cut -d ' ' -f 4-)"
    cri RemoveContainer "{\"container_id\": \"$container\"}"
    exits 1 cri ContainerStatus "{\"container_id\": \"$container\"}"
    has "$output" 'not found'
}

cri_cannot_start() {
    shared_pod
    create broken '{}' /no/such/program
    exits 1 start
    matches "$output" 'no such file or directory|not found'
    same 'CONTAINER_EXITED StartError 128' "$(of "$container" '.status | "\(.state) \(.reason) \(.exit_code)"')"
}

# With a grace period: the image's STOPSIGNAL (USR1), then KILL.
cri_stop() {
    shared_pod
    started soft '{}' sh -c 'trap "exit 44" USR1; while :; do sleep 0.1; done'
    sleep 1
    cri StopContainer "{\"container_id\": \"$container\", \"timeout\": 60}"
    same '44' "$(of "$container" .status.exit_code)"
    started hard '{}' sh -c 'trap "" USR1; while :; do sleep 0.1; done'
    sleep 1
    cri StopContainer "{\"container_id\": \"$container\", \"timeout\": 1}"
    same '137' "$(of "$container" .status.exit_code)"
}

cri_exec_sync() {
    local i jobs=()
    shared_pod
    started sync '{"envs": [{"key": "A", "value": "1"}]}' sleep 1000
    exits 9 in_container "$container" sh -c 'echo "out $A"; echo err >&2; exit 9'
    same 'out 1
err' "$output"
    exits 200 in_container "$container" /no/such/program
    matches "$output" 'no such file or directory|not found'
    exits 1 cri ExecSync "{\"container_id\": \"$container\", \"cmd\": [\"sleep\", \"300\"], \"timeout\": 2}"
    has "$output" DEADLINE_EXCEEDED
    until_ok 10 not pgrep -f '^sleep 300'
    for i in 1 2 3 4 5 6; do
        { code=0; in_container "$container" sh -c "exit 1$i" || code=$?; echo $code > "$work/code.$i"; } &
        jobs+=($!)
    done
    wait "${jobs[@]}"
    same '11 12 13 14 15 16' "$(echo $(cat "$work"/code.[1-6]))"
}

# streamed METHOD REQUEST SEND [UNTIL]: all channels, as JSON. A request is merged with the container's id.
streamed() {
    local url
    url=$(cri "$1" "$(jq -nc --arg id "$container" "{container_id: \$id} * $2")" | jq -r .url)
    cri stream "$(jq -nc --arg url "$url" --argjson send "$3" '{url: $url, send: $send} * '"${4:-{\}}")"
}
# channel N: of an answer of `streamed`.
channel() { jq -r ".[\"$1\"]"; }
exit_code() { channel 3 | jq -r '.details.causes[0].message'; }

cri_exec_streamed() {
    local got
    shared_pod
    started streamed '{}' sleep 1000
    got=$(streamed Exec '{cmd: ["sh", "-c", "read x; echo got $x; echo err >&2; exit 4"], stdin: true, stdout: true, stderr: true}' '[[0, "hello\n"]]')
    same 'got hello err 4' "$(echo $(channel 1 <<< "$got") $(channel 2 <<< "$got") $(exit_code <<< "$got"))"
    got=$(streamed Exec '{cmd: ["sh", "-c", "until [ \"$(stty size)\" = \"33 77\" ]; do sleep 0.1; done; tty; exit 5"], stdin: true, stdout: true, tty: true}' \
        '[[4, "{\"Width\": 77, \"Height\": 33}"]]')
    has "$(channel 1 <<< "$got")" /dev/pts/
    same 5 "$(exit_code <<< "$got")"
}

cri_attach() {
    local got
    shared_pod
    started attach '{"stdin": true}' sh -c 'while read x; do echo "got $x"; done'
    got=$(streamed Attach '{stdin: true, stdout: true, stderr: true}' '[[0, "hello\n"]]' '{until: "got hello"}')
    has "$(channel 1 <<< "$got")" 'got hello'
    until_ok 10 grep -q 'stdout F got hello' "$logs/attach.log"
    started attach-tty '{"stdin": true, "tty": true}' sh -c 'read x; tty; echo "got $x"; sleep 1000'
    got=$(streamed Attach '{stdin: true, stdout: true, tty: true}' '[[0, "hello\n"]]' '{until: "got hello"}')
    has "$(channel 1 <<< "$got")" /dev/pts/0
}

cri_port_forward() {
    local url
    shared_pod
    started server '{}' nc -ll -p 8080 -e echo 'hello from the pod'
    sleep 1
    url=$(cri PortForward "{\"pod_sandbox_id\": \"$pod\", \"port\": [8080]}" | jq -r .url)
    has "$(cri stream "{\"url\": \"$url?port=8080\", \"until\": \"the pod\"}" | channel 0)" 'hello from the pod'
}

cri_stats() {
    local stats
    shared_pod
    started stats '{}' sh -c 'i=0; while [ $i -lt 20000 ]; do i=$((i + 1)); done; sleep 1000'
    sleep 3
    stats=$(cri ContainerStats "{\"container_id\": \"$container\"}")
    [ "$(jq -r .stats.cpu.usage_core_nano_seconds.value <<< "$stats")" -gt 100000000 ]
    [ "$(jq -r .stats.memory.working_set_bytes.value <<< "$stats")" -gt 1000 ]
    stats=$(cri PodSandboxStats "{\"pod_sandbox_id\": \"$pod\"}")
    has "$(jq -r '.stats.linux.containers[].attributes.id' <<< "$stats")" "$container"
}

cri_resources() {
    local dir
    shared_pod
    started resources '{"linux": {"resources": {"cpu_period": 100000, "cpu_quota": 20000, "cpu_shares": 512, "memory_limit_in_bytes": 67108864,
        "oom_score_adj": 500, "cpuset_cpus": "0", "unified": {"memory.high": "50331648"}}}}' sleep 1000
    dir=$(cgroup_of shared "$container")
    same '20000 100000 67108864 50331648 0' "$(echo $(cat "$dir/cpu.max" "$dir/memory.max" "$dir/memory.high" "$dir/cpuset.cpus"))"
    same 500 "$(cat "/proc/$(init_of "$container")/oom_score_adj")"
    same 67108864 "$(in_container "$container" cat /sys/fs/cgroup/memory.max)" 'in the container'
    cri UpdateContainerResources "{\"container_id\": \"$container\", \"linux\": {\"cpu_period\": 100000, \"cpu_quota\": 30000,
        \"memory_limit_in_bytes\": 134217728, \"unified\": {\"memory.high\": \"100663296\"}}}"
    same '30000 100000 134217728 100663296' "$(echo $(cat "$dir/cpu.max" "$dir/memory.max" "$dir/memory.high"))"
    same 134217728 "$(of "$container" .status.resources.linux.memory_limit_in_bytes)"
    exits 1 cri UpdateContainerResources "{\"container_id\": \"$container\", \"linux\": {\"cpuset_cpus\": \"4000\"}}"
    container_is "$container" RUNNING
}

cri_oom_killed() {
    shared_pod
    # The shim begins to watch after `start`, and reads the event while the cgroup is there: what ends at once, it may miss.
    once oom '{"linux": {"resources": {"memory_limit_in_bytes": 33554432}}}' sh -c 'sleep 3; tail /dev/zero; code=$?; sleep 3; exit $code'
    same '137 OOMKilled' "$(of "$container" '.status | "\(.exit_code) \(.reason)"')"
}

cri_seccomp() {
    shared_pod
    no_mkdir
    once seccomp-unconfined "$(security '{"seccomp": {"profile_type": "Unconfined"}}')" awk '/^Seccomp:/ { print $2 }' /proc/self/status
    same 0 "$(said seccomp-unconfined)"
    once seccomp-default "$(security '{"seccomp": {"profile_type": "RuntimeDefault"}}')" sh -c "awk '/^Seccomp:/ { print \$2 }' /proc/self/status; unshare -U true"
    matches "$(said seccomp-default)" '^2.*Operation not permitted'
    once seccomp-local "$(security "{\"seccomp\": {\"profile_type\": \"Localhost\", \"localhost_ref\": \"$work/seccomp.json\"}}")" mkdir /tmp/d
    has "$(said seccomp-local)" 'nvalid cross-device link'
}

cri_apparmor() {
    needs AppArmor apparmor_is_here
    shared_pod
    profile flows-cri
    once apparmor-default "$(security '{"apparmor": {"profile_type": "RuntimeDefault"}}')" cat /proc/self/attr/current
    same 'cri-containerd.apparmor.d (enforce)' "$(said apparmor-default)"
    once apparmor-unconfined "$(security '{"apparmor": {"profile_type": "Unconfined"}}')" cat /proc/self/attr/current
    same unconfined "$(said apparmor-unconfined)"
    started apparmor-local "$(security '{"apparmor": {"profile_type": "Localhost", "localhost_ref": "localhost/flows-cri"}}')" sleep 1000
    exits 1 in_container "$container" sh -ec 'cat /proc/self/attr/current; echo x > /etc/secret'
    has "$output" 'flows-cri (enforce)'
    has "$output" 'ermission denied'
}

# Most of what a security context can ask for, in one container.
cri_security() {
    shared_pod
    once security "$(security '{"run_as_user": {"value": 1000}, "run_as_group": {"value": 2000}, "supplemental_groups": [3000], "readonly_rootfs": true,
        "no_new_privs": true, "capabilities": {"add_capabilities": ["SYS_ADMIN"], "drop_capabilities": ["CHOWN"]}, "masked_paths": ["/etc/group"],
        "readonly_paths": ["/tmp"]}')" sh -c 'exec 2>&1; id; touch /new /tmp/new; awk "/^(CapBnd|NoNewPrivs)/ { print \$2 }" /proc/self/status; wc -c < /etc/group'
    same 'uid=1000(user) gid=2000 groups=2000,3000
touch: /new: Read-only file system
touch: /tmp/new: Read-only file system
00000000a82425fa
1
0' "$(said security)"
}

cri_privileged() {
    pod privileged "$(security '{"privileged": true}')"
    started one "$(security '{"privileged": true}')" sleep 1000
    exits 0 in_container "$container" sh -ec "awk '/^CapEff/ { print \$2 }' /proc/self/status; mount -t tmpfs none /mnt; dd if=$(disk) of=/dev/null count=1"
    has "$output" "$(capabilities)"
}

cri_devices_and_sysctls() {
    shared_pod
    started devices "{\"devices\": [{\"container_path\": \"/dev/other\", \"host_path\": \"$(disk)\", \"permissions\": \"r\"}]}" sleep 1000
    exits 1 in_container "$container" sh -ec 'cat /proc/sys/net/ipv4/ip_unprivileged_port_start /proc/sys/kernel/shm_rmid_forced /etc/resolv.conf
        dd if=/dev/other of=/dev/null count=1; echo read; dd if=/dev/null of=/dev/other count=1'
    has "$output" '81
1
nameserver 10.1.2.3'
    has "$output" read
    has "$output" 'Operation not permitted'
}

# unmount_all DIR: what a flow has mounted there and below.
unmount_all() { findmnt -rno TARGET | grep "^$1" | sort -r | xargs -r -n 1 umount; }

cri_mount_propagation() {
    local private slave shared
    host=$work/propagation
    mkdir -p "$host"
    mount -t tmpfs flows "$host"
    mount --make-shared "$host"
    mkdir "$host"/{outside,private,slave,shared}
    pod propagation "$(security '{"privileged": true}')"
    trap 'unpod "$pod"; unmount_all "$host"' EXIT
    mounted() { echo "{\"mounts\": [{\"container_path\": \"/mnt\", \"host_path\": \"$host\", \"propagation\": \"PROPAGATION_$1\"}]} * $(security '{"privileged": true}')"; }
    started private "$(mounted PRIVATE)" sleep 1000; private=$container
    started slave "$(mounted HOST_TO_CONTAINER)" sleep 1000; slave=$container
    started shared "$(mounted BIDIRECTIONAL)" sleep 1000; shared=$container
    mount -t tmpfs outside "$host/outside"
    touch "$host/outside/file"
    exits 1 in_container "$private" sh -c 'mount -t tmpfs none /mnt/private; test -e /mnt/outside/file'
    exits 0 in_container "$slave" sh -c 'mount -t tmpfs none /mnt/slave; test -e /mnt/outside/file'
    exits 0 in_container "$shared" sh -c 'mount -t tmpfs none /mnt/shared; test -e /mnt/outside/file'
    not mountpoint -q "$host/private"
    not mountpoint -q "$host/slave"
    mountpoint -q "$host/shared"
}

# handler FEATURE: containerd 2 asks `RUNTIME features` for it.
handler() { cri Status | jq -e ".runtime_handlers[] | select(.name == \"tested\").features.$1"; }

cri_recursive_read_only() {
    host=$work/rro
    needs 'recursive read-only mounts in the CRI (containerd 2)' handler recursive_read_only_mounts
    shared_pod
    mkdir -p "$host"
    mount -t tmpfs flows "$host"
    mkdir "$host/sub"
    mount -t tmpfs flows "$host/sub"
    trap 'cri StopContainer "{\"container_id\": \"$container\"}"; unmount_all "$host"' EXIT
    once ro "{\"mounts\": [{\"container_path\": \"/mnt\", \"host_path\": \"$host\", \"readonly\": true}]}" sh -c 'exec 2>&1; touch /mnt/new /mnt/sub/new'
    same 'touch: /mnt/new: Read-only file system' "$(said ro)"
    once rro "{\"mounts\": [{\"container_path\": \"/mnt\", \"host_path\": \"$host\", \"readonly\": true, \"recursive_read_only\": true}]}" \
        sh -c 'exec 2>&1; touch /mnt/new /mnt/sub/new2'
    same 'touch: /mnt/new: Read-only file system
touch: /mnt/sub/new2: Read-only file system' "$(said rro)"
}

cri_user_namespace() {
    local ids='[{"host_id": 100000, "container_id": 0, "length": 65536}]' userns
    userns="{\"namespace_options\": {\"pid\": \"CONTAINER\", \"userns_options\": {\"mode\": \"POD\", \"uids\": $ids, \"gids\": $ids}}}"
    needs 'user namespaces in the CRI (containerd 2)' handler user_namespaces
    mkdir -p "$work/volume"
    pod userns "$(security "$userns")"
    started one "{\"mounts\": [{\"container_path\": \"/mnt\", \"host_path\": \"$work/volume\", \"uidMappings\": $ids, \"gidMappings\": $ids}]}
        * $(security "$userns")" sleep 1000
    same '0 100000 65536 0 0' "$(in_container "$container" sh -ec 'touch /new /mnt/new; echo $(cat /proc/self/uid_map) $(stat -c "%u %g" /bin)')"
    same 100000 "$(awk '/^Uid/ { print $2 }' "/proc/$(init_of "$container")/status")"
    same '0 0' "$(stat -c '%u %g' "$work/volume/new")" 'owner on the host'
}

cri_shared_namespaces() {
    local first kind pid='{"namespace_options": {"pid": "POD"}}'
    pod common "$(security "$pid")"
    started one "$(security "$pid")" sh -c 'touch /dev/shm/x; exec sleep 1001'; first=$container
    started two "$(security "$pid")" sleep 1002
    for kind in pid net ipc uts; do
        same "$(readlink "/proc/$(init_of "$first")/ns/$kind")" "$(readlink "/proc/$(init_of "$container")/ns/$kind")" $kind
    done
    exits 0 in_container "$container" sh -ec 'ps | grep "[s]leep 1001"; test -e /dev/shm/x; ip address show eth0'
    has "$output" ' 10.88.'
    # The end of one of them is not that of the others.
    cri StopContainer "{\"container_id\": \"$first\", \"timeout\": 0}"
    container_is "$container" RUNNING
    exits 1 in_container "$container" sh -c 'ps | grep "[s]leep 1001"'
}

# An ephemeral container, as of `kubectl debug --target`.
cri_target_namespace() {
    local first
    shared_pod
    started target '{}' sleep 1001; first=$container
    started debug "$(security "{\"namespace_options\": {\"pid\": \"TARGET\", \"target_id\": \"$first\"}}")" sleep 1002
    same "$(readlink "/proc/$(init_of "$first")/ns/pid")" "$(readlink "/proc/$(init_of "$container")/ns/pid")"
    in_container "$container" sh -ec 'grep -q sleep /proc/1/comm; ps | grep "[s]leep 1001"'
}

cri_host_namespaces() {
    local host='{"namespace_options": {"network": "NODE", "pid": "NODE", "ipc": "NODE"}}' kind
    pod host "$(security "$host") * {\"hostname\": \"\"}"
    started one "$(security "$host")" sleep 1003
    for kind in net pid ipc; do
        same "$(readlink /proc/self/ns/$kind)" "$(readlink "/proc/$(init_of "$container")/ns/$kind")" $kind
    done
    cri StopContainer "{\"container_id\": \"$container\", \"timeout\": 0}"
    container_is "$container" EXITED
    not pgrep -f '^sleep 1003'
}

cri_containers_in_parallel() {
    local i jobs=()
    shared_pod
    for i in 1 2 3 4 5 6; do
        ( trap - EXIT; started "many$i" '{}' sleep 1000; in_container "$container" true; touch "$work/many.$i" ) &
        jobs+=($!)
    done
    wait "${jobs[@]}"
    same 6 "$(find "$work" -maxdepth 1 -name 'many.?' | wc -l)"
}
