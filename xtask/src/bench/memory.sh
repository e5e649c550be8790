# In the VM: the smallest memory.max with which each runtime starts /bin/true, and what a created container is charged with.
# Prints `kernel RELEASE` and lines `NAME smallest BYTES` and `NAME charged BYTES`. $runtimes has the names; /bench/config.json the bundle.
mkdir -p /bench/rootfs/bin /bench/rootfs/etc /bench/rootfs/proc /bench/rootfs/sys /bench/rootfs/dev /run/bench
cp /bin/busybox /bench/rootfs/bin/busybox
ln -s busybox /bench/rootfs/bin/true
ln -s busybox /bench/rootfs/bin/sleep
echo 'root:x:0:0:root:/root:/bin/sh' > /bench/rootfs/etc/passwd
mkdir /sys/fs/cgroup/bench
for controller in $(cat /sys/fs/cgroup/cgroup.controllers); do echo "+$controller" > /sys/fs/cgroup/bench/cgroup.subtree_control; done
number=0

# bundle LIMIT PROGRAM: /bench/now with a new id.
bundle() {
    number=$((number + 1))
    id=m$number
    rm -rf /bench/now && mkdir /bench/now
    sed -e "s/\"LIMIT\"/$1/; s/CONTAINER/$id/; s/PROGRAM/$2/" /bench/config.json > /bench/now/config.json
}

# starts RUNTIME BYTES: whether three starts of three succeed.
starts() {
    for try in 1 2 3; do
        bundle "$2" true
        timeout -s KILL 100 "$1" --root "/run/bench/$1" run --bundle /bench/now $id > /dev/null 2> /bench/error
        code=$?
        "$1" --root "/run/bench/$1" delete --force $id > /dev/null 2>&1
        [ -d /sys/fs/cgroup/bench/$id ] && echo 1 > /sys/fs/cgroup/bench/$id/cgroup.kill && rmdir /sys/fs/cgroup/bench/$id
        [ $code = 0 ] || return 1
    done
}

# Between $low, which is too little, and $high, which is enough, in units of 16 KiB.
smallest() {
    low=0 high=2048
    starts "$1" $((high * 16384)) || { echo "$1 does not start with 32 MiB: $(cat /bench/error)" >&2; return; }
    while [ $((high - low)) -gt 1 ]; do
        middle=$(((low + high) / 2))
        if starts "$1" $((middle * 16384)); then high=$middle; else low=$middle; fi
    done
    echo "$1 smallest $((high * 16384))"
}

charged() {
    bundle 67108864 true
    "$1" --root "/run/bench/$1" create --bundle /bench/now $id > /dev/null || return
    echo "$1 charged $(cat /sys/fs/cgroup/bench/$id/memory.current)"
    "$1" --root "/run/bench/$1" delete --force $id
}

echo "kernel $(uname -r)"
for runtime in $runtimes; do
    smallest "$runtime"
    charged "$runtime"
done
