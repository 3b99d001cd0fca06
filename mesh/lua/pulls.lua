#!lua flags=no-writes
-- pulls()
-- The last pull of each model, newest first.
-- KEYS  pulls zset · pull:<id> hash
-- Reply {the fields of each}
local P = KEYS[1]
local reply = {}
for _, id in ipairs(redis.call('ZREVRANGE', P .. 'pulls', 0, -1)) do
  local fields = redis.call('HGETALL', P .. 'pull:' .. id)
  if #fields > 0 then reply[#reply + 1] = fields end
end
return reply
