#!/bin/busybox sh
# The VM's first process: makes a small Linux, runs /vm/command, sends its exit code. Errors are on the console.
# Ports (see qemu.rs): 1 stdout, 2 stderr, 3 result.
export PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root TERM=dumb LANG=C.UTF-8 USER=root

load() { for module in /vm/modules/"$1"/*; do insmod "$module" 2>/dev/null; done; }

if [ -z "$STAGE" ]; then
    /bin/busybox mount -t devtmpfs devtmpfs /dev
    mount -t proc proc /proc
    mount -t sysfs sysfs /sys
    load boot
    case " $(cat /proc/cmdline) " in *' vm.systemd '*)
        load disk
        load share
        load tests
        tries=0
        while [ ! -b /dev/vda ] && [ $tries -lt 200 ]; do usleep 10000; tries=$((tries + 1)); done
        mkdir /disk && mount -t ext4 -o noatime /dev/vda /disk && cp -a /vm/disk/. /disk/ || exec sleep 1000
        umount /proc /sys
        mount --move /dev /disk/dev
        exec switch_root /disk /sbin/init
    esac
    # pivot_root(2) refuses to leave the initramfs itself; a bind mount of it on top of it is an ordinary root.
    mkdir /vm/root && mount --rbind / /vm/root && cd /vm/root && mount --move . /
    STAGE=main exec chroot . /bin/sh /init
fi
unset STAGE

mkdir -p /dev/pts /dev/shm /dev/mqueue
mount -t devpts -o gid=5,mode=620,ptmxmode=666 devpts /dev/pts
mount -t tmpfs -o mode=1777 tmpfs /dev/shm
mount -t mqueue mqueue /dev/mqueue
# No mount on /tmp: the run's files may be below it. All of the root is memory anyway.
chmod 1777 /tmp
mount -t tmpfs -o mode=755 tmpfs /run
mount -t securityfs securityfs /sys/kernel/security 2>/dev/null
mount -t bpf bpf /sys/fs/bpf
mount -t cgroup2 -o nsdelegate cgroup2 /sys/fs/cgroup
ln -s /proc/self/fd /dev/fd
hostname corten-vm
ip link set lo up

# First a cgroup of its own for the command, or the "no internal processes" rule would bite below the root.
mkdir /sys/fs/cgroup/command
echo 0 > /sys/fs/cgroup/command/cgroup.procs
for controller in $(cat /sys/fs/cgroup/cgroup.controllers); do
    echo "+$controller" > /sys/fs/cgroup/cgroup.subtree_control
done

load tests
cd /root
case " $(cat /proc/cmdline) " in
*' vm.share '*)
    load share
    mount -t virtiofs host /host && cd /host || { echo 'exit 125' > /dev/vport0p3; exec sleep 1000; } ;;
esac

tries=0
while [ ! -c /dev/vport0p3 ] && [ $tries -lt 200 ]; do usleep 10000; tries=$((tries + 1)); done
exec 3> /dev/vport0p3
read -r uptime _ < /proc/uptime
echo "uptime $uptime" >&3
CORTEN_VM=1 setsid sh /vm/command < /dev/null > /dev/vport0p1 2> /dev/vport0p2 3>&-
echo "exit $?" >&3
exec sleep 1000
