#!/bin/sh
# Runs a command on a virtual host: enter HOST COMMAND...
# All commands on a host share its network, its name and its /dev/shm. Its /sys shows its network, and this machine's
# control groups; its /etc/hosts knows the hosts of the cluster.
set -eu
host=$1
shift
cluster=$(dirname "$0")
[ -d "$cluster/$host" ] || { echo "enter: there is no host $host" >&2; exit 2; }
if [ -f "$cluster/$host.group" ]; then
    echo $$ > "$(cat "$cluster/$host.group")"
fi
exec nsenter --net="/run/netns/$host" unshare --uts --ipc --mount -- /bin/sh -ec '
    cluster=$1 host=$2
    shift 2
    mount --rbind /sys/fs/cgroup "$cluster/groups"
    mount -t sysfs sysfs /sys
    mount --rbind "$cluster/groups" /sys/fs/cgroup
    umount -l "$cluster/groups"
    echo "$host" > /proc/sys/kernel/hostname
    mount --bind "$cluster/$host" /dev/shm
    mount --bind "$cluster/hosts" /etc/hosts
    exec "$@"
' enter "$cluster" "$host" "$@"
