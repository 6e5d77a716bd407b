#!/bin/sh
# Builds the lab's image: what QEMU needs to boot real Xen with a dom0 and tiny guests.
#
#   build.sh RECIPE OUT    RECIPE: the folder this script came with; OUT: an empty folder that receives
#
#     xen          the hypervisor, unpacked (QEMU's multiboot loader wants a plain ELF file)
#     vmlinuz      Debian's kernel, unpacked, for dom0 and for guests
#     initrd.gz    finds the root disk, nothing else
#     root.img     dom0: Debian's own Xen toolstack, sshd, and /srv/guests
#     known_hosts  the public half of dom0's ssh host key
#
# Runs as root on Debian 12. Progress goes to stdout, everything else to stderr.
set -eu
recipe=$1 out=$2
exec 3>&1 1>&2

say() { echo "image: $*" >&3; }
die() { say "$*"; exit 1; }

# What dom0 holds, next to Debian's essential packages. No pinfold: its binaries are copied in at run time.
dom0_packages=$(sed 's/#.*//' "$recipe/dom0-packages" | xargs | tr ' ' ,)

work=$(mktemp -d "${TMPDIR:-/tmp}/pinfold-lab-image.XXXXXX")
trap 'rm -rf "$work"' EXIT
trap 'exit 1' INT TERM HUP
root=$work/root

# From the mirrors that this machine's apt uses, with Debian's updates and security archives, so that dom0's
# toolstack has the version of the headers one builds against here.
sources() {
    apt-get indextargets --format 'deb $(REPO_URI) $(RELEASE) $(COMPONENT) $(ORIGIN)' 'Created-By: Packages' |
        awk '$5 == "Debian" && $3 ~ /^bookworm/ && $4 == "main" { print $1, $2, $3, $4 }' | sort -u
}

debian() {
    say "downloading and unpacking Debian for dom0 (about a minute)"
    sources > "$work/sources.list"
    grep -q ' bookworm ' "$work/sources.list" || echo 'deb http://deb.debian.org/debian bookworm main' >> "$work/sources.list"
    mkdir "$work/packages"
    # The hypervisor and the kernel are unpacked by hand: dpkg would run initramfs-tools and grub for them.
    mmdebstrap --mode=root --variant=minbase --architectures=amd64 --include="$dom0_packages" \
        --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/man/*' \
        --dpkgopt='path-exclude=/usr/share/locale/*' \
        --customize-hook='cd "$1/tmp" && chroot "$1" sh -c "cd /tmp && apt-get download xen-hypervisor-4.17-amd64 \
            \$(apt-cache depends --important linux-image-amd64 | sed -n \"s/.*Depends: //p\" | head -1)"' \
        --customize-hook="mv \"\$1\"/tmp/*.deb $work/packages/" \
        bookworm "$root" "$work/sources.list"
    for deb in "$work"/packages/*.deb; do dpkg -x "$deb" "$work/unpacked"; done
    kernel=$(basename "$work"/unpacked/boot/vmlinuz-*); kernel=${kernel#vmlinuz-}
}

# The kernel proper out of Debian's bzImage, which is an xz stream in it. Xen and libxl would unpack it at each boot and each creation:
# under emulation a creation then takes 12 to 14 s instead of 2 to 4.
unpack_kernel() {
    say "unpacking the kernel"
    packed=$work/unpacked/boot/vmlinuz-$kernel
    magic=$(printf '\3757zXZ')
    start=$(LC_ALL=C grep -abo -m1 -F "$magic" "$packed" | head -n1 | cut -d: -f1)
    [ -n "$start" ] || { echo "$packed has no xz stream" >&2; return 1; }
    # What follows the stream is no error of ours: xz complains, and the check of the outcome counts.
    tail -c "+$((start + 1))" "$packed" | xz -dcq > "$work/vmlinux" 2>/dev/null || true
    [ "$(head -c4 "$work/vmlinux" | tail -c3)" = ELF ] || { echo "$packed did not unpack" >&2; return 1; }
}

# Drivers that no lab has the hardware for are three quarters of the kernel package.
modules() {
    say "installing the kernel's modules ($kernel)"
    modules=$work/unpacked/lib/modules/$kernel
    (cd "$modules/kernel" && rm -rf sound drivers/gpu drivers/media drivers/infiniband drivers/usb drivers/staging \
        drivers/iio drivers/net/wireless drivers/net/ethernet drivers/input drivers/hid drivers/mtd drivers/platform)
    mkdir -p "$root/usr/lib/modules"
    cp -a "$modules" "$root/usr/lib/modules/"
    chroot "$root" depmod "$kernel"
}

# initramfs DIR MODULE…: completes a folder with busybox and modules, in the order of their dependencies.
initramfs() {
    dir=$1; shift
    mkdir -p "$dir/bin" "$dir/dev" "$dir/proc" "$dir/sys" "$dir/tmp" "$dir/mnt" "$dir/modules"
    cp "$root/usr/bin/busybox" "$dir/bin/"
    mknod "$dir/dev/console" c 5 1
    for module; do chroot "$root" modprobe -S "$kernel" --show-depends "$module"; done |
        awk '$1 == "insmod" && !seen[$2]++ { print $2 }' > "$dir/modules/paths"
    while read -r path; do cp "$root$path" "$dir/modules/"; basename "$path"; done \
        < "$dir/modules/paths" > "$dir/modules/order"
    rm "$dir/modules/paths"
    (cd "$dir" && find . | LC_ALL=C sort | cpio --quiet -o -H newc -R 0:0 | gzip -9)
}

guests() {
    say "making the guests' initramfs"
    cp -a "$recipe/guest" "$work/guest"
    mkdir -p "$work/guest/bin"
    chroot "$root" busybox --list | grep -vx busybox | while read -r applet; do
        ln -s busybox "$work/guest/bin/$applet"
    done
    ln -s ../bin/busybox "$work/guest/sbin/init"
    ln -s bin/busybox "$work/guest/init"
    mkdir -p "$root/srv/guests"
    initramfs "$work/guest" xen-blkfront xen-netfront ext4 xen_wdt > "$work/guest.gz"
    mv "$work/guest.gz" "$root/srv/guests/initrd.gz"
    cp "$work/vmlinux" "$root/srv/guests/vmlinuz"
    pcs
}

# What HVM guests boot: a disk, and a kernel that QEMU starts.
pcs() {
    local out="$root/srv/guests"
    as --32 -o "$work/boot.o" "$recipe/pc/boot.S"
    ld -m elf_i386 -Ttext 0x7c00 -e _start --oformat binary -o "$out/pc.img" "$work/boot.o"
    truncate -s 1M "$out/pc.img"
    as --32 --defsym KERNEL=1 -o "$work/kernel.o" "$recipe/pc/boot.S"
    ld -m elf_i386 -Ttext 0 -e _start --oformat binary -o "$out/pc-kernel" "$work/kernel.o"
}

dom0() {
    say "setting up dom0"
    cp -a --no-preserve=ownership "$recipe/dom0/." "$root/"
    mkdir -p "$root/var/log/xen/console" # xenconsoled keeps no logs without it
    for command in init poweroff reboot halt; do ln -sf /bin/busybox "$root/usr/sbin/$command"; done
    rm -f "$root"/etc/ssh/ssh_host_*
    ssh-keygen -q -t ed25519 -N '' -C lab -f "$root/etc/ssh/ssh_host_ed25519_key"
    echo "lab $(cat "$root/etc/ssh/ssh_host_ed25519_key.pub")" > "$out/known_hosts"
    rm -f "$root/etc/resolv.conf" "$root/etc/hostname"
    echo xen1 > "$root/etc/hostname"
    printf '127.0.0.1 localhost\n127.0.1.1 xen1\n' > "$root/etc/hosts"
}

boot_files() {
    cp -a "$recipe/initrd" "$work/initrd"
    initramfs "$work/initrd" virtio_pci virtio_blk ext4 > "$out/initrd.gz"
    gunzip -c "$work"/unpacked/boot/xen-*.gz > "$out/xen"
    cp "$work/vmlinux" "$out/vmlinuz"
}

disk() {
    say "making dom0's disk"
    truncate -s 4G "$out/root.img"
    mkfs.ext4 -q -E no_copy_xattrs -d "$root" "$out/root.img" 2>/dev/null ||
        { rm "$out/root.img"; truncate -s 4G "$out/root.img"; mkfs.ext4 -q -d "$root" "$out/root.img"; }
}

[ "$(id -u)" = 0 ] || die "building needs root: run it once as root; labs themselves need no root"
debian
unpack_kernel
modules
guests
dom0
boot_files
disk
say "done"
