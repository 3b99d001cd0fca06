#!lua flags=no-writes
-- usage(day …)
-- What was booked of these days, and up to which ledger row: what comes after it is not in it yet.
-- KEYS  usage:booked string · usage:<day> hash
-- Reply {last id or "", {field, amount …} for each day}
-- include base
local reply = { redis.call('GET', P .. 'usage:booked') or '' }
for i, day in ipairs(ARGV) do reply[i + 1] = redis.call('HGETALL', P .. 'usage:' .. day) end
return reply
