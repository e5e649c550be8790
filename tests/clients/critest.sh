#!/bin/bash
# critest of cri-tools (docs/clients.md) against containerd's CRI on $RUNTIME. The program is neither ours nor Debian's: it is
# `critest`, beside this script. The images that it would pull are there already, under their names, made of the VM's own programs. Their
# busybox is Debian's dynamic one: the shell of the static one runs its applets itself, whatever is mounted over them.
#
# What it tests of images and registries, of NRI and of SELinux is left out: no runtime is in it.
. "$(dirname "$(readlink -f "$0")")/lib.sh"
. "$here/containerd/daemon.sh"
. "$here/containerd/image.sh"

# named NAME [CONFIG]: an image of the root file system.
named() { oci_image "$1" "$work/rootfs" "{\"Env\": [\"PATH=/bin:/usr/bin\"], \"Cmd\": [\"sh\"]${2:+, $2}}"; }

images() {
    local tests=registry.k8s.io/e2e-test-images staging=gcr.io/k8s-staging-cri-tools
    rootfs "$work/rootfs"
    mkdir -p "$work/rootfs/var/www"
    echo hello > "$work/rootfs/var/www/index.html"
    # As in cri-tools' images/image-predefined-group.
    echo 'default-user:x:1000:1000::/home:/bin/sh' >> "$work/rootfs/etc/passwd"
    printf 'www-data:x:33:33::/var/www:/bin/sh\nother:x:1002:1002::/home:/bin/sh\n' >> "$work/rootfs/etc/passwd"
    printf 'www-data:x:33:\nusers:x:100:\ngroup-defined-in-image:x:50000:default-user\n' >> "$work/rootfs/etc/group"
    sed -i /^user:/d "$work/rootfs/etc/passwd" "$work/rootfs/etc/group"
    # Hard links, as in busybox's image: a mask over one of them is none over the others.
    find "$work/rootfs/bin" -type l -delete
    chroot "$work/rootfs" /bin/busybox --install /bin
    programs "$work/rootfs" /usr/bin/ipcs /usr/bin/pgrep
    # Containers see it, of which one looks whether a `sleep` is left.
    named $image '"Cmd": ["sh", "-c", "trap '\''exit 0'\'' TERM; while :; do tail -f /dev/null & wait; done"]'
    named $tests/busybox:1.29-2
    named $tests/httpd:2.4.39-4 '"Cmd": ["sh", "-c", "echo httpd; exec httpd -f -p 80 -h /var/www"]'
    named $staging/hostnet-nginx-amd64:latest '"Cmd": ["httpd", "-f", "-p", "12003", "-h", "/var/www"]'
    named $staging/test-image-predefined-group:latest '"User": "1000"'
    named $staging/test-image-user-uid:latest '"User": "1002"'
    named $staging/test-image-user-username:latest '"User": "www-data"'
    named $staging/test-image-user-uid-group:latest '"User": "1003:users"'
    named $staging/test-image-user-username-group:latest '"User": "www-data:100"'
    nginx
    # A set-user-ID program that says who it is.
    programs "$work/rootfs" /usr/bin/id
    chmod 4755 "$work/rootfs/usr/bin/id"
    named $tests/nonewprivs:1.3 '"Cmd": ["sh", "-c", "echo Effective uid: $(/usr/bin/id -u)"]'
    oci_archive "$work/images.tar"
}

# Its processes have its name, and it writes its pid.
nginx() {
    programs "$work/rootfs" /usr/sbin/nginx
    mkdir -p "$work/rootfs"/{var/run,var/lib/nginx,var/log/nginx,etc/nginx}
    cat > "$work/rootfs/etc/nginx/nginx.conf" <<END
user root;
pid /var/run/nginx.pid;
events {}
http { access_log off; server { listen 80; root /var/www; } }
END
    named $tests/nginx:1.14-2 '"Cmd": ["/usr/sbin/nginx", "-g", "daemon off;"]'
}

# (Its iptables are for published ports.)
setup() {
    configure '{"type": "portmap", "capabilities": {"portMappings": true}}'
    modprobe -a bridge br_netfilter veth
    # It loads profiles by sudo.
    command -v sudo || { printf '#!/bin/sh\nexec "$@"\n' > /usr/local/bin/sudo; chmod 755 /usr/local/bin/sudo; }
    images
    systemctl restart containerd
    until_ok 120 ctr version
    ctr --namespace k8s.io image import "$work/images.tar"
}

# Each test as a flow: critest's report by Python, in its order.
report() {
    python3 - "$1" <<'END'
import sys
import xml.etree.ElementTree as xml

counts = {"passed": 0, "failed": 0}
skipped = 0
for case in xml.parse(sys.argv[1]).iter("testcase"):
    name, status = case.get("name").removeprefix("[It] [k8s.io] ").removesuffix(" [Conformance]"), case.get("status")
    seconds = round(float(case.get("time")))
    if status == "passed" and case.get("name").startswith("[It]"):
        counts["passed"] += 1
        print(f"ok      {name} ({seconds} s)")
    elif status == "skipped" and (why := case.find("skipped")) is not None and "skipped - " in why.get("message", ""):
        skipped += 1
        print(f"SKIPPED {name}: {why.get('message').removeprefix('skipped - ')}")
    elif status not in ("passed", "skipped"):
        counts["failed"] += 1
        what = case.find("failure")
        what = what if what is not None else case.find("error")
        print(f"FAILED  {name} ({seconds} s): {status}")
        print("        " + (what.get("message", "") + "\n" + (what.text or "") if what is not None else "").replace("\n", "\n        "))
print(f"{counts['passed']} passed, {counts['failed']} failed" + (f", {skipped} skipped" if skipped else ""))
sys.exit(counts["failed"] != 0 or counts["passed"] == 0)
END
}

[ -x "$here/critest" ] || { echo "no critest: CRITEST=PATH"; exit 1; }
( set -e; setup ) > "$work/setup" 2>&1 || { cat "$work/setup"; exit 1; }
cd "$work" || exit
only=()
[ -z "$ONLY" ] || only=(-ginkgo.focus "$ONLY")
"$here/critest" -runtime-endpoint unix:///run/containerd/containerd.sock -ginkgo.junit-report "$work/report" -ginkgo.no-color -ginkgo.seed 1 \
    "${only[@]}" -ginkgo.skip Image -ginkgo.skip NRI -ginkgo.skip SELinux > "$work/log" 2>&1
[ -s "$work/report" ] || { cat "$work/log"; exit 1; }
report "$work/report"
code=$?
rm -rf "$work"
exit $code
