#!lua flags=allow-oom
-- finish(id, fence, state, sealed end event, sealed result or "", attempt JSON, usage JSON or "", cost USD or "", reason,
--        number of the last event, {unit, what was measured of it} …)
-- End a job that this worker holds: result, holds, exactly one ledger row, and word to the doors.
-- KEYS  job:<id> · running:<lane> · jobs:open · holds:<owner> · window:<name> · ledger:rows stream · events:<id> · replies:<boot>
-- Reply "ok" | "already" this very finish has run before | "lost" another holds the job, or it has ended otherwise
-- include base
-- include log
-- include tell
-- include job
-- include holds
-- include end_holds
-- include close
local id, fence = ARGV[1], ARGV[2]
local job = read_job(id)
if not job then return 'lost' end
if job.fence ~= fence then return 'lost' end
if job.state ~= 'running' then
  return redis.call('HGET', P .. 'job:' .. id, 'finished') == fence and 'already' or 'lost'
end
local measured = {}
for i = 11, #ARGV, 2 do measured[ARGV[i]] = tonumber(ARGV[i + 1]) end
close(id, job, ARGV[3], now_ms(), {
  sealed = ARGV[4], result = ARGV[5], attempt = ARGV[6], usage = ARGV[7], cost = ARGV[8], reason = ARGV[9], finished = fence, last = tonumber(ARGV[10]),
  measured = measured,
})
return 'ok'
