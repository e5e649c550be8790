#!/bin/sh
# The service of --systemd: runs /vm/command, sends its exit code. Ports as in init.sh: 1 stdout, 2 stderr, 3 result.
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root TERM=dumb LANG=C.UTF-8 USER=root
cd /root
tries=0
while [ ! -c /dev/vport0p3 ] && [ $tries -lt 200 ]; do sleep 0.01; tries=$((tries + 1)); done
exec 3> /dev/vport0p3
case " $(cat /proc/cmdline) " in
*' vm.share '*)
    mkdir -p /host
    mount -t virtiofs host /host && cd /host || { echo 'exit 125' >&3; exec sleep 1000; } ;;
esac
read -r uptime _ < /proc/uptime
echo "uptime $uptime" >&3
CORTEN_VM=1 CORTEN_VM_SYSTEMD=1 setsid sh /vm/command < /dev/null > /dev/vport0p1 2> /dev/vport0p2 3>&-
echo "exit $?" >&3
exec sleep 1000
