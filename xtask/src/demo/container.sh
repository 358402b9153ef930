# Pid 1 of the throw-away container, in namespaces of its own. Prints ACCEPT when its TLS server
# listens; on a line on stdin its client sends requests; ends when stdin does.
set -eu
PATH=/usr/sbin:/usr/bin:/sbin:/bin
export PATH

# A new root in memory, with the host's programs and libraries and nothing else of the host.
mount -t tmpfs -o mode=755,size=8m demo /mnt
cd /mnt
mkdir dev etc old proc www
for directory in bin lib lib32 lib64 libx32 sbin usr; do
    if [ -L "/$directory" ]; then
        cp -P "/$directory" "$directory"
    elif [ -d "/$directory" ]; then
        mkdir "$directory"
        mount -o bind,ro "/$directory" "$directory"
    fi
done
touch dev/null
mount -o bind /dev/null dev/null
mount -t proc proc proc
echo 'hosts: files' >etc/nsswitch.conf
echo '127.0.0.1 shop' >etc/hosts
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 1 -batch \
    -subj /CN=shop -addext subjectAltName=DNS:shop -keyout key.pem -out cert.pem 2>openssl.log ||
    { cat openssl.log >&2; exit 1; }
pivot_root . old
cd /
umount -l old

ip link set lo up
echo shop >/proc/sys/kernel/hostname

# Each file is a whole response, named by the request's path and query.
page() {
    printf 'HTTP/1.1 %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s' \
        "$2" "${#3}" "$3" >"www/$1"
}
page 'hello?n=1' '200 OK' '{"hello":"from a container"}'
page 'basket' '200 OK' '{"items":[{"id":7,"name":"teapot"}],"total":"19.90"}'
page 'coffee' "418 I'm a teapot" '{"error":"short and stout"}'

cd /www
openssl s_server -accept 443 -key /key.pem -cert /cert.pem -HTTP 2>/server.log &
read -r _
for path in 'hello?n=1' basket coffee; do
    curl --silent --cacert /cert.pem --output /dev/null "https://shop/$path"
done
read -r _ || true
