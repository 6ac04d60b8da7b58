# What the guest of `traffic.rs` does, with a mark before and behind each piece of work. Its kernel's
# command line says which pieces (do=A,B), where the server is (http=PORT) and how
# many MiB it fetches from here (served=N).
word() {
  sed -n "s/.*\b$1=\([^ ]*\).*/\1/p" /proc/cmdline
}
sh /drivers 2>/dev/null
ip link set lo up
until ip link set eth0 up 2>/dev/null; do sleep 0.1; done
ip addr add 10.0.2.15/24 dev eth0
ip route add default via 10.0.2.2
until ping -c 1 -W 1 10.0.2.2 >/dev/null; do :; done
server=10.0.2.2

# The result is what has been moved, in bytes or as a status.
get() {
  wget -q -O /dev/null "http://$server:$(word http)/get" && echo got
}
serve() {
  mkdir -p /www
  dd if=/dev/zero of=/www/served bs=1M count="$(word served)" 2>/dev/null
  httpd -p 80 -h /www
  wget -q -O - "http://$server:$(word http)/fetch"
}
disk_read() {
  dd if=/dev/vda of=/dev/null bs=1M iflag=direct 2>&1 | sed -n 's/+.*in//p'
}
disk_write() {
  dd if=/dev/zero of=/dev/vda bs=1M count=256 oflag=direct conv=fsync 2>&1 | sed -n 's/+.*out//p'
}
# Each block waits for the disk: how long a request takes.
disk_sync() {
  dd if=/dev/zero of=/dev/vda bs=4k count=4000 oflag=direct 2>&1 | sed -n 's/+.*out//p'
}
for name in $(word do | tr , ' '); do
  echo "@$name begin"
  case $name in
  disk-*) result=$("disk_${name#disk-}") ;;
  *) result=$("${name#*-}") ;;
  esac
  echo "@$name end 1 ${result:-failed} 0"
done
