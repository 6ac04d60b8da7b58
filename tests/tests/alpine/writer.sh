#!/bin/busybox sh
# The init of tests/tests/alpine.rs, on top of Alpine's initramfs: checks the file system and the
# files that an earlier run of it left behind, then writes more of them until the machine is killed.
/bin/busybox mkdir -p /proc /sys /dev /disk /tools
/bin/busybox --install -s /tools
export PATH=/tools:/usr/sbin:/usr/bin
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
echo "4 4 1 7" >/proc/sys/kernel/printk
modprobe -a virtio_pci virtio_blk ext4
until [ -b /dev/vda ]; do sleep 0.1; done

failed() {
  echo "FAILED $*"
}

# The disk's own e2fsck, which has to survive the disk being unmounted. To mount it is also to
# replay its journal, after which not a thing may be wrong.
mount -t ext4 /dev/vda /disk || failed "to mount"
mkdir -p /check
(cd /disk && cp -a sbin/e2fsck /check/ && cp -aL lib/ld-musl-x86_64.so.1 /check/ &&
  cp -aL usr/lib/libe2p.so.2 usr/lib/libext2fs.so.2 usr/lib/libcom_err.so.2 usr/lib/libblkid.so.1 \
    usr/lib/libuuid.so.1 usr/lib/libeconf.so.0 /check/) || failed "to copy e2fsck"
umount /disk || failed "to unmount"
/check/ld-musl-x86_64.so.1 --library-path /check /check/e2fsck -f -n /dev/vda >/check/log 2>&1 ||
  { failed "the file system's check"; cat /check/log; }
mount -t ext4 /dev/vda /disk || failed "to mount again"

# What is there, by its contents, and whether the journal says so too. What was written last may
# be there without having been acknowledged.
mkdir -p /disk/files
touch /disk/journal
last=0
for file in $(ls /disk/files | sort -n); do
  sum=$(sha256sum <"/disk/files/$file")
  sum=${sum%% *}
  if grep -qx "$file $sum" /disk/journal; then echo "FOUND $file $sum"; fi
  last=$file
done
echo "CHECKED $last"
case $(cat /proc/cmdline) in
*writer=last*)
  umount /disk
  stty -F /dev/console sane
  poweroff -f
  ;;
esac

# Load: files that come and go, and are synchronised now and then.
noise() {
  while true; do
    dd if=/dev/zero of="/disk/noise.$1" bs=64k count=$((RANDOM % 48 + 1)) 2>/dev/null
    [ $((RANDOM % 4)) != 0 ] || fsync "/disk/noise.$1"
    [ $((RANDOM % 3)) != 0 ] || rm "/disk/noise.$1"
  done
}
noise 1 &
noise 2 &
n=$last
while true; do
  n=$((n + 1))
  file=/disk/files/$n
  dd if=/dev/urandom of="$file" bs=1k count=$((RANDOM % 64 + 1)) 2>/dev/null
  sum=$(sha256sum <"$file")
  sum=${sum%% *}
  fsync "$file"
  echo "$n $sum" >>/disk/journal
  fsync /disk/journal
  echo "ACK $n $sum"
  # Old ones go, so that the check stays short.
  [ $n -le 41 ] || rm -f "/disk/files/$((n - 41))"
done
