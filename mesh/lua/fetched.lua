#!lua flags=allow-oom
-- fetched(fetch id, sealed)
-- Hand over what was fetched, if anybody still waits for it; only the first time, so two that fetched the same do no harm.
-- KEYS  fetch:<fetch id> hash · fetched:<fetch id>, which lives as long again as the question might have
-- Reply 1 | 0 nobody waits
-- include base
local key = P .. 'fetch:' .. ARGV[1]
local life_ms = redis.call('HGET', key, 'life')
if not life_ms then return 0 end
redis.call('UNLINK', key)
redis.call('SET', P .. 'fetched:' .. ARGV[1], ARGV[2], 'PX', life_ms)
return 1
