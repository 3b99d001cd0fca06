#!lua flags=allow-oom
-- renew(boot, lease ms, count of providers, provider …, {id, fence, lane} …)
-- Prolong leases by (id, fence), and say that this worker lives.
-- KEYS  job:<id> · running:<lane> zset · workers:<provider> zset (score = last beat)
-- Reply {{lost id …}, {id, why, …} to stop}
-- include base
local boot, lease_ms, providers = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local now = now_ms()
for i = 4, 3 + providers do
  redis.call('ZADD', P .. 'workers:' .. ARGV[i], now, boot)
  redis.call('ZREMRANGEBYSCORE', P .. 'workers:' .. ARGV[i], '-inf', now - 60000)
end
local lost, stops = {}, {}
for i = 4 + providers, #ARGV, 3 do
  local id = ARGV[i]
  local job = redis.call('HMGET', P .. 'job:' .. id, 'state', 'fence', 'stop')
  if job[1] ~= 'running' or job[2] ~= ARGV[i + 1] then
    lost[#lost + 1] = id
  else
    redis.call('ZADD', P .. 'running:' .. ARGV[i + 2], now + lease_ms, id)
    if job[3] then
      stops[#stops + 1] = id
      stops[#stops + 1] = job[3]
    end
  end
end
return { lost, stops }
