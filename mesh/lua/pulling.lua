#!lua flags=allow-oom
-- pulling(pull id, boot, lease ms, state, status, completed, total or "", error JSON or "")
-- A worker's word about a pull: running (it takes it, or goes on), queued (it gives it back), done or failed.
-- KEYS  pull:<id> hash · pulls:open zset · tasks.<provider> list
-- Reply nil it has ended, has gone, or is another's whose lease lasts | {provider, model}
-- include base
-- include envelope
-- include pull
local id, boot, state = ARGV[1], ARGV[2], ARGV[4]
local key, open, now = P .. 'pull:' .. id, P .. 'pulls:open', now_ms()
local pull = redis.call('HMGET', key, 'state', 'worker', 'provider', 'model')
if pull[1] ~= 'queued' and pull[1] ~= 'running' then return nil end
if pull[1] == 'running' and pull[2] ~= boot and tonumber(redis.call('ZSCORE', open, id) or '0') > now then return nil end
redis.call('HSET', key, 'state', state, 'worker', boot, 'status', ARGV[5], 'completed', ARGV[6], 'total', ARGV[7], 'error', ARGV[8])
if state == 'queued' then
  ring_pull(id, pull[3], now)
elseif state == 'running' then
  redis.call('HSETNX', key, 'started', now)
  redis.call('ZADD', open, now + ARGV[3], id)
  redis.call('PEXPIRE', key, PULL_LIFE_MS)
else
  redis.call('HSET', key, 'ended', now)
  redis.call('ZREM', open, id)
  redis.call('PEXPIRE', key, PULL_LIFE_MS)
end
return { pull[3], pull[4] }
