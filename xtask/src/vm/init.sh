#!/bin/busybox sh
# The first process of the machine: sets it up, runs the tests, says how they ended, and goes.
/bin/busybox --install -s /bin
export PATH=/bin:/usr/bin:/usr/sbin HOME=/ TLSTAP_BIN=/tlstap TLSTAP_TIER=kernel
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
mount -t tracefs tracefs /sys/kernel/tracing
mount -t securityfs securityfs /sys/kernel/security
mount -t tmpfs tmpfs /tmp
ip link set lo up
# Of the kernel only what ends it.
dmesg -n 1
uname -r
/tlstap check
/suite $TEST
echo "the tests ended with $?"
reboot -f
