#!lua flags=allow-oom
-- watch(id, tenant, boot)
-- Have a job's further events handed to this door too; whoever watches reads the log from its cursor after this call.
-- KEYS  job:<id>
-- Reply nil no such job of this tenant | {state, number of the last event, sealed masking map or nil}
-- include base
-- include log
local key = P .. 'job:' .. ARGV[1]
local job = redis.call('HMGET', key, 'state', 'seq', 'tenant', 'doors', 'mask')
if not job[1] or job[3] ~= ARGV[2] then return nil end
local doors = job[4] or ''
if not (' ' .. doors .. ' '):find(' ' .. ARGV[3] .. ' ', 1, true) then
  redis.call('HSET', key, 'doors', doors == '' and ARGV[3] or doors .. ' ' .. ARGV[3])
end
return { job[1], tonumber(job[2] or last_event(ARGV[1])), job[5] }
