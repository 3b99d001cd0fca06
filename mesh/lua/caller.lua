#!lua flags=allow-oom
-- caller(key id)
-- An API key's record and what its tenant has of its own, in one round trip. Notes once a minute that the key is in use.
-- KEYS  key:<id> hash · own:<tenant> string
-- Reply nil no such key | {now in unix s, the tenant's own settings or "", {field, value …}}
-- include base
local key = P .. 'key:' .. ARGV[1]
local record = redis.call('HGETALL', key)
if #record == 0 then return nil end
local now = math.floor(now_ms() / 1000)
local tenant, used = '', 0
for i = 1, #record, 2 do
  if record[i] == 'tenant' then tenant = record[i + 1] end
  if record[i] == 'used' then used = tonumber(record[i + 1]) end
end
if now - used >= 60 then redis.call('HSET', key, 'used', now) end
return { now, redis.call('GET', P .. 'own:' .. tenant) or '', record }
