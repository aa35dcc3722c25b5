#!/bin/sh
# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Makes a container ready for systemd and the kubelet, and hands over to systemd.
# RESOLVER and GATEWAY come from the container's environment.
set -eu
# The kubelet and runc write there; a plain remount says busy.
awk '$5 == "/sys" || $5 ~ "^/sys/fs/cgroup" { print $5 }' /proc/self/mountinfo | while read -r point; do
    mount -o remount,bind,rw "$point"
done
mount --make-rshared /
# The engine's own resolver would forward to the machine's.
printf 'nameserver %s\noptions timeout:2 attempts:2\n' "$RESOLVER" > /etc/resolv.conf
ip route replace default via "$GATEWAY"
for key in net.ipv6.conf.all.disable_ipv6=1 net.ipv4.ip_forward=1 \
    net.ipv4.conf.eth0.proxy_arp=1 net.ipv4.neigh.eth0.proxy_delay=0; do
    # Pods have addresses of the inside network: the node answers for those that it routes.
    file=/proc/sys/$(echo "${key%%=*}" | tr . /)
    [ ! -e "$file" ] || echo "${key#*=}" > "$file"
done
exec /sbin/init
