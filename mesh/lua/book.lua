#!lua flags=allow-oom
-- book(last id before or "", last id now, life of a day ms, {day, field, amount} …)
-- Add ledger rows to the counters of their days, exactly once: only if nobody has booked since `before`. A field is `cost_usd <provider>`
-- of the day "all", or `<what> <JSON>` of a date.
-- KEYS  usage:booked string · usage:<day> hash · usage:all hash
-- Reply 1 | 0 somebody has
-- include base
if (redis.call('GET', P .. 'usage:booked') or '') ~= ARGV[1] then return 0 end
local days = {}
for i = 4, #ARGV, 3 do
  redis.call('HINCRBY', P .. 'usage:' .. ARGV[i], ARGV[i + 1], ARGV[i + 2])
  days[ARGV[i]] = true
end
for day in pairs(days) do
  if day ~= 'all' then redis.call('PEXPIRE', P .. 'usage:' .. day, ARGV[3]) end
end
redis.call('SET', P .. 'usage:booked', ARGV[2])
return 1
