#!lua flags=allow-oom
-- cancel(id, tenant, why)
-- A waiting or parked job ends at once; a running one is asked to stop, and its worker ends it with what it has.
-- KEYS  job:<id> · waiting:<lane> · jobs:due · jobs:open · control:<boot> list of ids · ledger:rows
-- Reply nil no such job of this tenant | "cancelled" now | "stopping" | the state in which it had ended before
-- include base
-- include log
-- include tell
-- include job
-- include holds
-- include end_holds
-- include close
local id = ARGV[1]
local job = read_job(id)
if not job or job.tenant ~= ARGV[2] then return nil end
if job.state == 'queued' or job.state == 'parked' then
  close(id, job, 'cancelled', now_ms(), { reason = ARGV[3] })
  return 'cancelled'
end
if job.state ~= 'running' then return job.state end
if not job.stop then
  redis.call('HSET', P .. 'job:' .. id, 'stop', ARGV[3])
  local control = P .. 'control:' .. job.owner
  redis.call('RPUSH', control, id .. ' ' .. ARGV[3])
  redis.call('PEXPIRE', control, 60000)
end
return 'stopping'
