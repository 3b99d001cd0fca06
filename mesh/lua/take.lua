#!lua flags=allow-oom
-- take(boot, id, lease ms, max attempts, private provider …)
-- Lease one job that a stock Celery worker was given by its message. Sent twice by the same boot it answers the same.
-- KEYS  job:<id> · waiting:<lane> · running:<lane>
-- Reply row as in claim | the job's state, when it is not to be had (already running, ended, overdue) | nil, no such job
-- include base
-- include log
-- include tell
-- include job
-- include holds
-- include end_holds
-- include close
-- include lease
local boot, id, lease_ms = ARGV[1], ARGV[2], tonumber(ARGV[3])
local now = now_ms()
local held = redis.call('HMGET', P .. 'job:' .. id, 'state', 'owner', 'provider', 'lane')
if held[1] == 'running' and held[2] == boot then
  local again = row(id, now)
  redis.call('ZADD', P .. 'running:' .. again[7], now + lease_ms, id)
  return again
end
local private = '0'
for i = 5, #ARGV do
  if ARGV[i] == held[3] then private = '1' end
end
local leased = lease(id, boot, tonumber(ARGV[4]), held[4], private, now)
if not leased then return redis.call('HGET', P .. 'job:' .. id, 'state') end
redis.call('ZREM', P .. 'waiting:' .. leased[7], id)
redis.call('ZADD', P .. 'running:' .. leased[7], now + lease_ms, id)
return leased
