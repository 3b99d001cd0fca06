# Sets $me and $primary, names of pods: the primary is whom a Sentinel names, or whom this pod's own last knew, or the first pod.
domain=redis-nodes.ai-gateway.svc.cluster.local
me=$HOSTNAME.$domain
primary=
for pod in redis-0 redis-1 redis-2; do
    primary=$(timeout 2 valkey-cli -h "$pod.$domain" -p 26379 sentinel get-master-addr-by-name gateway 2>/dev/null | head -n 1)
    case $primary in *."$domain") break ;; *) primary= ;; esac
done
if [ -z "$primary" ] && [ -f /data/sentinel.conf ]; then
    primary=$(sed -n 's/^sentinel monitor gateway \([^ ]*\) .*/\1/p' /data/sentinel.conf)
fi
primary=${primary:-redis-0.$domain}
