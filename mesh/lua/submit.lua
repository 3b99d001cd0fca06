#!lua
-- submit(id, lane, tenant, idempotency key, fingerprint, idempotency ms, timeout ms, lane limit, tenant index ms, large 0|1,
--        holds, {field, value} …)
-- Accept a job: its record, its place in the lane, its holds and its message, all or nothing. Sent twice it accepts once.
-- The one script that a full Redis refuses.
-- KEYS  job:<id> hash · <lane> list · waiting:<lane> zset · ring:<lane> · jobs:open zset · tenant:<tenant> zset
--       idem:<tenant>:<key> · holds:<owner> · window:<name> · request:<id> (made lasting where the request is large)
-- Reply {"broken", hold name} its counter cannot be read: nothing is taken and nothing accepted
--       | {"queued", position, created ms, pace of the lane or nil, {what is taken of each window}} | {"again", state} the same id was
--       accepted before | {"same", other id} | {"conflict", other id} the idempotency key is another job's, with this or another request
--       | {"full", waiting} | {"held", hold name, amount now, ms to wait (0: not known, -1: for ever)} | {"missing"} the large request has
--       gone: write it again
-- include base
-- include holds
-- include take_holds
-- include envelope
-- include ring
local id, lane, tenant, idem, fingerprint, idem_ms, timeout_ms, limit, index_ms, large, holds =
  ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5], ARGV[6], ARGV[7], tonumber(ARGV[8]), ARGV[9], ARGV[10], ARGV[11]
local key = P .. 'job:' .. id
local state = redis.call('HGET', key, 'state')
if state then return { 'again', state } end
if idem ~= '' then
  local held = redis.call('GET', P .. 'idem:' .. tenant .. ':' .. idem)
  if held then
    local other, seen = held:match('^(%S+) (%S+)$')
    -- A key outlives a job that is no longer kept: then it is free again.
    if redis.call('EXISTS', P .. 'job:' .. other) == 1 then return { seen == fingerprint and 'same' or 'conflict', other } end
  end
end
local waiting = redis.call('ZCARD', P .. 'waiting:' .. lane)
if waiting >= limit then return { 'full', waiting } end
if large == '1' and redis.call('EXISTS', P .. 'request:' .. id) == 0 then return { 'missing' } end
local now = now_ms()
local refusal, windows = take_holds(read_holds(holds), now, timeout_ms)
if refusal then return refusal end
if large == '1' then redis.call('PERSIST', P .. 'request:' .. id) end
if idem ~= '' then redis.call('SET', P .. 'idem:' .. tenant .. ':' .. idem, id .. ' ' .. fingerprint, 'PX', idem_ms) end
redis.call('HSET', key, 'state', 'queued', 'lane', lane, 'tenant', tenant, 'fence', 0, 'attempt', 0, 'created', now, 'rung', now,
  'deadline', now + timeout_ms, 'holds', holds, 'large', large, 'timeline', stamp('', now, 'queued', lane), unpack(ARGV, 12))
redis.call('ZADD', P .. 'jobs:open', now + timeout_ms, id)
redis.call('ZADD', P .. 'tenant:' .. tenant, now, id)
ring(id, lane)
-- One submit in eight, by the job's random id, has the tenant's list forget what is too old.
if id:match('[08]$') then
  redis.call('ZREMRANGEBYSCORE', P .. 'tenant:' .. tenant, '-inf', now - index_ms)
  redis.call('PEXPIRE', P .. 'tenant:' .. tenant, index_ms)
end
return { 'queued', waiting, now, waiting > 0 and redis.call('GET', P .. 'pace:' .. lane), windows }
