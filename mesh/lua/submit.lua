#!lua
-- submit(id, lane, tenant, idempotency key, fingerprint, idempotency ms, timeout ms, lane limit, tenant index ms,
--        count of holds, {hold name, amount, ceiling} …, {field, value} …)
-- Accept a job: its record, its place in the lane, its holds and its message, all or nothing. Sent twice it accepts once.
-- The one script that a full Redis refuses.
-- KEYS  job:<id> hash · <lane> list · waiting:<lane> zset · ring:<lane> · jobs:open zset · tenant:<tenant> zset
--       idem:<tenant>:<key> · hold:<name> · request:<id> (made lasting where the field `large` is 1)
-- Reply {"queued", position, created ms, ms between two jobs of the lane or nil} | {"again", state} the same id was accepted before
--       | {"same", other id} | {"conflict", other id} the idempotency key is another job's, with this or another request
--       | {"full", waiting} | {"held", hold name, amount now} | {"missing"} the large request has gone: write it again
-- include mesh
local id, lane, tenant, idem, fingerprint, idem_ms, timeout_ms, limit, index_ms, holds =
  ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5], ARGV[6], ARGV[7], tonumber(ARGV[8]), ARGV[9], tonumber(ARGV[10])
local key = P .. 'job:' .. id
local state = redis.call('HGET', key, 'state')
if state then return { 'again', state } end
if idem ~= '' then
  local held = redis.call('GET', P .. 'idem:' .. tenant .. ':' .. idem)
  if held then
    local other, seen = held:match('^(%S+) (%S+)$')
    return { seen == fingerprint and 'same' or 'conflict', other }
  end
end
local waiting = redis.call('ZCARD', P .. 'waiting:' .. lane)
if waiting >= limit then return { 'full', waiting } end
local kept = ''
for i = 1, holds do
  local at = 8 + i * 3
  local amount = tonumber(redis.call('GET', P .. 'hold:' .. ARGV[at]) or '0')
  if amount + ARGV[at + 1] > tonumber(ARGV[at + 2]) then return { 'held', ARGV[at], amount } end
  kept = kept .. ARGV[at] .. ' ' .. ARGV[at + 1] .. '\n'
end
local first = 11 + holds * 3
for i = first, #ARGV, 2 do
  if ARGV[i] == 'large' and ARGV[i + 1] == '1' and redis.call('PERSIST', P .. 'request:' .. id) == 0 then return { 'missing' } end
end
for i = 1, holds do redis.call('INCRBY', P .. 'hold:' .. ARGV[8 + i * 3], ARGV[9 + i * 3]) end
local now = now_ms()
if idem ~= '' then redis.call('SET', P .. 'idem:' .. tenant .. ':' .. idem, id .. ' ' .. fingerprint, 'PX', idem_ms) end
redis.call('HSET', key, 'state', 'queued', 'lane', lane, 'tenant', tenant, 'fence', 0, 'attempt', 0, 'seq', 0, 'created', now,
  'deadline', now + timeout_ms, 'holds', kept, 'timeline', stamp('', now, 'queued', lane), unpack(ARGV, first))
redis.call('ZADD', P .. 'jobs:open', now + timeout_ms, id)
redis.call('ZADD', P .. 'tenant:' .. tenant, now, id)
redis.call('ZREMRANGEBYSCORE', P .. 'tenant:' .. tenant, '-inf', now - index_ms)
ring(id, lane, now)
return { 'queued', waiting, now, redis.call('HGET', P .. 'pace:' .. lane, 'gap') }
