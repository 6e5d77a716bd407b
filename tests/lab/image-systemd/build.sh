#!/bin/sh
# Makes the image whose dom0 boots systemd, out of the quick one: the same Debian with systemd as its init.
#
#   build.sh RECIPE BASE OUT    RECIPE: the folder this script came with; BASE: the quick image; OUT: an empty folder that receives the same files
#
# Runs as root on Debian 12. Progress goes to stdout, everything else to stderr.
set -eu
recipe=$1 base=$2 out=$3
exec 3>&1 1>&2

say() { echo "image: $*" >&3; }

work=$(mktemp -d "${TMPDIR:-/tmp}/pinfold-lab-image.XXXXXX")
trap 'rm -rf "$work"' EXIT
trap 'exit 1' INT TERM HUP
root=$work/root

# What Debian's own host would not do at each boot of a small lab costs the emulated processor a minute.
unneeded="apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer e2scrub_all.timer e2scrub_reap.service fstrim.timer
    lvm2-monitor.service lvm2-lvmpolld.socket blk-availability.service systemd-random-seed.service systemd-pstore.service
    systemd-update-utmp.service systemd-update-utmp-runlevel.service systemd-binfmt.service systemd-journal-flush.service
    systemd-journal-catalog-update.service systemd-update-done.service ldconfig.service getty.target serial-getty@hvc0.service
    sys-kernel-debug.mount sys-kernel-tracing.mount dev-hugepages.mount dev-mqueue.mount"

unpack() {
    say "unpacking the quick image"
    mkdir "$root"
    debugfs -R "rdump / $root" "$base/root.img"
    rm -rf "$root/lost+found"
}

install_systemd() {
    say "installing systemd in it"
    cp /etc/resolv.conf "$root/etc/resolv.conf"
    printf '#!/bin/sh\nexit 101\n' > "$root/usr/sbin/policy-rc.d"
    chmod +x "$root/usr/sbin/policy-rc.d"
    mknod -m 666 "$root/dev/null" c 1 3
    for command in init poweroff reboot halt; do rm -f "$root/usr/sbin/$command"; done
    in_root() { DEBIAN_FRONTEND=noninteractive PATH=/usr/sbin:/usr/bin:/sbin:/bin chroot "$root" "$@"; }
    in_root apt-get -q update
    in_root apt-get -q install -y --no-install-recommends systemd systemd-sysv adduser
    in_root systemctl enable ssh.service || true
    rm -rf "$root/usr/sbin/policy-rc.d" "$root/dev/null" "$root/etc/resolv.conf" "$root"/var/lib/apt/lists/* "$root"/var/cache/apt/*
}

set_up() {
    cp -a --no-preserve=ownership "$recipe/dom0/." "$root/"
    units=$root/etc/systemd/system
    for unit in $unneeded; do ln -sf /dev/null "$units/$unit"; done
    mkdir -p "$units/multi-user.target.wants"
    ln -sf /etc/systemd/system/lab.service "$units/multi-user.target.wants/lab.service"
    ln -sf /lib/systemd/system/multi-user.target "$units/default.target"
    echo 0123456789abcdef0123456789abcdef > "$root/etc/machine-id"
}

disk() {
    say "making dom0's disk"
    truncate -s 4G "$out/root.img"
    mkfs.ext4 -q -E no_copy_xattrs -d "$root" "$out/root.img" 2>/dev/null ||
        { rm "$out/root.img"; truncate -s 4G "$out/root.img"; mkfs.ext4 -q -d "$root" "$out/root.img"; }
}

unpack
install_systemd
set_up
for file in xen vmlinuz initrd.gz known_hosts; do ln "$base/$file" "$out/$file"; done
disk
say "done"
