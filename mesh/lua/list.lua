#!lua flags=no-writes
-- list(tenant, state or "", after id or "", limit)
-- A tenant's jobs, newest first, at most 2,000 looked at.
-- KEYS  tenant:<tenant> zset (score = created) · job:<id>
-- Reply nil `after` is no job of this tenant | {the id to go on after, or "" when there are no more, id …}
local P = KEYS[1]
local index = P .. 'tenant:' .. ARGV[1]
local from = 0
if ARGV[3] ~= '' then
  local rank = redis.call('ZREVRANK', index, ARGV[3])
  if not rank then return nil end
  from = rank + 1
end
local limit = tonumber(ARGV[4])
local reply, looked = { '' }, 0
while looked < 2000 do
  local ids = redis.call('ZREVRANGE', index, from, from + 99)
  if #ids == 0 then
    reply[1] = ''
    return reply
  end
  for _, id in ipairs(ids) do
    local state = redis.call('HGET', P .. 'job:' .. id, 'state')
    if state and (ARGV[2] == '' or state == ARGV[2]) then
      if #reply > limit then
        reply[1] = reply[#reply]
        return reply
      end
      reply[#reply + 1] = id
    end
  end
  from, looked = from + #ids, looked + #ids
  reply[1] = ids[#ids]
end
return reply
