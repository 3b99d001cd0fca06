#!lua flags=allow-oom
-- beat(boot, life ms)
-- A web process lives: workers write to its reply channel for as long as it beats. It also sweeps the channels of those that
-- have not beaten for a minute.
-- KEYS  door:<boot> · doors:beats zset (score = last beat) · replies:<boot>
-- Reply how many were swept
-- include base
local now = now_ms()
redis.call('SET', P .. 'door:' .. ARGV[1], 1, 'PX', ARGV[2])
redis.call('ZADD', P .. 'doors:beats', now, ARGV[1])
local dead = redis.call('ZRANGEBYSCORE', P .. 'doors:beats', '-inf', now - 60000, 'LIMIT', 0, 100)
for _, boot in ipairs(dead) do
  redis.call('DEL', P .. 'replies:' .. boot)
  redis.call('ZREM', P .. 'doors:beats', boot)
end
return #dead
