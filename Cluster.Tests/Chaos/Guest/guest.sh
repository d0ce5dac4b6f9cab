#!/bin/bash
# Builds a guest with a real kernel NBD client and runs a program of .NET in it, without hardware virtualization:
#   guest.sh KERNEL APP OUT ARGUMENT...        KERNEL has boot/vmlinuz-* and lib/modules/*; APP is a directory with Cluster.Tests.dll, which gets the arguments; OUT is made anew
# The guest's console goes to standard output. It ends when the guest does.
set -euo pipefail
kernel="$1" app="$2" out="$3"
shift 3
root="$out/root" initrd="$out/initrd"
mkdir -p "$root"/{usr/{bin,sbin,lib,lib64},proc,sys,dev,tmp,run,etc,modules} "$initrd"/{bin,dev,new}
for directory in bin sbin lib lib64; do ln -s "usr/$directory" "$root/$directory"; done

library() { cp -nL "$1" "$root/usr/lib/$(basename "$1")"; }
for program in mkfs.ext4 e2fsck resize2fs blkid wipefs blkdiscard blockdev mount umount losetup setsid; do
  file="$(readlink -f "$(PATH="$PATH:/usr/sbin:/sbin" command -v "$program")")"
  cp "$file" "$root/usr/sbin/$program"
  while read -r found; do library "$found"; done < <(ldd "$file" | grep -o '/[^ ]*')
done
dotnet="$(dirname "$(readlink -f "$(command -v dotnet)")")"
mkdir -p "$root/dotnet/shared"
cp -r "$dotnet/dotnet" "$dotnet/host" "$root/dotnet/"
for framework in Microsoft.NETCore.App Microsoft.AspNetCore.App; do
  mkdir "$root/dotnet/shared/$framework"
  cp -r "$(printf '%s\n' "$dotnet/shared/$framework"/10.* | sort -V | tail -n 1)" "$root/dotnet/shared/$framework/"
done
# What the runtime itself is linked to, and opens later.
while read -r found; do library "$found"; done < <(ldd "$dotnet/dotnet" "$dotnet"/shared/Microsoft.NETCore.App/10.*/*.so 2>/dev/null | grep -o '/[^ ]*\.so[^ ]*' | grep -v "^$dotnet" | sort -u)
for name in libssl libcrypto; do
  while read -r found; do library "$found"; done < <(ldconfig -p | grep -o "/[^ ]*x86_64[^ ]*/$name\.so\.3" | head -n 1)
done
cp -L /lib64/ld-linux-x86-64.so.2 "$root/usr/lib64/"
cp -r "$app" "$root/app"
cp "$(command -v busybox)" "$root/usr/bin/"
cp "$(command -v busybox)" "$initrd/bin/"
for applet in sh sync sleep cat; do ln -s busybox "$root/usr/bin/$applet"; done
find "$kernel/lib/modules" -name nbd.ko -exec cp {} "$root/modules/" \;
for module in virtio_ring virtio virtio_pci_legacy_dev virtio_pci_modern_dev virtio_pci virtio_blk; do
  find "$kernel/lib/modules" -name "$module.ko" -exec cp {} "$initrd/" \;
done
echo "$*" >"$root/arguments"
echo 'root:x:0:0:root:/:/bin/sh' >"$root/etc/passwd"

cat >"$initrd/init" <<'END'
#!/bin/busybox sh
b=/bin/busybox
$b mount -t devtmpfs dev /dev
for module in virtio_ring virtio virtio_pci_legacy_dev virtio_pci_modern_dev virtio_pci virtio_blk; do $b insmod /$module.ko; done
$b mount -t ext4 /dev/vda /new && $b mount --move /dev /new/dev && exec $b switch_root /new /init
echo "guest: no root file system"
$b poweroff -f
END
cat >"$root/init" <<'END'
#!/bin/sh
export PATH=/usr/sbin:/usr/bin DOTNET_TieredPGO=0 DOTNET_TC_CallCountThreshold=400 DOTNET_gcServer=0
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t tmpfs tmp /tmp
busybox ip link set lo up
busybox insmod /modules/nbd.ko nbds_max=4
echo "guest: up, Linux $(busybox uname -r)"
/dotnet/dotnet /app/Cluster.Tests.dll $(cat /arguments) 2>&1
busybox dmesg | busybox tail -n 40
busybox poweroff -f
END
chmod +x "$initrd/init" "$root/init"
mkfs.ext4 -q -O ^has_journal -d "$root" "$out/root.img" 3G
(cd "$initrd" && find . | cpio -o -H newc --quiet) >"$out/initrd.cpio"
exec qemu-system-x86_64 -machine q35,accel=tcg -cpu Nehalem -smp 2 -m 1536 -nographic -no-reboot -nodefaults -serial stdio -nic none \
  -kernel "$(printf '%s\n' "$kernel"/boot/vmlinuz-* | tail -n 1)" -initrd "$out/initrd.cpio" -append "console=ttyS0 panic=-1 quiet mitigations=off no_timer_check" \
  -drive "file=$out/root.img,format=raw,if=none,id=root,cache=unsafe" -device virtio-blk-pci,drive=root
