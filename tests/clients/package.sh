#!/bin/bash
# Debian's package of corten, and Podman with nothing else: install, use, upgrade under containers, nesting, purge. The flows depend
# on one another in this order. For peers only those of upgrade and nesting mean something: the others are skipped by name.
#
# Beside this script: corten.deb, and corten.other, another build to upgrade from.
. "$(dirname "$(readlink -f "$0")")/lib.sh"
package=$here/corten.deb other=$here/corten.other

podman() { command podman --runtime "$runtime_name" --cgroup-manager "$DRIVER" "$@"; }
is_corten() { needs "corten: it is its own package" test "$runtime_name" = corten; }
# What belongs to a package and its scripts, and to nobody's run.
belongings() { find /etc /usr /var/lib /var/cache /run -xdev \( -path /var/lib/dpkg -o -path /var/lib/apt -o -path /var/lib/containers -o -path '/run/[^c]*' \
    -o -path /run/containers -o -path /run/crun -o -path '/run/credentials*' -o -path /run/cryptsetup -o -path /var/lib/systemd -o -path /var/cache/apt -o -path /var/cache/debconf -o -path /var/cache/ldconfig \) -prune -o -print | sort; }
# apt_get WORDS...: the VM's image leaves documents out, and their directories; here they are part of what is looked at.
apt_get() {
    DEBIAN_FRONTEND=noninteractive apt-get --quiet --quiet --yes -o Dpkg::Use-Pty=0 -o Acquire::AllowUnsizedPackages=1 \
        -o Dpkg::Options::=--path-include='/usr/share/doc/corten*' -o Dpkg::Options::=--path-include='/usr/share/man/man8/corten*' "$@"
}
version_of() { dpkg-query --show --showformat='${Version}' corten; }
profiles() { cat /sys/kernel/security/apparmor/profiles 2> /dev/null || true; }

install() {
    is_corten
    exits 127 bash -c 'corten --version'
    mkdir -p /usr/share/man/man8 /usr/share/doc
    belongings > "$work/before"
    apt_get install "$package"
    same "$(dpkg-deb --field "$package" Version)" "$(version_of)"
    same '' "$(dpkg --verify corten)" "what dpkg misses"
    has "$(corten --version)" "corten version "
    dpkg --listfiles corten | while read -r path; do [ -e "$path" ] || { echo "no $path"; exit 1; }; done
}

image() {
    rootfs "$work/rootfs"
    tar -C "$work/rootfs" -c . | podman import - localhost/tiny
}

# Nothing but the package says where corten is, that its errors are JSON, that it can go without cgroups.
podman_knows_it() {
    is_corten
    [ ! -e /etc/containers/containers.conf ]
    exits 3 podman run --rm --network none localhost/tiny sh -c 'cat /proc/1/comm; exit 3'
    same sh "$output"
    same corten "$(podman info --format '{{.Host.OCIRuntime.Name}}')"
    same /usr/bin/corten "$(podman info --format '{{.Host.OCIRuntime.Path}}')"
    exits 127 podman run --rm --network none localhost/tiny no-such-program
    has "$output" 'executable file not found'
    exits 126 podman run --rm --network none localhost/tiny /etc/passwd
    exits 0 podman run --rm --network none --cgroups=disabled localhost/tiny cat /proc/self/cgroup
}

# /proc/PID/exe is init's image as long as the container is created.
corten_runs_it() {
    is_corten
    trap 'podman rm --force --time 0 proof' EXIT
    podman create --name proof --network none localhost/tiny sleep 1000
    podman init proof
    local pid; pid=$(podman inspect --format '{{.State.Pid}}' proof)
    has "$(readlink "/proc/$pid/exe")" corten
    same corten "$(podman inspect --format '{{.OCIRuntime}}' proof)"
    podman start proof
    has "$(readlink "/proc/$pid/exe")" busybox
}

completion_in_bash() {
    is_corten
    exits 0 bash -c '. /usr/share/bash-completion/completions/corten && complete -p corten && COMP_WORDS=(corten sta) COMP_CWORD=1 && _corten corten sta corten && echo "${COMPREPLY[@]}"'
    has "$output" start
    has "$output" state
}

manuals_and_documents() {
    is_corten
    has "$(zcat /usr/share/man/man8/corten-run.8.gz)" console
    has "$(zcat /usr/share/doc/corten/corten.cdx.json.gz)" '"bomFormat": "CycloneDX"'
    has "$(zcat /usr/share/doc/corten/NOTICES.gz)" glibc
    has "$(zcat /usr/share/doc/corten/changelog.Debian.gz)" "corten ($(version_of))"
}

profile_is_loaded() {
    is_corten
    needs "AppArmor" test -e /sys/kernel/security/apparmor/profiles
    has "$(profiles)" 'corten (unconfined)'
}

# The example of a bundle as a service.
unit_of_systemd() {
    is_corten
    trap 'systemctl stop corten@web; rm -rf /etc/systemd/system/corten@.service /var/lib/corten; systemctl daemon-reload' EXIT
    cp /usr/share/doc/corten/examples/systemd/corten@.service /etc/systemd/system/
    mkdir -p /var/lib/corten/web
    cp -a "$work/rootfs" /var/lib/corten/web/rootfs
    corten spec --bundle /var/lib/corten/web
    sed -i -e 's/"terminal": true/"terminal": false/' -e 's/^\(\t*\)"sh"$/\1"sh", "-c", "trap \\"exit 0\\" TERM; echo up; sleep 1000 \& wait"/' /var/lib/corten/web/config.json
    systemctl daemon-reload
    systemctl start corten@web
    until_ok 60 sh -c 'corten state web | grep -q running'
    has "$(cat "/proc/$(corten state web | sed -n 's/.*"pid": \([0-9]*\).*/\1/p')/cgroup")" corten-web.scope
    exits 0 corten exec web echo inside
    same inside "$output"
    systemctl stop corten@web
    exits 1 corten state web
    has "$(journalctl --unit corten-web.scope --output cat)" up
}

# The other build as it were an older package.
older() {
    is_corten
    dpkg-deb --raw-extract "$package" "$work/package"
    cp "$other" "$work/package/usr/bin/corten"
    sed -i 's/^Version: .*/&~older/' "$work/package/DEBIAN/control"
    (cd "$work/package" && find usr -type f -exec md5sum {} + > DEBIAN/md5sums)
    dpkg-deb --root-owner-group -Znone --build "$work/package" "$work/older.deb"
    apt_get --allow-downgrades install "$work/older.deb"
    has "$(version_of)" '~older'
}

# An engine's containers in every status, and then another program is where the runtime was.
before_upgrade() {
    podman create --name created --network none localhost/tiny sh -c 'echo started > /tmp/it; sleep 1000'
    podman init created
    podman run --detach --name running --network none localhost/tiny sleep 1000
    podman run --detach --name ending --network none localhost/tiny sh -c 'trap "exit 7" TERM; while :; do sleep 0.1; done'
    podman run --detach --name paused --network none localhost/tiny sh -c 'while :; do date +%s%N > /tmp/now; sleep 0.1; done'
    podman pause paused
    (code=0; podman run --name foreground --network none localhost/tiny sh -c 'trap "exit 9" TERM; while :; do sleep 0.1; done' || code=$?
        echo "$code" > "$work/foreground") > /dev/null 2>&1 &
    until_ok 60 podman exec foreground true
}

# By dpkg; a peer's program is replaced in the way that dpkg does it.
upgrade() {
    local before after
    before=$(sha256sum < "$RUNTIME")
    if [ "$runtime_name" = corten ]; then
        apt_get install "$package"
        same "$(dpkg-deb --field "$package" Version)" "$(version_of)"
    else
        cp --preserve=mode "$RUNTIME" "$RUNTIME.new"
        echo another >> "$RUNTIME.new"
        mv "$RUNTIME.new" "$RUNTIME"
    fi
    after=$(sha256sum < "$RUNTIME")
    [ "$before" != "$after" ] || { echo "the same program"; exit 1; }
    "$RUNTIME" --version
}

after_upgrade_states() {
    same created "$(podman inspect --format '{{.State.Status}}' created | sed 's/initialized/created/')"
    same running "$(podman inspect --format '{{.State.Status}}' running)"
    same paused "$(podman inspect --format '{{.State.Status}}' paused)"
    needs "corten's list" test "$runtime_name" = corten
    same "created paused running running running" "$(corten list --format json | tr '{' '\n' | sed -n 's/.*"status":"\([a-z]*\)".*/\1/p' | sort | xargs)"
}

after_upgrade_created() {
    podman start created
    until_ok 60 podman exec created test -e /tmp/it
    same started "$(podman exec created cat /tmp/it)"
    podman stop --time 0 created
    same 137 "$(podman wait created)"
    podman rm created
}

after_upgrade_running() {
    same "$(printf '1 sleep')" "$(podman exec running sh -c 'echo 1 $(cat /proc/1/comm)')"
    podman update --memory 64m --pids-limit 40 running
    same "67108864 40" "$(podman exec running sh -c 'echo $(cat /sys/fs/cgroup/memory.max /sys/fs/cgroup/pids.max)')"
    matches "$(podman top running comm)" sleep
    podman pause running
    same paused "$(podman inspect --format '{{.State.Status}}' running)"
    podman unpause running
    podman kill --signal KILL running
    same 137 "$(podman wait running)"
    podman rm running
    podman stop ending
    same 7 "$(podman wait ending)"
    podman rm ending
}

after_upgrade_paused() {
    podman unpause paused
    local first; first=$(podman exec paused cat /tmp/now)
    until_ok 60 podman exec paused sh -c "[ \$(cat /tmp/now) != $first ]"
    podman rm --force --time 0 paused
}

after_upgrade_foreground() {
    podman stop foreground
    until_ok 60 test -s "$work/foreground"
    same 9 "$(cat "$work/foreground")"
    podman rm foreground
}

after_upgrade_new() {
    exits 5 podman run --rm --network none localhost/tiny sh -c 'exit 5'
}

# A container that has this machine's own root file system, read-only below an overlay, and in it Podman with the same runtime.
outer() {
    mkdir -p "$work"/{upper,work,merged,storage}
    mount -t overlay overlay -o "lowerdir=/,upperdir=$work/upper,workdir=$work/work" "$work/merged"
    podman run --detach --name outer --privileged --network none --volume "$work/storage:/var/lib/containers" --volume "$work/rootfs:/srv/rootfs:ro" \
        --tmpfs /run --tmpfs /tmp --rootfs "$work/merged" sleep 10000
    # A cgroup of its own for what is there, or none below could have controllers (cgroups(7), "no internal processes").
    podman exec outer sh -ec 'mkdir /sys/fs/cgroup/init
        for pid in $(cat /sys/fs/cgroup/cgroup.procs); do echo $pid > /sys/fs/cgroup/init/cgroup.procs || true; done
        sed "s/\([a-z]*\)/+\1/g" /sys/fs/cgroup/cgroup.controllers > /sys/fs/cgroup/cgroup.subtree_control
        tar -C /srv/rootfs -c . | podman import - localhost/tiny'
}

inner() { podman exec outer podman --runtime "$runtime_name" --cgroup-manager cgroupfs "$@"; }

inner_run() {
    exits 3 inner run --rm --network none --memory 48m --pids-limit 30 localhost/tiny sh -c 'cat /sys/fs/cgroup/memory.max /sys/fs/cgroup/pids.max /proc/1/comm; exit 3'
    same "50331648 30 sh" "$(echo $output)"
}

inner_life() {
    trap 'inner rm --force --time 0 life' EXIT
    inner run --detach --name life --network none localhost/tiny sh -c 'trap "exit 4" TERM; while :; do sleep 0.1; done'
    same "$runtime_name" "$(inner inspect --format '{{.OCIRuntime}}' life)"
    same inside "$(inner exec life echo inside)"
    inner pause life
    same paused "$(inner inspect --format '{{.State.Status}}' life)"
    inner unpause life
    inner stop life
    same 4 "$(inner wait life)"
}

# With ids of its own below those of the outer container.
inner_user_namespace() {
    exits 0 inner run --rm --network none --uidmap 0:10000:5000 --gidmap 0:10000:5000 localhost/tiny cat /proc/self/uid_map
    same "0 10000 5000" "$(echo $output)"
}

outer_ends() {
    inner run --detach --name left --network none localhost/tiny sleep 4321
    local cgroup; cgroup=/sys/fs/cgroup$(sed 's/^0:://' "/proc/$(podman inspect --format '{{.State.Pid}}' outer)/cgroup")
    cgroup=${cgroup%/init}
    [ -d "$cgroup" ]
    podman rm --force --time 0 outer
    umount "$work/merged"
    [ ! -d "$cgroup" ]
    exits 1 pgrep -x -f 'sleep 4321'
}

purge() {
    is_corten
    podman rm --all --force --time 0
    podman rmi localhost/tiny
    apt_get purge corten
    exits 1 dpkg-query --show corten
    belongings | diff "$work/before" -
    case $(profiles) in *'corten (unconfined)'*) echo "the profile is loaded"; exit 1 ;; esac
    exits 127 bash -c 'corten --version'
}

for name in install image podman_knows_it corten_runs_it completion_in_bash manuals_and_documents profile_is_loaded unit_of_systemd \
    older before_upgrade upgrade after_upgrade_{states,created,running,paused,foreground,new} outer inner_{run,life,user_namespace} outer_ends purge; do
    flow "$name" 600
done
finish
