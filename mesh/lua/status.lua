#!lua flags=no-writes
-- status(id, tenant, with the result 0|1)
-- Everything a caller may ask of a job.
-- KEYS  job:<id> · waiting:<lane> · pace:<lane>
-- Reply nil no such job of this tenant | {position or nil, pace of the lane or nil, {field, value …}}
-- include base
-- include log
local key = P .. 'job:' .. ARGV[1]
local head = redis.call('HMGET', key, 'tenant', 'state', 'lane')
if not head[1] or head[1] ~= ARGV[2] then return nil end
local names = { 'state', 'lane', 'endpoint', 'provider', 'model', 'spec', 'attempt', 'attempts', 'created', 'deadline',
  'ended', 'timeline', 'end', 'reason', 'usage', 'cost', 'stop', 'private', 'mask',
  'route', 'shadow', 'shadow_of' }
if ARGV[3] == '1' then names[#names + 1] = 'result' end
local values = redis.call('HMGET', key, unpack(names))
local fields = {}
for i, name in ipairs(names) do
  if values[i] then
    fields[#fields + 1] = name
    fields[#fields + 1] = values[i]
  end
end
fields[#fields + 1] = 'seq'
fields[#fields + 1] = redis.call('HGET', key, 'seq') or tostring(last_event(ARGV[1]))
local position = head[2] == 'queued' and redis.call('ZRANK', P .. 'waiting:' .. head[3], ARGV[1])
return { position or false, redis.call('GET', P .. 'pace:' .. head[3]), fields }
