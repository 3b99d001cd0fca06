#!lua
-- pull(pull id, provider, model, most open)
-- Have a provider fetch a model. One that waits or is under way is not asked for again; one that has ended begins anew.
-- The message is for the task workers.tasks.pull(pull id). A full Redis refuses it.
-- KEYS  pull:<id> hash · pulls zset (score = created) · pulls:open zset (score = end of its lease) · tasks.<provider> list
-- Reply nil as many as may be are open | the pull's fields
-- include base
-- include envelope
-- include pull
local id, provider = ARGV[1], ARGV[2]
local key = P .. 'pull:' .. id
local state = redis.call('HGET', key, 'state')
if state ~= 'queued' and state ~= 'running' then
  if redis.call('ZCARD', P .. 'pulls:open') >= tonumber(ARGV[4]) then return nil end
  local now = now_ms()
  redis.call('DEL', key)
  redis.call('HSET', key, 'id', id, 'provider', provider, 'model', ARGV[3], 'created', now)
  redis.call('ZADD', P .. 'pulls', now, id)
  redis.call('ZREMRANGEBYRANK', P .. 'pulls', 0, -101)
  ring_pull(id, provider, now)
end
return redis.call('HGETALL', key)
