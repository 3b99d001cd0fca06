# Valkey: the primary, or a replica of it. Without a replica in step it takes no writes, so that a primary which is cut off stops.
. /start/primary.sh
password=$(cat /acl/replication)
cat >/data/node.conf <<END
include /config/valkey.conf
replica-announce-ip $me
primaryuser replica
primaryauth $password
min-replicas-to-write 1
min-replicas-max-lag 10
END
[ "$primary" = "$me" ] || echo "replicaof $primary 6379" >>/data/node.conf
exec valkey-server /data/node.conf
