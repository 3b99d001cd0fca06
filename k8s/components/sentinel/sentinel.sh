# Sentinel: writes its file once and keeps it up by itself, on the volume.
. /start/primary.sh
if [ ! -f /data/sentinel.conf ]; then
    cat >/data/sentinel.part <<END
port 26379
dir /data
protected-mode no
sentinel resolve-hostnames yes
sentinel announce-hostnames yes
sentinel announce-ip $me
sentinel monitor gateway $primary 6379 2
sentinel auth-user gateway sentinel
sentinel auth-pass gateway $(cat /acl/replication)
sentinel down-after-milliseconds gateway 5000
sentinel failover-timeout gateway 30000
END
    mv /data/sentinel.part /data/sentinel.conf
fi
exec valkey-server /data/sentinel.conf --sentinel
